"""The training loop: steps over a strategy, epochs, checkpoints, and what is kept of a run.

One loop for every family. It calls `strategy.run(trainer.train_step, ...)` itself, so that a run can
be stopped after any step and goes on there: examples are pure functions of their position, and the
checkpoint holds the weights, the optimizer, the random states and the position.

A run's folder is a preset folder (the best model so far, ready for restore, evaluate and export) with
`config.yaml`, `history.csv`, `checkpoints/` and `logs/` for TensorBoard.
"""

from __future__ import annotations

import csv
import logging
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf
import yaml

from tfrestore.data.catalogue import Catalogue
from tfrestore.errors import InputError, UsageError
from tfrestore.models import presets
from tfrestore.models.presets import Preset
from tfrestore.progress import progress_bars
from tfrestore.training.calibration import BatchNormalizationCalibration
from tfrestore.training.configuration import TrainingSettings
from tfrestore.training.distribution import default_strategy
from tfrestore.training.journal import Journal

logger = logging.getLogger(__name__)

LEAST_STEPS_PER_EPOCH = 100
STEPS_BETWEEN_LOGS = 10


@dataclass
class _Epoch:
    """Where the scores of an epoch come from: training metrics and how long it took."""

    number: int
    training: dict[str, float]
    validation: dict[str, float]
    steps_per_second: float

    def row(self, step: int) -> dict[str, float]:
        """One line of `history.csv`."""
        return {
            "epoch": self.number,
            "step": step,
            **self.training,
            **{f"val_{name}": value for name, value in self.validation.items()},
            "steps_per_second": self.steps_per_second,
        }


class TrainingRun:
    """A model on its way: built from a resolved preset, trained on a catalogue, kept in a folder.

    Args:
        preset: what `configuration.resolve` gave.
        catalogue: the tracks, with their splits.
        folder: where the run is kept.
        data: how the catalogue was named, kept so that a resumed run finds it again.
        strategy: the distribution strategy; by default over all visible GPUs.
    """

    def __init__(
        self,
        preset: Preset,
        catalogue: Catalogue,
        folder: Path,
        data: str,
        strategy: tf.distribute.Strategy | None = None,
    ):
        self.preset = preset
        self.data = data
        self.catalogue = catalogue
        self.folder = Path(folder)
        self.settings = settings = TrainingSettings(**preset.config["training"])
        self.strategy = strategy or default_strategy()
        replicas = self.strategy.num_replicas_in_sync
        if settings.batch_size % replicas:
            raise UsageError(
                f"training.batch_size is {settings.batch_size}, which {replicas} devices cannot "
                "share evenly; choose a multiple."
            )
        self.tracks = catalogue.require("train")
        self.validation_tracks = catalogue.split("validation")

        keras.utils.set_random_seed(settings.seed)
        with self.strategy.scope():
            if preset.folder is None:
                network = preset.make("network", dtype=settings.precision)
            else:
                network = presets.load_network(preset.folder, dtype=settings.precision)
            self.restorer = preset.make("restorer", network)
            self.trainer = preset.make("recipe", network)
        self.network = network
        self.examples = preset.make("data", self.restorer)
        self.calibrate = BatchNormalizationCalibration(network, self.strategy)

        self.steps_per_epoch = settings.steps_per_epoch or max(
            LEAST_STEPS_PER_EPOCH, self.examples.count(self.tracks) // settings.batch_size
        )
        self.total_steps = settings.steps or settings.epochs * self.steps_per_epoch
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.best = tf.Variable(-math.inf, dtype=tf.float64, trainable=False)
        self.checkpoint = tf.train.Checkpoint(trainer=self.trainer, step=self.step, best=self.best)
        self.manager = tf.train.CheckpointManager(
            self.checkpoint, str(self.folder / "checkpoints"), max_to_keep=2
        )

    def start(self) -> None:
        """Makes the folder of a new run.

        Raises:
            UsageError: if the folder holds a run already.
        """
        if (self.folder / presets.TRAINING_FILE).exists():
            raise UsageError(
                f"{self.folder}: this folder holds a run already; add --resume to go on with it, or "
                "choose another --out."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_config()

    def resume(self) -> None:
        """Goes on from the latest checkpoint, or from the start where there is none.

        Raises:
            UsageError: if the checkpoint is of another model.
        """
        if self.manager.latest_checkpoint is None:
            logger.info("%s holds no checkpoint yet; starting from the first step", self.folder)
            return
        try:
            status = self.checkpoint.restore(self.manager.latest_checkpoint)
            status.assert_existing_objects_matched()
        except (ValueError, AssertionError, tf.errors.OpError) as error:
            raise UsageError(
                f"{self.manager.latest_checkpoint}: this checkpoint is of another model than "
                f"{self.folder / presets.TRAINING_FILE} describes ({str(error).splitlines()[0]})."
            ) from None
        self._write_config()
        logger.info("resuming %s at step %d", self.folder, int(self.step))

    def _write_config(self):
        content = {
            "preset": self.preset.name,
            "family": self.preset.family,
            "catalogue": self.data,
            **self.preset.config,
        }
        text = yaml.safe_dump(content, sort_keys=False)
        presets.write_text(self.folder / presets.TRAINING_FILE, text)

    def run(self) -> dict[str, float]:
        """Trains until the last step; the best scores so far are in the folder at any time.

        Returns:
            The scores of the last epoch, as in `history.csv`.

        Raises:
            InputError: if the loss is not finite any more.
        """
        settings, step = self.settings, int(self.step)
        history = _History(self.folder / "history.csv", keep_until=step)
        run_step = self._distributed(self.trainer.train_step)
        run_test = self._distributed(self.trainer.test_step)
        batches = iter(self._batches(self.tracks, start=step, batches=self.total_steps - step))
        self._reset_metrics()
        scores: dict[str, float] = {}
        epoch_began, epoch_first_step = time.monotonic(), step
        with Journal(self.folder / "logs") as journal, progress_bars() as bars:
            bar = bars.add_task("training", total=self.total_steps, completed=step, note="")
            while step < self.total_steps:
                run_step(next(batches))
                step += 1
                self.step.assign(step)
                at_end = step % self.steps_per_epoch == 0 or step == self.total_steps
                if step % STEPS_BETWEEN_LOGS == 0 or at_end:
                    training = self._results()
                    self._check_finite(training, step)
                    elapsed = time.monotonic() - epoch_began
                    rate = (step - epoch_first_step) / elapsed
                    journal.scalars("train", training, step)
                    journal.scalars(
                        "train",
                        {"learning_rate": self._learning_rate(), "steps_per_second": rate},
                        step,
                    )
                    note = " ".join(f"{name} {value:.4g}" for name, value in training.items())
                    bars.update(bar, completed=step, note=note)
                if at_end:
                    bars.update(bar, note="validating")
                    epoch = _Epoch(
                        math.ceil(step / self.steps_per_epoch),
                        training,
                        self._validate(run_test),
                        round(rate, 3),
                    )
                    self._end_epoch(epoch, step, journal)
                    scores = epoch.row(step)
                    history.append(scores)
                    logger.info(
                        "epoch %d, step %d of %d: %s",
                        epoch.number,
                        step,
                        self.total_steps,
                        ", ".join(
                            f"{name} {value:.5g}"
                            for name, value in scores.items()
                            if name not in ("epoch", "step")
                        ),
                    )
                    self._reset_metrics()
                    epoch_began, epoch_first_step = time.monotonic(), step
                if at_end or step % settings.checkpoint_steps == 0:
                    self.manager.save(checkpoint_number=step)
        return scores

    def _distributed(self, function):
        """A step on a batch of the distributed data, traced once."""

        @tf.function
        def step(batch):
            self.strategy.run(function, args=(batch,))

        return step

    def _batches(self, tracks, start: int, batches: int | None, seed: int | None = None):
        settings = self.settings
        dataset = self.examples.dataset(
            tracks, settings.batch_size, settings.seed if seed is None else seed, start, batches
        )
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return self.strategy.experimental_distribute_dataset(dataset.with_options(options))

    def _validate(self, run_test) -> dict[str, float]:
        settings = self.settings
        if getattr(self.trainer, "uses_batch_statistics", False):
            calibration = self._batches(self.tracks, 0, settings.calibration_batches)
            self.calibrate(batch[0] for batch in calibration)
        if not self.validation_tracks:
            return {}
        self._reset_metrics()
        batches = max(1, settings.validation_examples // settings.batch_size)
        # A seed of its own, so that runs with different seeds are scored on the same examples.
        for batch in self._batches(self.validation_tracks, 0, batches, seed=0):
            run_test(batch)
        return self._results()

    def _end_epoch(self, epoch: _Epoch, step: int, journal: Journal) -> None:
        journal.scalars("validation", epoch.validation, step)
        if self.validation_tracks:
            pictures, sounds = self.trainer.illustrate(self.restorer, self.validation_tracks)
            journal.images(pictures, step)
            journal.sounds(sounds, self.restorer.sample_rate, step)
        score = epoch.validation.get(self.trainer.monitor, float(step))
        if score > float(self.best):
            self.best.assign(score)
            self.restorer.save_to_preset(
                self.folder,
                preset=self.preset.name,
                step=step,
                scores={f"val_{name}": value for name, value in epoch.validation.items()},
            )

    def _results(self) -> dict[str, float]:
        return {metric.name: float(metric.result()) for metric in self.trainer.metrics}

    def _reset_metrics(self):
        for metric in self.trainer.metrics:
            metric.reset_state()

    def _learning_rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.trainer.optimizer.learning_rate))

    def _check_finite(self, scores: dict[str, float], step: int) -> None:
        wrong = [name for name, value in scores.items() if math.isnan(value)]
        if "loss" in wrong or math.isinf(scores.get("loss", 0.0)):
            raise InputError(
                f"the loss is no longer a number at step {step}; lower recipe.learning_rate, or use "
                f"--precision float32. The last good checkpoint is in {self.folder / 'checkpoints'}."
            )


class _History:
    """`history.csv`: a row of scores per epoch; rows that a resumed run will write again are cut."""

    def __init__(self, path: Path, keep_until: int):
        self.path = path
        self.rows = []
        if path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= keep_until]

    def append(self, row: dict) -> None:
        self.rows.append(row)
        beside = self.path.with_name(f".{self.path.name}.partial")
        with open(beside, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(beside, self.path)
