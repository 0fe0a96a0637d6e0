"""Loudness and true peak after Recommendation ITU-R BS.1770, and the gains that make them equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfrestore.audio.resampling import resample

#: Where the loudness of an excerpt is put unless it would clip there: EBU R 128's programme level.
TARGET_LUFS = -23.0
#: The true peak that nothing exceeds: EBU R 128's.
PEAK_DBTP = -1.0

_OVERSAMPLING = 4


def integrated_loudness(waveform: np.ndarray, sample_rate: int) -> float:
    """The gated loudness of BS.1770-4.

    Args:
        waveform: `(channels, samples)`, at least 0.4 s; two channels are left and right.
        sample_rate: Hz.

    Returns:
        LUFS; minus infinity for silence and whatever is below -70 LUFS.
    """
    from pyloudnorm import Meter

    return float(Meter(sample_rate).integrated_loudness(waveform.T.astype(np.float64)))


def true_peak(waveform: np.ndarray, sample_rate: int) -> float:
    """The highest level of the analogue signal, as BS.1770 Annex 2: of four times as many samples.

    Args:
        waveform: float32 `(channels, samples)`.
        sample_rate: Hz.

    Returns:
        dBTP, relative to full scale; minus infinity for silence.
    """
    oversampled = resample(waveform, sample_rate, _OVERSAMPLING * sample_rate)
    peak = max(np.abs(waveform).max(), np.abs(oversampled).max())
    return float(20 * np.log10(peak)) if peak > 0 else -np.inf


def common_loudness(
    loudness: Sequence[float], peaks: Sequence[float], target: float = TARGET_LUFS
) -> float:
    """The loudness that all of some signals can have without one of them clipping.

    Args:
        loudness: LUFS of each, finite.
        peaks: True peak of each, dBTP.
        target: The loudness wanted, LUFS.

    Returns:
        LUFS: the target, or less where a peak would exceed `PEAK_DBTP`.
    """
    headroom = [each + PEAK_DBTP - peak for each, peak in zip(loudness, peaks, strict=True)]
    return float(min(target, *headroom))
