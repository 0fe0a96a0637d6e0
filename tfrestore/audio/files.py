"""Files of sound, in and out, through libsndfile.

Waveforms are float32 of shape `(channels, samples)`, full scale is 1. Integer samples are read as
`n / 2 ** (bits - 1)` and written as the nearest such step, so that copying a 16-bit or 24-bit file
changes no sample. A file is written beside its final name and renamed when it is complete. Whatever
is wrong with a file is an `AudioFileError`, whose one line names the file.
"""

from __future__ import annotations

import contextlib
import io
import logging
import mmap
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import soundfile

from tfrestore.audio import mpeg_frames
from tfrestore.audio.mpeg_messages import silenced
from tfrestore.audio.pcm import quantize
from tfrestore.errors import AudioFileError, UsageError

#: How files are called, as a pattern, that are being written.
UNFINISHED = ".tfrestore-*.part"

_log = logging.getLogger("tfrestore.audio")

AUDIO_SUFFIXES = frozenset(
    (".wav .wave .rf64 .w64 .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .snd .caf").split()
)
"""Suffixes, in lower case, of the files that can be read."""

# What a user may ask for, by suffix; the first is the default.
_WAV = {"24": "PCM_24", "16": "PCM_16", "32": "PCM_32", "float": "FLOAT"}
_FLAC = {"24": "PCM_24", "16": "PCM_16"}
_OGG = {"vorbis": "VORBIS", "opus": "OPUS"}
_WRITABLE: dict[str, tuple[str, dict[str, str]]] = {
    ".wav": ("WAV", _WAV),
    ".flac": ("FLAC", _FLAC),
    ".ogg": ("OGG", _OGG),
    ".oga": ("OGG", _OGG),
    ".opus": ("OGG", {"opus": "OPUS"}),
    ".mp3": ("MP3", {"mp3": "MPEG_LAYER_III"}),
    ".aif": ("AIFF", _WAV),
    ".aiff": ("AIFF", _WAV),
}
_BYTES_PER_SAMPLE = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4}
# Sample rates and channels that a coding, or else a container, can hold; None stands for the rest.
_LIMITS: dict[str | None, tuple[tuple[range | int, ...], int]] = {
    "OPUS": ((8000, 12000, 16000, 24000, 48000), 255),
    "VORBIS": ((range(8000, 192001),), 255),
    "MPEG_LAYER_III": ((8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), 2),
    "FLAC": ((range(1, 65536), range(65540, 655351, 10)), 8),
    None: ((range(1, 2**31),), 1024),
}
_LOSSY_QUALITY = {
    "MPEG_LAYER_III": {"bitrate_mode": "CONSTANT", "compression_level": 0.0},
    "VORBIS": {"compression_level": 0.2},
    "OPUS": {"compression_level": 0.6},
}
# The size fields of WAV and AIFF have 32 bits; headers take a little of what they can say.
_LARGEST_32_BIT_FILE = 2**32 - 2**16
# libsndfile's Vorbis encoder keeps a whole write on the stack.
_WRITE_FRAMES = 1 << 16
# Bounds what a header that promises too much can make us allocate.
_READ_FRAMES = 1 << 20
_LONGEST_VORBIS_BLOCK = 8192
_MPEG_TOLERANCE = 2 * 1152
# From here on a size in a header means that it was not known when the header was written.
_UNKNOWN_SIZE = 0x7FFFF000
_UNKNOWN_FRAMES = 1 << 60
# A line of libsndfile's log about a WAV's or an AIFF's chunk of samples.
_CUT_CHUNK = re.compile(r"^ *(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a file says.

    Attributes:
        path: The file.
        sample_rate: In hertz.
        channels: Number of channels.
        frames: Samples per channel. A file that is cut off may hold fewer.
        format: libsndfile's name of the container: "WAV", "FLAC", "OGG", "MP3", "AIFF", ...
        subtype: libsndfile's name of the coding: "PCM_16", "VORBIS", "MPEG_LAYER_III", ...
    """

    path: Path
    sample_rate: int
    channels: int
    frames: int
    format: str
    subtype: str

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


def read_info(path: str | os.PathLike) -> AudioInfo:
    """Reads the header of a file.

    Args:
        path: The file.

    Returns:
        What it says.

    Raises:
        AudioFileError: The file is missing, cannot be opened, is not audio or has no samples.
    """
    with AudioReader(path) as reader:
        return reader.info


def read(
    path: str | os.PathLike, start: int = 0, frames: int | None = None
) -> tuple[np.ndarray, int]:
    """Reads a file, or an excerpt without decoding what is in front of it.

    Args:
        path: The file.
        start: First sample of the excerpt.
        frames: Length of the excerpt; `None` for everything to the end. An excerpt that reaches
            beyond the end is cut off there.

    Returns:
        The waveform, float32 `(channels, frames)`, and the sample rate in hertz.

    Raises:
        AudioFileError: The file cannot be read, holds values that are not numbers, or ends before
            `start`.
        ValueError: `start` or `frames` is negative.
    """
    with AudioReader(path) as reader:
        pieces = list(reader.blocks(_READ_FRAMES, start, frames))
        waveform = np.zeros(
            (reader.info.channels, sum(piece.shape[1] for piece in pieces)), np.float32
        )
        if pieces:
            np.concatenate(pieces, axis=1, out=waveform)
        return waveform, reader.info.sample_rate


def mean_bit_rate(path: str | os.PathLike, duration: float) -> int:
    """The mean bit rate of an MP3 in kbit/s; see `mpeg_frames.mean_bit_rate`.

    Args:
        path: The MP3.
        duration: Of the sound, in seconds.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return mpeg_frames.mean_bit_rate(data, duration)


class AudioReader:
    """An open file of sound; a context manager.

    Attributes:
        info: What the header says.
        warnings: One line for each thing that is wrong with the file and did not keep it from being
            read, such as "song.mp3 ends early: 12.3 s of 200.0 s could be decoded". The same lines
            go to the logger "tfrestore.audio".

    Args:
        path: The file.

    Raises:
        AudioFileError: The file is missing, cannot be opened, is not audio or has no samples.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self._path = Path(path)
        self.warnings: list[str] = []
        with contextlib.ExitStack() as resources:
            self._stream = _open_stream(self._path, resources)
            self._channels = self._stream.channels
            self._position = 0
            self.info = self._read_header()
            self._resources = resources.pop_all()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; the end of a `with` block does this."""
        self._resources.close()

    def blocks(
        self, block_frames: int, start: int = 0, frames: int | None = None
    ) -> Iterator[np.ndarray]:
        """Reads the file, or a part of it, block by block in constant memory.

        Args:
            block_frames: Length of a block, 1 or more.
            start: First sample.
            frames: How many samples; `None` for everything to the end.

        Yields:
            float32 arrays `(channels, block_frames)`; the last may be shorter.

        Raises:
            AudioFileError: A sample is not a finite number, nothing can be decoded, or the file
                ends before `start`.
            ValueError: An argument is negative, or `block_frames` is zero.
        """
        if block_frames < 1 or start < 0 or (frames is not None and frames < 0):
            raise ValueError("A block has at least one sample; start and frames are not negative.")
        if start > self.info.frames:
            raise AudioFileError(
                f"{self._path} ends at {self.info.duration:.3f} s; "
                f"nothing can be read from {start / self.info.sample_rate:.3f} s on."
            )
        end = self.info.frames if frames is None else min(self.info.frames, start + frames)
        if start >= end:
            return
        self._seek(start)
        while self._position < end:
            wanted = min(block_frames, end - self._position)
            position = self._position
            block = self._decode(wanted)
            self._check_finite(block, position)
            if block.shape[1]:
                yield block
            if block.shape[1] < wanted:
                if self._position == start:
                    raise AudioFileError(
                        f"{self._path} cannot be decoded from "
                        f"{start / self.info.sample_rate:.3f} s on: it is damaged or cut off; "
                        "replace it by an intact copy."
                    )
                break
        if self._position < end or end == self.info.frames:
            self._warn_of_early_end()

    def _read_header(self) -> AudioInfo:
        stream = self._stream
        frames = stream.frames
        if frames >= _UNKNOWN_FRAMES:
            frames = self._count_frames()
        if frames == 0:
            raise AudioFileError(f"{self._path} holds no samples; leave it out or replace it.")
        self._promised_frames = max(frames, _frames_promised_by_chunk(stream))
        # An RF64 is a WAV to everyone who does not have to parse it.
        container = {"RF64": "WAV", "WAVEX": "WAV"}.get(stream.format, stream.format)
        return AudioInfo(
            self._path, stream.samplerate, self._channels, frames, container, stream.subtype
        )

    def _count_frames(self) -> int:
        """Length of a stream whose header does not say it, found by decoding it once."""
        while self._decode(_READ_FRAMES).shape[1]:
            pass
        frames = self._position
        self._seek(0)
        return frames

    def _seek(self, position: int) -> None:
        if position == self._position:
            return
        # The first block behind a seek in Vorbis is wrong (libsndfile's issue 885): start earlier.
        warm_up = (
            min(position, 2 * _LONGEST_VORBIS_BLOCK) if self._stream.subtype == "VORBIS" else 0
        )
        self._position = position - warm_up
        # Where a damaged file cannot be searched, reading finds nothing and says so.
        with contextlib.suppress(soundfile.SoundFileError), silenced():
            self._stream.seek(self._position)
        if warm_up:
            self._decode(warm_up)

    def _decode(self, frames: int) -> np.ndarray:
        # What a decoder had written when it met damage is told by what it has not overwritten.
        samples = np.full((frames, self._channels), np.nan, np.float32)
        try:
            with silenced():
                decoded = len(self._stream.read(frames, dtype="float32", out=samples))
        except soundfile.SoundFileError:
            untouched = np.isnan(samples).any(axis=1)
            decoded = int(np.argmax(untouched)) if untouched.any() else frames
        self._position += decoded
        return np.ascontiguousarray(samples[:decoded].T)

    def _check_finite(self, block: np.ndarray, position: int) -> None:
        finite = np.isfinite(block)
        if not finite.all():
            seconds = (position + int(np.argmin(finite.all(axis=0)))) / self.info.sample_rate
            raise AudioFileError(
                f"{self._path} holds a sample that is not a finite number at {seconds:.3f} s; "
                "write the file anew."
            )

    def _warn_of_early_end(self) -> None:
        missing = self._promised_frames - self._position
        # An MP3's length is a whole number of frames, give or take what encoders count as delay.
        if missing <= (_MPEG_TOLERANCE if self.info.format == "MP3" else 0):
            return
        warning = (
            f"{self._path} ends early: {self._position / self.info.sample_rate:.1f} s of "
            f"{self._promised_frames / self.info.sample_rate:.1f} s could be decoded."
        )
        if warning not in self.warnings:
            self.warnings.append(warning)
            _log.warning(warning)


class AudioWriter:
    """A file of sound that is being written; a context manager.

    The file appears under its name, complete, at the end of the `with` block, and not at all if the
    block is left by an exception. An existing file is replaced then and not before.

    Samples beyond full scale are clipped and counted, except in a file of floats, which keeps them.
    MP3 is written with 320 kbit/s or the most that the rate allows, Vorbis and Opus with about 200
    kbit/s for stereo. A WAV that grows beyond 4 GiB becomes an RF64; if `frames` says so
    beforehand, without a copy.

    Attributes:
        clipped_samples: How many samples of all channels have been clipped.

    Args:
        path: The file; its suffix is the format: see `writable_subtypes`.
        sample_rate: In hertz.
        channels: Number of channels.
        subtype: One of `writable_subtypes(path)`, or `None` for the first of them.
        frames: The number of samples per channel that will come, where known.

    Raises:
        UsageError: The format does not exist or cannot hold this.
        AudioFileError: (in the `with` block and at its end) the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        sample_rate: int,
        channels: int,
        subtype: str | None = None,
        frames: int | None = None,
    ) -> None:
        self._path = Path(path)
        self._format, self._subtype = _checked_format(self._path, sample_rate, channels, subtype)
        self._sample_rate = int(sample_rate)
        self._channels = channels
        self._frames = 0
        self._file: soundfile.SoundFile | None = None
        self._temporary: Path | None = None
        self.clipped_samples = 0
        if frames is not None and self._format == "WAV" and self._is_too_large(frames):
            self._format = "RF64"

    def __enter__(self) -> AudioWriter:
        if self._path.is_dir():
            raise AudioFileError(f"{self._path} is a folder; name the file to write.")
        with self._explained():
            self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._discard()
            return
        with self._explained():
            self._file.close()
            self._check_complete()
            os.replace(self._temporary, self._path)

    def write(self, waveform: np.ndarray) -> None:
        """Appends samples.

        Args:
            waveform: float32, shape `(channels, any number)`.

        Raises:
            AudioFileError: The disk is full or gone, or a sample is not a finite number.
            ValueError: The number of channels is not the file's.
        """
        if waveform.ndim != 2 or waveform.shape[0] != self._channels:
            raise ValueError(
                f"Expected samples of shape ({self._channels}, samples), received {waveform.shape}."
            )
        with self._explained():
            for start in range(0, waveform.shape[1], _WRITE_FRAMES):
                self._write(waveform[:, start : start + _WRITE_FRAMES].T)

    def _write(self, frames: np.ndarray) -> None:
        finite = np.isfinite(frames).all(axis=1)
        if not finite.all():
            seconds = (self._frames + int(np.argmin(finite))) / self._sample_rate
            raise AudioFileError(
                f"{self._path} is not written: the sample at {seconds:.3f} s is not a finite "
                "number."
            )
        if self._is_too_large(self._frames + len(frames)):
            if self._format == "AIFF":
                raise AudioFileError(
                    f"{self._path} is not written: AIFF ends at 4 GiB; write WAV or FLAC."
                )
            if self._format == "WAV":
                self._continue_as_rf64()
        self._file.write(self._quantized(frames))
        self._frames += len(frames)

    def _quantized(self, frames: np.ndarray) -> np.ndarray:
        if self._subtype == "FLOAT":
            return np.ascontiguousarray(frames, dtype=np.float32)
        self.clipped_samples += int(np.count_nonzero(np.abs(frames) > 1))
        bits = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}.get(self._subtype)
        if bits is None:
            return np.ascontiguousarray(np.clip(frames, -1, 1), dtype=np.float32)
        # libsndfile keeps the upper bits of a 32-bit integer; its own conversion would scale by
        # 32767.
        return np.left_shift(quantize(frames, bits).astype(np.int32), 32 - bits)

    def _is_too_large(self, frames: int) -> bool:
        if self._format not in ("WAV", "AIFF"):
            return False
        size = frames * self._channels * _BYTES_PER_SAMPLE[self._subtype]
        return size > _LARGEST_32_BIT_FILE

    def _open(self) -> None:
        temporary = self._path.parent / UNFINISHED.replace("*", secrets.token_hex(8))
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        self._temporary = temporary
        self._file = soundfile.SoundFile(
            _library_path(temporary),
            "w",
            samplerate=self._sample_rate,
            channels=self._channels,
            format=self._format,
            subtype=self._subtype,
            **_LOSSY_QUALITY.get(self._subtype, {}),
        )

    def _continue_as_rf64(self) -> None:
        self._file.close()
        begun = self._temporary
        self._format = "RF64"
        try:
            self._open()
            dtype = "float32" if self._subtype == "FLOAT" else "int32"
            with soundfile.SoundFile(_library_path(begun)) as source:
                for block in source.blocks(_WRITE_FRAMES, dtype=dtype, always_2d=True):
                    self._file.write(block)
        finally:
            begun.unlink()

    def _check_complete(self) -> None:
        """Reads the end of what was written: not every encoder reports a full disk."""
        if not self._frames:
            return
        tail = min(self._frames, 1000)
        with silenced(), _Stream(_library_path(self._temporary)) as stream:
            complete = stream.frames == self._frames
            stream.seek(self._frames - tail)
            complete = complete and len(stream.read(tail, dtype="float32")) == tail
        if not complete:
            raise OSError("the end of the file is missing")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Removes what has been written if the body fails, and says why it failed in a sentence."""
        try:
            yield
        except (OSError, soundfile.SoundFileError, AssertionError) as error:
            self._discard()
            said = getattr(error, "strerror", None) or getattr(error, "error_string", None)
            reason = (said or str(error) or "not everything was taken").rstrip(". ")
            raise AudioFileError(
                f"{self._path} could not be written ({reason}); free space on the disk or choose "
                "another folder."
            ) from error
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError, soundfile.SoundFileError):
                self._file.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)


def write(
    path: str | os.PathLike, waveform: np.ndarray, sample_rate: int, subtype: str | None = None
) -> int:
    """Writes a whole waveform, as `AudioWriter` does.

    Args:
        path: The file; its suffix is the format.
        waveform: float32, shape `(channels, samples)`.
        sample_rate: In hertz.
        subtype: One of `writable_subtypes(path)`, or `None` for the first of them.

    Returns:
        How many samples have been clipped.

    Raises:
        UsageError: The format does not exist or cannot hold this.
        AudioFileError: The file cannot be written.
    """
    channels, frames = waveform.shape
    with AudioWriter(path, sample_rate, channels, subtype, frames=frames) as writer:
        writer.write(waveform)
    return writer.clipped_samples


def writable_subtypes(path: str | os.PathLike) -> tuple[str, ...]:
    """Names of the codings that a file with this suffix can have; the first is the default.

    Args:
        path: A file name, or only a suffix such as ".flac".

    Returns:
        Some of "16", "24", "32" (bits of an integer), "float" (32 bits), "vorbis", "opus", "mp3".

    Raises:
        UsageError: No such format can be written.
    """
    name = os.fspath(path)
    suffix = (Path(name).suffix or name).lower()
    if suffix not in _WRITABLE:
        raise UsageError(
            f"{name} cannot be written: the suffix names the format, one of {', '.join(_WRITABLE)}."
        )
    return tuple(_WRITABLE[suffix][1])


def check_writable(
    path: str | os.PathLike, sample_rate: int, channels: int, subtype: str | None = None
) -> None:
    """Raises the `UsageError` that `AudioWriter` would raise, before any work is done.

    Args:
        path: The file to write.
        sample_rate: In hertz.
        channels: Number of channels.
        subtype: As for `AudioWriter`.

    Raises:
        UsageError: The format does not exist or cannot hold this.
    """
    _checked_format(Path(path), sample_rate, channels, subtype)


def _checked_format(
    path: Path, sample_rate: int, channels: int, subtype: str | None
) -> tuple[str, str]:
    """Libsndfile's names of format and subtype."""
    names = writable_subtypes(path)
    name = names[0] if subtype is None else str(subtype).lower()
    if name not in names:
        raise UsageError(
            f"{path} cannot be written as {subtype!r}: {path.suffix} holds {', '.join(names)}."
        )
    container, subtypes = _WRITABLE[path.suffix.lower()]
    coding = subtypes[name]
    rates, most_channels = _LIMITS.get(coding) or _LIMITS.get(container) or _LIMITS[None]
    if not any(sample_rate in (held if isinstance(held, range) else (held,)) for held in rates):
        raise UsageError(
            f"{path} cannot be written with {sample_rate} Hz: {name} in {path.suffix} holds "
            f"{', '.join(map(_in_words, rates))} Hz; resample, or choose WAV."
        )
    if not 1 <= channels <= most_channels:
        raise UsageError(
            f"{path} cannot be written with {channels} channels: {path.suffix} holds 1 to "
            f"{most_channels}; choose WAV."
        )
    return container, coding


def _in_words(rates: range | int) -> str:
    if isinstance(rates, int):
        return str(rates)
    step = f" in steps of {rates.step}" if rates.step > 1 else ""
    return f"{rates[0]} to {rates[-1]}{step}"


class _Stream(soundfile.SoundFile):
    """A stream that soundfile does not reposition after every read: a damaged FLAC cannot be."""

    def seekable(self) -> bool:
        return False


def _open_stream(path: Path, resources: contextlib.ExitStack) -> _Stream:
    source = _with_length(path, _open_binary(path, resources), resources)
    try:
        with silenced():
            return resources.enter_context(_Stream(source))
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


def _with_length(
    path: Path, file: BinaryIO, resources: contextlib.ExitStack
) -> bytes | str | _WithLengthTag:
    """What libsndfile is to open: the file, or an untagged MP3 with a tag in front of it."""
    head = file.read(10)
    if (
        path.suffix.lower() != ".mp3"
        and head[:3] != b"ID3"
        and not mpeg_frames.parse_header(head[:4])
    ):
        return _library_path(path)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        stream = mpeg_frames.scan(data)
    if stream is None or stream.tagged:
        return _library_path(path)
    return resources.enter_context(
        _WithLengthTag(mpeg_frames.length_tag(stream), file, stream.offset)
    )


class _WithLengthTag(io.RawIOBase):
    """An MP3 with a length tag in front of its first frame, as a file."""

    def __init__(self, tag: bytes, file: BinaryIO, offset: int) -> None:
        self._tag = tag
        self._file = file
        self._offset = offset
        self._size = len(tag) + os.fstat(file.fileno()).st_size - offset
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
        if self._position < len(self._tag):
            piece = self._tag[self._position : self._position + len(buffer)]
        else:
            self._file.seek(self._offset + self._position - len(self._tag))
            piece = self._file.read(len(buffer))
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


def _library_path(path: Path) -> bytes | str:
    # Bytes keep a name that is not valid UTF-8; on Windows names are Unicode.
    return str(path) if os.name == "nt" else os.fsencode(path)


def _frames_promised_by_chunk(stream: soundfile.SoundFile) -> int:
    """Length by the size of the chunk of samples, which a file that was cut off does not reach."""
    found = _CUT_CHUNK.search(stream.extra_info)
    if found is None:
        return 0
    promised, present = int(found[1]), int(found[2])
    if promised >= _UNKNOWN_SIZE or present <= 0:
        return 0
    return stream.frames * promised // present
