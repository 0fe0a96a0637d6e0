"""The tables of a listening test: on the screen, as CSV, as JSON and as Markdown."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tfrestore.complete_files import write_text
from tfrestore.errors import InputError
from tfrestore.listening.key import Key
from tfrestore.listening.results import Results
from tfrestore.listening.statistics import (
    Comparison,
    Summary,
    compare,
    is_reliable,
    rating_table,
    summarize,
)

#: Below this p value a difference is marked with a star.
SIGNIFICANCE_LEVEL = 0.05

_SCALES = {"mos": "MOS, 1 to 5", "mushra": "MUSHRA, 0 to 100"}


@dataclass(frozen=True)
class Report:
    """What came out of a listening test.

    Attributes:
        key: The page's key.
        listeners: Names of those who count.
        screened: Names of those whom MUSHRA's post-screening left out.
        summaries: A line per system, in the page's order.
        comparisons: A t-test per pair of systems.
        ratings: Every rating that counts: listener, track, start in seconds, system, rating.
    """

    key: Key
    listeners: tuple[str, ...]
    screened: tuple[str, ...]
    summaries: tuple[Summary, ...]
    comparisons: tuple[Comparison, ...]
    ratings: tuple[tuple[str, str, float, str, float], ...]


def make_report(results: Sequence[Results]) -> Report:
    """The statistics of one page's results, after MUSHRA's post-screening.

    Raises:
        InputError: The post-screening leaves no listener.
    """
    key = results[0].key
    table = rating_table(results)
    reliable = np.full(len(results), True)
    if key.reference is not None:
        mid_anchor = None if key.mid_anchor is None else table[..., key.mid_anchor]
        reliable = is_reliable(table[..., key.reference], mid_anchor)
    screened = tuple(each.label for each, kept in zip(results, reliable, strict=True) if not kept)
    kept = [each for each, keep in zip(results, reliable, strict=True) if keep]
    if not kept:
        raise InputError(
            f"the post-screening of ITU-R BS.1534-3 leaves none of the {len(results)} listeners."
        )
    table = table[reliable]
    return Report(
        key,
        tuple(each.label for each in kept),
        screened,
        tuple(summarize(name, table[..., n]) for n, name in enumerate(key.systems)),
        tuple(compare(table, key.systems)),
        tuple(
            (each.label, *key.excerpts[excerpt], key.systems[system], each.ratings[item])
            for each in kept
            for item, (excerpt, system) in key.items.items()
            if item in each.ratings
        ),
    )


def format_report(report: Report) -> str:
    """The report as text, in fixed columns."""
    names = [_one_line(name) for name in report.key.systems]
    width = max(map(len, ["system", *names]))
    lines = [
        f"{_one_line(report.key.title)}: {_SCALES[report.key.mode]}; "
        f"{_count(len(report.listeners), 'listener')}, "
        f"{_count(len(report.key.excerpts), 'excerpt')}, {_count(len(report.ratings), 'rating')}",
    ]
    if report.screened:
        lines.append(
            f"left out by the post-screening of ITU-R BS.1534-3: {', '.join(report.screened)}"
        )
    lines += [
        "",
        f"{'system':{width}s}  ratings    mean  std dev  95 % interval    median     IQR",
    ]
    for name, row in zip(names, report.summaries, strict=True):
        interval = f"{_number(row.interval_low)} to {_number(row.interval_high)}"
        lines.append(
            f"{name:{width}s}  {row.ratings:7d}  {_number(row.mean):>6s}  "
            f"{_number(row.standard_deviation):>7s}  {interval:15s}  {_number(row.median):>6s}  "
            f"{_number(row.interquartile_range):>6s}"
        )
    if report.comparisons:
        pair = max(len(f"{_one_line(c.first)} - {_one_line(c.second)}") for c in report.comparisons)
        pair = max(pair, len("paired t-test"))
        lines += ["", f"{'paired t-test':{pair}s}  pairs  difference        t        p"]
        for each in report.comparisons:
            label = f"{_one_line(each.first)} - {_one_line(each.second)}"
            test = each.test
            lines.append(
                f"{label:{pair}s}  {test.n:5d}  {_number(test.mean_difference, '+'):>10s}  "
                f"{_number(test.t, '+'):>7s}  {_p_value(test.p)}{_star(test.p)}"
            )
    return "\n".join(lines)


def format_markdown(report: Report) -> str:
    """The report as Markdown: the columns of Table 3 of Lattner & Nistal, and the t-tests."""
    listeners = _count(len(report.listeners), "listener")
    lines = [
        f"# {_cell(report.key.title)}",
        "",
        f"{_SCALES[report.key.mode]}; {listeners}, {_count(len(report.ratings), 'rating')}.",
    ]
    if report.screened:
        names = ", ".join(map(_cell, report.screened))
        lines += ["", f"Left out by the post-screening of ITU-R BS.1534-3: {names}."]
    lines += [
        "",
        "| system | ratings | mean | standard deviation | 95 % interval | median | IQR |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {_cell(row.system)} | {row.ratings} | {_number(row.mean)} | "
        f"{_number(row.standard_deviation)} | {_number(row.interval_low)} to "
        f"{_number(row.interval_high)} | {_number(row.median)} | "
        f"{_number(row.interquartile_range)} |"
        for row in report.summaries
    ]
    if report.comparisons:
        lines += [
            "",
            "| paired t-test | pairs | difference | t | degrees of freedom | p |",
            "|---|---:|---:|---:|---:|---:|",
        ]
    lines += [
        f"| {_cell(each.first)} − {_cell(each.second)} | {each.test.n} | "
        f"{_number(each.test.mean_difference, '+')} | {_number(each.test.t, '+')} | "
        f"{each.test.degrees_of_freedom} | {_p_value(each.test.p).strip()} |"
        for each in report.comparisons
    ]
    return "\n".join(lines) + "\n"


def report_paths(out: str) -> dict[str, Path]:
    """The files that `--out` stands for: in a folder `report.csv` ..., else `STEM.csv` ...."""
    stem = Path(out) / "report" if Path(out).is_dir() or out.endswith(("/", os.sep)) else Path(out)
    names = {
        "csv": ".csv",
        "t_tests": ".t-tests.csv",
        "ratings": ".ratings.csv",
        "json": ".json",
        "markdown": ".md",
    }
    return {kind: stem.with_name(stem.name + suffix) for kind, suffix in names.items()}


def write_report(report: Report, out: str) -> list[Path]:
    """Writes all tables, each complete or not at all; returns their paths.

    Raises:
        OSError: A file cannot be written.
    """
    paths = report_paths(out)
    tests = [
        {"first": each.first, "second": each.second, **asdict(each.test)}
        for each in report.comparisons
    ]
    summaries = [asdict(row) for row in report.summaries]
    columns = ("listener", "track", "start", "system", "rating")
    ratings = [dict(zip(columns, row, strict=True)) for row in report.ratings]
    record = {
        "title": report.key.title,
        "mode": report.key.mode,
        "page": report.key.page,
        "settings": report.key.settings,
        "listeners": report.listeners,
        "left_out_by_post_screening": report.screened,
        "systems": summaries,
        "t_tests": tests,
        "ratings": ratings,
    }
    paths["csv"].parent.mkdir(parents=True, exist_ok=True)
    write_text(paths["csv"], _csv(list(Summary.__dataclass_fields__), summaries))
    test_columns = ("first", "second", "t", "p", "degrees_of_freedom", "n", "mean_difference")
    write_text(paths["t_tests"], _csv(test_columns, tests))
    write_text(paths["ratings"], _csv(columns, ratings))
    write_text(paths["json"], json.dumps(_without_nan(record), indent=2, allow_nan=False) + "\n")
    write_text(paths["markdown"], format_markdown(report))
    return list(paths.values())


def _csv(columns: Sequence[str], rows: list[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _without_nan(value):
    """JSON has no NaN: an undefined number is null."""
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: float, sign: str = "") -> str:
    return f"{value:{sign}.2f}" if math.isfinite(value) else "n/a"


def _p_value(p: float) -> str:
    if math.isnan(p):
        return "    n/a"
    return f"{p:7.4f}" if p >= 0.0001 else "<0.0001"


def _star(p: float) -> str:
    return " *" if p < SIGNIFICANCE_LEVEL else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _one_line(text).replace("|", "\\|")
