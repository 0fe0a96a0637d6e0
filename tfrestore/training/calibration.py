"""Measuring the statistics of batch normalisation anew, for the weights as they are now.

A moving average with the inpainters' momentum of 0.9997 has forgotten its initial value after about
ten thousand steps, and before that normalises with nothing like the data's statistics. Wu and
Johnson, "Rethinking 'Batch' in BatchNorm" (2021): the mean over a few batches, with the
weights held fixed, is better at any length of training.
"""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf


class BatchNormalizationCalibration:
    """Sets the moving statistics of a network to those of some batches.

    Args:
        network: a built model; its `BatchNormalization` layers are found.
        strategy: the distribution strategy it was built under.
    """

    def __init__(self, network: keras.Model, strategy: tf.distribute.Strategy):
        self.layers = [
            layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)
        ]

        @tf.function
        def forward(inputs):
            strategy.run(lambda x: network(x, training=True), args=(inputs,))

        self._forward = forward

    def __call__(self, batches: Iterable) -> None:
        """Runs the batches through the network and keeps the statistics of all of them together."""
        if not self.layers:
            return
        momenta = [layer.momentum for layer in self.layers]
        sums = [0.0] * len(self.layers)
        count = 0
        try:
            for layer in self.layers:
                # Without momentum a layer's moving statistics are those of the latest batch.
                layer.momentum = 0.0
            for batch in batches:
                self._forward(batch)
                count += 1
                for i, layer in enumerate(self.layers):
                    mean, variance = (
                        keras.ops.convert_to_numpy(value).astype(np.float64)
                        for value in (layer.moving_mean, layer.moving_variance)
                    )
                    sums[i] = sums[i] + np.stack([mean, variance + mean**2])
        finally:
            for layer, momentum in zip(self.layers, momenta, strict=True):
                layer.momentum = momentum
        for layer, total in zip(self.layers, sums, strict=True):
            mean, square = total / count
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(square - mean**2)
