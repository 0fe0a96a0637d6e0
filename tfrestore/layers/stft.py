"""The short-time Fourier transform and its least-squares inverse, as Keras layers.

The inverse is Griffin & Lim, "Signal estimation from modified short-time Fourier transform" (1984),
eq. 6: overlap-add of the windowed inverse transforms, divided by the summed squared window.

Where a waveform is padded decides which samples frame t sees. With L = frame_length,
H = hop_length and n samples, a Hann window's peak lies L // 2 after the frame's start:

| padding        | in front            | frames for n samples     | frame t starts at |
|----------------|---------------------|--------------------------|-------------------|
| `valid`        | nothing             | `1 + (n - L) // H`, >= 0 | `t H`             |
| `end`          | nothing             | `ceil(n / H)`            | `t H`             |
| `center`       | `L // 2`, reflected | `1 + (n - L % 2) // H`   | `t H - L // 2`    |
| `center_zeros` | `L // 2` zeros      | `1 + (n - L % 2) // H`   | `t H - L // 2`    |
| `full`         | `L - H` zeros       | `ceil((n + L - H) / H)`  | `t H - (L - H)`   |

`valid` and `end` are `tf.signal.stft` without and with `pad_end`; `center` is `torch.stft` and
`librosa.stft(pad_mode="reflect")`, `center_zeros` is `librosa.stft` by default. In `full` every
sample, the first and the last too, lies in every frame that can hold it, so that nothing is lost at
the edges; when H divides L its frame `t + L / H - 1` is the frame t of `end`.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tfrestore.errors import UsageError
from tfrestore.layers.float32_layer import Float32Layer

PADDINGS = ("valid", "end", "center", "center_zeros", "full")

# Below this share of its mean the summed squared window is not divided by: a float32 rounding error
# of 1e-7 times 1 / sqrt(1e-4) is the 1e-5 that reconstruction is held to, and an inconsistent
# spectrum is amplified at the bare edges of `valid` and `end` a hundred times at most.
_SMALLEST_ENERGY = 1e-4


def frames_for_samples(samples, frame_length: int, hop_length: int, padding: str):
    """Counts the frames that `STFT` makes of a waveform.

    Args:
        samples: Length of the waveform in samples, an int or a scalar int tensor.
        frame_length: Samples per frame.
        hop_length: Samples between the starts of neighbouring frames.
        padding: one of `PADDINGS` (see the module's table).

    Returns:
        The number of frames, an int for an int and a scalar tensor for a tensor.
    """
    if padding == "valid":
        return _maximum(0, 1 + (samples - frame_length) // hop_length)
    if padding == "end":
        return (samples + hop_length - 1) // hop_length
    if padding in ("center", "center_zeros"):
        return 1 + (samples - frame_length % 2) // hop_length
    return (samples + frame_length - 1) // hop_length


def samples_for_frames(frames, frame_length: int, hop_length: int, padding: str):
    """Counts the samples that frames describe: the length `InverseSTFT` gives by default.

    Args:
        frames: Number of frames, an int or a scalar int tensor.
        frame_length: Samples per frame.
        hop_length: Samples between the starts of neighbouring frames.
        padding: one of `PADDINGS` (see the module's table).

    Returns:
        The number of samples: the longest waveform of that many frames for "end" and "full", the
        reach of the last frame for "valid", and up to the centre of the last frame for the centred
        ones (as librosa and torch do).
    """
    if padding == "valid":
        return _maximum(0, (frames - 1) * hop_length + frame_length)
    if padding == "end":
        return frames * hop_length
    if padding in ("center", "center_zeros"):
        return _maximum(0, (frames - 1) * hop_length)
    return _maximum(0, (frames + 1) * hop_length - frame_length)


def window_samples(window, frame_length: int) -> np.ndarray:
    """Computes a window in double precision.

    Args:
        window: "hann" or "hamming" (periodic), "rectangular" or None (all ones), or an array
            (frame_length,).
        frame_length: Length in samples.

    Returns:
        The window, float64 (frame_length,).

    Raises:
        UsageError: if the name is unknown or the array has another length.
    """
    if window is None or isinstance(window, str):
        cosine = np.cos(2 * np.pi * np.arange(frame_length) / frame_length)
        named = {
            "hann": 0.5 - 0.5 * cosine,
            "hamming": 0.54 - 0.46 * cosine,
            "rectangular": np.ones(frame_length),
        }
        window = window or "rectangular"
        if window not in named:
            raise UsageError(
                f"Unknown window {window!r}: use one of {', '.join(named)} or an array."
            )
        return named[window]
    window = np.asarray(window, "float64")
    if window.shape != (frame_length,):
        raise UsageError(
            f"The window has shape {window.shape}: it must be ({frame_length},), the frame_length."
        )
    return window


class ShortTimeFourierLayer(Float32Layer):
    """What the STFT, its inverse and Griffin-Lim share: their arguments and the two transforms.

    Args:
        frame_length: Samples per frame, L.
        hop_length: Samples between the starts of neighbouring frames, H (1 to L).
        fft_length: Points of the Fourier transform, `frame_length` by default. A longer one pads
            the windowed frame with zeros at its end; a shorter one keeps only the frame's first
            `fft_length` samples, as `tf.signal.stft` does. The number of bins is
            `fft_length // 2 + 1`.
        window: "hann" or "hamming" (periodic), "rectangular" or None, or an array (frame_length,).
        padding: one of `PADDINGS` (see the module's table).
        **kwargs: `name` and the like, for `keras.layers.Layer`.

    Raises:
        UsageError: if an argument is out of range.
    """

    def __init__(
        self,
        frame_length: int,
        hop_length: int,
        fft_length: int | None = None,
        window="hann",
        padding: str = "full",
        **kwargs,
    ):
        super().__init__(**kwargs)
        fft_length = frame_length if fft_length is None else fft_length
        if not 1 <= hop_length <= frame_length:
            raise UsageError(
                f"hop_length is {hop_length}: it must be 1 to {frame_length}, the frame_length."
            )
        if fft_length < 1:
            raise UsageError(f"fft_length is {fft_length}: it must be at least 1.")
        if padding not in PADDINGS:
            raise UsageError(f"Unknown padding {padding!r}: use one of {', '.join(PADDINGS)}.")
        self.frame_length = int(frame_length)
        self.hop_length = int(hop_length)
        self.fft_length = int(fft_length)
        self.bins = self.fft_length // 2 + 1
        self.padding = padding
        self.window = (
            window if window is None or isinstance(window, str) else np.asarray(window).tolist()
        )
        # A frame is handled as pieces one hop long: framing and overlap-add are then a few shifted
        # copies.
        self._pieces = -(-self.frame_length // self.hop_length)
        self._front = {
            "valid": 0,
            "end": 0,
            "center": self.frame_length // 2,
            "center_zeros": self.frame_length // 2,
            "full": self.frame_length - self.hop_length,
        }[padding]
        taper = window_samples(window, self.frame_length)[: self.fft_length]
        self._window = taper.astype("float32")
        self._gains = _gains(taper, self.hop_length, self._pieces)

    def frames_for_samples(self, samples):
        """Counts the frames of a waveform of `samples` samples (see `frames_for_samples` above)."""
        return frames_for_samples(samples, self.frame_length, self.hop_length, self.padding)

    def samples_for_frames(self, frames):
        """Counts the samples that `frames` frames describe (see `samples_for_frames` above)."""
        return samples_for_frames(frames, self.frame_length, self.hop_length, self.padding)

    def analyse(self, waveform, frames=None):
        """Transforms (batch, samples) to a (real, imaginary) pair, each (batch, frames, bins).

        `frames` forces a number of frames: the waveform is cut, or lengthened with zeros, to fit.
        """
        batch, samples = ops.shape(waveform)
        frames = self.frames_for_samples(samples) if frames is None else frames
        if self.padding == "center":
            waveform = reflect(waveform, self._front, self._front)
        else:
            waveform = ops.pad(waveform, ((0, 0), (self._front, 0)))
        hops = frames + self._pieces - 1
        waveform = _cut(waveform, 0, hops * self.hop_length)
        waveform = ops.reshape(waveform, (batch, hops, self.hop_length))
        pieces = [
            waveform[:, piece : piece + frames, :width]
            for piece, _, width in self._windowed_pieces()
        ]
        windowed = ops.multiply(ops.concatenate(pieces, axis=-1), self._window)
        return ops.rfft(windowed, fft_length=self.fft_length)

    def synthesise(self, real, imaginary, samples=None, gain=None):
        """Transforms two parts of a spectrum (batch, frames, bins) back to (batch, samples).

        `gain` is `self.gain(frames)`; a caller that inverts many times computes it once.
        """
        batch, frames, _ = ops.shape(real)
        samples = self.samples_for_frames(frames) if samples is None else samples
        gain = self.gain(frames) if gain is None else gain
        segments = ops.irfft((real, imaginary), fft_length=self.fft_length)
        waveform = 0.0
        for piece, start, width in self._windowed_pieces():
            part = slice(start, start + width)
            segment = ops.multiply(segments[:, :, part], self._window[part])
            after = self._pieces - 1 - piece
            waveform += ops.pad(segment, ((0, 0), (piece, after), (0, self.hop_length - width)))
        hops = frames + self._pieces - 1
        waveform = ops.reshape(waveform * gain, (batch, hops * self.hop_length))
        return _cut(waveform, self._front, samples)

    def gain(self, frames):
        """Returns one over the summed squared window of `frames` frames: (hops, hop_length)."""
        hop = ops.arange(frames + self._pieces - 1, dtype="int32")
        first = ops.maximum(0, hop - (frames - 1))
        last = ops.minimum(self._pieces, hop + 1)
        return ops.take(self._gains, first * (self._pieces + 1) + last, axis=0)

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "frame_length": self.frame_length,
            "hop_length": self.hop_length,
            "fft_length": self.fft_length,
            "window": self.window,
            "padding": self.padding,
        }

    def _windowed_pieces(self):
        # (number, first sample, width) of the pieces of a frame that the window and the FFT leave.
        kept = len(self._window)
        return [
            (start // self.hop_length, start, min(self.hop_length, kept - start))
            for start in range(0, kept, self.hop_length)
        ]


@keras.saving.register_keras_serializable(package="tfrestore")
class STFT(ShortTimeFourierLayer):
    """The STFT: (batch, samples) -> a pair (real, imaginary), each (batch, frames, bins).

    Differentiable; any batch size and length, known or not. Computed in float32 under every
    precision policy. See `ShortTimeFourierLayer` for the arguments and the module's table for where
    frames lie.

    Example:
        `real, imaginary = STFT(256, 64, fft_length=255, padding="end")(waveform)` is
        `tf.signal.stft(waveform, 256, 64, 255, pad_end=True)`: 128 bins, no Nyquist bin.
    """

    def call(self, waveform):
        """Transforms waveforms.

        Args:
            waveform: (batch, samples). "center" needs at least one sample and repeats the
                reflection where the waveform is shorter than half a frame.

        Returns:
            A pair (real, imaginary), each float32 (batch, frames, bins).
        """
        return self.analyse(ops.cast(waveform, "float32"))


@keras.saving.register_keras_serializable(package="tfrestore")
class InverseSTFT(ShortTimeFourierLayer):
    """The least-squares inverse of `STFT` with the same arguments (Griffin & Lim 1984, eq. 6).

    `InverseSTFT(...)(STFT(...)(waveform), samples=n)` gives the waveform back to 1e-5 of its peak:
    every sample with "full" and, for hops up to half a frame, the centred paddings (if the window
    leaves no sample at weight zero), and with "valid" and "end" wherever the summed squared window
    is above 1e-4 of its mean; nearer the bare edges the result fades to zero instead of dividing by
    nothing.
    """

    def call(self, spectrum, samples=None):
        """Transforms spectra back.

        Args:
            spectrum: A pair (real, imaginary), each (batch, frames, bins).
            samples: Length of the result, an int or a scalar int tensor;
                `samples_for_frames(frames)` by default. What lies beyond the last frame is zero.

        Returns:
            float32 (batch, samples).
        """
        real, imaginary = (ops.cast(part, "float32") for part in spectrum)
        return self.synthesise(real, imaginary, samples)


def _gains(window: np.ndarray, hop_length: int, pieces: int) -> np.ndarray:
    """Tabulates one over the summed squared window where pieces first <= p < last of it overlap.

    All cases are computed here, in double precision: row `first * (pieces + 1) + last`,
    (hop_length,) each.
    """
    energy = np.zeros(pieces * hop_length)
    energy[: len(window)] = window**2
    energy = energy.reshape(pieces, hop_length)
    smallest = _SMALLEST_ENERGY * energy.sum() / hop_length
    table = np.ones((pieces + 1, pieces + 1, hop_length))
    for first in range(pieces):
        total = np.cumsum(energy[first:], axis=0)
        table[first, first + 1 :] = 1 / np.maximum(total, smallest)
    return table.reshape(-1, hop_length).astype("float32")


def reflect(waveform, before, after):
    """Extends waveforms by their reflection about the first and the last sample.

    Args:
        waveform: (batch, samples), at least one sample; where it is shorter than what it is
            extended by, the reflection is repeated.
        before: Samples to put in front, an int or a scalar int tensor.
        after: Samples to put behind.

    Returns:
        (batch, before + samples + after).
    """
    samples = ops.shape(waveform)[1]
    period = _maximum(1, 2 * (samples - 1))
    front = ops.arange(-before, 0, dtype="int32") % period
    back = (ops.arange(0, after, dtype="int32") + samples) % period
    edges = [ops.take(waveform, ops.minimum(i, period - i), axis=1) for i in (front, back)]
    return ops.concatenate([edges[0], waveform, edges[1]], axis=1)


def _cut(waveform, start: int, length):
    """Takes `length` samples of (batch, samples) from `start` on, zeros after its end."""
    batch, samples = ops.shape(waveform)
    missing = _maximum(0, start + length - samples)
    if not isinstance(missing, int) or missing:
        waveform = ops.concatenate([waveform, ops.zeros((batch, missing), "float32")], axis=1)
    return waveform[:, start : start + length]


def _maximum(a, b):
    # Plain numbers stay plain, so that known shapes stay known.
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else ops.maximum(a, b)
