"""LSD (twice), MSE and multi-resolution error over waveforms, on `tfrestore.layers.STFT`.

They are `tfrestore.metrics.lsd`, `log10_lsd`, `sqrt_power_mse` and `multi_resolution_stft_error`,
with the STFTs that are theirs. See `tfrestore.metrics.short_time` for the two definitions of LSD.
"""

import keras
from keras import ops

from tfrestore.errors import UsageError
from tfrestore.layers.stft import STFT
from tfrestore.losses.multi_resolution_stft import multi_resolution_stft_loss
from tfrestore.metrics.keras_metrics.mean_over_items import MeanOverWaveforms
from tfrestore.metrics.short_time import (
    LOG10_LSD_STFT,
    LSD_STFT,
    MULTI_RESOLUTION_WINDOWS,
)


class _LogSpectralDistance(MeanOverWaveforms):
    def __init__(self, stft, per_decade: float, floor: float, name, dtype):
        super().__init__(name=name, dtype=dtype)
        if not 0 <= floor < float("inf"):
            raise UsageError(f"floor is {floor}: it must be a power, 0 or more.")
        self.floor = float(floor)
        self._per_decade = per_decade
        self._power = _Power(*stft)

    def values(self, reference, estimate):
        """Returns the distance of each row of (batch, samples)."""
        ours, theirs = (
            ops.maximum(self._power(waveform), self.floor) for waveform in (reference, estimate)
        )
        # What is empty in both is equal, not 0 / 0.
        ratio = ops.where(ours == theirs, 1.0, ours / theirs)
        squared = ops.square(self._per_decade * ops.log10(ratio))
        return ops.mean(ops.sqrt(ops.mean(squared, axis=2)), axis=1)

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {"floor": self.floor}


@keras.saving.register_keras_serializable(package="tfrestore")
class LSD(_LogSpectralDistance):
    """Mean log-spectral distance over waveforms (batch, samples[, 1]), in dB; lower is better.

    The definition of Lattner & Nistal, `tfrestore.metrics.lsd`; not that of `Log10LSD`. Waveforms
    of less than 2048 samples are left out; where none is left, the result is 0. Float32 resolves
    bins down to about 1e-16 of the frame's energy, so that a floor below that is not honoured.

    Args:
        floor: The smallest power that counts, 0 or more.
        name: Name in the logs.
        dtype: As for every Keras metric.
    """

    def __init__(self, floor: float = 1e-8, name="lsd", dtype=None):
        super().__init__(LSD_STFT, 10.0, floor, name, dtype)


@keras.saving.register_keras_serializable(package="tfrestore")
class Log10LSD(_LogSpectralDistance):
    """Mean log-spectral distance over waveforms (batch, samples[, 1]), in decades; lower is better.

    The definition of Sifringer et al., `tfrestore.metrics.log10_lsd`; not that of `LSD`. Waveforms
    of 256 samples or less, and those of infinite distance, are left out; where none is left, the
    result is 0. Empty bands hold zeros or rounding noise in float32, 1e-16 of the frame's energy:
    without a floor, as published, the NumPy function says the same only where there are none.

    Args:
        floor: The smallest power that counts, 0 or more.
        name: Name in the logs.
        dtype: As for every Keras metric.
    """

    def __init__(self, floor: float = 0.0, name="log10_lsd", dtype=None):
        super().__init__(LOG10_LSD_STFT, 1.0, floor, name, dtype)


@keras.saving.register_keras_serializable(package="tfrestore")
class SqrtPowerMSE(MeanOverWaveforms):
    """Mean of `tfrestore.metrics.sqrt_power_mse` over waveforms (batch, samples[, 1]).

    Lower is better. Waveforms of less than 2048 samples are left out; where none is left, the
    result is 0.

    Args:
        name: Name in the logs.
        dtype: As for every Keras metric.
    """

    def __init__(self, name="sqrt_power_mse", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self._power = _Power(*LSD_STFT)

    def values(self, reference, estimate):
        """Returns the mean squared error of each row of (batch, samples)."""
        ours, theirs = (ops.sqrt(self._power(waveform)) for waveform in (reference, estimate))
        return ops.mean(ops.square(ours - theirs), axis=(1, 2))


@keras.saving.register_keras_serializable(package="tfrestore")
class MultiResolutionSTFTError(MeanOverWaveforms):
    """Mean of `tfrestore.metrics.multi_resolution_stft_error` over waveforms (batch, samples[, 1]).

    Lower is better. Waveforms of 1024 samples or less, and those whose reference is silent, are
    left out; where none is left, the result is 0.

    Args:
        name: Name in the logs.
        dtype: As for every Keras metric.
    """

    def __init__(self, name="multi_resolution_stft_error", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def values(self, reference, estimate):
        """Returns the error of each row of (batch, samples)."""
        error = multi_resolution_stft_loss(reference, estimate)
        # As in `tfrestore.metrics.stft`: there is not enough to reflect.
        too_short = ops.shape(reference)[1] <= MULTI_RESOLUTION_WINDOWS[-1] // 2
        undefined = ops.logical_or(too_short, ops.all(reference == 0, axis=1))
        return ops.where(undefined, float("nan"), error)


class _Power:
    """Power spectra (batch, frames, bins) of (batch, samples); NaN of what is too short for one."""

    def __init__(self, frame_length: int, hop_length: int, padding: str):
        self._stft = STFT(frame_length, hop_length, padding=padding)
        # As in `tfrestore.metrics.stft`: there is no frame, or not enough to reflect.
        self._shortest = frame_length if padding == "valid" else frame_length // 2 + 1

    def __call__(self, waveform):
        real, imaginary = self._stft(waveform)
        power = ops.square(real) + ops.square(imaginary)
        enough = ops.shape(waveform)[1] >= self._shortest
        return ops.where(enough, power, float("nan"))
