"""Pairs of a degraded and an original excerpt: which a position of a run gets, and their batches.

Whoever trains on pairs takes a class that says how one pair is made: `Mp3Pairs`, `BandwidthPairs`,
`MidiPairs`. All of them have `count(tracks)` and `dataset(tracks, batch_size, seed, start,
batches)`, whose elements are `(degraded, original)`, float32 `(batch_size, samples)`.

Tracks are cut into excerpts that overlap by half (Lattner & Nistal, Electronics 2021; Sifringer et
al. 2020 do the same). An epoch has each excerpt once, in an order of its own. An example is a pure
function of (seed, position): which excerpt, and which variant of the degradation where there are
several. An excerpt that cannot be made is replaced by another one, which depends on nothing else
either.
"""

from __future__ import annotations

import abc
import functools
import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfrestore.data.bandwidths import Bandwidths
from tfrestore.data.excerpts import ORDERS, Replacements, fractions, length_of
from tfrestore.data.pair_batches import pair_batches
from tfrestore.data.tracks import Track
from tfrestore.errors import AudioFileError, UsageError


class ExcerptPairs(abc.ABC):
    """What the classes of pairs share; each is a dataclass with these fields and some of its own.

    Attributes:
        samples: Samples per excerpt.
        sample_rate: Hz.
        order: `"random"`: each epoch has all excerpts, in random order. `"file"`: one after the
            other, track by track.
        with_bandwidth: Whether an example tells up to which frequency it is the truth.
    """

    samples: int
    sample_rate: int
    order: str
    with_bandwidth: bool = False

    def __post_init__(self):
        if self.order not in ORDERS:
            raise UsageError(f"data.order is {self.order!r}: choose one of {', '.join(ORDERS)}.")
        if self.samples < 1:
            raise UsageError(f"data.samples is {self.samples}: give at least 1.")

    @property
    @abc.abstractmethod
    def variants(self) -> Sequence:
        """The variants of the degradation, of which each example has one: at least one.

        One is drawn at random for each example; in file order they take turns.
        """

    @abc.abstractmethod
    def make(self, track: Track, number: int, variant) -> tuple[np.ndarray, np.ndarray]:
        """Makes a pair.

        Args:
            track: Where the excerpt is from.
            number: Its place in `begins(track)`.
            variant: One of `variants`.

        Returns:
            `(degraded, original)`, float32 `(samples,)` each, sample-aligned.

        Raises:
            AudioFileError: if it cannot be made.
        """

    def check(self, track: Track) -> None:  # noqa: B027, most refuse nothing
        """Refuses a track that no such pairs can be made of; every track of a run is asked for.

        Raises:
            UsageError: if that is so.
        """

    def is_replaceable(self, track: Track) -> bool:
        """Whether an excerpt of this track that cannot be made is replaced by another."""
        return True

    def count(self, tracks: Sequence[Track]) -> int:
        """How many excerpts the tracks hold: the examples of an epoch."""
        return sum(len(self.begins(track)) for track in tracks)

    def begins(self, track: Track) -> Sequence[int]:
        """The first samples of the excerpts of a track; one that is shorter than an excerpt has 1.

        What is left at a track's end, less than half an excerpt, belongs to none.
        """
        hop = max(1, self.samples // 2)
        samples = length_of(track, self.sample_rate)
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
            seed: Decides order and variants.
            start: Number of the first batch.
            batches: How many batches; endless when `None`.

        Returns:
            A dataset of pairs of float32 `(batch_size, samples)`; with `with_bandwidth` the
            bandwidth in Hz follows, float32 `(batch_size,)`.

        Raises:
            UsageError: if a track cannot have these pairs, or the batch size is less than 1.
            tf.errors.OpError: (when it is iterated) excerpt after excerpt cannot be made, or
                prepared pairs are damaged; `tfrestore.data.pipeline.decoding_error` makes a
                sentence of it.
        """
        reader = PairReader(self, tracks, seed)
        return pair_batches(
            reader.read, self.samples, batch_size, start, batches, self.with_bandwidth
        )


class PairReader:
    """Makes the pair of a position.

    Args:
        pairs: Which pairs.
        tracks: Where excerpts come from.
        seed: Decides order and variants.

    Raises:
        UsageError: if a track cannot have these pairs.
    """

    def __init__(self, pairs: ExcerptPairs, tracks: Sequence[Track], seed: int):
        for track in tracks:
            pairs.check(track)
        self.pairs = pairs
        self.tracks = tracks
        self.seed = seed
        self.begins = [pairs.begins(track) for track in tracks]
        self.ends = np.cumsum([len(begins) for begins in self.begins])
        self.bandwidths = Bandwidths() if pairs.with_bandwidth else None
        self.replacements = Replacements()

    def place(self, position: int, attempt: int = 0) -> tuple[Track, int]:
        """The track of a position and the number of the excerpt in it.

        Later attempts are at random places in any order.
        """
        total = int(self.ends[-1])
        epoch, index = divmod(position, total)
        if attempt:
            index = int(fractions(self.seed, position, attempt)[0] * total)
        elif self.pairs.order == "random":
            index = int(_shuffled(total, self.seed, epoch)[index])
        number = int(np.searchsorted(self.ends, index, side="right"))
        return self.tracks[number], index - int(self.ends[number]) + len(self.begins[number])

    def variant(self, position: int):
        """The variant of the degradation of a position."""
        variants = self.pairs.variants
        if self.pairs.order == "file":
            return variants[position % len(variants)]
        return variants[int(fractions(self.seed, position, 0)[0] * len(variants))]

    def read(self, position: int) -> tuple[np.ndarray, ...]:
        """The pair `(degraded, original)` of a position, float32 `(samples,)` each.

        With `with_bandwidth` the bandwidth in Hz follows, float32 `()`.

        Raises:
            AudioFileError: if a prepared pair is damaged, or excerpt after excerpt of files cannot
                be made.
        """
        position = int(position)
        variant = self.variant(position)
        for attempt in itertools.count():
            track, number = self.place(position, attempt)
            try:
                pair = self.pairs.make(track, number, variant)
                if self.bandwidths is None:
                    return pair
                return (*pair, np.float32(self.bandwidths.find(track)))
            except AudioFileError:
                if not self.pairs.is_replaceable(track):
                    raise
                self.replacements.report(track, attempt + 1)


@functools.lru_cache(maxsize=4)
def _shuffled(total: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch, int64 `(total,)`: the same on every machine and with every NumPy.

    Raw words of Philox, whose stream its definition fixes, are sorted.
    """
    generator = np.random.Philox(key=np.array([seed, epoch], np.uint64))
    return np.argsort(generator.random_raw(total), kind="stable")
