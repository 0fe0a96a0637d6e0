"""Files of sound that are written, through libsndfile.

Waveforms are float32 of shape `(channels, samples)`, full scale is 1. Integer samples are written
as the nearest step, so that copying a 16-bit or 24-bit file changes no sample. A file is written
beside its final name and renamed when it is complete.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile

from tfrestore.audio.library_streams import LibraryStream, library_path
from tfrestore.audio.mpeg_messages import silenced
from tfrestore.audio.pcm import quantize
from tfrestore.errors import AudioFileError, UsageError

#: How files are called, as a pattern, that are being written.
UNFINISHED = ".tfrestore-*.part"

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
            library_path(temporary),
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
            with soundfile.SoundFile(library_path(begun)) as source:
                for block in source.blocks(_WRITE_FRAMES, dtype=dtype, always_2d=True):
                    self._file.write(block)
        finally:
            begun.unlink()

    def _check_complete(self) -> None:
        """Reads the end of what was written: not every encoder reports a full disk."""
        if not self._frames:
            return
        tail = min(self._frames, 1000)
        with silenced(), LibraryStream(library_path(self._temporary)) as stream:
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
