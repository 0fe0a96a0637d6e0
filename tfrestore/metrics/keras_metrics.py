"""PSNR and NRMSE as Keras metrics for `compile`: means over patches.

They are those of `tfrestore.metrics.spectral`, in float32. They keep a sum and a count, which a
distribution strategy adds up over its replicas, so that the mean is over patches however unequal
the replicas' batches are.
"""

import keras
from keras import ops


class _MeanOverPatches(keras.metrics.Mean):
    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds the patches of a batch to the mean.

        Args:
            y_true: The reference, (batch, frames, bins) or (batch, frames, bins, 1).
            y_pred: The estimate, as `y_true` or with one channel axis more or less at the end.
            sample_weight: Optional weight per patch, (batch,) or (batch, 1, ...).
        """
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        pixels = 1
        for size in ops.shape(y_true)[1:]:
            pixels *= size
        y_true, y_pred = (ops.reshape(y, (ops.shape(y_true)[0], pixels)) for y in (y_true, y_pred))
        values = self.values(y_true, y_pred)
        finite = ops.cast(ops.isfinite(values), "float32")
        if sample_weight is not None:
            finite *= ops.reshape(ops.cast(sample_weight, "float32"), ops.shape(values))
        super().update_state(ops.where(finite > 0, values, 0.0), sample_weight=finite)


@keras.saving.register_keras_serializable(package="tfrestore")
class PSNR(_MeanOverPatches):
    """Mean peak signal-to-noise ratio over patches, in dB.

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
class NRMSE(_MeanOverPatches):
    """Mean normalised root mean squared error over patches.

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
