"""The models that the commands restore with: one that was named, or for each file what it needs."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tfrestore.candidates import checked_noise
from tfrestore.errors import UsageError

if TYPE_CHECKING:
    from tfrestore.preset_choice import Choice

logger = logging.getLogger(__name__)


class NamedModel:
    """One model for every file, wherever it runs.

    Args:
        load: Makes the `RecordingRestorer`; called if there is something to do.
        options: The command's.
        noise: The noise vector that was given, or `None`.
        name: What a message calls the model.
    """

    def __init__(self, load: Callable, options: argparse.Namespace, noise, name: str):
        self._load = load
        self._options = options
        self._noise = noise
        self._name = name
        self._restorer = None

    def choose(self, source: Path) -> Choice | None:
        """What is to be done with a file; `None` where it is left alone."""
        from tfrestore.preset_choice import Choice

        return Choice(None, "")

    def load(self, choice: Choice):
        """The restorer of a choice.

        Raises:
            UsageError: if the model cannot do what the options ask for.
        """
        if self._restorer is None:
            self._restorer = self._load()
            check_choices(self._options, self._noise, self._restorer, self._name)
        return self._restorer

    def leaves_alone(self, source: Path, restorer) -> bool:
        """Never: to look for gaps takes Keras, which is where the model runs and not here."""
        return False


class PresetModels:
    """The preset that was named, or for each file the shipped one that it needs.

    Args:
        options: The command's.
        noise: The noise vector that was given, or `None`.

    Raises:
        UsageError: if a preset is named that is none, or has no weights. It is told before
            TensorFlow is loaded.
    """

    def __init__(self, options: argparse.Namespace, noise):
        from tfrestore.models.presets import find_preset

        self._options = options
        self._noise = noise
        self._loaded: dict[str, object] = {}
        self._preset = None
        if options.preset is not None:
            self._preset = find_preset(options.preset)
            self._preset.require_weights()
        elif options.stream:
            raise UsageError("--stream: name the model with --preset; a stream is not looked at.")

    def named(self):
        """The restorer of `--preset`."""
        from tfrestore.preset_choice import Choice

        return self.load(Choice(self._preset, ""))

    def choose(self, source: Path) -> Choice | None:
        """What is to be done with a file, after a look at it; what was found is said in a line.

        Returns:
            The choice; `None` where there is nothing to restore.

        Raises:
            AudioFileError: if the file cannot be read.
        """
        from tfrestore.preset_choice import Choice, choose_for_file, cutoff_to_keep

        if self._preset is not None:
            return Choice(self._preset, "", cutoff_to_keep(source, self._preset))
        choice = choose_for_file(
            source, with_gaps=bool(self._options.gaps), output_rate=self._options.output_rate
        )
        if choice.preset is None:
            hint = "; --preset NAME restores it all the same" if choice.is_final else ""
            logger.info("%s: %s%s", source, choice.reason, hint)
            return None
        logger.info("%s: %s", source, choice.reason)
        return choice

    def load(self, choice: Choice):
        """The restorer of a choice, loaded once.

        Raises:
            UsageError: if the preset cannot be loaded, or cannot do what the options ask for.
        """
        from tfrestore.restorer import Restorer

        name, options = choice.preset.name, self._options
        if name not in self._loaded:
            overrides = {}
            if options.chunk_seconds is not None:
                overrides["chunk_seconds"] = options.chunk_seconds
            if not (options.stream or self._loaded):
                choice.preset.find_class("restorer").prepare_process()
            restorer = Restorer.from_preset(name, dtype=options.precision, **overrides)
            check_choices(options, self._noise, restorer, f"the model in {name}")
            self._loaded[name] = restorer
        return self._loaded[name]

    def leaves_alone(self, source: Path, restorer) -> bool:
        """Whether a preset that was named has nothing to do in a file, which a line then says.

        Raises:
            AudioFileError: if the file cannot be read.
        """
        from tfrestore.inspection import lacks_gaps

        named = self._preset
        return named is not None and lacks_gaps(source, named.name, restorer, self._options.gaps)


def check_choices(options: argparse.Namespace, noise, restorer, model: str) -> None:
    """Raises a `UsageError` for what a restorer cannot do; `model` is what it is called."""
    if options.gaps and not restorer.accepts_gaps:
        raise UsageError(f"--gap: {model} fills no gaps; leave it out.")
    choices = ("candidates", "candidate", "seed", "noise")
    given = [f"--{name}" for name in choices if getattr(options, name) is not None]
    if given and not restorer.is_stochastic:
        raise UsageError(
            f"{', '.join(given)}: {model} makes one version of a recording only; leave out what "
            "chooses one."
        )
    if noise is not None:
        try:
            checked_noise(noise, restorer.noise_size)
        except UsageError as error:
            raise UsageError(f"--noise {options.noise}: {error}") from None
