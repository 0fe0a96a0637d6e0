"""The report as one HTML file that needs nothing else: no network, no other file, no script.

The pictures are inline SVG; the table under them has all that they show. A small script, which the
page can do without, sorts the table, finds a trial's line, and keeps the trials within a part of an
axis. A content security policy forbids everything else.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Sequence
from importlib import resources

from tuning.importance import Importances
from tuning.report_text import coordinates_caption, describe
from tuning.search_results import SearchResults
from tuning.trial_pictures import (
    Axis,
    importance_bars,
    make_axes,
    parallel_coordinates,
    shown_trials,
    svg_of,
)
from tuning.trial_table import Line, as_cells


def make_page(
    results: SearchResults, lines: Sequence[Line], importances: Importances | None, note: str
) -> str:
    """The page's text.

    Args:
        results: The search.
        lines: Its trials as the table has them.
        importances: What matters; `None` where nothing can be said.
        note: What is to be said about it, or why there is nothing.
    """
    figure = parallel_coordinates(results)
    head, body = as_cells(results, lines)
    places = _places(results, make_axes(results) if figure else [])
    values = {
        "title": html.escape(f"Search of {results.preset} by {results.objective}"),
        "style": _template("style.css"),
        "script": _template("report.js"),
        "summary": "\n".join(f"<p>{html.escape(each)}</p>" for each in describe(results, lines)),
        "coordinates_label": html.escape(
            "Parallel coordinates: a line per trial across its hyperparameters to "
            f"{results.objective}. The table below has the same values."
        ),
        "coordinates": svg_of(figure) if figure else "<p>No trial has ended yet.</p>",
        "coordinates_caption": html.escape(coordinates_caption(results)),
        "table_caption": html.escape(f"Trials of {results.folder}"),
        "head": "".join(_cell("th", name, name, ' scope="col"') for name in head),
        "body": "\n".join(
            _row(line, cells, head, places.get(line.trial.name, []))
            for line, cells in zip(lines, body, strict=True)
        ),
        "importance": _importance(importances, note),
    }
    page = _template("report.html")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], page)


def _importance(importances: Importances | None, note: str) -> str:
    if importances is None:
        return f"<p>{html.escape(note)}</p>"
    rows = "\n".join(
        f'<tr><th scope="row" class="text">{html.escape(share.name)}</th>'
        + "".join(
            f"<td>{value:.2f}</td>" for value in (share.total, share.alone, share.low, share.high)
        )
        + "</tr>"
        for share in (*importances.shares, importances.idle)
    )
    return (
        '<figure><div class="picture" id="importance" role="img" aria-label="Bars: the share of '
        f'every hyperparameter; the table below has the same values.">'
        f"{svg_of(importance_bars(importances), 'importance-')}</div>\n"
        f"<figcaption>{html.escape(note)}</figcaption></figure>\n"
        '<details><summary>The shares as a table</summary><table id="shares"><tr>'
        '<th scope="col" class="text">hyperparameter</th><th scope="col">with others</th>'
        '<th scope="col">alone</th><th scope="col">5 %</th><th scope="col">95 %</th></tr>\n'
        f"{rows}</table></details>"
    )


def _row(line: Line, cells: Sequence[str], head: Sequence[str], places: Sequence) -> str:
    kind = "best" if line.is_best else "" if line.trial.is_completed else "unfinished"
    numbers = {"steps": line.trial.steps, "gain": line.gain}
    row = "".join(
        _cell("td", name, cell, _value(numbers.get(name)))
        for name, cell in zip(head, cells, strict=True)
    )
    return (
        f'<tr class="{kind}" data-trial="{html.escape(line.trial.name)}" '
        f'data-places="{html.escape(json.dumps(places))}">{row}</tr>'
    )


def _cell(tag: str, column: str, text: str, attributes: str = "") -> str:
    kind = {"trial": "text", "": "text", "reason": "text reason"}.get(column, "")
    # A heading without text would have no name to be sorted by.
    text = "mark" if tag == "th" and not text else text
    return f"<{tag}{attributes}{f' class={kind!r}' if kind else ''}>{html.escape(text)}</{tag}>"


def _value(number: float | None) -> str:
    """The attribute that a column is sorted by, where its cells are no plain numbers."""
    return "" if number is None else f' data-value="{number!r}"'


def _places(results: SearchResults, axes: Sequence[Axis]) -> dict[str, list[float | None]]:
    """Where each trial crosses the axes; JSON has no NaN."""
    return {
        trial.name: [
            None if math.isnan(axis.places[number]) else round(axis.places[number], 4)
            for axis in axes
        ]
        for number, trial in enumerate(shown_trials(results))
    }


def _template(name: str) -> str:
    return resources.files(__package__).joinpath("page", name).read_text("utf-8")
