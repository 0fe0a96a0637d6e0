"""The cells of evaluation's tables, and how a table of them is written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from tfrestore.evaluation.rulers import PEAQ_VARIABLES, RULERS
from tfrestore.evaluation.tables import Row


def markdown_table(head: list[str], body: list[list[str]]) -> list[str]:
    """Lines of a table in Markdown."""
    lines = [head, ["---"] * len(head), *body]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def aligned(table: list[list[str]]) -> str:
    """Columns of one width, the first to the left and the others to the right."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    )


def heading_in_words(heading: Mapping[str, object]) -> dict[str, str]:
    """A report's heading as text: names with what they stand for, and lists, in one line each."""

    def words(value) -> str:
        if isinstance(value, Mapping):
            return " ".join(f"{name}={each}" for name, each in value.items())
        return " ".join(value) if isinstance(value, list) else str(value)

    return {name: words(value) for name, value in heading.items()}


def column_of(row: Row) -> str:
    """A system's name, with which of its versions are meant."""
    return row.system if row.versions == "one" else f"{row.system} ({row.versions})"


def heading_of(metric: str) -> str:
    """A ruler's name with its unit, and which direction is better."""
    return f"{RULERS[metric].label} {RULERS[metric].arrow}".strip()


def short_heading(metric: str) -> str:
    """A ruler's name without its unit."""
    return RULERS[metric].label.partition(" (")[0]


def spread(row: Row) -> str:
    """Mean ± standard deviation."""
    decimals = RULERS[row.metric].decimals
    mean = number(row.mean, decimals)
    if math.isnan(row.standard_deviation):
        return mean
    return f"{mean} ± {number(row.standard_deviation, decimals)}"


def gain(row: Row, spread: bool = False) -> str:
    """The gain, with its standard deviation if that is wanted."""
    if not row.gain_count:
        return "-"
    decimals = RULERS[row.metric].decimals
    text = number(row.gain, decimals, sign=True)
    if spread and not math.isnan(row.gain_standard_deviation):
        text += f" ± {number(row.gain_standard_deviation, decimals)}"
    return text


def number(value: float, decimals: int, sign: bool = False) -> str:
    """A number; a dash where there is none."""
    if math.isnan(value):
        return "-"
    return f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"


def leader(rows, metric: str) -> str | None:
    """The system whose mean is best, where there are several."""
    ruler = RULERS[metric]
    found = [row for row in rows if row.metric == metric and math.isfinite(row.mean)]
    if len(found) < 2 or ruler.higher_is_better is None:
        return None
    return column_of((max if ruler.higher_is_better else min)(found, key=lambda row: row.mean))


def is_shown(metric: str) -> bool:
    """Whether a ruler is in the tables that a person reads; PEAQ's variables are not."""
    return metric not in PEAQ_VARIABLES


def names(items: Iterable, attribute: str) -> list:
    """The values of an attribute, each once, as they come."""
    return list(dict.fromkeys(getattr(item, attribute) for item in items))
