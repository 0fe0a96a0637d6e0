"""Layer normalisation over a whole map, whose second derivatives are right.

Ba, Kiros & Hinton, "Layer normalization" (2016). In a Wasserstein critic the penalty on its slope
is differentiated again. Keras's `LayerNormalization` takes its variance from `tf.nn.moments`, which
stops the gradient at the mean: first derivatives are the same, second ones are not.
"""

from __future__ import annotations

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfrestore")
class MapNormalization(keras.layers.Layer):
    """Brings every example to mean 0 and variance 1, over all its values, then scales and shifts.

    Takes and returns `(batch, ...)`; sizes other than the batch must be known. `gamma` and `beta`
    have a value for each place in the map, and start as 1 and 0. Computes in float32 at least.

    Args:
        epsilon: float. Added to the variance. Defaults to `1e-5`.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        """Makes the scale and the shift."""
        shape = tuple(input_shape[1:])
        self.gamma = self.add_weight(shape=shape, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=shape, initializer="zeros", name="beta")

    def call(self, inputs):
        """See the class."""
        precise = keras.backend.result_type(inputs.dtype, "float32")
        x = ops.cast(inputs, precise)
        axes = tuple(range(1, len(inputs.shape)))
        x = x - ops.mean(x, axis=axes, keepdims=True)
        x = x * ops.rsqrt(ops.mean(ops.square(x), axis=axes, keepdims=True) + self.epsilon)
        x = x * ops.cast(self.gamma, precise) + ops.cast(self.beta, precise)
        return ops.cast(x, inputs.dtype)

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        return tuple(input_shape)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}
