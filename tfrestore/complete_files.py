"""Files and folders that appear complete or not at all.

What is written lies in a hidden folder beside its place and is renamed at the end: who reads in the
meantime, and who comes after a failure or a killed process, finds the old or the new, never a part.
The hidden name is none that a watching model server takes for a version. All of it raises
`OSError`, which is the caller's to put into a sentence.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PARTIAL = ".partial-"


@contextmanager
def file_beside(path: Path) -> Iterator[Path]:
    """A path to write a file at, of the same name; at the end it is `path`, or it vanishes.

    Args:
        path: The file, in a folder that is there; one that exists is replaced.
    """
    path = _target(path)
    with _hidden_folder(path.parent) as folder:
        yield folder / path.name
        os.replace(folder / path.name, path)


@contextmanager
def folder_beside(path: Path, replace: bool = False) -> Iterator[Path]:
    """An empty folder to write into; at the end it is `path`, or it vanishes.

    Args:
        path: The folder, in one that is there; must not exist, or be empty.
        replace: Whether a folder with something in it is replaced. It is moved aside, to come back
            if the new one cannot take its place, and removed only then; a process that is killed
            between the two leaves it under a hidden name that ends in `.old`.
    """
    path = _target(path)
    with _hidden_folder(path.parent) as folder:
        yield folder
        if not (replace and path.exists()):
            os.replace(folder, path)
            return
        old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
        os.replace(path, old)
        try:
            os.replace(folder, path)
        except BaseException:
            os.replace(old, path)
            raise
        shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes a small text file, UTF-8 with the line ends as given."""
    with file_beside(path) as beside:
        # A file name that is not valid UTF-8 comes out as the bytes it is.
        beside.write_text(text, "utf-8", "surrogateescape", newline="")


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes were writing in a folder."""
    for path in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(path, ignore_errors=True)


def _target(path: Path) -> Path:
    """What a path stands for: a link stays, and what it leads to is replaced."""
    return Path(os.path.realpath(path))


@contextmanager
def _hidden_folder(parent: Path) -> Iterator[Path]:
    # Unlike one of `tempfile`, it has the permissions of any folder that is made here.
    folder = parent / f"{_PARTIAL}{secrets.token_hex(8)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
