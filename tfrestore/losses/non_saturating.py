"""The losses of the vanilla GAN, with the generator's in its non-saturating form.

Goodfellow et al., "Generative adversarial nets" (2014), and Sifringer, Stegmüller & Alahi, "Audio
enhancing with Wasserstein GANs" (2020), eq. 2 and 4: a discriminator that gives logits is trained
with binary cross-entropy, and the generator to make what it calls real most probable.
"""

from keras import ops

from tfrestore.losses.wasserstein import mean_value


def cross_entropy_discriminator_loss(real_logits, generated_logits):
    """What the discriminator makes small: -log s(D(real)) - log(1 - s(D(generated))).

    Args:
        real_logits: float (batch, ...), the discriminator's values of real examples, before its
            sigmoid s.
        generated_logits: The same of generated ones.

    Returns:
        float32 (batch,), above 0; 2 log 2 where all logits are 0.
    """
    return mean_value(ops.softplus(-real_logits)) + mean_value(ops.softplus(generated_logits))


def non_saturating_generator_loss(generated_logits):
    """What the generator makes small: -log s(D(generated)).

    Args:
        generated_logits: float (batch, ...), the discriminator's values of generated examples.

    Returns:
        float32 (batch,), above 0.
    """
    return mean_value(ops.softplus(-generated_logits))
