"""`python -m tuning.report`: what a search has found so far, as tables, pictures and best.yaml."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from tfrestore.command_line import CommandParser, HelpFormatter, run_command
from tfrestore.errors import InputError, UsageError

EXAMPLES = """\
  python -m tuning.report tuning_runs/a
  python -m tfrestore.train --config tuning_runs/a/best.yaml --out runs/best"""


def make_report_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = CommandParser(
        prog="python -m tuning.report",
        description="Print the trials of a search as a table, those that were trained longest\n"
        "first and of them the best, and write into its folder\n"
        "  report.md, table.csv     the table\n"
        "  report.html              table and pictures on one page, to be opened from the disk\n"
        "  parallel-coordinates.png, importance.png\n"
        "  best.yaml                the best trial's configuration, as train --config takes it.\n"
        "A search may go on meanwhile. Trials that had different numbers of steps (Hyperband) are\n"
        "compared with the preset's own setting after as many steps as both had.",
        epilog=f"examples:\n{EXAMPLES}",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("search", metavar="FOLDER", help="what tuning.search --out named")
    parser.add_argument("--out", metavar="FOLDER", help="where to write; by default into FOLDER")
    parser.add_argument(
        "--trial", metavar="NUMBER", help="write best.yaml of this trial instead of the best"
    )
    return parser


def report(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    from tuning.search_results import read_search

    results = read_search(Path(options.search))
    if not results.completed:
        raise InputError(_nothing_finished(results))

    from tfrestore.complete_files import write_text
    from tfrestore.pictures import figure_picture, write_picture
    from tuning.best_configuration import BEST_FILE, write_best
    from tuning.report_page import make_page
    from tuning.report_text import describe, importance_note, make_markdown
    from tuning.trial_pictures import importance_bars, parallel_coordinates
    from tuning.trial_table import format_csv, make_lines, print_table

    lines = make_lines(results)
    chosen = _chosen(lines, options.trial)
    importances, steps, reason = _importances(results)
    note = reason if importances is None else importance_note(importances, steps)
    pictures = {"parallel-coordinates.png": parallel_coordinates(results)}
    if importances is not None:
        pictures["importance.png"] = importance_bars(importances)
    folder = Path(options.out) if options.out else results.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in pictures.items():
        write_picture(folder / name, figure_picture(figure))
    write_text(folder / "table.csv", format_csv(results, lines))
    write_text(folder / "report.html", make_page(results, lines, importances, note))
    write_text(
        folder / "report.md", make_markdown(results, lines, importances, note, list(pictures))
    )
    print_table(results, lines)
    print("\n".join(["", *describe(results, lines), note]))
    try:
        write_best(results, chosen, folder / BEST_FILE)
    except InputError as error:
        raise InputError(f"{folder / BEST_FILE} is not written: {error}") from None
    print(f"written to {folder}: report.md, report.html, table.csv, {', '.join(pictures)}")
    print(f"python -m tfrestore.train --config {folder / BEST_FILE} --out FOLDER trains it.")
    return 0


def _chosen(lines, name: str | None):
    """The line of the trial that best.yaml is made of."""
    if name is None:
        return next(line for line in lines if line.is_best)
    named = {line.trial.name: line for line in lines if line.trial.is_completed}
    for line in named.values():
        # Zeros in front may be left out.
        if name.lstrip("0") == line.trial.name.lstrip("0"):
            return line
    raise UsageError(
        f"--trial {name}: no such trial has been completed; there are {', '.join(sorted(named))}."
    )


def _importances(results):
    """What matters, after how many steps; or why nothing can be said."""
    from tuning.importance import measure_importance

    steps, compared = results.after_equal_steps()
    sign = 1 if results.higher_is_better else -1
    try:
        found = measure_importance(
            [each for trial, _ in compared for each in trial.space],
            [trial.values for trial, _ in compared],
            [sign * value for _, value in compared],
        )
    except InputError as error:
        return None, steps, f"Importances are not shown: {error}"
    return found, steps, ""


def _nothing_finished(results) -> str:
    counts = Counter(trial.status for trial in results.trials)
    found = ", ".join(f"{number} {status}" for status, number in counts.items()) or "none begun"
    last = next((trial.message for trial in reversed(results.trials) if trial.message), "")
    return (
        f"{results.folder}: no trial has been completed yet ({found}), so there is nothing to "
        f"report; {f'the last said: {last}' if last else 'try again later.'}"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_report_parser(), report, arguments)


if __name__ == "__main__":
    sys.exit(main())
