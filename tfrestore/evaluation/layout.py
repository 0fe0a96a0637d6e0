"""The tables as a person reads them: on the screen, and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from tfrestore.evaluation.measurement import DEGRADED
from tfrestore.evaluation.rulers import PEAQ_VARIABLES, RULERS
from tfrestore.evaluation.tables import ALL, Comparison, Row


def format_screen(rows: Sequence[Row], comparisons: Sequence[Comparison]) -> str:
    """Tables for a terminal, one line per ruler; gains by genre below.

    PEAQ's eleven variables are in the files only.
    """
    parts = []
    for degradation in _names(rows, "degradation"):
        chosen = [row for row in rows if row.degradation == degradation and _is_shown(row.metric)]
        overall = [row for row in chosen if row.genre == ALL]
        tracks = max(row.tracks for row in overall)
        parts.append(f"\n{degradation}, {_counted(tracks, 'recording')}, mean ± standard deviation")
        parts.append(_screen_block(overall, comparisons, degradation))
        if len(_names(chosen, "genre")) > 2:
            parts += _gains_by_genre(chosen)
        parts += [f"  {note}" for note in left_out(overall)]
    return "\n".join(parts)


def format_markdown(
    heading: dict[str, object],
    rows: Sequence[Row],
    comparisons: Sequence[Comparison],
    pictures: Iterable[str] = (),
) -> str:
    """The whole report in Markdown: means, gains, genres, t-tests, PEAQ's variables, pictures."""
    lines = ["# Evaluation", ""]
    lines += _markdown_table(["", ""], [[name, str(value)] for name, value in heading.items()])
    lines += [
        "",
        "Mean ± sample standard deviation; ↑ higher is better, ↓ lower is better. Gains are how",
        "much better a recording is than the degraded one: positive is better for every metric.",
        "Infinite and undefined values are left out of means and counted below each table.",
    ]
    for degradation in _names(rows, "degradation"):
        chosen = [row for row in rows if row.degradation == degradation]
        overall = [row for row in chosen if row.genre == ALL]
        shown = [row for row in overall if _is_shown(row.metric)]
        lines += ["", f"## {degradation}", ""]
        lines += _systems_table(shown, lambda row: _spread(row), best=True)
        lines += [f"\n{note}" for note in left_out(shown)]
        if any(row.gain_count for row in shown):
            lines += ["", "### Gain", ""]
            restored = [row for row in shown if row.system != DEGRADED]
            lines += _systems_table(restored, lambda row: _gain(row, spread=True))
        genres = [genre for genre in _names(chosen, "genre") if genre != ALL]
        if len(genres) > 1:
            lines += ["", "### By genre", ""]
            lines += _genre_table([row for row in chosen if _is_shown(row.metric)], genres)
        tests = [each for each in comparisons if each.degradation == degradation and each.count > 1]
        tests = [each for each in tests if _is_shown(each.metric)]
        if tests:
            lines += ["", "### Paired t-tests over recordings", ""]
            lines += _markdown_table(
                ["metric", "first", "second", "gain of the second", "recordings", "t", "p"],
                [
                    [
                        RULERS[each.metric].label,
                        each.first,
                        each.second,
                        _number(each.gain, RULERS[each.metric].decimals, sign=True),
                        str(each.count),
                        _number(each.t, 2),
                        format_p(each.p),
                    ]
                    for each in tests
                ],
            )
        variables = [row for row in overall if row.metric in PEAQ_VARIABLES]
        if variables:
            lines += ["", "### Variables of PEAQ", ""]
            lines += _systems_table(variables, lambda row: _number(row.mean, 2))
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
            name = f"{RULERS[row.metric].label} of {_system(row)}"
            notes.append(f"{name}: {' and '.join(parts)} of {of} values left out.")
    return notes


def format_p(p: float) -> str:
    """A p value as papers print it."""
    if math.isnan(p):
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _screen_block(rows, comparisons, degradation) -> str:
    columns = list(dict.fromkeys(_system(row) for row in rows))
    against = {
        (each.second, each.metric): each.p
        for each in comparisons
        if each.degradation == degradation and each.first == DEGRADED
    }
    table = [["", *columns[:1]]]
    for column in columns[1:]:
        table[0] += [column, "gain", "p"]
    for metric in _names(rows, "metric"):
        ruler = RULERS[metric]
        found = {_system(row): row for row in rows if row.metric == metric}
        line = [f"{ruler.label} {ruler.arrow}"]
        for position, column in enumerate(columns):
            row = found.get(column)
            line.append(_spread(row) if row else "-")
            if position:
                line.append(_gain(row, spread=True) if row else "-")
                best = row is None or row.versions.startswith("best")
                p = float("nan") if best else against.get((row.system, metric), float("nan"))
                line.append(format_p(p))
        table.append(line)
    return _aligned(table)


def _gains_by_genre(rows) -> list[str]:
    parts = []
    for column in dict.fromkeys(_system(row) for row in rows if row.system != DEGRADED):
        of_system = [row for row in rows if _system(row) == column]
        metrics = _names(of_system, "metric")
        table = [["gain by genre", "recordings", *(_short(metric) for metric in metrics)]]
        for genre in _names(of_system, "genre"):
            found = {row.metric: row for row in of_system if row.genre == genre}
            tracks = max(row.tracks for row in found.values())
            cells = [_gain(found[metric]) if metric in found else "-" for metric in metrics]
            table.append([genre, str(tracks), *cells])
        parts += [f"\n{rows[0].degradation}, {column}", _aligned(table)]
    return parts


def _systems_table(rows, cell, best: bool = False) -> list[str]:
    """Systems down, rulers across."""
    metrics = _names(rows, "metric")
    body = []
    leaders = {metric: _leader(rows, metric) for metric in metrics} if best else {}
    for system in dict.fromkeys(_system(row) for row in rows):
        found = {row.metric: row for row in rows if _system(row) == system}
        cells = []
        for metric in metrics:
            text = cell(found[metric]) if metric in found else "-"
            cells.append(f"**{text}**" if leaders.get(metric) == system else text)
        body.append([system, *cells])
    return _markdown_table(["system", *(_heading(metric) for metric in metrics)], body)


def _genre_table(rows, genres) -> list[str]:
    metrics = _names(rows, "metric")
    body = []
    for genre in genres:
        for system in dict.fromkeys(_system(row) for row in rows if row.genre == genre):
            found = {r.metric: r for r in rows if r.genre == genre and _system(r) == system}
            tracks = max(row.tracks for row in found.values())
            cells = [
                _number(found[m].mean, RULERS[m].decimals) if m in found else "-" for m in metrics
            ]
            body.append([genre, system, str(tracks), *cells])
    headings = (_heading(metric) for metric in metrics)
    return _markdown_table(["genre", "system", "recordings", *headings], body)


def _leader(rows, metric: str) -> str | None:
    """The system whose mean is best, where there are several."""
    ruler = RULERS[metric]
    found = [row for row in rows if row.metric == metric and math.isfinite(row.mean)]
    if len(found) < 2 or ruler.higher_is_better is None:
        return None
    return _system((max if ruler.higher_is_better else min)(found, key=lambda row: row.mean))


def _markdown_table(head: list[str], body: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *body]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _aligned(table: list[list[str]]) -> str:
    """Columns of one width, the first to the left and the others to the right."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    )


def _system(row: Row) -> str:
    return row.system if row.versions == "one" else f"{row.system} ({row.versions})"


def _heading(metric: str) -> str:
    return f"{RULERS[metric].label} {RULERS[metric].arrow}".strip()


def _short(metric: str) -> str:
    return RULERS[metric].label.partition(" (")[0]


def _spread(row: Row) -> str:
    decimals = RULERS[row.metric].decimals
    mean = _number(row.mean, decimals)
    if math.isnan(row.standard_deviation):
        return mean
    return f"{mean} ± {_number(row.standard_deviation, decimals)}"


def _gain(row: Row, spread: bool = False) -> str:
    if not row.gain_count:
        return "-"
    decimals = RULERS[row.metric].decimals
    text = _number(row.gain, decimals, sign=True)
    if spread and not math.isnan(row.gain_standard_deviation):
        text += f" ± {_number(row.gain_standard_deviation, decimals)}"
    return text


def _number(value: float, decimals: int, sign: bool = False) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _is_shown(metric: str) -> bool:
    return metric not in PEAQ_VARIABLES


def _names(items, attribute: str) -> list:
    return list(dict.fromkeys(getattr(item, attribute) for item in items))
