"""How sure a mean, or a difference of two means, is: Student's t distribution.

Pairs of scores that belong together (one file, or one listener and one excerpt) are compared with
the paired t-test, as in Table 3 of Lattner & Nistal (Electronics 2021, 10(11), 1349).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

# Differences that vary by less than this, relative to the scores, differ by rounding alone.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class PairedTTest:
    """What a paired t-test says.

    Attributes:
        t: The statistic; NaN where it is undefined.
        p: Two-sided p value; NaN where it is undefined.
        degrees_of_freedom: `n - 1`, and 0 without pairs.
        n: Number of pairs of finite scores.
        mean_difference: Mean of `a - b`; NaN without pairs.
    """

    t: float
    p: float
    degrees_of_freedom: int
    n: int
    mean_difference: float


def paired_t_test(a: ArrayLike, b: ArrayLike) -> PairedTTest:
    """Tests whether the mean of `a - b` differs from 0, two-sided.

    Args:
        a: Scores `(pairs,)`.
        b: The scores that belong to them `(pairs,)`. A pair in which one is NaN or infinite is left
            out.

    Returns:
        The test. `t` and `p` are NaN with fewer than two pairs, and where all differences are the
        same, which leaves no variance to compare their mean with.

    Raises:
        ValueError: The arrays have different shapes or more than one dimension.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"Expected two arrays (pairs,), received {a.shape} and {b.shape}.")
    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    n = len(a)
    mean_difference = float(np.mean(a - b)) if n else float("nan")
    t = p = float("nan")
    if n > 1 and np.std(a - b) > _ROUNDING * max(np.abs(a).max(), np.abs(b).max()):
        t = mean_difference / _standard_error(a - b)
        p = float(2 * special.stdtr(n - 1, -abs(t)))
    return PairedTTest(t, p, max(0, n - 1), n, mean_difference)


def confidence_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """The interval in which the mean lies with a given confidence, by Student's t distribution.

    Args:
        values: Scores `(n,)`; NaN and infinite ones are left out.
        confidence: Between 0 and 1.

    Returns:
        Its lower and upper end: the mean plus and minus t times the standard error. Both are NaN
        with fewer than two scores, and both the mean where all scores are the same.

    Raises:
        ValueError: `confidence` is not between 0 and 1, or there is more than one dimension.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not 0 < confidence < 1:
        raise ValueError(
            f"Expected an array (n,) and a confidence between 0 and 1, received {values.shape} and "
            f"{confidence}."
        )
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return float("nan"), float("nan")
    margin = special.stdtrit(len(values) - 1, (1 + confidence) / 2) * _standard_error(values)
    return float(np.mean(values) - margin), float(np.mean(values) + margin)


def _standard_error(values: np.ndarray) -> float:
    """Of the mean of a sample."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))
