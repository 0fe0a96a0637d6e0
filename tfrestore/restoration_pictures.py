"""Pictures of a file and of what restoring made of it: spectrograms and frequency profiles.

With several versions of one file they are Figure 3 of Lattner & Nistal (2021), and its Figure 5 for
one recording.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfrestore.audio.reading import read_info
from tfrestore.audio.resampling import resample
from tfrestore.evaluation.frequency_profile import (
    BANDS,
    HIGHEST_FREQUENCY,
    frequency_profile,
)
from tfrestore.evaluation.measurement import Excerpt
from tfrestore.pictures import figure_picture, make_figure, spectrogram_picture

#: How much of a file's middle is shown, so that memory does not grow with its length.
SECONDS = 15

#: More versions than this are not told apart.
MOST_VERSIONS = 10


def read_excerpts(source: Path, versions: Mapping[str, Path]) -> tuple[dict[str, np.ndarray], int]:
    """The middle of a file and of the first versions that there are.

    Args:
        source: What was restored.
        versions: Results by the name they shall have in pictures; those that do not exist are left
            out, and so are those beyond `MOST_VERSIONS`.

    Returns:
        float32 `(channels, samples)` by name, the file first, and their sample rate: the highest
        of any.

    Raises:
        AudioFileError: if a file cannot be read.
    """
    existing = {name: path for name, path in versions.items() if path.exists()}
    shown = dict(list(existing.items())[:MOST_VERSIONS])
    # A damaged input may promise more than the results hold.
    lengths = [read_info(path).duration for path in (source, *shown.values())]
    excerpt = Excerpt.middle(min(lengths), SECONDS)
    # A file name that is not valid text cannot be drawn.
    title = source.name.encode(errors="replace").decode()
    waveforms = {f"{title} (input)": source, **shown}
    read = {name: excerpt.read(path) for name, path in waveforms.items()}
    highest = max(rate for _, rate in read.values())
    return {name: resample(*each, highest) for name, each in read.items()}, highest


def spectrograms(waveforms: Mapping[str, np.ndarray], sample_rate: int) -> np.ndarray:
    """Spectrograms of `(channels, samples)` by title, mixed to mono; uint8 `(height, width, 3)`."""
    mixed = {title: waveform.mean(axis=0) for title, waveform in waveforms.items()}
    return spectrogram_picture(mixed, sample_rate)


def frequency_profiles(waveforms: Mapping[str, np.ndarray], sample_rate: int) -> np.ndarray:
    """Power by frequency of `(channels, samples)` by title; uint8 `(height, width, 3)`."""
    figure = make_figure(9, 4.5)
    axis = figure.add_subplot()
    kilohertz = (np.arange(BANDS) + 0.5) * HIGHEST_FREQUENCY / BANDS / 1000
    lines = [
        axis.plot(
            kilohertz,
            frequency_profile(waveform, sample_rate),
            # The input, which is the first, in black over the others.
            color="black" if number == 0 else f"C{number - 1}",
            zorder=3 if number == 0 else 2,
            linewidth=1.2,
        )[0]
        for number, waveform in enumerate(waveforms.values())
    ]
    axis.set_xlim(0, min(HIGHEST_FREQUENCY, sample_rate / 2) / 1000)
    axis.set_xlabel("kHz")
    axis.set_ylabel("dB per Hz")
    axis.grid(alpha=0.3)
    legend = axis.legend(lines, list(waveforms), frameon=False, fontsize="small")
    for text in legend.get_texts():
        # Dollars in a file's name are no formula.
        text.set_parse_math(False)
    return figure_picture(figure)


#: What there is to draw, by the end of the picture's name.
PICTURES = {"profiles": frequency_profiles, "spectrograms": spectrograms}
