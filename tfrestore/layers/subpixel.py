"""Sub- and superpixel layers: samples that move into channels, and back.

Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
convolutional neural network" (2016), in one dimension and without the convolution, as Kuleshov,
Enam & Ermon, "Audio super-resolution using neural nets" (2017), and Sifringer, Stegmüller & Alahi,
"Audio enhancing with Wasserstein GANs" (2020), use them in place of pooling and upsampling: nothing
is lost and nothing is made up.

In the papers a map is C x W, channels first; here it is `(batch, W, C)`, Keras's layout. Channel c
and sample W are the same ones in both: channel `c r + j` of the coarser map holds the samples
`r w + j` of channel c of the finer one.
"""

from __future__ import annotations

import keras
from keras import ops


class _Pixel1D(keras.layers.Layer):
    def __init__(self, factor: int = 2, **kwargs):
        super().__init__(**kwargs)
        if factor < 1:
            raise ValueError(f"Argument `factor` must be at least 1. Received: factor={factor}")
        self.factor = factor
        self.built = True

    def _check(self, size, what: str) -> None:
        if size is not None and size % self.factor:
            raise ValueError(
                f"{type(self).__name__} needs a multiple of {self.factor} {what}. Received: {size}"
            )

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(package="tfrestore")
class Superpixel1D(_Pixel1D):
    """Halves the samples and doubles the channels: the inverse of `Subpixel1D`.

    Takes `(batch, samples, channels)` and returns `(batch, samples / factor, channels * factor)`,
    of any dtype; batch and samples may be unknown.

    Args:
        factor: int. By how much there are fewer samples. Defaults to `2`.

    Raises:
        ValueError: if `factor` is below 1; in a call, if it does not divide a known number of
            samples.
    """

    def call(self, inputs):
        """See the class."""
        self._check(inputs.shape[1], "samples")
        batch, samples, channels = ops.shape(inputs)
        x = ops.reshape(inputs, (batch, samples // self.factor, self.factor, channels))
        x = ops.transpose(x, (0, 1, 3, 2))
        return ops.reshape(x, (batch, samples // self.factor, channels * self.factor))

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        batch, samples, channels = input_shape
        samples = None if samples is None else samples // self.factor
        return batch, samples, channels * self.factor


@keras.saving.register_keras_serializable(package="tfrestore")
class Subpixel1D(_Pixel1D):
    """Doubles the samples and halves the channels: the inverse of `Superpixel1D`.

    Takes `(batch, samples, channels)` and returns `(batch, samples * factor, channels / factor)`,
    of any dtype; batch and samples may be unknown.

    Args:
        factor: int. By how much there are more samples. Defaults to `2`.

    Raises:
        ValueError: if `factor` is below 1; in a call, if it does not divide the channels.
    """

    def call(self, inputs):
        """See the class."""
        self._check(inputs.shape[2], "channels")
        batch, samples, channels = ops.shape(inputs)
        x = ops.reshape(inputs, (batch, samples, channels // self.factor, self.factor))
        x = ops.transpose(x, (0, 1, 3, 2))
        return ops.reshape(x, (batch, samples * self.factor, channels // self.factor))

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        batch, samples, channels = input_shape
        samples = None if samples is None else samples * self.factor
        return batch, samples, channels // self.factor
