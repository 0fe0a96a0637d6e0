"""What makes a step on N replicas equal a step on one device with the same global batch.

Keras sums gradients over replicas when it applies them, and scales only losses that it computes
itself. A custom `train_step` therefore reduces its per-example losses with `mean_over_replicas`,
and tracks them with an example-weighted `keras.metrics.Mean`. What is to be known or done about the
gradient of the whole batch, such as its norm, comes between `sum_over_replicas` and
`apply_summed_gradients`. Random numbers come from `global_normal` and `global_uniform`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

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


def sum_over_replicas(gradients: Sequence) -> list:
    """The gradients of the global batch, from those of every replica's `mean_over_replicas`.

    Args:
        gradients: float tensors, one per variable, of this replica.

    Returns:
        Tensors of the same shapes, the same on all replicas.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return list(gradients)
    context = tf.distribute.get_replica_context()
    return list(context.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients)))


def clip_summed_gradients(
    gradients: Sequence, largest_norm: float, optimizer
) -> tuple[list, object]:
    """Turns gradients down to a norm over all of them, which must be those of the global batch.

    Keras clips on every replica what that one has, before anything is summed up.

    Args:
        gradients: what `sum_over_replicas` gave, of a loss that `optimizer.scale_loss` scaled.
        largest_norm: what the norm of the loss's own gradients is turned down to.
        optimizer: the Keras optimizer they are for.

    Returns:
        The gradients, scaled as they were, and the norm of the loss's own before it was clipped;
        where a gradient is not finite the norm is neither, and no gradient is.
    """
    scale = optimizer.scale_loss(1.0)
    norm = tf.linalg.global_norm(gradients)
    clipped, _ = tf.clip_by_global_norm(gradients, largest_norm * scale, norm)
    return clipped, norm / scale


def apply_summed_gradients(optimizer, gradients: Sequence, variables: Sequence) -> None:
    """Applies gradients that are the same on all replicas.

    Args:
        optimizer: a Keras optimizer, which sums what it is given over the replicas.
        gradients: what `sum_over_replicas` gave, or what was made of it.
        variables: of the same number.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    optimizer.apply([gradient / replicas for gradient in gradients], variables)


def global_normal(examples: int, size: int, seed: Sequence):
    """Standard normal numbers for this replica's examples: its rows of the global batch's.

    Args:
        examples: how many examples this replica holds; all hold equally many.
        size: numbers per example.
        seed: two integers, numbers or tensors, that decide the numbers; the same on all replicas.

    Returns:
        float32 `(examples, size)`.
    """
    return _own_rows(tf.random.stateless_normal, examples, [size], seed)


def global_uniform(examples: int, seed: Sequence):
    """Uniform numbers in 0 to 1, one per example of this replica; see `global_normal`."""
    return _own_rows(tf.random.stateless_uniform, examples, [], seed)


def _own_rows(draw, examples: int, shape: list[int], seed: Sequence):
    context = tf.distribute.get_replica_context()
    first = context.replica_id_in_sync_group * examples
    numbers = draw([context.num_replicas_in_sync * examples, *shape], seed=tf.stack(seed))
    return numbers[first : first + examples]


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
