"""What is measured in each frame of a pair of signals (BS.1387-1, Annex 2, section 4).

Every function is about single frames; `temporal_averaging` makes the model output variables of
them. Powers are (frames, lines), patterns (frames, 2, bands) with the reference first.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from tfrestore.metrics.peaq_basic.ear_model import (
    BANDS,
    FRAME_LENGTH,
    FULL_SCALE,
    INTERNAL_NOISE,
    MASKING_OFFSET,
)

# Lines from 21.6 kHz on are taken to be noise, and bandwidths end below (section 4.4).
_FIRST_NOISE_LINE = 921


def bandwidths(
    reference_power: np.ndarray, test_power: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many lines the signals reach up to (section 4.4).

    The reference's bandwidth is the highest line at least 10 dB above the test's strongest line of
    noise, the test's the highest one at most there that is 5 dB above. Above digital silence every
    line is, as the inequalities say.

    Args:
        reference_power: (frames, LINES).
        test_power: As `reference_power`.

    Returns:
        Number of lines, from 0 to 921, of the reference and of the test, integers (frames,).
    """
    noise = test_power[:, _FIRST_NOISE_LINE:].max(axis=1, keepdims=True)
    reference = _highest(reference_power[:, :_FIRST_NOISE_LINE] >= 10 * noise)
    within = np.arange(_FIRST_NOISE_LINE) < reference[:, None]
    above = test_power[:, :_FIRST_NOISE_LINE] >= 10**0.5 * noise
    return reference, _highest(above & within)


def _highest(condition: np.ndarray) -> np.ndarray:
    from_above = condition[:, ::-1].argmax(axis=1)
    return np.where(condition.any(axis=1), condition.shape[1] - from_above, 0)


def noise_to_mask_ratios(
    noise: np.ndarray, reference_excitation: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and largest ratio of noise to masked threshold over the bands (eqs. 25, 26 and 70).

    Args:
        noise: Of `ear_model.noise_patterns`, (frames, bands).
        reference_excitation: As `noise`.

    Returns:
        Ratios of powers, (frames,) each.
    """
    ratio = noise * MASKING_OFFSET / reference_excitation
    return ratio.mean(axis=-1), ratio.max(axis=-1)


# Section 4.8: lags and length of the correlation, both the power of 2 below half the lines up to
# 18 kHz.
_LAGS = 256
_LAG_WINDOW = np.sqrt(8 / 3) * np.hanning(_LAGS) / _LAGS


def error_harmonic_structure(
    reference_power: np.ndarray, test_power: np.ndarray, after_first_valley: bool
) -> np.ndarray:
    """Strength of harmonics in the error, by a cepstrum of the log spectra's ratio (section 4.8).

    The mean of the correlation is removed before windowing, not after as the text has it: so do
    Kabal's examination and the reference implementation, and it comes nearer to the conformance
    values. Where the two spectra are equal below 6 kHz there is no error and the strength is 0.

    Args:
        reference_power: (frames, LINES).
        test_power: As `reference_power`.
        after_first_valley: Whether to look for the peak after the first valley only (a bin that
            rises above the one before it), as the Recommendation says, or everywhere but in the
            constant, as the reference implementation does.

    Returns:
        The height of the largest peak, times 1000, (frames,); NaN where a line has no power, so
        that its logarithm does not exist.
    """
    reference_power, test_power = (
        power[:, : 2 * _LAGS - 1] for power in (reference_power, test_power)
    )
    defined = (np.minimum(reference_power, test_power) > 0).all(axis=1)
    heights = np.full(len(defined), np.nan)
    error = np.log10(reference_power[defined]) - np.log10(test_power[defined])
    spectrum = scipy.fft.rfft(error, 2 * _LAGS)
    first = scipy.fft.rfft(error[:, :_LAGS], 2 * _LAGS)
    correlation = scipy.fft.irfft(spectrum * first.conj(), 2 * _LAGS)[:, :_LAGS]

    energy = np.zeros((len(error), 2 * _LAGS))
    np.cumsum(error**2, axis=1, out=energy[:, 1:])
    energy = energy[:, _LAGS:] - energy[:, :_LAGS]
    differs = (energy > 0).all(axis=1)
    energy, correlation = energy[differs], correlation[differs]
    correlation /= np.sqrt(energy[:, :1]) * np.sqrt(energy)

    correlation -= correlation.mean(axis=1, keepdims=True)
    cepstrum = scipy.fft.rfft(correlation * _LAG_WINDOW)[:, : _LAGS // 2]
    cepstrum = cepstrum.real**2 + cepstrum.imag**2
    peaks = cepstrum[:, 1:]
    if after_first_valley:
        peaks = np.where(peaks > cepstrum[:, :-1], peaks, 0)
    height = np.zeros(len(error))
    height[differs] = 1000 * peaks.max(axis=1)
    heights[defined] = height
    return heights


_LEVEL_WEIGHT = 100 * INTERNAL_NOISE**0.3


def modulation_differences(
    modulation: np.ndarray, reference_loudness: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Differences of the modulation patterns and the frames' weights (section 4.2, eqs. 63 to 65).

    Args:
        modulation: Of `ExcitationAndModulation.process`, (frames, 2, bands).
        reference_loudness: The reference's average loudness, of the same, (frames, bands).

    Returns:
        The difference for WinModDiff1B and AvgModDiff1B, that for AvgModDiff2B, and the weight that
        the latter two give to each frame, (frames,) each.
    """
    reference = modulation[:, 0]
    difference = modulation[:, 1] - reference
    size = np.abs(difference)
    first = (size / (1 + reference)).mean(axis=-1)
    second = (np.where(difference > 0, 1, 0.1) * size / (0.01 + reference)).mean(axis=-1)
    weight = (reference_loudness / (reference_loudness + _LEVEL_WEIGHT)).sum(axis=-1)
    return 100 * first, 100 * second, weight


def noise_loudness(modulation: np.ndarray, adapted: np.ndarray) -> np.ndarray:
    """Loudness of what the test adds, partially masked by the reference (section 4.3, eqs. 66-68).

    Args:
        modulation: Of `ExcitationAndModulation.process`, (frames, 2, bands).
        adapted: Of `LevelAndPatternAdaptation.process`, as `modulation`.

    Returns:
        (frames,).
    """
    sensitivity = 0.15 * modulation + 0.5
    reference, test = adapted[:, 0], adapted[:, 1]
    added = sensitivity[:, 1] * test - sensitivity[:, 0] * reference
    masking = sensitivity[:, 0] * reference * np.exp(-1.5 * (test - reference) / reference)
    partial = (1 + np.maximum(added, 0) / (INTERNAL_NOISE + masking)) ** 0.23 - 1
    loudness = ((INTERNAL_NOISE / sensitivity[:, 1]) ** 0.23 * partial).sum(axis=-1)
    return 24 / BANDS * loudness


def detection(excitation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How detectable the difference of two excitations is in each band (section 4.7, eqs. 73-78).

    The probability of detection is `1 - 2**-exponent`; so the binaural one of a band has the larger
    exponent of the two ears, and the total one of a frame the sum of the bands' exponents.

    Args:
        excitation: Of `ExcitationAndModulation.process`, (frames, 2, bands).

    Returns:
        The exponent, and the number of whole decibels' steps above the threshold of detection,
        (frames, bands) each.
    """
    level = 10 * np.log10(excitation)
    reference, test = level[:, 0], level[:, 1]
    mean = 0.3 * np.maximum(reference, test) + 0.7 * test
    audible = np.where(mean > 0, mean, 1)
    step = (
        5.95072 * (6.39468 / audible) ** 1.71332
        + 9.01033e-11 * audible**4
        + 5.05622e-6 * audible**3
        - 0.00102438 * audible**2
        + 0.0550197 * audible
        - 0.198719
    )
    step = np.where(mean > 0, step, 1e30)
    difference = reference - test
    squared = (difference / step) ** 2
    # Added sound is detected more steeply (power 6) than missing sound (power 4).
    exponent = squared * squared * np.where(difference > 0, 1, squared)
    return exponent, np.abs(np.trunc(difference)) / step


# Five samples in a row whose magnitudes add up to more than this are data (section 5.2.4); it and
# the energy threshold are stated for 16-bit samples.
_DATA_SAMPLES = 5
_DATA_SUM = 200 / FULL_SCALE
_LEAST_ENERGY = 8000 / FULL_SCALE**2


def exceeds_data_boundary(frames: np.ndarray) -> np.ndarray:
    """Whether frames hold more than silence.

    Args:
        frames: Samples of full scale 1, (frames, FRAME_LENGTH).

    Returns:
        Booleans, (frames,).
    """
    magnitude = np.abs(frames)
    largest = magnitude.max(axis=1)
    exceeds = largest > _DATA_SUM
    for frame in np.flatnonzero(~exceeds & (largest > _DATA_SUM / _DATA_SAMPLES)):
        sums = np.convolve(magnitude[frame], np.ones(_DATA_SAMPLES), "valid")
        exceeds[frame] = (sums > _DATA_SUM).any()
    return exceeds


def exceeds_energy_threshold(frames: np.ndarray) -> np.ndarray:
    """Whether the newer half of frames has the energy that EHSB needs (section 5.2.4.3).

    Args:
        frames: Samples of full scale 1, (frames, FRAME_LENGTH).

    Returns:
        Booleans, (frames,).
    """
    newer = frames[:, FRAME_LENGTH // 2 :]
    return np.einsum("ij,ij->i", newer, newer) > _LEAST_ENERGY
