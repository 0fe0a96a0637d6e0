"""The scale-invariant signal-to-noise ratio as a loss: the waveform itself is to be right.

Luo & Mesgarani, "TasNet" (2018), section 2.4; Le Roux, Wisdom, Erdogan & Hershey, "SDR - half-baked
or well done?" (2019), eq. 1.
"""

from __future__ import annotations

from keras import ops

# A waveform is as good as right 80 dB above the error, where the slope would grow without end.
_SMALLEST_ERROR = 1e-8

_TINY = 1e-12


def si_snr_loss(reference, estimate):
    """The negative SI-SNR of each example, in dB; `tfrestore.metrics.si_sdr` is it as a ruler.

    Args:
        reference: float32 (batch, samples).
        estimate: As `reference`.

    Returns:
        float32 (batch,), at least -80. A silent reference gives 0 or more.
    """
    reference, estimate = (
        waveform - ops.mean(waveform, axis=1, keepdims=True) for waveform in (reference, estimate)
    )
    energy = ops.sum(ops.square(reference), axis=1, keepdims=True) + _TINY
    target = ops.sum(reference * estimate, axis=1, keepdims=True) / energy * reference
    wanted, unwanted = (ops.sum(ops.square(part), axis=1) for part in (target, estimate - target))
    return 10.0 * ops.log10((unwanted + _SMALLEST_ERROR * wanted + _TINY) / (wanted + _TINY))
