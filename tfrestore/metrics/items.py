"""What the rulers share: two arrays of one shape in, one number per item out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfrestore.errors import InputError


def pair(reference, estimate, axes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays that can be compared.

    Args:
        reference: (..., *axes).
        estimate: As `reference`.
        axes: Names of the axes of one item, which every array has at its end.

    Returns:
        Both as arrays, not copied.

    Raises:
        InputError: if the shapes differ or have too few axes.
    """
    reference, estimate = np.asarray(reference), np.asarray(estimate)
    if reference.shape != estimate.shape or reference.ndim < len(axes):
        raise InputError(
            f"The reference has shape {reference.shape} and the estimate {estimate.shape}: "
            f"both must be (..., {', '.join(axes)})."
        )
    return reference, estimate


def score_items(
    score: Callable[[np.ndarray, np.ndarray], float], reference, estimate, axes: tuple[str, ...]
) -> np.ndarray:
    """Scores every item of two arrays.

    One item at a time is made double precision, so that a long recording of several channels is
    never held twice.

    Args:
        score: Gets an item of either array, float64, not empty and all finite; what it overflows or
            divides by zero is silent.
        reference: (..., *axes).
        estimate: As `reference`.
        axes: Names of the axes of one item.

    Returns:
        float64 (...), a scalar for a single item; NaN for an item that is empty, or that holds NaN
        or infinite samples.

    Raises:
        InputError: if the shapes differ or have too few axes.
    """
    reference, estimate = pair(reference, estimate, axes)
    leading = reference.shape[: reference.ndim - len(axes)]
    values = np.full(leading, np.nan)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        for index in np.ndindex(leading):
            items = [np.asarray(each[index], "float64") for each in (reference, estimate)]
            if all(item.size and np.isfinite(item).all() for item in items):
                values[index] = score(*items)
    return values[()]
