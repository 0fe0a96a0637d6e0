"""The functions that every exported model has, whatever its family, as TensorFlow graphs.

`window` and `window_bytes` restore what `tfrestore.recordings` cuts a recording into, so that a
client restores recordings of any length with a server as it would without one; `properties` says
how to cut. `wav_bytes` takes whole files and needs no client but one that knows base64. None has an
operation or a Python function that TensorFlow Serving lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tfrestore.audio.tf_resampling import resample
from tfrestore.audio.tf_wav import decode_wav, encode_wav, raw_bytes
from tfrestore.layers.stft import reflect
from tfrestore.recordings import RecordingRestorer

#: What `properties` tells, by the names that a `RecordingRestorer` has for them.
PROPERTIES = (
    "sample_rate",
    "chunk_samples",
    "context_samples",
    "grid_samples",
    "reflects_ends",
    "noise_size",
    "accepts_gaps",
)


#: Of all channels of a WAV file, at its own rate and at the model's: a quarter of an hour of stereo
#: at 44.1 kHz. A header that names a low rate must not make a small file use up a server's memory.
MOST_SAMPLES = 2**26


@dataclass(frozen=True)
class ServedFunction:
    """A signature.

    Attributes:
        function: Takes a tensor for each of `inputs` and returns tensors by name.
        inputs: Their names, shapes and dtypes.
    """

    function: Callable
    inputs: list[tf.TensorSpec]


def served_functions(restorer) -> dict[str, ServedFunction]:
    """The functions of a `Restorer`, by the signature's name."""
    window_samples = restorer.chunk_plan.window_samples
    noise = []
    if restorer.is_stochastic:
        noise = [tf.TensorSpec((None, restorer.noise_size), tf.float32, "noise")]
    text = (None,)
    return {
        "window": ServedFunction(
            lambda waveform, *noise: {
                "restored": tf.ensure_shape(restorer.graph(waveform, *noise), waveform.shape)
            },
            [tf.TensorSpec((None, window_samples), tf.float32, "waveform"), *noise],
        ),
        "window_bytes": ServedFunction(
            lambda waveform_bytes, *noise: {
                "restored_bytes": _restore_window_bytes(restorer, waveform_bytes, *noise)
            },
            [tf.TensorSpec(text, tf.string, "waveform_bytes"), *noise],
        ),
        "wav_bytes": ServedFunction(
            lambda audio_bytes: {"restored_bytes": _restore_wavs(restorer, audio_bytes)},
            [tf.TensorSpec(text, tf.string, "audio_bytes")],
        ),
        "properties": ServedFunction(
            lambda query: {
                name: tf.fill(tf.shape(query), tf.constant(value, tf.int32))
                for name, value in properties(restorer).items()
            },
            [tf.TensorSpec((None,), tf.int32, "query")],
        ),
    }


def properties(restorer: RecordingRestorer) -> dict[str, int]:
    """What a client has to know of a model to cut recordings for it."""
    plan = restorer.chunk_plan
    values = (
        restorer.sample_rate,
        plan.chunk_samples,
        plan.context_samples,
        restorer.grid_samples,
        restorer.reflects_ends,
        restorer.noise_size,
        restorer.accepts_gaps,
    )
    return dict(zip(PROPERTIES, map(int, values), strict=True))


def _restore_window_bytes(restorer, waveform_bytes, *noise):
    longest = restorer.chunk_plan.window_samples
    lengths = tf.strings.length(waveform_bytes)
    fits = tf.debugging.Assert(
        tf.reduce_all((lengths % 4 == 0) & (lengths > 0) & (lengths <= longest * 4)),
        [f"waveform_bytes: each has to be 1 to {longest} float32 samples of 4 bytes."],
    )
    with tf.control_dependencies([fits]):
        waveform_bytes = tf.identity(waveform_bytes)

    def restore(texts, *noise):
        waveform = tf.reshape(tf.io.decode_raw(texts, tf.float32), (tf.size(texts), -1))
        restored = restorer.graph(waveform, *noise)
        return tf.map_fn(raw_bytes, restored, fn_output_signature=tf.TensorSpec((), tf.string))

    # Only windows at a recording's ends are of other lengths than the rest.
    return tf.cond(
        tf.reduce_all(lengths == lengths[:1]),
        lambda: restore(waveform_bytes, *noise),
        lambda: tf.map_fn(
            lambda row: restore(*[each[None] for each in row])[0],
            (waveform_bytes, *noise),
            parallel_iterations=1,
            fn_output_signature=tf.TensorSpec((), tf.string),
        ),
    )


def _restore_wavs(restorer, audio_bytes):
    return tf.map_fn(
        lambda contents: _restore_wav(restorer, contents), audio_bytes, parallel_iterations=1
    )


def _restore_wav(restorer, contents):
    """What `restore_file` does, of the file's contents."""
    waveform, sample_rate, sample_format = decode_wav(contents)
    own_samples = (
        tf.size(waveform, tf.int64) * restorer.sample_rate // tf.cast(sample_rate, tf.int64)
    )
    fits = tf.debugging.Assert(
        tf.maximum(tf.size(waveform, tf.int64), own_samples) <= MOST_SAMPLES,
        ["the WAV file is too long for one request; send windows of it, as the client does."],
    )
    with tf.control_dependencies([fits]):
        waveform = tf.identity(waveform)
    own = resample(waveform, sample_rate, restorer.sample_rate)
    correction = resample(_correct(restorer, own), restorer.sample_rate, sample_rate)
    restored = waveform + correction[:, : tf.shape(waveform)[1]]
    return encode_wav(restored, sample_rate, sample_format)


def _correct(restorer, waveform):
    """Restored minus input of `(channels, samples)`: a channel of a chunk at a time.

    Cuts as `tfrestore.audio.framing.process_in_chunks` does.
    """
    plan = restorer.chunk_plan
    chunk, context = plan.chunk_samples, plan.context_samples
    channels, samples = tf.unstack(tf.shape(waveform))
    chunks = -(-samples // chunk)
    source = waveform
    if plan.reflect:
        source = reflect(waveform, context, chunks * chunk - samples + context)
    noise = [restorer.choose_noise()[None]] if restorer.is_stochastic else []

    def correct(number):
        channel, start = number // chunks, number % chunks * chunk
        kept = tf.minimum(chunk, samples - start)
        length = plan.window_samples
        if plan.grid_samples:
            length -= (chunk - kept) // plan.grid_samples * plan.grid_samples
        first, last = start, start + length
        if not plan.reflect:
            first, last = tf.maximum(0, start - context), tf.minimum(samples, last - context)
        window = source[channel : channel + 1, first:last]
        correction = tf.cond(
            tf.reduce_any(window != 0),
            lambda: restorer.graph(window, *noise) - window,
            lambda: tf.zeros_like(window),
        )
        inside = context if plan.reflect else start - first
        return tf.pad(correction[0, inside : inside + kept], [[0, chunk - kept]])

    corrections = tf.map_fn(
        correct,
        tf.range(channels * chunks),
        parallel_iterations=1,
        fn_output_signature=tf.TensorSpec((None,), tf.float32),
    )
    return tf.reshape(corrections, (channels, -1))[:, :samples]
