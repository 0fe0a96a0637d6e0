"""The signed square root, y = sign(x) sqrt(|x|), and its inverse.

Lattner & Nistal, "Stochastic Restoration of Heavily Compressed Musical Audio using Generative
Adversarial Networks" (2021), eq. 4. It brings the parts of a complex spectrum closer together in
size, so that a network sees the quiet ones too.
"""

import keras
from keras import ops

from tfrestore.layers.float32_layer import Float32Layer

# The square root has an infinite slope at zero. Below this magnitude both layers are the straight
# line through zero that meets the curve, so that the slope is at most 1 / sqrt(1e-6) = 1000 and the
# inverse stays exact; everywhere else they are eq. 4. A full-scale sine in 16 bits has its last bit
# thirty times above it.
LINEAR_BELOW = 1e-6


@keras.saving.register_keras_serializable(package="tfrestore")
class SignedSquareRoot(Float32Layer):
    """Lattner & Nistal, eq. 4: y = sign(x) sqrt(|x|), float32, for a tensor of any shape.

    For |x| < 1e-6 it is y = 1000 x, so that the gradient is finite everywhere.
    """

    def call(self, x):
        """Maps a tensor element by element."""
        x = ops.cast(x, "float32")
        return x * ops.rsqrt(ops.maximum(ops.abs(x), LINEAR_BELOW))


@keras.saving.register_keras_serializable(package="tfrestore")
class SignedSquare(Float32Layer):
    """The inverse of `SignedSquareRoot`: x = y |y|, float32, for a tensor of any shape.

    For |y| < 1e-3 it is x = y / 1000.
    """

    def call(self, y):
        """Maps a tensor element by element."""
        y = ops.cast(y, "float32")
        return y * ops.maximum(ops.abs(y), LINEAR_BELOW**0.5)
