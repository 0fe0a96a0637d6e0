"""What makes a step on N replicas equal a step on one device with the same global batch.

Keras sums gradients over replicas when it applies them, and scales only losses that it computes
itself. A custom `train_step` therefore reduces its per-example losses with `mean_over_replicas`,
and tracks them with an example-weighted `keras.metrics.Mean`.
"""

from __future__ import annotations

import functools

import tensorflow as tf


def mean_over_replicas(per_example):
    """This replica's share of the mean over the global batch; the shares of all add up to it.

    Args:
        per_example: float tensor `(batch,)`, one loss per example of this replica. All replicas
            hold equally many.

    Returns:
        Scalar: the replica's mean divided by the number of replicas in sync.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return tf.reduce_mean(per_example) / replicas


def default_strategy() -> tf.distribute.Strategy:
    """`MirroredStrategy` over all visible GPUs, or over the CPU where there is none."""
    gpus = tuple(device.name for device in tf.config.list_logical_devices("GPU"))
    return mirrored_strategy(*gpus or ["CPU:0"])


@functools.cache
def mirrored_strategy(*devices: str) -> tf.distribute.Strategy:
    """The one `MirroredStrategy` over some devices that a process has.

    TensorFlow numbers the reductions of every such strategy from the same number on, and takes
    those of a second one for those of the first.
    """
    return tf.distribute.MirroredStrategy(devices)
