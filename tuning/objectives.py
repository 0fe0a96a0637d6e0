"""What a search can look for: a trial's scores on validation music, and which way is better.

There are two kinds. `val_*` are the scores of the training loop's own validation, as in a run's
`history.csv`. The rulers of `evaluate`, such as `lsd`, `odg` and `visqol`, are laid on whole
recordings that the best model of a trial has restored; of a stochastic model the best of several
versions of each recording counts. An adversarial loss is neither: it does not say how good a model
is.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import keras
import keras_tuner
import numpy as np

from tfrestore.data.degradation import parse_degradation
from tfrestore.data.songs import with_stems
from tfrestore.data.tracks import Catalogue
from tfrestore.errors import UndefinedMetricError, UsageError
from tfrestore.evaluation.measurement import DEGRADED
from tfrestore.evaluation.restorations import Restorations
from tfrestore.evaluation.rulers import CHOICES, RULERS
from tfrestore.evaluation.tables import ALL, make_rows
from tfrestore.evaluation.workers import Failure, measure_all
from tfrestore.models.presets import Preset
from tfrestore.restorer import Restorer

logger = logging.getLogger("tfrestore.tuning")

#: Scores of the training loop that are no rulers of `evaluate`.
_LOSSES = {"loss": "min", "si_snr": "max"}

# What the one system is called.
_MODEL = "model"


def direction_of(name: str) -> str | None:
    """`max` or `min`, whichever is better of a score; `None` where neither is."""
    if name in RULERS:
        return {True: "max", False: "min", None: None}[RULERS[name].higher_is_better]
    return _LOSSES.get(name)


def objectives_of(trainer: keras.Model) -> dict[str, str]:
    """The objectives of a model, with the direction that is better.

    Args:
        trainer: One of the recipe; its variables need no values.
    """
    metrics = getattr(trainer, "validation_metrics", trainer.metrics)
    own = {f"val_{metric.name}": direction_of(metric.name) for metric in metrics}
    rulers = {name: direction_of(name) for name in RULERS}
    return {name: way for name, way in {**own, **rulers}.items() if way}


def default_objective(trainer: keras.Model) -> str:
    """What a search looks for when it is not told: what the loop keeps the best model by.

    Of a model that makes several versions it is the same score of the best of them. Where the loop
    keeps by the loss, whose weights differ between trials, it is the first score that is none.
    """
    score = trainer.monitor
    if score == "loss":
        names = [metric.name for metric in trainer.validation_metrics]
        score = next(name for name in names if name != "loss")
    return score if getattr(trainer, "is_stochastic", False) else f"val_{score}"


def find_objective(name: str | None, trainer: keras.Model) -> keras_tuner.Objective:
    """The objective that a user asked for.

    Raises:
        UsageError: if the family does not have it; the message lists those it has.
    """
    known = objectives_of(trainer)
    name = name or default_objective(trainer)
    if name not in known:
        raise UsageError(
            f"--objective {name}: this family has no such objective; it has {', '.join(known)}."
        )
    return keras_tuner.Objective(name, known[name])


@dataclass(frozen=True)
class RecordingsScore:
    """A ruler on whole recordings that a model restored.

    Attributes:
        ruler: Its name.
        degradation: What is done to the recordings.
        candidates: Versions of each recording by a stochastic model, of which the best counts.
        seconds: How much of a recording's middle is restored.
    """

    ruler: str
    degradation: str
    candidates: int
    seconds: float

    @classmethod
    def make(
        cls, ruler: str, preset: Preset, degradation: str | None, candidates: int, seconds: float
    ) -> RecordingsScore:
        """The score of a preset's models; `None` degrades as these are made for.

        Raises:
            UsageError: if the ruler cannot be laid on recordings with this degradation.
        """
        found = parse_degradation(degradation or preset.find_class("restorer").default_degradation)
        if found.is_spectral:
            raise UsageError(
                f"--objective {ruler}: {found.name} leaves no recording to lay this ruler on; give "
                "another --degradation, such as gaps:waveform, or a val_ objective."
            )
        return cls(ruler, found.name, candidates, seconds)

    def of(self, model: Path, catalogue: Catalogue) -> float:
        """The mean over the validation recordings.

        Args:
            model: A run's folder.
            catalogue: The music.

        Raises:
            UndefinedMetricError: if no recording could be scored.
        """
        restorer = Restorer.from_preset(model)
        degradation = parse_degradation(self.degradation)
        restorations = Restorations(
            {_MODEL: restorer}, candidates=self.candidates, seconds=self.seconds, mono=True
        )
        tasks = restorations.all_tasks(
            with_stems(catalogue.require("validation")),
            degradation,
            lambda subject: subject.system != DEGRADED,
        )
        choice = next(name for name, rulers in CHOICES.items() if self.ruler in rulers)
        found = []
        for outcome in measure_all(tasks, [choice], jobs=1):
            if isinstance(outcome, Failure):
                logger.warning("%s", outcome.reason)
            else:
                found.append(outcome)
        rows = [
            row
            for row in make_rows(found)
            if row.metric == self.ruler and row.genre == ALL and "mean" not in row.versions
        ]
        if not rows or not np.isfinite(rows[0].mean):
            raise UndefinedMetricError(
                f"--objective {self.ruler}: no validation recording has a value of it."
            )
        return rows[0].mean
