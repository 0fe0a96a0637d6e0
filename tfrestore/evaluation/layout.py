"""The tables as a person reads them: on the screen, and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from tfrestore.evaluation.cells import (
    aligned,
    column_of,
    gain,
    heading_of,
    is_shown,
    leader,
    markdown_table,
    names,
    number,
    short_heading,
    spread,
)
from tfrestore.evaluation.efforts import Cost
from tfrestore.evaluation.measurement import DEGRADED
from tfrestore.evaluation.overview import make_overviews
from tfrestore.evaluation.rulers import PEAQ_VARIABLES, RULERS
from tfrestore.evaluation.tables import ALL, Row, Tables


def format_screen(tables: Tables, costs: Sequence[Cost] = ()) -> str:
    """Tables for a terminal, one line per ruler; gains by genre below, overviews at the end.

    PEAQ's eleven variables are in the files only.
    """
    parts, rows, comparisons = [], tables.rows, tables.comparisons
    for degradation in names(rows, "degradation"):
        chosen = [row for row in rows if row.degradation == degradation and is_shown(row.metric)]
        overall = [row for row in chosen if row.genre == ALL]
        tracks = max(row.tracks for row in overall)
        parts.append(f"\n{degradation}, {_counted(tracks, 'recording')}, mean ± standard deviation")
        parts.append(_screen_block(overall, comparisons, degradation))
        if len(names(chosen, "genre")) > 2:
            parts += _gains_by_genre(chosen, tables.genre_name)
        parts += [f"  {note}" for note in left_out(overall)]
    for overview in make_overviews(tables, costs):
        parts += [f"\n{overview.title}", aligned([overview.short_head, *overview.body])]
    return "\n".join(parts)


def format_markdown(
    heading: Mapping[str, str],
    tables: Tables,
    costs: Sequence[Cost] = (),
    pictures: Iterable[str] = (),
) -> str:
    """The whole report in Markdown: overviews, then for each degradation means, gains and more."""
    lines, rows, comparisons = ["# Evaluation", ""], tables.rows, tables.comparisons
    lines += markdown_table(["", ""], [list(line) for line in heading.items()])
    lines += [
        "",
        "Mean ± sample standard deviation; ↑ higher is better, ↓ lower is better. Gains are how",
        "much better a recording is than the degraded one: positive is better for every metric.",
        "Infinite and undefined values are left out of means and counted below each table.",
    ]
    for overview in make_overviews(tables, costs):
        lines += ["", f"## {overview.title}", "", *markdown_table(overview.head, overview.body)]
    for degradation in names(rows, "degradation"):
        chosen = [row for row in rows if row.degradation == degradation]
        overall = [row for row in chosen if row.genre == ALL]
        shown = [row for row in overall if is_shown(row.metric)]
        lines += ["", f"## {degradation}", ""]
        lines += _systems_table(shown, lambda row: spread(row), best=True)
        lines += [f"\n{note}" for note in left_out(shown)]
        if any(row.gain_count for row in shown):
            lines += ["", "### Gain", ""]
            restored = [row for row in shown if row.system != DEGRADED]
            lines += _systems_table(restored, lambda row: gain(row, spread=True))
        genres = [genre for genre in names(chosen, "genre") if genre != ALL]
        if len(genres) > 1:
            lines += ["", f"### By {tables.genre_name}", ""]
            shown = [row for row in chosen if is_shown(row.metric)]
            lines += _genre_table(shown, genres, tables.genre_name)
        tests = [each for each in comparisons if each.degradation == degradation and each.count > 1]
        tests = [each for each in tests if is_shown(each.metric)]
        if tests:
            lines += ["", "### Paired t-tests over recordings", ""]
            lines += markdown_table(
                ["metric", "first", "second", "gain of the second", "recordings", "t", "p"],
                [
                    [
                        RULERS[each.metric].label,
                        each.first,
                        each.second,
                        number(each.gain, RULERS[each.metric].decimals, sign=True),
                        str(each.count),
                        number(each.t, 2),
                        format_p(each.p),
                    ]
                    for each in tests
                ],
            )
        variables = [row for row in overall if row.metric in PEAQ_VARIABLES]
        if variables:
            lines += ["", "### Variables of PEAQ", ""]
            lines += _systems_table(variables, lambda row: number(row.mean, 2))
    for name in pictures:
        lines += ["", f"![{name.partition('.')[0].replace('-', ' ')}]({name})"]
    return "\n".join(lines) + "\n"


def left_out(rows: Iterable[Row]) -> list[str]:
    """A sentence for every system and ruler of which values are left out of the mean."""
    notes = []
    for row in rows:
        parts = [
            f"{count} {kind}"
            for count, kind in ((row.infinite, "infinite"), (row.undefined, "undefined"))
            if count
        ]
        if parts:
            of = row.count + row.infinite + row.undefined
            name = f"{RULERS[row.metric].label} of {column_of(row)}"
            notes.append(f"{name}: {' and '.join(parts)} of {of} values left out.")
    return notes


def format_p(p: float) -> str:
    """A p value as papers print it."""
    if math.isnan(p):
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _screen_block(rows, comparisons, degradation) -> str:
    columns = list(dict.fromkeys(column_of(row) for row in rows))
    against = {
        (each.second, each.metric): each.p
        for each in comparisons
        if each.degradation == degradation and each.first == DEGRADED
    }
    table = [["", *columns[:1]]]
    for column in columns[1:]:
        table[0] += [column, "gain", "p"]
    for metric in names(rows, "metric"):
        ruler = RULERS[metric]
        found = {column_of(row): row for row in rows if row.metric == metric}
        line = [f"{ruler.label} {ruler.arrow}"]
        for position, column in enumerate(columns):
            row = found.get(column)
            line.append(spread(row) if row else "-")
            if position:
                line.append(gain(row, spread=True) if row else "-")
                best = row is None or row.versions.startswith("best")
                p = float("nan") if best else against.get((row.system, metric), float("nan"))
                line.append(format_p(p))
        table.append(line)
    return aligned(table)


def _gains_by_genre(rows, genre_name: str) -> list[str]:
    parts = []
    for column in dict.fromkeys(column_of(row) for row in rows if row.system != DEGRADED):
        of_system = [row for row in rows if column_of(row) == column]
        metrics = names(of_system, "metric")
        head = [f"gain by {genre_name}", "recordings"]
        table = [[*head, *(short_heading(metric) for metric in metrics)]]
        for genre in names(of_system, "genre"):
            found = {row.metric: row for row in of_system if row.genre == genre}
            tracks = max(row.tracks for row in found.values())
            cells = [gain(found[metric]) if metric in found else "-" for metric in metrics]
            table.append([genre, str(tracks), *cells])
        parts += [f"\n{rows[0].degradation}, {column}", aligned(table)]
    return parts


def _systems_table(rows, cell, best: bool = False) -> list[str]:
    """Systems down, rulers across."""
    metrics = names(rows, "metric")
    body = []
    leaders = {metric: leader(rows, metric) for metric in metrics} if best else {}
    for system in dict.fromkeys(column_of(row) for row in rows):
        found = {row.metric: row for row in rows if column_of(row) == system}
        cells = []
        for metric in metrics:
            text = cell(found[metric]) if metric in found else "-"
            cells.append(f"**{text}**" if leaders.get(metric) == system else text)
        body.append([system, *cells])
    return markdown_table(["system", *(heading_of(metric) for metric in metrics)], body)


def _genre_table(rows, genres, genre_name: str) -> list[str]:
    metrics = names(rows, "metric")
    body = []
    for genre in genres:
        for system in dict.fromkeys(column_of(row) for row in rows if row.genre == genre):
            found = {r.metric: r for r in rows if r.genre == genre and column_of(r) == system}
            tracks = max(row.tracks for row in found.values())
            cells = [
                number(found[m].mean, RULERS[m].decimals) if m in found else "-" for m in metrics
            ]
            body.append([genre, system, str(tracks), *cells])
    headings = (heading_of(metric) for metric in metrics)
    return markdown_table([genre_name, "system", "recordings", *headings], body)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
