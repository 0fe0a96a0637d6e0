"""What a training run is told: a preset, a configuration file and single keys, made into one tree.

The tree has the sections of a preset (`network`, `restorer`, `recipe`, `data`) and `training`.
Which keys a section may have, and of which type, is read off the class it configures, so a key that
nothing reads cannot be given, and the tree that is saved with a run names every value that was
used.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import inspect
import math
import os
import types
import typing
from collections.abc import Sequence

import yaml

from tfrestore.errors import UsageError
from tfrestore.models.presets import Preset
from tfrestore.yaml_files import read_yaml

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
SECTIONS = ("network", "restorer", "recipe", "data", "training")

# Arguments of a class that are no keys of its section: whoever makes it has them.
_MADE_ELSEWHERE = (
    "network",
    "restorer",
    "critic",
    "discriminator",
    "steps_per_epoch",
    "total_steps",
)

#: What a run's own `config.yaml` holds beside the sections.
NOTES = ("preset", "family", "catalogue")


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How long and in which portions is trained; the same for every family.

    Attributes:
        batch_size: Examples per step, over all devices together.
        epochs: Epochs at most.
        steps: Steps at most; overrides `epochs`.
        steps_per_epoch: Steps between two validations. By default one pass over the training
            tracks, but at least 100.
        validation_examples: How many validation examples are scored.
        calibration_batches: Batches that the statistics of batch normalisation are measured on.
        checkpoint_steps: Steps between two checkpoints; there is one at the end of an epoch as
            well.
        patience: Epochs without a better model after which training ends; by default it goes on to
            the last step.
        weight_average: What remains in a step of the moving average of the weights, 0.999 say. The
            average is then what is validated and kept. By default there is none.
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
    patience: int | None = None
    weight_average: float | None = None
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least, end = (0, 2**64) if field.name == "seed" else (1, 2**31)
            if isinstance(value, int) and not least <= value < end:
                raise UsageError(f"training.{field.name} is {value}; give {least} to {end - 1}.")
        if self.weight_average is not None and not 0 <= self.weight_average < 1:
            raise UsageError(
                f"training.weight_average is {self.weight_average}; give 0 to 1, 0.999 say."
            )
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"training.precision is {self.precision!r}; choose one of {', '.join(PRECISIONS)}."
            )

    def total_steps(self, steps_per_epoch: int) -> int:
        """Steps at most."""
        return self.steps or self.epochs * steps_per_epoch


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
        assignments: `section.key=value` strings, values as in YAML; the section may be left out
            where only one has the key.
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
    where = "" if config_file is None else f"{os.fspath(config_file)}: "
    for section, values in tree.items():
        asked = values.get("class_name")
        if asked != (preset.config.get(section) or {}).get("class_name"):
            raise UsageError(
                f"{where}{section}.class_name is {asked!r}, which is not {preset.name}'s; choose "
                "the preset that has it."
            )
    draft = dataclasses.replace(preset, config=tree)
    complete = {section: _complete(draft, section, tree[section], where) for section in SECTIONS}
    TrainingSettings(**complete["training"])
    return dataclasses.replace(preset, config=complete)


def read_config(path: str | os.PathLike) -> dict:
    """A YAML configuration file: sections, and the notes of the run it was saved with.

    Raises:
        UsageError: if it is missing, not YAML, or has another shape.
    """
    content = read_yaml(path, "--config")
    if not isinstance(content, dict) or not all(
        isinstance(value, dict) for key, value in content.items() if key in SECTIONS
    ):
        raise UsageError(f"{path}: expected sections ({', '.join(SECTIONS)}), each with keys.")
    for note in NOTES:
        if not isinstance(content.get(note, ""), str):
            raise UsageError(f"{path}: {note} is {content[note]!r}; give a name.")
    return content


def _merge(tree: dict, changes: dict, source: str) -> None:
    for section, values in changes.items():
        if section in NOTES:
            continue
        if section not in tree:
            raise UsageError(
                f"{source}: there is no section {section!r}.{_did_you_mean(section, SECTIONS)} "
                f"Sections: {', '.join(SECTIONS)}."
            )
        tree[section].update(copy.deepcopy(values))


def _parse_assignment(assignment: str, preset: Preset, tree: dict) -> dict:
    key, equals, text = assignment.partition("=")
    shown = f"--set {_one_line(assignment)}"
    if not equals or not key:
        raise UsageError(f"{shown}: write it as section.key=value.")
    section, name = find_key(dataclasses.replace(preset, config=tree), key, shown)
    try:
        return {section: {name: yaml.safe_load(text)}}
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
        raise UsageError(f"{shown}: the value is not valid YAML.") from None


def find_key(preset: Preset, key: str, shown: str) -> tuple[str, str]:
    """The section and the name of a key that a user wrote.

    Args:
        preset: Whose configuration it is about.
        key: `section.name`, or a name that only one section has.
        shown: What the user wrote, for messages.

    Raises:
        UsageError: if the section is left out and not exactly one has the name.
    """
    section, dot, name = key.partition(".")
    if dot:
        return section, name
    holders = [each for each in SECTIONS if key in _parameters(preset, each)]
    if len(holders) != 1:
        every = [name for each in SECTIONS for name in _parameters(preset, each)]
        among = f"both {' and '.join(holders)} have" if holders else "no section has"
        hint = "" if holders else _did_you_mean(key, every)
        raise UsageError(f"{shown}: {among} the key {key!r}.{hint} Write section.key=value.")
    return holders[0], key


def _parameters(preset: Preset, section: str) -> dict[str, inspect.Parameter]:
    """The keys a section may have, with their types and defaults."""
    target = TrainingSettings if section == "training" else _find_class(preset, section)
    parameters = dict(inspect.signature(target, eval_str=True).parameters)
    if section == "restorer":
        # The base class's own, which subclasses pass on.
        base = inspect.signature(target.__mro__[1], eval_str=True).parameters
        parameters = {**base, **parameters}
    return {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
        and (section == "training" or name not in _MADE_ELSEWHERE)
    }


def _find_class(preset: Preset, section: str) -> type:
    if "class_name" not in preset.config[section]:
        raise UsageError(
            f"{preset.name}: this preset does not say how it is trained (it has no {section}."
            "class_name); start from a built-in preset or from a folder that train wrote."
        )
    return preset.find_class(section)


def _complete(preset: Preset, section: str, values: dict, where: str) -> dict:
    """A section with its defaults, every key and value checked."""
    parameters = _parameters(preset, section)
    complete = {
        name: _plain(parameter.default)
        for name, parameter in parameters.items()
        if parameter.default is not parameter.empty
    }
    for name, value in values.items():
        if name == "class_name":
            continue
        if name not in parameters:
            raise UsageError(
                f"{where}there is no key {section}.{_one_line(name)}."
                f"{_did_you_mean(name, parameters)} "
                f"Keys of {section}: {', '.join(parameters)}."
            )
        complete[name] = _checked(f"{where}{section}.{name}", value, parameters[name].annotation)
    if "class_name" in values:
        complete = {"class_name": values["class_name"], **complete}
    return complete


def _plain(value):
    """Tuples as the lists that YAML has for them."""
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _checked(where: str, value, annotation):
    """The value as the type that a parameter's annotation asks for."""
    kinds = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    if value is None and type(None) in kinds:
        return None
    wanted = [kind for kind in kinds if kind is not type(None)]
    for kind in wanted:
        try:
            return _as_kind(value, kind)
        except (TypeError, ValueError, OverflowError):
            continue
    raise UsageError(f"{where} is {value!r}; give {' or '.join(map(_in_words, wanted))}.")


def _is_union(annotation) -> bool:
    return typing.get_origin(annotation) in (types.UnionType, typing.Union)


def _as_kind(value, kind):
    if typing.get_origin(kind) is Sequence:
        if not isinstance(value, list):
            raise TypeError
        return [_as_kind(each, *typing.get_args(kind)) for each in value]
    if kind in (bool, str):
        if not isinstance(value, kind):
            raise TypeError
        return value
    if kind not in (int, float) or isinstance(value, bool):
        raise TypeError
    # YAML reads 1e-3 as text, for want of a point.
    number = float(value)
    if not math.isfinite(number) or (kind is int and number != int(number)):
        raise ValueError
    return number if kind is float else int(value) if isinstance(value, int) else int(number)


def _in_words(kind) -> str:
    if typing.get_origin(kind) is Sequence:
        return f"a list of {_in_words(*typing.get_args(kind)).split(' ', 1)[1]}s"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a name"}[kind]


def _one_line(text) -> str:
    return " ".join(str(text).split())


def _did_you_mean(name, known) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
