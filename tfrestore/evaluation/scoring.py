"""Scores of a restorer, patch by patch, as Serra et al. (WebMedia 2021) define them.

Every recording is cut into patches of 128 frames by 128 bins. PSNR and NRMSE of a patch are taken
on normalised magnitudes, of the degraded patch and of the restored one, against the intact one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from keras import ops

from tfrestore.audio.files import AudioReader
from tfrestore.audio.resampling import StreamResampler
from tfrestore.data.catalogue import Track
from tfrestore.data.degradation import Degradation
from tfrestore.data.gaps import PATCH_SHAPE, gap_mask
from tfrestore.metrics.spectral import nrmse, psnr
from tfrestore.restorer import Restorer

#: Patches that go through a network at once.
PATCHES_PER_BATCH = 32


@dataclass(frozen=True)
class PatchScores:
    """The scores of a recording's patches, each array `(patches,)`.

    Attributes:
        psnr_degraded: dB, of the degraded patches; infinite where nothing was lost.
        psnr_restored: dB, of the restored patches.
        nrmse_degraded: Of the degraded patches.
        nrmse_restored: Of the restored patches.
    """

    psnr_degraded: np.ndarray
    psnr_restored: np.ndarray
    nrmse_degraded: np.ndarray
    nrmse_restored: np.ndarray


def read_at_rate(track: Track, sample_rate: int) -> np.ndarray:
    """A recording mixed to mono at another rate, float32 `(samples,)`."""
    with AudioReader(track.path) as reader:
        resampler = StreamResampler(track.sample_rate, sample_rate, 1)
        parts = [
            resampler.process(block.mean(axis=0, keepdims=True))
            for block in reader.blocks(track.sample_rate)
        ]
        return np.concatenate([*parts, resampler.finish()], axis=1)[0]


def score_track(
    restorer: Restorer,
    track: Track,
    degradation: Degradation,
    seed: int,
    index: int,
    progress: Callable[[float], None] | None = None,
) -> PatchScores:
    """Degrades a recording, restores it, and scores every patch.

    Spectrogram gaps are put into the patches and restored patch by patch, as in the paper. Other
    degradations are put into the waveform, which is restored as `restore` does it.

    Args:
        restorer: an inpainter's restorer.
        track: the intact recording.
        degradation: what to do to it.
        seed: decides the gaps.
        index: number of the track, so that tracks have different gaps.
        progress: called with the fraction done.
    """
    waveform = read_at_rate(track, restorer.sample_rate)
    if degradation.family == "gaps" and degradation.kind != "waveform":
        triples = _gapped_patches(restorer, waveform, degradation.kind, seed, index)
    else:
        degraded = degradation.degrade(waveform[None], restorer.sample_rate, seed, index)[0]
        restored = restorer.restore(degraded, restorer.sample_rate)
        triples = zip(
            *(_patches(restorer, each) for each in (waveform, degraded, restored)), strict=True
        )
    batches = []
    for reference, before, after in triples:
        reference, before, after = (
            restorer.normalise(each, restorer.target_scale)[..., 0]
            for each in (reference, before, after)
        )
        batches.append(
            [score(reference, each) for score in (psnr, nrmse) for each in (before, after)]
        )
        if progress:
            frames = len(batches) * PATCHES_PER_BATCH * PATCH_SHAPE[0]
            progress(min(1.0, frames * restorer.hop_length / len(waveform)))
    return PatchScores(*(np.concatenate(column) for column in zip(*batches, strict=True)))


def _gapped_patches(restorer, waveform, kind, seed, index):
    """Batches of intact, gapped and restored patches."""
    number = index << 32
    for reference in _patches(restorer, waveform):
        mask = gap_mask(kind, seed, number, len(reference))
        number += len(reference)
        degraded = reference * mask
        yield reference, degraded, ops.convert_to_numpy(restorer.restore_magnitude(degraded))


def _patches(restorer, waveform: np.ndarray) -> Iterator[np.ndarray]:
    """Batches of magnitude patches `(patches, frames, bins)`; a short recording ends in silence."""
    frames = PATCH_SHAPE[0]
    stride = PATCHES_PER_BATCH * frames * restorer.hop_length
    overlap = restorer.frame_length - restorer.hop_length
    shortest = frames * restorer.hop_length + overlap
    waveform = np.pad(waveform, (0, max(0, shortest - len(waveform))))
    for start in range(0, max(1, len(waveform) - shortest + 1), stride):
        part = waveform[start : start + stride + overlap]
        patches = ops.convert_to_numpy(restorer.patch_magnitudes(part[None], frames))
        if len(patches):
            yield patches
