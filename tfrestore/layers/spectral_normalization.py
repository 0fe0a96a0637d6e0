"""Spectral normalisation as PyTorch does it: the kernel is divided by its largest singular value.

Miyato, Kataoka, Koyama & Yoshida, "Spectral normalization for generative adversarial networks"
(2018), algorithm 1. The kernel W is a parameter like any other, and W / sigma(W) is what convolves:
gradients go through sigma. (`keras.layers.SpectralNormalization` writes W / sigma into the kernel
instead, at every training call.) sigma = u . M v for the two vectors u and v that each training
call brings nearer to the first singular vectors of M, the kernel as a matrix of a row per filter;
they are held when the gradient is taken.
"""

from __future__ import annotations

import keras
from keras import ops

# What PyTorch keeps from a division by zero with.
_SMALLEST_NORM = 1e-12


def power_iteration(matrix, left):
    """One step of the power iteration towards the first singular vectors.

    Args:
        matrix: float (inputs, filters): M transposed.
        left: float (filters,): u.

    Returns:
        u (filters,) and v (inputs,), of norm 1: v <- M^T u / |M^T u|, then u <- M v / |M v|.
    """
    right = _unit(ops.matmul(matrix, left))
    return _unit(ops.matmul(right, matrix)), right


def _unit(vector):
    return vector / ops.maximum(ops.norm(vector), _SMALLEST_NORM)


@keras.saving.register_keras_serializable(package="tfrestore")
class SpectralNormalizedConv2D(keras.layers.Layer):
    """A convolution whose kernel has spectral norm 1, with `kernel_size // 2` zeros at every side.

    Takes `(batch, height, width, channels)` and returns `(batch, height', width', filters)`, where
    height' = (height + 2 (kernel_size // 2) - kernel_size) // strides + 1. Batch, height and width
    may be unknown.

    The vectors are weights that are not trained. They follow from the kernel, which is the same on
    all replicas, and are so too; sigma is computed in float32 under any precision policy. Before
    the first training call they are random, sigma is far too small and the output far too large.

    Args:
        filters: int.
        kernel_size: int, odd. Defaults to `3`.
        strides: int. Defaults to `1`.
        seed: int. Of the kernel and the bias, which are drawn as PyTorch's (uniform up to
            1 / sqrt(inputs)), and of the vectors. Defaults to `0`.

    Raises:
        ValueError: if `kernel_size` is even.
    """

    def __init__(
        self, filters: int, kernel_size: int = 3, strides: int = 1, seed: int = 0, **kwargs
    ):
        super().__init__(**kwargs)
        if kernel_size % 2 == 0:
            raise ValueError(
                f"Argument `kernel_size` must be odd. Received: kernel_size={kernel_size}"
            )
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.seed = seed

    def build(self, input_shape):
        """Makes kernel and bias, and the vectors of the power iteration."""
        inputs = self.kernel_size**2 * input_shape[-1]
        self.kernel = self.add_weight(
            shape=(self.kernel_size, self.kernel_size, input_shape[-1], self.filters),
            initializer=fan_in_uniform(inputs, self.seed),
            # Autocasting would take its digits before sigma is known.
            autocast=False,
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(self.filters,), initializer=fan_in_uniform(inputs, self.seed + 1), name="bias"
        )
        self.left, self.right = (
            self.add_weight(
                shape=(size,),
                initializer=_unit_vector(self.seed + 2 + number),
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
                name=name,
            )
            for number, (name, size) in enumerate((("left", self.filters), ("right", inputs)))
        )

    def normalized_kernel(self, training=False):
        """The kernel over its spectral norm, float32; a training call first turns the vectors."""
        matrix = ops.reshape(self.kernel, (-1, self.filters))
        if training:
            left, right = power_iteration(ops.stop_gradient(matrix), self.left)
            self.left.assign(left)
            self.right.assign(right)
        else:
            left, right = ops.convert_to_tensor(self.left), ops.convert_to_tensor(self.right)
        return self.kernel / ops.sum(right * ops.matmul(matrix, left))

    def call(self, inputs, training=False):
        """See the class."""
        reach = self.kernel_size // 2
        kernel = ops.cast(self.normalized_kernel(training), self.compute_dtype)
        # Strided convolutions that pad for themselves pad unevenly.
        padded = ops.pad(inputs, [[0, 0], [reach, reach], [reach, reach], [0, 0]])
        x = ops.conv(padded, kernel, self.strides, "valid", data_format="channels_last")
        return x + self.bias

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        batch, *sizes, _ = input_shape
        lost = self.kernel_size - 2 * (self.kernel_size // 2)
        return (
            batch,
            *(None if size is None else (size - lost) // self.strides + 1 for size in sizes),
            self.filters,
        )

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "seed": self.seed,
        }


def fan_in_uniform(inputs: int, seed: int) -> keras.initializers.Initializer:
    """PyTorch's initial weights and biases of linear layers and convolutions.

    Args:
        inputs: int. Numbers that each output is a weighted sum of.
        seed: int.

    Returns:
        The initializer: uniform between plus and minus 1 / sqrt(inputs).
    """
    limit = inputs**-0.5
    return keras.initializers.RandomUniform(-limit, limit, seed)


def _unit_vector(seed: int):
    normal = keras.initializers.RandomNormal(seed=seed)
    return lambda shape, dtype=None: _unit(normal(shape, dtype))
