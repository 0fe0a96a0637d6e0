"""Progress bars with time left on a terminal, and nothing at all where there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """A `rich.progress.Progress` on standard error, silent when that is not a terminal.

    Log lines printed meanwhile appear above the bars; `print_result` is for standard output.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    # Names of files are shown as they are: rich would take brackets in them for its markup.
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        # Otherwise rich would send to standard error what a pipe behind standard output waits for.
        redirect_stdout=False,
        disable=not sys.stderr.isatty(),
    ) as progress:
        yield progress


def print_result(bars: Progress, line: str) -> None:
    """Prints a line to standard output at once, above the bars where both are on a terminal."""
    if sys.stdout.isatty() and not bars.disable:
        bars.console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
    else:
        print(line, flush=True)
