"""The moving average of a network's weights, which is often better than any of them.

Polyak & Juditsky (1992); for GANs Yazıcı et al., "The unusual effectiveness of averaging in GAN
training" (2019). Training goes on with the weights themselves; the average is what is validated and
kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf


class WeightAverage:
    """The exponential moving average of the weights that are trained.

    It starts with the weights as they are. In the first steps it follows them faster, with a decay
    of (1 + steps) / (10 + steps) where that is less.

    Args:
        network: a built model.
        decay: what remains of the average in a step, 0 to 1.
        strategy: the distribution strategy the network was built under.
    """

    def __init__(self, network: keras.Model, decay: float, strategy: tf.distribute.Strategy):
        self.decay = decay
        self.strategy = strategy
        self._weights = [variable.value for variable in network.trainable_variables]
        with strategy.scope():
            self.averages = [tf.Variable(weight, trainable=False) for weight in self._weights]
            self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    @property
    def state(self) -> list[tf.Variable]:
        """What a checkpoint holds of it."""
        return [self.steps, *self.averages]

    def update(self) -> None:
        """Takes in the weights behind a step; may be part of a graph, outside of `strategy.run`."""
        steps = tf.cast(self.steps, tf.float32)
        remains = tf.minimum(self.decay, (1.0 + steps) / (10.0 + steps))
        extended = self.strategy.extended
        for average, weight in zip(self.averages, self._weights, strict=True):
            extended.update(
                average,
                lambda own, other, kept: own.assign_sub((1.0 - kept) * (own - other)),
                args=(weight, remains),
            )
        extended.update(self.steps, lambda own: own.assign_add(1))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network has the averages for weights; afterwards its own again."""
        own = [weight.numpy() for weight in self._weights]
        try:
            for weight, average in zip(self._weights, self.averages, strict=True):
                weight.assign(average.numpy())
            yield
        finally:
            for weight, value in zip(self._weights, own, strict=True):
                weight.assign(value)
