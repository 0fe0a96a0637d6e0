"""The square root of a spectrum's magnitude, from the signed square roots of its two parts.

Lattner & Nistal, "Stochastic Restoration of Heavily Compressed Musical Audio using Generative
Adversarial Networks" (Electronics 2021): what one half of their critic sees.
"""

from keras import ops

# Under the fourth root, whose slope at zero is infinite: a magnitude of 1e-6, from which on the
# signed square root is a straight line too.
TINY = 1e-12


def square_root_magnitude(parts):
    """|S|^(1/2) of S = r |r| + i s |s|, whose signed square roots are r and s.

    Args:
        parts: float, `(..., 2)`: r and s.

    Returns:
        float32, `(...)`: (r^4 + s^4)^(1/4), at least 0.001. It has second derivatives everywhere.
    """
    power = ops.sum(ops.square(ops.square(ops.cast(parts, "float32"))), axis=-1)
    return ops.sqrt(ops.sqrt(power + TINY))
