"""Running a search: alone, as the chief of several workers, or as one of them.

KerasTuner's way of sharing a search: one process, the chief, has the oracle and serves it over
gRPC; workers ask it for trials. `KERASTUNER_TUNER_ID` (`chief`, or a name of its own for each
worker), `KERASTUNER_ORACLE_IP` and `KERASTUNER_ORACLE_PORT` say who is who; `--workers` sets them
for processes on this machine. All read and write one folder.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import keras_tuner
from rich.progress import Progress

from tfrestore.data.shards import open_training_data
from tfrestore.data.tracks import Catalogue
from tfrestore.errors import UsageError
from tfrestore.progress import progress_bars
from tuning.chief import address_of_environment, serve_workers
from tuning.hparams import write_experiment
from tuning.hypermodel import PresetHyperModel
from tuning.limits import GIB, Limits
from tuning.oracles import SearchOracle, make_oracle
from tuning.request import SearchRequest
from tuning.space import Space
from tuning.tuner import TRIALS, TimeIsUp, TrainingTuner, TrialRequest
from tuning.view import SearchView
from tuning.workers import Worker

logger = logging.getLogger("tfrestore.tuning")


def run_search(
    request: SearchRequest,
    folder: Path,
    options: argparse.Namespace,
    deadline: float | None,
    workers: Sequence[Worker],
) -> int:
    """Runs a search, or goes on with it; returns an exit code.

    Args:
        request: The search.
        folder: Its folder.
        options: Of the command: what a trial may need.
        deadline: `time.time()` at which to stop; `None` for never.
        workers: On this machine, started; none to train here or to be told by the environment.

    Raises:
        UsageError: if the music or the folder cannot be used.
        FatalError: if something ends all trials; its cause says what.
    """
    catalogue = open_music(request.data)
    role = os.environ.get("KERASTUNER_TUNER_ID")
    if role is not None and "chief" not in role:
        return _work(request, folder, options, deadline, catalogue)
    request.write(folder)
    oracle = _oracle(request, deadline)
    oracle.open(folder, TRIALS)
    write_experiment(folder / TRIALS, request.space, request.objective)
    with progress_bars() as bars:
        if role is None and not workers:
            _alone(request, folder, options, deadline, catalogue, oracle, bars)
        else:
            serve_workers(oracle, bars, workers, deadline)
    return _tell_best(oracle, request.space, folder)


def open_music(data: str) -> Catalogue:
    """The music of a search.

    Raises:
        UsageError: if it cannot be opened, or has nothing to train on or to validate on.
    """
    catalogue = open_training_data(data)
    counts = {split: len(catalogue.split(split)) for split in ("train", "validation")}
    for split, purpose in (("train", "train on"), ("validation", "compare trials on")):
        if not counts[split]:
            raise UsageError(
                f"{data}: too few files for a search: {len(catalogue)} in all, and none to "
                f"{purpose}; add music, or a sub-folder valid for what is kept for validation."
            )
    return catalogue


def _oracle(request: SearchRequest, deadline: float | None) -> SearchOracle:
    hp = keras_tuner.HyperParameters()
    request.space.declare(hp)
    epochs = request.preset.config["training"]["epochs"]
    oracle = make_oracle(request.tuner, request.objective, hp, epochs, request.seed)
    oracle.most_trials = request.max_trials
    oracle.deadline = deadline
    return oracle


def _trial_request(
    request: SearchRequest, options: argparse.Namespace, catalogue: Catalogue
) -> TrialRequest:
    limits = Limits(
        None if options.max_parameters is None else int(options.max_parameters),
        None if options.max_memory is None else int(options.max_memory * GIB),
        options.workers,
    )
    return TrialRequest(catalogue, request.data, limits, request.score)


def _alone(
    request: SearchRequest,
    folder: Path,
    options: argparse.Namespace,
    deadline: float | None,
    catalogue: Catalogue,
    oracle: SearchOracle,
    bars: Progress,
) -> None:
    # A line per trial says enough.
    logging.getLogger("tfrestore.training").setLevel(logging.WARNING)
    hypermodel = PresetHyperModel(request.preset, request.space)
    trials = _trial_request(request, options, catalogue)
    view = SearchView(oracle, bars)
    tuner = TrainingTuner(oracle, hypermodel, trials, folder, bars, deadline, view.update)
    try:
        tuner.search()
    except TimeIsUp:
        logger.info("the time is up; a trial that was being trained can be gone on with")


def _work(
    request: SearchRequest,
    folder: Path,
    options: argparse.Namespace,
    deadline: float | None,
    catalogue: Catalogue,
) -> int:
    # Without it KerasTuner would search alone.
    address_of_environment()
    oracle = _oracle(request, deadline)
    hypermodel = PresetHyperModel(request.preset, request.space)
    trials = _trial_request(request, options, catalogue)
    tuner = TrainingTuner(oracle, hypermodel, trials, folder, deadline=deadline)
    try:
        tuner.search()
    except TimeIsUp:
        logger.info("the time is up")
    return 0


def _tell_best(oracle: SearchOracle, space: Space, folder: Path) -> int:
    """Prints what was found; returns the exit code."""
    found = [trial for trial in oracle.trials.values() if trial.score is not None]
    if not found:
        print(f"{folder}: no trial was completed, of {len(oracle.trials)} begun.")
        return 1
    best = oracle.get_best_trials(1)[0]
    print(f"{folder}: {oracle.objective.name} {best.score:.5g}, trial {best.trial_id}:")
    for dimension in space.dimensions:
        value = dimension.value(best.hyperparameters)
        print(f"  {dimension.key}: {f'{value:.4g}' if isinstance(value, float) else value}")
    config = folder / TRIALS / f"trial_{best.trial_id}" / "config.yaml"
    print(f"train it with: python -m tfrestore.train --config {config} --out FOLDER")
    return 0
