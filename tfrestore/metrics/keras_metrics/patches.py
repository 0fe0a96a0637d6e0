"""PSNR and NRMSE over patches of magnitudes: `tfrestore.metrics.psnr` and `nrmse`."""

import keras
from keras import ops

from tfrestore.metrics.keras_metrics.mean_over_items import MeanOverItems


@keras.saving.register_keras_serializable(package="tfrestore")
class PSNR(MeanOverItems):
    """Mean peak signal-to-noise ratio over patches (batch, frames, bins[, 1]), in dB.

    Patches of infinite PSNR are left out; where none is left, the result is 0.

    Args:
        data_range: The largest value that a magnitude can have.
        name: Name in the logs.
        dtype: As for every Keras metric.
    """

    def __init__(self, data_range: float = 1.0, name="psnr", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.data_range = float(data_range)

    def values(self, reference, estimate):
        """Returns the PSNR of each row of (batch, pixels)."""
        squared_error = ops.mean(ops.square(estimate - reference), axis=1)
        return 10.0 * ops.log10(self.data_range**2 / squared_error)

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {"data_range": self.data_range}


@keras.saving.register_keras_serializable(package="tfrestore")
class NRMSE(MeanOverItems):
    """Mean normalised root mean squared error over patches (batch, frames, bins[, 1]).

    Patches whose reference is all zero are left out; where none is left, the result is 0.

    Args:
        name: Name in the logs.
        dtype: As for every Keras metric.
    """

    def __init__(self, name="nrmse", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def values(self, reference, estimate):
        """Returns the NRMSE of each row of (batch, pixels)."""
        error = ops.sum(ops.square(estimate - reference), axis=1)
        return ops.sqrt(error / ops.sum(ops.square(reference), axis=1))
