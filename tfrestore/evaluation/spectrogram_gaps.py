"""Scores of inpainters on gaps that exist in a magnitude spectrogram only, as Serra et al. score.

Every recording is mixed to mono, resampled to the model's rate and cut into patches of 128 frames
by 128 bins. Gaps are put into the patches, which are restored one by one (WebMedia 2021); PSNR and
NRMSE are taken on normalised magnitudes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from keras import ops

from tfrestore.audio.resampling import resample
from tfrestore.data.degradation import Degradation
from tfrestore.data.gaps import PATCH_SHAPE, gap_mask
from tfrestore.data.tracks import Track
from tfrestore.errors import AudioFileError, UsageError
from tfrestore.evaluation.measurement import DEGRADED, Excerpt, Measurement, Subject
from tfrestore.evaluation.restorations import Restorations
from tfrestore.evaluation.scoring import Score
from tfrestore.evaluation.workers import Failure
from tfrestore.metrics import nrmse, psnr
from tfrestore.restorer import Restorer

#: Patches that go through a network at once.
PATCHES_PER_BATCH = 32

_RULERS = {"psnr": psnr, "nrmse": nrmse}


def measure_gapped_patches(
    restorations: Restorations,
    tracks: Sequence[Track],
    degradation: Degradation,
    choices: Sequence[str],
    wanted: Callable[[Subject], bool] = lambda subject: True,
) -> Iterator[Measurement | Failure]:
    """Scores every recording's patches; one that cannot be used does not stop the others.

    Args:
        restorations: The models, and the seed that decides the gaps.
        tracks: The intact recordings.
        degradation: A spectrogram gap.
        choices: Metrics to take; PSNR and NRMSE are those that patches have.
        wanted: What to measure.

    Raises:
        UsageError: if a model restores no patches, or no metric of the choices applies.
    """
    if not any(name in _RULERS for name in choices):
        raise UsageError(
            f"{degradation.name} exists in a spectrogram only, where psnr and nrmse are taken; "
            "add one of them to --metrics, or degrade the waveform with gaps:waveform."
        )
    for system, restorer in restorations.restorers.items():
        if not hasattr(restorer, "restore_magnitude"):
            raise UsageError(
                f"{system} does not work on magnitude spectrograms, so it cannot be scored with "
                f"{degradation.name}; give gaps:waveform or mp3:KBIT_PER_SECOND."
            )
    for index, track in enumerate(tracks):
        for number, (system, restorer) in enumerate(restorations.restorers.items()):
            subject = Subject(track.track_id, track.genre, degradation.name, system)
            if not wanted(subject):
                continue
            try:
                waveform = read_mono(track, restorer.spectrogram_rate, restorations.seconds)
            except AudioFileError as error:
                yield Failure(subject, str(error))
                break
            before, after = score_gapped_patches(
                restorer, subject, waveform, degradation, restorations.seed, index, choices
            )
            # The degraded patches are the same for every model.
            if number == 0:
                yield before
            yield after


def score_gapped_patches(
    restorer: Restorer,
    subject: Subject,
    waveform: np.ndarray,
    degradation: Degradation,
    seed: int,
    index: int,
    choices: Sequence[str],
) -> tuple[Measurement, Measurement]:
    """Puts gaps into the patches of a recording, restores them, and scores them before and after.

    Args:
        restorer: An inpainter's restorer.
        subject: The restored recording.
        waveform: The intact recording, float32 `(samples,)`, at the restorer's rate.
        degradation: A spectrogram gap.
        seed: Decides the gaps.
        index: Number of the track, so that tracks have different gaps.
        choices: Metrics to take, of which PSNR and NRMSE are.

    Returns:
        Measurements of the degraded patches and of the restored ones.
    """
    rulers = {name: _RULERS[name] for name in choices if name in _RULERS}
    values_before, values_after = ({name: [] for name in rulers} for _ in range(2))
    number = 0
    for reference in _patches(restorer, waveform):
        mask = gap_mask(degradation.kind, seed, (index << 32) + number, len(reference))
        number += len(reference)
        degraded = reference * mask
        restored = ops.convert_to_numpy(restorer.restore_magnitude(degraded))
        intact, before, after = (
            restorer.normalise(each, restorer.target_scale)[..., 0]
            for each in (reference, degraded, restored)
        )
        for name, ruler in rulers.items():
            values_before[name].append(ruler(intact, before))
            values_after[name].append(ruler(intact, after))
    return tuple(
        Measurement(each, {name: Score(np.concatenate(values[name])) for name in rulers})
        for each, values in (
            (dataclasses.replace(subject, system=DEGRADED), values_before),
            (subject, values_after),
        )
    )


def read_mono(track: Track, sample_rate: int, seconds: float | None = None) -> np.ndarray:
    """A recording, or so much of its middle, mixed to mono at another rate, float32 `(samples,)`.

    Raises:
        AudioFileError: if the recording cannot be read.
    """
    waveform, own_rate = Excerpt.middle(track.duration, seconds).read_track(track)
    return resample(waveform.mean(axis=0, keepdims=True), own_rate, sample_rate)[0]


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
