"""Tracks and catalogues of them: of which genre a recording is, and which split it belongs to.

A catalogue knows no samples, only the headers of the files; the pipeline decodes what it needs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tfrestore.audio.reading import AUDIO_SUFFIXES, read_info
from tfrestore.errors import InputError, UsageError

SPLITS = ("train", "validation", "test")

# Sub-folders of these names decide the split of what is in them.
SPLIT_FOLDERS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}

#: A file that is to become a track: its path, its track_id, its genre and its split.
Entry = tuple[Path, str, str, str]

_log = logging.getLogger("tfrestore.data")


@dataclass(frozen=True)
class Track:
    """One recording of a catalogue.

    Attributes:
        path: The file.
        track_id: Its name in tables; in a folder the path below the folder, without suffix.
        sample_rate: In Hz.
        channels: Number of channels.
        frames: Length in samples per channel.
        genre: Lower or upper case as found; `"unknown"` where nothing says it.
        split: `"train"`, `"validation"` or `"test"`.
    """

    path: Path
    track_id: str
    sample_rate: int
    channels: int
    frames: int
    genre: str
    split: str

    @property
    def duration(self) -> float:
        """In seconds."""
        return self.frames / self.sample_rate

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read for it."""
        return (self.path,)

    def below(self, name: str) -> Track:
        """The same track with a name and a slash in front of its own."""
        return dataclasses.replace(self, track_id=f"{name}/{self.track_id}")


class Catalogue(Sequence):
    """An immutable sequence of tracks.

    Args:
        tracks: The tracks, in the order they shall have.
        source: What the user calls it; error messages do too.
        has_splits: Whether whoever made it said which tracks are for the test, so that it is not a
            hash that decides.
    """

    def __init__(self, tracks: Iterable[Track], source: str, has_splits: bool = False):
        self._tracks = tuple(tracks)
        self.source = source
        self.has_splits = has_splits

    def __len__(self) -> int:
        return len(self._tracks)

    def __getitem__(self, index):
        found = self._tracks[index]
        return self._with(found) if isinstance(index, slice) else found

    def __repr__(self) -> str:
        return f"Catalogue({self.source!r}, {len(self)} tracks, {self.total_duration:.0f} s)"

    def _with(self, tracks: Iterable[Track]) -> Catalogue:
        return Catalogue(tracks, self.source, self.has_splits)

    @property
    def genres(self) -> tuple[str, ...]:
        """The genres that occur, sorted."""
        return tuple(sorted({track.genre for track in self}))

    @property
    def total_duration(self) -> float:
        """In seconds."""
        return sum(track.duration for track in self)

    def split(self, name: str) -> Catalogue:
        """The tracks of one split, possibly none; `"all"` is every track.

        Raises:
            UsageError: `name` is not `train`, `validation`, `test` or `all`.
        """
        if name == "all":
            return self
        if name not in SPLITS:
            raise UsageError(f"no split {name!r}: choose one of {', '.join(SPLITS)}, all.")
        return self._with(track for track in self if track.split == name)

    def require(self, name: str) -> Catalogue:
        """The tracks of one split, at least one.

        Raises:
            UsageError: No track belongs to it; the message says how to get some there.
        """
        found = self.split(name)
        if not found:
            raise UsageError(
                f"{self.source} has only {len(self)} track{'s' * (len(self) != 1)}, none of them "
                f"in the {name} split: add tracks, sort them into sub-folders train, validation "
                "and test, or use all of them (--split all) where the command has that."
            )
        return found


def open_folder(
    folder: Path,
    source: str | None = None,
    suffixes: Collection[str] = AUDIO_SUFFIXES,
    read: Callable[[Sequence[Entry], str], list[Track]] | None = None,
) -> Catalogue:
    """All audio files in a folder and its sub-folders, sorted by path; hidden ones are left out.

    A track's identity is its `track_name`. Its hash decides the split (`split_of`), so that neither
    adding other files nor moving the whole folder changes the split of a track. Where there is a
    sub-folder named train, that one and those named val, valid or validation, and test decide
    instead, and only what is in them belongs to the catalogue; so too where all of the music is in
    such sub-folders. The genre is the first sub-folder below (not counting those), else the part of
    the file's name before `__`, else `unknown`.

    Args:
        folder: The folder.
        source: Its name in messages; by default its path.
        suffixes: Of the files, in lower case.
        read: Makes tracks of what is found; by default `read_tracks`.

    Raises:
        UsageError: No readable audio file in it.
    """
    source, read = source or str(folder), read or read_tracks
    paths = [path.relative_to(folder) for path in audio_files(folder, suffixes)]
    split_folders = find_split_folders(paths)
    entries = []
    for path in paths:
        parts, split = path.parts, None
        if split_folders:
            if parts[0] not in split_folders:
                continue
            split, parts = SPLIT_FOLDERS[parts[0].lower()], parts[1:]
        track_id = track_name(path)
        if len(parts) > 1:
            genre = parts[0]
        else:
            prefix, separator, _ = path.stem.partition("__")
            genre = prefix if separator and prefix else "unknown"
        entries.append((folder / path, track_id, genre, split or split_of(track_id)))
    if left_out := len(paths) - len(entries):
        _log.warning(
            "%s: %d audio files outside its sub-folders %s are left out, because those sub-folders "
            "decide the splits.",
            source,
            left_out,
            ", ".join(sorted(split_folders)),
        )
    return Catalogue(read(entries, source), source, bool(split_folders))


def track_name(path: Path) -> str:
    """The name of a recording by its path below the folder it belongs to: without the suffix.

    Its letters are composed (Unicode NFC), whichever way the file system writes them, and its
    slashes are forward ones.
    """
    return unicodedata.normalize("NFC", path.with_suffix("").as_posix())


def find_split_folders(paths: Sequence[Path]) -> set[str]:
    """The names of the sub-folders that decide the splits; none where the hash does.

    Args:
        paths: The audio files, relative to the folder.
    """
    below = {path.parts[0] for path in paths if len(path.parts) > 1}
    named = {name for name in below if name.lower() in SPLIT_FOLDERS}
    all_inside = all(len(path.parts) > 1 and path.parts[0] in named for path in paths)
    # A collection may well have an album called Test.
    has_training = any(SPLIT_FOLDERS[name.lower()] == "train" for name in named)
    return named if has_training or all_inside else set()


def split_of(identity: str) -> str:
    """The split of a track by the hash of its identity: 80 % train, 10 % validation, 10 % test."""
    digest = hashlib.blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    tenth = int.from_bytes(digest, "big") * 10 >> 64
    return "train" if tenth < 8 else SPLITS[tenth - 7]


def read_tracks(entries: Sequence[Entry], source: str) -> list[Track]:
    """Tracks of (path, track_id, genre, split), in order, without those whose header is unreadable.

    Every file left out is a warning in the log `tfrestore.data`.

    Raises:
        UsageError: No file could be read, or there was none.
    """
    with ThreadPoolExecutor(max_workers=8) as threads:
        tracks = [track for track in threads.map(_read_track, entries) if track]
    if not tracks:
        found = f"{len(entries)} audio files, but none can be read" if entries else "no audio files"
        raise UsageError(
            f"{source} has {found}: give a folder with {', '.join(sorted(AUDIO_SUFFIXES))} files."
        )
    return tracks


def _read_track(entry: Entry) -> Track | None:
    path, track_id, genre, split = entry
    try:
        info = read_info(path)
    except InputError as error:
        _log.warning("left out: %s", error)
        return None
    return Track(path, track_id, info.sample_rate, info.channels, info.frames, genre, split)


def audio_files(folder: Path, suffixes: Collection[str] = AUDIO_SUFFIXES) -> list[Path]:
    """Audio files below a folder, sorted, links followed, hidden files and folders left out.

    Args:
        folder: The folder.
        suffixes: Of the files, in lower case.
    """
    found, seen = [], set()
    for parent, names, files in os.walk(folder, followlinks=True, onerror=_warn_of_folder):
        if (real := os.path.realpath(parent)) in seen:
            names.clear()
            continue
        seen.add(real)
        names[:] = sorted(name for name in names if not name.startswith("."))
        found += [
            Path(parent, name)
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes
        ]
    return sorted(found)


def _warn_of_folder(error: OSError) -> None:
    _log.warning("left out: the folder %s cannot be read (%s).", error.filename, error.strerror)
