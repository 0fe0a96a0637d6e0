"""The trials of a search as a table: on the terminal, as CSV, in Markdown and for the page.

Trials that had more steps come first, and among equally long ones the better; those without a value
come last. Values after different numbers of steps are not to be compared, so that a trial's gain
over the preset's own setting is said with the number of steps after which both are compared.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tfrestore.evaluation.cells import markdown_table
from tuning.importance import tunable
from tuning.labels import format_value, short_names
from tuning.search_results import SearchResults
from tuning.trial_results import TrialResult

_ABSENT = "-"
_EFFORTS = ("parameters", "seconds")
_WIDTH_OF_A_FILE = 1000


@dataclass(frozen=True)
class Line:
    """A trial in the table.

    Attributes:
        trial: What it is.
        is_best: Whether it is the best of all.
        is_baseline: Whether it has the preset's own setting.
        gain: How much better it is than the preset's own setting, positive is better; `None` where
            they cannot be compared.
        compared_at: After how many steps.
    """

    trial: TrialResult
    is_best: bool
    is_baseline: bool
    gain: float | None
    compared_at: int | None

    @property
    def mark(self) -> str:
        """What is to be said of it, in words."""
        ended = [] if self.trial.is_completed else [self.trial.status]
        before = [f"goes on with {self.trial.predecessor}"] if self.trial.predecessor else []
        return ", ".join(
            [*ended, *["best"] * self.is_best, *["baseline"] * self.is_baseline, *before]
        )


def make_lines(results: SearchResults) -> list[Line]:
    """The table's lines in their order."""
    best = results.best
    sign = -1 if results.higher_is_better else 1

    def order(trial: TrialResult):
        score = sign * trial.score if trial.is_completed else math.inf
        return not trial.is_completed, -(trial.steps or 0), score

    lines = []
    for trial in sorted(results.trials, key=order):
        found = results.gain_over_baseline(trial) if trial.is_completed else None
        gain, steps = found or (None, None)
        lines.append(Line(trial, trial is best, results.is_baseline(trial), gain, steps))
    return lines


def hyperparameter_names(results: SearchResults) -> list[str]:
    """The hyperparameters that have several values, as the space has them."""
    return [each.name for each in tunable([h for t in results.trials for h in t.space])]


def as_cells(results: SearchResults, lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """The table as a person reads it.

    Returns:
        The head, and the cells of every line.
    """
    names = hyperparameter_names(results)
    arrow = "↑" if results.higher_is_better else "↓"
    has_reasons = any(line.trial.message for line in lines)
    head = ["trial", "", "steps", f"{results.objective} {arrow}", "gain"]
    efforts = [each for each in _EFFORTS if any(getattr(line.trial, each) for line in lines)]
    head += [*efforts, *short_names(names)]
    head += ["reason"] * has_reasons
    return head, [
        _cells(line, efforts, names) + [line.trial.message] * has_reasons for line in lines
    ]


def _cells(line: Line, efforts: Sequence[str], names: Sequence[str]) -> list[str]:
    trial = line.trial
    return [
        trial.name,
        line.mark,
        format_steps(trial),
        format_score(trial.score),
        format_gain(line),
        *(_ABSENT if (n := getattr(trial, each)) is None else f"{n:,.0f}" for each in efforts),
        *(format_value(trial.settings[n]) if n in trial.settings else _ABSENT for n in names),
    ]


def format_score(score: float | None) -> str:
    """A value of the objective, or a dash."""
    return _ABSENT if score is None else f"{score:.5g}"


def format_gain(line: Line) -> str:
    """A gain with its sign, and after how many steps where the trial had more."""
    if line.gain is None or line.is_baseline and line.gain == 0:
        return _ABSENT
    text = f"{line.gain:+.3g}"
    return text if line.compared_at == line.trial.steps else f"{text} at {line.compared_at}"


def format_steps(trial: TrialResult) -> str:
    """How many steps a trial had, and of how many where it ended early."""
    if trial.steps is None:
        return _ABSENT
    if trial.steps_made is None or trial.steps_made >= trial.steps:
        return str(trial.steps)
    return f"{trial.steps_made} of {trial.steps}"


def format_csv(results: SearchResults, lines: Sequence[Line]) -> str:
    """Every number as it is, a line per trial; what does not exist is empty."""
    names = hyperparameter_names(results)
    records = [
        {
            "trial": line.trial.name,
            "status": line.trial.status,
            "best": int(line.is_best),
            "baseline": int(line.is_baseline),
            results.objective: line.trial.score,
            "steps": line.trial.steps,
            "steps_made": line.trial.steps_made,
            "gain": line.gain,
            "compared_at_steps": line.compared_at,
            **{each: getattr(line.trial, each) for each in _EFFORTS},
            "predecessor": line.trial.predecessor,
            **{name: line.trial.settings.get(name) for name in names},
            "message": line.trial.message,
        }
        for line in lines
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]) if records else ["trial"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def format_markdown(results: SearchResults, lines: Sequence[Line]) -> list[str]:
    """Lines of Markdown; the best trial is bold."""
    head, body = as_cells(results, lines)
    for line, cells in zip(lines, body, strict=True):
        if line.is_best:
            cells[:] = [f"**{cell}**" if cell else cell for cell in cells]
    return markdown_table(head, body)


def print_table(results: SearchResults, lines: Sequence[Line]) -> None:
    """Prints the table to standard output, as wide as it is where that is not a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    head, body = as_cells(results, lines)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in head:
        is_text = name in ("trial", "", "reason")
        # Names are mostly wider than what is below them.
        table.add_column(Text(name.replace("_", "_\n")), justify="left" if is_text else "right")
    before = None
    for line, cells in zip(lines, body, strict=True):
        kind = line.trial.is_completed, line.trial.steps
        if before is not None and kind[0] and kind != before:
            table.add_section()
        before = kind
        style = "bold green" if line.is_best else "dim" if not line.trial.is_completed else ""
        # Text, or brackets in it would be rich's markup.
        table.add_row(*map(Text, cells), style=style)
    # What reads a file or a pipe has no width that the table would have to be squeezed into.
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
    Console(width=width, highlight=False, emoji=False).print(table)
