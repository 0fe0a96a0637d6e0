"""Pictures as arrays and as PNG files; of sound, spectrograms above each other."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tfrestore.complete_files import file_beside

# More columns than this are not seen in a picture.
MOST_COLUMNS = 2000

# What is shown as black, relative to a sine of full scale.
FLOOR_DB = -90.0

# About how long a frame is; it has a power of 2 of samples.
_FRAME_SECONDS = 0.032


def spectrogram_picture(waveforms: dict[str, np.ndarray], sample_rate: int) -> np.ndarray:
    """Log-magnitude spectrograms of waveforms, one above the other with one scale.

    Args:
        waveforms: title to float `(samples,)`; full scale is 1.
        sample_rate: Hz.

    Returns:
        uint8 `(height, width, 3)`.
    """
    figure = make_figure(9, 2.2 * len(waveforms) + 0.4)
    axes = figure.subplots(len(waveforms), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (title, waveform) in zip(axes, waveforms.items(), strict=True):
        image = axis.imshow(
            spectrogram_db(waveform, sample_rate).T,
            origin="lower",
            aspect="auto",
            extent=(0, len(waveform) / sample_rate, 0, sample_rate / 2000),
            vmin=FLOOR_DB,
            vmax=-10,
            cmap="magma",
        )
        axis.set_title(title, loc="left", fontsize="medium", parse_math=False)
        axis.set_ylabel("kHz")
    axes[-1].set_xlabel("seconds")
    figure.colorbar(image, ax=axes, label="dB")
    return figure_picture(figure)


def make_figure(width: float, height: float, layout: str | None = "constrained"):
    """An empty Matplotlib figure that needs no screen; width and height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def figure_picture(figure) -> np.ndarray:
    """A figure as uint8 `(height, width, 3)`."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def spectrogram_db(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Magnitudes of a short-time Fourier transform with a Hann window, in dB.

    Args:
        waveform: float `(samples,)`; a shorter one than a frame is filled up with silence.
        sample_rate: Hz.

    Returns:
        float32 `(columns, frame_length // 2 + 1)`, at most `MOST_COLUMNS` columns. Silence has
        `FLOOR_DB`, a sine of full scale about 0.
    """
    frame_length = 2 ** max(4, round(np.log2(sample_rate * _FRAME_SECONDS)))
    waveform = np.pad(waveform, (0, max(0, frame_length - len(waveform))))
    hop_length = max(frame_length // 4, -(-len(waveform) // MOST_COLUMNS))
    frames = np.lib.stride_tricks.sliding_window_view(waveform, frame_length)[::hop_length]
    window = np.hanning(frame_length + 1)[:-1]
    magnitude = np.abs(np.fft.rfft(frames * window)) / (window.sum() / 2)
    return (20 * np.log10(np.maximum(magnitude, 10 ** (FLOOR_DB / 20)))).astype(np.float32)


def write_picture(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Writes uint8 `(height, width, 3)` as PNG, complete or not at all."""
    from matplotlib.image import imsave

    with file_beside(Path(path)) as beside:
        imsave(beside, picture, format="png")
