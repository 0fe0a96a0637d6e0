"""The discriminator, of inception modules: a Wasserstein critic, or a classifier.

Sifringer, Stegmüller & Alahi, "Audio Enhancing with Wasserstein GANs" (EPFL, 2020). The paper calls
it almost that of Kim & Sathe (2018), whose channels grow. In the authors' code they do not, and
there are seven blocks behind the input block; so it is here, dropout behind the layer normalisation
too. The last layer is linear, for a critic as for a classifier, whose sigmoid is in the loss.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from tfrestore.layers.inception import Inception1D
from tfrestore.layers.map_normalization import MapNormalization
from tfrestore.layers.subpixel import Superpixel1D
from tfrestore.models.inception_wgan.network import WaveformModel

#: Of the leaky ReLUs.
LEAKY_SLOPE = 0.2


@keras.saving.register_keras_serializable(package="tfrestore")
class InceptionDiscriminator(WaveformModel):
    """Judges whether a window is a recording's or a generator's.

    Takes waveforms `(batch, window_samples)` and returns one value per window, float32 `(batch,)`:
    a Wasserstein critic's, or the logit of a classifier, higher for what looks real. With its
    defaults it has 3,142,693 parameters.

    An inception module; `depth` blocks of an inception module, layer normalisation over all of a
    window's map, dropout, leaky ReLU and a superpixel layer; two dense layers. Layer normalisation,
    unlike batch normalisation, leaves the windows of a batch independent of each other, which a
    penalty on each one's gradient takes for granted.

    Args:
        window_samples: int, a multiple of 2^depth. Samples of a window. Defaults to `8192`.
        filters: int, a multiple of 8. Of every module. Defaults to `64`.
        depth: int. Blocks behind the first module. Defaults to `7`.
        reduction: int. See `Inception1D`. Defaults to `16`.
        units: int. Of the first dense layer. Defaults to `128`.
        dropout: float. In training. Defaults to `0.2`.
        seed: int. Of the initial weights and of dropout. Defaults to `0`.

    Raises:
        ValueError: if an argument is out of its range; in a call, if the windows have another
            length.
    """

    def __init__(
        self,
        window_samples: int = 8192,
        filters: int = 64,
        depth: int = 7,
        reduction: int = 16,
        units: int = 128,
        dropout: float = 0.2,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(filters, depth, reduction, dropout, seed, **kwargs)
        self.check_window(window_samples)
        self.window_samples = window_samples
        self.units = units
        policy = self.dtype_policy
        self.inceptions = [
            Inception1D(
                filters,
                reduction,
                self.block_seed(number),
                dtype=policy,
                name=f"inception_{number}",
            )
            for number in range(depth + 1)
        ]
        self.normalizations = [
            MapNormalization(dtype=policy, name=f"normalization_{number + 1}")
            for number in range(depth)
        ]
        self.droppings = [
            layers.Dropout(
                dropout, seed=self.block_seed(number), dtype=policy, name=f"dropout_{number + 1}"
            )
            for number in range(depth + 1)
        ]
        self.activation = layers.LeakyReLU(LEAKY_SLOPE, dtype=policy, name="activation")
        self.superpixel = Superpixel1D(dtype=policy, name="superpixel")
        self.dense = layers.Dense(
            units,
            kernel_initializer=keras.initializers.HeNormal(self.block_seed(depth + 1)),
            dtype=policy,
            name="dense",
        )
        self.output_dense = layers.Dense(
            1,
            kernel_initializer=keras.initializers.LecunNormal(self.block_seed(depth + 2)),
            dtype=policy,
            name="output_dense",
        )
        self.build()

    def build(self, waveform_shape=None):
        """Makes all weights; the sizes are the constructor's."""
        if self.dense.built:
            return
        samples, channels = self.window_samples, 1
        for number, inception in enumerate(self.inceptions):
            inception.build((None, None, channels))
            channels = self.filters
            if number:
                self.normalizations[number - 1].build((None, samples, channels))
                samples, channels = samples // 2, 2 * channels
        self.dense.build((None, samples * channels))
        self.output_dense.build((None, self.units))

    def call(self, waveform, training=False):
        """See the class."""
        waveform = ops.convert_to_tensor(waveform)
        if waveform.shape[-1] not in (None, self.window_samples):
            raise ValueError(
                f"This discriminator judges windows of {self.window_samples} samples. "
                f"Received: shape={tuple(waveform.shape)}"
            )
        first, *others = self.inceptions
        *droppings, last_dropping = self.droppings
        x = self.activation(first(self.as_channels(waveform)))
        for inception, normalization, dropping in zip(
            others, self.normalizations, droppings, strict=True
        ):
            x = dropping(normalization(inception(x)), training=training)
            x = self.superpixel(self.activation(x))
        x = ops.reshape(x, (-1, x.shape[1] * x.shape[2]))
        x = self.activation(last_dropping(self.dense(x), training=training))
        return ops.cast(self.output_dense(x)[:, 0], "float32")

    def compute_output_shape(self, waveform_shape):
        """The shape of what `call` returns."""
        return (waveform_shape[0],)

    def compute_output_spec(self, waveform, training=False):
        """The shape and dtype of what `call` returns."""
        return keras.KerasTensor((waveform.shape[0],), "float32")

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "window_samples": self.window_samples,
            "units": self.units,
        }
