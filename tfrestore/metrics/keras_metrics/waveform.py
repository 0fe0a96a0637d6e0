"""SNR and SI-SDR over waveforms: `tfrestore.metrics.snr` and `si_sdr`."""

import keras
from keras import ops

from tfrestore.metrics.keras_metrics.mean_over_items import MeanOverWaveforms

# What is 130 dB below what it was taken from is the rounding error of float32.
_ROUNDING = 1e-13

# The same for what is left of a constant signal without its mean, whose rounding error comes in.
_ROUNDING_OF_MEAN = 1e-11


@keras.saving.register_keras_serializable(package="tfrestore")
class SNR(MeanOverWaveforms):
    """Mean signal-to-noise ratio over waveforms (batch, samples[, 1]), in dB; higher is better.

    Waveforms that are equal to their reference or have a silent one are left out; where none is
    left, the result is 0.

    Args:
        name: Name in the logs.
        dtype: As for every Keras metric.
    """

    def __init__(self, name="snr", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def values(self, reference, estimate):
        """Returns the SNR of each row of (batch, samples)."""
        return _decibels(_energy(reference), _energy(reference - estimate))[:, 0]


@keras.saving.register_keras_serializable(package="tfrestore")
class SISDR(MeanOverWaveforms):
    """Mean scale-invariant signal-to-distortion ratio over waveforms (batch, samples[, 1]), in dB.

    Higher is better. Waveforms that are their reference times a gain (to 130 dB, where float32
    ends), or are orthogonal to it, or where either is silent, are left out; where none is left, the
    result is 0.

    Args:
        zero_mean: Whether each waveform's mean is taken away first, which makes it SI-SNR.
        name: Name in the logs.
        dtype: As for every Keras metric.
    """

    def __init__(self, zero_mean: bool = True, name="si_sdr", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.zero_mean = bool(zero_mean)

    def values(self, reference, estimate):
        """Returns the SI-SDR of each row of (batch, samples)."""
        if self.zero_mean:
            reference, estimate = _without_mean(reference), _without_mean(estimate)
        gain = ops.sum(reference * estimate, axis=1, keepdims=True) / _energy(reference)
        target = gain * reference
        wanted, unwanted = _energy(target), _energy(target - estimate)
        unwanted = ops.where(unwanted <= _ROUNDING * wanted, 0.0, unwanted)
        wanted = ops.where(wanted <= _ROUNDING * unwanted, 0.0, wanted)
        return _decibels(wanted, unwanted)[:, 0]

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {"zero_mean": self.zero_mean}


def _without_mean(waveform):
    centred = waveform - ops.mean(waveform, axis=1, keepdims=True)
    constant = _energy(centred) <= _ROUNDING_OF_MEAN * _energy(waveform)
    return ops.where(constant, 0.0, centred)


def _energy(waveform):
    return ops.sum(ops.square(waveform), axis=1, keepdims=True)


def _decibels(wanted, unwanted):
    return 10.0 * ops.log10(wanted / unwanted)
