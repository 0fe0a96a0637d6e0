"""What generators that extend a band may have and the paper's have not: they keep what is there.

The paper's additive skip adds the input before the tanh, which bends every sample: music at a fifth
of full scale comes out 37 dB above its error at best, and bandwidth extension starts from that much
by itself. With `residual=True` nothing bends the sum, and what the network says is heard only above
the frequency at which the window's spectrum ends. Fresh weights leave the input almost as it is,
and no weights can harm what it has.

What lies just below that end says most about what belongs above it, and is 20 to 50 dB below the
bass. So the network hears the window with its treble raised and at one loudness, and what it says
is brought back to the loudness of that.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tfrestore.layers.float32_layer import Float32Layer
from tfrestore.layers.stft import STFT, InverseSTFT, window_samples

#: Samples of a frame in which the end of a spectrum is looked for, and windows have at least.
FRAME_LENGTH = 1024

# A Hann window squared: what leaks of a loud tone is too little to be heard 0.7 kHz further up.
_WINDOW = window_samples("hann", FRAME_LENGTH) ** 2

#: The power of a bin in which there is nothing: 18 dB above rounding to 16 bits, so that rounding
#: takes half a decibel of what is made at most, and dither less than two.
QUIET = 64.0 * float((_WINDOW**2).sum()) / (12.0 * 32768.0**2)

# A spectrum ends where it falls by so much, as a power, from what so many bins below had.
_FALL, _BELOW = 1e-3, (16, 32)

#: Nothing is made below this share of the spectrum, 2.8 kHz at 44.1 kHz, wherever it ends.
LOWEST_SHARE = 1 / 8

# Of neighbouring samples: the treble is raised by 6 dB per octave from 350 Hz on, at 44.1 kHz.
_EMPHASIS = 0.95

# What is missing is weaker than what is there: a fresh network's output is turned down.
_USUAL_LEVEL = 0.1

# Mean square of a window, below 16-bit rounding.
_TINY = 1e-10


@keras.saving.register_keras_serializable(package="tfrestore")
class BandFilling(Float32Layer):
    """Puts what a network made above the end of a window's spectrum, and nothing below.

    `filling(waveform, made)` takes float32 `(batch, samples)` twice, of at least 1024 samples, and
    returns as much: `waveform` and that part of `made` in which every bin is multiplied with

        (quiet / (quiet + loudest))²

    where loudest is the largest mean power in this bin and all bins above it, of `waveform`, and
    quiet is 30 dB below what the waveform has 0.7 to 1.4 kHz further down (at 44.1 kHz), and at
    least 18 dB more than rounding to 16 bits leaves in a bin. So it is 1 where there is nothing
    and nothing above, and where there is music, which falls less steeply, it is next to 0. Each
    window is by itself; there are no weights. Batch and samples may be unknown.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)
        half = FRAME_LENGTH // 2
        self.analysis = STFT(FRAME_LENGTH, half, window=_WINDOW, padding="valid")
        self.stft = STFT(FRAME_LENGTH, half, padding="center")
        self.inverse_stft = InverseSTFT(FRAME_LENGTH, half, padding="center")

    def call(self, waveform, made):
        """See the class."""
        waveform = ops.cast(waveform, "float32")
        share = self.share(waveform)[:, None]
        spectrum = tuple(share * part for part in self.stft(made))
        return waveform + self.inverse_stft(spectrum, samples=ops.shape(waveform)[1])

    def share(self, waveform):
        """What is heard of every bin of what was made, `(batch, bins)`."""
        real, imaginary = self.analysis(waveform)
        bins = self.analysis.bins
        power = ops.mean(ops.square(real) + ops.square(imaginary), axis=1)
        loudest, reach = power, 1
        while reach < bins:
            above = ops.pad(loudest[:, reach:], ((0, 0), (0, reach)))
            loudest, reach = ops.maximum(loudest, above), 2 * reach
        nearest, farthest = _BELOW
        below = ops.average_pool(power[..., None], farthest - nearest + 1, 1)[..., 0]
        below = ops.pad(below, ((0, 0), (farthest, 0)))[:, :bins]
        quiet = ops.maximum(_FALL * below, QUIET)
        allowed = (np.arange(bins) >= LOWEST_SHARE * (bins - 1)).astype("float32")
        return ops.multiply(allowed, ops.square(quiet / (quiet + loudest)))

    def compute_output_shape(self, waveform_shape, made_shape=None):
        """The shape of what `call` returns."""
        return tuple(waveform_shape)


def emphasized(waveform):
    """A window as the network hears it, and the loudness that its output is brought back to.

    Args:
        waveform: float32 `(batch, samples)`.

    Returns:
        The window with raised treble, of mean square 1, `(batch, samples)`; and the factor,
        `(batch, 1)`.
    """
    before = ops.concatenate([waveform[:, :1], waveform[:, :-1]], axis=1)
    raised = waveform - _EMPHASIS * before
    level = ops.sqrt(ops.mean(ops.square(raised), axis=1, keepdims=True) + _TINY)
    return raised / level, _USUAL_LEVEL * level
