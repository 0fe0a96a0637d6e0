"""The inpainters as a KerasTuner hypermodel."""

from __future__ import annotations

import keras_tuner

from tfrestore.models.inpainter.network import DOWNSAMPLINGS, UNet
from tfrestore.models.inpainter.recipe import InpainterTrainer


class InpainterHyperModel(keras_tuner.HyperModel):
    """Builds an `InpainterTrainer` from hyperparameters; the defaults are Serra et al.'s U-Net.

    Searched are the first level's `filters` (4 to 64, doubling), the `depth` (2 to 5), the
    `downsampling`, the two switches `global_residual` and `attention_gates`, and the
    `learning_rate` (1e-4 to 1e-2, logarithmic). Batches for `fit` are what
    `InpainterExamples.dataset` gives; the objective is `keras_tuner.Objective("val_psnr", "max")`.
    """

    def build(self, hp: keras_tuner.HyperParameters) -> InpainterTrainer:
        """A compiled trainer with a fresh network."""
        network = UNet(
            filters=hp.Choice("filters", [4, 8, 16, 32, 64], default=32),
            depth=hp.Int("depth", 2, 5, default=5),
            downsampling=hp.Choice("downsampling", list(DOWNSAMPLINGS), default="pool"),
            global_residual=hp.Boolean("global_residual", default=False),
            attention_gates=hp.Boolean("attention_gates", default=False),
            # As in every preset, so that a learning rate means the same here as there.
            output_scale=1 / 128,
        )
        rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log", default=1e-3)
        return InpainterTrainer(network, learning_rate=rate)
