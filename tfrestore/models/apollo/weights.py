"""What all layers of Apollo share: their normalisation, their products and their first weights."""

from __future__ import annotations

import keras
from keras import ops

_EPSILON = 1e-5


def normalize(x, gain):
    """RMSNorm over the last axis: `x / sqrt(mean(x²) + 1e-5) * gain`, float32 in any precision.

    Args:
        x: any shape, the features last.
        gain: What the features are multiplied by; its shape ends like that of `x`.
    """
    x = ops.cast(x, "float32")
    scale = ops.rsqrt(ops.mean(x * x, axis=-1, keepdims=True) + _EPSILON)
    return x * scale * ops.cast(gain, "float32")


def product(x, kernel):
    """A dense layer without bias, in the precision of `x`: `(rows, features)` by a kernel."""
    return ops.matmul(x, ops.cast(kernel, x.dtype))


def add_bias(x, bias):
    """`x` and a bias of its last axis, in the precision of `x`.

    With TensorFlow it is the operation that has a gradient of its own; that of a sum of tensors of
    two shapes adds up rows in a slower way.
    """
    bias = ops.cast(bias, x.dtype)
    if keras.backend.backend() != "tensorflow":
        return x + bias
    import tensorflow as tf

    return tf.nn.bias_add(x, bias)


def uniform(fan_in: int, seed: int):
    """PyTorch's first weights and biases of a linear layer, with which the authors trained."""
    limit = fan_in**-0.5
    return keras.initializers.RandomUniform(-limit, limit, seed)
