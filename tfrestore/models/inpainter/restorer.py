"""How the inpainters are used: waveform in, waveform out.

The path is Serra et al.'s (WebMedia 2021): magnitudes of a short-time Fourier transform, scaled to
at most one, through the U-Net, and back by Griffin-Lim. On real recordings it departs from the
paper in what it leaves alone: samples that were not lost stay as they are, and only the phase of
what was lost is looked for, from where the phases beside the gap lead (`phase="keep"`).
`phase="griffin_lim"` throws all phase away, as the paper does.

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
from tfrestore.layers.phase_continuation import PhaseContinuation
from tfrestore.layers.sliding_window import slide
from tfrestore.layers.stft import STFT
from tfrestore.models.inpainter.network import UNet
from tfrestore.restorer import Endpoint, Restorer

#: How phase is treated, each with the iterations and the momentum of Griffin-Lim that suit it.
PHASES = {"keep": (1, 0.0), "griffin_lim": (100, 0.99)}


@keras.saving.register_keras_serializable(package="tfrestore")
class InpainterRestorer(Restorer):
    """Fills the gaps of recordings with a trained `UNet`.

    Takes waveforms `(batch, samples)` at `sample_rate` and returns the same shape. Lost samples are
    those that are NaN and those that `GapDetection` finds; everything else is returned as it is,
    and a waveform without gaps unchanged.

    Args:
        network: the `UNet`.
        sample_rate: int. Hz. Defaults to `16000`, as the following the paper's.
        frame_length: int. Samples per STFT frame. Defaults to `256`.
        hop_length: int. Samples between frames. Defaults to `64`.
        fft_length: int. Points of the transform. Defaults to `255`, which gives exactly the paper's
            128 bins and loses nothing.
        input_scale: float. What magnitudes are divided by for the network. Defaults to `128.0`.
        target_scale: float. The same for the targets it is trained on. Defaults to `128.0`.
        offset: float. Added after the division. Defaults to `0.001`.
        phase: `"keep"` or `"griffin_lim"`. Defaults to `"keep"`.
        iterations: int. Griffin-Lim iterations. Defaults to `1` with `"keep"` and to `100` with
            `"griffin_lim"`.
        momentum: float. Of fast Griffin-Lim; `0` is the plain one. Defaults to `0` with `"keep"`
            and to `0.99` with `"griffin_lim"`.

    Raises:
        ValueError: if `phase` is neither of the two.
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
        **kwargs,
    ):
        if phase not in PHASES:
            raise ValueError(
                f"Argument `phase` must be one of {tuple(PHASES)}. Received: phase={phase!r}"
            )
        super().__init__(network, sample_rate=sample_rate, **kwargs)
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
        self.griffin_lim = GriffinLim(
            **transform, iterations=self.iterations, momentum=self.momentum
        )

    @property
    def context_samples(self) -> int:
        """What the network, Griffin-Lim and the detection see to each side of a sample."""
        frames = self.network.context_frames + self.griffin_lim.context_frames()
        frames += self.phase_continuation.history
        samples = frames * self.hop_length + self.detection.context_samples
        return math.ceil(samples / self.grid_samples) * self.grid_samples

    @property
    def grid_samples(self) -> int:
        """Chunks start on this grid, on which the network's strides lie."""
        return 2**self.network.depth * self.hop_length

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
        return ops.cond(
            ops.any(lost), lambda: self._fill(waveform, lost), lambda: ops.copy(waveform)
        )

    def _fill(self, waveform, lost):
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
        }


def absolute(real, imaginary):
    """The magnitude of a complex spectrum given as its two parts, of the same shape."""
    return ops.sqrt(ops.square(real) + ops.square(imaginary))
