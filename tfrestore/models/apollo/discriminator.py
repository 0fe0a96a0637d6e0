"""The discriminators that Apollo is trained against: one per resolution of the spectrum.

Li & Luo, "Apollo: Band-sequence Modeling for High-Quality Audio Restoration" (arXiv 2409.08514),
Table I, and the authors' code where the paper is silent: the input has unit energy, real and
imaginary part of its short-time Fourier transform are the two channels of a picture, and
convolutions of 3x3 with spectral normalisation and leaky rectifiers of slope 0.2 lead to logits.

Departures:

- One channel of audio is heard. The authors' discriminators hear both of a stereo pair, which their
  generator restores one by one.
- Time lies before frequency and channels last, as in all networks here.
- Both signals go through as one batch, so the power iteration of the spectral normalisation makes
  one step where the authors' makes one for each.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from tfrestore.layers.spectral_normalization import SpectralNormalizedConv2D, fan_in_uniform
from tfrestore.layers.stft import STFT
from tfrestore.models.presets import PresetMixin

#: Samples per frame of the discriminators' transforms, whose hop is half of it.
WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)

# The strides of the convolutions; each has twice as many filters as the one before.
_STRIDES = (1, 2, 1, 2, 1, 2)

# Added to the energy that the input is scaled to 1 by.
_EPSILON = float(np.finfo("float32").eps)


@keras.saving.register_keras_serializable(package="tfrestore")
class STFTDiscriminator(layers.Layer):
    """Judges waveforms by their spectra at one resolution.

    Takes float32 `(batch, samples)` and returns logits `(batch, frames / 8, bins / 8)` and the six
    feature maps behind the rectifiers, `(batch, frames', bins', filters')`. Batch and samples may
    be unknown.

    Args:
        window: int. Samples per frame; the hop is half of it.
        filters: int. Filters of the first convolution, of which the others have 2, 4, 8, 16 and 32
            times as many. Defaults to `8`.
        seed: int. Seed of the initial weights. Defaults to `0`.
    """

    def __init__(self, window: int, filters: int = 8, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.window = window
        self.filters = filters
        self.seed = seed
        self.stft = STFT(window, window // 2, padding="center")
        self.convolutions = [
            SpectralNormalizedConv2D(
                filters * 2**number,
                strides=strides,
                seed=seed + 4 * number,
                dtype=self.dtype_policy,
                name=f"conv{number + 1}",
            )
            for number, strides in enumerate(_STRIDES)
        ]
        inputs = 9 * self.convolutions[-1].filters
        self.output_convolution = layers.Conv2D(
            1,
            3,
            padding="same",
            kernel_initializer=fan_in_uniform(inputs, seed + 4 * len(_STRIDES)),
            bias_initializer=fan_in_uniform(inputs, seed + 4 * len(_STRIDES) + 1),
            dtype=self.dtype_policy,
            name="output_convolution",
        )

    def build(self, input_shape=None):
        """Makes the weights of every layer."""
        channels = 2
        for layer in self.convolutions:
            layer.build((None, None, None, channels))
            channels = layer.filters
        self.output_convolution.build((None, None, None, channels))

    def call(self, waveform, training=False):
        """See the class."""
        x = ops.cast(ops.stack(self.stft(waveform), axis=-1), self.compute_dtype)
        features = []
        for layer in self.convolutions:
            x = ops.leaky_relu(layer(x, training=training), negative_slope=0.2)
            features.append(x)
        return ops.cast(self.output_convolution(x)[..., 0], "float32"), features

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "window": self.window,
            "filters": self.filters,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="tfrestore")
class MultiResolutionSTFTDiscriminator(PresetMixin, keras.Model):
    """Seven discriminators that judge, at one resolution each, whether a waveform is an original.

    `discriminator(waveform, training=False)` takes mono waveforms `(batch, samples)`, more than
    half the longest window of them, scales each to unit energy and returns two lists with an entry
    per window:

    - logits, float32 `(batch, frames, bins)`: near 1 where it takes the waveform for an original,
      near 0 where for a generator's;
    - the six feature maps, a list of `(batch, frames, bins, filters)`, for feature matching.

    Batch and samples may be unknown. In training calls the power iteration of the spectral
    normalisation makes a step; before the first few, logits are far too large.

    Args:
        windows: ints, even. Samples per frame of each discriminator; the hop is half of it.
            Defaults to the paper's `(32, 64, 128, 256, 512, 1024, 2048)`.
        filters: int. Filters of each one's first convolution. Defaults to the paper's `8`: 395,785
            parameters per discriminator.
        seed: int. Seed of the initial weights; each layer's is its own. Defaults to `0`.

    Example:
    ```python
    discriminator = tfrestore.models.MultiResolutionSTFTDiscriminator()
    logits, features = discriminator(np.random.randn(2, 44100))
    len(logits), logits[0].shape  # 7, (2, 345, 3)
    ```
    """

    def __init__(
        self,
        windows: Sequence[int] = WINDOWS,
        filters: int = 8,
        seed: int = 0,
        **kwargs,
    ):
        # The layers cast for themselves: the transforms take float32.
        super().__init__(autocast=False, **kwargs)
        self.windows = list(windows)
        self.filters = filters
        self.seed = seed
        self.discriminators = [
            STFTDiscriminator(
                window,
                filters,
                seed=1000 * seed + 50 * number,
                dtype=self.dtype_policy,
                autocast=False,
                name=f"window_{window}",
            )
            for number, window in enumerate(windows)
        ]
        self.build()

    def build(self, input_shape=None):
        """Makes all weights; the sizes are the constructor's."""
        for discriminator in self.discriminators:
            if not discriminator.built:
                discriminator.build()

    def call(self, waveform, training=False):
        """See the class."""
        waveform = ops.cast(waveform, "float32")
        energy = ops.sum(ops.square(waveform), axis=1, keepdims=True)
        waveform = waveform / ops.sqrt(energy + _EPSILON)
        judgements = [each(waveform, training=training) for each in self.discriminators]
        return [logits for logits, _ in judgements], [features for _, features in judgements]

    def get_config(self):
        """The constructor's arguments."""
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "windows": self.windows,
            "filters": self.filters,
            "seed": self.seed,
        }
