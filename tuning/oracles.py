"""KerasTuner's oracles, made safe to kill and told what a search of ours always has.

What they gain: files that are written whole or not at all; a first trial that is the preset itself,
trained as long as any; limits that a later call may raise; a trial whose worker died goes to
another worker, once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from tfrestore.complete_files import write_text

#: How often a trial is begun: a second time after the process that ran it died.
STARTS_PER_TRIAL = 2

#: Where a worker writes why its trial failed; KerasTuner's messages between processes have no room.
MESSAGE_FILE = "message.txt"


class SearchOracle(keras_tuner.Oracle):
    """What is common to the oracles here; the first of their bases.

    Attributes:
        most_trials: Trials at most; `None` for no limit.
        deadline: `time.time()` from which on no trial is begun; `None` for never.
        on_end: Called with a trial that ended.
    """

    most_trials: int | None = None
    deadline: float | None = None
    on_end: Callable[[Trial], None] | None = None

    def __init__(self, *arguments, **options):
        # A failed trial is a result; any number of them in a row is no reason to stop.
        super().__init__(*arguments, max_consecutive_failed_trials=None, **options)
        self._starts: dict[str, int] = {}
        self.verbose = 0

    @property
    def is_over(self) -> bool:
        """Whether no new trial is to be begun."""
        full = self.most_trials is not None and len(self.trials) >= self.most_trials
        return full or (self.deadline is not None and time.time() >= self.deadline)

    def populate_space(self, trial_id: str) -> dict:
        """The values of the next trial."""
        if self.is_over:
            return {"status": TrialStatus.STOPPED}
        if not self.trials:
            return {"status": TrialStatus.RUNNING, "values": self.first_values()}
        return super().populate_space(trial_id)

    def first_values(self) -> dict:
        """Those of the preset itself."""
        return {each.name: each.default for each in self.hyperparameters.space}

    @keras_tuner.synchronized
    def end_trial(self, trial) -> None:
        """Keeps how a trial ended, and why where it failed."""
        message = Path(self._get_trial_dir(trial.trial_id)) / MESSAGE_FILE
        if trial.status != TrialStatus.COMPLETED and message.is_file():
            trial.message = message.read_text("utf-8")
        super().end_trial(trial)
        if self.on_end is not None:
            self.on_end(self.trials[trial.trial_id])

    @keras_tuner.synchronized
    def abandon(self, tuner_id: str, reason: str) -> str | None:
        """Takes back the trial of a worker that died, for another one to go on with.

        Args:
            tuner_id: The worker.
            reason: How it ended.

        Returns:
            The trial, or `None` where it had none.
        """
        self.tuner_ids.discard(tuner_id)
        trial = self.ongoing_trials.get(tuner_id)
        if trial is None:
            return None
        self._starts[trial.trial_id] = self._starts.get(trial.trial_id, 1) + 1
        if self._starts[trial.trial_id] > STARTS_PER_TRIAL:
            trial.status = TrialStatus.FAILED
            trial.message = f"The process that trained it died twice ({reason})."
            self.end_trial(trial)
        else:
            del self.ongoing_trials[tuner_id]
            self._retry_queue.append(trial.trial_id)
            self.save()
        return trial.trial_id

    def get_state(self) -> dict:
        """KerasTuner's state, and how often trials were begun."""
        return {**super().get_state(), "starts": self._starts}

    def set_state(self, state: dict) -> None:
        """Takes over a state that `get_state` gave."""
        super().set_state(state)
        self._starts = state["starts"]

    def save(self) -> None:
        """Writes `oracle.json`, at once."""
        write_text(Path(self._get_oracle_fname()), json.dumps(self.get_state()))

    def _save_trial(self, trial) -> None:
        folder = Path(self._get_trial_dir(trial.trial_id))
        write_text(folder / "trial.json", json.dumps(trial.get_state()))

    def open(self, directory: Path, project_name: str) -> None:
        """Takes a project directory, and what an earlier search left there."""
        self._set_project_dir(str(directory), project_name)
        if Path(self._get_oracle_fname()).is_file():
            self.reload()

    def reload(self) -> None:
        """Goes on from what an earlier process wrote, whenever it was killed."""
        super().reload()
        # A trial is written before the oracle that knows of it: one in between never began.
        self.trials = {name: self.trials[name] for name in self.start_order}


class RandomSearchOracle(SearchOracle, keras_tuner.oracles.RandomSearchOracle):
    """Trials drawn at random."""


class BayesianOptimizationOracle(SearchOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Trials where a Gaussian process expects most."""


class HyperbandOracle(SearchOracle, keras_tuner.oracles.HyperbandOracle):
    """Many short trials, the best of which go on (Li et al. 2018).

    KerasTuner waits until a round is complete before its best go on, and so forever once one of it
    has failed. Here a trial that failed leaves its bracket, and another is drawn for it.
    """

    def populate_space(self, trial_id: str) -> dict:
        """The values of the next trial."""
        for bracket in self._brackets:
            _drop_failed(bracket["rounds"], self.trials)
        return super().populate_space(trial_id)

    def first_values(self) -> dict:
        """Those of the preset, trained as long as the longest trials, in no bracket."""
        return {
            **super().first_values(),
            "tuner/epochs": self.max_epochs,
            "tuner/initial_epoch": 0,
            "tuner/bracket": 0,
            "tuner/round": 0,
        }


def _drop_failed(rounds: list[list[dict]], trials: dict[str, Trial]) -> None:
    """Takes trials that failed, and those that they went on with, out of a bracket's rounds."""
    dropped = {name for name, trial in trials.items() if trial.status == TrialStatus.FAILED}
    for entries in reversed(rounds):
        dropped |= {entry["past_id"] for entry in entries if entry["id"] in dropped}
        entries[:] = [entry for entry in entries if entry["id"] not in dropped]


def make_oracle(
    name: str,
    objective: keras_tuner.Objective,
    hyperparameters: keras_tuner.HyperParameters,
    epochs: int,
    seed: int,
) -> SearchOracle:
    """The oracle of a search.

    Args:
        name: `hyperband`, `bayesian` or `random`.
        objective: What is to be large or small.
        hyperparameters: The space.
        epochs: How long the longest trials are trained.
        seed: Decides the trials.
    """
    options = dict(
        objective=objective,
        hyperparameters=hyperparameters,
        # KerasTuner takes 0 for "any", and its Gaussian process 32 bits.
        seed=seed % (2**32 - 1) + 1,
        allow_new_entries=False,
        tune_new_entries=False,
    )
    if name == "hyperband":
        return HyperbandOracle(max_epochs=epochs, hyperband_iterations=None, **options)
    options["max_trials"] = None
    return {"bayesian": BayesianOptimizationOracle, "random": RandomSearchOracle}[name](**options)
