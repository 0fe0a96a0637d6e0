"""What small Apollos may have and the published one has not: they mend what they are given.

The published network makes the whole spectrum anew, at an absolute level that it knows from one
logarithm per band. It takes millions of parameters and a long training until that is as right as
the MP3 was. With `residual=True` the network works on frames of norm 1, so that it does the same at
any loudness, and what it makes goes where there is next to nothing: what the encoder left is kept,
but for a gain per band. Fresh weights leave the input almost as it is.

Whether there was anything above an edge, and which bit rate made it, shows far below the loudest
bands. So the spectrum is whitened for the band split (`whitened`), and told the bands' levels over
the whole range besides (`LevelFeatures`).

A hole is filled with the phases of another part of the spectrum (`excitation`), as spectral band
replication does (Dietz et al., "Spectral band replication, a novel approach in audio coding", AES
112th Convention, 2002), so that levels are all that a small network has to learn.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tfrestore.audio.lame_gain import LAME_GAIN
from tfrestore.audio.treble import HIGHEST_MADE
from tfrestore.layers.float32_layer import Float32Layer
from tfrestore.models.apollo.weights import normalize, uniform

# What is nearly right already bears smaller steps than other weights take.
_GAIN_STEP = 0.1

# A logarithm.
_FIRST_LEVEL = -4.0

# A share of a band's usual power.
_NEXT_TO_NOTHING = 1e-5

# Of a band's usual power. Rounding to 16 bits leaves 50 to 60 dB less than that of loud treble.
_SMALLEST_SHARE = 1e-8

# The part of the spectrum that lends its phases, in shares of it.
_SOURCE = (0.068, 0.25)

# Power of a bin that has no phase: rounding of float32.
_NO_PHASE = 1e-16

# Added to the power of a frame. Of a full-scale sine in a window of 20 ms it is 120 dB below.
_SMALLEST_POWER = 5e-8


@keras.saving.register_keras_serializable(package="tfrestore")
class SpectralResidual(Float32Layer):
    """Fills the holes of a spectrum with what a network made, at a level per frame and band.

    `residual(spectrum, features, made)` takes pairs (real, imaginary) of float32
    `(batch, frames, bins)` and the network's map `(batch, frames, bands, features)`, and returns a
    pair like the spectrum X, of frames of norm 1:

        gain X + level (excitation + made) level² / (level² + |X|²)

    so that what is made disappears where the spectrum is above its level. The excitation is of
    magnitude 1 and has the phases of another part of the spectrum. Gain and logarithm of the
    level are linear in the features after an RMSNorm; the level is relative to what is expected of
    the band, which is what it has or, where that is next to nothing, what music has on average. At
    first the gain is what LAME turns the sound down by, and the level 35 dB below. Nothing is made
    above 20 kHz (of 22.05), where nothing is heard and most music has been cut off.

    Args:
        bins: int. Bins of the spectrum.
        bands: int. Number of bands.
        band_bins: int. Bins of every band but the last, which has the rest.
    """

    def __init__(self, bins: int, bands: int, band_bins: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.bins = bins
        self.bands = bands
        self.band_bins = band_bins

    def build(self, input_shape):
        """Makes the weights, of all bands."""
        features = input_shape[-1]
        for name in ("gain", "level"):
            for part, shape in (("kernel", (self.bands, features)), ("bias", (self.bands,))):
                weight = self.add_weight(shape=shape, initializer="zeros", name=f"{name}_{part}")
                setattr(self, f"{name}_{part}", weight)

    def call(self, spectrum, features, made):
        """See the class."""
        features = normalize(features, 1.0)
        gain = ops.sum(features * self.gain_kernel, axis=-1) + self.gain_bias
        gain = self._per_bin(1 / LAME_GAIN + _GAIN_STEP * gain)
        level = ops.sum(features * self.level_kernel, axis=-1) + self.level_bias + _FIRST_LEVEL
        real, imaginary = spectrum
        power = real**2 + imaginary**2
        own = band_power(spectrum, self.bands, self.band_bins)
        level = self._per_bin(self._expected(own) * ops.exp(ops.minimum(level, 2.0)))
        level = level * (level**2 / (level**2 + power))
        made_here = np.arange(self.bins) <= HIGHEST_MADE * (self.bins - 1)
        level = ops.multiply(level, made_here.astype("float32"))
        return tuple(
            gain * part + level * (phase + new)
            for part, phase, new in zip(spectrum, excitation(spectrum), made, strict=True)
        )

    def _expected(self, own):
        """The norm that is expected of bands of such power, (batch, frames, bands)."""
        usual = _usual_power(self.bands)
        return ops.sqrt(own + ops.divide(usual, 1.0 + ops.divide(own, _NEXT_TO_NOTHING * usual)))

    def _per_bin(self, values):
        """(batch, frames, bands) to (batch, frames, bins)."""
        narrow = ops.repeat(values[:, :, :-1], self.band_bins, axis=2)
        wide = ops.repeat(values[:, :, -1:], self.bins - narrow.shape[2], axis=2)
        return ops.concatenate([narrow, wide], axis=2)

    def compute_output_spec(self, spectrum, features, made):
        """The shapes and dtypes of what `call` returns."""
        return tuple(keras.KerasTensor(part.shape, "float32") for part in spectrum)

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "bins": self.bins,
            "bands": self.bands,
            "band_bins": self.band_bins,
        }


@keras.saving.register_keras_serializable(package="tfrestore")
class LevelFeatures(Float32Layer):
    """How loud every band is, told over the whole range from 16-bit rounding to full scale.

    The published features are normalised together with the logarithm of the band's norm, so that
    of a level far from 1 hardly more than its sign is left. What an encoder cut off, and whether
    there was anything, shows at levels 40 to 80 dB below the rest.

    `level_features(spectrum)` takes a pair (real, imaginary) of float32 `(batch, frames, bins)`, of
    frames of norm 1, and returns `(batch, frames, bands, features)`, to be added to those of
    `BandSplit`: linear, with weights of every band, in hyperbolic tangents of the band's level less
    each of `STEPS`.

    Args:
        bins: int. Bins of the spectrum.
        bands: int. Number of bands.
        band_bins: int. Bins of every band but the last, which has the rest.
        features: int. Width of what comes out.
        seed: int. Seed of the initial weights. Defaults to `0`.
    """

    #: Natural logarithms of magnitudes, relative to what music has in a band on average.
    STEPS = (-8.0, -6.0, -4.0, -2.0, 0.0, 2.0)

    def __init__(
        self, bins: int, bands: int, band_bins: int, features: int, seed: int = 0, **kwargs
    ):
        super().__init__(autocast=False, **kwargs)
        self.bins = bins
        self.bands = bands
        self.band_bins = band_bins
        self.features = features
        self.seed = seed

    def build(self, input_shape=None):
        """Makes the weights, of all bands."""
        steps = len(self.STEPS)
        self.kernel = self.add_weight(
            shape=(self.bands, steps, self.features),
            initializer=uniform(steps, self.seed),
            name="kernel",
        )

    def call(self, spectrum):
        """See the class."""
        power = band_power(spectrum, self.bands, self.band_bins)
        power = ops.divide(power, _usual_power(self.bands))
        level = 0.5 * ops.log(power + _SMALLEST_SHARE)
        steps = ops.tanh(ops.subtract(level[..., None], np.array(self.STEPS, "float32")))
        return ops.einsum("btks,ksf->btkf", steps, self.kernel)

    def compute_output_spec(self, spectrum):
        """The shape and dtype of what `call` returns."""
        shape = (*spectrum[0].shape[:2], self.bands, self.features)
        return keras.KerasTensor(shape, "float32")

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "bins": self.bins,
            "bands": self.bands,
            "band_bins": self.band_bins,
            "features": self.features,
            "seed": self.seed,
        }


def band_power(spectrum, bands: int, band_bins: int):
    """The power of every band: a pair of (batch, frames, bins) to (batch, frames, bands)."""
    real, imaginary = spectrum
    power = real * real + imaginary * imaginary
    batch, frames = ops.shape(power)[:2]
    edge = (bands - 1) * band_bins
    narrow = ops.reshape(power[:, :, :edge], (batch, frames, -1, band_bins))
    wide = ops.sum(power[:, :, edge:], axis=-1, keepdims=True)
    return ops.concatenate([ops.sum(narrow, axis=-1), wide], axis=-1)


def whitened(spectrum, bands: int, band_bins: int):
    """A spectrum of frames of norm 1 over what music has on average in each band.

    The published features take what is 70 dB below 1 for nothing, as all of the treble may be.
    """
    usual = 1.0 / np.sqrt(_usual_power(bands))
    bins = spectrum[0].shape[-1]
    per_bin = np.repeat(usual, [band_bins] * (bands - 1) + [bins - (bands - 1) * band_bins])
    return tuple(ops.multiply(part, per_bin) for part in spectrum)


def excitation(spectrum):
    """What holes are filled with, at level 1: the phases of bins that an MP3 has at any bit rate.

    Args:
        spectrum: A pair (real, imaginary), each float32 `(batch, frames, bins)`, of frames of norm
            1.

    Returns:
        A pair of the same shapes, of magnitude 1; 0 where there is no phase.
    """
    source = _source_bins(spectrum[0].shape[-1])
    real, imaginary = (ops.take(part, source, axis=-1) for part in spectrum)
    scale = ops.rsqrt(real * real + imaginary * imaginary + _NO_PHASE)
    return real * scale, imaginary * scale


def _source_bins(bins: int) -> np.ndarray:
    """The bin that each takes its phase from, int32 `(bins,)`.

    They are those from 1.5 to 5.5 kHz of music at 44.1 kHz, again and again; within them and below,
    bins half of that range away.
    """
    first, last = (round(share * (bins - 1)) for share in _SOURCE)
    length = last - first
    own = np.arange(bins)
    near = np.where(own >= first + length // 2, own - length // 2, own + length // 2)
    return np.where(own >= last, first + (own - first) % length, near).astype("int32")


def frame_norm(spectrum):
    """The norm of every frame: a pair of (batch, frames, bins) to (batch, frames, 1)."""
    real, imaginary = spectrum
    power = ops.sum(real * real + imaginary * imaginary, axis=-1, keepdims=True)
    return ops.sqrt(power + _SMALLEST_POWER)


def _usual_power(bands: int) -> np.ndarray:
    """The bands' share of a frame's power, near what music has on average."""
    return (np.exp(-2.0) * (1.0 + np.arange(bands)) ** -2.4).astype("float32")
