"""The command line of the programs here."""

from __future__ import annotations

import argparse

from tfrestore.command_line import CommandParser, HelpFormatter


def make_parser(module: str, text: str) -> argparse.ArgumentParser:
    """A parser that introduces itself as `python -m MODULE`.

    Args:
        module: The program's full name, `__spec__.name`: where it runs, `__name__` is another.
        text: Its docstring, whose second paragraph says what is printed.
    """
    return CommandParser(
        prog=f"python -m {module}",
        description=text.split("\n\n")[1].strip(),
        formatter_class=HelpFormatter,
    )
