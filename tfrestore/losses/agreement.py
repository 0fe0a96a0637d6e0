"""What nobody knows is not to count: above an original's bandwidth an estimate is as good as it."""

from __future__ import annotations

from keras import ops

# Hz over which what counts goes to nothing, below the bandwidth.
TRANSITION = 200.0


def agreeing_above(bandwidth, reference, estimate, sample_rate: int):
    """Estimates, equal to their references above a bandwidth, where no loss then sees them.

    Where `bandwidth` is half of the sample rate or more, nothing is changed.

    Args:
        bandwidth: float32 (batch,), Hz. It is reached by a ramp of `TRANSITION` Hz.
        reference: float32 (batch, samples), at least one sample.
        estimate: As `reference`.
        sample_rate: Of both, in hertz.

    Returns:
        float32 (batch, samples).
    """
    samples = ops.shape(estimate)[1]
    # The inverse transform has to know whether the length is even.
    length = 2 * ((samples + 1) // 2)
    real, imaginary = ops.rfft(ops.subtract(estimate, reference), length)
    step = sample_rate / ops.cast(length, "float32")
    weight = _weight(bandwidth, length // 2 + 1, step, sample_rate)
    return reference + ops.irfft((real * weight, imaginary * weight), length)[:, :samples]


def spectra_agreeing_above(bandwidth, reference, estimate, sample_rate: int):
    """The same of spectra whose bins lie from 0 Hz to just below half of the sample rate.

    Args:
        bandwidth: float32 (batch,), Hz.
        reference: float32 (batch, frames, bins, parts).
        estimate: As `reference`.
        sample_rate: Hz.

    Returns:
        float32 (batch, frames, bins, parts).
    """
    bins = estimate.shape[2]
    weight = _weight(bandwidth, bins, sample_rate / (2 * bins), sample_rate)
    return reference + weight[:, None, :, None] * (estimate - reference)


def _weight(bandwidth, bins, step, sample_rate: int):
    """How much of an estimate counts in bins that lie so many hertz apart: (batch, bins)."""
    frequencies = step * ops.cast(ops.arange(bins), "float32")
    limit = ops.where(bandwidth < sample_rate / 2, bandwidth, 2.0 * sample_rate)
    return ops.clip((limit[:, None] - frequencies) / TRANSITION, 0.0, 1.0)
