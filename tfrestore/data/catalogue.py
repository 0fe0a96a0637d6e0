"""`open_catalogue`, the one place where a command's `--data` gets its meaning."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tfrestore.data import fma, midi_catalogue, midi_files, stem_folders
from tfrestore.data.tracks import Catalogue, audio_files, open_folder
from tfrestore.errors import UsageError

#: What may stand in front of a folder, with a colon, to say what it is.
KINDS = ("folder", "fma", "musdb", "moisesdb", "stems", "maestro", "midi")


def open_catalogue(data: str | Path) -> Catalogue:
    """The catalogue that a command's `--data` names.

    Args:
        data: `demo` (music rendered on the spot), a folder with FMA's layout and its `tracks.csv`,
            with that of MUSDB18-HQ or of MoisesDB, any other folder of stems, one with MAESTRO's
            layout and its CSV, or any other folder of audio files. `fma:PATH`, `musdb:PATH`,
            `moisesdb:PATH`, `stems:PATH`, `maestro:PATH` and `folder:PATH` say which of these, and
            `midi:PATH` is a folder of MIDI files, as is any that has those and no audio files.
            Several of them are joined by a plus sign in front of such a prefix:
            `musdb:PATH+moisesdb:PATH`.

    Raises:
        UsageError: There is no such folder, or no readable audio in it.
    """
    parts = re.split(rf"\+(?=(?:{'|'.join(KINDS)}):)", str(data))
    if len(parts) > 1:
        return _joined([open_catalogue(part) for part in parts], str(data))
    if data == "demo":
        from tfrestore.data.demo import demo_folder

        return open_folder(demo_folder(), source="the demo corpus")
    kind, separator, rest = str(data).partition(":")
    if not separator or kind not in KINDS:
        kind, rest = "", str(data)
    folder = Path(rest).expanduser()
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise UsageError(f"{folder} {what}: give a folder of audio files, or demo.")
    return _open(kind, folder)


def _open(kind: str, folder: Path) -> Catalogue:
    """The catalogue of a folder; its kind is found out where it is empty."""
    if not kind and fma.find_metadata(folder):
        kind = "fma"
    elif not kind:
        is_maestro = midi_catalogue.find_maestro(folder)
        kind = "maestro" if is_maestro else stem_folders.recognise(folder)
    if not kind and not audio_files(folder) and audio_files(folder, midi_files.MIDI_SUFFIXES):
        kind = "midi"
    if kind == "fma":
        return fma.open_fma(folder)
    if kind in stem_folders.KINDS:
        return stem_folders.open_stems(folder, kind)
    if kind == "maestro":
        return midi_catalogue.open_maestro(folder)
    if kind == "midi":
        return midi_catalogue.open_midi(folder)
    return open_folder(folder)


def _joined(catalogues: Sequence[Catalogue], source: str) -> Catalogue:
    """One catalogue of several; names that occur in two of them get the catalogue's number."""
    names = Counter(track.track_id for catalogue in catalogues for track in catalogue)
    tracks = [
        track if names[track.track_id] == 1 else track.below(str(number))
        for number, catalogue in enumerate(catalogues, start=1)
        for track in catalogue
    ]
    return Catalogue(tracks, source, all(catalogue.has_splits for catalogue in catalogues))
