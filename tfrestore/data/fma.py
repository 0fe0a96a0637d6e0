"""FMA (Defferrard et al., "FMA: A Dataset for Music Analysis", 2017), split as in Serra et al.

Serra et al. (WebMedia 2021), Table 1: of eight genres 800 clips train and 200 validate, the rest is
for the test; eight more genres are only tested. 1000 clips of each of these eight genres are what
`fma_small` consists of, so the clips of that subset come first here; the paper does not list its
own.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tfrestore.audio.reading import AUDIO_SUFFIXES
from tfrestore.data.tracks import Catalogue, read_tracks
from tfrestore.errors import UsageError

TRAINING_GENRES = (
    "Electronic",
    "Experimental",
    "Rock",
    "Hip-Hop",
    "Folk",
    "Instrumental",
    "Pop",
    "International",
)
TEST_GENRES = (
    "Classical",
    "Historic",
    "Jazz",
    "Country",
    "Soul-RnB",
    "Spoken",
    "Blues",
    "Easy Listening",
)
TRAIN_PER_GENRE = 800
VALIDATION_PER_GENRE = 200

# FMA's own name of a genre where the paper's differs.
_PAPER_NAMES = {"Old-Time / Historic": "Historic"}

_AUDIO_FOLDERS = ("fma_small", "fma_medium", "fma_large", "fma_full", ".")

_log = logging.getLogger("tfrestore.data")


@dataclass(frozen=True)
class Row:
    """What `tracks.csv` says of a track: number, the paper's name of its genre, subset."""

    number: int
    genre: str
    subset: str


def find_metadata(folder: Path) -> Path | None:
    """Where FMA's `tracks.csv` of a folder is, or None when it is not FMA.

    It is looked for in `fma_metadata/` and in the folder itself, and for a folder whose name begins
    with `fma_` also in `fma_metadata/` beside it. A file of that name without FMA's header is not
    FMA.
    """
    places = [folder / "fma_metadata" / "tracks.csv", folder / "tracks.csv"]
    if folder.resolve().name.startswith("fma_"):
        places.append(folder.resolve().parent / "fma_metadata" / "tracks.csv")
    return next((place for place in places if place.is_file() and _is_fma(place)), None)


def open_fma(folder: Path) -> Catalogue:
    """The tracks of FMA that are on the disk, by number, with the paper's split.

    Args:
        folder: Holds `fma_metadata/tracks.csv` (see `find_metadata`) and, in `fma_small`,
            `fma_medium`, `fma_large`, `fma_full` or itself, audio as `000/000002.mp3` (or another
            audio suffix). Tracks without one of the paper's sixteen genres are left out.

    Raises:
        UsageError: There is no `tracks.csv` of FMA, it cannot be read, or there is no readable
            track.
    """
    metadata = find_metadata(folder)
    if metadata is None:
        raise UsageError(
            f"{folder} has no tracks.csv of FMA: unpack fma_metadata.zip into it, beside fma_small."
        )
    rows = read_rows(metadata)
    splits = paper_splits(rows)
    files = _audio_by_number(folder)
    entries = [
        (files[row.number], f"{row.number:06d}", row.genre, splits[row.number])
        for row in sorted(rows, key=lambda row: row.number)
        if row.number in files
    ]
    if left_out := len(files) - len(entries):
        _log.warning(
            "%s: %d tracks without one of the paper's sixteen genres are left out.",
            folder,
            left_out,
        )
    return Catalogue(read_tracks(entries, str(folder)), str(folder), has_splits=True)


def read_rows(metadata: Path) -> list[Row]:
    """The tracks of `tracks.csv` that have one of the paper's genres.

    Raises:
        UsageError: The file cannot be read, or a row of it is not as FMA's are.
    """
    # A biography may be longer than the csv module allows, whose limit is one for all readers.
    limit = csv.field_size_limit(2**24)
    try:
        with open(metadata, newline="", encoding="utf-8") as file:
            lines = csv.reader(file)
            columns = _columns(lines)
            genre, subset = columns["track", "genre_top"], columns["set", "subset"]
            rows = []
            for line in lines:
                name = _PAPER_NAMES.get(line[genre], line[genre])
                if name in TRAINING_GENRES or name in TEST_GENRES:
                    rows.append(Row(int(line[0]), name, line[subset]))
            return rows
    except (OSError, ValueError, IndexError, KeyError, csv.Error) as error:
        raise UsageError(
            f"{metadata} is not FMA's tracks.csv ({error}): unpack fma_metadata.zip again."
        ) from error
    finally:
        csv.field_size_limit(limit)


def paper_splits(rows: list[Row]) -> dict[int, str]:
    """The split of every track by its number.

    Within a training genre the tracks of `fma_small` come first and then the others, both in the
    order of a hash of their numbers: neither the order of the rows nor which files exist has a say.
    """
    splits = {row.number: "test" for row in rows}
    by_genre = defaultdict(list)
    for row in rows:
        by_genre[row.genre].append(row)
    for genre in TRAINING_GENRES:
        ordered = sorted(
            by_genre[genre], key=lambda row: (row.subset != "small", _hash(row.number))
        )
        for place, row in enumerate(ordered[: TRAIN_PER_GENRE + VALIDATION_PER_GENRE]):
            splits[row.number] = "train" if place < TRAIN_PER_GENRE else "validation"
    return splits


def _hash(number: int) -> bytes:
    return hashlib.blake2b(f"{number:06d}".encode(), digest_size=8).digest()


def _columns(lines: Iterator[list[str]]) -> dict[tuple[str, str], int]:
    """Column numbers by the first two of the three header rows; the third names the index."""
    first, second, third = next(lines, []), next(lines, []), next(lines, [])
    if third[:1] != ["track_id"]:
        raise ValueError("its third row does not begin with track_id")
    return {pair: number for number, pair in enumerate(zip(first, second, strict=False))}


def _is_fma(metadata: Path) -> bool:
    try:
        with open(metadata, newline="", encoding="utf-8") as file:
            return ("track", "genre_top") in _columns(csv.reader(file))
    except (OSError, ValueError, csv.Error):
        return False


def _audio_by_number(folder: Path) -> dict[int, Path]:
    """Files of FMA's layout by track number; of a track in several subsets, the smallest's."""
    files: dict[int, Path] = {}
    for name in _AUDIO_FOLDERS:
        for path in sorted((folder / name).glob("[0-9][0-9][0-9]/*")):
            if re.fullmatch(r"\d{6}", path.stem) and path.suffix.lower() in AUDIO_SUFFIXES:
                files.setdefault(int(path.stem), path)
    return files
