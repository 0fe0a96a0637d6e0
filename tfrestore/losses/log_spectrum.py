"""The log-spectral loss: levels are to be right where it is quiet, too.

The log-spectral distance (Lattner & Nistal, Electronics 2021, eq. 5) at several resolutions: the
mean over frames of the root mean square over bins of the difference in decibels. Losses on
magnitudes (`multi_resolution_stft`) hardly notice what an encoder cut off above some frequency,
since there is little of it; the ear does.

Much openly licensed music was once compressed itself, and ends at 17 to 21 kHz. A network that
learns to make treble should not learn that end for music's, so what is beyond it can be left out.
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

# The mean power of a bin that has ended, over that of rounding to 16 bits.
_ENDED = 8.0


def log_spectral_loss(
    reference,
    estimate,
    windows: Sequence[int] = WINDOWS,
    floor: float = FLOOR,
    ignored_end: float = 1.0,
):
    """How far the levels of estimates are from those of their references, per example.

    Args:
        reference: float32 (batch, samples), at least one sample.
        estimate: As `reference`.
        windows: Samples per frame of each transform. Defaults to `(512, 2048)`.
        floor: What powers below it are raised to. Defaults to `1e-8`.
        ignored_end: Share of the spectrum. Where a reference has something up to there and ends
            beyond it, as what was once compressed does, no bin above its end counts. Music that
            ends lower by nature counts as it is. Defaults to `1.0`, so that all counts.

    Returns:
        float32 (batch,), dB: the mean over windows.
    """
    total = 0.0
    for window in windows:
        ours, theirs = (ops.maximum(power(x, window), floor) for x in (reference, estimate))
        squared = ops.square(10.0 * ops.log10(ours / theirs))
        if ignored_end < 1:
            counts = _counting_bins(ours, window, ignored_end)
            squared = ops.sum(squared * counts, axis=2) / ops.sum(counts, axis=2)
        else:
            squared = ops.mean(squared, axis=2)
        total += mean_value(ops.sqrt(squared + _TINY))
    return total / len(windows)


def _counting_bins(power, window: int, ignored_end: float):
    """1 where a bin counts and else 0, of powers (batch, frames, bins): (batch, 1, bins)."""
    rounding = 3 / 8 * window / (12.0 * 32768.0**2)
    bins = window // 2 + 1
    # Frames on an end have its reflection, whose bend is heard at all frequencies.
    number, frames = ops.arange(ops.shape(power)[1]), ops.shape(power)[1]
    inside = ops.cast((number > 0) & (number < frames - 1), "float32")[:, None] + _TINY**2
    mean = ops.sum(power * inside, axis=1, keepdims=True) / ops.sum(inside)
    sounding = ops.cast(mean > _ENDED * rounding, "float32")
    places = ops.arange(bins, dtype="float32")
    end = ops.max(sounding * places, axis=2, keepdims=True)
    end = ops.where(end >= ignored_end * (bins - 1), end, float(bins))
    return ops.cast(places <= end, "float32")
