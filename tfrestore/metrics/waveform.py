"""Rulers for waveforms, sample by sample, in NumPy: SNR, SI-SDR (SI-SNR) and SDR.

All three are 10 log10 of the energy of what is wanted over the energy of what is not, in decibels,
higher is better, without an upper limit. They differ in what of the estimate counts as wanted:

| ruler    | what is wanted                              | does not mind                         |
|----------|---------------------------------------------|---------------------------------------|
| `snr`    | the reference                               | nothing                               |
| `si_sdr` | the reference times the best gain           | a gain (and an offset)                |
| `sdr`    | the reference through the best short filter | a gain, an equalisation, a short delay |

The longer the filter the higher the score, from `si_sdr` without means (a filter of one tap) on;
`snr` may lie on either side. None of them hears: a delay of one sample costs `snr` and `si_sdr`
more than a restoration gains, and invented high frequencies that sound right cost all three.
"""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft
import scipy.linalg
import scipy.signal

from tfrestore.errors import UsageError
from tfrestore.metrics.items import score_items

# What is this far (280 dB) below what it was taken from is the rounding error of double precision,
# about 1e-16 in amplitude.
_ROUNDING = 1e-28

# The same for what is left of a constant signal without its mean, whose rounding error comes in.
_ROUNDING_OF_MEAN = 1e-24

# Points of the Fourier transform of a block in a correlation: many times the filter's taps, and
# small enough for the processor's cache.
_CORRELATION_POINTS = 1 << 15


def snr(reference, estimate) -> np.ndarray:
    """Signal-to-noise ratio: 10 log10(||reference||^2 / ||reference - estimate||^2).

    Lattner & Nistal 2021 (Electronics 10(11), 1349), eq. 7; Sifringer, Stegmüller & Alahi 2020,
    eq. 24.

    Args:
        reference: (..., samples).
        estimate: As `reference`.

    Returns:
        Decibels, higher is better, float64 (...): one value per leading index, over all of its
        samples. Infinite where both are equal, 0 for a silent estimate, NaN where the reference is
        silent (undefined) or either is empty or not finite.

    Raises:
        InputError: if the shapes differ.
    """
    return score_items(_snr, reference, estimate, ("samples",))


def si_sdr(reference, estimate, zero_mean: bool = True) -> np.ndarray:
    """Scale-invariant signal-to-distortion ratio.

    10 log10(||a r||^2 / ||a r - e||^2) with the gain a = <e, r> / ||r||^2 that brings the reference
    r closest to the estimate e: Le Roux, Wisdom, Erdogan & Hershey, "SDR - half-baked or well
    done?" (ICASSP 2019), eqs. 2 and 3. With `zero_mean`, which takes the means away first, it is
    what the literature calls SI-SNR.

    Args:
        reference: (..., samples).
        estimate: As `reference`.
        zero_mean: Whether each signal's mean is taken away first.

    Returns:
        Decibels, higher is better, float64 (...): one value per leading index. Infinite where the
        estimate is the reference times any gain other than zero, minus infinity where they are
        orthogonal (either to 280 dB, where double precision ends), NaN where the reference or the
        estimate is silent (constant, with `zero_mean`), empty or not finite.

    Raises:
        InputError: if the shapes differ.
    """
    score = functools.partial(_si_sdr, zero_mean=zero_mean)
    return score_items(score, reference, estimate, ("samples",))


def sdr(reference, estimate, filter_length: int = 512, joint_channels: bool = False) -> np.ndarray:
    """Signal-to-distortion ratio of BSS Eval for one source.

    10 log10(||p||^2 / ||p - e||^2), where p is the projection of the estimate e onto the reference
    delayed by 0 to `filter_length` - 1 samples, that is, the reference through the causal filter
    that brings it closest to the estimate: Vincent, Gribonval & Févotte, "Performance measurement
    in blind audio source separation" (2006), eqs. 9 to 12 with the time-invariant filters of
    section III.B. It is the SDR of `mir_eval.separation.bss_eval_sources` given one source, as in
    the papers' tables; the SDR of BSS Eval's "images" and of museval's default is another: with one
    source that is `snr` over all channels.

    Args:
        reference: (..., samples), or (..., channels, samples) with `joint_channels`.
        estimate: As `reference`.
        filter_length: Taps of the filter, 512 in BSS Eval.
        joint_channels: Whether every channel of the estimate may use every channel of the
            reference, each through a filter of its own, and energies are summed over channels. (The
            signal-to-artifacts ratio of BSS Eval's images, given one source.)

    Returns:
        Decibels, higher is better, float64 (...): one value per leading index. Infinite where both
        are equal; where the estimate is the reference through a filter of at most `filter_length`
        taps (with its tail), infinite or as high as double precision resolves it, 200 dB and more.
        NaN where the reference or the estimate is silent, shorter than the filter (which then fits
        anything), or not finite.

    Raises:
        InputError: if the shapes differ.
        UsageError: if `filter_length` is below 1.
    """
    if filter_length < 1:
        raise UsageError(f"filter_length is {filter_length}: it must be at least 1.")
    score = functools.partial(_sdr, taps=filter_length)
    axes = ("channels", "samples") if joint_channels else ("samples",)
    return score_items(score, reference, estimate, axes)


def _snr(reference, estimate) -> float:
    energy = _energy(reference)
    return _decibels(energy, _energy(reference - estimate)) if energy > 0 else np.nan


def _si_sdr(reference, estimate, zero_mean: bool) -> float:
    if zero_mean:
        reference, estimate = _without_mean(reference), _without_mean(estimate)
    energy = _energy(reference)
    if not energy > 0:
        return np.nan
    target = reference * (np.vdot(reference, estimate) / energy)
    return _decibels(_energy(target), _energy(target - estimate), _ROUNDING)


def _sdr(reference, estimate, taps: int) -> float:
    reference, estimate = np.atleast_2d(reference, estimate)
    if reference.shape[1] < taps or not reference.any() or not estimate.any():
        return np.nan
    if np.array_equal(reference, estimate):
        return np.inf
    # The ratio minds neither's level, and energies of signals at level 1 do not overflow.
    reference, estimate = (each / max(each.max(), -each.min()) for each in (reference, estimate))
    filters = _closest_filters(reference, estimate, taps)
    wanted = unwanted = 0.0
    for channel, waveform in enumerate(estimate):
        projection = scipy.signal.oaconvolve(reference, filters[:, :, channel], axes=1).sum(axis=0)
        wanted += _energy(projection)
        projection[: len(waveform)] -= waveform
        unwanted += _energy(projection)
    return _decibels(wanted, unwanted, _ROUNDING)


def _closest_filters(reference, estimate, taps: int) -> np.ndarray:
    """The filters that bring the reference's channels, summed, closest to each of the estimate's.

    Args:
        reference: (inputs, samples).
        estimate: (outputs, samples).
        taps: Length of each filter.

    Returns:
        (inputs, taps, outputs): a solution of the normal equations.
    """
    inputs = len(reference)
    auto = _correlations(reference, reference, taps)
    cross = _correlations(reference, estimate, taps)
    gram = np.block(
        [
            [scipy.linalg.toeplitz(auto[i, j], auto[j, i]) for j in range(inputs)]
            for i in range(inputs)
        ]
    )
    target = cross.transpose(0, 2, 1).reshape(inputs * taps, -1)
    # Not Levinson's recursion: with several channels the matrix is Toeplitz in its blocks only.
    try:
        filters = scipy.linalg.cho_solve(scipy.linalg.cho_factor(gram), target)
    except np.linalg.LinAlgError:
        # Tones, equal channels and silent channels: several filters do the same, take the smallest.
        precision = len(gram) * np.finfo("float64").eps
        filters = scipy.linalg.lstsq(gram, target, cond=precision, lapack_driver="gelsy")[0]
    return filters.reshape(inputs, taps, -1)


def _correlations(first, second, lags: int) -> np.ndarray:
    """Sums of first[i, n] * second[j, n + lag] over n.

    Args:
        first: (channels, samples).
        second: (other channels, samples).
        lags: Number of lags, from 0 on.

    Returns:
        (channels, other channels, lags).
    """
    samples = first.shape[1]
    points = scipy.fft.next_fast_len(
        min(max(_CORRELATION_POINTS, 8 * lags), samples + lags - 1), real=True
    )
    block = points - lags + 1
    spectrum = np.zeros((len(first), len(second), points // 2 + 1), "complex128")
    for start in range(0, samples, block):
        left = scipy.fft.rfft(first[:, start : start + block], points)
        right = scipy.fft.rfft(second[:, start : start + points], points)
        spectrum += np.conj(left)[:, None] * right
    return scipy.fft.irfft(spectrum, points)[..., :lags]


def _without_mean(waveform) -> np.ndarray:
    centred = waveform - waveform.mean()
    constant = _energy(centred) <= _ROUNDING_OF_MEAN * _energy(waveform)
    return np.zeros_like(centred) if constant else centred


def _energy(waveform) -> float:
    return np.vdot(waveform, waveform)


def _decibels(wanted, unwanted, rounding: float = 0.0) -> float:
    """Of energies, the smaller of which is 0 below `rounding` of the other; NaN after overflow."""
    if not np.isfinite(wanted + unwanted):
        return np.nan
    wanted, unwanted = (
        0.0 if energy <= rounding * other else energy
        for energy, other in ((wanted, unwanted), (unwanted, wanted))
    )
    return 10 * np.log10(np.divide(wanted, unwanted))
