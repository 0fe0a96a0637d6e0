"""The multi-resolution STFT loss: magnitudes are to be right at several resolutions.

Li & Luo, "Apollo" (arXiv 2409.08514), eq. 4: the mean over windows of mean| |S_estimate| -
|S_reference| | / mean|S_reference|, the S being short-time Fourier transforms with periodic Hann
windows and hops of half a window, centred and reflected at the ends.

Departure: here both means are over one example; the authors' code takes them over the batch. Their
batches have one example per device, for which both are the same.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from keras import ops

from tfrestore.layers.stft import STFT
from tfrestore.losses.wasserstein import mean_value
from tfrestore.metrics.short_time import MULTI_RESOLUTION_EPSILON, MULTI_RESOLUTION_WINDOWS

# Below this power, of no rounding error even, a magnitude has no slope: that of a square root at
# zero is infinite.
_TINY = 1e-30


def multi_resolution_stft_loss(
    reference, estimate, windows: Sequence[int] = MULTI_RESOLUTION_WINDOWS
):
    """How far the magnitudes of estimates are from those of their references, per example.

    `tfrestore.metrics.multi_resolution_stft_error` is the same as a ruler.

    Args:
        reference: float32 (batch, samples), at least one sample.
        estimate: As `reference`.
        windows: Samples per frame of each transform. Defaults to `(32, 64, ..., 2048)`.

    Returns:
        float32 (batch,). Of a silent reference the estimate's size over 1.2e-7.
    """
    ratios = []
    for window in windows:
        real, estimated = (magnitude(waveform, window) for waveform in (reference, estimate))
        size = mean_value(real) + MULTI_RESOLUTION_EPSILON
        ratios.append(mean_value(ops.abs(estimated - real)) / size)
    return sum(ratios) / len(ratios)


def magnitude(waveform, window: int):
    """Magnitudes of the STFT that the loss takes: (batch, samples) to (batch, frames, bins)."""
    return ops.sqrt(ops.maximum(power(waveform, window), _TINY))


def power(waveform, window: int):
    """The squares of the magnitudes: (batch, samples) to (batch, frames, bins)."""
    real, imaginary = _stft(window)(waveform)
    return ops.square(real) + ops.square(imaginary)


@functools.cache
def _stft(window: int) -> STFT:
    return STFT(window, window // 2, padding="center")
