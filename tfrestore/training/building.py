"""From a resolved configuration to the objects of a run: the network, its restorer, its trainer.

What a class refuses is said as a sentence for the person who wrote the configuration.
"""

from __future__ import annotations

import inspect
import os
import re

import tensorflow as tf

from tfrestore.errors import InputError, OutOfMemoryError, UsageError
from tfrestore.models import presets
from tfrestore.models.presets import Preset
from tfrestore.training.configuration import TrainingSettings


def make(preset: Preset, section: str, *args, **overrides):
    """What a section of a preset describes; see `Preset.make`.

    Raises:
        UsageError: if its class refuses an argument.
        OutOfMemoryError: if it does not fit into memory.
    """
    try:
        return preset.make(section, *args, **overrides)
    except InputError:
        raise
    except ValueError as error:
        raise UsageError(f"{section}: {reason_of(error)}") from None
    except tf.errors.ResourceExhaustedError:
        raise OutOfMemoryError(
            f"{section}: this does not fit into memory; make it smaller."
        ) from None


def make_network(preset: Preset):
    """The network of a resolved preset, with the trained weights of one that is a folder.

    Raises:
        UsageError: if it cannot be built, or is another than the trained one.
        OutOfMemoryError: if it does not fit into memory.
    """
    precision = preset.config["training"]["precision"]
    if preset.initial_weights is None:
        return make(preset, "network", dtype=precision)
    network = presets.load_network(preset.initial_weights, dtype=precision)
    config = network.get_config()
    for name, value in preset.config["network"].items():
        if name in config and config[name] != value:
            raise UsageError(
                f"network.{name} is {value!r}, but the trained network in {preset.name} "
                f"has {config[name]!r}; leave it out."
            )
    return network


def make_trainer(preset: Preset, network, restorer, steps_per_epoch: int):
    """The trainer that a resolved preset's recipe describes, for as long as its settings say.

    Raises:
        UsageError: if it cannot be built.
        OutOfMemoryError: if it does not fit into memory.
    """
    wanted = inspect.signature(preset.find_class("recipe")).parameters
    offered = {
        "restorer": restorer,
        "sample_rate": restorer.sample_rate,
        "steps_per_epoch": steps_per_epoch,
        "total_steps": TrainingSettings(**preset.config["training"]).total_steps(steps_per_epoch),
    }
    given = {name: value for name, value in offered.items() if name in wanted}
    return make(preset, "recipe", network, **given)


def reason_of(error: Exception) -> str:
    """What an error says, in a line and without what only programmers understand."""
    # HDF5 tells all it knows in place of the system's message.
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    message = error.message if isinstance(error, tf.errors.OpError) else str(error)
    line = next(iter((message or "").strip().splitlines()), "") or type(error).__name__
    # TensorFlow puts the node that failed and the file in front, and the operation behind.
    return re.sub(r"^/\S*; | \[Op:\w+\].*$", "", line.rpartition("}} ")[2])
