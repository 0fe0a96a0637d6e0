"""Catalogues of MIDI files: MAESTRO's, and folders of them.

A track of such a catalogue has no samples until an instrument plays it (`MidiPairs`,
`instruments:INPUT:TARGET`); its length is counted at 44.1 kHz and is known without that.

MAESTRO (Hawthorne et al., "Enabling Factorized Piano Music Modeling and Generation with the MAESTRO
Dataset", 2019) is what Sifringer et al. (2020) render; its CSV says which split a piece belongs to.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

from tfrestore.data.midi_files import MIDI_SUFFIXES
from tfrestore.data.midi_rendering import piece_length
from tfrestore.data.sound_font import SYNTHESIZER_RATE
from tfrestore.data.tracks import SPLITS, Catalogue, Entry, Track, open_folder, track_name
from tfrestore.errors import InputError, UsageError

MAESTRO_COLUMNS = (
    "canonical_composer",
    "canonical_title",
    "split",
    "year",
    "midi_filename",
    "audio_filename",
    "duration",
)

_log = logging.getLogger("tfrestore.data")


def open_midi(folder: Path) -> Catalogue:
    """All MIDI files below a folder; names, splits and genres are those of `open_folder`.

    A file that cannot be used, or has no notes, is left out with a line in the log.

    Args:
        folder: The folder.

    Raises:
        UsageError: if there is no MIDI file in it that can be used.
    """
    return open_folder(folder, suffixes=MIDI_SUFFIXES, read=_read_tracks)


def find_maestro(folder: Path) -> Path | None:
    """Where MAESTRO's CSV of a folder is, or None when it is not MAESTRO."""
    return next((path for path in sorted(folder.glob("*.csv")) if _is_maestro(path)), None)


def open_maestro(folder: Path) -> Catalogue:
    """The pieces of MAESTRO that are on the disk, in the order and with the splits of its CSV.

    A piece's genre is its composer. Its length is the CSV's, so that 1276 files need not be read.

    Args:
        folder: Holds the CSV and, where it says so, the MIDI files; audio files are not needed.

    Raises:
        UsageError: if there is no such CSV, it cannot be read, or no piece is there.
    """
    metadata = find_maestro(folder)
    if metadata is None:
        raise UsageError(
            f"{folder} has no CSV of MAESTRO (columns {', '.join(MAESTRO_COLUMNS)}): unpack its "
            "archive, which has it beside the folders of the years."
        )
    tracks, missing = [], 0
    try:
        with open(metadata, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                path, split = Path(row["midi_filename"]), row["split"]
                if split not in SPLITS:
                    raise ValueError(f"there is a split {split!r}")
                if not (folder / path).is_file():
                    missing += 1
                    continue
                frames = round(float(row["duration"]) * SYNTHESIZER_RATE)
                tracks.append(
                    _track(
                        folder / path, track_name(path), row["canonical_composer"], split, frames
                    )
                )
    except (OSError, ValueError, TypeError, KeyError, OverflowError, csv.Error) as error:
        raise UsageError(
            f"{metadata} is not MAESTRO's CSV ({error}): unpack its archive again."
        ) from None
    if not tracks:
        raise UsageError(
            f"{folder} has MAESTRO's CSV, but none of its MIDI files: unpack them too."
        )
    if missing:
        _log.warning("%s: %d pieces of its CSV are not there.", folder, missing)
    return Catalogue(tracks, str(folder), has_splits=True)


def _is_maestro(metadata: Path) -> bool:
    try:
        with open(metadata, newline="", encoding="utf-8") as file:
            return set(MAESTRO_COLUMNS) <= set(next(csv.reader(file), []))
    except (OSError, ValueError, csv.Error):
        return False


def _read_tracks(entries: Sequence[Entry], source: str) -> list[Track]:
    tracks = []
    for path, track_id, genre, split in entries:
        try:
            frames = piece_length(path)
        except InputError as error:
            _log.warning("left out: %s", error)
            continue
        tracks.append(_track(path, track_id, genre, split, frames))
    if not tracks:
        found = f"{len(entries)} MIDI files, but none can be used" if entries else "no MIDI files"
        raise UsageError(
            f"{source} has {found}: give a folder with {', '.join(sorted(MIDI_SUFFIXES))} files."
        )
    return tracks


def _track(path: Path, track_id: str, genre: str, split: str, frames: int) -> Track:
    return Track(path, track_id, SYNTHESIZER_RATE, 1, max(1, frames), genre, split)
