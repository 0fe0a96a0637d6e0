"""The tuner: takes trials from the oracle, trains each with the package's own loop, reports scores.

A trial is a training run and lies beside what KerasTuner keeps of it: `trial_ID/config.yaml` is
what `tfrestore.train` takes, `trial_ID/run` the run's folder. A trial that Hyperband goes on with
begins with a copy of the run it continues; since a run that is resumed ends where one that never
stopped ends, its configuration alone gives the same model again.
"""

from __future__ import annotations

import contextlib
import csv
import gc
import logging
import math
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.errors import FailedTrialError, FatalError
from keras_tuner.src import config as keras_tuner_config
from rich.progress import Progress

from tfrestore.complete_files import folder_beside, remove_unfinished, write_text
from tfrestore.data.tracks import Catalogue
from tfrestore.errors import (
    DivergedError,
    InputError,
    OutOfMemoryError,
    UndefinedMetricError,
    UsageError,
)
from tfrestore.models.presets import TRAINING_FILE, Preset
from tfrestore.training.loop import TrainingRun
from tfrestore.training.run_folder import HISTORY_FILE, write_config
from tuning.hparams import write_hparams
from tuning.hypermodel import PresetHyperModel
from tuning.layout import LOGS, RUN, TRIALS
from tuning.limits import Limits, TooLargeError
from tuning.objectives import RecordingsScore
from tuning.oracles import MESSAGE_FILE, SearchOracle

logger = logging.getLogger("tfrestore.tuning")

# Seconds between two questions of a worker that is told to wait.
_IDLE_SECONDS = 0.5

# What is wrong with a trial and may be better in another.
_OF_THE_TRIAL = (DivergedError, OutOfMemoryError, TooLargeError, UndefinedMetricError)

#: The trial that Hyperband goes on with.
_CONTINUED = "tuner/trial_id"


class TimeIsUp(FatalError):
    """The search has no time left; the trial that is being trained can be gone on with."""


class SearchEnded(FatalError):
    """Something is wrong that no other trial can do better at; the cause is an `InputError`."""


@dataclass
class TrialRequest:
    """What every trial of a search is trained on and scored by.

    Attributes:
        catalogue: The music.
        data: How it was named.
        limits: What a trial may need.
        score: Lays a ruler on recordings; `None` where the objective is one of the training's own.
    """

    catalogue: Catalogue
    data: str
    limits: Limits
    score: RecordingsScore | None = None


class TrainingTuner(BaseTuner):
    """A KerasTuner tuner whose trials are runs of `tfrestore.train`.

    Args:
        oracle: Decides the trials.
        hypermodel: Makes configurations of them.
        request: What is the same for all trials.
        folder: Of the search.
        bars: Where trainings show their progress.
        deadline: `time.time()` at which to stop; `None` for never.
        watch: Called after every step.
    """

    def __init__(
        self,
        oracle: SearchOracle,
        hypermodel: PresetHyperModel,
        request: TrialRequest,
        folder: Path,
        bars: Progress | None = None,
        deadline: float | None = None,
        watch: Callable[[], None] | None = None,
    ):
        self.request = request
        self.bars = bars
        self.deadline = deadline
        self.watch = watch
        self._asked = -math.inf
        # It would print a traceback for every trial that fails, of which a line is told here.
        keras_tuner_config.DEBUG = False
        super().__init__(oracle, hypermodel, directory=str(folder), project_name=TRIALS)

    def _populate_initial_space(self) -> None:
        # The space is known without building a model of any size.
        hp = self.oracle.get_space()
        self.hypermodel.declare_hyperparameters(hp)

    def pre_create_trial(self) -> None:
        """Waits where the oracle was asked a moment ago, so that a worker at rest needs no core.

        Raises:
            TimeIsUp: if no trial is to be begun any more.
        """
        time.sleep(max(0.0, min(_IDLE_SECONDS, self._asked + _IDLE_SECONDS - time.monotonic())))
        self._asked = time.monotonic()
        self._check_time()

    def _check_time(self) -> None:
        if self.deadline is not None and time.time() >= self.deadline:
            raise TimeIsUp
        if self.watch is not None:
            self.watch()

    def run_trial(self, trial: Trial) -> dict[str, float]:
        """Trains a trial, or goes on where an earlier process was killed.

        Returns:
            The validation scores of its best epoch, and what it took.

        Raises:
            FailedTrialError: if it diverges, is too large, or its configuration is refused.
            SearchEnded: if something is wrong that concerns all trials.
            TimeIsUp: if there is no time left.
        """
        folder = Path(self.get_trial_dir(trial.trial_id))
        is_first = int(trial.trial_id) == 0
        try:
            preset = self.hypermodel.configure(trial.hyperparameters)
            write_config(folder, preset, self.request.data)
            return self._train(preset, folder, trial)
        except _OF_THE_TRIAL as error:
            raise FailedTrialError(str(error)) from None
        except UsageError as error:
            # What is wrong with the preset itself is wrong with the request, and not with a trial.
            if is_first:
                raise SearchEnded(str(error)) from error
            raise FailedTrialError(str(error)) from None
        except (InputError, OSError) as error:
            raise SearchEnded(str(error)) from error

    def _try_run_and_update_trial(self, trial: Trial, *arguments, **options) -> None:
        # KerasTuner's own prints what a trial failed of, and has no room for it in its messages.
        try:
            self._run_and_update_trial(trial, *arguments, **options)
            trial.status = TrialStatus.COMPLETED
            return
        except FatalError:
            raise
        except FailedTrialError as error:
            trial.message = str(error)
        except Exception:
            # As nobody foresaw; the other trials may do better.
            trial.message = traceback.format_exc()
        trial.status = TrialStatus.FAILED
        write_text(Path(self.get_trial_dir(trial.trial_id)) / MESSAGE_FILE, trial.message)

    def _train(self, preset: Preset, folder: Path, trial: Trial) -> dict[str, float]:
        keras.backend.clear_session()
        gc.collect()
        parameters = self.request.limits.check_model(preset)
        self._continue(trial, folder)
        run = TrainingRun(
            preset, self.request.catalogue, folder / RUN, self.request.data, illustrated=False
        )
        self.request.limits.check_step(run)
        if (folder / RUN / TRAINING_FILE).is_file():
            run.resume()
        else:
            run.start()
        began = time.monotonic()
        with _own_bars(self.bars):
            run.run(self.bars, self._check_time)
        scores = self._best_scores(folder / RUN / HISTORY_FILE, run)
        if self.request.score is not None:
            ruler = self.request.score
            scores[ruler.ruler] = ruler.of(folder / RUN, self.request.catalogue)
        seconds = round(time.monotonic() - began, 2)
        write_hparams(folder / RUN / LOGS, trial, scores)
        return {**scores, "parameters": parameters, "seconds": seconds}

    def _best_scores(self, history: Path, run: TrainingRun) -> dict[str, float]:
        """The validation scores of the epoch whose model is the best."""
        objective = self.oracle.objective
        name, way = objective.name, objective.direction
        if self.request.score is not None:
            # The model that is kept, which the ruler is laid on.
            lower = getattr(run.trainer, "lower_is_better", False)
            name, way = f"val_{run.trainer.monitor}", "min" if lower else "max"
        with open(history, newline="", encoding="utf-8") as file:
            # Stages of a training track different metrics.
            rows = [
                {key: float(text) for key, text in row.items() if text}
                for row in csv.DictReader(file)
            ]
        rows = [row for row in rows if math.isfinite(row.get(name, math.nan))]
        if not rows:
            raise DivergedError(f"{name} is no finite number in any epoch.")
        best = (max if way == "max" else min)(rows, key=lambda row: row[name])
        return {
            key: value
            for key, value in best.items()
            if key.startswith("val_") or key in ("epoch", "step")
        }

    def _continue(self, trial: Trial, folder: Path) -> None:
        """Gives a trial the run it goes on with."""
        past = trial.hyperparameters.values.get(_CONTINUED)
        if past is None or (folder / RUN).exists():
            return
        copy_run(Path(self.get_trial_dir(past)), folder)

    def on_trial_end(self, trial: Trial) -> None:
        """Tells the oracle how it ended."""
        self.oracle.end_trial(trial)

    def save(self) -> None:
        """The oracle saves itself with every change; there is nothing else to keep."""


def copy_run(past: Path, folder: Path) -> None:
    """Copies a trial's run into another trial's folder, whole or not at all.

    Its curves are the new trial's too, but not what it told TensorBoard of its own values.

    Args:
        past: Folder of the trial that is gone on with.
        folder: Of the new trial.
    """
    remove_unfinished(folder)
    with folder_beside(folder / RUN) as beside:
        shutil.copytree(past / RUN, beside, dirs_exist_ok=True)
        for told in (beside / LOGS).glob("events.*"):
            told.unlink()


@contextlib.contextmanager
def _own_bars(bars: Progress | None) -> Iterator[None]:
    """Takes away the bars that a run adds to those of the search."""
    before = set(bars.task_ids) if bars else set()
    try:
        yield
    finally:
        for added in set(bars.task_ids) - before if bars else ():
            bars.remove_task(added)
