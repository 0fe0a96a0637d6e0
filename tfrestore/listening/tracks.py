"""Which recordings of several systems belong together: those with the same name.

A name is the path below the system's folder without the suffix: `rock/song.flac` and
`rock/song.mp3` belong together. A `.restored` behind it, which the restore command puts there, does
not count.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfrestore.data.tracks import audio_files, track_name
from tfrestore.errors import UsageError

RESTORED_SUFFIX = ".restored"

_log = logging.getLogger("tfrestore.listening")


@dataclass(frozen=True)
class System:
    """One of those who are compared.

    Attributes:
        name: What it is called in tables.
        folder: Where its recordings are.
    """

    name: str
    folder: Path


def parse_systems(texts: Sequence[str], reserved: Sequence[str] = ()) -> list[System]:
    """Systems written as `NAME=FOLDER`, in the order given.

    Args:
        texts: What the user wrote.
        reserved: Names that something else has.

    Raises:
        UsageError: One is not of that form, a name occurs twice or is taken, or a folder does not
            exist.
    """
    systems: list[System] = []
    for text in texts:
        name, _, folder = text.partition("=")
        name = " ".join(name.split())
        if not name or not folder:
            raise UsageError(f"--systems {text}: write it as NAME=FOLDER.")
        if name in [system.name for system in systems]:
            raise UsageError(f"--systems {text}: there are two systems named {name}; rename one.")
        if name in reserved:
            raise UsageError(f"--systems {text}: the test has a signal named {name}; rename it.")
        systems.append(System(name, existing_folder(folder, f"--systems {text}")))
    return systems


def existing_folder(folder: str, option: str) -> Path:
    """The path of a folder that the user named.

    Raises:
        UsageError: There is no such folder.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "does not exist"
        raise UsageError(f"{option}: {path} {what}; give a folder of audio files.")
    return path


def match_tracks(systems: Sequence[System]) -> dict[str, dict[str, Path]]:
    """The recordings that every system has.

    A name that a system lacks, and one that it has twice, is a warning in the log
    `tfrestore.listening`, a line each.

    Args:
        systems: Those who are compared.

    Returns:
        By the track's name, sorted, and then by the system's: the file.

    Raises:
        UsageError: A system has no recordings, or no name occurs in all of them.
    """
    found = {system.name: _by_name(system) for system in systems}
    for system in systems:
        if not found[system.name]:
            raise UsageError(f"{system.name}: {system.folder} has no audio files; name another.")
    names = sorted(set().union(*found.values()))
    lacking = {name: [each for each in systems if name not in found[each.name]] for name in names}
    if all(lacking.values()):
        raise UsageError(
            f"{', '.join(system.name for system in systems)}: no name occurs in all of them; "
            "recordings that belong together have the same path below their system's folder."
        )
    for name in names:
        if lacking[name]:
            where = ", ".join(f"{system.name} ({system.folder})" for system in lacking[name])
            _log.warning("left out: %s is missing in %s.", name, where)
    return {
        name: {system.name: found[system.name][name] for system in systems}
        for name in names
        if not lacking[name]
    }


def _by_name(system: System) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in audio_files(system.folder):
        name = track_name(path.relative_to(system.folder)).removesuffix(RESTORED_SUFFIX)
        taken = found.setdefault(name, path)
        if taken != path:
            _log.warning("left out: %s, because %s has the same name.", path, taken)
    return found
