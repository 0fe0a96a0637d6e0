"""The low-pass anchors of MUSHRA: Recommendation ITU-R BS.1534-3, section 5.1.

For the anchor of 3.5 kHz it asks for a pass band that is flat within 0.1 dB, at least 25 dB less at
4 kHz and at least 50 dB less at 4.5 kHz. For the one of 7 kHz it gives no such figures; they are
taken as twice those frequencies. The filters here are stricter: symmetric (so linear in phase)
windowed sincs, Kaiser's window, flat within 0.01 dB to the cut-off frequency and 60 dB down from
8/7 of it on. Their delay is taken back, so an anchor lies exactly under its reference.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from tfrestore.errors import InputError

LOW_ANCHOR_HZ = 3500
MID_ANCHOR_HZ = 7000

_ATTENUATION_DB = 60.0
_STOP_RATIO = 8 / 7


def low_pass_filter(cutoff_hz: float, sample_rate: int) -> np.ndarray:
    """The taps of an anchor's filter.

    Args:
        cutoff_hz: Where the pass band ends.
        sample_rate: Hz.

    Returns:
        float64 `(taps,)`, symmetric, an odd number of them.

    Raises:
        InputError: The sample rate holds nothing that the filter would take away.
    """
    stop_hz = _STOP_RATIO * cutoff_hz
    if stop_hz >= sample_rate / 2:
        raise InputError(
            f"a sample rate of {sample_rate} Hz is too low for an anchor of {cutoff_hz / 1000:g} "
            "kHz"
        )
    taps, beta = signal.kaiserord(_ATTENUATION_DB, (stop_hz - cutoff_hz) / (sample_rate / 2))
    return signal.firwin(
        taps | 1, (cutoff_hz + stop_hz) / 2, window=("kaiser", beta), fs=sample_rate
    )


def make_anchor(waveform: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """A reference without what is above the cut-off frequency, not delayed.

    Args:
        waveform: float32 `(channels, samples)`.
        sample_rate: Hz.
        cutoff_hz: `LOW_ANCHOR_HZ` or `MID_ANCHOR_HZ`.

    Returns:
        float32 of the same shape.

    Raises:
        InputError: The sample rate is too low.
    """
    taps = low_pass_filter(cutoff_hz, sample_rate)
    delay = len(taps) // 2
    filtered = signal.oaconvolve(waveform.astype(np.float64), taps[None], axes=1)
    return filtered[:, delay : delay + waveform.shape[1]].astype(np.float32)
