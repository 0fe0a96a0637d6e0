"""What small Apollos may have and the published one has not: they mend what they are given.

The published network makes the whole spectrum anew, at an absolute level that it knows from one
logarithm per band. It takes millions of parameters and a long training until that is as right as
the MP3 was. With `residual=True` the network works on frames of norm 1, so that it does the same at
any loudness, and what it makes goes where there is next to nothing: what the encoder left is kept,
but for a gain per band. Fresh weights leave the input almost as it is.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from tfrestore.models.apollo.weights import normalize

# LAME turns the sound down to 0.95 up to 160 kbit/s.
_USUAL_GAIN = 1 / 0.95

# What is nearly right already bears smaller steps than other weights take.
_GAIN_STEP = 0.1

# A logarithm.
_FIRST_LEVEL = -4.0

# A share of a band's usual power.
_NEXT_TO_NOTHING = 1e-5

# Added to the power of a frame. Of a full-scale sine in a window of 20 ms it is 120 dB below.
_SMALLEST_POWER = 5e-8


@keras.saving.register_keras_serializable(package="tfrestore")
class SpectralResidual(layers.Layer):
    """Fills the holes of a spectrum with what a network made, at a level per frame and band.

    `residual(spectrum, features, made)` takes pairs (real, imaginary) of float32
    `(batch, frames, bins)` and the network's map `(batch, frames, bands, features)`, and returns a
    pair like the spectrum X, of frames of norm 1:

        gain X + level made level² / (level² + |X|²)

    so that what is made disappears where the spectrum is above its level. Gain and logarithm of the
    level are linear in the features after an RMSNorm; the level is relative to what is expected of
    the band, which is what it has or, where that is next to nothing, what music has on average. At
    first the gain is what LAME turns the sound down by, and the level 35 dB below.

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
        gain = self._per_bin(_USUAL_GAIN + _GAIN_STEP * gain)
        level = ops.sum(features * self.level_kernel, axis=-1) + self.level_bias + _FIRST_LEVEL
        real, imaginary = spectrum
        power = real**2 + imaginary**2
        level = self._per_bin(self._expected(power) * ops.exp(ops.minimum(level, 2.0)))
        level *= level**2 / (level**2 + power)
        return tuple(gain * part + level * new for part, new in zip(spectrum, made, strict=True))

    def _expected(self, power):
        """The norm that is expected of every band: (batch, frames, bins) to as many bands."""
        batch, frames = ops.shape(power)[:2]
        edge = (self.bands - 1) * self.band_bins
        narrow = ops.reshape(power[:, :, :edge], (batch, frames, -1, self.band_bins))
        wide = ops.sum(power[:, :, edge:], axis=-1, keepdims=True)
        own = ops.concatenate([ops.sum(narrow, axis=-1), wide], axis=-1)
        usual = _usual_power(self.bands)
        return ops.sqrt(own + usual / (1.0 + own / (_NEXT_TO_NOTHING * usual)))

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


def frame_norm(spectrum):
    """The norm of every frame: a pair of (batch, frames, bins) to (batch, frames, 1)."""
    real, imaginary = spectrum
    power = ops.sum(real * real + imaginary * imaginary, axis=-1, keepdims=True)
    return ops.sqrt(power + _SMALLEST_POWER)


def _usual_power(bands: int) -> np.ndarray:
    """The bands' share of a frame's power, near what music has on average."""
    return (np.exp(-2.0) * (1.0 + np.arange(bands)) ** -2.4).astype("float32")
