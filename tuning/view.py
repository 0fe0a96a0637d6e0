"""What a search shows while it runs: a line per trial, a bar with the best so far and time left."""

from __future__ import annotations

import logging
import math
import time
from datetime import timedelta

from keras_tuner.engine.trial import Trial, TrialStatus
from rich.progress import Progress

from tuning.oracles import SearchOracle

logger = logging.getLogger("tfrestore.tuning")

# Seconds between two movements of the bar.
_PERIOD = 0.5


class SearchView:
    """Shows how far a search is.

    Args:
        oracle: The search's own, not a worker's stand-in for it.
        bars: Where the bar is shown.
    """

    def __init__(self, oracle: SearchOracle, bars: Progress):
        self.oracle = oracle
        self.bars = bars
        self.began = time.time()
        self.ended_before = len(oracle.end_order)
        self.moved = -math.inf
        # A bar of trials where they are limited, and otherwise one of minutes.
        total = oracle.most_trials
        if total is None and oracle.deadline is not None:
            total = (oracle.deadline - self.began) / 60
        self.bar = bars.add_task("search", total=total, note="")
        oracle.on_end = self.trial_ended
        self.update()

    def update(self) -> None:
        """Moves the bar, but not at every step of a training."""
        if time.monotonic() - self.moved < _PERIOD:
            return
        self.moved = time.monotonic()
        done = len(self.oracle.end_order)
        if self.oracle.most_trials is None and self.oracle.deadline is not None:
            done = (time.time() - self.began) / 60
        self.bars.update(self.bar, completed=done, note=self.best())

    def best(self) -> str:
        """The best trial so far, in words."""
        best = self.oracle.get_best_trials(1)
        if not best or best[0].status != TrialStatus.COMPLETED:
            return "no trial yet"
        return f"best {self.oracle.objective.name} {best[0].score:.5g} (trial {best[0].trial_id})"

    def trial_ended(self, trial: Trial) -> None:
        """A line about a trial."""
        if trial.status == TrialStatus.COMPLETED:
            step, parameters, seconds = (
                trial.metrics.get_best_value(name) for name in ("step", "parameters", "seconds")
            )
            what = (
                f"{self.oracle.objective.name} {trial.score:.5g} at step {step:.0f}, "
                f"{parameters:,.0f} parameters, {seconds:.0f} s"
            )
        else:
            reason = (trial.message or "no number").strip().splitlines()[-1]
            what = reason if reason.startswith("skipped") else f"failed: {reason}"
        logger.info(
            "trial %s: %s; %s; %s",
            trial.trial_id,
            what,
            self.best(),
            self._left(),
        )

    def _left(self) -> str:
        """How many trials are done and how long the others take, in words."""
        estimates = []
        oracle = self.oracle
        now = time.time()
        ended = len(oracle.end_order) - self.ended_before
        if oracle.most_trials is not None and ended:
            remaining = oracle.most_trials - len(oracle.end_order)
            estimates.append((now - self.began) / ended * remaining)
        if oracle.deadline is not None:
            estimates.append(oracle.deadline - now)
        done = f"{len(oracle.end_order)} done"
        if not estimates:
            return done
        return f"{done}, {timedelta(seconds=max(0, round(min(estimates))))} left"
