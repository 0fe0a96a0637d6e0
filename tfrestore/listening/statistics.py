"""The statistics of a listening test: functions of arrays, and of the ratings that came in.

Mean and standard deviation are over all ratings of a system, as in Table 3 of Lattner & Nistal
(Electronics 2021, 10(11), 1349); the confidence interval takes every rating as independent, though
one listener gives several. The t-tests between systems are paired: a pair is two ratings by
one listener of one excerpt. Median and interquartile range are those that ITU-R BS.1534-3, section
9.1, recommends for MUSHRA. p values are not corrected for the number of tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tfrestore.evaluation.significance import PairedTTest, confidence_interval, paired_t_test
from tfrestore.listening.results import Results

#: ITU-R BS.1534-3, section 4.1.2: a hidden reference below this grade is missed, an anchor above
#: it is overlooked,
SCREENING_GRADE = 90
#: and so many of the items may be, and no more,
SCREENING_SHARE = 0.15
#: unless so many of the listeners overlook the anchor of an item, whose fault it is then.
SCREENING_LISTENERS = 0.25


@dataclass(frozen=True)
class Summary:
    """One line of the table.

    Attributes:
        system: The system's name.
        ratings: How many.
        listeners: By how many listeners.
        mean: Mean of all ratings.
        standard_deviation: With n - 1; NaN for a single rating.
        interval_low: Lower end of the 95 % confidence interval of the mean (t distribution).
        interval_high: Its upper end.
        median: Median of all ratings.
        interquartile_range: Between the quartiles.
    """

    system: str
    ratings: int
    listeners: int
    mean: float
    standard_deviation: float
    interval_low: float
    interval_high: float
    median: float
    interquartile_range: float


@dataclass(frozen=True)
class Comparison:
    """A paired t-test between two systems.

    Attributes:
        first: The first system's name.
        second: The second system's name.
        test: The test of first minus second.
    """

    first: str
    second: str
    test: PairedTTest


def rating_table(results: Sequence[Results]) -> np.ndarray:
    """All ratings as an array.

    Args:
        results: One page's, a session each.

    Returns:
        float64 `(listeners, excerpts, systems)`; NaN where there is no rating.
    """
    key = results[0].key
    table = np.full((len(results), len(key.excerpts), len(key.systems)), np.nan)
    for listener, each in enumerate(results):
        for item, rating in each.ratings.items():
            excerpt, system = key.items[item]
            table[listener, excerpt, system] = rating
    return table


def summarize(system: str, ratings: ArrayLike) -> Summary:
    """The line of one system.

    Args:
        system: Its name.
        ratings: `(listeners, excerpts)`, NaN where there is none.
    """
    ratings = np.asarray(ratings, np.float64)
    given = ratings[~np.isnan(ratings)]
    listeners = int((~np.isnan(ratings)).any(axis=1).sum())
    if not len(given):
        return Summary(system, 0, 0, *([float("nan")] * 6))
    low, high = confidence_interval(given)
    return Summary(
        system,
        len(given),
        listeners,
        float(np.mean(given)),
        float(np.std(given, ddof=1)) if len(given) > 1 else float("nan"),
        low,
        high,
        float(np.median(given)),
        interquartile_range(given),
    )


def interquartile_range(values: ArrayLike) -> float:
    """The distance of the quartiles, which are the medians of the lower and of the upper half.

    Of an odd number of values the middle one belongs to both halves: ITU-R BS.1534-3, section
    4.1.2.

    Args:
        values: `(n,)`, at least one.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    half = (len(ordered) + 1) // 2
    return float(np.median(ordered[-half:]) - np.median(ordered[:half]))


def compare(table: np.ndarray, systems: Sequence[str]) -> list[Comparison]:
    """Paired t-tests between all pairs of systems.

    Args:
        table: `(listeners, excerpts, systems)`, NaN where there is no rating.
        systems: The systems' names.
    """
    return [
        Comparison(
            systems[a], systems[b], paired_t_test(table[..., a].ravel(), table[..., b].ravel())
        )
        for a, b in itertools.combinations(range(len(systems)), 2)
    ]


def is_reliable(hidden_reference: ArrayLike, mid_anchor: ArrayLike | None = None) -> np.ndarray:
    """Which listeners the post-screening of ITU-R BS.1534-3, section 4.1.2, keeps.

    A listener is left out who grades the hidden reference below 90 in more than 15 % of the items,
    or the mid-range anchor above 90 in more than 15 % of them. Items whose mid-range anchor more
    than 25 % of the listeners grade so do not count against anyone.

    Args:
        hidden_reference: Grades `(listeners, items)`, NaN where there is none.
        mid_anchor: The same of the mid-range anchor, where there was one.

    Returns:
        bool `(listeners,)`. A listener without any grade of these is kept.
    """
    reference = np.asarray(hidden_reference, np.float64)
    reliable = _share(reference < SCREENING_GRADE, ~np.isnan(reference), 1) <= SCREENING_SHARE
    if mid_anchor is None:
        return reliable
    anchor = np.asarray(mid_anchor, np.float64)
    given, overlooked = ~np.isnan(anchor), anchor > SCREENING_GRADE
    hard = _share(overlooked, given, 0) > SCREENING_LISTENERS
    return reliable & (_share(overlooked & ~hard, given, 1) <= SCREENING_SHARE)


def _share(events: np.ndarray, given: np.ndarray, axis: int) -> np.ndarray:
    return events.sum(axis=axis) / np.maximum(given.sum(axis=axis), 1)
