"""What the commands share: how they start, and how a mistake or an interruption ends them."""

from __future__ import annotations

import argparse
import logging
import math
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tfrestore.errors import InputError, UsageError

# Requests to end that would otherwise leave half-written files behind. Windows has no SIGHUP.
_TERMINATIONS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _Terminated(BaseException):
    """The process was asked to end by a signal."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


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
        The command's own code; 0 after `--help`; 1 or 2 after an `InputError`, by its kind; 2 for
        options that do not exist; 1 where the system refuses (a full disk); 130 after Ctrl-C and
        128 plus the signal's number after a request to end.
    """
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:
        return end.code
    # TensorFlow's C++ start-up messages are not for the person at the keyboard.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if hasattr(sys.stdout, "reconfigure"):
        # A file name that is not valid in the terminal's encoding comes out as the bytes it is.
        sys.stdout.reconfigure(errors="surrogateescape")
    with ExitStack() as stack:
        try:
            stack.enter_context(_unwinding_when_terminated())
            stack.enter_context(_log_to_standard_error())
            stack.enter_context(_without_library_warnings())
            return command(options)
        except InputError as error:
            return _end(parser, error, error.exit_code)
        except KeyboardInterrupt:
            return _end(parser, "interrupted", 130)
        except _Terminated as end:
            return _end(parser, "terminated", 128 + end.number)
        except BrokenPipeError:
            # Whoever read the output has gone; Python would complain once more when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            reason = error.strerror or str(error)
            return _end(parser, f"{where}{reason}; free space, or choose another place.", 1)


def _end(parser: argparse.ArgumentParser, message: object, code: int) -> int:
    print(f"{parser.prog}: {message}", file=sys.stderr)
    return code


@contextmanager
def _unwinding_when_terminated() -> Iterator[None]:
    """Makes a request to end unwind as Ctrl-C does, so that nothing half-written is left."""

    def terminate(number, frame):
        raise _Terminated(number)

    # Python lets no other thread than the main one set handlers.
    in_main_thread = threading.current_thread() is threading.main_thread()
    # Whoever has a signal ignored (nohup) goes on having it ignored.
    numbers = [n for n in _TERMINATIONS if in_main_thread and signal.getsignal(n) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, terminate)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def _log_to_standard_error() -> Iterator[None]:
    """Shows what the package logs, for as long as the command runs."""
    logger = logging.getLogger("tfrestore")
    if logger.handlers:
        # One command runs inside another, or inside a program that has its own way of logging.
        yield
        return
    before = logger.level, logger.propagate
    handler = _make_handler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def _make_handler() -> logging.Handler:
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        return RichHandler(
            console=Console(stderr=True),
            show_path=False,
            show_level=False,
            log_time_format="%H:%M:%S",
        )
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    return handler


@contextmanager
def _without_library_warnings() -> Iterator[None]:
    """Keeps what libraries tell programmers off the screen, unless Python was started with -W."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of descriptions and shows defaults that are not `None`."""

    def _get_help_string(self, action):
        if action.default in (None, False, []):
            return action.help
        return super()._get_help_string(action)


class CommandParser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str):
        """Ends the parsing with the line and exit code 2."""
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help describes the options.\n")


def seed(text: str) -> int:
    """The type of `--seed` options: what NumPy's and our own generators take."""
    number = integer(text)
    if not 0 <= number < 2**64:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 2**64 - 1")
    return number


def integer(text: str) -> int:
    """The type of options that are integers.

    Raises:
        argparse.ArgumentTypeError: if the text is none.
    """
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def not_negative_integer(text: str) -> int:
    """The type of options that count something of which there may be none."""
    number = integer(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return number


def positive_integer(text: str) -> int:
    """The type of options that count something."""
    number = integer(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def positive_number(text: str) -> float:
    """The type of options that measure something."""
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return number


def available_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def named_folders(
    texts: Iterable[str], option: str, reserved: Sequence[str] = ()
) -> dict[str, str]:
    """Folders by the names that they shall have in tables.

    Args:
        texts: Each `NAME=FOLDER`, or a folder, which is called by its own name.
        option: The option they were given with, for messages.
        reserved: Names that mean something else.

    Raises:
        UsageError: if two have one name, or one has a reserved name.
    """
    folders: dict[str, str] = {}
    for text in texts:
        name, separator, folder = text.partition("=")
        if not separator or not name or os.sep in name:
            name, folder = os.path.basename(os.path.abspath(text)), text
        if name in folders or name in reserved:
            raise UsageError(
                f"{option}: the name {name!r} is taken; give {folder} another, as in a={folder}."
            )
        folders[name] = folder
    return folders


def make_parser(command: str, description: str, examples: str = "") -> argparse.ArgumentParser:
    """A parser that introduces itself as `tfrestore COMMAND`."""
    return CommandParser(
        prog=f"tfrestore {command}",
        description=description,
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=HelpFormatter,
    )
