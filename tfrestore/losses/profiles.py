"""Profiles of spectra, and the loss that keeps a generator from ignoring its noise.

Lattner & Nistal, "Stochastic restoration of heavily compressed musical audio using generative
adversarial networks" (Electronics 2021), eq. 3: two outputs for one input and two noise vectors are
to differ in their profiles in proportion to the noise; the loss is the ratio of the distances, as
in Mao et al., "Mode seeking generative adversarial networks" (2019), eq. 5, turned over.

Chosen where the sources at hand are silent: the magnitudes are raised to the power before the mean
is taken, so that quiet cells count less and empty ones have no slope; both distances are mean
absolute differences, as in Mao et al.'s code, which do not grow with the number of bins, frames or
noise values.
"""

from keras import ops

#: Powers of the magnitudes: the paper's.
FREQUENCY_POWER = 1.3
RHYTHM_POWER = 1.6


def frequency_profile(magnitude, power: float = FREQUENCY_POWER):
    """Which frequencies are strong: the mean over time of the magnitudes to a power.

    Args:
        magnitude: float (batch, frames, bins), above zero.
        power: Exponent.

    Returns:
        float (batch, bins).
    """
    return ops.mean(ops.power(magnitude, power), axis=1)


def rhythm_profile(magnitude, power: float = RHYTHM_POWER):
    """Which moments are strong: the mean over frequency of the magnitudes to a power.

    Args:
        magnitude: float (batch, frames, bins), above zero.
        power: Exponent.

    Returns:
        float (batch, frames).
    """
    return ops.mean(ops.power(magnitude, power), axis=2)


def distance(first, second):
    """Mean absolute difference of two profiles, or noise vectors, per example.

    Args:
        first: float (batch, values).
        second: As `first`.

    Returns:
        float (batch,).
    """
    return ops.mean(ops.abs(first - second), axis=1)


def mode_collapse_loss(noise_distance, profile_distance, epsilon: float = 1e-3):
    """Ratio of how far the noise of two outputs lies apart to how far their profiles do.

    Args:
        noise_distance: float (batch,), `distance` of the two noise vectors.
        profile_distance: float (batch,), `distance` of the two outputs' profiles.
        epsilon: Added to the profiles' distance: outputs that are equal make the loss large, not
            infinite.

    Returns:
        float (batch,), above 0; lower is more spread.
    """
    return noise_distance / (profile_distance + epsilon)
