"""What a search was asked for, and the file `search.yaml` in its folder that remembers it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import keras_tuner
import yaml

from tfrestore.complete_files import write_text
from tfrestore.errors import UsageError
from tfrestore.models.presets import Preset, find_preset
from tfrestore.training.configuration import SECTIONS, resolve
from tfrestore.version import __version__
from tfrestore.yaml_files import read_yaml
from tuning.layout import REQUEST_FILE
from tuning.objectives import RecordingsScore
from tuning.space import Space
from tuning.workers import LOGS

#: What a later call may not change, in the order in which a difference is told.
_FIXED = ("family", "preset", "data", "objective", "tuner", "space", "base", "score", "seed")


@dataclass(frozen=True)
class SearchRequest:
    """A search.

    Attributes:
        preset: The resolved preset that is the first trial; its `training.epochs` are those of the
            longest trials.
        data: How the music is named.
        objective: What is looked for.
        tuner: `hyperband`, `bayesian` or `random`.
        space: What is varied.
        seed: Decides the trials.
        score: How a ruler is laid on recordings; `None` for an objective of the training's own.
        max_trials: Trials at most; `None` for no limit.
    """

    preset: Preset
    data: str
    objective: keras_tuner.Objective
    tuner: str
    space: Space
    seed: int
    score: RecordingsScore | None = None
    max_trials: int | None = None

    def as_data(self) -> dict:
        """The request as `search.yaml` has it."""
        return {
            "preset": self.preset.name,
            "family": self.preset.family,
            "data": self.data,
            "objective": {"name": self.objective.name, "direction": self.objective.direction},
            "score": None if self.score is None else dataclasses.asdict(self.score),
            "tuner": self.tuner,
            "max_trials": self.max_trials,
            "seed": self.seed,
            "space": self.space.as_data(),
            "base": {section: self.preset.config[section] for section in SECTIONS},
            "tfrestore_version": __version__,
            "keras_tuner_version": version("keras-tuner"),
        }

    @classmethod
    def from_data(cls, content: dict, source: str) -> SearchRequest:
        """The request of a file's content.

        Raises:
            UsageError: if something is missing, or is none that can be searched.
        """
        try:
            preset = find_preset(content["preset"])
            preset = resolve(dataclasses.replace(preset, config=content["base"]))
            score = content["score"]
            return cls(
                preset,
                content["data"],
                keras_tuner.Objective(**content["objective"]),
                content["tuner"],
                Space.from_data(preset, content["space"], source),
                content["seed"],
                None if score is None else RecordingsScore(**score),
                content["max_trials"],
            )
        except (KeyError, TypeError, AttributeError):
            raise UsageError(f"{source}: this is no search's; choose another --out.") from None

    def write(self, folder: Path) -> None:
        """Writes `search.yaml`.

        Raises:
            UsageError: if the folder cannot be written to.
        """
        text = yaml.safe_dump(self.as_data(), sort_keys=False, allow_unicode=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / REQUEST_FILE, text)
        except OSError as error:
            raise UsageError(
                f"{folder}: cannot be written to ({error.strerror}); choose another --out."
            ) from None

    def check_same(self, earlier: SearchRequest, folder: Path) -> None:
        """Refuses to go on with a search that was asked for otherwise.

        Raises:
            UsageError: naming what differs.
        """
        now, before = (dict(_flat(each.as_data())) for each in (self, earlier))
        for section in _FIXED:
            for key in {**before, **now}:
                if key.partition(".")[0] == section and now.get(key) != before.get(key):
                    raise UsageError(
                        f"{folder}: the search in this folder has {key} {before.get(key)!r}, not "
                        f"{now.get(key)!r}; ask for the same, or choose another --out."
                    )


def _flat(data, name: str = "") -> Iterator[tuple[str, object]]:
    """What is in a tree, by dotted keys."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _flat(value, f"{name}.{key}" if name else key)
    else:
        yield name, data


def read_request(folder: Path) -> SearchRequest | None:
    """The search that a folder holds; `None` where it holds none.

    Raises:
        UsageError: if its file is damaged, or the folder holds something else.
    """
    file = folder / REQUEST_FILE
    if not file.is_file():
        # Workers that wait for the request have their log lines there already.
        if folder.exists() and (
            not folder.is_dir() or any(each.name != LOGS for each in folder.iterdir())
        ):
            raise UsageError(
                f"{folder}: this holds something else than a search; choose another --out."
            )
        return None
    return SearchRequest.from_data(read_yaml(file), str(file))
