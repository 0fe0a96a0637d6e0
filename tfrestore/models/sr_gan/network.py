"""The generator with frequency aggregation filters; the critic is in `discriminator.py`.

Lattner & Nistal, "Stochastic Restoration of Heavily Compressed Musical Audio using Generative
Adversarial Networks" (Electronics 2021), section 3 and Table 1. Layers are named as in the table.

A recording's spectrum is the signed square root (eq. 4) of the real and the imaginary part of its
short-time Fourier transform of window 2048: `(batch, frames, 1024, 2)`. Maps lie last and bins
before them, so that Conv4 and DeConv4, which span all bins and do nearly all the work, are plain
matrix products over memory as it lies, and so that the reshapes between 4096 maps of one bin and
128 maps of 32 move nothing. What is learnt is the same in any order of these maps.

Where the paper leaves a choice:

- Which of the 1025 bins is left out: the last, Nyquist's.
- A dilation holds for both axes, time and frequency, as one number does in most libraries.
- DeConv3-1 are transposed convolutions of stride 1, which are convolutions with the kernel turned
  over, and are computed so.
- He's initialisation is taken at his word: a kernel's variance is such that its activation hands on
  the mean square that the kernel got. It is 2 / fan-in in front of PReLU, and in front of the
  generator's self-gating, which halves what it passes, 5.2 / fan-in. With 2 the nine gates in a row
  leave a 400th of the input (measured): a fresh generator says the same whatever the music and the
  noise, and the mode-collapse losses, a thousand times the critic's, drown it. The critic's skip
  connections carry the signal past the gates; all of its kernels have 2 / fan-in.
- Of what a fresh Conv6 hears, the noise has the share that it has in Table 1, 64 of 320 maps, in
  networks of other sizes too: there its kernels are initially smaller or larger than the others.
- PReLU has one slope per map, shared over time and frequency, starting at 0.25. The two output
  layers, DeConv1 and Conv16, are linear: their values have either sign.
- Every layer has a bias per map. So the generator has 322,538,274 parameters; the 322.53 million
  that a later paper reports would be one slope per layer instead of per map, 322,532,344.
- Table 1's maps of the critic are those of its two groups together, as in a grouped convolution.
- The critic's skip connection over Conv6, whose input has twice its output's maps, is a 1×1
  convolution without bias (He et al. 2016); over Conv7-14 it is the identity. Each is added behind
  the self-gating.
- Conv15 has a PReLU and no self-gating.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import keras
from keras import ops

from tfrestore.layers.self_gating import MapwisePReLU
from tfrestore.models.sr_gan.convolutions import convolution
from tfrestore.models.sr_gan.frequency_aggregation import FrequencyDistribution
from tfrestore.models.sr_gan.residual import USUAL_LEVEL, HoleFilling
from tfrestore.models.sr_gan.spectrum_model import PARTS, SpectrumModel
from tfrestore.models.sr_gan.trunk import (
    INNER_DILATIONS,
    OUTER_DILATIONS,
    FrequencyAggregationTrunk,
    versions_of,
)


@keras.saving.register_keras_serializable(package="tfrestore")
class FrequencyAggregationGenerator(SpectrumModel):
    """Restores the spectrum of a heavily compressed recording, one way of many.

    `generator(spectrum, noise)` takes the signed square root of a short-time Fourier transform,
    `(batch, frames, bins, 2)`, and `(batch, noise_size)` values drawn from a standard normal
    distribution, and returns the same representation of the restored recording, float32,
    `(batch, frames - 124, bins, 2)`: no frame is made up, so 62 at either side are context. Noise
    of shape `(1, noise_size)` serves every item of the batch. Other noise gives another
    restoration, the same noise the same. Noise of shape `(versions, batch, noise_size)` gives
    several of each, `(versions * batch, ...)`, first one of every item; up to Conv5 that is the
    work of one. Batch and frames may be unknown.

    For `predict`, which hands over one argument, `generator((spectrum, noise))` is the same, as is
    a dictionary `{"spectrum": spectrum, "noise": noise}`.

    Exact shift equivariance over time holds for outputs whose `receptive_frames` are all real.

    Args:
        bins: int. Bins of a spectrum. Defaults to `1024`.
        filters: Three ints. Maps of Conv1-3, and backwards of DeConv4-2. Defaults to the paper's
            `(18, 38, 38)`.
        aggregation: int. Maps of Conv4. Defaults to `4096`.
        maps: int. Maps behind the reshape and each self-gating. Defaults to `128`.
        noise_size: int. Values of noise; `0` is the paper's deterministic generator, called
            `generator(spectrum)`. Defaults to `64`.
        residual: bool. If `True`, what it makes goes where there is next to nothing, and the rest
            of the spectrum stays (`HoleFilling`). The paper's generator has `False`, the default.
        residual_level: float. How much of what it makes goes there. Training finds its own loudness
            with any; a trained generator is turned up or down with it. Defaults to `0.25`.
        seed: int. Seed of He's normal initialisation; each layer's is its own. Defaults to `0`.

    Raises:
        ValueError: if `maps` does not divide `aggregation`; in a call, if the spectrum's
            bins, its frames (fewer than 125) or the noise do not fit.

    Example:
    ```python
    generator = tfrestore.models.FrequencyAggregationGenerator.from_preset("sr_gan_small_16k")
    spectrum, noise = np.random.randn(2, 336, 1024, 2), np.random.randn(2, 64)
    generator(spectrum, noise).shape  # (2, 212, 1024, 2)
    ```
    """

    def __init__(
        self,
        bins: int = 1024,
        filters: Sequence[int] = (18, 38, 38),
        aggregation: int = 4096,
        maps: int = 128,
        noise_size: int = 64,
        residual: bool = False,
        residual_level: float = USUAL_LEVEL,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(bins, filters, aggregation, maps, seed, **kwargs)
        self.noise_size = noise_size
        self.residual = residual
        self.residual_level = residual_level
        policy, seeds = self.dtype_policy, itertools.count(1000 * seed + 500)
        self.trunk = FrequencyAggregationTrunk(
            filters,
            aggregation,
            maps,
            noise_size,
            seed=1000 * seed,
            dtype=policy,
            name="trunk",
        )
        self.deconv4 = FrequencyDistribution(
            bins, self.filters[-1], next(seeds), dtype=policy, name="deconv4"
        )
        maps_out = (self.filters[1], self.filters[0], PARTS)
        self.convolutions = [
            convolution(maps, dilation, seeds, policy, f"deconv{number}")
            for number, maps, dilation in zip(
                (3, 2, 1), maps_out, reversed(OUTER_DILATIONS), strict=True
            )
        ]
        self.hole_filling = HoleFilling(residual_level, name="hole_filling") if residual else None
        self.activations = [
            MapwisePReLU(dtype=policy, name=f"deconv{number}_activation") for number in (4, 3, 2)
        ]
        self.build()

    def build(self, spectrum_shape=None, noise_shape=None):
        """Makes all weights; the sizes are the constructor's."""
        if self.trunk.built:
            return
        self.trunk.build((None, None, self.bins, PARTS))
        self.deconv4.build((None, None, self.aggregation))
        channels = self.filters[-1]
        for activation, layer in zip(self.activations, self.convolutions, strict=True):
            activation.build((channels,))
            layer.build((None, None, None, channels))
            channels = layer.filters

    @property
    def context_frames(self) -> int:
        """Frames at either side of the input for which there is no output."""
        return sum(INNER_DILATIONS)

    @property
    def receptive_frames(self) -> int:
        """Frames to either side that an output frame depends on, the context among them."""
        return sum(INNER_DILATIONS) + 2 * sum(OUTER_DILATIONS)

    def call(self, spectrum, noise=None):
        """See the class."""
        spectrum, noise = _arguments(spectrum, noise)
        self.check_spectrum(spectrum)
        frames = spectrum.shape[1]
        if frames is not None and frames <= 2 * self.context_frames:
            raise ValueError(
                f"A spectrum of at least {2 * self.context_frames + 1} frames is needed. "
                f"Received: {frames} frames"
            )
        if (0 if noise is None else noise.shape[-1]) != self.noise_size:
            wanted = f"of shape (batch, {self.noise_size})" if self.noise_size else "None"
            raise ValueError(
                f"Argument `noise` must be {wanted}. "
                f"Received: {None if noise is None else tuple(noise.shape)}"
            )
        x = self.trunk(spectrum, noise)
        batch, frames = ops.shape(x)[:2]
        x = self.deconv4(ops.reshape(x, (batch, frames, self.aggregation)))
        for activation, layer in zip(self.activations, self.convolutions, strict=True):
            x = layer(activation(x))
        # The result feeds losses and inverse transforms, so it leaves in float32 in any precision.
        x = ops.cast(x, "float32")
        if not self.residual:
            return x
        kept = spectrum[:, self.context_frames : -self.context_frames]
        if noise is not None and len(noise.shape) == 3:
            kept = ops.tile(kept, (ops.shape(noise)[0], 1, 1, 1))
        return self.hole_filling(kept, x)

    def compute_output_shape(self, spectrum_shape, noise_shape=None):
        """The shape of what `call` returns."""
        if isinstance(spectrum_shape, dict) or isinstance(spectrum_shape[0], list | tuple):
            spectrum_shape, noise_shape = _arguments(spectrum_shape, noise_shape)
        batch, frames = spectrum_shape[:2]
        frames = None if frames is None else frames - 2 * self.context_frames
        return versions_of(batch, noise_shape), frames, self.bins, PARTS

    def compute_output_spec(self, spectrum, noise=None):
        """The shape and dtype of what `call` returns."""
        spectrum, noise = _arguments(spectrum, noise)
        noise_shape = None if noise is None else noise.shape
        return keras.KerasTensor(self.compute_output_shape(spectrum.shape, noise_shape), "float32")

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "noise_size": self.noise_size,
            "residual": self.residual,
            "residual_level": self.residual_level,
        }


def _arguments(first, noise):
    """Spectrum and noise, or their shapes, of a call with one argument or two.

    Raises:
        ValueError: if the one is not a pair, or names other than "spectrum" and "noise".
    """
    if isinstance(first, dict):
        if noise is not None or not {"spectrum"} <= set(first) <= {"spectrum", "noise"}:
            raise ValueError(
                "A dictionary of inputs must hold `spectrum` and `noise` and nothing else. "
                f"Received: {', '.join(map(str, first))}"
            )
        return first["spectrum"], first.get("noise")
    if isinstance(first, list | tuple):
        if noise is not None or len(first) not in (1, 2):
            raise ValueError(
                "Inputs that are handed over as one must be the pair (spectrum, noise). "
                f"Received: {len(first)} inputs{'' if noise is None else ', and noise beside them'}"
            )
        return first[0], first[1] if len(first) == 2 else None
    return first, noise
