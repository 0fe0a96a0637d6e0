"""A one-dimensional convolution of a long kernel over few channels, as matrix products.

Convolutions over one or two channels, and those that leave one, keep a processor's vector units
waiting. Sixteen neighbouring results together are a product of what lies below all their kernels
with a matrix that holds the kernel sixteen times, each time a sample later: a fifth more
multiplications for 81 taps, and on a CPU half the time forwards and a third of it in training.
`benchmarks/inception_wgan.py` prints the comparison.
"""

from __future__ import annotations

import keras
from keras import ops

#: Results that are computed together.
_BLOCK = 16

#: With more channels than this, or fewer taps, the plain convolution is as fast.
_MOST_CHANNELS = 4
_FEWEST_TAPS = 27


@keras.saving.register_keras_serializable(package="tfrestore")
class LongConv1D(keras.layers.Layer):
    """`keras.layers.Conv1D` with stride 1, same padding and a bias, made fast for long kernels.

    Takes `(batch, samples, channels)` and returns `(batch, samples, filters)`; batch and samples
    may be unknown. Weights are those of `Conv1D`: `kernel`, `(kernel_size, channels, filters)`, and
    `bias`.

    Args:
        filters: int. Channels that come out.
        kernel_size: int, odd. Taps.
        kernel_initializer: As in `Conv1D`. Defaults to `"glorot_uniform"`.

    Raises:
        ValueError: if `kernel_size` is even.
    """

    def __init__(
        self, filters: int, kernel_size: int, kernel_initializer="glorot_uniform", **kwargs
    ):
        super().__init__(**kwargs)
        if kernel_size % 2 == 0:
            raise ValueError(
                f"Argument `kernel_size` must be odd. Received: kernel_size={kernel_size}"
            )
        self.filters = filters
        self.kernel_size = kernel_size
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        """Makes the kernel and the bias."""
        self.kernel = self.add_weight(
            shape=(self.kernel_size, input_shape[-1], self.filters),
            initializer=self.kernel_initializer,
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, inputs):
        """See the class."""
        channels = inputs.shape[-1]
        if self.kernel_size < _FEWEST_TAPS:
            x = ops.conv(inputs, self.kernel, padding="same")
        elif channels > self.filters:
            x = self._convolve_blocks(inputs)
        elif channels <= _MOST_CHANNELS:
            x = self._multiply_blocks(inputs)
        else:
            x = ops.conv(inputs, self.kernel, padding="same")
        return x + self.bias

    def _convolve_blocks(self, inputs):
        """A convolution with a stride of a block: few filters become many."""
        samples, blocks, padded = self._padded(inputs, self.kernel_size - 1)
        x = ops.conv(padded, self._block_kernel(), strides=_BLOCK, padding="valid")
        return self._without_blocks(x, samples, blocks)

    def _multiply_blocks(self, inputs):
        """Matrix products: what lies below a block's kernels is put side by side."""
        channels = inputs.shape[-1]
        reach = -(-(self.kernel_size - 1) // _BLOCK)
        samples, blocks, padded = self._padded(inputs, reach * _BLOCK)
        batch = ops.shape(inputs)[0]
        pieces = ops.reshape(padded, (batch, blocks + reach, _BLOCK * channels))
        below = ops.concatenate([pieces[:, i : i + blocks] for i in range(reach + 1)], axis=-1)
        kernel = self._block_kernel()
        missing = (reach + 1) * _BLOCK - kernel.shape[0]
        matrix = ops.reshape(
            ops.pad(kernel, ((0, missing), (0, 0), (0, 0))),
            ((reach + 1) * _BLOCK * channels, _BLOCK * self.filters),
        )
        # One product of two matrices, and not one per item of the batch.
        x = ops.matmul(ops.reshape(below, (-1, matrix.shape[0])), matrix)
        return self._without_blocks(x, samples, blocks)

    def _padded(self, inputs, behind: int):
        """Samples, blocks, and the input with zeros before it and behind whole blocks of it."""
        samples = ops.shape(inputs)[1]
        before = self.kernel_size // 2
        fill = -samples % _BLOCK
        padded = ops.pad(inputs, ((0, 0), (before, fill + behind - before), (0, 0)))
        return samples, (samples + fill) // _BLOCK, padded

    def _without_blocks(self, x, samples, blocks):
        return ops.reshape(x, (-1, blocks * _BLOCK, self.filters))[:, :samples]

    def _block_kernel(self):
        """The kernel once for each place in a block: (taps + block - 1, channels, block filters).

        A row that is one longer than the kernel with its padding, repeated and cut into rows that
        are not, is later by one in each.
        """
        taps, channels, _ = self.kernel.shape
        row = taps + _BLOCK - 1
        kernel = ops.transpose(self.kernel, (1, 2, 0))
        kernel = ops.pad(kernel, ((0, 0), (0, 0), (0, _BLOCK)))
        kernel = ops.tile(kernel, (1, 1, _BLOCK))[:, :, : _BLOCK * row]
        kernel = ops.reshape(kernel, (channels, self.filters, _BLOCK, row))
        kernel = ops.transpose(kernel, (3, 0, 2, 1))
        return ops.reshape(kernel, (row, channels, _BLOCK * self.filters))

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
