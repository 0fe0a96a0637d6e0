"""Sampling-rate conversion with soxr, whole or block by block, without delay.

soxr's "very high quality" recipe is used: a linear-phase filter whose passband (within 0.01 dB)
reaches to 92 % of the lower of the two Nyquist frequencies and whose stopband (below -150 dB,
beyond what float32 samples hold) begins at that Nyquist frequency. A minute of stereo takes about
0.05 s.
"""

from __future__ import annotations

import numpy as np
import soxr

from tfrestore.errors import UsageError

_QUALITY = "VHQ"


def resampled_length(samples: int, sample_rate: int, target_sample_rate: int) -> int:
    """Number of samples after resampling: `samples * target / source`, rounded up.

    Rounding up keeps every sound of at least one sample at least one sample long, and makes the way
    there and back never shorter than the original, so that cutting it off restores the length.

    Args:
        samples: Length before, 0 or more.
        sample_rate: Rate before, in hertz.
        target_sample_rate: Rate after, in hertz.

    Returns:
        The length after.
    """
    return -(-samples * target_sample_rate // sample_rate)


def checked_sample_rate(sample_rate) -> int:
    """A sample rate in hertz as an int.

    Raises:
        UsageError: It is not a positive whole number.
    """
    try:
        if sample_rate >= 1 and int(sample_rate) == sample_rate:
            return int(sample_rate)
    except (TypeError, ValueError, OverflowError):
        pass
    raise UsageError(f"A sample rate is a positive whole number of hertz, not {sample_rate}.")


class StreamResampler:
    """Resamples a stream block by block, as `resample` does the whole.

    Memory is constant. What the calls of `process` and the one call of `finish` give back, joined,
    has exactly `resampled_length` samples and does not depend on how the stream was cut into
    blocks.

    Args:
        sample_rate: Rate of the blocks, in hertz, a positive integer.
        target_sample_rate: Rate wanted, in hertz, a positive integer.
        channels: Number of channels.

    Raises:
        UsageError: A rate is not a positive integer.
    """

    def __init__(self, sample_rate: int, target_sample_rate: int, channels: int) -> None:
        self.sample_rate = checked_sample_rate(sample_rate)
        self.target_sample_rate = checked_sample_rate(target_sample_rate)
        self.channels = channels
        self._samples_in = 0
        self._samples_out = 0
        self._stream = None
        if self.sample_rate != self.target_sample_rate:
            self._stream = soxr.ResampleStream(
                self.sample_rate, self.target_sample_rate, channels, "float32", _QUALITY
            )

    def process(self, block: np.ndarray) -> np.ndarray:
        """Takes the next samples and gives back those that are ready.

        Args:
            block: float32, shape `(channels, samples)`, any number of samples.

        Returns:
            float32, shape `(channels, any number)`; the first calls may give nothing.
        """
        self._samples_in += block.shape[1]
        return self._convert(block, last=False)

    def finish(self) -> np.ndarray:
        """Gives back the rest; the resampler cannot be used afterwards.

        Returns:
            float32, shape `(channels, any number)`.
        """
        total = resampled_length(self._samples_in, self.sample_rate, self.target_sample_rate)
        # soxr rounds to nearest; with silence behind the end it gives the sample that rounding up
        # asks for.
        silence = self.sample_rate // self.target_sample_rate + 1 if self._samples_in else 0
        before = self._samples_out
        if self._stream is None:
            silence = 0
        rest = self._convert(np.zeros((self.channels, silence), np.float32), last=True)
        return rest[:, : total - before]

    def _convert(self, block: np.ndarray, last: bool) -> np.ndarray:
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise ValueError(
                f"Expected blocks of shape ({self.channels}, samples), received {block.shape}."
            )
        frames = np.ascontiguousarray(block.T, dtype=np.float32)
        if self._stream is not None:
            frames = self._stream.resample_chunk(frames, last=last)
        self._samples_out += len(frames)
        return np.ascontiguousarray(frames.T)


def resampling_latency(sample_rate: int, target_sample_rate: int) -> float:
    """How far what a `StreamResampler` gives back is behind what it has been given, at most.

    soxr works in blocks of its own; this is measured, on a second of silence.

    Args:
        sample_rate: Rate before, in hertz.
        target_sample_rate: Rate after, in hertz.

    Returns:
        Seconds; 0 where the rates are the same.
    """
    if sample_rate == target_sample_rate:
        return 0.0
    resampler = StreamResampler(sample_rate, target_sample_rate, 1)
    block = np.zeros((1, max(1, sample_rate // 1000)), np.float32)
    behind = taken = given = 0.0
    while taken < 1:
        taken += block.shape[1] / sample_rate
        given += resampler.process(block).shape[1] / target_sample_rate
        behind = max(behind, taken - given)
    return behind


def resample(waveform: np.ndarray, sample_rate: int, target_sample_rate: int) -> np.ndarray:
    """Converts a waveform to another sampling rate; linear phase, no delay.

    Args:
        waveform: float32, shape `(channels, samples)`, any length and number of channels.
        sample_rate: Its rate in hertz.
        target_sample_rate: The rate wanted, in hertz.

    Returns:
        float32, shape `(channels, resampled_length(samples, sample_rate, target_sample_rate))`.

    Raises:
        UsageError: A rate is not a positive integer.
    """
    resampler = StreamResampler(sample_rate, target_sample_rate, waveform.shape[0])
    return np.concatenate([resampler.process(waveform), resampler.finish()], axis=1)
