"""The training loop: steps over a strategy, epochs, checkpoints, and what is kept of a run.

One loop for every family. It calls `strategy.run(trainer.train_step, ...)` itself, so that a run
can be stopped after any step and goes on there: examples are pure functions of their position, and
the checkpoint holds the weights, the optimizers, the random states, the metrics and the position.

A recipe's trainer is a Keras model with the network as `network`, `train_step`, `test_step`, and
`monitor`, the name of the validation metric that a better model has more of. It may also have:

- `lower_is_better`: whether a better model has less of it;
- `training_metrics` and `validation_metrics`, where the two kinds of step track different ones of
  its `metrics`; a run whose `loss`, or a metric that is named as one, is no number ends;
- `stage_at(step)`: the trainer, or part of it, whose `train_step` and `training_metrics` count
  after so many steps, where training has stages;
- `uses_batch_statistics`: whether those have to be measured before the network is used;
- arguments `restorer`, `steps_per_epoch` and `total_steps` of its constructor.

TensorBoard shows what the trainer's `illustrate`, or that of the examples, returns.

A run's folder is a preset folder (the best model so far, ready for restore, evaluate and export)
with `config.yaml`, `history.csv`, `checkpoints/` and `logs/` for TensorBoard.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from tfrestore.complete_files import remove_unfinished, write_text
from tfrestore.data.pipeline import decoding_error
from tfrestore.data.tracks import Catalogue
from tfrestore.errors import (
    AudioFileError,
    DivergedError,
    InputError,
    OutOfMemoryError,
    UsageError,
)
from tfrestore.log_lines import each_line_once
from tfrestore.models import presets
from tfrestore.models.presets import Preset
from tfrestore.progress import progress_bars
from tfrestore.training import run_folder
from tfrestore.training.building import make, make_network, make_trainer, reason_of
from tfrestore.training.calibration import BatchNormalizationCalibration
from tfrestore.training.configuration import TrainingSettings
from tfrestore.training.distribution import default_strategy
from tfrestore.training.journal import Journal
from tfrestore.training.weight_average import WeightAverage

if TYPE_CHECKING:
    from rich.progress import Progress

logger = logging.getLogger(__name__)

LEAST_STEPS_PER_EPOCH = 100
STEPS_BETWEEN_LOGS = 10
CHECKPOINTS_KEPT = 2
METRICS_IN_BAR = 3


class TrainingRun:
    """A model on its way: built from a resolved preset, trained on a catalogue, kept in a folder.

    Args:
        preset: what `configuration.resolve` gave.
        catalogue: the tracks, with their splits.
        folder: where the run is kept.
        data: how the catalogue was named, kept so that a resumed run finds it again.
        strategy: the distribution strategy; by default over all visible GPUs.
        illustrated: whether TensorBoard gets pictures and sound after each epoch.

    Raises:
        UsageError: if the configuration cannot be built, or the catalogue has nothing to train on.
        OutOfMemoryError: if the model does not fit into memory.
    """

    def __init__(
        self,
        preset: Preset,
        catalogue: Catalogue,
        folder: Path,
        data: str,
        strategy: tf.distribute.Strategy | None = None,
        illustrated: bool = True,
    ):
        self.preset = preset
        self.illustrated = illustrated
        self.data = data
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

        # NumPy's global generator, which Keras seeds too, takes 32 bits.
        keras.utils.set_random_seed(settings.seed % 2**32)
        with self.strategy.scope():
            self.network = make_network(preset)
            self.restorer = make(preset, "restorer", self.network)
        # A run that goes on has it in its own folder.
        self.origin = presets.read_origin(preset.initial_weights, self.folder)
        self.examples = make(preset, "data", self.restorer)
        self.steps_per_epoch = settings.steps_per_epoch or max(
            LEAST_STEPS_PER_EPOCH, self.examples.count(self.tracks) // settings.batch_size
        )
        with self.strategy.scope():
            self.trainer = make_trainer(preset, self.network, self.restorer, self.steps_per_epoch)
        self.average = None
        if settings.weight_average:
            self.average = WeightAverage(self.network, settings.weight_average, self.strategy)
        self._train_steps = {}
        self.calibrate = BatchNormalizationCalibration(self.network, self.strategy)
        # Here, so that what cannot be batched is said before the folder is made.
        self.validation_batches = self._batches(
            # A seed of its own: runs with different seeds are scored on the same examples.
            self.validation_tracks or self.tracks,
            seed=0,
            batches=max(1, settings.validation_examples // settings.batch_size),
        )
        self.calibration_batches = self._batches(
            self.tracks, settings.seed, batches=settings.calibration_batches
        )

        self.total_steps = settings.total_steps(self.steps_per_epoch)
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.best = tf.Variable(-math.inf, dtype=tf.float64, trainable=False)
        self.epochs_since_best = tf.Variable(0, dtype=tf.int64, trainable=False)
        # Weights of one architecture may fit into another of the same shapes.
        self.model = tf.Variable(
            json.dumps(
                {
                    f"{section}.{name}": value
                    for section in ("network", "recipe")
                    for name, value in preset.config[section].items()
                }
            )
        )
        # What a run does not use is not in its checkpoints, so that older ones can be restored.
        optional = {} if self.average is None else {"average": self.average.state}
        if settings.patience is not None:
            optional["epochs_since_best"] = self.epochs_since_best
        self.checkpoint = tf.train.Checkpoint(
            trainer=self.trainer,
            untracked=_untracked_variables(self.trainer),
            step=self.step,
            best=self.best,
            model=self.model,
            **optional,
        )
        self.manager = tf.train.CheckpointManager(
            self.checkpoint, str(self.folder / "checkpoints"), max_to_keep=CHECKPOINTS_KEPT
        )

    @property
    def step_number(self) -> int:
        """Steps made so far."""
        return int(self.step)

    @property
    def has_run_out_of_patience(self) -> bool:
        """Whether so many epochs as `training.patience` says went by without a better model."""
        patience = self.settings.patience
        return patience is not None and int(self.epochs_since_best) >= patience

    @property
    def checkpoint_step(self) -> int:
        """The step that the latest checkpoint was made after; 0 where there is none."""
        latest = self.manager.latest_checkpoint
        return int(latest.rpartition("-")[2]) if latest else 0

    def start(self) -> None:
        """Makes the folder of a new run.

        Raises:
            UsageError: if the folder holds a run already or cannot be made.
        """
        run_folder.check_free(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            run_folder.write_config(self.folder, self.preset, self.data)
        except OSError as error:
            raise UsageError(
                f"{self.folder}: cannot be written to ({reason_of(error)}); choose another --out."
            ) from None

    def resume(self) -> None:
        """Goes on from the latest checkpoint that can be read, or from the start without one.

        Raises:
            UsageError: if the checkpoint is of another model.
        """
        for unfinished in (self.folder / "checkpoints").glob("*_temp"):
            shutil.rmtree(unfinished, ignore_errors=True)
        for path in reversed(self.manager.checkpoints):
            if self._restore(path):
                logger.info("resuming %s at step %d", self.folder, self.step_number)
                break
        else:
            logger.info("%s holds no checkpoint; starting from the first step", self.folder)
        with self._writing("the run's folder"):
            run_folder.write_config(self.folder, self.preset, self.data)

    def _restore(self, path: str) -> bool:
        """Whether a checkpoint could be read; says so if not."""
        described, own = self.folder / presets.TRAINING_FILE, json.loads(self.model.numpy())
        try:
            self.checkpoint.restore(path).assert_existing_objects_matched()
        except (ValueError, AssertionError) as error:
            raise UsageError(
                f"{path}: this checkpoint is of another model than {described} describes "
                f"({reason_of(error)})."
            ) from None
        # TensorFlow's reader also raises Python's own errors.
        except (tf.errors.OpError, IndexError, RuntimeError) as error:
            logger.warning("%s: this checkpoint cannot be read (%s)", path, reason_of(error))
            return False
        kept = json.loads(self.model.numpy())
        # A key that only one has came or went with another version of this package.
        for name in own.keys() & kept.keys():
            if own[name] != kept[name]:
                raise UsageError(
                    f"{path}: this checkpoint is of another model than {described} describes "
                    f"({name} is {kept[name]!r} there and {own[name]!r} here)."
                )
        return True

    def run(
        self, bars: Progress | None = None, watch: Callable[[], None] | None = None
    ) -> dict[str, float]:
        """Trains until the last step, or as long as it has patience.

        The best model so far is in the folder at any time.

        Args:
            bars: where to show a progress bar; by default bars of its own.
            watch: called after every step; what it raises ends the run, which can be resumed.

        Returns:
            The scores of the last epoch, as in `history.csv`; empty if there was no step to make.

        Raises:
            AudioFileError: if the music cannot be decoded any more.
            DivergedError: if the loss or a weight is not finite any more.
            OutOfMemoryError: if the memory of the device is too small.
            InputError: if a file cannot be written.
        """
        try:
            with each_line_once(logging.getLogger("tfrestore.audio")):
                return self._run(bars, watch)
        except tf.errors.OpError as error:
            if unreadable := decoding_error(error):
                raise unreadable from None
            if isinstance(error, tf.errors.ResourceExhaustedError):
                raise OutOfMemoryError(
                    f"a batch of {self.settings.batch_size} does not fit into memory; choose a "
                    "smaller --batch-size."
                ) from None
            raise

    def traced_step(self) -> tf.types.experimental.ConcreteFunction:
        """The graph of a training step, of the stage that trains the network itself."""
        return self._train_step(self.trainer).get_concrete_function(
            self.calibration_batches.element_spec
        )

    def _run(self, bars: Progress | None, watch: Callable[[], None] | None) -> dict[str, float]:
        step = self.step_number
        if step >= self.total_steps or self.has_run_out_of_patience:
            return {}
        if not self.validation_tracks:
            logger.info("there are no validation tracks; the model of the last epoch is kept")
        # Of a run that was killed while it wrote.
        remove_unfinished(self.folder)
        history = _History(self.folder / run_folder.HISTORY_FILE, keep_until=step)
        stage, train_step = None, None
        test_step = self._distributed(self.trainer.test_step)
        batches = iter(
            self._batches(self.tracks, self.settings.seed, step, self.total_steps - step)
        )
        pace = _Pace(step)
        with (
            Journal(self.folder / "logs") as journal,
            nullcontext(bars) if bars else progress_bars() as bars,
        ):
            bar = bars.add_task("training", total=self.total_steps, completed=step, note="")
            while step < self.total_steps and not self.has_run_out_of_patience:
                if self._stage_at(step) is not stage:
                    stage = self._stage_at(step)
                    train_step = self._train_step(stage)
                train_step(next(batches))
                step += 1
                self.step.assign(step)
                at_end = step % self.steps_per_epoch == 0 or step == self.total_steps
                to_keep = at_end or step % self.settings.checkpoint_steps == 0
                if step % STEPS_BETWEEN_LOGS == 0 or to_keep:
                    training = _results(stage, "training")
                    self._check_finite(training)
                    speed = {"steps_per_second": pace.at(step)}
                    with self._writing("the logs"):
                        rate = {"learning_rate": self._learning_rate()}
                        journal.scalars("train", {**training, **rate, **speed}, step)
                    shown = dict(list(training.items())[:METRICS_IN_BAR])
                    bars.update(bar, completed=step, note=_in_words(shown))
                if to_keep:
                    self._check_weights()
                if at_end:
                    bars.update(bar, note="validating")
                    with self.average.in_place() if self.average else nullcontext():
                        validation = self._validate(test_step)
                        self._keep_best(validation, step)
                        self._show(validation, journal, step)
                    scores = {
                        "epoch": math.ceil(step / self.steps_per_epoch),
                        "step": step,
                        **training,
                        **{f"val_{name}": value for name, value in validation.items()},
                        "steps_per_second": round(speed["steps_per_second"], 3),
                    }
                    with self._writing(run_folder.HISTORY_FILE):
                        history.append(scores)
                    self._reset_metrics()
                    pace = _Pace(step)
                if to_keep:
                    with self._writing(f"the checkpoint of step {step}"):
                        self.manager.save(checkpoint_number=step)
                    # The bar says it on a terminal.
                    if at_end or bars.disable:
                        self._report(scores if at_end else {**training, **speed}, step)
                if watch:
                    watch()
        if self.has_run_out_of_patience:
            logger.info("ended: no better model in %d epochs", int(self.epochs_since_best))
        return scores

    def _report(self, scores: dict[str, float], step: int) -> None:
        left = (self.total_steps - step) / scores["steps_per_second"]
        logger.info(
            "step %d of %d, epoch %d: %s, %s left",
            step,
            self.total_steps,
            math.ceil(step / self.steps_per_epoch),
            _in_words({name: scores[name] for name in scores if name not in ("epoch", "step")}),
            timedelta(seconds=round(left)),
        )

    def _train_step(self, stage: keras.Model):
        if stage not in self._train_steps:
            self._train_steps[stage] = self._distributed(stage.train_step, self.average)
        return self._train_steps[stage]

    def _distributed(self, function, average: WeightAverage | None = None):
        """A step on a batch of the distributed data, traced once."""

        @tf.function
        def step(batch):
            self.strategy.run(function, args=(batch,))
            if average is not None:
                average.update()

        return step

    def _batches(self, tracks, seed: int, start: int = 0, batches: int | None = None):
        dataset = self.examples.dataset(tracks, self.settings.batch_size, seed, start, batches)
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return self.strategy.experimental_distribute_dataset(dataset.with_options(options))

    def _validate(self, test_step) -> dict[str, float]:
        if getattr(self.trainer, "uses_batch_statistics", False):
            self.calibrate(batch[0] for batch in self.calibration_batches)
        if not self.validation_tracks:
            return {}
        self._reset_metrics()
        for batch in self.validation_batches:
            test_step(batch)
        return _results(self.trainer, "validation")

    def _keep_best(self, validation: dict[str, float], step: int) -> None:
        score = float(step)
        if self.trainer.monitor in validation:
            sign = -1 if getattr(self.trainer, "lower_is_better", False) else 1
            score = sign * validation[self.trainer.monitor]
        if score > float(self.best):
            with self._writing("the best model"):
                self.restorer.save_to_preset(
                    self.folder,
                    preset=self.preset.name,
                    step=step,
                    scores={f"val_{name}": value for name, value in validation.items()},
                    **self.origin,
                )
            self.best.assign(score)
            self.epochs_since_best.assign(0)
        else:
            self.epochs_since_best.assign_add(1)

    def _show(self, validation: dict[str, float], journal: Journal, step: int) -> None:
        """Scores, pictures and sound for TensorBoard."""
        pictures, sounds = self._illustrate() if self.illustrated else ({}, {})
        with self._writing("the logs"):
            journal.scalars("validation", validation, step)
            journal.images(pictures, step)
            journal.sounds(sounds, self.restorer.sample_rate, step)

    def _illustrate(self):
        """Pictures and sounds of the first validation track that can be read."""
        source = self.examples if hasattr(self.examples, "illustrate") else self.trainer
        for first in range(len(self.validation_tracks)):
            try:
                return source.illustrate(self.restorer, self.validation_tracks[first:])
            except AudioFileError as error:
                logger.warning("not shown: %s", error)
        return {}, {}

    def _stage_at(self, step: int) -> keras.Model:
        stage_at = getattr(self.trainer, "stage_at", None)
        return stage_at(step) if stage_at else self.trainer

    def _reset_metrics(self):
        for metric in self.trainer.metrics:
            metric.reset_state()

    def _learning_rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.trainer.optimizer.learning_rate))

    def _check_finite(self, scores: dict[str, float]) -> None:
        for name, value in scores.items():
            if name.split("_")[-1] == "loss" and not math.isfinite(value):
                self._diverged(f"the {name.replace('_', ' ')}")

    def _check_weights(self) -> None:
        """A loss tells of the weights before its step; what is kept are those behind it."""
        for weights in self.trainer.weights:
            if not np.isfinite(keras.ops.convert_to_numpy(weights)).all():
                self._diverged("a weight")

    def _diverged(self, what: str):
        latest = self.manager.latest_checkpoint
        raise DivergedError(
            f"{what} is no longer a number at step {self.step_number}; lower recipe.learning_rate"
            + ("" if self.settings.precision == "float32" else ", or use --precision float32")
            + (f". The last good checkpoint is {latest}." if latest else ".")
        )

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Turns a full disk into a sentence."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            raise InputError(
                f"{self.folder}: {what} cannot be written ({reason_of(error)}); free space, then "
                "go on with --resume."
            ) from None


def _untracked_variables(trainer: keras.Model) -> list[tf.Variable]:
    """What TensorFlow's checkpoints of a Keras 3 model miss.

    These are the variables of metrics and random generators, and the weights of layers that are
    held in lists, but for those that an optimizer trains and holds.
    """
    weights = {id(variable) for variable in trainer.weights}
    random = [variable for variable in trainer.variables if id(variable) not in weights]
    found = {id(each) for each in tf.train.TrackableView(trainer).descendants()}
    held = [each for each in trainer.weights if not {id(each), id(each.value)} & found]
    return [variable.value for variable in trainer.metrics_variables + random + held]


def _results(trainer: keras.Model, kind: str) -> dict[str, float]:
    metrics = getattr(trainer, f"{kind}_metrics", trainer.metrics)
    return {metric.name: float(metric.result()) for metric in metrics}


class _Pace:
    """Steps per second since a step."""

    def __init__(self, step: int):
        self.step = step
        self.began = time.monotonic()

    def at(self, step: int) -> float:
        return (step - self.step) / (time.monotonic() - self.began)


class _History:
    """`history.csv`: a row of scores per epoch; rows that a resumed run writes again are cut."""

    def __init__(self, path: Path, keep_until: int):
        self.path = path
        self.rows = []
        if path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= keep_until]

    def append(self, row: dict) -> None:
        self.rows.append(row)
        columns = list(dict.fromkeys(name for each in self.rows for name in each))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())


def _in_words(values: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.4g}" for name, value in values.items())
