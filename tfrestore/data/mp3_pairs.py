"""Batches of music and its MP3, made on the fly or taken from what `tfrestore prepare` wrote.

For a recipe's `data` section: `Mp3Pairs(...)` has `count(tracks)` and `dataset(tracks, batch_size,
seed, start, batches)`, whose elements are `(degraded, original)`, float32 `(batch_size, samples)`.
`tracks` are those of a catalogue of music, or those that were prepared: `open_training_data` of
`tfrestore.data.shards` gives either, by what lies in the folder. Both give the same examples at the
same positions, bit for bit, so a run may change from one to the other when it is resumed.
`listening_pair(tracks, ...)` is the longer pair that is listened to.

Lattner & Nistal (Electronics 2021): tracks are split first, then cut into excerpts of 4 s (336
frames of an STFT of 2048 samples with a hop of 512: 173568 samples) that overlap by half; 8 s to
listen to. An epoch has each excerpt once, in an order of its own. An example is a pure function of
(seed, position): which excerpt, which bit rate where there are several. An excerpt that cannot be
decoded is replaced by another one, which depends on nothing else either.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrestore.audio.mp3 import mp3_sample_rate
from tfrestore.audio.resampling import resampled_length
from tfrestore.data.catalogue import Track
from tfrestore.data.encoded_pairs import EncodedPair, encode_pair
from tfrestore.data.excerpts import ORDERS, Replacements, two_fractions
from tfrestore.data.shards import PreparedTrack, read_pair
from tfrestore.errors import AudioFileError, UsageError

#: Samples of 336 frames: 2048 + 335 * 512.
PAPER_SAMPLES = 173568

LISTENING_SECONDS = 8


@dataclass(frozen=True)
class Mp3Pairs:
    """Which pairs are made of the tracks.

    Args:
        kbit_per_second: The MP3's constant bit rate, one channel; or several, of which each example
            has one: drawn at random, or taking turns in file order. Defaults to `16`.
        samples: Samples per excerpt. Defaults to `173568`, the paper's 336 frames.
        sample_rate: Hz; tracks are resampled where they have another. Defaults to `44100`.
        order: `"random"`: each epoch has all excerpts, in random order. `"file"`: one after the
            other, track by track. Defaults to `"random"`.

    Raises:
        UsageError: if LAME has no such bit rate, or another argument is none of those possible.
    """

    kbit_per_second: int | Sequence[int] = 16
    samples: int = PAPER_SAMPLES
    sample_rate: int = 44100
    order: str = "random"

    def __post_init__(self):
        if self.order not in ORDERS:
            raise UsageError(f"data.order is {self.order!r}: choose one of {', '.join(ORDERS)}.")
        if self.samples < 1:
            raise UsageError(f"data.samples is {self.samples}: give at least 1.")
        if not self.bit_rates:
            raise UsageError("data.kbit_per_second is empty: give at least one bit rate.")
        for rate in self.bit_rates:
            mp3_sample_rate(self.sample_rate, 1, rate)

    @property
    def bit_rates(self) -> tuple[int, ...]:
        """The bit rates in kbit/s."""
        rates = self.kbit_per_second
        return (rates,) if isinstance(rates, int) else tuple(dict.fromkeys(rates))

    def count(self, tracks: Sequence[Track]) -> int:
        """How many excerpts the tracks hold: the examples of an epoch."""
        return sum(len(self.begins(track)) for track in tracks)

    def begins(self, track: Track) -> Sequence[int]:
        """The first samples of the excerpts of a track; one that is shorter than an excerpt has 1.

        What is left at a track's end, less than half an excerpt, belongs to none.
        """
        if isinstance(track, PreparedTrack):
            return track.begins
        hop = max(1, self.samples // 2)
        samples = resampled_length(track.frames, track.sample_rate, self.sample_rate)
        return range(0, max(1, samples - self.samples + 1), hop)

    def dataset(
        self,
        tracks: Sequence[Track],
        batch_size: int,
        seed: int,
        start: int = 0,
        batches: int | None = None,
    ) -> tf.data.Dataset:
        """Batches `(degraded, original)` from position `start` on.

        Args:
            tracks: Where excerpts come from; at least one.
            batch_size: Pairs per batch.
            seed: Decides order and bit rates.
            start: Number of the first batch.
            batches: How many batches; endless when `None`.

        Returns:
            A dataset of pairs of float32 `(batch_size, samples)`.

        Raises:
            UsageError: if the tracks were prepared for other pairs than these, or the batch size is
                less than 1.
            tf.errors.OpError: (when it is iterated) excerpt after excerpt cannot be decoded, or
                prepared pairs are damaged; `tfrestore.data.pipeline.decoding_error` makes a
                sentence of it.
        """
        if batch_size < 1:
            raise UsageError(f"the batch size is {batch_size}: give at least 1.")
        reader = PairReader(self, tracks, seed)
        stop = np.iinfo(np.int64).max if batches is None else (start + batches) * batch_size
        dataset = tf.data.Dataset.range(start * batch_size, stop)

        def read(position):
            # LAME, libsndfile and soxr let go of Python's lock, so these run in parallel.
            pair = tf.numpy_function(reader.read, [position], [tf.float32] * 2)
            return tuple(tf.ensure_shape(waveform, [self.samples]) for waveform in pair)

        dataset = dataset.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return dataset.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


class PairReader:
    """Makes the pair of a position.

    Args:
        pairs: Which pairs.
        tracks: Where excerpts come from.
        seed: Decides order and bit rates.

    Raises:
        UsageError: if the tracks were prepared for other pairs.
    """

    def __init__(self, pairs: Mp3Pairs, tracks: Sequence[Track], seed: int):
        for track in tracks:
            if isinstance(track, PreparedTrack):
                track.settings.check(pairs.sample_rate, pairs.samples, pairs.bit_rates)
        self.pairs = pairs
        self.tracks = tracks
        self.seed = seed
        self.begins = [pairs.begins(track) for track in tracks]
        self.ends = np.cumsum([len(begins) for begins in self.begins])
        self.replacements = Replacements()

    def place(self, position: int, attempt: int = 0) -> tuple[Track, int]:
        """The track of a position and the number of the excerpt in it.

        Later attempts are at random places in any order.
        """
        total = int(self.ends[-1])
        epoch, index = divmod(position, total)
        if attempt:
            index = int(two_fractions(self.seed, position, attempt)[0] * total)
        elif self.pairs.order == "random":
            index = int(_shuffled(total, self.seed, epoch)[index])
        number = int(np.searchsorted(self.ends, index, side="right"))
        return self.tracks[number], index - int(self.ends[number]) + len(self.begins[number])

    def bit_rate(self, position: int) -> int:
        """The bit rate of a position."""
        rates = self.pairs.bit_rates
        if self.pairs.order == "file":
            return rates[position % len(rates)]
        return rates[int(two_fractions(self.seed, position, 0)[0] * len(rates))]

    def read(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """The pair `(degraded, original)` of a position, float32 `(samples,)` each.

        Raises:
            AudioFileError: if a prepared pair is damaged, or excerpt after excerpt of files cannot
                be decoded.
        """
        position = int(position)
        kbit_per_second = self.bit_rate(position)
        for attempt in itertools.count():
            track, number = self.place(position, attempt)
            if isinstance(track, PreparedTrack):
                pair = read_pair(track.records[number])
                break
            try:
                pair = self._encode(track, number, kbit_per_second)
                break
            except AudioFileError:
                self.replacements.report(track, attempt + 1)
        return pair.decode(kbit_per_second, self.pairs.sample_rate)

    def _encode(self, track: Track, number: int, kbit_per_second: int) -> EncodedPair:
        pairs = self.pairs
        begin = pairs.begins(track)[number]
        return encode_pair(track, begin, pairs.samples, pairs.sample_rate, [kbit_per_second])


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
    length = resampled_length(track.frames, track.sample_rate, sample_rate)
    return max(0, (length - samples) // 2), samples


@functools.lru_cache(maxsize=4)
def _shuffled(total: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch, int64 `(total,)`: the same on every machine and with every NumPy.

    Raw words of Philox, whose stream its definition fixes, are sorted.
    """
    generator = np.random.Philox(key=np.array([seed, epoch], np.uint64))
    return np.argsort(generator.random_raw(total), kind="stable")
