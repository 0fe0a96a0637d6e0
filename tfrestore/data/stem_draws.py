"""What goes into the mixes of stems: which tracks, which stretch, how loud, and which MP3.

Everything that is drawn is a pure function of (seed, position), and of the music itself: tracks in
which nothing is played are not drawn.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tfrestore.data.encoded_pairs import LEAD_SECONDS, frame_length
from tfrestore.data.excerpts import fractions, length_of
from tfrestore.data.songs import Song, Stem
from tfrestore.data.source_activity import ActiveSources
from tfrestore.data.tracks import Track
from tfrestore.errors import AudioFileError

if TYPE_CHECKING:
    from tfrestore.data.stem_mixes import StemMixes


class Part(NamedTuple):
    """A track's part in a mix.

    Attributes:
        track: The track.
        begin: First sample of its excerpt, at the examples' rate; it may be negative where the
            track is shorter than an excerpt.
        gain: What its samples are multiplied with.
        channel: Between 0 and 1: which of its channels; `None` for their mean.
    """

    track: Track
    begin: int
    gain: float
    channel: float | None


class Mix(NamedTuple):
    """What an example is made of.

    Attributes:
        parts: The tracks in it.
        kbit_per_second: The bit rate of its MP3.
        variable_bit_rate: Whether that is a variable one.
        lead: How many samples are encoded in front of the excerpt.
        channels: How many its MP3 has, 1 or 2; the example is the first.
    """

    parts: tuple[Part, ...]
    kbit_per_second: int
    variable_bit_rate: bool
    lead: int
    channels: int


class StemDraws:
    """Draws what goes into the example of a position.

    Args:
        mixes: What may be drawn.
        tracks: Songs, stems and other recordings; at least one.
        seed: Decides everything.

    Attributes:
        mixtures: The tracks that are a mixture: all but single stems.
        durations: Of the mixtures, in seconds.
        stems: By instrument, stems with the number of the song that they are of.
        mixture_share: Share of the examples that are a stretch of a real mixture.
    """

    def __init__(self, mixes: StemMixes, tracks: Sequence[Track], seed: int):
        self.mixes = mixes
        self.seed = seed
        self.epoch_length = mixes.count(tracks)
        self.sources = ActiveSources(tracks, mixes.samples, mixes.sample_rate)
        self.tracks = tracks
        self.mixtures = [track for track in tracks if not isinstance(track, Stem)]
        self.durations = np.array([track.duration for track in self.mixtures])
        self.stems: dict[str, list[tuple[int, Track]]] = {}
        for number, track in enumerate(tracks):
            for instrument, stem in _stems_of(track, mixes.mix_recordings):
                self.stems.setdefault(instrument, []).append((number, stem))
        self.mixture_share = mixes.mixture_share if self.mixtures else 0.0
        if not self.stems:
            self.mixture_share = 1.0

    def draw(self, position: int, attempt: int = 0) -> Mix:
        """What goes into the example of a position.

        The tracks that are drawn are decoded as far as it takes to know where they are silent.

        Args:
            position: The position.
            attempt: Another one gives another mix of the same position.

        Raises:
            AudioFileError: if all of the music is silent or cannot be decoded.
        """
        mixes = self.mixes
        draw = functools.partial(fractions, self.seed, position, attempt)
        # Neither depends on the attempt, nor on how many stems there are.
        rate, mode = fractions(self.seed, "bit rate", self._drawn_for(position))
        kbit_per_second = mixes.bit_rates[int(rate * len(mixes.bit_rates))]
        is_variable = mixes.modes[int(mode * len(mixes.modes))] == "variable"
        is_stereo = fractions(self.seed, "channels", position)[0] < mixes.stereo_share
        channels = 2 if is_stereo else 1
        share, phase = draw("kind and phase")
        # Frames of an MP3 begin anywhere in an excerpt.
        frame = frame_length(mixes.sample_rate, kbit_per_second, channels)
        lead = round(LEAD_SECONDS * mixes.sample_rate) + int(phase * frame)
        first, second = self._mixture, self._stems
        if share >= self.mixture_share:
            first, second = second, first
        # Where all mixtures are silent there still are stems, and the other way round.
        parts = first(draw) or second(draw)
        if not parts:
            raise AudioFileError(
                f"{self.tracks[0].path}: nothing can be heard in it, nor in any of the other "
                f"{len(self.tracks) - 1} recordings; check that the music is still there and "
                "intact."
            )
        return Mix(tuple(parts), kbit_per_second, is_variable, lead, channels)

    def _drawn_for(self, position: int) -> str:
        if self.mixes.bit_rate_draw == "epoch":
            return f"epoch {position // self.epoch_length}"
        return f"example {position}"

    def _mixture(self, draw: Callable[..., tuple[float, float]]) -> list[Part]:
        """One real mixture, as loud as it is; longer ones are drawn more often. Or none."""
        weights = self.durations.copy()
        for attempt in range(len(weights)):
            ends = np.cumsum(weights)
            if not ends[-1]:
                break
            place = draw("mixture", attempt)[0] * ends[-1]
            number = int(np.searchsorted(ends, place, side="right"))
            if part := self._part(self.mixtures[number], 1.0, draw, f"mixture {attempt}"):
                return [part]
            weights[number] = 0.0
        return []

    def _stems(self, draw: Callable[..., tuple[float, float]]) -> list[Part]:
        """Stems of different songs: first which instrument, then which of its stems. Or none."""
        (least, largest), (quietest, loudest) = self.mixes.stems, self.mixes.gain_decibels
        wanted = least + int(draw("number of stems")[0] * (largest - least + 1))
        parts, songs, useless = [], set(), set()
        attempt = 0
        while len(parts) < wanted and (left := self._stems_without(songs, useless)):
            instrument, which = draw("stem", attempt)
            stems = left[int(instrument * len(left))]
            song, stem = stems[int(which * len(stems))]
            gain = quietest + draw("gain", len(parts))[0] * (loudest - quietest)
            part = self._part(stem, 10 ** (gain / 20), draw, f"stem {attempt}")
            if part:
                parts.append(part)
                songs.add(song)
            else:
                useless.add(stem.path)
            attempt += 1
        return parts

    def _stems_without(self, songs: set[int], useless: set[Path]) -> list[list[tuple[int, Track]]]:
        """By instrument, the stems that are still to be had."""
        found = (
            [each for each in stems if each[0] not in songs and each[1].path not in useless]
            for stems in self.stems.values()
        )
        return [stems for stems in found if stems]

    def _part(
        self, track: Track, gain: float, draw: Callable[..., tuple[float, float]], name: str
    ) -> Part | None:
        """A track's part, with an excerpt that is not silent; `None` if it has none."""
        begins = self.sources.begins(track)
        if not len(begins):
            return None
        samples = self.mixes.samples
        which, jitter = draw("begin", name)
        # Between two of the beginnings that were looked at is as good as at them.
        begin = int(begins[int(which * len(begins))] + jitter * self.sources.activity.chunk)
        room = length_of(track, self.mixes.sample_rate) - samples
        begin = min(begin, room) if room >= 0 else int(jitter * (room - 1))
        channel = draw("channel", name)[0] if self.mixes.channel_mix == "random" else None
        return Part(track, begin, gain, channel)


def _stems_of(track: Track, mix_recordings: bool) -> list[tuple[str, Track]]:
    """What of a track can be mixed with stems of others, with its instrument."""
    if isinstance(track, Song):
        return [(stem.instrument, stem) for stem in track.stems]
    if isinstance(track, Stem):
        return [(track.instrument, track)]
    return [("recording", track)] if mix_recordings else []
