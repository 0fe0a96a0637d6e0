"""What the commands share: how they start, how a mistake ends them, which options several have."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable

from tfrestore.errors import InputError


def run_command(
    parser: argparse.ArgumentParser,
    command: Callable[[argparse.Namespace], int],
    arguments: list[str] | None,
) -> int:
    """Parses, runs, and turns what a person can mend into one line and an exit code.

    Args:
        parser: the command's parser.
        command: takes the parsed arguments and returns an exit code.
        arguments: the words behind the command; `None` takes the process's.

    Returns:
        The command's own code; 1 or 2 after an `InputError`, by its kind; 130 after Ctrl-C.
    """
    options = parser.parse_args(arguments)
    # TensorFlow's C++ start-up messages are not for the person at the keyboard.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _log_to_standard_error()
    try:
        return command(options)
    except InputError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output has gone; Python would complain once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _log_to_standard_error() -> None:
    logger = logging.getLogger("tfrestore")
    if logger.handlers:
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        handler: logging.Handler = RichHandler(
            console=Console(stderr=True), show_path=False, show_level=False
        )
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of descriptions and shows defaults that are not `None`."""

    def _get_help_string(self, action):
        if action.default in (None, False, []):
            return action.help
        return super()._get_help_string(action)


def make_parser(command: str, description: str, examples: str = "") -> argparse.ArgumentParser:
    """A parser that introduces itself as `tfrestore COMMAND`."""
    return argparse.ArgumentParser(
        prog=f"tfrestore {command}",
        description=description,
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=HelpFormatter,
    )
