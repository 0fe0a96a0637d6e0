"""Two effects that a MIDI synthesizer has and symusic's has not: reverberation and chorus.

Both are functions of the sample's number in the recording, so that a stretch of the recording that
is made on its own, with what is before it, equals that stretch of the whole.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import oaconvolve

REVERBERATION_SECONDS = 1.2
_EARLIEST_REFLECTION_SECONDS = 0.01

# Three voices that wander around a delay of 15 ms, as in a usual chorus.
_VOICES = 3
_DELAY_SECONDS, _DEPTH_SECONDS, _HERTZ = 0.015, 0.003, 0.5
CHORUS_SECONDS = _DELAY_SECONDS + _DEPTH_SECONDS


def room_response(sample_rate: int, channels: int) -> np.ndarray:
    """Noise, another in each channel, that decays by 60 dB in 1.2 s; its energy is 1.

    Args:
        sample_rate: Hz.
        channels: How many.

    Returns:
        float64 `(channels, samples)`.
    """
    seconds = np.arange(round(REVERBERATION_SECONDS * sample_rate)) / sample_rate
    noise = np.random.RandomState(0).uniform(-1, 1, (channels, len(seconds)))
    response = noise * 10 ** (-3 * seconds / REVERBERATION_SECONDS)
    response[:, : round(_EARLIEST_REFLECTION_SECONDS * sample_rate)] = 0
    return response / np.sqrt((response**2).sum(axis=1, keepdims=True))


def reverberation(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """The sound of a room that the waveform is played in, without the waveform itself.

    Args:
        waveform: float32 `(samples,)`, preceded by silence.
        sample_rate: Hz.

    Returns:
        float32 `(samples,)`.
    """
    response = room_response(sample_rate, 1)[0]
    return oaconvolve(waveform, response)[: len(waveform)].astype(np.float32)


def chorus(waveform: np.ndarray, sample_rate: int, first: int) -> np.ndarray:
    """The mean of three voices whose delays wander, without the waveform itself.

    Args:
        waveform: float32 `(samples,)`, preceded by silence.
        sample_rate: Hz.
        first: Number, in the recording, of the waveform's first sample.

    Returns:
        float32 `(samples,)`.
    """
    numbers = np.arange(len(waveform))
    turns = _HERTZ * (first + numbers) / sample_rate
    voices = np.zeros(len(waveform))
    for voice in range(_VOICES):
        wandering = np.sin(2 * np.pi * (turns + voice / _VOICES))
        delay = (_DELAY_SECONDS + _DEPTH_SECONDS * wandering) * sample_rate
        voices += np.interp(numbers - delay, numbers, waveform, left=0.0)
    return (voices / _VOICES).astype(np.float32)
