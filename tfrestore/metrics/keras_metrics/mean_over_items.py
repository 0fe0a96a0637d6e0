"""What every Keras metric here is: a mean over items, of those that have a finite value.

A metric keeps a sum and a count, which a distribution strategy adds up over its replicas, so that
the mean is over items however unequal the replicas' batches are.
"""

import abc

import keras
from keras import ops

from tfrestore.errors import InputError


class MeanOverItems(keras.metrics.Mean, abc.ABC):
    """Mean of one value per item of a batch; a subclass says which in `values`.

    Items without a finite value are left out; where none is left, the result is 0.

    Args:
        name: Name in the logs.
        dtype: Of the sum and the count, as for every Keras metric; values are computed in float32.
    """

    @abc.abstractmethod
    def values(self, reference, estimate):
        """Returns one value for each row of two float32 tensors (batch, numbers): (batch,)."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds the items of a batch to the mean.

        Args:
            y_true: The reference, (batch, ...).
            y_pred: The estimate, as `y_true` or with an axis of length 1 more or less at the end.
            sample_weight: Optional weight per item, (batch,) or (batch, 1, ...).
        """
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        self.check_shapes(y_true.shape, y_pred.shape)
        numbers = 1
        for size in ops.shape(y_true)[1:]:
            numbers *= size
        y_true, y_pred = (ops.reshape(y, (ops.shape(y_true)[0], numbers)) for y in (y_true, y_pred))
        values = self.values(y_true, y_pred)
        weights = ops.cast(ops.isfinite(values), "float32")
        if sample_weight is not None:
            weights *= ops.reshape(ops.cast(sample_weight, "float32"), ops.shape(values))
        super().update_state(ops.where(weights > 0, values, 0.0), sample_weight=weights)

    def check_shapes(self, *shapes):
        """Raises where tensors of these static shapes do not hold what this metric is about."""


class MeanOverWaveforms(MeanOverItems):
    """Mean over waveforms (batch, samples) or (batch, samples, 1)."""

    def check_shapes(self, *shapes):
        """Raises where a tensor is not a batch of mono waveforms.

        Raises:
            InputError: if it has channels.
        """
        for shape in shapes:
            if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] != 1):
                raise InputError(
                    f"{self.name} is over waveforms (batch, samples) or (batch, samples, 1); it "
                    f"got {tuple(shape)}. Give each channel as an item of the batch."
                )
