"""Laying rulers on a pair of recordings.

PSNR and NRMSE are laid on every patch of 128 by 128 magnitudes at 16 kHz (Serra et al.), PEAQ and
ViSQOL on the recording as it is, and all others on the mean of its channels. A ruler that has no
value on a recording says why; it never makes one up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfrestore import metrics
from tfrestore.audio.resampling import resample
from tfrestore.errors import UndefinedMetricError
from tfrestore.evaluation.rulers import CHOICES

#: Hz at which the inpainter's authors cut patches.
PATCH_SAMPLE_RATE = 16000

#: Samples that a recording needs for all rulers that compare short-time spectra.
LONGEST_FRAME = 2048


@dataclass(frozen=True)
class Score:
    """What a ruler says of one recording.

    Attributes:
        values: float64 `(items,)`: one per patch for PSNR and NRMSE, and otherwise a single one.
            Infinite where reference and estimate are equal, NaN where the ruler has no value.
        reason: Why it has none; empty where it has.
    """

    values: np.ndarray
    reason: str = ""

    @property
    def summary(self) -> float:
        """The recording's own number: the mean of its finite values, infinite where all are."""
        finite = self.values[np.isfinite(self.values)]
        if finite.size:
            return float(finite.mean())
        infinite = self.values[np.isinf(self.values)]
        return float(infinite[0]) if infinite.size else float("nan")


def score_waveforms(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int, choices: Sequence[str]
) -> dict[str, Score]:
    """Lays rulers on a recording.

    Args:
        reference: float32 `(channels, samples)`.
        estimate: Of the same shape.
        sample_rate: Hz of both.
        choices: Keys of `CHOICES`.

    Returns:
        A score for every ruler of the choices, by its name in `RULERS`.
    """
    scores: dict[str, Score] = {}
    mono = np.stack([reference.mean(axis=0), estimate.mean(axis=0)]).astype(np.float64)
    if "psnr" in choices or "nrmse" in choices:
        scores |= _score_patches(mono, sample_rate, choices)
    for choice in choices:
        if choice in ("psnr", "nrmse"):
            continue
        try:
            if choice == "peaq":
                score = metrics.peaq(reference, estimate, sample_rate)
                values = {"odg": score.odg, "di": score.di, **score.variables}
            elif choice == "visqol":
                values = {choice: metrics.visqol(reference, estimate, sample_rate)}
            else:
                values = {choice: _defined(getattr(metrics, choice)(*mono), mono)}
            scores |= {name: Score(np.array([value])) for name, value in values.items()}
        except UndefinedMetricError as error:
            undefined = Score(np.array([np.nan]), str(error))
            scores |= dict.fromkeys(CHOICES[choice], undefined)
    return {name: scores[name] for choice in choices for name in CHOICES[choice]}


def _score_patches(mono, sample_rate, choices):
    """PSNR and NRMSE of every patch of 128 by 128."""
    rows = resample(mono.astype(np.float32), sample_rate, PATCH_SAMPLE_RATE)
    patches = [metrics.magnitude_patches(row) for row in rows]
    names = [name for name in ("psnr", "nrmse") if name in choices]
    if not len(patches[0]):
        undefined = Score(np.array([np.nan]), "the recording is shorter than a patch, 0.524 s")
        return dict.fromkeys(names, undefined)
    return {name: Score(getattr(metrics, name)(*patches)) for name in names}


def _defined(value, mono) -> float:
    if np.isnan(value):
        raise UndefinedMetricError(_reason(mono))
    return float(value)


def _reason(mono) -> str:
    """Why a ruler that compares samples has no value."""
    if not np.isfinite(mono).all():
        return "there are samples that are not finite numbers"
    for name, waveform in zip(("reference", "estimate"), mono, strict=True):
        if not waveform.any():
            return f"the {name} is silent"
    if mono.shape[1] < LONGEST_FRAME:
        return f"the recording is shorter than {LONGEST_FRAME} samples"
    return "a signal is constant"
