"""Restorers: waveform in, waveform out, for arrays, files and servers alike.

A `Restorer` wraps a network with what it needs before and after it. Called, it restores a batch of
waveforms at its own sample rate; that call is what `evaluate` scores and what `export` ships. Its
`restore` and `restore_file`, those of `tfrestore.recordings`, bring recordings of any rate, length
and number of channels to that call.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tfrestore.complete_files import write_text
from tfrestore.errors import UsageError
from tfrestore.models import presets
from tfrestore.recordings import RecordingRestorer

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A function that an exported model offers, float32 in and out.

    Attributes:
        function: Takes one tensor for each of `inputs`, in their order, and returns one that has
            the shape of the first; where there is `state`, a tuple of that and the next state.
        inputs: Shapes by name, `None` for any size.
        output: The result's name.
        state: Those of the inputs, the last ones, that are outputs too, for the next call; zeros
            for the first.
    """

    function: Callable
    inputs: dict[str, tuple[int | None, ...]]
    output: str
    state: tuple[str, ...] = ()


class Restorer(keras.Model, RecordingRestorer):
    """The base of every family's restorer.

    A subclass implements `call(waveform)`, `(batch, samples)` float32 to the same shape at
    `sample_rate`, `context_samples`, and, where chunks have to start on a grid, `grid_samples`. One
    that can restore a recording in several ways has a `noise_size` and implements
    `call(waveform, noise=None)`, noise `(batch, noise_size)`.

    Args:
        network: the trained network.
        sample_rate: int. Hz that the network works at.
        chunk_seconds: float. How much of a recording is restored in one call, context not counted.
            Defaults to `8.0`.
    """

    #: What `evaluate` does to the music if it is not told.
    default_degradation = "mp3:32"

    def __init__(self, network, *, sample_rate: int, chunk_seconds: float = 8.0, **kwargs):
        # Waveforms come and go in float32, whatever precision the network or the process has.
        super().__init__(**{"dtype": "float32", **kwargs})
        self.network = network
        self.sample_rate = sample_rate
        self.chunk_seconds = chunk_seconds
        self.built = True

    @classmethod
    def prepare_process(cls) -> None:
        """Sets what suits this model in a process that does nothing but restore with it.

        Called by commands, before TensorFlow has computed anything.
        """

    def compute_output_shape(self, input_shape):
        """The input's shape."""
        return input_shape

    def restore_window(self, waveform: np.ndarray, *noise: np.ndarray) -> np.ndarray:
        """See `RecordingRestorer`."""
        return ops.convert_to_numpy(self.graph(waveform, *noise))

    def restore_windows(self, waveform, *noise):
        """The call, for windows `(batch, samples)` whose outer `context_samples` do not count.

        A subclass may save itself their work and return anything there.
        """
        return self(waveform, *noise)

    @property
    def graph(self):
        """`restore_windows` as one traced graph where the backend is TensorFlow."""
        if keras.backend.backend() != "tensorflow":
            return self.restore_windows
        if "_graph" not in self.__dict__:
            import tensorflow as tf

            signature = [tf.TensorSpec([None, None], tf.float32)]
            if self.is_stochastic:
                # An argument and no constant: another candidate is not another graph.
                signature.append(tf.TensorSpec([None, self.noise_size], tf.float32))
            # Set past Keras, which would take the function for a part of the model.
            object.__setattr__(self, "_graph", tf.function(self.restore_windows, signature))
        return self._graph

    def for_inference(self) -> Restorer:
        """The same restorer in the form that is fastest where it is not trained any more.

        A subclass whose network has such a form returns another object with its own weights.
        """
        return self

    def endpoints(self) -> dict[str, Endpoint]:
        """What an exported model offers, by the signature's name.

        A stochastic model's `serving_default` always makes the same version, candidate 1 of seed 0;
        its signature `noise` takes the vector `(batch, noise_size)` as a second input.
        """
        waveform = {"waveform": (None, None)}
        offered = {"serving_default": Endpoint(self._restore_any_length, waveform, "restored")}
        if self.is_stochastic:
            inputs = {**waveform, "noise": (None, self.noise_size)}
            offered["noise"] = Endpoint(self._restore_any_length, inputs, "restored")
        return offered

    def _restore_any_length(self, waveform, *noise):
        """The call, also for waveforms without a sample, of which no transform can be taken."""
        samples = ops.shape(waveform)[1]
        waveform = ops.pad(waveform, [[0, 0], [0, ops.maximum(0, 1 - samples)]])
        return self(waveform, *noise)[:, :samples]

    def get_config(self):
        """The constructor's arguments, the network serialised."""
        return {
            "name": self.name,
            "network": keras.saving.serialize_keras_object(self.network),
            "chunk_seconds": self.chunk_seconds,
        }

    @classmethod
    def from_config(cls, config):
        """The restorer of a `get_config`, with a freshly initialised network."""
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(network, **{name: config[name] for name in config if name != "network"})

    @classmethod
    def from_preset(cls, preset: str | os.PathLike, load_weights: bool = True, **overrides):
        """The restorer of a preset folder, of a built-in preset that has weights, or of a hub's.

        Args:
            preset: A folder that train or `save_to_preset` wrote, a built-in name, or
                `hf://USER/NAME`.
            load_weights: bool. `False` gives the architecture with fresh weights, which restores
                nothing. Defaults to `True`.
            **overrides: Constructor arguments that replace the preset's, such as `iterations`;
                `dtype` is the network's and defaults to float32.

        Raises:
            UsageError: if there is no such preset, or it has no weights.
            ValueError: if the preset is another family's than the class it is called on.
        """
        found = presets.find_preset(preset)
        if load_weights:
            found.require_weights()
        network = presets.load_network(
            preset, load_weights, dtype=overrides.pop("dtype", "float32")
        )
        restorer_class = found.find_class("restorer")
        if not issubclass(restorer_class, cls):
            raise ValueError(
                f"Preset {found.name!r} belongs to `{restorer_class.__name__}`, not to "
                f"`{cls.__name__}`; load it with `tfrestore.Restorer.from_preset`."
            )
        try:
            return found.make("restorer", network, **overrides)
        except (TypeError, ValueError) as error:
            if found.built_in or overrides:
                raise
            reason = " ".join(str(error).split())
            raise UsageError(
                f"{found.name}: no restorer can be made of what {presets.RESTORER_FILE} says "
                f"({reason}); save the preset again."
            ) from None

    def save_to_preset(self, folder: str | os.PathLike, **metadata) -> None:
        """Writes the network and its use into a folder that `from_preset` reads.

        Args:
            folder: Where to; created if need be.
            **metadata: Further entries for `metadata.json`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"class_name": type(self).__name__, **self.get_config()}
        for entry in ("name", "network"):
            config.pop(entry)
        write_text(folder / presets.RESTORER_FILE, json.dumps(config, indent=2))
        presets.save_network(
            self.network,
            folder,
            sample_rate=self.sample_rate,
            context_samples=self.context_samples,
            **metadata,
        )


def restore_file(source, target, preset: str | os.PathLike | None = None, **options) -> bool:
    """Restores a file with a preset; see `Restorer.restore_file` for arguments and errors.

    Args:
        source: The file.
        target: Where to.
        preset: A folder, a built-in preset that has weights, or `hf://USER/NAME`. Defaults to
            `None`: the file is looked at, and the shipped preset that it needs is used; a sample
            rate too low for what that adds is raised to the preset's, unless `sample_rate` says
            otherwise. What was found and chosen is logged.
        **options: Those of `Restorer.restore_file`.

    Returns:
        Whether the target was written; it is not where there is nothing to restore: no preset was
        named and none improves such a file, or the preset fills gaps and there are none.
    """
    from tfrestore.inspection import lacks_gaps
    from tfrestore.preset_choice import choose_for_file, cutoff_to_keep

    gaps = options.get("gaps") or ()
    if preset is None:
        rate = options.get("sample_rate")
        choice = choose_for_file(source, with_gaps=bool(gaps), output_rate=rate)
        logger.info("%s: %s", source, choice.reason)
        if choice.preset is None:
            return False
        preset, keep_below = choice.preset.name, choice.keep_below
        options["sample_rate"] = rate or choice.output_rate
    else:
        found = presets.find_preset(preset)
        if lacks_gaps(source, found.name, found.find_class("restorer"), gaps):
            return False
        keep_below = cutoff_to_keep(source, found)
    options.setdefault("keep_below", keep_below)
    Restorer.from_preset(preset).restore_file(source, target, **options)
    return True
