"""Self-gating: one half of the maps decides how much of the other half passes.

Lattner & Nistal, "Stochastic Restoration of Heavily Compressed Musical Audio using Generative
Adversarial Networks" (2021), eq. 2; after the gated units of WaveNet (van den Oord et al. 2016).
"""

import keras
from keras import ops

# The slope every PReLU starts with, as in PReLU's paper (He et al. 2015).
INITIAL_SLOPE = 0.25

#: Variance times fan-in of a kernel behind which self-gating hands on a mean square of 1, as He et
#: al. ask of initial kernels; for a rectifier it is 2. Normal values of variance v come out with a
#: mean square of (1 + 0.25^2) / 2 v E[sigmoid(b)^2]: 1 for this v, 0.34 for 2.
SELF_GATING_VARIANCE = 5.2


@keras.saving.register_keras_serializable(package="tfrestore")
class MapwisePReLU(keras.layers.Layer):
    """PReLU with one slope per map: y = max(x, 0) + slope min(x, 0).

    `keras.layers.PReLU` with every axis but the last shared, in fewer passes over memory. Takes and
    returns `(..., maps)`; any other size may be unknown. The slopes start at 0.25 (He et al. 2015).
    """

    def build(self, input_shape):
        """Makes the slopes."""
        self.slope = self.add_weight(
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(INITIAL_SLOPE),
            name="slope",
        )

    def call(self, inputs):
        """See the class."""
        # A rectifier's gradient is one pass over memory, a minimum's is four.
        return inputs + (1 - self.slope) * ops.relu(-inputs)

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        return tuple(input_shape)


@keras.saving.register_keras_serializable(package="tfrestore")
class SelfGating(keras.layers.Layer):
    """Lattner & Nistal, eq. 2: PReLU(a) sigmoid(b), with a and b the two halves of the maps.

    Takes `(..., 2 maps)` and returns `(..., maps)`; any other size may be unknown. PReLU has one
    slope per map.

    Raises:
        ValueError: if the number of maps given is odd.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.activation = MapwisePReLU(dtype=self.dtype_policy, name="activation")

    def build(self, input_shape):
        """Makes the slopes."""
        if input_shape[-1] % 2:
            raise ValueError(f"SelfGating halves its maps. Received: {input_shape[-1]} maps")
        self.activation.build((*input_shape[:-1], input_shape[-1] // 2))

    def call(self, inputs):
        """See the class."""
        passed, gate = ops.split(inputs, 2, axis=-1)
        return self.activation(passed) * ops.sigmoid(gate)

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        return (*input_shape[:-1], input_shape[-1] // 2)
