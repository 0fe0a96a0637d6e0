"""The drift penalty, which holds the critic's values of real examples near zero.

The Wasserstein losses do not change when a constant is added to the critic, so that its values
drift off; Karras, Aila, Laine & Lehtinen, "Progressive growing of GANs" (2018), appendix A.1, add
this penalty with a weight of 0.001.
"""

from keras import ops


def drift_penalty(real_values):
    """Mean square of the critic's values of real examples.

    Args:
        real_values: float (batch,) or (batch, ...). Where the critic has several values per
            example, each is held near zero, not only their mean.

    Returns:
        float32 (batch,).
    """
    values = ops.cast(real_values, "float32")
    return ops.mean(ops.square(ops.reshape(values, (ops.shape(values)[0], -1))), axis=1)
