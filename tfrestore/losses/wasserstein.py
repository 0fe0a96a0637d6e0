"""The Wasserstein losses: a critic learns to tell how far the generated lies from the real.

Arjovsky, Chintala & Bottou, "Wasserstein generative adversarial networks" (2017), and Lattner &
Nistal, "Stochastic restoration of heavily compressed musical audio using generative adversarial
networks" (Electronics 2021), eq. 1: min_G max_D E[D(real)] - E[D(generated)], over critics D of
slope 1.
"""

from keras import ops


def mean_value(values):
    """The critic's value of each example.

    Args:
        values: float (batch,) or (batch, ...): what the critic says of an example, at one place or
            at several, such as one value per frame.

    Returns:
        float32 (batch,): the mean over the places.
    """
    values = ops.cast(values, "float32")
    return ops.mean(ops.reshape(values, (ops.shape(values)[0], -1)), axis=1)


def wasserstein_critic_loss(real_values, generated_values):
    """What the critic makes small: D(generated) - D(real), per example.

    Its negative is the Wasserstein estimate: how far the generated lies from the real, in the
    distance in which the critic has slope 1.

    Args:
        real_values: float (batch, ...), the critic's values of real examples.
        generated_values: The same of generated ones.

    Returns:
        float32 (batch,).
    """
    return mean_value(generated_values) - mean_value(real_values)


def wasserstein_generator_loss(generated_values):
    """What the generator makes small: -D(generated), per example.

    Args:
        generated_values: float (batch, ...), the critic's values of generated examples.

    Returns:
        float32 (batch,).
    """
    return -mean_value(generated_values)
