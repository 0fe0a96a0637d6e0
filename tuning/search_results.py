"""What a search has left in its folder so far, read for the report.

A folder of `tuning.search` holds search.yaml (what was asked for) and trials, KerasTuner's project
directory. Nothing is written or locked here, so that a search may go on meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from tfrestore.errors import UsageError
from tfrestore.yaml_files import read_yaml
from tuning.layout import REQUEST_FILE, TRIALS
from tuning.trial_results import DAMAGED, TrialResult, read_trial


@dataclass(frozen=True)
class SearchResults:
    """A search as far as it has come.

    Attributes:
        folder: Where it is.
        preset: The preset that it starts from.
        family: Of the preset.
        objective: What is searched by, such as `"val_psnr"`.
        higher_is_better: Whether a better trial has more of it.
        tuner: Such as `"hyperband"`.
        data: How the music was named.
        trials: In the order in which they began; the first is the preset's own setting.
    """

    folder: Path
    preset: str
    family: str
    objective: str
    higher_is_better: bool
    tuner: str
    data: str
    trials: tuple[TrialResult, ...]

    @property
    def completed(self) -> list[TrialResult]:
        """The trials that have come to their end."""
        return [trial for trial in self.trials if trial.is_completed]

    @property
    def baseline(self) -> TrialResult | None:
        """The first trial, which has the preset's own setting, if it can be read."""
        first = self.trials[0] if self.trials else None
        return first if first and first.status != DAMAGED else None

    def is_baseline(self, trial: TrialResult) -> bool:
        """Whether a trial has the preset's own setting, which Hyperband may have gone on with."""
        return self.baseline is not None and self.lineage(trial)[0] is self.baseline

    @property
    def best(self) -> TrialResult | None:
        """The completed trial with the best value; of equals that with the fewest steps."""
        sign = 1 if self.higher_is_better else -1
        return max(
            self.completed,
            key=lambda trial: (sign * trial.score, -(trial.steps or math.inf)),
            default=None,
        )

    @property
    def steps(self) -> list[int]:
        """The different numbers of steps that completed trials had, increasing."""
        return sorted({trial.steps for trial in self.completed if trial.steps is not None})

    def lineage(self, trial: TrialResult) -> list[TrialResult]:
        """A trial and those it goes on with, the first of them first."""
        by_name = {each.name: each for each in self.trials}
        line, names = [trial], {trial.name}
        while (before := by_name.get(line[0].predecessor)) and before.name not in names:
            line.insert(0, before)
            names.add(before.name)
        return line

    def curve(self, trial: TrialResult) -> list[tuple[int, float]]:
        """The objective over the steps of a trial and of those it goes on with."""
        points: dict[int, float] = {}
        for each in self.lineage(trial):
            points |= dict(each.curve)
        return sorted(points.items())

    def value_at(self, trial: TrialResult, steps: int) -> float | None:
        """The value of a training that ends after so many steps.

        That is the score of the trial, or of the one it goes on with, that ended there; elsewhere
        the best value until then, since training keeps the best model.

        Returns:
            The value; `None` if the trial had fewer steps, or none of its validations came so soon.
        """
        if trial.steps is None or trial.steps < steps:
            return None
        for each in self.lineage(trial):
            # A ruler on recordings is not what training keeps the best model by.
            if each.steps == steps and each.score is not None:
                return each.score
        values = [value for step, value in self.curve(trial) if step <= steps]
        if not values:
            return None
        return max(values) if self.higher_is_better else min(values)

    def after_equal_steps(self) -> tuple[int, list[tuple[TrialResult, float]]]:
        """Every configuration's value after the most steps that all of them had.

        Trials that go on with another one have its configuration, which counts once. After these
        steps nothing had been chosen yet, so that the values can be compared and their
        hyperparameters are spread as the tuner drew them.

        Returns:
            The steps, 0 where nothing is known, and for each configuration its first trial with the
            value.
        """
        roots: dict[str, list[TrialResult]] = {}
        for trial in self.completed:
            if trial.steps is not None:
                roots.setdefault(self.lineage(trial)[0].name, []).append(trial)
        longest = {name: max(trials, key=lambda each: each.steps) for name, trials in roots.items()}
        steps = min((trial.steps for trial in longest.values()), default=0)
        values = [
            (trials[0], self.value_at(longest[name], steps)) for name, trials in roots.items()
        ]
        return steps, [(trial, value) for trial, value in values if value is not None]

    def ahead_of_best(self) -> list[tuple[TrialResult, float]]:
        """The trials that were better than the best one when they ended, which was sooner.

        Hyperband may have no time left to go on with them, so that the best value says nothing
        about them.

        Returns:
            Each with its lead after its own steps, the largest first; of those that go on with each
            other the longest.
        """
        gone_on = {trial.predecessor for trial in self.completed}
        found = []
        for trial in self.completed:
            if trial.steps and trial.steps < (self.best.steps or 0) and trial.name not in gone_on:
                value = self.value_at(trial, trial.steps)
                reference = self.value_at(self.best, trial.steps)
                if value is not None and reference is not None:
                    found.append((trial, self._gain(value, reference)))
        return sorted((each for each in found if each[1] > 0), key=lambda each: -each[1])

    def _gain(self, value: float, reference: float) -> float:
        """How much better a value is: positive is better."""
        return value - reference if self.higher_is_better else reference - value

    def gain_over_baseline(self, trial: TrialResult) -> tuple[float, int] | None:
        """How much better a trial is than the preset's own setting after as many steps.

        Where Hyperband went on with the baseline, its longest training counts.

        Returns:
            The gain, positive if the trial is better, and the number of steps after which both are
            compared: the most that both had. `None` where they cannot be compared.
        """
        if self.baseline is None or not trial.steps:
            return None
        candidates = [
            each for each in self.completed if self.is_baseline(each) and each.steps is not None
        ]
        if not candidates:
            return None
        baseline = max(candidates, key=lambda each: each.steps)
        steps = min(trial.steps, baseline.steps)
        found, reference = self.value_at(trial, steps), self.value_at(baseline, steps)
        if found is None or reference is None:
            return None
        return self._gain(found, reference), steps


def read_search(folder: Path) -> SearchResults:
    """A search's results so far.

    Args:
        folder: What `tuning.search --out` named.

    Raises:
        UsageError: if there is no search, or its search.yaml is damaged.
    """
    file = folder / REQUEST_FILE
    if not file.is_file():
        raise UsageError(
            f"{folder}: there is no search here ({REQUEST_FILE} is missing); give the folder that "
            "was named with tuning.search --out."
        )
    notes = read_yaml(file)
    if not isinstance(notes, dict):
        raise UsageError(f"{file}: holds no search; the file is damaged.")
    for name in ("preset", "family", "tuner", "data"):
        if not isinstance(notes.get(name), str):
            raise UsageError(f"{file}: does not say the search's {name}; the file is damaged.")
    objective = notes.get("objective")
    if (
        not isinstance(objective, dict)
        or not isinstance(objective.get("name"), str)
        or objective.get("direction") not in ("min", "max")
    ):
        raise UsageError(
            f"{file}: the objective needs a name and a direction, min or max; the file is damaged."
        )
    results = SearchResults(
        folder=folder,
        preset=notes["preset"],
        family=notes["family"],
        objective=objective["name"],
        higher_is_better=objective["direction"] == "max",
        tuner=notes["tuner"],
        data=notes["data"],
        trials=(),
    )
    folders = sorted((folder / TRIALS).glob("trial_*"))
    trials = [read_trial(each, results.objective) for each in folders if each.is_dir()]
    return replace(results, trials=tuple(_numbered(trials)))


def _numbered(trials: list[TrialResult]) -> list[TrialResult]:
    """In the order in which they began, which is that of KerasTuner's numbers."""
    return sorted(trials, key=lambda trial: (len(trial.name), trial.name))
