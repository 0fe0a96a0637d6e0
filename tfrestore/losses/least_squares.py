"""The least-squares losses of a GAN: a discriminator says 1 of what is real and 0 of what is not.

Mao, Li, Xie, Lau, Wang & Smolley, "Least squares generative adversarial networks" (2017); Li & Luo,
"Apollo" (arXiv 2409.08514), eq. 3, with several discriminators of equal weight.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from tfrestore.losses.wasserstein import mean_value


def least_squares_discriminator_loss(real_logits: Sequence, generated_logits: Sequence):
    """What the discriminators make small: mean (D(real) - 1)^2 + mean D(generated)^2, per example.

    Args:
        real_logits: One float tensor (batch, ...) per discriminator: what it says of real examples.
        generated_logits: The same of generated ones.

    Returns:
        float32 (batch,): the mean over the discriminators.
    """
    return _mean_distance(real_logits, 1.0) + _mean_distance(generated_logits, 0.0)


def least_squares_generator_loss(generated_logits: Sequence):
    """What the generator makes small: mean (D(generated) - 1)^2, per example.

    Args:
        generated_logits: One float tensor (batch, ...) per discriminator.

    Returns:
        float32 (batch,): the mean over the discriminators.
    """
    return _mean_distance(generated_logits, 1.0)


def _mean_distance(logits: Sequence, target: float):
    distances = [mean_value(ops.square(ops.cast(each, "float32") - target)) for each in logits]
    return sum(distances) / len(distances)
