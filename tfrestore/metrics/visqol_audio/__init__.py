"""ViSQOL in its audio mode, the quality that listeners would give to a recording: `visqol`.

Hines et al., "ViSQOLAudio" (JASA 137(6), 2015); Chinen et al., "ViSQOL v3" (QoMEX 2020). Estimate
and reference are aligned (`alignment`), brought to one level and turned into spectrograms of 32
gammatone bands (`gammatone`); patches of these are matched (`matching`) and compared by neurogram
similarity (`similarity`, `patches`); a regression trained on listening tests turns the similarities
into a mean opinion score (`quality`). The scores equal those of visqol-python 3.8.0, a port of
Google's implementation, to 1e-6, at a small part of its time. (The package is not named as the
function is: `tfrestore.metrics.visqol` is the function.)
"""

from __future__ import annotations

import numpy as np

from tfrestore.audio.resampling import resample
from tfrestore.errors import InputError, UndefinedMetricError
from tfrestore.metrics.items import pair
from tfrestore.metrics.visqol_audio.gammatone import SAMPLE_RATE
from tfrestore.metrics.visqol_audio.patches import LEAST_SAMPLES, patch_band_similarities
from tfrestore.metrics.visqol_audio.quality import trained_regression


def visqol(reference, estimate, sample_rate: int) -> float:
    """The mean opinion score that ViSQOL's audio mode predicts for an estimate (MOS-LQO).

    Channels are averaged before anything else, as in the published implementation, and the mean is
    resampled to 48 kHz. The estimate's level does not count, nor does a delay of up to half of the
    recording; the reference's level does, as what is below -90 dB of full scale is not heard. Ten
    seconds take about 0.4 s of one core and, like any length, 150 bytes of memory a sample; the
    operations are n log n, for the alignment.

    Args:
        reference: (samples,) or (channels, samples), full scale 1.
        estimate: As `reference`.
        sample_rate: Of both, in hertz.

    Returns:
        1 (bad) to 4.732, the score of equal recordings.

    Raises:
        InputError: if the shapes differ or have other axes.
        UsageError: if the sample rate is not a positive whole number.
        UndefinedMetricError: if either is silent (the reference: below -90 dB of full scale in all
            bands; the estimate: zero), shorter than 0.96 s, or not finite.
    """
    reference, estimate = pair(reference, estimate, ("samples",))
    if reference.ndim > 2 or 0 in reference.shape[:-1]:
        raise InputError(
            f"ViSQOL compares (samples,) or (channels, samples), not arrays of {reference.shape}."
        )
    regression = trained_regression()
    # What overflows, `patch_band_similarities` sees by its result.
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        reference, estimate = (_at_48_khz(each, sample_rate) for each in (reference, estimate))
        if len(reference) < LEAST_SAMPLES:
            raise UndefinedMetricError(f"shorter than {LEAST_SAMPLES / SAMPLE_RATE} s")
        similarities = patch_band_similarities(reference, estimate)
    return regression.mean_opinion_score(similarities)


def _at_48_khz(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """The mean of the channels, float64 (samples,)."""
    mono = np.asarray(np.atleast_2d(waveform), "float64").mean(axis=0)
    if sample_rate != SAMPLE_RATE:
        mono = resample(mono[None], sample_rate, SAMPLE_RATE)[0].astype("float64")
    if not np.isfinite(mono).all():
        raise UndefinedMetricError("a sample is not a finite number")
    return mono
