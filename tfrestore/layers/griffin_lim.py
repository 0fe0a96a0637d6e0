"""Waveforms from magnitudes: Griffin-Lim and its fast variant, as a Keras layer.

Griffin & Lim, "Signal estimation from modified short-time Fourier transform" (1984), and, with
momentum, Perraudin, Balazs & Søndergaard, "A fast Griffin-Lim algorithm" (2013), algorithm 2:

    t_n = STFT(ISTFT(S * c_(n-1) / |c_(n-1)|))      c_n = t_n + momentum * (t_n - t_(n-1))

Only the phase of c_n is used, so that librosa's t_n - momentum / (1 + momentum) * t_(n-1) is the
same step.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tfrestore.errors import UsageError
from tfrestore.layers.stft import ShortTimeFourierLayer

# Added to a real part so that nothing has the phase of one and no division is by zero. Its square
# is a normal float32, and it is far below the rounding error of any spectrum.
_TINY = 1e-18


@keras.saving.register_keras_serializable(package="tfrestore")
class GriffinLim(ShortTimeFourierLayer):
    """Estimates the phase of a magnitude spectrogram: (batch, frames, bins) -> (batch, samples).

    With `momentum=0` and "full" padding each iteration brings the spectral convergence
    (`tfrestore.metrics.spectral.spectral_convergence`, with the two-sided spectrum) no further from
    zero: the inverse STFT is then the nearest waveform to a spectrum. Silence gives silence.

    Args:
        frame_length: Samples per frame.
        hop_length: Samples between the starts of neighbouring frames.
        fft_length: Points of the Fourier transform; `frame_length` by default.
        window: As for `STFT`.
        padding: As for `STFT`, with which the magnitudes were made.
        iterations: Number of iterations where a call asks for no other.
        momentum: 0 for Griffin & Lim 1984; 0.99 is what Perraudin et al. recommend; above 1 it may
            diverge.
        initial_phase: "zero", as in Serra et al.'s code, or "random", drawn from `seed` and so the
            same in every call on the same shape.
        seed: Seed of the random phase.
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
        iterations: int = 32,
        momentum: float = 0.0,
        initial_phase: str = "zero",
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(frame_length, hop_length, fft_length, window, padding, **kwargs)
        if iterations < 0:
            raise UsageError(f"iterations is {iterations}: it must be 0 or more.")
        if momentum < 0:
            raise UsageError(f"momentum is {momentum}: it must be 0 or more.")
        if initial_phase not in ("zero", "random"):
            raise UsageError(f'Unknown initial_phase {initial_phase!r}: use "zero" or "random".')
        self.iterations = int(iterations)
        self.momentum = float(momentum)
        self.initial_phase = initial_phase
        self.seed = int(seed)

    def context_frames(self, iterations: int | None = None) -> int:
        """Counts the frames on either side that can change a frame's samples.

        One inversion mixes `ceil(frame_length / hop_length) - 1` neighbours on either side; there
        is one per iteration, which estimate the spectrum, and a last one, which gives the waveform.
        """
        iterations = self.iterations if iterations is None else iterations
        return (iterations + 1) * (self._pieces - 1)

    def call(
        self,
        magnitude,
        samples=None,
        iterations=None,
        phase=None,
        known=None,
        lost=None,
    ):
        """Estimates waveforms.

        Args:
            magnitude: (batch, frames, bins), not negative.
            samples: Length of the result, an int or a scalar int tensor;
                `samples_for_frames(frames)` by default.
            iterations: Number of iterations, an int or a scalar int tensor; the constructor's by
                default.
            phase: Initial phase, a pair (real, imaginary) of (batch, frames, bins) whose magnitude
                is ignored.
            known: A waveform, (batch, samples), of which some samples are lost: the others are put
                back in each iteration, so that the phase is found which goes with them. Its own
                phase is the initial one where `phase` is not given.
            lost: bool (batch, samples), where `known` is lost; its values there do not matter.

        Returns:
            float32 (batch, samples).

        Raises:
            UsageError: if only one of `known` and `lost` is given.
        """
        if (known is None) != (lost is None):
            raise UsageError("Give known and lost together, or neither.")
        magnitude = ops.cast(magnitude, "float32")
        frames = ops.shape(magnitude)[1]
        samples = self.samples_for_frames(frames) if samples is None else samples
        gain = self.gain(frames)
        if known is not None:
            known = ops.where(lost, 0.0, ops.cast(known, "float32"))

        def with_magnitude(real, imaginary):
            real = real + _TINY
            scale = magnitude * ops.rsqrt(ops.square(real) + ops.square(imaginary))
            return scale * real, scale * imaginary

        def waveform(real, imaginary):
            estimate = self.synthesise(real, imaginary, samples, gain)
            return estimate if known is None else ops.where(lost, estimate, known)

        def consistent(real, imaginary):
            return self.analyse(waveform(real, imaginary), frames)

        def plain(_, spectrum):
            return with_magnitude(*consistent(*spectrum))

        def fast(step, state):
            spectrum, previous = state[:2], state[2:]
            momentum = self.momentum * ops.cast(step > 0, "float32")
            current = consistent(*spectrum)
            ahead = (t + momentum * (t - p) for t, p in zip(current, previous, strict=True))
            return (*with_magnitude(*ahead), *current)

        if phase is not None:
            phase = tuple(ops.cast(part, "float32") for part in phase)
        elif known is not None:
            phase = self.analyse(known, frames)
        elif self.initial_phase == "random":
            angle = keras.random.uniform(
                ops.shape(magnitude), 0.0, 2 * np.pi, "float32", seed=self.seed
            )
            phase = ops.cos(angle), ops.sin(angle)
        else:
            phase = ops.ones_like(magnitude), ops.zeros_like(magnitude)
        spectrum = with_magnitude(*phase)
        iterations = ops.cast(self.iterations if iterations is None else iterations, "int32")
        if self.momentum:
            spectrum = ops.fori_loop(0, iterations, fast, (*spectrum, *spectrum))[:2]
        else:
            spectrum = ops.fori_loop(0, iterations, plain, spectrum)
        return waveform(*spectrum)

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "iterations": self.iterations,
            "momentum": self.momentum,
            "initial_phase": self.initial_phase,
            "seed": self.seed,
        }
