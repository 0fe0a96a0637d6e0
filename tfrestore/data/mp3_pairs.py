"""Batches of music and its MP3, made on the fly or taken from what `tfrestore prepare` wrote.

For a recipe's `data` section: `Mp3Pairs(...)` has `count(tracks)` and `dataset(tracks, batch_size,
seed, start, batches)`, whose elements are `(degraded, original)`, float32 `(batch_size, samples)`.
`tracks` are those of a catalogue of music, or those that were prepared: `open_training_data` of
`tfrestore.data.shards` gives either, by what lies in the folder. Both give the same examples at the
same positions, bit for bit, so a run may change from one to the other when it is resumed.
`listening_pair(tracks, ...)` is the longer pair that is listened to.

Lattner & Nistal (Electronics 2021): tracks are split first, then cut into excerpts of 4 s (336
frames of an STFT of 2048 samples with a hop of 512: 173568 samples) that overlap by half; 8 s to
listen to. Which example a position gets is decided in `tfrestore.data.excerpt_pairs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfrestore.audio.mp3 import mp3_sample_rate
from tfrestore.data.encoded_pairs import encode_pair
from tfrestore.data.excerpt_pairs import ExcerptPairs
from tfrestore.data.excerpts import length_of
from tfrestore.data.shards import PreparedTrack, read_pair
from tfrestore.data.tracks import Track
from tfrestore.errors import AudioFileError, UsageError

#: Samples of 336 frames: 2048 + 335 * 512.
PAPER_SAMPLES = 173568

LISTENING_SECONDS = 8


@dataclass(frozen=True)
class Mp3Pairs(ExcerptPairs):
    """Which pairs are made of the tracks.

    Args:
        kbit_per_second: The MP3's constant bit rate, one channel; or several, of which each example
            has one: drawn at random, or taking turns in file order. Defaults to `16`.
        samples: Samples per excerpt. Defaults to `173568`, the paper's 336 frames.
        sample_rate: Hz; tracks are resampled where they have another. Defaults to `44100`.
        order: `"random"`: each epoch has all excerpts, in random order. `"file"`: one after the
            other, track by track. Defaults to `"random"`.
        with_bandwidth: Whether an example tells up to which frequency it is the truth. Defaults to
            `False`.

    Raises:
        UsageError: if LAME has no such bit rate, or another argument is none of those possible.
    """

    kbit_per_second: int | Sequence[int] = 16
    samples: int = PAPER_SAMPLES
    sample_rate: int = 44100
    order: str = "random"
    with_bandwidth: bool = False

    def __post_init__(self):
        super().__post_init__()
        if not self.bit_rates:
            raise UsageError("data.kbit_per_second is empty: give at least one bit rate.")
        for rate in self.bit_rates:
            mp3_sample_rate(self.sample_rate, 1, rate)

    @property
    def bit_rates(self) -> tuple[int, ...]:
        """The bit rates in kbit/s."""
        rates = self.kbit_per_second
        return (rates,) if isinstance(rates, int) else tuple(dict.fromkeys(rates))

    @property
    def variants(self) -> tuple[int, ...]:
        """The bit rates."""
        return self.bit_rates

    def begins(self, track: Track) -> Sequence[int]:
        """The first samples of a track's excerpts; those of a prepared one are the prepared."""
        return track.begins if isinstance(track, PreparedTrack) else super().begins(track)

    def check(self, track: Track) -> None:
        """Refuses a track that was prepared for other pairs.

        Raises:
            UsageError: if that is so.
        """
        if isinstance(track, PreparedTrack):
            if self.with_bandwidth:
                raise UsageError(
                    f"{track.settings.folder}: pairs that were prepared do not tell their "
                    "bandwidth; give the music itself, or data.mask_above_bandwidth=false."
                )
            track.settings.check(self.sample_rate, self.samples, self.bit_rates)

    def is_replaceable(self, track: Track) -> bool:
        """Whether an excerpt of this track is replaced: not a prepared one, which is made anew."""
        return not isinstance(track, PreparedTrack)

    def make(self, track: Track, number: int, variant: int) -> tuple[np.ndarray, np.ndarray]:
        """Encodes and decodes an excerpt, or takes the prepared one; see `ExcerptPairs`."""
        if isinstance(track, PreparedTrack):
            pair = read_pair(track.records[number])
        else:
            begin = self.begins(track)[number]
            pair = encode_pair(track, begin, self.samples, self.sample_rate, [variant])
        return pair.decode(variant, self.sample_rate)


def listening_pair(
    tracks: Sequence[Track], sample_rate: int, kbit_per_second: int
) -> tuple[np.ndarray, np.ndarray]:
    """Eight seconds of the first track, degraded and not, to look at and to listen to.

    They are the middle of the track, which is padded with silence where it is shorter. Of prepared
    tracks only some have them, and the first of those is taken.

    Args:
        tracks: At least one.
        sample_rate: The pairs' rate, Hz.
        kbit_per_second: The bit rate.

    Returns:
        `(degraded, original)`, float32 `(8 * sample_rate,)` each.

    Raises:
        AudioFileError: if the track cannot be decoded, or the prepared pair is missing or damaged.
        UsageError: if the tracks were prepared for other pairs.
    """
    track = tracks[0]
    if isinstance(track, PreparedTrack):
        track.settings.check(sample_rate, track.settings.samples, [kbit_per_second])
        listening = [each.listening for each in tracks if each.listening]
        if not listening:
            raise AudioFileError(f"{track.path.parent} holds no pair to listen to.")
        return read_pair(listening[0]).decode(kbit_per_second, sample_rate)
    begin, samples = listening_excerpt(track, sample_rate)
    pair = encode_pair(track, begin, samples, sample_rate, [kbit_per_second])
    return pair.decode(kbit_per_second, sample_rate)


def listening_excerpt(track: Track, sample_rate: int) -> tuple[int, int]:
    """First sample and length, at a rate, of the part of a track that is listened to."""
    samples = LISTENING_SECONDS * sample_rate
    length = length_of(track, sample_rate)
    return max(0, (length - samples) // 2), samples
