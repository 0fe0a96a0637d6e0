"""The tf.data pipeline: from a catalogue to batches of degraded and intact patches.

Every example is a pure function of (seed, position): which track, where in it, which gaps. So a run
that was stopped goes on at any position with the very examples an uninterrupted run would have seen,
and nothing has to be shuffled in memory: the order of excerpts is random to begin with. Excerpts are
read from many files in parallel; only the part of a file that is needed is decoded where its format
can seek.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from tfrestore.audio.resampling import resample
from tfrestore.audio.tf_decoding import decode_excerpt
from tfrestore.data.catalogue import Track
from tfrestore.data.gaps import PATCH_SHAPE, gap_mask, waveform_gap_mask
from tfrestore.errors import UsageError

ORDERS = ("random", "file")

# Resampling an excerpt needs a little of what surrounds it; this much, in seconds, is decoded on both
# sides so that the excerpt equals the same stretch of the resampled track.
RESAMPLING_MARGIN = 0.02


@dataclass(frozen=True)
class PatchGeometry:
    """How waveforms become patches: the analysis of the inpainters.

    Attributes:
        sample_rate: Hz.
        frame_length: Samples per STFT frame.
        hop_length: Samples between frames.
        frames: Frames per patch.
        bins: Bins per patch.
    """

    sample_rate: int = 16000
    frame_length: int = 256
    hop_length: int = 64
    frames: int = PATCH_SHAPE[0]
    bins: int = PATCH_SHAPE[1]

    def samples(self, patches: int) -> int:
        """Samples of a waveform whose complete frames make exactly that many patches."""
        return (patches * self.frames - 1) * self.hop_length + self.frame_length


@dataclass(frozen=True)
class GapExamples:
    """Which excerpts are drawn from the tracks and which gaps they get.

    Args:
        gaps: A gap kind (`frames`, `window`, `bands`, `waveform`), or several, which then take turns.
        share_lost: Least and largest share of a patch that is lost. Defaults to the paper's 0.1, 0.7.
        patches_per_excerpt: Neighbouring patches cut from one place of one track. Defaults to `2`.
        order: `"random"`: excerpts from anywhere in all tracks, tracks weighted by their duration.
            `"file"`: excerpts one after the other, track by track, the same in every epoch, as the
            authors' code does. Defaults to `"random"`.
        geometry: How waveforms become patches.

    Raises:
        UsageError: if a kind, the order or a number is none of those possible.
    """

    gaps: str | Sequence[str] = "frames"
    share_lost: Sequence[float] = (0.1, 0.7)
    patches_per_excerpt: int = 2
    order: str = "random"
    geometry: PatchGeometry = field(default_factory=PatchGeometry)

    def __post_init__(self):
        if self.order not in ORDERS:
            raise UsageError(f"data.order is {self.order!r}: choose one of {', '.join(ORDERS)}.")
        if self.patches_per_excerpt < 1:
            raise UsageError(
                f"data.patches_per_excerpt is {self.patches_per_excerpt}: give at least 1."
            )
        for kind in self.kinds:
            self.masks(kind, seed=0, index=0, patches=1)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The gap kinds that take turns."""
        return (self.gaps,) if isinstance(self.gaps, str) else tuple(self.gaps)

    def masks(self, kind: str, seed: int, index: int, patches: int) -> np.ndarray:
        """What is kept of `patches` neighbouring patches, bool `(patches, frames, bins)`.

        A frame that touches a lost sample of the waveform counts as lost: its magnitude is wrong.
        """
        geometry = self.geometry
        shape = (geometry.frames, geometry.bins)
        shares = tuple(self.share_lost)
        if kind != "waveform":
            return gap_mask(kind, seed, index, patches, shares=shares, shape=shape)
        samples = geometry.samples(patches)
        kept = waveform_gap_mask(samples, geometry.sample_rate, seed, index, shares=shares)
        frames = np.lib.stride_tricks.sliding_window_view(kept, geometry.frame_length)
        frames = frames[:: geometry.hop_length].all(axis=1)
        return np.broadcast_to(frames.reshape(patches, -1, 1), (patches, *shape))

    def excerpts_in(self, tracks: Sequence[Track]) -> int:
        """How many excerpts the tracks hold when they are cut one after the other."""
        return sum(self._excerpts_in_track(track) for track in tracks)

    def _excerpts_in_track(self, track: Track) -> int:
        geometry = self.geometry
        return max(1, int(track.duration * geometry.sample_rate) // self._stride())

    def _stride(self) -> int:
        geometry = self.geometry
        return self.patches_per_excerpt * geometry.frames * geometry.hop_length

    def dataset(
        self,
        tracks: Sequence[Track],
        batch_size: int,
        seed: int,
        start: int = 0,
        batches: int | None = None,
    ) -> tf.data.Dataset:
        """Batches `(waveforms, masks)` from position `start` on.

        Args:
            tracks: Where excerpts come from; at least one.
            batch_size: Patches per batch, a multiple of `patches_per_excerpt`.
            seed: Decides excerpts and gaps.
            start: Number of the first batch.
            batches: How many batches; endless when `None`.

        Returns:
            A dataset of pairs: waveforms float32 `(excerpts, samples)` at the geometry's rate, mono;
            masks float32 `(batch_size, frames, bins, 1)`, 1 where a cell is kept. Patches `k * p` to
            `k * p + p - 1` of the masks belong to excerpt `k`, with `p` patches per excerpt.

        Raises:
            UsageError: if the batch size is not a multiple of `patches_per_excerpt`.
        """
        if batch_size < 1 or batch_size % self.patches_per_excerpt:
            raise UsageError(
                f"the batch size is {batch_size}, but it has to be a multiple of "
                f"data.patches_per_excerpt, which is {self.patches_per_excerpt}; change one of them."
            )
        excerpts = batch_size // self.patches_per_excerpt
        reader = _ExcerptReader(self, tracks, seed)
        stop = np.iinfo(np.int64).max if batches is None else (start + batches) * excerpts
        dataset = tf.data.Dataset.range(start * excerpts, stop)
        dataset = dataset.map(reader.read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        dataset = dataset.batch(excerpts, drop_remainder=True)

        def join(waveforms, masks):
            return waveforms, tf.reshape(masks, [batch_size, *masks.shape[2:], 1])

        return dataset.map(join).prefetch(tf.data.AUTOTUNE)


class _ExcerptReader:
    """Reads the excerpt of a position and draws its gaps."""

    def __init__(self, examples: GapExamples, tracks: Sequence[Track], seed: int):
        self.examples = examples
        self.tracks = tracks
        self.seed = seed
        counts = [examples._excerpts_in_track(track) for track in tracks]
        self.ends = np.cumsum(counts)
        self.paths = tf.constant([str(track.path) for track in tracks])
        self.geometry = examples.geometry
        self.samples = self.geometry.samples(examples.patches_per_excerpt)

    def read(self, position):
        """The waveform `(samples,)` and the masks `(patches, frames, bins)` of a position."""
        track, first, frames, offset, rate, masks = tf.numpy_function(
            self._plan, [position], [tf.int64] * 5 + [tf.float32]
        )
        decoded = decode_excerpt(tf.gather(self.paths, track), first, frames, channels=1)
        waveform = tf.numpy_function(self._to_model_rate, [decoded, rate, offset], tf.float32)
        waveform.set_shape([self.samples])
        patches = self.examples.patches_per_excerpt
        masks.set_shape([patches, self.geometry.frames, self.geometry.bins])
        return waveform, masks

    def _plan(self, position):
        """Where to read: track, first frame and number of frames in it, and the excerpt's offset."""
        examples, model_rate = self.examples, self.geometry.sample_rate
        stride = examples._stride()
        if examples.order == "file":
            within = int(position) % int(self.ends[-1])
            number = int(np.searchsorted(self.ends, within, side="right"))
            track = self.tracks[number]
            begin = (within - (self.ends[number - 1] if number else 0)) * stride
        else:
            chance, place = _two_fractions(self.seed, int(position))
            number = int(np.searchsorted(self.ends, chance * self.ends[-1], side="right"))
            track = self.tracks[number]
            available = int(track.duration * model_rate) - self.samples
            begin = int(place * max(0, available + 1))
        # Begins on a sample of both rates' common grid, so that resampling needs no fractional shift.
        begin -= int(begin) % (model_rate // np.gcd(model_rate, track.sample_rate))
        margin = int(RESAMPLING_MARGIN * model_rate)
        margin += -margin % (model_rate // np.gcd(model_rate, track.sample_rate))
        before = min(margin, begin)
        to_file = track.sample_rate / model_rate
        first = round((begin - before) * to_file)
        frames = round((before + self.samples + margin) * to_file)
        frames = max(1, min(frames, track.frames - first))
        kind = examples.kinds[int(position) % len(examples.kinds)]
        count = examples.patches_per_excerpt
        index = int(position) if kind == "waveform" else int(position) * count
        masks = examples.masks(kind, self.seed, index, count)
        integers = (number, first, frames, before, track.sample_rate)
        return *(np.int64(value) for value in integers), masks.astype(np.float32)

    def _to_model_rate(self, decoded, rate, offset):
        """The excerpt `(samples,)`: resampled, its margin cut; short tracks end in zeros."""
        waveform = resample(decoded, int(rate), self.geometry.sample_rate)[0]
        waveform = waveform[offset : offset + self.samples]
        return np.pad(waveform, (0, self.samples - len(waveform)))


def _two_fractions(seed: int, position: int) -> tuple[float, float]:
    """Two numbers in [0, 1) that depend on nothing but the arguments."""
    digest = hashlib.blake2b(f"{seed}:{position}".encode(), digest_size=16).digest()
    return tuple(int.from_bytes(half, "big") / 2**64 for half in (digest[:8], digest[8:]))
