"""What keeps a log readable when one thing goes wrong many times."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def each_line_once(log: logging.Logger) -> Iterator[None]:
    """Keeps a damaged file from being told of whenever an excerpt of it is read.

    Args:
        log: A logger; while the `with` block lasts, each of its lines is logged once.
    """
    told = set()

    def is_new(record: logging.LogRecord) -> bool:
        line = record.getMessage()
        return line not in told and not told.add(line)

    log.addFilter(is_new)
    try:
        yield
    finally:
        log.removeFilter(is_new)
