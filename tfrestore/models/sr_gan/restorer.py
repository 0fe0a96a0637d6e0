"""How the generators of Lattner & Nistal are used: waveform in, waveform out.

The path is the paper's (Electronics 2021, section 3): the complex short-time Fourier transform,
real and imaginary parts through the signed square root, through the generator, and all of it back.
The generator's phase is used; no Griffin-Lim is needed.

The generator pads no frames, so that it gives 62 fewer at either side than it is given. What it is
given there is always the recording itself; only before its first and behind its last sample is it
reflected. The convolutions next to input and output do pad; the 14 frames that this reaches are
thrown away. So a recording's restoration does not depend on how it is cut.
"""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from tfrestore.layers.signed_square_root import SignedSquare, SignedSquareRoot
from tfrestore.layers.stft import STFT, InverseSTFT, reflect
from tfrestore.models.sr_gan.network import FrequencyAggregationGenerator
from tfrestore.restorer import Restorer


@keras.saving.register_keras_serializable(package="tfrestore")
class SRGANRestorer(Restorer):
    """Restores what an MP3 encoder took, with a trained `FrequencyAggregationGenerator`.

    Takes waveforms `(batch, samples)` at `sample_rate`, of any length from one sample on, and
    returns the same shape. A generator with noise can do so in as many ways as there are noise
    vectors `(batch, noise_size)`, the second argument of the call; left out, it is that of
    candidate 1 of seed 0, so that the call gives the same version every time.

    The bin that the generator does not see, at half the sample rate, stays as it is, and so does
    digital silence, frame by frame.

    Args:
        network: the `FrequencyAggregationGenerator`.
        sample_rate: int. Hz. Defaults to the paper's `44100`.
        frame_length: int. Samples per STFT frame, twice the network's bins. Defaults to `2048`.
        hop_length: int. Samples between frames; divides `frame_length`. Defaults to `512`.

    Raises:
        ValueError: if `frame_length` does not fit the network or `hop_length` not the frames.
    """

    default_degradation = "mp3:16"

    def __init__(
        self,
        network: FrequencyAggregationGenerator,
        sample_rate: int = 44100,
        frame_length: int = 2048,
        hop_length: int = 512,
        **kwargs,
    ):
        if frame_length != 2 * network.bins:
            raise ValueError(
                "Argument `frame_length` must be twice the network's bins, "
                f"{2 * network.bins}. Received: frame_length={frame_length}"
            )
        if frame_length % hop_length:
            raise ValueError(
                f"Argument `hop_length` must divide `frame_length`, {frame_length}. Received: "
                f"hop_length={hop_length}"
            )
        super().__init__(network, sample_rate=sample_rate, **kwargs)
        self.frame_length = frame_length
        self.hop_length = hop_length
        self.stft = STFT(frame_length, hop_length, padding="valid")
        self.inverse_stft = InverseSTFT(frame_length, hop_length, padding="full")
        self.signed_square_root = SignedSquareRoot()
        self.signed_square = SignedSquare()

    @property
    def noise_size(self) -> int:
        """Length of the network's noise vector; 0 for a deterministic one."""
        return self.network.noise_size

    @property
    def context_samples(self) -> int:
        """What the network sees to each side of a frame, and a frame to each side of a sample."""
        samples = self.network.receptive_frames * self.hop_length + self.frame_length - 1
        return math.ceil(samples / self.grid_samples) * self.grid_samples

    @property
    def grid_samples(self) -> int:
        """Chunks start on this grid, on which the frames lie."""
        return self.hop_length

    def spectrum(self, waveform):
        """Real and imaginary parts `(batch, frames, bins + 1, 2)` of waveforms `(batch, samples)`.

        No frame reaches beyond the waveform.
        """
        return ops.stack(self.stft(waveform), axis=-1)

    def represent(self, spectrum):
        """What the network sees of a spectrum `(batch, frames, bins + 1, 2)`: one bin less."""
        return self.signed_square_root(spectrum[:, :, : self.network.bins])

    def call(self, waveform, noise=None):
        """See the class."""
        waveform = ops.cast(waveform, "float32")
        samples = ops.shape(waveform)[1]
        behind = self.context_samples + (-samples) % self.hop_length
        return self._restore_inner(reflect(waveform, self.context_samples, behind), noise)[
            :, :samples
        ]

    def restore_windows(self, waveform, *noise):
        """See `Restorer`; zeros are returned for the context."""
        context = self.context_samples
        return ops.pad(self._restore_inner(waveform, *noise), ((0, 0), (context, context)))

    def _restore_inner(self, waveform, noise=None):
        """Restores what lies between the contexts: whole hops, (batch, samples - 2 contexts)."""
        spectrum = self.spectrum(waveform)
        restored = self.network(
            self.represent(spectrum), **self._noise_argument(noise), training=False
        )
        # Of the frames that the context gives, those that share samples with the inner part stay.
        lost = (self.context_samples - self.frame_length) // self.hop_length + 1
        padded = lost - self.network.context_frames
        restored = self.signed_square(restored[:, padded:-padded])
        own = spectrum[:, lost:-lost]
        # Decided frame by frame, which is the same however the recording is cut.
        sounding = ops.any(ops.not_equal(own, 0.0), axis=(2, 3), keepdims=True)
        restored = ops.where(sounding, restored, 0.0)
        restored = ops.concatenate([restored, own[:, :, self.network.bins :]], axis=2)
        return self.inverse_stft((restored[..., 0], restored[..., 1]))

    def _noise_argument(self, noise) -> dict:
        if not self.is_stochastic:
            if noise is not None:
                raise ValueError("Argument `noise` was given to a restorer whose network has none.")
            return {}
        if noise is None:
            noise = self.choose_noise()[np.newaxis]
        return {"noise": ops.cast(noise, "float32")}

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "sample_rate": self.sample_rate,
            "frame_length": self.frame_length,
            "hop_length": self.hop_length,
        }
