"""The gradient penalty, which holds the critic's slope at 1 between the real and the generated.

Gulrajani, Ahmed, Arjovsky, Dumoulin & Courville, "Improved training of Wasserstein GANs" (2017),
eq. 3: E[(||grad D(x)|| - 1)^2] with x at a random place on the straight line from a real example to
a generated one. The norm is over all of an example. Loads TensorFlow, whose tape takes the inner
gradient; called under a second tape the penalty can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tfrestore.losses.wasserstein import mean_value

# The slope of a square root at zero is infinite; this is far below the square of any norm near 1.
_TINY = 1e-20


def interpolated(real, generated, share):
    """Points on the lines from generated examples to real ones.

    Args:
        real: float (batch, ...).
        generated: As `real`.
        share: float (batch,): how much of the real example is in a point, uniform in 0 to 1 for the
            penalty.

    Returns:
        As `real`.
    """
    share = tf.reshape(tf.cast(share, real.dtype), [-1, *[1] * (len(real.shape) - 1)])
    return generated + share * (real - generated)


def gradient_norm(critic: Callable, inputs):
    """The Euclidean norm of the gradient of the critic's value by its input, per example.

    Args:
        critic: Function of a tensor like `inputs` that returns values (batch,) or (batch, ...), of
            which the mean over all but the first axis counts. No example may depend on another
            one's values. What else it depends on, such as the condition, it holds itself.
        inputs: float32 (batch, ...).

    Returns:
        float32 (batch,).
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        values = mean_value(critic(inputs))
    slopes = tf.cast(tape.gradient(values, inputs), tf.float32)
    return tf.sqrt(tf.reduce_sum(tf.square(slopes), axis=range(1, len(slopes.shape))) + _TINY)


def gradient_penalty(critic: Callable, real, generated, share):
    """The penalty at points between real and generated examples.

    Args:
        critic: As for `gradient_norm`.
        real: float32 (batch, ...).
        generated: As `real`.
        share: As for `interpolated`.

    Returns:
        float32 (batch,): (||grad D|| - 1)^2 of each example.
    """
    return tf.square(gradient_norm(critic, interpolated(real, generated, share)) - 1.0)
