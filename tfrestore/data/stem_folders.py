"""Folders of stems: MUSDB18-HQ, MoisesDB, and what people have on their disks.

- `musdb` (Rafii et al., "MUSDB18-HQ", 2019): `train/SONG/` and `test/SONG/` with `mixture.wav`,
  `vocals.wav`, `drums.wav`, `bass.wav` and `other.wav`. The fourteen songs that its tools set aside
  for validation are the validation split; of a `train` folder without any of them, a hash decides.
- `moisesdb` (Pereira et al., "MoisesDB", ISMIR 2023): a folder per song, anywhere below, with
  `data.json` and a folder per instrument. It has no splits; a hash of the song's folder decides.
- `stems`: either a folder per instrument (`drums/beat.wav`, files of one name in several of them
  being one song), or a folder per song (`my song/drums.wav`). Names of instruments tell which.
  Sub-folders train, valid and test decide the splits, as in any folder of music; otherwise a hash
  of the song's name does.

No song is in two splits. The genre of a track is its kind of content: `mixed content` for mixtures,
`vocals` or `single instrument` for stems of MUSDB18-HQ and MoisesDB (MUSDB's `other` holds several
instruments and is mixed content), and for other folders the instrument.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tfrestore.audio.reading import AUDIO_SUFFIXES
from tfrestore.data.songs import MIXED, SINGLE, VOCALS, Song, Stem
from tfrestore.data.tracks import (
    SPLIT_FOLDERS,
    Catalogue,
    Track,
    audio_files,
    find_split_folders,
    read_tracks,
    split_of,
    track_name,
)
from tfrestore.errors import UsageError

KINDS = ("musdb", "moisesdb", "stems")

MUSDB_STEMS = {"vocals": VOCALS, "drums": SINGLE, "bass": SINGLE, "other": MIXED}

# The songs that `musdb`, the data set's Python package, takes for validation.
MUSDB_VALIDATION = frozenset(
    {
        "ANiMAL - Rockshow",
        "Actions - One Minute Smile",
        "Alexander Ross - Goodbye Bolero",
        "Clara Berry And Wooldog - Waltz For My Victims",
        "Fergessen - Nos Palpitants",
        "James May - On The Line",
        "Johnny Lokke - Promises & Lies",
        "Leaf - Summerghost",
        "Meaxic - Take A Step",
        "Patrick Talbot - A Reason To Leave",
        "Skelpolu - Human Mistakes",
        "Traffic Experiment - Sirens",
        "Triviul - Angelsaint",
        "Young Griffo - Pennies",
    }
)

_MIXTURES = {"mix", "mixture", "mixdown", "fullmix", "full", "master"}

# Words that name an instrument, or a group of them, in files and folders of stems.
_INSTRUMENTS = frozenset(
    "vocals vocal vox voice voices choir singer lead backing drums drum kick snare hihat hat hats "
    "toms tom cymbal cymbals overheads percussion perc bass guitar guitars piano keys keyboard "
    "keyboards organ synth synths pad pads strings string violin viola cello brass horns trumpet "
    "trombone sax saxophone winds wind woodwinds flute clarinet bells marimba accordion banjo "
    "mandolin harp harmonica other accompaniment".split()
)

# A folder is taken for one of stems, unasked, where so many of its names are of instruments.
_ENOUGH = 2 / 3


@dataclass
class _SongFiles:
    """The files of a song.

    Attributes:
        folder: Where they are; where they lie in several folders, one that there is not, of the
            song's name below the catalogue's.
        split: Where it belongs.
        mixture: The file with the mixture.
        stems: Files, each with instrument and genre.
    """

    folder: Path
    split: str
    mixture: Path | None = None
    stems: list[tuple[Path, str, str]] = field(default_factory=list)


def recognise(folder: Path) -> str:
    """Which of `KINDS` a folder is, by what lies in it; empty if it is none.

    A folder of music is not taken for one of stems unless at least two and two thirds of its
    sub-folders are called like instruments, or two thirds of its songs have stems called so.
    """
    if _musdb_songs(folder):
        return "musdb"
    if _moisesdb_songs(folder):
        return "moisesdb"
    paths = [path.relative_to(folder) for path in audio_files(folder)]
    split_folders = find_split_folders(paths)
    parts = [_below(path, split_folders)[1] for path in paths]
    by_folder, by_file = _likeness(parts)
    folders = {each[0] for each in parts if len(each) > 1}
    return "stems" if len(folders) > 1 and max(by_folder, by_file) >= _ENOUGH else ""


def open_stems(folder: Path, kind: str) -> Catalogue:
    """The songs of a folder: `Song` where there is a mixture, or several stems, otherwise `Stem`.

    Args:
        folder: The folder.
        kind: One of `KINDS`.

    Raises:
        UsageError: if it is not of this kind, or none of its files can be read.
    """
    source = str(folder)
    has_splits = False
    if kind == "musdb":
        songs, has_splits = _musdb(folder), True
    elif kind == "moisesdb":
        songs = _moisesdb(folder)
    else:
        songs, has_splits = _any_stems(folder)
    entries = []
    for name, song in songs.items():
        if song.mixture:
            entries.append((song.mixture, name, MIXED, song.split))
        for path, _, genre in song.stems:
            identity = track_name(path.relative_to(folder))
            entries.append((path, identity, genre, song.split))
    if not entries:
        raise UsageError(f"{folder} has no stems: {_WANTED[kind]}.")
    found = {track.path: track for track in read_tracks(entries, source)}
    tracks = [_as_track(name, song, found) for name, song in songs.items()]
    tracks = [track for track in tracks if track]
    return Catalogue(sorted(tracks, key=lambda track: track.track_id), source, has_splits)


_WANTED = {
    "musdb": "MUSDB18-HQ has folders train and test with a folder per song, in which mixture.wav, "
    "vocals.wav, drums.wav, bass.wav and other.wav lie (MUSDB18's .stem.mp4 have to be decoded "
    "first)",
    "moisesdb": "MoisesDB has a folder per song with data.json and a folder per instrument",
    "stems": "give a folder per instrument (drums/beat.wav), or a folder per song "
    "(my song/drums.wav)",
}


def _as_track(name: str, song: _SongFiles, found: dict[Path, Track]) -> Track | None:
    """A song as a track of a catalogue; `None` if none of its files could be read."""
    stems = tuple(
        Stem(**vars(found[path]), instrument=instrument)
        for path, instrument, _ in song.stems
        if path in found
    )
    mixture = found.get(song.mixture)
    if mixture:
        return Song(**vars(mixture), has_mixture=True, stems=stems) if stems else mixture
    if len(stems) < 2:
        return stems[0] if stems else None
    rate = max(stem.sample_rate for stem in stems)
    return Song(
        path=song.folder,
        track_id=name,
        sample_rate=rate,
        channels=max(stem.channels for stem in stems),
        frames=round(max(stem.duration for stem in stems) * rate),
        genre=MIXED,
        split=song.split,
        has_mixture=False,
        stems=stems,
    )


def _musdb_songs(folder: Path) -> list[Path]:
    """The folders of songs of MUSDB18-HQ: what lies in its `train` and `test`, or in the folder."""
    places = [each for each in _folders(folder) if each.name.lower() in SPLIT_FOLDERS] or [folder]
    return [song for place in places for song in _folders(place) if _is_musdb_song(song)]


def _is_musdb_song(folder: Path) -> bool:
    return {"mixture", "vocals"} <= {path.stem.lower() for path in _audio_in(folder)}


def _musdb(folder: Path) -> dict[str, _SongFiles]:
    found = _musdb_songs(folder)
    splits = {path: SPLIT_FOLDERS.get(path.parent.name.lower(), "") for path in found}
    needs_validation = "validation" not in splits.values() and not any(
        path.name in MUSDB_VALIDATION for path in found
    )
    songs = {}
    for path, split in splits.items():
        if not split:
            split = split_of(path.name)
        elif split == "train" and (
            path.name in MUSDB_VALIDATION
            or (needs_validation and split_of(path.name) == "validation")
        ):
            split = "validation"
        song = _SongFiles(path, split)
        for file in _audio_in(path):
            name = file.stem.lower()
            if name == "mixture":
                song.mixture = file
            elif name in MUSDB_STEMS:
                song.stems.append((file, name, MUSDB_STEMS[name]))
        songs[_name(path.relative_to(folder))] = song
    return songs


def _moisesdb_songs(folder: Path) -> list[Path]:
    """The folders of songs of MoisesDB, at most two levels below the folder."""
    places = [*folder.glob("*/data.json"), *folder.glob("*/*/data.json")]
    return sorted(place.parent for place in places if _is_of_moisesdb(place))


def _is_of_moisesdb(path: Path) -> bool:
    """Whether this is what MoisesDB says of a song, and not another file of that name."""
    try:
        return isinstance(json.loads(path.read_text("utf-8"))["stems"], list)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _moisesdb(folder: Path) -> dict[str, _SongFiles]:
    songs = {}
    for path in _moisesdb_songs(folder):
        song = _SongFiles(path, split_of(path.name))
        for file in audio_files(path):
            inside = file.relative_to(path).parts
            instrument = inside[0] if len(inside) > 1 else "other"
            song.stems.append((file, instrument, VOCALS if instrument == "vocals" else SINGLE))
        songs[_name(path.relative_to(folder))] = song
    return songs


def _any_stems(folder: Path) -> tuple[dict[str, _SongFiles], bool]:
    """The songs of a folder of stems, and whether its sub-folders decide the splits."""
    paths = [path.relative_to(folder) for path in audio_files(folder)]
    split_folders = find_split_folders(paths)
    below = [_below(path, split_folders) for path in paths]
    by_folder, by_file = _likeness([parts for _, parts in below])
    songs: dict[str, _SongFiles] = {}
    for path, (place, parts) in zip(paths, below, strict=True):
        if place is None:
            continue
        if len(parts) == 1:
            # A file that lies about is a song of its own.
            name, instrument = _name(Path(place, path.stem)), "unknown"
        elif by_folder >= by_file:
            name, instrument = track_name(Path(place, *parts[1:])), parts[0].lower()
        else:
            name, instrument = _name(Path(place, parts[0])), _instrument(path.stem)
        split = SPLIT_FOLDERS[place.lower()] if place else split_of(name)
        song = songs.setdefault(name, _SongFiles(folder / name, split))
        if re.sub("[^a-z]", "", path.stem.lower()) in _MIXTURES and len(parts) > 1:
            song.mixture = folder / path
        else:
            song.stems.append((folder / path, instrument, instrument))
    return songs, bool(split_folders)


def _below(path: Path, split_folders: set[str]) -> tuple[str | None, tuple[str, ...]]:
    """The split's folder, and the parts of a path below it.

    The folder is empty where none decides, and `None` where one does and the path is not in it.
    """
    parts = path.parts
    if not split_folders:
        return "", parts
    return (parts[0], parts[1:]) if parts[0] in split_folders else (None, parts)


def _likeness(parts: Iterable[tuple[str, ...]]) -> tuple[float, float]:
    """Which share of the sub-folders is called like instruments, and which of the files in them."""
    inside = [each for each in parts if len(each) > 1]
    folders = {each[0] for each in inside}
    if not inside:
        return 0.0, 0.0
    by_folder = sum(_words(name) <= _INSTRUMENTS for name in folders) / len(folders)
    by_file = sum(bool(_words(Path(each[-1]).stem) & _INSTRUMENTS) for each in inside)
    return by_folder, by_file / len(inside)


def _words(name: str) -> set[str]:
    return set(re.findall("[a-z]+", name.lower()))


def _instrument(name: str) -> str:
    """The instrument in the name of a stem's file: `drums` for `My song - 02 Drums`."""
    words = re.findall("[a-z]+", name.lower())
    known = [word for word in words if word in _INSTRUMENTS]
    return " ".join(known or words) or "unknown"


def _name(path: Path) -> str:
    return unicodedata.normalize("NFC", path.as_posix())


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]


def _audio_in(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.suffix.lower() in AUDIO_SUFFIXES]


def _entries(folder: Path) -> list[Path]:
    """What is not hidden in a folder; nothing where it cannot be read, which `audio_files` says."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []
