"""A family's models as KerasTuner's hypermodel: hyperparameters become a configuration."""

from __future__ import annotations

import copy
import dataclasses
import os

import keras_tuner

from tfrestore.models.presets import Preset, find_preset
from tfrestore.training.building import make, make_network, make_trainer
from tfrestore.training.configuration import resolve
from tfrestore.training.loop import LEAST_STEPS_PER_EPOCH
from tuning.space import Space

#: How Hyperband says for how many epochs a trial is trained.
EPOCHS = "tuner/epochs"


class PresetHyperModel(keras_tuner.HyperModel):
    """The models around a preset: of its family, in a space whose middle it is.

    `build` gives any tuner of KerasTuner a compiled trainer, whose `fit` takes what the examples of
    the preset give. `tuning.search` trains the same configurations with the package's own loop.

    Args:
        preset: Name of a preset, its folder, or a resolved `Preset`.
        space: The `Space`, or a YAML file with one; by default the built-in one of the family.

    Raises:
        UsageError: if there is no such preset, or the space is none for it.
    """

    def __init__(self, preset: Preset | str | os.PathLike, space: Space | str | None = None):
        super().__init__()
        self.preset = preset if isinstance(preset, Preset) else resolve(find_preset(preset))
        self.space = space if isinstance(space, Space) else Space.of(self.preset, space)

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        """Makes the keys of the space hyperparameters, whose defaults are the preset's values."""
        self.space.declare(hp)

    def configure(self, hp: keras_tuner.HyperParameters) -> Preset:
        """The complete training configuration of a trial.

        Raises:
            UsageError: if a value is none that its key can have.
        """
        preset = self.space.configure(self.preset, hp)
        if EPOCHS in hp.values:
            config = copy.deepcopy(preset.config)
            config["training"]["epochs"] = hp.values[EPOCHS]
            preset = dataclasses.replace(preset, config=config)
        return preset

    def build(self, hp: keras_tuner.HyperParameters):
        """A compiled trainer with a fresh network.

        Raises:
            UsageError: if the model cannot be built so.
        """
        self.declare_hyperparameters(hp)
        preset = self.configure(hp)
        network = make_network(preset)
        restorer = make(preset, "restorer", network)
        steps_per_epoch = preset.config["training"]["steps_per_epoch"] or LEAST_STEPS_PER_EPOCH
        return make_trainer(preset, network, restorer, steps_per_epoch)
