"""What holds for every file of sound that is written: its sample format, its folder, its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tfrestore.complete_files import folder_beside
from tfrestore.errors import AudioFileError, InputError, UsageError

if TYPE_CHECKING:
    from tfrestore.audio.reading import AudioInfo

# The narrowest sample format that holds every sample of these libsndfile subtypes.
_EQUAL_SUBTYPES = {
    "PCM_U8": "16",
    "PCM_S8": "16",
    "PCM_16": "16",
    "PCM_24": "24",
    "PCM_32": "32",
    "FLOAT": "float",
    "DOUBLE": "float",
}


def matching_subtype(info: AudioInfo, target: str | os.PathLike) -> str | None:
    """The sample format of an output whose user asked for none: the input's, where there is one.

    Args:
        info: What the input's header says.
        target: The output; its suffix is the format.

    Returns:
        A name of `tfrestore.audio.writable_subtypes`, or `None` for the format's usual one: 24 bits
        for WAV, FLAC and AIFF of compressed inputs.

    Raises:
        UsageError: if no such format can be written.
    """
    from tfrestore.audio.writing import writable_subtypes

    subtype = _EQUAL_SUBTYPES.get(info.subtype)
    return subtype if subtype in writable_subtypes(target) else None


def check_not_the_source(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Refuses to write over the file that is read, under whatever name or link.

    Raises:
        UsageError: if both are one file.
    """
    if os.path.exists(source) and os.path.exists(target) and os.path.samefile(source, target):
        raise UsageError(f"{target} is the input itself; choose another name for the output.")


def make_folder(folder: str | os.PathLike) -> None:
    """Makes a folder for outputs, and those above it, where they do not exist.

    Raises:
        AudioFileError: if that cannot be done.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudioFileError(
            f"{folder}: this folder cannot be made ({error.strerror}); choose another with -o."
        ) from None


@contextmanager
def complete_folder(target: Path, replace: bool = False) -> Iterator[Path]:
    """A folder for `--out`: `tfrestore.complete_files.folder_beside` with the user's sentence.

    Args:
        target: The folder; must not exist, or be empty.
        replace: Whether one that is not empty is replaced.

    Raises:
        InputError: if it cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with folder_beside(target, replace) as beside:
            yield beside
    except OSError as error:
        raise InputError(
            f"{target}: cannot be written ({error.strerror}); free space, or choose another --out."
        ) from None
