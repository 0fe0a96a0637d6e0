"""How much each hyperparameter matters: functional ANOVA of a random forest over the trials.

Hutter, Hoos & Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance" (ICML
2014): regression trees are fitted to the trials, each to trials drawn with replacement, and the
variance of what a tree predicts over the *whole* space is shared out among the hyperparameters; a
share is the mean over the trees. Shares are Sobol' indices: the first-order index is what a
hyperparameter explains alone (their eq. 6), the total-order index what it explains alone and
together with others, which is what would remain unknown if only this one were not known. They
compute them exactly from the leaves; here they are estimated from a tree's predictions at 512
points of a Sobol' sequence for every hyperparameter, with SciPy's estimator (Saltelli et al.,
Computer Physics Communications 181, 2010), which gives total orders too.

What is done for few trials and mixed hyperparameters:

- A hyperparameter enters as KerasTuner's own coordinate between 0 and 1: logarithmic ranges are
  logarithmic, choices and whole numbers are evenly spaced and only their own values are asked for.
  One that a trial does not have (an inactive conditional one) has its default there.
- The spread is the 5th and the 95th percentile over the trees, which is that over resampled trials.
- Every tree is also given a hyperparameter that is drawn at random and so explains nothing. A share
  that is not above what this one gets means nothing (the shadow features of Kursa & Rudnicki,
  "Feature Selection with the Boruta Package", 2010).
- How well the forest predicts trials that a tree has not seen (out of bag) is said as R squared.
- Values worse than the lower quartile by more than three interquartile ranges count as just that,
  or one trial that went wrong would be all that is explained.

What matters only in a combination and not at all alone (an exclusive or) is found with hundreds of
trials only: a tree that is grown split by split sees nothing in it at first.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tfrestore.errors import InputError, UsageError

#: With fewer configurations no importance is computed.
LEAST_CONFIGURATIONS = 8

TREES = 64
PERCENTILES = 5, 95

#: What the hyperparameter that explains nothing is called.
IDLE = "(without effect)"

# 2**this many base points per hyperparameter.
_LOG2_POINTS = 9
_FENCE = 3.0


@dataclass(frozen=True)
class Importance:
    """The share of one hyperparameter in the variance over the space, 0 to 1.

    Attributes:
        name: The hyperparameter.
        total: What it explains alone and together with others; the shares of all may add up to more
            than 1.
        alone: What it explains alone.
        low: The 5th percentile of `total` over resampled trials.
        high: The 95th.
    """

    name: str
    total: float
    alone: float
    low: float
    high: float


@dataclass(frozen=True)
class Importances:
    """The shares of all hyperparameters.

    Attributes:
        shares: The largest first.
        idle: Of a hyperparameter without any effect.
        r_squared: Of the forest, out of bag: 1 is perfect; 0 is no better than the mean, and then
            the shares mean nothing.
        configurations: How many it was fitted to.
    """

    shares: tuple[Importance, ...]
    idle: Importance
    r_squared: float
    configurations: int


def tunable(space: Sequence) -> list:
    """KerasTuner's hyperparameters that have more than one value, each name once."""
    found = {}
    for each in space:
        if each.name not in found and _varies(each):
            found[each.name] = each
    return list(found.values())


def _varies(hyperparameter) -> bool:
    try:
        first, last = map(hyperparameter.prob_to_value, (0.0, 1 - 1e-9))
    # A fixed one has no such method, and that of a damaged one divides by nothing.
    except (NotImplementedError, AttributeError, ValueError, TypeError, ArithmeticError):
        return False
    return first != last


def coordinate(hyperparameter, value) -> float | None:
    """Where a value lies in its hyperparameter's range, 0 to 1.

    Returns:
        KerasTuner's cumulative probability; `None` for what is none of its values.
    """
    try:
        place = float(hyperparameter.value_to_prob(value))
    except (ValueError, TypeError, ArithmeticError):
        return None
    return place if 0 <= place <= 1 else None


def measure_importance(
    space: Sequence, values: Sequence[Mapping[str, object]], scores: Sequence[float]
) -> Importances:
    """Shares the variance of a score over a space out among its hyperparameters.

    Args:
        space: KerasTuner's hyperparameters; those with a single value are left out.
        values: For every configuration the values by name. Configurations with a value that the
            space does not have are left out.
        scores: The score of each configuration, higher is better; all after equally long training.

    Raises:
        InputError: if nothing can be said, with the reason: too few configurations, or equal
            scores, or no hyperparameter.
        UsageError: if scikit-learn is not installed.
    """
    if not importlib.util.find_spec("sklearn"):
        raise UsageError(
            "importances are computed with scikit-learn, which is not installed: "
            "pip install 'tfrestore[tuning]'."
        )
    hyperparameters = tunable(space)
    if not hyperparameters:
        raise InputError("no hyperparameter of this space has more than one value.")
    rows = [
        [coordinate(each, line.get(each.name, each.default)) for each in hyperparameters]
        for line in values
    ]
    kept = [place for place, row in enumerate(rows) if None not in row]
    if len(kept) < LEAST_CONFIGURATIONS:
        raise InputError(
            f"importances need {LEAST_CONFIGURATIONS} configurations that were trained equally "
            f"long; there are {len(kept)}."
        )
    places = np.array([rows[place] for place in kept], dtype=np.float64)
    target = _without_outliers(np.array([scores[place] for place in kept], dtype=np.float64))
    if np.ptp(target) == 0:
        raise InputError("all configurations have the same score.")
    rng = np.random.default_rng(0)
    base = _base_points(hyperparameters)
    indices, unseen = [], np.full((TREES, len(target)), np.nan)
    for predictions in unseen:
        chosen = _resample(target, rng)
        with_idle = np.concatenate([places, rng.random((len(target), 1))], axis=1)
        tree = _fit(with_idle[chosen], target[chosen], rng)
        indices.append(_sobol_indices(tree, base))
        left_out = np.setdiff1d(np.arange(len(target)), chosen)
        predictions[left_out] = tree.predict(with_idle[left_out])
    total, alone = np.moveaxis(np.array(indices), 1, 0)
    columns = np.stack([total.mean(0), alone.mean(0), *np.percentile(total, PERCENTILES, axis=0)])
    names = [*(each.name for each in hyperparameters), IDLE]
    *shares, idle = [
        Importance(name, *map(float, column)) for name, column in zip(names, columns.T, strict=True)
    ]
    return Importances(
        shares=tuple(sorted(shares, key=lambda share: -share.total)),
        idle=idle,
        r_squared=_r_squared(unseen, target),
        configurations=len(kept),
    )


def _without_outliers(scores: np.ndarray) -> np.ndarray:
    lower, upper = np.percentile(scores, [25, 75])
    return np.maximum(scores, lower - _FENCE * (upper - lower)) if upper > lower else scores


def _resample(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many configurations drawn with replacement, not all of one score."""
    while True:
        chosen = rng.integers(len(target), size=len(target))
        if np.ptp(target[chosen]) > 0:
            return chosen


def _fit(places: np.ndarray, target: np.ndarray, rng: np.random.Generator):
    from sklearn.tree import DecisionTreeRegressor

    return DecisionTreeRegressor(random_state=int(rng.integers(2**31))).fit(places, target)


def _r_squared(unseen: np.ndarray, target: np.ndarray) -> float:
    """How well the mean of the trees that have not seen a configuration predicts it."""
    seen_by_not_all = ~np.isnan(unseen).all(axis=0)
    predicted, target = np.nanmean(unseen[:, seen_by_not_all], axis=0), target[seen_by_not_all]
    return float(1 - np.mean((predicted - target) ** 2) / np.var(target))


def _base_points(hyperparameters: Sequence) -> np.ndarray:
    """Two independent sets of points, evenly spread over the space and at its own values.

    Returns:
        float64 `(2, points, hyperparameters + 1)`, the last for the idle one.
    """
    points = _even_points(len(hyperparameters) + 1)
    for column, each in enumerate(hyperparameters):
        snapped = [each.value_to_prob(each.prob_to_value(u)) for u in points[..., column].flat]
        points[..., column] = np.reshape(snapped, points.shape[:2])
    return points


def _even_points(columns: int) -> np.ndarray:
    from scipy.stats import qmc

    points = qmc.Sobol(2 * columns, scramble=False).random_base2(_LOG2_POINTS)
    return np.stack([points[:, :columns], points[:, columns:]])


def _sobol_indices(tree, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Total-order and first-order indices of a tree; zeros where it predicts one value."""
    from scipy.stats import sobol_indices

    first, second = base
    mixed = np.repeat(first[np.newaxis], first.shape[1], axis=0)
    for column, points in enumerate(mixed):
        points[:, column] = second[:, column]
    predicted = tree.predict(np.concatenate([first, second, *mixed])).reshape(-1, len(first))
    if np.ptp(predicted[:2]) == 0:
        return np.zeros(first.shape[1]), np.zeros(first.shape[1])
    found = sobol_indices(
        func={
            "f_A": predicted[:1],
            "f_B": predicted[1:2],
            "f_AB": predicted[2:, np.newaxis],
        },
        n=len(first),
    )
    # An estimate of a small share may come out below nothing.
    return tuple(np.clip(np.ravel(each), 0, 1) for each in (found.total_order, found.first_order))
