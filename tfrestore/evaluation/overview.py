"""The tables over all degradations: by bit rate, by kind of content, and what the systems cost.

By bit rate is Figure 2 of Li & Luo's Apollo paper, by kind of content its Table II; both are means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tfrestore.evaluation.cells import (
    column_of,
    heading_of,
    is_shown,
    names,
    number,
    short_heading,
)
from tfrestore.evaluation.efforts import Cost
from tfrestore.evaluation.rulers import RULERS
from tfrestore.evaluation.tables import ALL, Row, Tables


class Overview(NamedTuple):
    """A table.

    Attributes:
        title: What it is.
        head: Its columns.
        short_head: The same for a terminal, without units.
        body: Its lines.
    """

    title: str
    head: list[str]
    short_head: list[str]
    body: list[list[str]]


def make_overviews(tables: Tables, costs: Sequence[Cost]) -> list[Overview]:
    """The tables of which there is anything to show, in the order of this module's first line."""
    found = [_by_bit_rate(tables.rows), _by_genre(tables), _costs(costs)]
    return [overview for overview in found if overview]


def _by_bit_rate(rows: Sequence[Row]) -> Overview | None:
    """Where there are MP3s of several bit rates."""
    rows = [row for row in rows if row.genre == ALL and row.kbit_per_second is not None]
    if len(names(rows, "kbit_per_second")) < 2:
        return None
    return _means("By bit rate", ["kbit/s"], rows, "kbit_per_second", "recordings")


def _by_genre(tables: Tables) -> Overview | None:
    """Where there are MP3s of several genres: over all bit rates."""
    if len(names(tables.pooled, "genre")) < 3:
        return None
    rates = names(tables.rows, "kbit_per_second")
    title = f"By {tables.genre_name}, MP3s of {', '.join(map(str, filter(None, rates)))} kbit/s"
    return _means(title, [tables.genre_name], tables.pooled, "genre", "MP3s")


def _means(
    title: str, first: list[str], rows: Sequence[Row], attribute: str, counted: str
) -> Overview:
    """A line for each value of an attribute and each system, with the mean of every ruler."""
    metrics = [metric for metric in names(rows, "metric") if is_shown(metric)]
    body = []
    for value in names(rows, attribute):
        of_value = [row for row in rows if getattr(row, attribute) == value]
        for system in dict.fromkeys(map(column_of, of_value)):
            found = {row.metric: row for row in of_value if column_of(row) == system}
            cells = [
                number(found[metric].mean, RULERS[metric].decimals) if metric in found else "-"
                for metric in metrics
            ]
            tracks = max(row.tracks for row in found.values())
            body.append([str(value), system, str(tracks), *cells])
    head = [*first, "system", counted]
    short = [f"{short_heading(metric)} {RULERS[metric].arrow}" for metric in metrics]
    return Overview(title, [*head, *map(heading_of, metrics)], [*head, *short], body)


def _costs(costs: Sequence[Cost]) -> Overview | None:
    if not costs:
        return None
    head = ["system", "parameters", "real-time factor", "core seconds per second"]
    head += ["seconds of audio", "channels", "cores", "scoring processes"]
    body = [
        [
            cost.system,
            "-" if cost.parameters is None else f"{cost.parameters:,}",
            _optional(cost.real_time_factor),
            _optional(cost.processor_seconds),
            f"{cost.audio_seconds:.1f}" if cost.audio_seconds else "-",
            cost.channels or "-",
            cost.cores or "-",
            cost.scoring_processes or "-",
        ]
        for cost in costs
    ]
    return Overview("Parameters, and seconds of computing per second of audio", head, head, body)


def _optional(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
