"""WAV files as strings, in and out of a TensorFlow graph, with core operations only.

`tf.audio.decode_wav` and `encode_wav` know 16-bit samples only; these know what recordings come in.
They do as `tfrestore.audio.reading` and `writing`: integer samples are `n / 2 ** (bits - 1)`, a
file that ends before its header says so is read as far as it goes, and what is written has the
sample format of what was read, except that 8 bits become 16 and doubles become floats.

What cannot be read fails with an `InvalidArgument` whose message is a sentence.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

#: Sample rates that are accepted, in hertz: a header can name any number, and a resampled recording
#: is as much longer as that number is smaller.
LOWEST_SAMPLE_RATE, HIGHEST_SAMPLE_RATE = 1000, 1_000_000

MOST_CHANNELS = 1024

# Format tags of the Microsoft multimedia standards.
_INTEGERS, _FLOATS, _EXTENSIBLE = 1, 3, 0xFFFE

# Sample formats by number: tag, bits and the number of the format that is written for it.
_FORMATS = (
    (_INTEGERS, 8, 1),
    (_INTEGERS, 16, 1),
    (_INTEGERS, 24, 2),
    (_INTEGERS, 32, 3),
    (_FLOATS, 32, 4),
    (_FLOATS, 64, 4),
)

# Chunks in front of the samples that are looked through.
_MOST_CHUNKS = 1000

_HEADER_BYTES = 12
_CHUNK_HEADER_BYTES = 8


class Recording(NamedTuple):
    """A decoded WAV file.

    Attributes:
        waveform: float32 `(channels, samples)`, full scale 1.
        sample_rate: int32 scalar, hertz.
        sample_format: int32 scalar, for `encode_wav`.
    """

    waveform: tf.Tensor
    sample_rate: tf.Tensor
    sample_format: tf.Tensor


def decode_wav(contents: tf.Tensor) -> Recording:
    """Decodes a WAV file of 8, 16, 24 or 32-bit integers or of 32 or 64-bit floats.

    Args:
        contents: string scalar, the file's bytes: RIFF or RF64, also WAVE_FORMAT_EXTENSIBLE.

    Returns:
        The recording, of one sample or more, all of them finite.

    Raises:
        tf.errors.InvalidArgumentError: (when the graph runs) the string is no such file.
    """
    length = tf.strings.length(contents)
    is_wav = tf.logical_and(
        tf.reduce_any(tf.equal(_text(contents, 0), ["RIFF", "RF64"])),
        tf.equal(_text(contents, 8), "WAVE"),
    )
    description, samples = _find_chunks(contents, length)
    with tf.control_dependencies(
        [
            _require(is_wav, "the string is no WAV file: it does not begin with a RIFF header."),
            _require(description > 0, "the WAV file has no fmt chunk before its samples."),
            _require(samples > 0, "the WAV file has no data chunk: it is damaged or cut off."),
        ]
    ):
        contents = tf.identity(contents)
    tag = _number(contents, description, 2)
    tag = tf.where(tag == _EXTENSIBLE, _number(contents, description + 24, 2), tag)
    channels = _number(contents, description + 2, 2)
    sample_rate = _number(contents, description + 4, 4)
    bits = _number(contents, description + 14, 2)
    matches = tf.stack([(tag == each) & (bits == width) for each, width, _ in _FORMATS])
    sample_format = tf.argmax(matches, output_type=tf.int32)
    frame_bytes = channels * (bits // 8)
    size = _number(contents, samples - 4, 4)
    # An RF64 tells sizes of more than 32 bits in its first chunk.
    size = tf.where(
        (size == 2**32 - 1) & (_text(contents, 12) == "ds64"), _number(contents, 28, 7), size
    )
    size = tf.minimum(size, tf.cast(length - samples, tf.int64)) // tf.maximum(frame_bytes, 1)
    with tf.control_dependencies(
        [
            _require(
                tf.reduce_any(matches),
                "the WAV file's samples are neither integers of 8, 16, 24 or 32 bits nor floats of "
                "32 or 64; its format tag and its bits are:",
                tag,
                bits,
            ),
            _require(
                (channels >= 1) & (channels <= MOST_CHANNELS),
                f"a WAV file of 1 to {MOST_CHANNELS} channels is expected; it has:",
                channels,
            ),
            _require(
                (sample_rate >= LOWEST_SAMPLE_RATE) & (sample_rate <= HIGHEST_SAMPLE_RATE),
                f"a sample rate of {LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE} Hz is expected; "
                "the WAV file's is:",
                sample_rate,
            ),
            _require(size > 0, "the WAV file holds no samples."),
        ]
    ):
        sample_format, sample_rate, channels = map(
            tf.identity, (sample_format, sample_rate, channels)
        )
        data = tf.strings.substr(contents, samples, tf.cast(size * frame_bytes, tf.int32))
    decoders = [
        lambda: (tf.cast(tf.io.decode_raw(data, tf.uint8), tf.float32) - 128) / 2**7,
        lambda: tf.cast(tf.io.decode_raw(data, tf.int16), tf.float32) / 2**15,
        lambda: _from_24_bits(data),
        lambda: tf.cast(tf.io.decode_raw(data, tf.int32), tf.float32) / 2**31,
        lambda: tf.io.decode_raw(data, tf.float32),
        lambda: tf.cast(tf.io.decode_raw(data, tf.float64), tf.float32),
    ]
    interleaved = tf.switch_case(sample_format, decoders)
    finite = _require(
        tf.reduce_all(tf.math.is_finite(interleaved)),
        "the WAV file holds a sample that is not a finite number.",
    )
    with tf.control_dependencies([finite]):
        frames = tf.reshape(interleaved, (-1, tf.cast(channels, tf.int32)))
    return Recording(tf.transpose(frames), tf.cast(sample_rate, tf.int32), sample_format)


def encode_wav(waveform: tf.Tensor, sample_rate: tf.Tensor, sample_format: tf.Tensor) -> tf.Tensor:
    """Encodes a WAV file; samples beyond full scale are clipped unless they are floats.

    Args:
        waveform: float32 `(channels, samples)`.
        sample_rate: int32 scalar, hertz.
        sample_format: int32 scalar, of the `Recording` whose format is wanted.

    Returns:
        string scalar.
    """
    written = tf.gather([number for _, _, number in _FORMATS], sample_format)
    channels = tf.shape(waveform)[0]
    interleaved = tf.reshape(tf.transpose(waveform), [-1])
    encoders = [
        lambda: raw_bytes(tf.cast(_steps(interleaved, 16), tf.int16)),
        # Little-endian: the fourth byte is the sign again.
        lambda: raw_bytes(tf.bitcast(_steps(interleaved, 24), tf.uint8)[:, :3]),
        lambda: raw_bytes(_steps(interleaved, 32)),
        lambda: raw_bytes(interleaved),
    ]
    data = tf.switch_case(written - 1, encoders)
    size = tf.strings.length(data)
    tag, bits = (tf.gather([each[column] for each in _FORMATS], written) for column in (0, 1))
    frame_bytes = channels * (bits // 8)
    # Whatever is not integers says once more how many samples there are.
    fact = tf.where(
        tag == _INTEGERS,
        "",
        tf.strings.join(["fact", raw_bytes(tf.stack([4, tf.shape(waveform)[1]]))]),
    )
    body = [
        "WAVEfmt ",
        raw_bytes(tf.constant(16)),
        raw_bytes(tf.cast(tf.stack([tag, channels]), tf.uint16)),
        raw_bytes(tf.stack([sample_rate, sample_rate * frame_bytes])),
        raw_bytes(tf.cast(tf.stack([frame_bytes, bits]), tf.uint16)),
        fact,
        "data",
        raw_bytes(size),
        data,
        tf.where(size % 2 == 1, tf.constant(b"\0"), ""),
    ]
    body = tf.strings.join(body)
    return tf.strings.join(["RIFF", raw_bytes(tf.strings.length(body)), body])


def raw_bytes(values: tf.Tensor) -> tf.Tensor:
    """The memory of a tensor of numbers as a string scalar, little-endian.

    TensorFlow has no operation for this. A serialised tensor ends with just these bytes, because
    they are its last field that is not empty.
    """
    size = tf.size(values) * values.dtype.size
    return tf.strings.substr(tf.io.serialize_tensor(values), -size, size)


def _find_chunks(contents, length):
    """Where the contents of the chunks `fmt ` and `data` begin, int32; 0 for one not found."""

    def goes_on(position, description, samples):
        return (samples == 0) & (position + _CHUNK_HEADER_BYTES <= length)

    def step(position, description, samples):
        begin = position + _CHUNK_HEADER_BYTES
        name = _text(contents, position)
        size = _number(contents, position + 4, 4)
        description = tf.where((name == "fmt ") & (size >= 16), begin, description)
        samples = tf.where(name == "data", begin, samples)
        after = tf.cast(begin, tf.int64) + size + size % 2
        return tf.cast(tf.minimum(after, tf.cast(length, tf.int64)), tf.int32), description, samples

    start = (tf.constant(_HEADER_BYTES), tf.constant(0), tf.constant(0))
    _, description, samples = tf.while_loop(
        goes_on, step, start, parallel_iterations=1, maximum_iterations=_MOST_CHUNKS
    )
    return description, samples


def _text(contents, position):
    """Four bytes from a position on, fewer where the string ends."""
    return tf.strings.substr(contents, tf.minimum(position, tf.strings.length(contents)), 4)


def _number(contents, position, size: int):
    """An unsigned number of `size` bytes, int64; bytes behind the end count as zero."""
    text = tf.strings.substr(contents, tf.minimum(position, tf.strings.length(contents)), size)
    values = tf.cast(tf.io.decode_raw(text, tf.uint8), tf.int64)
    weights = tf.constant([256**place for place in range(size)], tf.int64)
    return tf.reduce_sum(values * weights[: tf.size(values)])


def _from_24_bits(data):
    parts = tf.cast(tf.reshape(tf.io.decode_raw(data, tf.uint8), (-1, 3)), tf.int32)
    values = parts[:, 0] + parts[:, 1] * 2**8 + parts[:, 2] * 2**16
    return tf.cast(values - tf.where(parts[:, 2] >= 2**7, 2**24, 0), tf.float32) / 2**23


def _steps(waveform, bits: int):
    """The nearest step of so many bits, int32."""
    # Full scale of 32 bits is no float32.
    scaled = tf.round(tf.cast(waveform, tf.float64) * 2.0 ** (bits - 1))
    return tf.cast(tf.clip_by_value(scaled, -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1), tf.int32)


def _require(condition, message: str, *values):
    return tf.debugging.Assert(condition, [message, *values])
