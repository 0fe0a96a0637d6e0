"""Batches of MIDI files played by two instruments: the pairs of Sifringer et al. (2020).

For a recipe's `data` section, as `tfrestore.data.mp3_pairs` is: windows of 8192 samples, cut with a
rectangular window so that they overlap by half. Tracks are those of a catalogue of MIDI files
(`midi:FOLDER`, `maestro:FOLDER`), which are rendered as they are needed, or what `tfrestore
prepare` wrote of one. Both give the same examples at the same positions, bit for bit.

Rendering takes about 6 ms of one core per second of music. The last 50 minutes are kept in memory;
of a larger collection, each window would be rendered with the 6 s around it: prepare it first.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields

import numpy as np

from tfrestore.data.excerpt_pairs import ExcerptPairs
from tfrestore.data.instrument_swap import InstrumentSwap
from tfrestore.data.midi_files import MIDI_SUFFIXES
from tfrestore.data.midi_rendering import pair_renderer
from tfrestore.data.rendered_pairs import RenderedTrack
from tfrestore.data.sound_font import SYNTHESIZER_RATE
from tfrestore.data.tracks import Track
from tfrestore.errors import UsageError


@dataclass(frozen=True)
class MidiPairs(ExcerptPairs):
    """Which pairs are made of the tracks.

    Args:
        input: As for `InstrumentSwap`, like the arguments from `sound_font` on. Defaults to `0`.
        target: Defaults to `4`.
        samples: Samples per window. Defaults to `8192`.
        order: `"random"` or `"file"`, see `ExcerptPairs`. Defaults to `"random"`.
        sound_font: Defaults to `None`.
        drums: Defaults to `False`.
        channel: Defaults to `"left"`.
        volume: Defaults to `64`.
        reverb: Defaults to `0`.
        chorus: Defaults to `0`.

    Raises:
        UsageError: if an argument is none of those possible.
    """

    input: int | str = 0
    target: int | str = 4
    samples: int = 8192
    order: str = "random"
    sound_font: str | None = None
    drums: bool = False
    channel: str = "left"
    volume: int = 64
    reverb: int = 0
    chorus: int = 0

    #: Hz: instruments are played at this rate.
    sample_rate = SYNTHESIZER_RATE

    def __post_init__(self):
        super().__post_init__()
        # An instrument that does not exist is told of now.
        _ = self.swap

    @functools.cached_property
    def swap(self) -> InstrumentSwap:
        """The instruments, and how they are played."""
        return InstrumentSwap(
            **{each.name: getattr(self, each.name) for each in fields(InstrumentSwap)}
        )

    @property
    def variants(self) -> tuple[InstrumentSwap, ...]:
        """The one swap."""
        return (self.swap,)

    def check(self, track: Track) -> None:
        """Refuses a track that is no MIDI file.

        Raises:
            UsageError: if it is none, MIDI cannot be rendered here, the SoundFont is none, or it
                was rendered with other instruments.
        """
        if isinstance(track, RenderedTrack):
            track.check(self.swap)
            return
        if track.path.suffix.lower() not in MIDI_SUFFIXES:
            raise UsageError(
                f"{track.path} is no MIDI file, and instruments are swapped in such only: give "
                "--data midi:FOLDER or maestro:FOLDER."
            )
        pair_renderer(self.swap)

    def is_replaceable(self, track: Track) -> bool:
        """Whether an excerpt of this track is replaced: not a prepared one, which is made anew."""
        return not isinstance(track, RenderedTrack)

    def make(
        self, track: Track, number: int, variant: InstrumentSwap
    ) -> tuple[np.ndarray, np.ndarray]:
        """Renders a window with both instruments, or reads it; see `ExcerptPairs`."""
        if isinstance(track, RenderedTrack):
            return track.read(self.begins(track)[number], self.samples)
        return pair_renderer(variant).render(track.path, self.begins(track)[number], self.samples)
