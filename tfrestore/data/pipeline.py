"""The tf.data pipeline: from a catalogue to batches of waveforms and masks of gaps.

Every example is a pure function of (seed, position): which track, where in it, which gaps. So a run
that was stopped goes on at any position with the very examples an uninterrupted run would have
seen, and nothing has to be shuffled in memory: the order of excerpts is random to begin with.
Excerpts are read from many files in parallel; only the part of a file that is needed is decoded
where its format can seek. An excerpt that cannot be decoded is replaced by another one, drawn from
(seed, position) as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from tfrestore.audio.tf_decoding import decode_excerpt
from tfrestore.data.excerpts import (
    MOST_ATTEMPTS,
    ORDERS,
    Plan,
    Replacements,
    cut_excerpt,
    fractions,
    length_of,
    plan_excerpt,
)
from tfrestore.data.gaps import PATCH_SHAPE, gap_mask, waveform_gap_mask
from tfrestore.data.shards import PreparedTrack
from tfrestore.data.songs import with_own_files
from tfrestore.data.tracks import Track
from tfrestore.errors import AudioFileError, UsageError


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
        gaps: A gap kind (`frames`, `window`, `bands`, `waveform`), or several that take turns.
        share_lost: Least and largest share of a patch that is lost. Defaults to `(0.1, 0.7)`, the
            paper's.
        patches_per_excerpt: Neighbouring patches cut from one place of one track. Defaults to `2`.
        order: `"random"`: excerpts from anywhere in all tracks, tracks weighted by their duration.
            `"file"`: excerpts one after the other, track by track, the same in every epoch, as the
            authors' code does. Defaults to `"random"`.
        geometry: How waveforms become patches.
        use_tensorflow_io: As for `decode_excerpt`; no result depends on it.
        waveform_share_lost: Least and largest share of the samples that `waveform` gaps lose, of
            which more frames than that are lost. Defaults to `share_lost`.

    Raises:
        UsageError: if a kind, the order or a number is none of those possible.
    """

    gaps: str | Sequence[str] = "frames"
    share_lost: Sequence[float] = (0.1, 0.7)
    patches_per_excerpt: int = 2
    order: str = "random"
    geometry: PatchGeometry = field(default_factory=PatchGeometry)
    use_tensorflow_io: bool | None = None
    waveform_share_lost: Sequence[float] | None = None

    def __post_init__(self):
        if self.order not in ORDERS:
            raise UsageError(f"data.order is {self.order!r}: choose one of {', '.join(ORDERS)}.")
        if self.patches_per_excerpt < 1:
            raise UsageError(
                f"data.patches_per_excerpt is {self.patches_per_excerpt}: give at least 1."
            )
        if not self.kinds:
            raise UsageError("data.gaps is empty: name at least one kind.")
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
        if kind == "waveform" and self.waveform_share_lost is not None:
            shares = tuple(self.waveform_share_lost)
        if kind != "waveform":
            return gap_mask(kind, seed, index, patches, shares=shares, shape=shape)
        samples = geometry.samples(patches)
        kept = waveform_gap_mask(samples, geometry.sample_rate, seed, index, shares=shares)
        frames = np.lib.stride_tricks.sliding_window_view(kept, geometry.frame_length)
        frames = frames[:: geometry.hop_length].all(axis=1)
        return np.broadcast_to(frames.reshape(patches, -1, 1), (patches, *shape))

    def excerpts_in(self, tracks: Sequence[Track]) -> int:
        """How many excerpts the tracks hold when they are cut one after the other."""
        return sum(self._excerpts_in_track(track) for track in with_own_files(tracks))

    def _excerpts_in_track(self, track: Track) -> int:
        return max(1, self._samples_of(track) // self._stride())

    def _samples_of(self, track: Track) -> int:
        return length_of(track, self.geometry.sample_rate)

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
            A dataset of pairs: waveforms float32 `(excerpts, samples)` at the geometry's rate,
            mono; masks float32 `(batch_size, frames, bins, 1)`, 1 where a cell is kept. Patches
            `k * p` to `k * p + p - 1` of the masks belong to excerpt `k`, with `p` patches per
            excerpt.

        Raises:
            UsageError: if the batch size is not a multiple of `patches_per_excerpt`, or the tracks
                are pairs that `tfrestore prepare` made.
            tf.errors.OpError: (when it is iterated) excerpt after excerpt cannot be decoded;
                `decoding_error` makes a sentence of it.
        """
        if batch_size < 1 or batch_size % self.patches_per_excerpt:
            raise UsageError(
                f"the batch size is {batch_size}, but it has to be a multiple of data.patches_per_"
                f"excerpt, which is {self.patches_per_excerpt}; change one of them."
            )
        for track in tracks:
            if isinstance(track, PreparedTrack):
                raise UsageError(
                    f"{track.settings.folder}: these are pairs of music and MP3, but this model "
                    "learns from music with gaps; give the folder of music."
                )
        excerpts = batch_size // self.patches_per_excerpt
        reader = ExcerptReader(self, with_own_files(tracks), seed)
        stop = np.iinfo(np.int64).max if batches is None else (start + batches) * excerpts
        dataset = tf.data.Dataset.range(start * excerpts, stop)
        dataset = dataset.interleave(
            reader.read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        dataset = dataset.batch(excerpts, drop_remainder=True)

        def join(waveforms, masks):
            return waveforms, tf.reshape(masks, [batch_size, *masks.shape[2:], 1])

        return dataset.map(join).prefetch(tf.data.AUTOTUNE)


def decoding_error(error: tf.errors.OpError) -> AudioFileError | None:
    """What a dataset's error says about a file, in one line; `None` if it says nothing of one."""
    found = re.search(rf"{AudioFileError.__name__}: (.+)", error.message or "")
    return AudioFileError(found[1]) if found else None


class ExcerptReader:
    """Reads the excerpt of a position and draws its gaps."""

    def __init__(self, examples: GapExamples, tracks: Sequence[Track], seed: int):
        self.examples = examples
        self.tracks = tracks
        self.seed = seed
        self.ends = np.cumsum([examples._excerpts_in_track(track) for track in tracks])
        self.geometry = examples.geometry
        self.samples = self.geometry.samples(examples.patches_per_excerpt)
        self.replacements = Replacements()

    def read(self, position) -> tf.data.Dataset:
        """One element, the waveform `(samples,)` and masks `(patches, frames, bins)` of a position.

        A dataset and not tensors, because only a dataset can go on after an error of any decoder.
        """
        attempts = tf.data.Dataset.range(MOST_ATTEMPTS)
        found = attempts.map(lambda attempt: self._attempt(position, attempt)).ignore_errors()
        final = tf.data.Dataset.from_tensors(np.int64(MOST_ATTEMPTS))
        failed = final.map(lambda attempt: self._attempt(position, attempt))
        return found.concatenate(failed).take(1)

    def _attempt(self, position, attempt):
        path, first, frames, rate, offset, masks = tf.numpy_function(
            self._prepare, [position, attempt], [tf.string] + [tf.int64] * 4 + [tf.float32]
        )
        for scalar in (path, first, frames):
            scalar.set_shape([])
        decoded = decode_excerpt(
            path, first, frames, channels=1, use_tensorflow_io=self.examples.use_tensorflow_io
        )
        waveform = tf.numpy_function(self._to_model_rate, [decoded, rate, offset], tf.float32)
        waveform.set_shape([self.samples])
        patches = self.examples.patches_per_excerpt
        masks.set_shape([patches, self.geometry.frames, self.geometry.bins])
        return waveform, masks

    def _prepare(self, position, attempt):
        position, attempt = int(position), int(attempt)
        if attempt:
            self.replacements.report(self.plan(position, attempt - 1).track, attempt)
        track, first, frames, offset = self.plan(position, attempt)
        examples = self.examples
        kind = examples.kinds[position % len(examples.kinds)]
        count = examples.patches_per_excerpt
        index = position if kind == "waveform" else position * count
        masks = examples.masks(kind, self.seed, index, count).astype(np.float32)
        integers = (np.int64(value) for value in (first, frames, track.sample_rate, offset))
        return os.fsencode(track.path), *integers, masks

    def plan(self, position: int, attempt: int = 0) -> Plan:
        """Where the excerpt of a position is; later attempts are at random places in any order."""
        examples = self.examples
        if examples.order == "file" and attempt == 0:
            within = position % int(self.ends[-1])
            number = int(np.searchsorted(self.ends, within, side="right"))
            track = self.tracks[number]
            begin = (within - (int(self.ends[number - 1]) if number else 0)) * examples._stride()
        else:
            chance, place = fractions(self.seed, position, attempt)
            number = int(np.searchsorted(self.ends, int(chance * self.ends[-1]), side="right"))
            track = self.tracks[number]
            begin = int(place * max(1, examples._samples_of(track) - self.samples + 1))
        return plan_excerpt(track, begin, self.samples, self.geometry.sample_rate)

    def _to_model_rate(self, decoded, rate, offset):
        """The excerpt `(samples,)`: resampled, its margin cut; short tracks end in zeros."""
        return cut_excerpt(decoded, int(rate), int(offset), self.samples, self.geometry.sample_rate)
