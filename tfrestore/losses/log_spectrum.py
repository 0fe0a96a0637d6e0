"""The log-spectral loss: levels are to be right where it is quiet, too.

The log-spectral distance (Lattner & Nistal, Electronics 2021, eq. 5) at several resolutions: the
mean over frames of the root mean square over bins of the difference in decibels. Losses on
magnitudes (`multi_resolution_stft`) hardly notice what an encoder cut off above some frequency,
since there is little of it; the ear does.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from tfrestore.losses.multi_resolution_stft import power
from tfrestore.losses.wasserstein import mean_value

#: Samples per frame of the transforms; their hop is half of it.
WINDOWS = (512, 2048)

#: The smallest power that counts: of 16-bit rounding, in the shortest of these windows.
FLOOR = 1e-8

# Under the root, whose slope at zero is infinite.
_TINY = 1e-6


def log_spectral_loss(reference, estimate, windows: Sequence[int] = WINDOWS, floor: float = FLOOR):
    """How far the levels of estimates are from those of their references, per example.

    Args:
        reference: float32 (batch, samples), at least one sample.
        estimate: As `reference`.
        windows: Samples per frame of each transform. Defaults to `(512, 2048)`.
        floor: What powers below it are raised to. Defaults to `1e-8`.

    Returns:
        float32 (batch,), dB: the mean over windows.
    """
    total = 0.0
    for window in windows:
        ours, theirs = (ops.maximum(power(x, window), floor) for x in (reference, estimate))
        squared = ops.mean(ops.square(10.0 * ops.log10(ours / theirs)), axis=2)
        total += mean_value(ops.sqrt(squared + _TINY))
    return total / len(windows)
