"""The peripheral ear of PEAQ: frames of samples to excitation patterns.

ITU-R BS.1387-1, Annex 2, section 2.1 (the FFT-based ear model): a windowed Fourier transform scaled
to the listening level, the response of the outer and middle ear, grouping into 109 bands a quarter
of a Bark wide, internal noise, and level-dependent spreading over the bands. Spreading over time is
in `pattern_processing`. Patterns are (..., bands) powers in float64; the listening level is 92 dB
for a sine of full scale.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.sparse

SAMPLE_RATE = 48_000
FRAME_LENGTH = 2048
HOP_LENGTH = 1024
LINES = FRAME_LENGTH // 2
# The Recommendation's thresholds and levels are stated for 16-bit samples.
FULL_SCALE = 32768.0

LISTENING_LEVEL = 92.0
# What the largest line of a sine of full scale at 1019.5 Hz is before scaling (section 2.1.3).
_FULL_SCALE_SINE = 11361.301063573899
# Hann's window of unit mean power; its ends are both zero (eq. 3).
_WINDOW = (
    np.sqrt(8 / 3)
    * np.hanning(FRAME_LENGTH)
    * (10 ** (LISTENING_LEVEL / 20) / _FULL_SCALE_SINE * FULL_SCALE / FRAME_LENGTH)
)

_RESOLUTION = SAMPLE_RATE / FRAME_LENGTH
_LINE_FREQUENCIES = np.arange(LINES) * _RESOLUTION


def bark(frequency):
    """Schroeder's approximation of the Bark scale, of hertz (section 2.1.5)."""
    return 7 * np.arcsinh(np.asarray(frequency) / 650)


def hertz(band_rate):
    """The inverse of `bark`."""
    return 650 * np.sinh(np.asarray(band_rate) / 7)


def outer_and_middle_ear(frequency):
    """Response of the outer and middle ear in dB, of hertz above 0 (eq. 7)."""
    kilohertz = np.asarray(frequency) / 1000
    return (
        -0.6 * 3.64 * kilohertz**-0.8
        + 6.5 * np.exp(-0.6 * (kilohertz - 3.3) ** 2)
        - 0.001 * kilohertz**3.6
    )


BAND_WIDTH = 0.25
_LOWEST, _HIGHEST = bark(80.0), bark(18_000.0)
BANDS = int(np.ceil((_HIGHEST - _LOWEST) / BAND_WIDTH))
_EDGES = np.append(_LOWEST + BAND_WIDTH * np.arange(BANDS), _HIGHEST)
BAND_EDGES = hertz(_EDGES)
BAND_CENTRES = hertz((_EDGES[:-1] + _EDGES[1:]) / 2)

# Section 2.1.6, as a power; without the factor 0.4 it is the threshold in quiet (section 3.3).
INTERNAL_NOISE = 10 ** (0.4 * 0.364 * (BAND_CENTRES / 1000) ** -0.8)
THRESHOLD_IN_QUIET = 10 ** (0.364 * (BAND_CENTRES / 1000) ** -0.8)

# Eq. 25: by how much (as a ratio of powers) the masked threshold lies below the excitation.
_BAND_RATE = BAND_WIDTH * np.arange(BANDS)
MASKING_OFFSET = 10 ** (np.where(_BAND_RATE <= 12, 3.0, 0.25 * _BAND_RATE) / 10)

_LEAST_POWER = 1e-12


def _grouping() -> scipy.sparse.csr_array:
    # Each line's power is spread evenly over its width and shared by the bands that it overlaps,
    # after weighting by the ear's response (section 2.1.5).
    lower = np.maximum((np.arange(LINES) - 0.5) * _RESOLUTION, BAND_EDGES[:-1, None])
    upper = np.minimum((np.arange(LINES) + 0.5) * _RESOLUTION, BAND_EDGES[1:, None])
    share = np.maximum(upper - lower, 0) / _RESOLUTION
    weight = np.zeros(LINES)
    weight[1:] = 10 ** (outer_and_middle_ear(_LINE_FREQUENCIES[1:]) / 10)
    return scipy.sparse.csr_array((share * weight)[:, :_GROUPED_LINES])


# No band reaches above this line: nothing needs to be computed for the others.
_GROUPED_LINES = int(np.ceil(BAND_EDGES[-1] / _RESOLUTION + 0.5))
_GROUPING = _grouping()


def time_coefficients(at_least: float, at_100_hertz: float) -> np.ndarray:
    """Coefficients of the bands' first-order low-passes over frames (eqs. 21 and 24).

    Args:
        at_least: Time constant that the highest bands approach, in seconds.
        at_100_hertz: Time constant at 100 Hz, in seconds.

    Returns:
        What is kept from one frame to the next, (bands,), between 0 and 1.
    """
    time_constants = at_least + 100 / BAND_CENTRES * (at_100_hertz - at_least)
    return np.exp(-HOP_LENGTH / (SAMPLE_RATE * time_constants))


def power_spectra(frames: np.ndarray) -> np.ndarray:
    """Power of each line at the listening level (sections 2.1.2 and 2.1.3, eqs. 3 and 4).

    Args:
        frames: Samples of full scale 1, (frames, FRAME_LENGTH).

    Returns:
        (frames, LINES), float64.
    """
    spectra = scipy.fft.rfft(frames * _WINDOW, axis=-1)[:, :LINES]
    return spectra.real**2 + spectra.imag**2


def pitch_patterns(power: np.ndarray) -> np.ndarray:
    """Power in each band as the ear hears it, internal noise included (eqs. 7 to 14).

    Args:
        power: Of `power_spectra`, (frames, LINES).

    Returns:
        (frames, BANDS), float64.
    """
    return _group(power[:, :_GROUPED_LINES]) + INTERNAL_NOISE


def noise_patterns(reference_power: np.ndarray, test_power: np.ndarray) -> np.ndarray:
    """Power in each band of the difference of the two magnitude spectra.

    Args:
        reference_power: Of `power_spectra`, (frames, LINES).
        test_power: As `reference_power`.

    Returns:
        (frames, BANDS), float64.
    """
    difference = np.sqrt(reference_power[:, :_GROUPED_LINES])
    difference -= np.sqrt(test_power[:, :_GROUPED_LINES])
    return _group(np.square(difference, out=difference))


def _group(power: np.ndarray) -> np.ndarray:
    return np.maximum((_GROUPING @ power.T).T, _LEAST_POWER)


# Spreading, section 2.1.7: 27 dB per Bark downwards, and upwards 24 + 230 Hz / f dB per Bark less
# a fifth of the level in dB. Natural logarithms per band, here of powers.
_DECIBEL = np.log(10) / 10
_DOWN = -27.0 * BAND_WIDTH * _DECIBEL
_UP = (-24.0 - 230.0 / BAND_CENTRES[:, None]) * BAND_WIDTH * _DECIBEL
_UP_PER_LOG_POWER = 0.2 * BAND_WIDTH
_BANDS_ABOVE = np.arange(BANDS, 0, -1.0)[:, None]
_SUM_BELOW = (np.expm1(_DOWN * np.arange(BANDS)) / np.expm1(_DOWN) * np.exp(_DOWN))[:, None]
_COMPRESSION = 0.4


def _spread_unnormalised(log_power: np.ndarray) -> np.ndarray:
    """Sums the compressed spreading functions of all bands; (bands, frames) in and out."""
    step = _UP + _UP_PER_LOG_POWER * log_power
    # At 120 dB above threshold the upper slope is flat, and the sum of its series is a limit.
    step = np.where(step == 0, np.finfo(np.float64).tiny, step)
    area = _SUM_BELOW + np.expm1(_BANDS_ABOVE * step) / np.expm1(step)
    source = np.exp(_COMPRESSION * (log_power - np.log(area)))
    ratio = np.exp(_COMPRESSION * step)

    total = source.copy()
    downwards = np.exp(_COMPRESSION * _DOWN)
    for band in range(BANDS - 2, -1, -1):
        total[band] += downwards * total[band + 1]
    # Upwards each source band has a slope of its own: all step one band further at a time.
    for distance in range(1, BANDS):
        source = source[:-1]
        source *= ratio[: BANDS - distance]
        total[distance:] += source
    return total


def _normalisation() -> np.ndarray:
    # A level of 0 dB in every band spreads to 0 dB in every band.
    return np.log(_spread_unnormalised(np.zeros((BANDS, 1))))


_LOG_NORMALISATION = _normalisation()


def spread(pitch: np.ndarray) -> np.ndarray:
    """Excitation patterns before spreading over time (section 2.1.7).

    Args:
        pitch: Of `pitch_patterns`, (frames, BANDS).

    Returns:
        (frames, BANDS), float64.
    """
    total = _spread_unnormalised(np.log(np.ascontiguousarray(pitch.T)))
    excitation = np.exp((np.log(total) - _LOG_NORMALISATION) / _COMPRESSION)
    return np.ascontiguousarray(excitation.T)
