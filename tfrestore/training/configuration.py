"""What a training run is told: a preset, a configuration file and single keys, made into one tree.

The tree has the sections of a preset (`network`, `restorer`, `recipe`, `data`) and `training`. Which
keys a section may have is read off the class it configures, so a key that nothing reads cannot be
given, and the tree that is saved with a run names every value that was used.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import inspect
import json
import os
from pathlib import Path

import yaml

from tfrestore.errors import UsageError
from tfrestore.models.presets import Preset

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
SECTIONS = ("network", "restorer", "recipe", "data", "training")


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How long and in which portions is trained; the same for every family.

    Attributes:
        batch_size: Examples per step, over all devices together.
        epochs: Epochs at most.
        steps: Steps at most; overrides `epochs`.
        steps_per_epoch: Steps between two validations. By default one pass over the training tracks,
            but at least 100.
        validation_examples: How many validation examples are scored.
        calibration_batches: Batches that the statistics of batch normalisation are measured on.
        checkpoint_steps: Steps between two checkpoints; there is one at the end of an epoch as well.
        precision: `float32`, `mixed_bfloat16` or `mixed_float16`.
        seed: Decides initial weights that the preset leaves open, examples and degradations.
    """

    batch_size: int = 16
    epochs: int = 100
    steps: int | None = None
    steps_per_epoch: int | None = None
    validation_examples: int = 256
    calibration_batches: int = 16
    checkpoint_steps: int = 200
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < (0 if field.name == "seed" else 1):
                raise UsageError(f"training.{field.name} is {value}; give at least 1.")
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"training.precision is {self.precision!r}; choose one of {', '.join(PRECISIONS)}."
            )


def resolve(
    preset: Preset,
    config_file: str | os.PathLike | None = None,
    assignments: list[str] | None = None,
    **training,
) -> Preset:
    """The preset with everything the user asked for put in and every default spelt out.

    Args:
        preset: Where to start.
        config_file: A YAML file with some of the sections.
        assignments: `section.key=value` strings, values as in YAML; the section may be left out where
            only one has the key.
        **training: Values for the `training` section; `None` leaves one alone.

    Returns:
        A preset whose `config` is complete.

    Raises:
        UsageError: naming the file or key that cannot be used and what could be.
    """
    tree = {section: dict(preset.config.get(section) or {}) for section in SECTIONS}
    if config_file is not None:
        _merge(tree, read_config(config_file), os.fspath(config_file))
    for assignment in assignments or []:
        _merge(tree, _parse_assignment(assignment, preset, tree), "--set")
    given = {name: value for name, value in training.items() if value is not None}
    if "epochs" in given and "steps" not in given:
        # Asking for epochs takes back a number of steps that the preset or the run had.
        given["steps"] = None
    _merge(tree, {"training": given}, "training")
    draft = dataclasses.replace(preset, config=tree)
    complete = {
        section: _complete(draft, section, tree[section], config_file) for section in SECTIONS
    }
    return dataclasses.replace(preset, config=complete)


def read_config(path: str | os.PathLike) -> dict:
    """A YAML configuration file as a dict of sections.

    Raises:
        UsageError: if it is missing, not YAML, or has another shape.
    """
    try:
        content = yaml.safe_load(Path(path).read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); check --config.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path}: not valid YAML ({reason}).") from None
    if not isinstance(content, dict) or not all(
        isinstance(value, dict) for key, value in content.items() if key in SECTIONS
    ):
        raise UsageError(f"{path}: expected sections ({', '.join(SECTIONS)}), each with keys.")
    return content


def _merge(tree: dict, changes: dict, source: str) -> None:
    # What train itself writes beside the sections is taken as it comes back.
    notes = ("preset", "family", "description", "catalogue")
    for section, values in changes.items():
        if section in notes:
            continue
        if section not in tree:
            raise UsageError(
                f"{source}: there is no section {section!r}.{_did_you_mean(section, SECTIONS)} "
                f"Sections: {', '.join(SECTIONS)}."
            )
        tree[section].update(copy.deepcopy(values))


def _parse_assignment(assignment: str, preset: Preset, tree: dict) -> dict:
    key, equals, text = assignment.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {assignment}: write it as section.key=value.")
    section, dot, name = key.partition(".")
    if not dot:
        draft = dataclasses.replace(preset, config=tree)
        holders = [each for each in SECTIONS if key in _parameters(draft, each)]
        if len(holders) != 1:
            every = [f"{each}.{name}" for each in SECTIONS for name in _parameters(draft, each)]
            among = f"both {' and '.join(holders)} have" if holders else "no section has"
            raise UsageError(
                f"--set {assignment}: {among} the key {key!r}.{_did_you_mean(key, every)} "
                "Write section.key=value."
            )
        section, name = holders[0], key
    try:
        return {section: {name: yaml.safe_load(text)}}
    except yaml.YAMLError:
        raise UsageError(f"--set {assignment}: the value is not valid YAML.") from None


def _parameters(preset: Preset, section: str) -> dict[str, inspect.Parameter]:
    """The keys a section may have, with their defaults."""
    if section == "training":
        target = TrainingSettings
    else:
        target = preset.find_class(section)
    parameters = dict(inspect.signature(target).parameters)
    if section == "restorer":
        # The base class's own, which subclasses pass on.
        base = inspect.signature(target.__mro__[1]).parameters
        parameters = {**base, **parameters}
    return {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
        and name not in ("network", "restorer", "critic")
    }


def _complete(preset: Preset, section: str, values: dict, config_file) -> dict:
    """A section with its defaults, every key and value checked."""
    parameters = _parameters(preset, section)
    where = f"{config_file}: " if config_file else ""
    complete = {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.default is not parameter.empty
    }
    if "class_name" in values:
        complete = {"class_name": values["class_name"], **complete}
    for name, value in values.items():
        if name == "class_name":
            continue
        if name not in parameters:
            raise UsageError(
                f"{where}there is no key {section}.{name}.{_did_you_mean(name, parameters)} "
                f"Keys of {section}: {', '.join(parameters)}."
            )
        complete[name] = _checked(f"{where}{section}.{name}", value, complete.get(name))
    return json.loads(json.dumps(complete))


def _checked(where: str, value, default):
    """The value in the type of its default, where that tells the type."""
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise UsageError(f"{where} is {value!r}; give true or false.")
    elif isinstance(default, int | float):
        # YAML reads 1e-3 as text, for want of a point.
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise UsageError(f"{where} is {value!r}; give a number.") from None
        if isinstance(default, int) and number != int(number):
            raise UsageError(f"{where} is {value!r}; give a whole number.")
        return int(number) if isinstance(default, int) else number
    return value


def _did_you_mean(name: str, known) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
