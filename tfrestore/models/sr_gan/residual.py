"""What small generators may have and the paper's have not: they keep what the MP3 has.

In Lattner & Nistal's generator everything passes the frequency aggregation filters. Their 4096 and
their 40,000 steps carry the music through; the few hundred of a generator for two cores make noise
of the low frequencies, which an MP3 of any bit rate has nearly right (measured: an SNR of -0.6 dB
where the MP3 had 15.6). With `residual=True` a generator makes what is missing and nothing else.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tfrestore.audio.lame_gain import LAME_GAIN
from tfrestore.audio.treble import HIGHEST_MADE
from tfrestore.layers.float32_layer import Float32Layer

# Bins next to each other, 194 Hz wide in the paper's transform: a few partials of most tones, so
# that what lies between two partials is no hole.
_NEIGHBOURS = 9

# Of squared powers: what is made is halved where it is 15 dB above what is there.
_PROTECTION = 1000.0

#: What a fresh network makes is as loud as the music. What is missing is not.
USUAL_LEVEL = 0.25

# A squared power, of a magnitude of 1e-6.
_TINY = 1e-24


@keras.saving.register_keras_serializable(package="tfrestore")
class HoleFilling(Float32Layer):
    """Fills the holes of a spectrum with what a network made.

    `filling(spectrum, made)` takes two signed square roots of spectra, float32
    `(batch, frames, bins, 2)`, and returns as much,

        gain spectrum + made p² / (p² + 1000 q²)

    where the gain undoes what LAME turns the sound down by, `made` is `level` times what the
    network says, a quarter, so that a fresh one is 24 dB below the music, and p and q are the
    powers of what was made and of what is there, means of nine bins around. So an encoder's empty
    bins get all of what was made, and music stays as it is where it is not at least 15 dB weaker.
    Nothing is made above 20 kHz (of 22.05), where nothing is heard and most music has been cut off:
    what a generator learns there, of the few recordings that have it, is too loud for most. Each
    frame is by itself; there are no weights. Batch and frames may be unknown.

    Args:
        level: float. Of the signed square roots; its square is that of magnitudes. Defaults to
            `0.25`.
    """

    def __init__(self, level: float = USUAL_LEVEL, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.level = level

    def call(self, spectrum, made):
        """See the class."""
        spectrum = ops.cast(spectrum, "float32")
        made = self.level * ops.cast(made, "float32")
        own, new = (ops.square(_power_around(x)) for x in (spectrum, made))
        share = new / (new + _PROTECTION * own + _TINY)
        bins = spectrum.shape[2]
        made_here = (np.arange(bins) <= HIGHEST_MADE * bins).astype("float32")
        share = ops.multiply(share, made_here[:, None])
        return spectrum / LAME_GAIN**0.5 + share * made

    def compute_output_shape(self, spectrum_shape, made_shape=None):
        """The shape of what `call` returns."""
        return tuple(spectrum_shape)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "level": self.level}


def _power_around(parts):
    """Mean power of neighbouring bins: (batch, frames, bins, 2) to (batch, frames, bins, 1)."""
    power = ops.sum(ops.square(ops.square(parts)), axis=-1, keepdims=True)
    return ops.average_pool(power, (1, _NEIGHBOURS), strides=1, padding="same")
