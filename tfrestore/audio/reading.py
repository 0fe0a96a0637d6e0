"""Files of sound that are read, through libsndfile.

Waveforms are float32 of shape `(channels, samples)`, full scale is 1. Integer samples are read as
`n / 2 ** (bits - 1)`. Whatever is wrong with a file is an `AudioFileError`, whose one line names
the file.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from tfrestore.audio import mpeg_frames
from tfrestore.audio.library_streams import frames_promised_by_chunk, open_stream
from tfrestore.audio.mpeg_messages import silenced
from tfrestore.errors import AudioFileError

_log = logging.getLogger("tfrestore.audio")

AUDIO_SUFFIXES = frozenset(
    (".wav .wave .rf64 .w64 .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .snd .caf").split()
)
"""Suffixes, in lower case, of the files that can be read."""

# Bounds what a header that promises too much can make us allocate.
_READ_FRAMES = 1 << 20
_LONGEST_VORBIS_BLOCK = 8192
_MPEG_TOLERANCE = 2 * 1152
_UNKNOWN_FRAMES = 1 << 60

# Warnings that were logged: a file is looked at before it is restored, and read in every epoch.
_told: set[str] = set()


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
            read, such as "song.mp3 is damaged or cut off: 12.3 s of 200.0 s could be decoded". The
            same lines go to the logger "tfrestore.audio", each once however often a file is read.

    Args:
        path: The file.

    Raises:
        AudioFileError: The file is missing, cannot be opened, is not audio or has no samples.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self._path = Path(path)
        self.warnings: list[str] = []
        with contextlib.ExitStack() as resources:
            self._stream = open_stream(self._path, resources)
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
        self._promised_frames = max(frames, frames_promised_by_chunk(stream))
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
        rate = self.info.sample_rate
        warning = (
            f"{self._path} is damaged or cut off: {self._position / rate:.1f} s of "
            f"{self._promised_frames / rate:.1f} s could be decoded."
        )
        if warning not in self.warnings:
            self.warnings.append(warning)
        if warning not in _told:
            _told.add(warning)
            _log.warning(warning)
