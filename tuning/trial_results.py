"""What one trial of a search has left in its folder so far.

It is in trial.json, which KerasTuner's own `Trial` reads, config.yaml (the whole training
configuration) and run/history.csv (the loop's scores by epoch). A trial whose file cannot be read
is a trial with a reason.
"""

from __future__ import annotations

import csv
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfrestore.errors import InputError, UsageError
from tfrestore.models.presets import TRAINING_FILE
from tfrestore.training.configuration import read_config
from tfrestore.training.run_folder import HISTORY_FILE
from tuning.layout import RUN

COMPLETED, RUNNING, FAILED, SKIPPED, DAMAGED = (
    "completed",
    "running",
    "failed",
    "skipped",
    "damaged",
)

#: What KerasTuner keeps beside a trial's hyperparameters, under their names.
_INTERNAL = "tuner/"

# A search that goes on may be in the middle of writing a file.
_ATTEMPTS, _SECONDS_BETWEEN = 3, 0.1

_STATUSES = {
    "COMPLETED": COMPLETED,
    "RUNNING": RUNNING,
    "INVALID": FAILED,
    "FAILED": FAILED,
}


@dataclass(frozen=True)
class TrialResult:
    """One trial.

    Attributes:
        name: KerasTuner's number of it, such as `"0007"`.
        folder: Where its files are.
        status: `completed`, `running` (or cut off, which looks the same), `failed`, `skipped` or
            `damaged`.
        message: Why it is not completed, in one line.
        score: The objective's best value; `None` where there is none.
        steps: Training steps that it was given, its predecessors' included; `None` where nothing
            says so.
        steps_made: Steps after its latest validation; fewer where training ended early.
        curve: `(step, value)` of the objective after each validation, steps increasing.
        values: Its hyperparameters as KerasTuner has them.
        settings: The same as its configuration has them: KerasTuner makes true and false 1 and 0.
        space: KerasTuner's hyperparameters that the values are from.
        parameters: Numbers in its network, where the search says so.
        seconds: What its training took, its predecessors' not included.
        predecessor: In Hyperband the trial whose training it goes on with.
    """

    name: str
    folder: Path
    status: str
    message: str = ""
    score: float | None = None
    steps: int | None = None
    steps_made: int | None = None
    curve: tuple[tuple[int, float], ...] = ()
    values: dict[str, object] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    space: tuple = ()
    parameters: float | None = None
    seconds: float | None = None
    predecessor: str | None = None

    @property
    def is_completed(self) -> bool:
        """Whether it has come to its end with a value of the objective."""
        return self.status == COMPLETED

    @property
    def config_file(self) -> Path:
        """Where its training configuration is, or would be."""
        return self.folder / TRAINING_FILE


def read_trial(folder: Path, objective: str) -> TrialResult:
    """One trial's results, whatever state its files are in.

    Args:
        folder: `trial_ID`.
        objective: The objective's name.
    """
    name = folder.name.removeprefix("trial_")
    for attempt in range(_ATTEMPTS):
        try:
            return _load_trial(name, folder, objective)
        except InputError as error:
            reason = str(error)
        if attempt < _ATTEMPTS - 1:
            time.sleep(_SECONDS_BETWEEN)
    return TrialResult(name, folder, DAMAGED, reason)


def _load_trial(name: str, folder: Path, objective: str) -> TrialResult:
    from keras_tuner.engine.trial import Trial

    try:
        trial = Trial.load(str(folder / "trial.json"))
        state = trial.get_state()
        space = tuple(trial.hyperparameters.space)
        values = dict(trial.hyperparameters.values)
        history = trial.metrics.get_history(objective) if trial.metrics.exists(objective) else []
        curve = tuple((int(each.step), float(each.mean())) for each in history)
        efforts = {
            each: round(trial.metrics.get_last_value(each), 2)
            for each in ("parameters", "seconds")
            if trial.metrics.exists(each)
        }
    # The file may hold anything, and KerasTuner checks nothing of it.
    except Exception as error:
        raise InputError(f"trial.json cannot be read ({_last_line(str(error))})") from None
    score, status, message = state["score"], state["status"], state["message"]
    names = [each.name for each in space]
    if (
        not isinstance(status, str)
        or status not in _STATUSES
        or not _is_plain(values)
        or not all(isinstance(each, str) for each in names)
    ):
        raise InputError("trial.json cannot be read (no status, or no hyperparameters)")
    status, message = _STATUSES[status], _last_line(message or "")
    if status == FAILED and message.lower().startswith(SKIPPED):
        status = SKIPPED
    if not isinstance(score, float | int) or isinstance(score, bool) or not math.isfinite(score):
        if status == COMPLETED:
            raise InputError("trial.json cannot be read (it is completed, but has no score)")
        score = None
    predecessor = values.get(f"{_INTERNAL}trial_id")
    result = TrialResult(
        name=name,
        folder=folder,
        status=status,
        message=message,
        score=None if score is None else float(score),
        values={key: each for key, each in values.items() if not key.startswith(_INTERNAL)},
        space=tuple(each for each in space if not each.name.startswith(_INTERNAL)),
        **{name: _finite(number) for name, number in efforts.items()},
        predecessor=predecessor if isinstance(predecessor, str) else None,
    )
    return _with_training(result, objective, curve)


def _with_training(
    trial: TrialResult, objective: str, observed: Sequence[tuple[int, float]]
) -> TrialResult:
    """The trial with what its configuration and its history say: settings, steps and curve.

    KerasTuner may count the steps of what it observed in epochs.
    """
    config = _read_training(trial.config_file)
    settings = {name: _setting(config, name, value) for name, value in trial.values.items()}
    history = _read_history(trial.folder / RUN / HISTORY_FILE)
    made = int(history[-1]["step"]) if history else None
    steps = _steps_of_config(config.get("training", {}), history) or made
    curve = [(row["step"], row[objective]) for row in history if objective in row]
    if not curve:
        step_of = {row["step"]: row["step"] for row in history}
        if not all(step in step_of for step, _ in observed):
            step_of = {row["epoch"]: row["step"] for row in history if "epoch" in row}
        curve = [(step_of[step], value) for step, value in observed if step in step_of]
    if not curve and trial.score is not None and steps is not None:
        curve = [(made or steps, trial.score)]
    curve = tuple(sorted((int(step), value) for step, value in curve if math.isfinite(value)))
    return replace(trial, settings=settings, steps=steps, steps_made=made, curve=curve)


def _read_training(file: Path) -> dict:
    """A trial's configuration; nothing where it cannot be read."""
    try:
        return read_config(file)
    except UsageError:
        return {}


def _setting(config: dict, name: str, value):
    section, _, key = name.partition(".")
    found = config.get(section)
    return found.get(key, value) if isinstance(found, dict) else value


def _read_history(file: Path) -> list[dict[str, float]]:
    """The loop's scores by epoch, as far as they can be read; nothing where there are none."""
    rows = []
    try:
        with open(file, newline="", encoding="utf-8") as text:
            for line in csv.DictReader(text):
                row = {name: _number(value) for name, value in line.items() if name}
                row = {name: value for name, value in row.items() if value is not None}
                step = row.get("step", math.nan)
                if math.isfinite(step) and (not rows or step > rows[-1]["step"]):
                    rows.append(row)
    except (OSError, ValueError, csv.Error):
        return []
    return rows


def _steps_of_config(asked: dict, history: Sequence[dict[str, float]]) -> int | None:
    """The steps that a configuration asks for, which may say epochs whose length the data gave."""
    if _is_count(asked.get("steps")):
        return asked["steps"]
    per_epoch = asked.get("steps_per_epoch")
    if per_epoch is None:
        # Only the last epoch may be shorter than the others.
        lengths = [row["step"] / row["epoch"] for row in history if row.get("epoch", 0) > 0]
        per_epoch = round(max(lengths, default=0))
    if not _is_count(per_epoch) or not _is_count(asked.get("epochs")):
        return None
    return asked["epochs"] * per_epoch


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _finite(number) -> float | None:
    return float(number) if math.isfinite(number) else None


def _number(text) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _is_plain(values: dict) -> bool:
    return all(
        isinstance(name, str) and isinstance(value, str | int | float | bool | None)
        for name, value in values.items()
    )


def _last_line(text) -> str:
    """What a message or a traceback comes to, in one line without control characters."""
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    line = "".join(each if each.isprintable() else " " for each in (lines or [""])[-1])
    # Of a traceback's last line the name of Python's class says nothing to a person.
    return re.sub(r"^[\w.]+(Error|Exception|Warning): ", "", line)
