"""How hyperparameters and their values are written for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def short_names(names: Sequence[str]) -> list[str]:
    """Names such as `network.filters` without their section, where that leaves them different."""
    ends = [name.rpartition(".")[2] for name in names]
    counts = Counter(ends)
    return [end if counts[end] == 1 else name for end, name in zip(ends, names, strict=True)]


def format_value(value) -> str:
    """A hyperparameter's value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
