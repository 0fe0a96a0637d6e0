"""Files as libsndfile is to open them, where what it does by itself is not enough.

An MP3 that does not say its length gets a tag that does, and one that is damaged in the middle goes
on behind that; a damaged FLAC is not repositioned, and a file that was cut off is told by what its
header promised.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import mmap
import os
import re
from pathlib import Path
from typing import BinaryIO

import soundfile

from tfrestore.audio import mpeg_frames
from tfrestore.audio.mpeg_messages import silenced
from tfrestore.errors import AudioFileError

# From here on a size in a header means that it was not known when the header was written.
_UNKNOWN_SIZE = 0x7FFFF000
# A line of libsndfile's log about a WAV's or an AIFF's chunk of samples.
_CUT_CHUNK = re.compile(r"^ *(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)


class LibraryStream(soundfile.SoundFile):
    """A stream that soundfile does not reposition after every read: a damaged FLAC cannot be."""

    def seekable(self) -> bool:
        """Says that it cannot be repositioned."""
        return False


def open_stream(path: Path, resources: contextlib.ExitStack) -> LibraryStream:
    """Opens a file of sound until `resources` are closed.

    Raises:
        AudioFileError: The file is missing, cannot be opened, or is not audio.
    """
    source = _mended(path, _open_binary(path, resources), resources)
    try:
        with silenced():
            return resources.enter_context(LibraryStream(source))
    # soundfile takes a name that ends in .raw as a request, and misses its arguments.
    except (soundfile.SoundFileError, TypeError) as error:
        raise AudioFileError(
            f"{path} is damaged or is not audio in a format that can be read; convert it to WAV or "
            "FLAC."
        ) from error


def _open_binary(path: Path, resources: contextlib.ExitStack) -> BinaryIO:
    if path.is_dir():
        raise AudioFileError(f"{path} is a folder; name a file in it.")
    if not path.exists():
        raise AudioFileError(f"{path} does not exist; check the name.")
    if not path.is_file():
        raise AudioFileError(f"{path} is not a regular file; copy its content into one.")
    try:
        file = resources.enter_context(path.open("rb"))
    except OSError as error:
        raise AudioFileError(
            f"{path} cannot be opened ({error.strerror}); check its permissions."
        ) from error
    if os.fstat(file.fileno()).st_size == 0:
        raise AudioFileError(f"{path} is empty (0 bytes); replace it by an intact copy.")
    return file


def _mended(
    path: Path, file: BinaryIO, resources: contextlib.ExitStack
) -> bytes | str | _MendedMp3:
    """What libsndfile is to open: the file, or an MP3 with a tag and without what is damaged."""
    head = file.read(10)
    if (
        path.suffix.lower() != ".mp3"
        and head[:3] != b"ID3"
        and not mpeg_frames.parse_header(head[:4])
    ):
        return library_path(path)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        stream = mpeg_frames.scan(data)
        stretches = mpeg_frames.readable_stretches(data)
        size = len(data)
    if stream is None or (stream.tagged and len(stretches) == 1):
        return library_path(path)
    tag = b""
    if not stream.tagged:
        # What was damaged counts, so that it is missed at the end.
        kept = sum(stop - start for start, stop in stretches)
        lost = round((size - kept) / stream.first.size)
        stream = dataclasses.replace(stream, frames=stream.frames + lost)
        tag = mpeg_frames.length_tag(stream)
        stretches[0] = (stream.offset, stretches[0][1])
    return resources.enter_context(_MendedMp3(tag, file, stretches))


class _MendedMp3(io.RawIOBase):
    """Stretches of an MP3 with a length tag in front of the first frame, as a file."""

    def __init__(self, tag: bytes, file: BinaryIO, stretches: list[tuple[int, int]]) -> None:
        self._tag = tag
        self._file = file
        self._stretches = stretches
        self._size = len(tag) + sum(stop - start for start, stop in stretches)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer) -> int:
        piece = self._tag[self._position : self._position + len(buffer)]
        begin = len(self._tag)
        for start, stop in self._stretches:
            within = self._position + len(piece) - begin
            if len(piece) < len(buffer) and 0 <= within < stop - start:
                self._file.seek(start + within)
                piece += self._file.read(min(len(buffer) - len(piece), stop - start - within))
            begin += stop - start
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


def library_path(path: Path) -> bytes | str:
    """A path as libsndfile takes it."""
    # Bytes keep a name that is not valid UTF-8; on Windows names are Unicode.
    return str(path) if os.name == "nt" else os.fsencode(path)


def frames_promised_by_chunk(stream: soundfile.SoundFile) -> int:
    """Length by the size of the chunk of samples, which a file that was cut off does not reach."""
    found = _CUT_CHUNK.search(stream.extra_info)
    if found is None:
        return 0
    promised, present = int(found[1]), int(found[2])
    if promised >= _UNKNOWN_SIZE or present <= 0:
        return 0
    return stream.frames * promised // present
