"""What TensorBoard's HParams tab shows: `tensorboard --logdir tuning_runs/a/trials`."""

from __future__ import annotations

from pathlib import Path

import keras_tuner
import tensorflow as tf
from keras_tuner.engine.trial import Trial
from tensorboard.plugins.hparams import api

from tuning.space import Dimension, Space


def write_experiment(folder: Path, space: Space, objective: keras_tuner.Objective) -> None:
    """Writes what is varied and what is looked for, once for all trials.

    Args:
        folder: Of the trials.
        space: What is varied.
        objective: What is looked for.
    """
    hparams = [api.HParam(each.key, _domain(each)) for each in space.dimensions]
    with tf.summary.create_file_writer(str(folder)).as_default(step=0):
        api.hparams_config(hparams=hparams, metrics=[api.Metric(objective.name)])


def write_hparams(folder: Path, trial: Trial, scores: dict[str, float]) -> None:
    """Writes a trial's values and the scores of its best epoch.

    Args:
        folder: Where TensorBoard finds its curves.
        trial: The trial.
        scores: Its validation scores, and the `step` of the epoch.
    """
    values = trial.hyperparameters.values
    with tf.summary.create_file_writer(str(folder)).as_default(step=int(scores["step"])):
        api.hparams(values, trial_id=trial.trial_id)
        for name, value in scores.items():
            if name not in ("epoch", "step"):
                tf.summary.scalar(name, value)


def _domain(dimension: Dimension):
    if dimension.choice is not None:
        return api.Discrete(dimension.shown_choice)
    interval = api.IntInterval if isinstance(dimension.least, int) else api.RealInterval
    return interval(dimension.least, dimension.largest)
