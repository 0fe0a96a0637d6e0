"""Batches of pairs `(degraded, original)` out of a function that makes the pair of a position."""

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
) -> tf.data.Dataset:
    """Batches in the order of positions, made in parallel.

    Args:
        read: Makes the pair of a position, float32 `(samples,)` each.
        samples: Of each.
        batch_size: Pairs per batch.
        start: Number of the first batch.
        batches: How many batches; endless when `None`.

    Returns:
        A dataset of pairs of float32 `(batch_size, samples)`.

    Raises:
        UsageError: if the batch size is less than 1.
        tf.errors.OpError: (when it is iterated) `read` raised; what it said of a file is in
            `tfrestore.data.pipeline.decoding_error`.
    """
    if batch_size < 1:
        raise UsageError(f"the batch size is {batch_size}: give at least 1.")
    stop = np.iinfo(np.int64).max if batches is None else (start + batches) * batch_size
    dataset = tf.data.Dataset.range(start * batch_size, stop)

    def make(position):
        # LAME, libsndfile and soxr let go of Python's lock, so these run in parallel.
        pair = tf.numpy_function(read, [position], [tf.float32] * 2)
        return tuple(tf.ensure_shape(waveform, [samples]) for waveform in pair)

    dataset = dataset.map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
