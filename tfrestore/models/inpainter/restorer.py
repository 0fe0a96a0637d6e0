"""How the inpainters are used: waveform in, waveform out.

The path is Serra et al.'s (WebMedia 2021): magnitudes of a short-time Fourier transform, scaled to
at most one, through the U-Net, and back by Griffin-Lim. On real recordings it departs from the
paper in what it leaves alone: samples that were not lost stay as they are, and only the phase of
what was lost is looked for, from where the phases beside the gap lead (`phase="keep"`).
`phase="griffin_lim"` throws all phase away, as the paper does.

`phase="predict"` departs further, and is what PEAQ and ViSQOL like best: gaps are first filled by
linear prediction from both sides, over the whole bandwidth, at a rate that may be a multiple of the
network's. That keeps the partials in phase, but what is noise dies away in it. The network, which
is shown the gaps as it was trained, says how much there was: magnitudes that were predicted smaller
are raised to what it says, with the phase that was predicted.

With phases continued, one iteration of Griffin-Lim is best on real music with the magnitudes a
trained network gives: it takes out what contradicts the samples around a gap, and every further one
moves the waveform away from the original again. `benchmarks/phase.py` prints the comparison.
"""

from __future__ import annotations

import math

import keras
from keras import ops

from tfrestore.layers.gap_detection import GapDetection
from tfrestore.layers.griffin_lim import GriffinLim
from tfrestore.layers.linear_prediction import LinearPrediction
from tfrestore.layers.phase_continuation import PhaseContinuation
from tfrestore.layers.rate_division import Decimation, Interpolation
from tfrestore.layers.sliding_window import slide
from tfrestore.layers.stft import STFT
from tfrestore.models.inpainter.network import UNet
from tfrestore.restorer import Endpoint, Restorer

#: How phase is treated, each with the iterations and the momentum of Griffin-Lim that suit it.
PHASES = {"keep": (1, 0.0), "predict": (1, 0.0), "griffin_lim": (100, 0.99)}

#: Seconds within which what the network adds to a prediction sets in at the edges of a gap.
ONSET = 0.001


@keras.saving.register_keras_serializable(package="tfrestore")
class InpainterRestorer(Restorer):
    """Fills the gaps of recordings with a trained `UNet`.

    Takes waveforms `(batch, samples)` at `sample_rate` and returns the same shape. Lost samples are
    those that are NaN and those that `GapDetection` finds; everything else is returned as it is,
    and a waveform without gaps unchanged.

    Args:
        network: the `UNet`.
        sample_rate: int. Hz of the waveforms. Defaults to `16000`, as the following the paper's.
        frame_length: int. Samples per STFT frame. Defaults to `256`.
        hop_length: int. Samples between frames. Defaults to `64`.
        fft_length: int. Points of the transform. Defaults to `255`, which gives exactly the paper's
            128 bins and loses nothing.
        input_scale: float. What magnitudes are divided by for the network. Defaults to `128.0`.
        target_scale: float. The same for the targets it is trained on. Defaults to `128.0`.
        offset: float. Added after the division. Defaults to `0.001`.
        phase: `"keep"`, `"predict"` or `"griffin_lim"`. Defaults to `"keep"`.
        iterations: int. Griffin-Lim iterations. Defaults to `100` with `"griffin_lim"` and to `1`
            otherwise.
        momentum: float. Of fast Griffin-Lim; `0` is the plain one. Defaults to `0.99` with
            `"griffin_lim"` and to `0` otherwise.
        spectrogram_rate: int. Hz at which the spectrogram is taken that the network sees; with
            `"predict"` the sample rate may be a multiple of it. Defaults to the sample rate.

    Raises:
        ValueError: if `phase` is none of the three, or the rates do not go together.
    """

    accepts_gaps = True
    default_degradation = "gaps:frames"

    def __init__(
        self,
        network: UNet,
        sample_rate: int = 16000,
        frame_length: int = 256,
        hop_length: int = 64,
        fft_length: int = 255,
        input_scale: float = 128.0,
        target_scale: float = 128.0,
        offset: float = 0.001,
        phase: str = "keep",
        iterations: int | None = None,
        momentum: float | None = None,
        spectrogram_rate: int | None = None,
        **kwargs,
    ):
        if phase not in PHASES:
            raise ValueError(
                f"Argument `phase` must be one of {tuple(PHASES)}. Received: phase={phase!r}"
            )
        spectrogram_rate = spectrogram_rate or sample_rate
        if sample_rate % spectrogram_rate or (
            phase != "predict" and sample_rate != spectrogram_rate
        ):
            raise ValueError(
                "Argument `sample_rate` must be that of the spectrogram, or with "
                '`phase="predict"` a multiple of it. Received: '
                f"sample_rate={sample_rate}, spectrogram_rate={spectrogram_rate}, phase={phase!r}"
            )
        super().__init__(network, sample_rate=sample_rate, **kwargs)
        self.spectrogram_rate = spectrogram_rate
        self.frame_length = frame_length
        self.hop_length = hop_length
        self.fft_length = fft_length
        self.input_scale = input_scale
        self.target_scale = target_scale
        self.offset = offset
        self.phase = phase
        self.iterations = PHASES[phase][0] if iterations is None else iterations
        self.momentum = PHASES[phase][1] if momentum is None else momentum
        transform = {
            "frame_length": frame_length,
            "hop_length": hop_length,
            "fft_length": fft_length,
        }
        self.detection = GapDetection(sample_rate)
        self.stft = STFT(**transform)
        self.patch_stft = STFT(**transform, padding="valid")
        self.phase_continuation = PhaseContinuation()
        self.linear_prediction = LinearPrediction(longest=round(0.2 * sample_rate))
        self.decimation = Decimation(self._rate_ratio)
        self.interpolation = Interpolation(self._rate_ratio)
        self.griffin_lim = GriffinLim(
            **transform, iterations=self.iterations, momentum=self.momentum
        )

    @property
    def _rate_ratio(self) -> int:
        """How many samples of a waveform there are to one of what the spectrogram is made of."""
        return self.sample_rate // self.spectrogram_rate

    @property
    def context_samples(self) -> int:
        """What the network, Griffin-Lim, prediction and detection see to each side of a sample."""
        frames = self.network.context_frames + self.griffin_lim.context_frames()
        samples = self.detection.context_samples
        if self.phase == "predict":
            samples += self.linear_prediction.context_samples
            samples += self.decimation.reach + self.interpolation.reach
        else:
            frames += self.phase_continuation.history
        samples += frames * self.hop_length * self._rate_ratio
        return math.ceil(samples / self.grid_samples) * self.grid_samples

    @property
    def grid_samples(self) -> int:
        """Chunks start on this grid, on which the network's strides lie."""
        return 2**self.network.depth * self.hop_length * self._rate_ratio

    def call(self, waveform):
        """See the class."""
        waveform = ops.cast(waveform, "float32")
        marked = ops.isnan(waveform)
        waveform = ops.where(marked, 0.0, waveform)
        if self.phase == "griffin_lim":
            real, imaginary = self.stft(waveform)
            magnitude = self.restore_magnitude(absolute(real, imaginary))
            return self.griffin_lim(magnitude, samples=ops.shape(waveform)[1])
        lost = ops.logical_or(marked, self.detection(waveform))
        fill = self._predict if self.phase == "predict" else self._continue
        return ops.cond(ops.any(lost), lambda: fill(waveform, lost), lambda: ops.copy(waveform))

    def _predict(self, waveform, lost):
        """Fills gaps by linear prediction, with as much in them as the network says there was."""
        filled = self.linear_prediction(waveform, lost)
        low, low_lost = self.decimation(filled), self._at_spectrogram_rate(lost)
        real, imaginary = self.stft(low)
        predicted = absolute(real, imaginary)
        intact = self._intact_frames(low_lost)[..., None]
        estimate = self.restore_magnitude(predicted * ops.cast(intact, "float32"))
        # Where nothing was predicted, far from the edges of a long gap, there is no phase either.
        estimate = ops.where(predicted > 0, ops.maximum(predicted, estimate), 0.0)
        raised = self.griffin_lim(
            ops.where(intact, predicted, estimate),
            samples=ops.shape(low)[1],
            phase=(real, imaginary),
            known=low,
            lost=low_lost,
        )
        correction = self.interpolation(raised - low, samples=ops.shape(filled)[1])
        return filled + self._within(lost) * correction

    def _at_spectrogram_rate(self, lost):
        """Which samples of the spectrogram's rate have a lost one among those they stand for."""
        batch, samples = ops.shape(lost)
        padded = ops.pad(lost, [[0, 0], [0, -samples % self._rate_ratio]])
        return ops.any(ops.reshape(padded, (batch, -1, self._rate_ratio)), axis=2)

    def _within(self, lost):
        """`(batch, samples)`: 0 outside of gaps, rising to 1 within `ONSET` of their edges."""
        reach = max(1, round(ONSET * self.sample_rate / 2))
        beside, width = [[0, 0], [reach, reach]], 2 * reach + 1
        inner = slide(ops.pad(ops.cast(lost, "float32"), beside), width, ops.minimum)
        return slide(ops.pad(inner, beside), width, ops.add) / width

    def _continue(self, waveform, lost):
        """Fills gaps with the network's magnitudes and the phases that lead into them."""
        waveform = ops.where(lost, 0.0, waveform)
        real, imaginary = self.stft(waveform)
        magnitude = absolute(real, imaginary)
        # A frame that touches a lost sample is zeroed whole: that is how the network was shown
        # gaps.
        intact = self._intact_frames(lost)
        magnitude = magnitude * ops.cast(intact, "float32")[..., None]
        real, imaginary, coherence = self.phase_continuation(real, imaginary, intact)
        # Where nothing says which phase it was, the full magnitude would be wrong more often than
        # right.
        estimate = self.restore_magnitude(magnitude) * coherence
        return self.griffin_lim(
            ops.where(intact[..., None], magnitude, estimate),
            samples=ops.shape(waveform)[1],
            phase=(real, imaginary),
            known=waveform,
            lost=lost,
        )

    def _intact_frames(self, lost):
        """Bool `(batch, frames)`: whether none of a frame's samples are lost."""
        overlap = self.frame_length // self.hop_length
        batch, samples = ops.shape(lost)
        frames = self.stft.frames_for_samples(samples)
        hops = frames + overlap - 1
        before = (overlap - 1) * self.hop_length
        after = hops * self.hop_length - before - samples
        padded = ops.concatenate(
            [
                ops.zeros((batch, before), "float32"),
                ops.cast(lost, "float32"),
                ops.zeros((batch, after), "float32"),
            ],
            axis=1,
        )
        hop_lost = ops.max(ops.reshape(padded, (batch, hops, self.hop_length)), axis=2)
        return slide(hop_lost, overlap, ops.maximum) < 1

    def restore_magnitude(self, magnitude):
        """The network on plain magnitudes `(batch, frames, bins)`; none of its own is negative."""
        restored = self.network(self.normalise(magnitude), training=False)
        return ops.maximum((restored[..., 0] - self.offset) * self.input_scale, 0.0)

    def normalise(self, magnitude, scale: float | None = None):
        """Plain magnitudes `(batch, frames, bins)` to the network's `(batch, frames, bins, 1)`."""
        return (magnitude / (scale or self.input_scale) + self.offset)[..., None]

    def patch_magnitudes(self, waveforms, frames: int):
        """Waveforms `(batch, samples)` to patches `(batch * patches, frames, bins)` in their order.

        The last frames, too few for a patch, are left out.
        """
        magnitude = absolute(*self.patch_stft(waveforms))
        batch, available, bins = ops.shape(magnitude)
        patches = available // frames
        return ops.reshape(magnitude[:, : patches * frames], (batch * patches, frames, bins))

    def for_inference(self):
        """With batch normalisation folded into the network's convolutions."""
        config = {**self.get_config(), "network": self.network.fold_batch_normalization()}
        return type(self)(**config)

    def endpoints(self):
        """Beside `serving_default`, `spectrogram`: magnitudes `(batch, frames, bins)` to such."""
        bins = self.fft_length // 2 + 1
        return {
            **super().endpoints(),
            "spectrogram": Endpoint(
                self.restore_magnitude, {"magnitude": (None, None, bins)}, "magnitude"
            ),
        }

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "sample_rate": self.sample_rate,
            "frame_length": self.frame_length,
            "hop_length": self.hop_length,
            "fft_length": self.fft_length,
            "input_scale": self.input_scale,
            "target_scale": self.target_scale,
            "offset": self.offset,
            "phase": self.phase,
            "iterations": self.iterations,
            "momentum": self.momentum,
            "spectrogram_rate": self.spectrogram_rate,
        }


def absolute(real, imaginary):
    """The magnitude of a complex spectrum given as its two parts, of the same shape."""
    return ops.sqrt(ops.square(real) + ops.square(imaginary))
