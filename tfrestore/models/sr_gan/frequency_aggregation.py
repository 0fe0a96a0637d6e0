"""Conv4 and DeConv4 of Lattner & Nistal (Electronics 2021, Table 1), which span all bins.

They do nearly all the work and hold nearly all the weights, and are matrix products over memory as
it lies.
"""

from __future__ import annotations

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="tfrestore")
class FrequencyAggregation(layers.Layer):
    """Conv4: filters that span all bins of all maps, a matrix product per frame.

    Takes `(batch, frames, bins, maps)` and returns `(batch, frames, filters)`; batch and frames may
    be unknown.

    Args:
        filters: int. Maps that come out.
        seed: int. Seed of He's normal initialisation of the kernel. Defaults to `0`.
    """

    def __init__(self, filters: int, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.seed = seed

    def build(self, input_shape):
        """Makes the kernel, `(bins * maps, filters)`, and the bias."""
        self.kernel = self.add_weight(
            shape=(input_shape[2] * input_shape[3], self.filters),
            initializer=keras.initializers.HeNormal(self.seed),
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, inputs):
        """See the class."""
        batch, frames = ops.shape(inputs)[:2]
        # One product of two matrices. As a batch of products, its gradient would be a kernel per
        # item of the batch before these are added up, each of 0.6 GB in the paper's size.
        rows = ops.reshape(inputs, (-1, self.kernel.shape[0]))
        x = ops.matmul(rows, self.kernel) + self.bias
        return ops.reshape(x, (batch, frames, self.filters))

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        return (*input_shape[:2], self.filters)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "seed": self.seed}


@keras.saving.register_keras_serializable(package="tfrestore")
class FrequencyDistribution(layers.Layer):
    """DeConv4: the transpose of `FrequencyAggregation`, from one bin back to all.

    Takes `(batch, frames, channels)` and returns `(batch, frames, bins, maps)`; batch and frames
    may be unknown. There is a bias per map, the same at every bin.

    Args:
        bins: int. Bins that come out.
        maps: int. Maps that come out.
        seed: int. Seed of He's normal initialisation of the kernel. Defaults to `0`.
    """

    def __init__(self, bins: int, maps: int, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.bins = bins
        self.maps = maps
        self.seed = seed

    def build(self, input_shape):
        """Makes the kernel, `(channels, bins * maps)`, and the bias."""
        self.kernel = self.add_weight(
            shape=(input_shape[2], self.bins * self.maps),
            initializer=keras.initializers.HeNormal(self.seed),
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.maps,), initializer="zeros", name="bias")

    def call(self, inputs):
        """See the class."""
        batch, frames = ops.shape(inputs)[:2]
        rows = ops.reshape(inputs, (-1, self.kernel.shape[0]))
        x = ops.matmul(rows, self.kernel)
        return ops.reshape(x, (batch, frames, self.bins, self.maps)) + self.bias

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        return (*input_shape[:2], self.bins, self.maps)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "bins": self.bins, "maps": self.maps, "seed": self.seed}
