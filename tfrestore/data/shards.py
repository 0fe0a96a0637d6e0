"""Shards: pairs of music and its MP3 that were made once and are read in any order.

A folder of shards holds `mp3_pairs.json` (what the pairs are and which tracks they are of) and for
each shard a TFRecord file with an index of the same name beside it. A record is a
`tf.train.Example`:

- `track` (bytes) and `begin` (int64): where the excerpt is from;
- `original` (bytes): 16-bit little-endian samples;
- `mp3_16` (bytes) and `mp3_16_lead` (int64), the same for every bit rate: the MP3, and how many
  samples of what it decodes to, at the original's rate, are in front of the excerpt.

The index says where each record lies, so that a pair is read on its own and a run can go on at any
position; and it has a checksum of each record, which is compared whenever it is read. The waveforms
are not compressed: FLAC would save 38 % and GZIP 8 % of the room (measured), but double the time
that reading a pair takes, and keep other programs from reading the waveforms with `tf.io` alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrestore.complete_files import file_beside, write_text
from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.encoded_pairs import EncodedPair, Mp3Excerpt
from tfrestore.data.rendered_pairs import is_rendered, open_rendered
from tfrestore.data.tracks import Catalogue, Track
from tfrestore.errors import AudioFileError, UsageError

MANIFEST = "mp3_pairs.json"
FORMAT = "tfrestore pairs of music and MP3, 1"

_TRACK_KEYS = ("track_id", "sample_rate", "channels", "frames", "genre", "split")

# TFRecord: eight bytes of length and four of checksum in front of a record, four behind it.
_RECORD_HEAD, _RECORD_TAIL = 12, 4


@dataclass(frozen=True)
class PairSettings:
    """What pairs are.

    Attributes:
        sample_rate: Hz.
        samples: Samples per excerpt.
        kbit_per_second: The bit rates.
        folder: Where they are, for messages.
    """

    sample_rate: int
    samples: int
    kbit_per_second: tuple[int, ...]
    folder: str

    def check(self, sample_rate: int, samples: int, kbit_per_second: Sequence[int]) -> None:
        """Refuses pairs that are not those that are asked for.

        Raises:
            UsageError: if the rate or the length is another, or a bit rate is missing.
        """
        for name, option, found, wanted in (
            ("sample rate", "--sample-rate", self.sample_rate, sample_rate),
            ("samples per excerpt", "--excerpt-samples", self.samples, samples),
        ):
            if found != wanted:
                raise UsageError(
                    f"{self.folder}: these pairs have {name} {found}, but {wanted} is asked for; "
                    f"prepare others with {option} {wanted}, or change the preset's data section."
                )
        if missing := set(kbit_per_second) - set(self.kbit_per_second):
            found = ", ".join(map(str, self.kbit_per_second))
            wanted = " ".join(f"mp3:{rate}" for rate in sorted(missing))
            raise UsageError(
                f"{self.folder}: these pairs have MP3s of {found} kbit/s, not of "
                f"{', '.join(map(str, sorted(missing)))}; prepare others with --degradation "
                f"{wanted}, or change data.kbit_per_second."
            )


class Record(NamedTuple):
    """Where a pair is kept.

    Attributes:
        shard: The file.
        offset: Of the first byte of the record's content in it.
        length: Of the content, in bytes.
        checksum: CRC-32 of the content.
    """

    shard: Path
    offset: int
    length: int
    checksum: int


@dataclass(frozen=True)
class PreparedTrack(Track):
    """A track whose pairs are kept in shards.

    Attributes:
        settings: What the pairs are.
        begins: First samples of its excerpts.
        records: The pairs of these excerpts.
        listening: The pair to listen to, of another length; few tracks have one.
    """

    settings: PairSettings
    begins: tuple[int, ...]
    records: tuple[Record, ...]
    listening: Record | None


class Entry(NamedTuple):
    """A line of a shard's index.

    Attributes:
        track: The number, in the manifest, of the track that the pair is of.
        begin: First sample of the excerpt.
        offset: As for `Record`.
        length: As for `Record`.
        checksum: As for `Record`.
    """

    track: int
    begin: int
    offset: int
    length: int
    checksum: int


@dataclass(frozen=True)
class Index:
    """What a shard holds.

    Attributes:
        made_from: All that the shard depends on, as one word.
        size: Its length in bytes.
        sha256: Its checksum.
        is_listening: Whether these are the pairs to listen to.
        entries: Its pairs, in order.
    """

    made_from: str
    size: int
    sha256: str
    is_listening: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds.

    Attributes:
        settings: What the pairs are.
        is_complete: Whether all shards are there.
        shards: Their names.
        tracks: The arguments of each `Track` but for its path.
    """

    settings: PairSettings
    is_complete: bool
    shards: tuple[str, ...]
    tracks: tuple[dict, ...]


def open_training_data(data: str | os.PathLike) -> Catalogue:
    """The catalogue that `--data` of a training names: music, or what `tfrestore prepare` wrote.

    Args:
        data: A folder that `tfrestore prepare` wrote, or whatever `open_catalogue` takes.

    Raises:
        UsageError: if there is no such folder, no audio in it, or its shards are incomplete.
    """
    folder = Path(data).expanduser()
    if (folder / MANIFEST).is_file():
        return open_shards(folder)
    return open_rendered(folder) if is_rendered(folder) else open_catalogue(data)


def open_shards(folder: Path) -> Catalogue:
    """The tracks whose pairs are in a folder that `tfrestore prepare` wrote.

    Args:
        folder: The folder.

    Returns:
        A catalogue of `PreparedTrack`; tracks of which no pair could be made are not in it.

    Raises:
        UsageError: if this is no such folder, its preparation was not finished, or a shard is
            missing, cut off or without its index.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise UsageError(f"{folder}: {MANIFEST} is missing, so tfrestore prepare did not write it.")
    if not manifest.is_complete:
        raise UsageError(
            f"{folder}: these pairs are not complete; give the same tfrestore prepare again, which "
            "goes on where it was interrupted."
        )
    found: dict[int, list[tuple[int, Record]]] = {}
    listening: dict[int, Record] = {}
    for shard in (folder / name for name in manifest.shards):
        index = read_index(shard)
        if index is None or _size(shard) != index.size:
            raise UsageError(
                f"{shard}: this shard is missing, cut off or without its index; give the same "
                "tfrestore prepare again, which makes it anew."
            )
        for track, begin, *place in index.entries:
            record = Record(shard, *place)
            if index.is_listening:
                listening[track] = record
            else:
                found.setdefault(track, []).append((begin, record))
    tracks = []
    for number, track in enumerate(manifest.tracks):
        if pairs := found.get(number):
            begins, records = zip(*pairs, strict=True)
            tracks.append(
                PreparedTrack(
                    path=records[0].shard,
                    **track,
                    settings=manifest.settings,
                    begins=begins,
                    records=records,
                    listening=listening.get(number),
                )
            )
    return Catalogue(tracks, str(folder))


def read_pair(record: Record) -> EncodedPair:
    """Reads a pair.

    Raises:
        AudioFileError: if the shard cannot be read or the record is not what was written.
    """
    try:
        with open(record.shard, "rb") as file:
            file.seek(record.offset)
            content = file.read(record.length)
    except OSError as error:
        raise AudioFileError(
            f"{record.shard}: this shard cannot be read ({error.strerror}); give the same "
            "tfrestore prepare again, which makes it anew."
        ) from None
    if zlib.crc32(content) != record.checksum:
        raise AudioFileError(
            f"{record.shard}: this shard is damaged (a checksum differs); give the same tfrestore "
            "prepare again, which makes it anew."
        )
    features = tf.train.Example.FromString(content).features.feature
    mp3s = {
        int(name.removeprefix("mp3_")): Mp3Excerpt(
            feature.bytes_list.value[0], features[f"{name}_lead"].int64_list.value[0]
        )
        for name, feature in features.items()
        if name.startswith("mp3_") and not name.endswith("_lead")
    }
    original = np.frombuffer(features["original"].bytes_list.value[0], "<i2")
    return EncodedPair(original, mp3s)


class KeptPair(NamedTuple):
    """A pair on its way into a shard.

    Attributes:
        number: The number of its track in the manifest.
        track: Its track.
        begin: First sample of the excerpt.
        pair: The pair itself.
    """

    number: int
    track: Track
    begin: int
    pair: EncodedPair


def write_shard(
    shard: Path,
    pairs: Iterable[KeptPair],
    made_from: str,
    listening: bool = False,
) -> None:
    """Writes a shard and its index; both appear complete or not at all, the index last.

    Args:
        shard: The file.
        pairs: What goes into it, in this order.
        made_from: What the shard depends on, as one word; kept in the index.
        listening: Whether these are the pairs to listen to.

    Raises:
        OSError: if they cannot be written.
    """
    entries, offset = [], 0
    # An index of an older shard of this name would say what is no longer there.
    index_path(shard).unlink(missing_ok=True)
    try:
        with file_beside(shard) as beside:
            with tf.io.TFRecordWriter(str(beside)) as writer:
                for number, track, begin, pair in pairs:
                    content = _serialize(track.track_id, begin, pair)
                    writer.write(content)
                    place = offset + _RECORD_HEAD, len(content), zlib.crc32(content)
                    entries.append(Entry(number, begin, *place))
                    offset += _RECORD_HEAD + len(content) + _RECORD_TAIL
            if _size(beside) != offset:
                raise OSError(None, "less was written than there is", str(shard))
            index = Index(made_from, offset, _checksum(beside), listening, tuple(entries))
    except tf.errors.OpError as error:
        raise OSError(None, (error.message or "").rpartition("; ")[2], str(shard)) from None
    _write_json(index_path(shard), asdict(index))


def _serialize(track_id: str, begin: int, pair: EncodedPair) -> bytes:
    def of_bytes(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def of_integer(value: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    features = {
        "track": of_bytes(os.fsencode(track_id)),
        "begin": of_integer(begin),
        "original": of_bytes(pair.original.astype("<i2").tobytes()),
    }
    for rate, mp3 in pair.mp3s.items():
        features[f"mp3_{rate}"] = of_bytes(mp3.data)
        features[f"mp3_{rate}_lead"] = of_integer(mp3.lead)
    example = tf.train.Example(features=tf.train.Features(feature=features))
    # Otherwise the order of features, and so the file, would differ from run to run.
    return example.SerializeToString(deterministic=True)


def is_intact(shard: Path, made_from: str, count: int) -> bool:
    """Whether a shard is there, unchanged since it was written, made of this, and has all pairs."""
    index = read_index(shard)
    return (
        index is not None
        and index.made_from == made_from
        and len(index.entries) == count
        and _size(shard) == index.size
        and _checksum(shard) == index.sha256
    )


def index_path(shard: Path) -> Path:
    """The index beside a shard."""
    return shard.with_suffix(".json")


def read_index(shard: Path) -> Index | None:
    """The index of a shard; `None` if there is none, or something else."""
    try:
        content = json.loads(index_path(shard).read_text("utf-8"))
        return Index(**{**content, "entries": tuple(Entry(*each) for each in content["entries"])})
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def write_manifest(
    folder: Path,
    settings: PairSettings,
    tracks: Iterable[Track],
    shards: Iterable[str],
    is_complete: bool,
) -> None:
    """Writes the manifest of a folder.

    Args:
        folder: The folder.
        settings: What the pairs are.
        tracks: The tracks they are of.
        shards: Names of the shards.
        is_complete: Whether all of them are there.

    Raises:
        OSError: if it cannot be written.
    """
    described = asdict(settings)
    del described["folder"]
    content = {
        "format": FORMAT,
        "settings": described,
        "is_complete": is_complete,
        "shards": list(shards),
        "tracks": describe(tracks),
    }
    _write_json(folder / MANIFEST, content)


def describe(tracks: Iterable[Track]) -> list[dict]:
    """What a manifest says of tracks: the arguments of each `Track` but for its path."""
    return [{name: getattr(track, name) for name in _TRACK_KEYS} for track in tracks]


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder; `None` if there is none.

    Raises:
        UsageError: if there is a file of that name that is something else.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] != FORMAT:
            raise ValueError
        settings = {**content["settings"], "folder": str(folder)}
        settings["kbit_per_second"] = tuple(settings["kbit_per_second"])
        names = tuple(Path(name).name for name in content["shards"])
        tracks = tuple({name: track[name] for name in _TRACK_KEYS} for track in content["tracks"])
        return Manifest(PairSettings(**settings), content["is_complete"], names, tracks)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}).") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UsageError(
            f"{path}: not written by tfrestore prepare of this version; prepare into another "
            "folder."
        ) from None


def _write_json(path: Path, content: dict) -> None:
    # Escapes keep what is not valid Unicode in a file's name.
    write_text(path, json.dumps(content, ensure_ascii=True))


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
