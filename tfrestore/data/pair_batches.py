"""Batches of pairs `(degraded, original)` out of a function that makes the pair of a position.

A pair may come with its bandwidth, up to which the original is the truth.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfrestore.errors import UsageError


def pair_batches(
    read: Callable[[int], tuple[np.ndarray, np.ndarray]],
    samples: int,
    batch_size: int,
    start: int = 0,
    batches: int | None = None,
    with_bandwidth: bool = False,
) -> tf.data.Dataset:
    """Batches in the order of positions, made in parallel.

    Args:
        read: Makes the pair of a position, float32 `(samples,)` each.
        samples: Of each.
        batch_size: Pairs per batch.
        start: Number of the first batch.
        batches: How many batches; endless when `None`.
        with_bandwidth: Whether `read` returns a third thing, the bandwidth in Hz, float32 `()`.
            Defaults to `False`.

    Returns:
        A dataset of pairs of float32 `(batch_size, samples)`, and with the bandwidth of triples
        that have float32 `(batch_size,)` besides.

    Raises:
        UsageError: if the batch size is less than 1.
        tf.errors.OpError: (when it is iterated) `read` raised; what it said of a file is in
            `tfrestore.data.pipeline.decoding_error`.
    """
    if batch_size < 1:
        raise UsageError(f"the batch size is {batch_size}: give at least 1.")
    stop = np.iinfo(np.int64).max if batches is None else (start + batches) * batch_size
    shapes = [[samples], [samples], []] if with_bandwidth else [[samples], [samples]]
    dataset = tf.data.Dataset.range(start * batch_size, stop)

    def make(position):
        # LAME, libsndfile and soxr let go of Python's lock, so these run in parallel.
        parts = tf.numpy_function(read, [position], [tf.float32] * len(shapes))
        return tuple(map(tf.ensure_shape, parts, shapes))

    dataset = dataset.map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
