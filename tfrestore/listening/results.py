"""Reads what listeners sent: one JSON file per session, checked before a number is taken from it.

A file counts as a whole or not at all. Of several files of one session (a listener who looked at
the answers again, a file that was copied) the one that was finished last counts, and of files of
different pages those of the page that has most of them.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tfrestore.errors import InputError, UsageError
from tfrestore.listening.key import Key, unpack_key

FORMAT = "tfrestore-listening-test-results"
VERSION = 1

#: The lowest and the highest rating of each mode.
RANGES = {"mos": (1, 5), "mushra": (0, 100)}

_MOST_BYTES = 1 << 26

_log = logging.getLogger("tfrestore.listening")


@dataclass(frozen=True)
class Results:
    """The answers of one session.

    Attributes:
        path: The file.
        session: The session's identity.
        listener: The name or number that the listener gave; may be empty.
        finished: When, in seconds since 1970; minus infinity where that is not said.
        key: What the page's opaque names mean.
        key_word: The same as it is in the file.
        ratings: By opaque name.
    """

    path: Path
    session: str
    listener: str
    finished: float
    key: Key
    key_word: str
    ratings: dict[str, float]

    @property
    def label(self) -> str:
        """What the listener is called in tables: the name given, or the file's."""
        return " ".join(self.listener.split()) or self.path.name


def find_results(names: Sequence[str]) -> list[Path]:
    """Files of results: those named, and all that end in `.json` in the folders named.

    Raises:
        UsageError: A name does not exist, or a folder holds no such file.
    """
    paths: list[Path] = []
    for name in names:
        path = Path(name)
        if not path.exists():
            raise UsageError(f"{name} does not exist; name results files, or folders of them.")
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not files:
            raise UsageError(f"{name}: this folder has no .json files.")
        paths += [file for file in files if file not in paths]
    return paths


def collect_results(paths: Iterable[Path]) -> tuple[list[Results], list[Path]]:
    """Reads files of results and keeps those that count; says of every other why it does not.

    Args:
        paths: The files.

    Returns:
        The results of one page, a session each, in the order of the files; and the files that could
        not be read.

    Raises:
        InputError: No file can be used.
    """
    found, broken = [], []
    for path in paths:
        try:
            found.append(read_results(path))
        except InputError as error:
            _log.error("left out: %s", error)
            broken.append(path)
    if not found:
        raise InputError(f"none of the {len(broken)} files holds results of a listening test.")
    return _latest_of_each_session(_most_frequent_page(found)), broken


def read_results(path: Path) -> Results:
    """Reads and checks one file.

    Raises:
        InputError: It is not a results file, or something in it is wrong.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    if len(data) > _MOST_BYTES:
        raise InputError(f"{path} is too large for a results file.")
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        raise InputError(f"{path} is not JSON; ask for the file again.") from None
    try:
        return _parse(path, record)
    except ValueError as error:
        raise InputError(f"{path}: {error}.") from None


def _parse(path: Path, record: object) -> Results:
    """Raises `ValueError` with what is wrong, in a few lower-case words."""
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError("this is no results file of a listening test")
    if record.get("version") != VERSION:
        raise ValueError("its format is of another version of tfrestore")
    session, listener, word = (record.get(name) for name in ("session", "listener", "key"))
    if not (isinstance(session, str) and session):
        raise ValueError("it does not name its session")
    if not isinstance(listener, str):
        raise ValueError("its listener is not text")
    if not isinstance(word, str):
        raise ValueError("its key is missing")
    key = unpack_key(word)
    if record.get("page") != key.page or record.get("mode") != key.mode:
        raise ValueError("its key belongs to another page")
    return Results(
        path,
        session,
        listener.encode("utf-8", "replace").decode(),
        _parse_time(record.get("finished")),
        key,
        word,
        _parse_ratings(record.get("ratings"), key),
    )


def _parse_ratings(entries: object, key: Key) -> dict[str, float]:
    if not isinstance(entries, list) or not entries:
        raise ValueError("it holds no ratings")
    low, high = RANGES[key.mode]
    ratings: dict[str, float] = {}
    for entry in entries:
        item = entry.get("item") if isinstance(entry, dict) else None
        if not isinstance(item, str) or item not in key.items:
            raise ValueError("a rating is of something that its page does not have")
        rating = entry.get("rating")
        if type(rating) not in (int, float) or not low <= rating <= high:
            raise ValueError(f"a rating is not a number from {low} to {high}")
        if key.mode == "mos" and rating != int(rating):
            raise ValueError("a rating is not one of the five levels")
        if item in ratings:
            raise ValueError("it rates something twice")
        ratings[item] = float(rating)
    return ratings


def _parse_time(text: object) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return -math.inf


def _most_frequent_page(found: list[Results]) -> list[Results]:
    counts = Counter((results.key.page, results.key_word) for results in found)
    ((page, word), _), *_ = counts.most_common(1)
    for results in found:
        if results.key.page != page:
            _log.warning(
                "left out: %s belongs to another page, %r; report that one by itself.",
                results.path,
                results.key.title,
            )
        elif results.key_word != word:
            _log.warning("left out: %s has another key than the other files.", results.path)
    return [results for results in found if results.key_word == word]


def _latest_of_each_session(found: list[Results]) -> list[Results]:
    latest: dict[str, Results] = {}
    for results in found:
        other = latest.get(results.session)
        if other is None:
            latest[results.session] = results
            continue
        older, newer = sorted([other, results], key=lambda each: each.finished)
        _log.warning(
            "left out: %s is of the same session as %s, which is later.", older.path, newer.path
        )
        latest[results.session] = newer
    return list(latest.values())
