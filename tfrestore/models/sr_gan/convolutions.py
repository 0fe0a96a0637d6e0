"""The 3×3 convolutions of Lattner & Nistal's networks (Electronics 2021), as they start.

He's initialisation is taken at his word; `network.py` says how.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
from keras import ops

from tfrestore.layers.dilated_convolution import DilatedConv2D

#: Share of the noise in the variance of a fresh Conv6: 64 of 320 maps in Table 1.
NOISE_SHARE = 0.2


@keras.saving.register_keras_serializable(package="tfrestore")
class _HeNormal(keras.initializers.VarianceScaling):
    """He's normal initialisation for an activation and for inputs of which some are noise.

    Args:
        variance: float. Of a kernel, times its fan-in.
        noise_size: int. How many maps at the end of the input are noise; of the variance they have
            `NOISE_SHARE`.
        seed: int.
    """

    def __init__(self, variance: float, noise_size: int, seed: int):
        super().__init__(variance, "fan_in", "truncated_normal", seed=seed)
        self.noise_size = noise_size

    def __call__(self, shape, dtype=None):
        """A kernel `(rows, columns, maps in, maps out)`."""
        kernel = super().__call__(shape, dtype)
        if not self.noise_size:
            return kernel
        maps, others = shape[2], shape[2] - self.noise_size
        sizes = [((1 - NOISE_SHARE) * maps / others) ** 0.5] * others
        sizes += [(NOISE_SHARE * maps / self.noise_size) ** 0.5] * self.noise_size
        return kernel * ops.reshape(ops.cast(sizes, kernel.dtype), (-1, 1))

    def get_config(self):
        """The constructor's arguments."""
        return {"variance": self.scale, "noise_size": self.noise_size, "seed": self.seed}


def convolution(
    maps: int,
    dilation: int,
    seeds: Iterator[int],
    policy,
    name: str,
    padding: str = "same",
    variance: float = 2.0,
    noise_size: int = 0,
) -> DilatedConv2D:
    """One of Conv1-15 or DeConv3-1.

    Args:
        maps: Maps that come out.
        dilation: Of the kernel, in time and in frequency.
        seeds: The next one is the kernel's.
        policy: Of dtypes.
        name: The layer's.
        padding: `"same"` or `"valid"`. Defaults to `"same"`.
        variance: Of the fresh kernel, times its fan-in. Defaults to `2.0`.
        noise_size: How many maps at the end of the input are noise. Defaults to `0`.
    """
    initializer = _HeNormal(variance, noise_size, next(seeds))
    return DilatedConv2D(
        maps,
        3,
        dilation_rate=dilation,
        padding=padding,
        kernel_initializer=initializer,
        dtype=policy,
        name=name,
    )
