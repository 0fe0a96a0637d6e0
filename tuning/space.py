"""What a search varies: keys of the training configuration, each with its choices or its range.

A space is data, a YAML file with a line per key: `network.filters: {choice: [8, 16, 32]}`, or
`recipe.learning_rate: {min: 1.0e-4, max: 1.0e-2, sampling: log}`. There is one per family in the
folder `spaces`, and one for a preset that needs its own. A hyperparameter is called as the key is,
so that a trial is nothing but a training configuration.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import keras_tuner
import yaml

from tfrestore.errors import UsageError
from tfrestore.models.presets import Preset
from tfrestore.training.configuration import find_key, resolve
from tfrestore.yaml_files import read_yaml

#: Sections whose keys may vary, and the keys of `training` that may. All others decide what a model
#: is validated on or for how long it is trained: trials that differ in them cannot be compared.
SECTIONS = ("network", "recipe")
TRAINING_KEYS = ("batch_size", "weight_average")

SAMPLINGS = ("linear", "log", "reverse_log")


@dataclass(frozen=True)
class Dimension:
    """The values of one key.

    Attributes:
        key: `section.name`.
        choice: The values it may have; `None` for a range.
        least: The smallest of a range.
        largest: The largest.
        step: The distance of two values; `None` for any between the two.
        sampling: `linear`, `log` or `reverse_log`.
        default: The preset's own.
    """

    key: str
    choice: tuple | None = None
    least: float | int | None = None
    largest: float | int | None = None
    step: float | int | None = None
    sampling: str = "linear"
    default: object = None

    @property
    def shown_choice(self) -> list:
        """The choices as KerasTuner takes them: of one type, no lists and no null."""
        kinds = {type(value) for value in self.choice}
        if len(kinds) == 1 and kinds <= {bool, int, float, str}:
            return list(self.choice)
        return [_as_text(value) for value in self.choice]

    def declare(self, hp: keras_tuner.HyperParameters) -> None:
        """Makes the key a hyperparameter, if it is not one yet."""
        if self.choice is not None:
            shown = self.shown_choice
            hp.Choice(self.key, shown, default=shown[self.choice.index(self.default)])
        else:
            make = hp.Int if isinstance(self.least, int) else hp.Float
            make(
                self.key,
                min_value=self.least,
                max_value=self.largest,
                step=self.step,
                sampling=self.sampling,
                default=self.default,
            )

    def value(self, hp: keras_tuner.HyperParameters):
        """What a trial's configuration has under the key."""
        value = hp.get(self.key)
        # By its place, since KerasTuner makes numbers of true and false.
        return value if self.choice is None else self.choice[self.shown_choice.index(value)]

    def as_data(self) -> dict:
        """The dimension as in a YAML file."""
        if self.choice is not None:
            return {"choice": copy.deepcopy(list(self.choice))}
        data = {"min": self.least, "max": self.largest}
        if self.step is not None:
            data["step"] = self.step
        if self.sampling != "linear":
            data["sampling"] = self.sampling
        return data


@dataclass(frozen=True)
class Space:
    """What a search varies.

    Attributes:
        dimensions: One per key.
        source: Where they were written, for messages.
    """

    dimensions: tuple[Dimension, ...]
    source: str = ""

    @classmethod
    def of(cls, preset: Preset, file: str | os.PathLike | None = None) -> Space:
        """The space of a file, or the one that this package has for a preset.

        Args:
            preset: A resolved preset; its values are the defaults.
            file: A YAML file; `None` for the built-in one.

        Raises:
            UsageError: if the file cannot be read, or names what cannot be varied.
        """
        if file is not None:
            return cls.from_data(preset, _read(Path(file)), os.fspath(file))
        name, text = _built_in(preset)
        data = {
            # A family may have several recipes, of which not each has every key.
            key: values
            for key, values in yaml.safe_load(text).items()
            if key.partition(".")[2] in preset.config[key.partition(".")[0]]
        }
        return cls.from_data(preset, data, name)

    @classmethod
    def from_data(cls, preset: Preset, data: dict, source: str) -> Space:
        """The space of a YAML file's content; see `of`."""
        found = [_dimension(preset, str(key), values, source) for key, values in data.items()]
        twice = {each.key for each in found if [e.key for e in found].count(each.key) > 1}
        if twice:
            raise UsageError(f"{source}: {sorted(twice)[0]} is there twice; keep one of them.")
        return cls(tuple(found), source)

    def without(self, keys: Iterable[str]) -> Space:
        """The space with some keys taken out."""
        kept = tuple(each for each in self.dimensions if each.key not in set(keys))
        return dataclasses.replace(self, dimensions=kept)

    def require_any(self) -> None:
        """Refuses a space in which there is nothing to search.

        Raises:
            UsageError: if no key has two values.
        """
        if not any(each.choice is None or len(each.choice) > 1 for each in self.dimensions):
            raise UsageError(
                f"{self.source}: this space is empty, so there is nothing to search; give a key "
                "two values or a range, and fix fewer."
            )

    def declare(self, hp: keras_tuner.HyperParameters) -> None:
        """Makes every key a hyperparameter."""
        for dimension in self.dimensions:
            dimension.declare(hp)

    def configure(self, preset: Preset, hp: keras_tuner.HyperParameters) -> Preset:
        """The preset with the values of a trial.

        Args:
            preset: A resolved preset.
            hp: Hyperparameters with a value for every key.

        Raises:
            UsageError: if a value is none that the key can have.
        """
        tree = copy.deepcopy(preset.config)
        for dimension in self.dimensions:
            section, name = dimension.key.split(".")
            tree[section][name] = dimension.value(hp)
        return resolve(dataclasses.replace(preset, config=tree))

    def as_data(self) -> dict:
        """The space as in a YAML file."""
        return {each.key: each.as_data() for each in self.dimensions}


def _built_in(preset: Preset) -> tuple[str, str]:
    folder = resources.files("tuning").joinpath("spaces")
    for name in (preset.name, preset.family):
        file = folder.joinpath(f"{name}.yaml")
        if "/" not in name and file.is_file():
            return f"{name}.yaml", file.read_text("utf-8")
    raise UsageError(
        f"there is no search space for the family {preset.family!r}; write one and give it with "
        "--space."
    )


def _read(path: Path) -> dict:
    content = read_yaml(path, "--space")
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise UsageError(
            f"{path}: expected a line per key, such as network.filters: {{choice: [8, 16]}}."
        )
    return content


def _dimension(preset: Preset, key: str, values, source: str) -> Dimension:
    where = f"{source}: {key}"
    section, name = find_key(preset, key, source)
    key = f"{section}.{name}"
    if section not in SECTIONS and not (section == "training" and name in TRAINING_KEYS):
        may = [f"{each}.*" for each in SECTIONS] + [f"training.{each}" for each in TRAINING_KEYS]
        raise UsageError(f"{where} cannot be varied; keys that can are {', '.join(may)}.")
    if name == "class_name":
        raise UsageError(f"{where} cannot be varied; choose the preset that has it.")
    if not isinstance(values, dict) or not ({"choice"} == set(values) or _is_range(values)):
        raise UsageError(
            f"{where} is {values!r}; give {{choice: [...]}}, or {{min: ..., max: ...}} with "
            "step or sampling (linear, log, reverse_log)."
        )
    default = _checked(preset, section, name, preset.config[section].get(name), source)
    if "choice" in values:
        if not isinstance(values["choice"], list) or not values["choice"]:
            raise UsageError(f"{where}: choice is {values['choice']!r}; give a list of values.")
        choice = []
        # The first trial is the preset itself.
        for value in [*values["choice"], default]:
            value = _checked(preset, section, name, value, source)
            if value not in choice:
                choice.append(value)
        return Dimension(key, choice=tuple(choice), default=default)
    return _range(preset, section, name, default, values, source)


def _is_range(values: dict) -> bool:
    return {"min", "max"} <= set(values) <= {"min", "max", "step", "sampling"}


def _range(preset, section, name, default, values, source) -> Dimension:
    where = f"{source}: {section}.{name}"
    least, largest = (
        _checked(preset, section, name, values[end], source) for end in ("min", "max")
    )
    step, sampling = values.get("step"), values.get("sampling", "linear")
    for value in (least, largest, default):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(
                f"{where} has the value {value!r}, which no range can hold; give a choice."
            )
    if sampling not in SAMPLINGS:
        raise UsageError(f"{where}: sampling is {sampling!r}; give {', '.join(SAMPLINGS)}.")
    if step is not None and (
        isinstance(step, bool) or not isinstance(step, int | float) or not step > 0
    ):
        raise UsageError(f"{where}: step is {step!r}; give a number above 0.")
    if not least < largest:
        raise UsageError(f"{where}: min is {least} and max is {largest}; give min below max.")
    if sampling != "linear" and least <= 0:
        raise UsageError(f"{where}: min is {least}; a range of sampling {sampling} is above 0.")
    if sampling != "linear" and step is not None and step <= 1:
        raise UsageError(f"{where}: step is {step}; a range of sampling {sampling} has factors.")
    # The first trial is the preset itself.
    least, largest = min(least, default), max(largest, default)
    return Dimension(f"{section}.{name}", None, least, largest, step, sampling, default)


def _checked(preset: Preset, section: str, name: str, value, source: str):
    """A value as the configuration takes it.

    Raises:
        UsageError: if there is no such key, or it cannot have the value.
    """
    tree = {**preset.config, section: {**preset.config.get(section, {}), name: value}}
    try:
        return resolve(dataclasses.replace(preset, config=tree)).config[section][name]
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from None


def _as_text(value) -> str:
    """A value that KerasTuner has no type for, as YAML in one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
