"""A high-pass filter of linear phase for recordings that come in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from tfrestore.errors import UsageError

#: Width of the transition, Hz, which lies above the frequency, and depth below it, dB.
TRANSITION, STOP_BAND_DB = 500.0, 80.0


def high_pass_taps(frequency: float, sample_rate: int) -> np.ndarray:
    """The filter: a windowed sinc (Kaiser) of an odd number of taps, float64, that delays nothing.

    Args:
        frequency: Hz up to which less than -80 dB passes; all does from 500 Hz above it on.
        sample_rate: Hz.

    Raises:
        UsageError: if the frequency is not between 0 and half the sample rate.
    """
    from scipy import signal

    if not 0 < frequency < sample_rate / 2:
        raise UsageError(
            f"{frequency:g} Hz cannot divide a spectrum: give a frequency between 0 and "
            f"{sample_rate / 2:g}."
        )
    width = min(TRANSITION, sample_rate / 2 - frequency)
    taps, beta = signal.kaiserord(STOP_BAND_DB, width / (sample_rate / 2))
    edge = frequency + width / 2
    return signal.firwin(taps | 1, edge, window=("kaiser", beta), pass_zero=False, fs=sample_rate)


def high_passed(
    blocks: Iterable[np.ndarray], frequency: float, sample_rate: int, channels: int
) -> Iterator[np.ndarray]:
    """What a recording has above a frequency.

    Args:
        blocks: The recording: float32 `(channels, any number)`, one after the other.
        frequency: Hz; see `high_pass_taps`. From half the sample rate on, nothing passes.
        sample_rate: Hz.
        channels: How many there are.

    Yields:
        float32 blocks, which joined have the recording's length; beyond its ends there is silence.
    """
    from scipy import signal

    if frequency >= sample_rate / 2:
        yield from (np.zeros_like(block) for block in blocks)
        return
    taps = high_pass_taps(frequency, sample_rate)
    delay = len(taps) // 2

    def filtered(samples: np.ndarray) -> np.ndarray:
        passed = signal.oaconvolve(samples, taps[None], mode="valid", axes=1)
        return passed.astype(np.float32)

    # What the filter has not yet come to the middle of, with what is before that.
    waiting = np.zeros((channels, delay), np.float32)
    for block in blocks:
        waiting = np.concatenate([waiting, block], axis=1)
        if waiting.shape[1] >= len(taps):
            yield filtered(waiting)
            waiting = waiting[:, -(len(taps) - 1) :]
    waiting = np.pad(waiting, [(0, 0), (0, delay)])
    if waiting.shape[1] >= len(taps):
        yield filtered(waiting)
