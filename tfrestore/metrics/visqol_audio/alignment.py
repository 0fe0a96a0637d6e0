"""How much later one recording is than another, from their envelopes.

Hines et al., "ViSQOL: an objective speech quality model" (EURASIP Journal on Audio, Speech, and
Music Processing 2015:13): the lag at which the cross-correlation of the upper envelopes is largest.
ViSQOL does so once for the whole recordings and once more for every pair of patches.
"""

from __future__ import annotations

import numpy as np
import scipy.fft


def best_lag(reference: np.ndarray, estimate: np.ndarray) -> int:
    """The lag at which the envelopes match best.

    n log n operations and, at worst, 100 bytes a sample.

    Args:
        reference: float64 (samples,).
        estimate: float64 (samples,), of any length.

    Returns:
        Samples by which the reference is later than the estimate, negative where it is earlier; 0
        where that is more than half of the reference's length, which ViSQOL takes for a mistake.
    """
    longest = max(len(reference), len(estimate))
    points = scipy.fft.next_fast_len(2 * longest - 1, real=True)
    spectrum = scipy.fft.rfft(_upper_envelope(reference), points)
    spectrum *= np.conj(scipy.fft.rfft(_upper_envelope(estimate), points))
    # Negative lags are at the end.
    lag = int(np.argmax(scipy.fft.irfft(spectrum, points, overwrite_x=True)))
    lag = lag if lag < longest else lag - points
    return lag if abs(lag) <= len(reference) / 2 else 0


def shifted(waveform: np.ndarray, lag: int) -> np.ndarray:
    """The waveform made later by `lag` samples: silence before it, or its beginning cut off."""
    return np.concatenate([np.zeros(lag), waveform]) if lag > 0 else waveform[-lag:]


def _upper_envelope(waveform: np.ndarray) -> np.ndarray:
    """Magnitude of the analytic signal of the waveform without its mean, plus the mean."""
    mean = waveform.mean()
    centred = waveform - mean
    envelope = np.hypot(centred, _hilbert_transform(centred))
    envelope += mean
    return envelope


def _hilbert_transform(waveform: np.ndarray) -> np.ndarray:
    """Every frequency a quarter of a period later, the waveform taken as one period.

    `scipy.signal.hilbert` does the same, several times more slowly where the length has large prime
    factors, as that of a recording usually has.
    """
    samples = len(waveform)
    points = scipy.fft.next_fast_len(samples, real=True)
    if points == samples:
        spectrum = -1j * scipy.fft.rfft(waveform)
        spectrum[0] = 0
        if samples % 2 == 0:
            spectrum[-1] = 0
    else:
        # As a linear convolution, which may be of any greater length.
        points = scipy.fft.next_fast_len(2 * samples - 1, real=True)
        kernel = np.zeros(points)
        period = _hilbert_kernel(samples)
        kernel[1:samples] = period
        kernel[1 - samples :] = period
        spectrum = scipy.fft.rfft(kernel)
        del kernel, period
        spectrum *= scipy.fft.rfft(waveform, points)
    return scipy.fft.irfft(spectrum, points, overwrite_x=True)[:samples]


def _hilbert_kernel(samples: int) -> np.ndarray:
    """The discrete Hilbert transform's impulse response from sample 1 to the period's last one."""
    kernel = np.zeros(samples - 1)
    odd = np.pi / samples * np.arange(1, samples, 2)
    if samples % 2 == 0:
        kernel[0::2] = 2 / np.tan(odd)
    else:
        kernel[0::2] = 1 / np.tan(odd / 2)
        kernel[1::2] = -kernel[-2::-2]
    return kernel / samples
