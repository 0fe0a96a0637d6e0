"""MIDI files played by two instruments once, into recordings that training reads: `prepare`.

A folder of them holds `instrument_pairs.json` (which instruments, which tracks) and for each track
a FLAC file of 16 bits in `input/` and another of the same name in `target/`, which any other
program can play, and `evaluate --pairs` score. A window of them equals the window that is rendered
on the fly, bit for bit. Each track is rendered block by block, so that memory is constant, and
appears complete or not at all; whoever was interrupted goes on with the tracks that are missing.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tfrestore.audio.reading import read, read_info
from tfrestore.audio.writing import UNFINISHED, AudioWriter
from tfrestore.complete_files import write_text
from tfrestore.data.instrument_swap import InstrumentSwap
from tfrestore.data.midi_rendering import BLOCK_SAMPLES, pair_renderer
from tfrestore.data.sound_font import SYNTHESIZER_RATE, playable_sound_font
from tfrestore.data.tracks import Catalogue, Track
from tfrestore.errors import AudioFileError, InputError, UsageError
from tfrestore.worker_processes import worker_processes

MANIFEST = "instrument_pairs.json"
FORMAT = "tfrestore pairs of instruments, 1"

_TRACK_KEYS = ("track_id", "sample_rate", "channels", "frames", "genre", "split")

_log = logging.getLogger("tfrestore.data")


@dataclass(frozen=True)
class RenderedTrack(Track):
    """A track that was played by both instruments; its path is the target's recording.

    Attributes:
        input_path: The other recording.
        swap: The instruments, as `asdict` of an `InstrumentSwap` gives them.
    """

    input_path: Path
    swap: dict

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read for it."""
        return (self.path, self.input_path)

    def check(self, swap: InstrumentSwap) -> None:
        """Refuses instruments that are not those that were rendered.

        Raises:
            UsageError: if they are others.
        """
        for name, wanted in asdict(swap).items():
            if (found := self.swap.get(name)) != wanted:
                raise UsageError(
                    f"{self.path.parent}: these recordings have {name} {found}, but {wanted} is "
                    f"asked for; prepare others, or change data.{name}."
                )

    def read(self, begin: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
        """A stretch of both recordings; beyond their end is silence.

        Returns:
            `(input, target)`, float32 `(samples,)` each.

        Raises:
            AudioFileError: if a recording is missing, damaged or cut off.
        """
        stretches = []
        for path in (self.input_path, self.path):
            waveform, _ = read(path, begin, max(1, min(samples, self.frames - begin)))
            if waveform.shape[1] < min(samples, self.frames - begin):
                raise AudioFileError(
                    f"{path} is cut off; give the same tfrestore prepare again, which makes it "
                    "anew."
                )
            stretches.append(np.pad(waveform[0], (0, samples - waveform.shape[1])))
        return tuple(stretches)


@dataclass(frozen=True)
class _Piece:
    """A track to be rendered: what of, where to, and by what a change of it is noticed."""

    track: Track
    name: str
    state: list[int]

    def paths(self, folder: Path) -> tuple[Path, Path]:
        return folder / "input" / self.name, folder / "target" / self.name

    def sizes(self, folder: Path) -> list[int]:
        """Bytes of both recordings."""
        return [path.stat().st_size for path in self.paths(folder)]

    def is_there(self, folder: Path, sizes: list[int] | None) -> bool:
        """Whether both recordings are complete.

        Args:
            folder: Where they are.
            sizes: What they were in the end, where that was written down.
        """
        try:
            return all(
                read_info(path).frames == self.track.frames for path in self.paths(folder)
            ) and sizes in (None, self.sizes(folder))
        except (InputError, OSError):
            return False

    def described(self) -> dict:
        track = {key: getattr(self.track, key) for key in _TRACK_KEYS}
        return {**track, "name": self.name, "state": self.state}


@dataclass
class Outcome:
    """What came of a preparation.

    Attributes:
        pairs: How many tracks there are.
        tracks: Of how many that should be.
        seconds: How long they are together.
        size: Bytes of all recordings.
        unreadable: Why tracks could not be rendered, by path.
    """

    pairs: int
    tracks: int
    seconds: float
    size: int
    unreadable: dict[Path, str]


def prepare_recordings(
    catalogue: Catalogue,
    splits: Sequence[str],
    swap: InstrumentSwap,
    folder: Path,
    jobs: int,
    progress: Callable[[float, float, str], None] = lambda done, total, note: None,
) -> Outcome:
    """Renders the tracks of a catalogue, or those that an earlier preparation has not.

    Args:
        catalogue: Of MIDI files.
        splits: Which splits of it.
        swap: The instruments.
        folder: Where the recordings go.
        jobs: Processes.
        progress: Called with the seconds of music that are done, their total, and what is done now.

    Returns:
        What came of it. Tracks that cannot be rendered are named in the log, and left out.

    Raises:
        UsageError: if the folder holds something else or recordings of other instruments, or the
            SoundFont cannot be used.
        InputError: if the folder cannot be written to, or no track can be rendered.
    """
    # Whatever is wrong with the SoundFont is told before anything is written.
    pair_renderer(swap)
    made_by = _made_by(swap)
    tracks = [track for split in splits for track in catalogue.split(split)]
    pieces = list(_pieces(tracks))
    before = _known(folder, made_by)
    unreadable: dict[Path, str] = {}
    done, total = 0.0, sum(track.duration for track in tracks)
    try:
        to_render, sizes = [], {}
        for piece in pieces:
            known = before.get(piece.name, {})
            is_same = known.items() >= piece.described().items()
            if is_same and piece.is_there(folder, known["sizes"]):
                done += piece.track.duration
                sizes[piece.name] = known["sizes"]
                continue
            to_render.append(piece)
            for path in piece.paths(folder):
                # What the manifest, below, says of it would not be true of an older one.
                path.unlink(missing_ok=True)
        if 0 < len(to_render) < len(pieces):
            there = len(pieces) - len(to_render)
            _log.info("going on: %d of %d tracks are there already", there, len(pieces))
        for left_behind in folder.glob(f"*/**/{UNFINISHED}"):
            left_behind.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        _write_manifest(folder, made_by, pieces, sizes, is_complete=False)
        progress(done, total, "")
        for piece, reason in _render_all(swap, to_render, folder, jobs):
            done += piece.track.duration
            progress(done, total, piece.track.path.name)
            if reason:
                unreadable[piece.track.path] = reason
                _log.error("%s", reason)
        rendered = [piece for piece in pieces if piece.track.path not in unreadable]
        if not rendered:
            raise InputError(f"{catalogue.source}: none of its MIDI files can be rendered.")
        sizes = {piece.name: piece.sizes(folder) for piece in rendered}
        _write_manifest(folder, made_by, rendered, sizes, is_complete=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror or error}); free space or choose "
            "another --out, then give the same command again, which goes on."
        ) from None
    except BrokenProcessPool:
        raise InputError(
            f"{folder}: a process that renders was ended from outside; give the same command "
            "again, which goes on, with fewer --jobs."
        ) from None
    seconds = sum(piece.track.duration for piece in rendered)
    size = sum(map(sum, sizes.values()))
    return Outcome(len(rendered), len(tracks), seconds, size, unreadable)


def is_rendered(folder: Path) -> bool:
    """Whether a folder is one that `prepare_recordings` wrote, complete or not."""
    return (folder / MANIFEST).is_file()


def open_rendered(folder: Path) -> Catalogue:
    """The tracks of a folder that `tfrestore prepare` wrote.

    Args:
        folder: The folder.

    Returns:
        A catalogue of `RenderedTrack`.

    Raises:
        UsageError: if this is no such folder, its preparation was not finished, or a recording is
            missing or cut off.
    """
    manifest = _read_manifest(folder)
    if not manifest["is_complete"]:
        raise UsageError(
            f"{folder}: these recordings are not complete; give the same tfrestore prepare again, "
            "which goes on where it was interrupted."
        )
    tracks = []
    for described in manifest["tracks"]:
        track = Track(folder, **{key: described[key] for key in _TRACK_KEYS})
        piece = _Piece(track, described["name"], [])
        if not piece.is_there(folder, described["sizes"]):
            raise UsageError(
                f"{folder}: the recordings of {track.track_id} are missing or cut off; give the "
                "same tfrestore prepare again, which makes them anew."
            )
        heard, wanted = piece.paths(folder)
        arguments = {key: described[key] for key in _TRACK_KEYS}
        tracks.append(
            RenderedTrack(wanted, **arguments, input_path=heard, swap=manifest["made_by"]["swap"])
        )
    return Catalogue(tracks, str(folder), has_splits=True)


def _pieces(tracks: Sequence[Track]) -> Iterator[_Piece]:
    """The tracks with names for their recordings: no two alike, even without their suffixes."""
    names = Counter(track.track_id.casefold() for track in tracks)
    for track in tracks:
        is_alone = names[track.track_id.casefold()] == 1
        suffix = ".flac" if is_alone else f"{track.path.suffix}.flac"
        status = track.path.stat() if track.path.exists() else None
        state = [status.st_size, status.st_mtime_ns] if status else []
        yield _Piece(track, track.track_id + suffix, state)


def _made_by(swap: InstrumentSwap) -> dict:
    """All that the recordings depend on but for the MIDI files."""
    # The name of the copy has a checksum of the SoundFont.
    _, playable = playable_sound_font(swap.sound_font)
    return {"swap": asdict(swap), "sound_font": playable.name, "symusic": version("symusic")}


def _known(folder: Path, made_by: dict) -> dict[str, dict]:
    """What an earlier preparation says of tracks, by the names of their recordings.

    Raises:
        UsageError: if something else is in the folder.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: this is a file; choose another --out.")
    if not is_rendered(folder):
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"{folder}: this folder is not empty; choose another --out.")
        return {}
    manifest = _read_manifest(folder)
    if manifest["made_by"] != made_by:
        raise UsageError(
            f"{folder}: holds recordings of other instruments, or with another SoundFont or "
            "symusic; choose another --out."
        )
    return {each["name"]: each for each in manifest["tracks"]}


def _render_all(
    swap: InstrumentSwap, pieces: Sequence[_Piece], folder: Path, jobs: int
) -> Iterator[tuple[_Piece, str | None]]:
    """Renders pieces; yields each with why it could not be rendered, or None."""
    if jobs == 1:
        for piece in pieces:
            yield piece, _render(swap, piece, folder)
        return
    with worker_processes(jobs) as pool:
        futures = {pool.submit(_render, swap, piece, folder): piece for piece in pieces}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _render(swap: InstrumentSwap, piece: _Piece, folder: Path) -> str | None:
    """Renders a piece; returns why it could not be rendered, or None.

    Raises:
        OSError: if the recordings cannot be written.
    """
    track, renderer = piece.track, pair_renderer(swap, kept_blocks=1)
    try:
        # Nothing is written of a file that cannot be used.
        renderer.render(track.path, 0, 1)
    except AudioFileError as error:
        return str(error)
    try:
        with ExitStack() as stack:
            writers = []
            for path in piece.paths(folder):
                path.parent.mkdir(parents=True, exist_ok=True)
                writers.append(stack.enter_context(AudioWriter(path, SYNTHESIZER_RATE, 1, "16")))
            for begin in range(0, track.frames, BLOCK_SAMPLES):
                samples = min(BLOCK_SAMPLES, track.frames - begin)
                for writer, sound in zip(
                    writers, renderer.render(track.path, begin, samples), strict=True
                ):
                    writer.write(sound[None])
    except AudioFileError as error:
        raise OSError(None, str(error)) from None
    return None


def _write_manifest(
    folder: Path,
    made_by: dict,
    pieces: Sequence[_Piece],
    sizes: dict[str, list[int]],
    is_complete: bool,
) -> None:
    content = {
        "format": FORMAT,
        "is_complete": is_complete,
        "made_by": made_by,
        "tracks": [{**each.described(), "sizes": sizes.get(each.name)} for each in pieces],
    }
    # Escapes keep what is not valid Unicode in a file's name.
    write_text(folder / MANIFEST, json.dumps(content, ensure_ascii=True, indent=1))


def _read_manifest(folder: Path) -> dict:
    """The manifest of a folder.

    Raises:
        UsageError: if there is none, or it is something else.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text("utf-8"))
        kinds = {"is_complete": bool, "made_by": dict, "tracks": list}
        if content["format"] != FORMAT or not all(
            isinstance(content[key], kind) for key, kind in kinds.items()
        ):
            raise ValueError
        InstrumentSwap(**content["made_by"]["swap"])
        for each in content["tracks"]:
            if Path(each["name"]).is_absolute() or ".." in Path(each["name"]).parts:
                raise ValueError
            if each["sample_rate"] != SYNTHESIZER_RATE or int(each["frames"]) < 1:
                raise ValueError
            if not {*_TRACK_KEYS, "state", "sizes"} <= each.keys():
                raise ValueError
        return content
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}).") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UsageError(
            f"{path}: not written by tfrestore prepare of this version; prepare into another "
            "folder."
        ) from None
