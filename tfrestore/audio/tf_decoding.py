"""Decoding excerpts of files inside a tf.data graph.

tensorflow-io decodes WAV of 16 and 24 bits where it loads, soundfile everything else; both give the
same samples. tensorflow-io decodes such FLAC as exactly, but takes five times as long, so only who
asks for it gets it.

What tensorflow-io 0.37.1 is not trusted with was found by trying:
- One reader serves all calls of a process that run in parallel (its issues 1647 and 1764), and a
  call then reads the file that another one opened. A lock around opening and reading keeps them
  apart.
- It takes 32-bit integers in a WAV for floats, and a wrong guess of a file's sample type ends the
  process. The type is read off the file's header and never guessed.
- It loses its way in a WAV that is cut off or whose chunks are of odd length. Only a WAV whose
  chunks add up is given to it.
"""

from __future__ import annotations

import functools
import logging
import os
import struct
import threading
from typing import BinaryIO

import numpy as np
import tensorflow as tf

from tfrestore.audio.reading import read, read_info

_log = logging.getLogger("tfrestore.audio")
_load_lock = threading.Lock()

# What `_decoder_for` answers: the branches of `decode_excerpt`, in order.
_SOUNDFILE, _TENSORFLOW_IO_16, _TENSORFLOW_IO_24 = range(3)

# The sizes of a WAV's format chunk that tensorflow-io reads.
_FORMAT_CHUNK_SIZES = (16, 18, 40)


def tensorflow_io_available() -> bool:
    """Whether tensorflow-io is installed and its library loads into this TensorFlow.

    The first call tries, and logs once with which library audio is decoded.

    Returns:
        True where tensorflow-io decodes.
    """
    with _load_lock:
        return _load_tensorflow_io()


def decode_excerpt(
    path: tf.Tensor | str,
    start: tf.Tensor | int,
    frames: tf.Tensor | int,
    channels: int | None = None,
    use_tensorflow_io: bool | None = None,
) -> tf.Tensor:
    """Decodes an excerpt of a file; usable in `Dataset.map`.

    Args:
        path: Scalar string.
        start: First sample of the excerpt, an integer scalar.
        frames: Length of the excerpt, a Python integer where the shape of the result is to be
            static.
        channels: `None` for the file's own channels; 1 for their mean; any other number is what the
            file must have, except that a mono file is repeated.
        use_tensorflow_io: `None` to use tensorflow-io where it loads and is the faster one, `True`
            wherever it is exact, `False` for soundfile in any case.

    Returns:
        float32, shape `(channels, frames)`, full scale 1; silence where the file ends earlier.

    Raises:
        tf.errors.OpError: (when the graph runs) the file cannot be read; the message names it.
    """
    path = tf.convert_to_tensor(path, tf.string)
    start = tf.cast(start, tf.int64)
    length = tf.cast(frames, tf.int64)
    exact = bool(use_tensorflow_io)
    if use_tensorflow_io is None:
        use_tensorflow_io = tensorflow_io_available()
    if use_tensorflow_io:
        waveform = tf.switch_case(
            tf.numpy_function(_decoder_for, [path, exact], tf.int32, stateful=False),
            [
                lambda: _decode_with_soundfile(path, start, length),
                lambda: _decode_with_tensorflow_io(path, start, length, tf.int16),
                lambda: _decode_with_tensorflow_io(path, start, length, tf.int32),
            ],
        )
    else:
        waveform = _decode_with_soundfile(path, start, length)
    waveform = tf.pad(waveform, [[0, 0], [0, length - tf.shape(waveform, tf.int64)[1]]])
    if channels == 1:
        waveform = tf.reduce_mean(waveform, axis=0, keepdims=True)
    elif channels is not None:
        found = tf.shape(waveform)[0]
        with tf.control_dependencies(
            [
                tf.debugging.Assert(
                    (found == channels) | (found == 1),
                    [tf.strings.join([path, f" does not have {channels} channels."])],
                )
            ]
        ):
            waveform = tf.repeat(waveform, channels // found, axis=0)
    waveform.set_shape([channels, frames if isinstance(frames, int) else None])
    return waveform


def _decode_with_soundfile(path: tf.Tensor, start: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
    waveform = tf.numpy_function(_read, [path, start, frames], tf.float32, stateful=False)
    waveform.set_shape([None, None])
    return waveform


def _decode_with_tensorflow_io(
    path: tf.Tensor, start: tf.Tensor, frames: tf.Tensor, dtype: tf.DType
) -> tf.Tensor:
    import tensorflow_io

    def open_and_read():
        audio = tensorflow_io.IOTensor.graph(dtype).from_audio(path)
        with tf.control_dependencies(
            [tf.debugging.Assert(start <= audio.shape[0], [path, "ends before sample", start])]
        ):
            end = tf.minimum(start + frames, audio.shape[0])
        return audio[start:end]

    samples = _reader_lock().execute(open_and_read)
    waveform = tf.cast(samples, tf.float32) / -float(dtype.min)
    waveform = tf.transpose(waveform)
    waveform.set_shape([None, None])
    return waveform


def _read(path: bytes | np.ndarray, start: np.int64, frames: np.int64) -> np.ndarray:
    return read(_file_name(path), int(start), int(frames))[0]


def _file_name(path: bytes | np.ndarray) -> str:
    # numpy_function hands over bytes in a graph, and an array of one object outside of one.
    return os.fsdecode(path if isinstance(path, bytes) else path.item())


def _decoder_for(path: bytes | np.ndarray, exact: np.bool_) -> np.int32:
    name = _file_name(path)
    status = os.stat(name) if os.path.exists(name) else None
    version = None if status is None else (status.st_mtime_ns, status.st_size)
    return np.int32(_decoder_for_version(name, version, bool(exact)))


@functools.lru_cache(maxsize=1 << 16)
def _decoder_for_version(path: str, version: tuple[int, int] | None, exact: bool) -> int:
    """The branch for a file; with another `version` of the file it is looked at anew."""
    info = read_info(path)
    with open(path, "rb") as file:
        plain = _is_plain_wav(file) or (exact and _begins_with(file, b"fLaC"))
    if not plain:
        return _SOUNDFILE
    decoders = {"PCM_16": _TENSORFLOW_IO_16, "PCM_24": _TENSORFLOW_IO_24}
    return decoders.get(info.subtype, _SOUNDFILE)


def _begins_with(file: BinaryIO, mark: bytes) -> bool:
    file.seek(0)
    return file.read(len(mark)) == mark


def _is_plain_wav(file: BinaryIO) -> bool:
    """Whether a RIFF's chunks, the format first, are even and fill the file to its last byte."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return False
    if int.from_bytes(head[4:8], "little") + 8 != size:
        return False
    position, marks = 12, []
    while position + 8 <= size:
        file.seek(position)
        mark, length = struct.unpack("<4sI", file.read(8))
        if length % 2 or (not marks and (mark != b"fmt " or length not in _FORMAT_CHUNK_SIZES)):
            return False
        marks.append(mark)
        position += 8 + length
    return position == size and marks.count(b"data") == 1


@functools.cache
def _reader_lock() -> tf.CriticalSection:
    # In eager mode, so that it outlives the graph that happens to need it first.
    with tf.init_scope(), tf.device("CPU:0"):
        return tf.CriticalSection(name="tensorflow_io_audio_reader")


@functools.cache
def _load_tensorflow_io() -> bool:
    header = struct.pack("<4sI4s4sIHHIIHH4sI", *_ONE_SAMPLE_WAV)
    try:
        import tensorflow_io

        # The library is only loaded by the first operation that needs it.
        with tf.init_scope():
            tensorflow_io.audio.decode_wav(header + b"\0\0", dtype=tf.int16)
    # Whatever an optional library may raise, there is soundfile.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        _log.info("tensorflow-io does not load here (%s); decoding audio with soundfile", reason)
        return False
    _log.info(
        "decoding audio with tensorflow-io %s (WAV) and soundfile (all else)",
        tensorflow_io.__version__,
    )
    return True


_ONE_SAMPLE_WAV = (b"RIFF", 38, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16) + (b"data", 2)
