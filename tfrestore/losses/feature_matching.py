"""Feature matching: what discriminators see on their way to a verdict is to be the same.

Li & Luo, "Apollo" (arXiv 2409.08514), eq. 5: the mean over the feature maps of all discriminators
of mean|f_generated - f_real| / mean|f_real|.

Departure: here both means are over one example; the authors' code takes them over the batch. Their
batches have one example per device, for which both are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from tfrestore.losses.wasserstein import mean_value

_EPSILON = 1e-8


def feature_matching_loss(real_features: Sequence, generated_features: Sequence):
    """How far feature maps of generated examples are from those of the real ones, per example.

    Args:
        real_features: A sequence of feature maps, float (batch, ...), per discriminator. Held: it
            is not these that are to change.
        generated_features: The same of generated examples.

    Returns:
        float32 (batch,).
    """
    ratios = []
    for real_maps, generated_maps in zip(real_features, generated_features, strict=True):
        for real, generated in zip(real_maps, generated_maps, strict=True):
            real = ops.stop_gradient(ops.cast(real, "float32"))
            difference = ops.abs(ops.cast(generated, "float32") - real)
            ratios.append(mean_value(difference) / (mean_value(ops.abs(real)) + _EPSILON))
    return sum(ratios) / len(ratios)
