"""Sound through pipes: WAV or raw samples that are read while they come, and written at once."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np

from tfrestore.audio.pcm import ENCODINGS, decode, encode
from tfrestore.errors import AudioFileError

#: Bytes that are taken from a pipe at once, where so many are there.
_MOST_BYTES = 2**16

# What is written for a size that is not known, and cannot be put in later, when the stream ends.
_UNKNOWN = 0xFFFFFFFF

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_WAV_ENCODINGS = {
    (_PCM, 8): "u8",
    (_PCM, 16): "s16le",
    (_PCM, 24): "s24le",
    (_PCM, 32): "s32le",
    (_FLOAT, 32): "f32le",
    (_FLOAT, 64): "f64le",
}

#: Sample formats of WAV by the names that `writable_subtypes` gives them.
SUBTYPES = {"16": "s16le", "24": "s24le", "32": "s32le", "float": "f32le"}


@dataclass(frozen=True)
class StreamFormat:
    """What the samples of a stream are.

    Attributes:
        sample_rate: In hertz.
        channels: Number of channels.
        encoding: One of `tfrestore.audio.pcm.ENCODINGS`.
        is_wav: Whether a WAV header stands before the samples.
        frames: Samples per channel, where the header says it and it can be believed.
    """

    sample_rate: int
    channels: int
    encoding: str
    is_wav: bool = False
    frames: int | None = None

    @property
    def frame_bytes(self) -> int:
        """Bytes of a sample of all channels."""
        return self.channels * ENCODINGS[self.encoding]


def read_wav_header(stream: BinaryIO) -> StreamFormat:
    """Reads a stream up to its first sample.

    Raises:
        AudioFileError: if it is no WAV, or one of a kind that is not read.
    """
    beginning = stream.read(12)
    if beginning[:4] not in (b"RIFF", b"RF64") or beginning[8:] != b"WAVE":
        raise AudioFileError(
            "standard input: no WAV; say what raw samples are with --raw, --sample-rate and "
            "--channels."
        )
    form, long_size = None, None
    while True:
        name, size = struct.unpack("<4sI", _exactly(stream, 8))
        if name == b"data" and form is not None:
            break
        body = _skimmed(stream, size + size % 2)
        if name == b"fmt ":
            form = _read_form(body)
        elif name == b"ds64" and len(body) >= 16:
            long_size = struct.unpack("<Q", body[8:16])[0]
    if size == _UNKNOWN and long_size:
        return replace(form, frames=long_size // form.frame_bytes)
    if _is_unknown(size, form.frame_bytes):
        return form
    return replace(form, frames=size // form.frame_bytes)


def _is_unknown(size: int, frame_bytes: int) -> bool:
    """Whether a program that could not know the size has written this one."""
    # FFmpeg and GStreamer; SoX, which rounds to whole frames; ALSA's arecord.
    return size == 0 or size >= 0xFFFFF000 or 0x7FFFF000 - frame_bytes < size <= 0x80000000


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise AudioFileError("standard input: the WAV's header is cut short.")
    return data


def _skimmed(stream: BinaryIO, size: int) -> bytes:
    """The beginning of a chunk, which is read to its end."""
    body = _exactly(stream, min(size, _MOST_BYTES))
    left = size - len(body)
    while left:
        left -= len(_exactly(stream, min(left, _MOST_BYTES)))
    return body


def _read_form(body: bytes) -> StreamFormat:
    if len(body) < 16:
        raise AudioFileError("standard input: the WAV's header is cut short.")
    kind, channels, sample_rate, _, frame_bytes, bits = struct.unpack("<HHIIHH", body[:16])
    if kind == _EXTENSIBLE and len(body) >= 26:
        (kind,) = struct.unpack("<H", body[24:26])
    encoding = _WAV_ENCODINGS.get((kind, bits))
    if encoding is None:
        raise AudioFileError(
            f"standard input: a WAV of {bits} bits in format {kind}; write PCM or floats, as with "
            "ffmpeg -c:a pcm_s16le."
        )
    form = StreamFormat(sample_rate, channels, encoding, is_wav=True)
    if not channels or not sample_rate or frame_bytes != form.frame_bytes:
        raise AudioFileError("standard input: the WAV's header contradicts itself.")
    return form


def wav_header(form: StreamFormat) -> bytes:
    """The bytes before the samples; `frames` of `None` is written as other programs do."""
    kind = _FLOAT if form.encoding.startswith("f") else _PCM
    bits = 8 * ENCODINGS[form.encoding]
    rate = form.sample_rate * form.frame_bytes
    body = struct.pack(
        "<HHIIHH", kind, form.channels, form.sample_rate, rate, form.frame_bytes, bits
    )
    if kind == _FLOAT:
        # No further fields; players expect the count of them in any format but PCM.
        body += struct.pack("<H", 0)
    size = _UNKNOWN if form.frames is None else form.frames * form.frame_bytes
    whole = size + size % 2 + 4 + 8 + len(body) + 8
    if size >= _UNKNOWN or whole >= _UNKNOWN:
        size = whole = _UNKNOWN
    return (
        struct.pack("<4sI4s4sI", b"RIFF", whole, b"WAVE", b"fmt ", len(body))
        + body
        + struct.pack("<4sI", b"data", size)
    )


def read_blocks(stream: BinaryIO, form: StreamFormat) -> Iterator[np.ndarray]:
    """The samples of a stream as they come, behind its header.

    A stream that ends within a sample ends before it.

    Yields:
        float32, shape `(channels, 1 or more)`.
    """
    pending, left = b"", None if form.frames is None else form.frames * form.frame_bytes
    while left is None or left > 0:
        data = stream.read1(_MOST_BYTES if left is None else min(left, _MOST_BYTES))
        if not data:
            return
        left = None if left is None else left - len(data)
        pending += data
        whole = len(pending) // form.frame_bytes * form.frame_bytes
        if whole:
            yield decode(pending[:whole], form.encoding, form.channels)
            pending = pending[whole:]


class StreamWriter:
    """Writes samples into a stream, each at once.

    Attributes:
        frames: Samples per channel that were written.
        clipped_samples: How many samples of all channels have been clipped.

    Args:
        stream: Where to.
        form: What to write; of a WAV, `frames` are what its header promises.
        can_correct: Whether the stream is a file whose header may be corrected at the end.
    """

    def __init__(self, stream: BinaryIO, form: StreamFormat, can_correct: bool = False):
        self._stream = stream
        self._form = form
        self._start = stream.tell() if can_correct and form.is_wav else None
        self.frames = 0
        self.clipped_samples = 0
        if form.is_wav:
            self._write(wav_header(form))

    def write(self, waveform: np.ndarray) -> None:
        """Writes samples, float32 `(channels, any number)`.

        Raises:
            AudioFileError: if one is not a finite number.
        """
        if not np.isfinite(waveform).all():
            seconds = self.frames / self._form.sample_rate
            raise AudioFileError(f"standard output: a sample behind {seconds:.2f} s is no number.")
        if not self._form.encoding.startswith("f"):
            self.clipped_samples += int(np.count_nonzero(np.abs(waveform) > 1))
        self.frames += waveform.shape[1]
        self._write(encode(waveform, self._form.encoding))

    def finish(self) -> None:
        """Ends the stream; a header that can be corrected says how long it became."""
        if self._form.is_wav and self.frames * self._form.frame_bytes % 2:
            self._write(b"\0")
        if self._start is not None:
            end = self._stream.tell()
            self._stream.seek(self._start)
            self._write(wav_header(replace(self._form, frames=self.frames)))
            self._stream.seek(end)

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._stream.flush()
