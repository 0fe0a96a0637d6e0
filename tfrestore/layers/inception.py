"""The inception module for waveforms: four lengths of kernel side by side.

Sifringer, Stegmüller & Alahi, "Audio enhancing with Wasserstein GANs" (2020), after Szegedy et
al., "Going deeper with convolutions" (2015), and Kim & Sathe, "Adversarial audio super-resolution
with unsupervised feature losses" (2018).
"""

from __future__ import annotations

import keras
from keras import ops

from tfrestore.layers.long_convolution import LongConv1D

#: Taps of the four branches, and how the filters are shared out among them: 24 : 24 : 8 : 8.
KERNEL_SIZES = (3, 9, 27, 81)
SHARES = (3, 3, 1, 1)


@keras.saving.register_keras_serializable(package="tfrestore")
class Inception1D(keras.layers.Layer):
    """Convolutions with 3, 9, 27 and 81 taps, each behind a 1x1 convolution to fewer channels.

    Takes `(batch, samples, channels)` and returns `(batch, samples, filters)`; batch and samples
    may be unknown. The branches lie one behind the other along the channels, in the order of their
    kernels. Of the filters they have 3/8, 3/8, 1/8 and 1/8: 24, 24, 8 and 8 of 64. There is no
    activation between a reduction and its convolution, so that each branch is a convolution of low
    rank. Every convolution has a bias and pads with zeros.

    The four reductions are one product, `reduction_kernel` `(channels, reduced channels)` and
    `reduction_bias`, in the branches' order.

    Weights start so that a signal passes through at its level: the reductions as LeCun et al.
    (1998), the others as He et al. (2015) for PReLU with a slope of 1/4. The authors' code has the
    defaults of its library, which make a signal weaker with every layer.

    Args:
        filters: int, a multiple of 8. Channels that come out.
        reduction: int. A branch's filters, divided by this, are the channels that it sees, at
            least one. Defaults to `16`.
        seed: int. Of the initial weights. Defaults to `0`.

    Raises:
        ValueError: if `filters` is no multiple of 8 or `reduction` below 1.
    """

    def __init__(self, filters: int, reduction: int = 16, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        if filters < 1 or filters % sum(SHARES):
            raise ValueError(
                f"Argument `filters` must be a multiple of {sum(SHARES)}. "
                f"Received: filters={filters}"
            )
        if reduction < 1:
            raise ValueError(
                f"Argument `reduction` must be at least 1. Received: reduction={reduction}"
            )
        self.filters = filters
        self.reduction = reduction
        self.seed = seed
        branches = [filters * share // sum(SHARES) for share in SHARES]
        self.reduced_channels = [max(1, branch // reduction) for branch in branches]
        # The mean square that PReLU lets through of a normal distribution.
        passed = (1 + 0.25**2) / 2
        self.convolutions = [
            LongConv1D(
                branch,
                taps,
                kernel_initializer=keras.initializers.VarianceScaling(
                    1 / passed, "fan_in", "truncated_normal", seed=seed + 1 + number
                ),
                dtype=self.dtype_policy,
                name=f"convolution_{taps}",
            )
            for number, (branch, taps) in enumerate(zip(branches, KERNEL_SIZES, strict=True))
        ]

    def build(self, input_shape):
        """Makes the weights."""
        reduced = sum(self.reduced_channels)
        self.reduction_kernel = self.add_weight(
            shape=(input_shape[-1], reduced),
            initializer=keras.initializers.LecunNormal(self.seed),
            name="reduction_kernel",
        )
        self.reduction_bias = self.add_weight(
            shape=(reduced,), initializer="zeros", name="reduction_bias"
        )
        for channels, layer in zip(self.reduced_channels, self.convolutions, strict=True):
            layer.build((None, None, channels))

    def call(self, inputs):
        """See the class."""
        x = ops.matmul(inputs, self.reduction_kernel) + self.reduction_bias
        outputs, first = [], 0
        for channels, layer in zip(self.reduced_channels, self.convolutions, strict=True):
            outputs.append(layer(x[..., first : first + channels]))
            first += channels
        return ops.concatenate(outputs, axis=-1)

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "reduction": self.reduction,
            "seed": self.seed,
        }
