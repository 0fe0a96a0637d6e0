"""The generator and the autoencoder, of inception modules.

Sifringer, Stegmüller & Alahi, "Audio Enhancing with Wasserstein GANs" (EPFL, 2020). Both take
waveforms `(batch, samples)`; inside, maps are `(batch, samples, channels)`.

Where the paper and the authors' code differ, or the paper leaves a choice:

- Their pixel layers hold convolutions that no call uses, 204 million of the generator's 207.5
  million parameters; the paper has none there, and there are none here.
- Dropout lies in the up blocks, before the activation, as in the code.
- Weights start as `Inception1D` says, and output layers as LeCun et al. (1998).
- The autoencoder is "the generator without skip connections, with B = 4": its filters do not grow,
  its modules reduce by 4 and its output is linear, as in the code.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from tfrestore.layers.inception import Inception1D
from tfrestore.layers.long_convolution import LongConv1D
from tfrestore.layers.self_gating import MapwisePReLU
from tfrestore.layers.subpixel import Subpixel1D, Superpixel1D
from tfrestore.models.inception_wgan.residual import FRAME_LENGTH, BandFilling, emphasized
from tfrestore.models.presets import PresetMixin

# Every layer of a network has random numbers of its own; an inception module takes five.
_SEEDS_PER_BLOCK = 10


@keras.saving.register_keras_serializable(package="tfrestore")
class InceptionDownBlock(layers.Layer):
    """An inception module, PReLU, and a superpixel layer.

    Takes `(batch, samples, channels)` and returns `(batch, samples / 2, 2 filters)`; batch and
    samples may be unknown.

    Args:
        filters: int, a multiple of 8. Of the module.
        reduction: int. Of the module.
        seed: int. Of the initial weights. Defaults to `0`.
    """

    def __init__(self, filters: int, reduction: int, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.reduction = reduction
        self.seed = seed
        policy = self.dtype_policy
        self.inception = Inception1D(filters, reduction, seed, dtype=policy, name="inception")
        self.activation = MapwisePReLU(dtype=policy, name="activation")
        self.superpixel = Superpixel1D(dtype=policy, name="superpixel")

    def build(self, input_shape):
        """Makes the weights."""
        self.inception.build(input_shape)
        self.activation.build((self.filters,))

    def call(self, inputs):
        """See the class."""
        return self.superpixel(self.activation(self.inception(inputs)))

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        return self.superpixel.compute_output_shape((*input_shape[:-1], self.filters))

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "reduction": self.reduction,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="tfrestore")
class InceptionUpBlock(layers.Layer):
    """An inception module, dropout, PReLU, and a subpixel layer.

    Takes `(batch, samples, channels)` and returns `(batch, 2 samples, filters / 2)`; batch and
    samples may be unknown.

    Args:
        filters: int, a multiple of 8. Of the module.
        reduction: int. Of the module.
        dropout: float. Share of values that are dropped in training.
        seed: int. Of the initial weights and of what is dropped. Defaults to `0`.
    """

    def __init__(self, filters: int, reduction: int, dropout: float, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.reduction = reduction
        self.dropout = dropout
        self.seed = seed
        policy = self.dtype_policy
        self.inception = Inception1D(filters, reduction, seed, dtype=policy, name="inception")
        self.dropping = layers.Dropout(dropout, seed=seed, dtype=policy, name="dropout")
        self.activation = MapwisePReLU(dtype=policy, name="activation")
        self.subpixel = Subpixel1D(dtype=policy, name="subpixel")

    def build(self, input_shape):
        """Makes the weights."""
        self.inception.build(input_shape)
        self.activation.build((self.filters,))

    def call(self, inputs, training=False):
        """See the class."""
        x = self.dropping(self.inception(inputs), training=training)
        return self.subpixel(self.activation(x))

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        return self.subpixel.compute_output_shape((*input_shape[:-1], self.filters))

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "reduction": self.reduction,
            "dropout": self.dropout,
            "seed": self.seed,
        }


class WaveformModel(PresetMixin, keras.Model):
    """What these and the discriminator share: known sizes, waveforms in, float32 out."""

    def __init__(self, filters, depth, reduction, dropout, seed, **kwargs):
        # The layers cast for themselves; what is added to the input keeps the input's precision.
        super().__init__(autocast=False, **kwargs)
        if depth < 1:
            raise ValueError(f"Argument `depth` must be at least 1. Received: depth={depth}")
        if not 0 <= dropout < 1:
            raise ValueError(
                f"Argument `dropout` must be at least 0 and below 1. Received: dropout={dropout}"
            )
        self.filters = filters
        self.depth = depth
        self.reduction = reduction
        self.dropout = dropout
        self.seed = seed

    @property
    def window_multiple(self) -> int:
        """The numbers of samples that the network takes are multiples of this, 2^depth."""
        return 2**self.depth

    def check_window(self, samples: int) -> None:
        """Raises ValueError where the network takes no window of so many samples."""
        if samples < 1 or samples % self.window_multiple:
            raise ValueError(
                f"A window's samples must be a multiple of {self.window_multiple}, 2 to the power "
                f"of the network's {self.depth} blocks. Received: {samples} samples"
            )

    def as_channels(self, waveform):
        """A waveform as a map of one channel, in the network's precision."""
        if len(waveform.shape) != 2:
            raise ValueError(
                "A waveform of shape (batch, samples) is needed. "
                f"Received: shape={tuple(waveform.shape)}"
            )
        if waveform.shape[1] is not None:
            self.check_window(waveform.shape[1])
        return ops.cast(waveform, self.compute_dtype)[..., None]

    def block_seed(self, number: int) -> int:
        """The seed of the block of a number."""
        return 1000 * self.seed + _SEEDS_PER_BLOCK * number

    def get_config(self):
        """The constructor's arguments."""
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "filters": self.filters,
            "depth": self.depth,
            "reduction": self.reduction,
            "dropout": self.dropout,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        """The object of a `get_config`."""
        return cls(**config)


class _InceptionUNet(WaveformModel):
    """Down blocks and as many up blocks, with skip connections or without."""

    def __init__(
        self,
        filters,
        depth,
        max_doublings,
        reduction,
        output_kernel_size,
        dropout,
        seed,
        skip_connections: bool,
        **kwargs,
    ):
        super().__init__(filters, depth, reduction, dropout, seed, **kwargs)
        self.max_doublings = max_doublings
        self.output_kernel_size = output_kernel_size
        self.skip_connections = skip_connections
        policy = self.dtype_policy
        widths = [filters * 2 ** min(level, max_doublings) for level in range(depth)]
        self.down_blocks = [
            InceptionDownBlock(
                width,
                reduction,
                self.block_seed(level),
                dtype=policy,
                name=f"down_block_{level + 1}",
            )
            for level, width in enumerate(widths)
        ]
        self.up_blocks = [
            InceptionUpBlock(
                width,
                reduction,
                dropout,
                self.block_seed(depth + number),
                dtype=policy,
                name=f"up_block_{number + 1}",
            )
            for number, width in enumerate(reversed(widths))
        ]
        self.output_convolution = LongConv1D(
            1,
            output_kernel_size,
            kernel_initializer=keras.initializers.LecunNormal(self.block_seed(2 * depth)),
            dtype=policy,
            name="output_convolution",
        )

    def build(self, waveform_shape=None):
        """Makes all weights; the sizes are the constructor's."""
        if self.output_convolution.built:
            return
        shape, skipped = (None, None, 1), []
        for block in self.down_blocks:
            block.build(shape)
            shape = block.compute_output_shape(shape)
            skipped.append(shape[-1])
        for block, channels in zip(self.up_blocks, (0, *skipped[-2::-1]), strict=True):
            block.build((None, None, shape[-1] + channels * self.skip_connections))
            shape = block.compute_output_shape(shape)
        self.output_convolution.build(shape)

    def _encode(self, waveform) -> list:
        """What every down block gives, the bottleneck last."""
        x, maps = self.as_channels(waveform), []
        for block in self.down_blocks:
            x = block(x)
            maps.append(x)
        return maps

    def _decode(self, maps, training):
        """The waveform behind the output convolution, float32."""
        x, *skipped = reversed(maps)
        first, *others = self.up_blocks
        x = first(x, training=training)
        for block, skip in zip(others, skipped, strict=True):
            if self.skip_connections:
                x = ops.concatenate([x, skip], axis=-1)
            x = block(x, training=training)
        # Losses and overlap-add come next, so it leaves in float32 in any precision.
        return ops.cast(self.output_convolution(x)[..., 0], "float32")

    def compute_output_shape(self, waveform_shape):
        """The shape of what `call` returns."""
        return tuple(waveform_shape)

    def compute_output_spec(self, waveform, training=False):
        """The shape and dtype of what `call` returns."""
        return keras.KerasTensor(waveform.shape, "float32")

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "max_doublings": self.max_doublings,
            "output_kernel_size": self.output_kernel_size,
        }


@keras.saving.register_keras_serializable(package="tfrestore")
class InceptionGenerator(_InceptionUNet):
    """Makes of a window of a degraded recording one of the recording as it should be.

    Takes waveforms `(batch, samples)`, samples a multiple of 2^depth, and returns the same shape,
    float32 between -1 and 1, behind a tanh. Batch and samples may be unknown. The paper's windows
    have 8192 samples, 0.19 s at 44.1 kHz, which eight blocks bring down to 32 samples of 2048
    channels; with its defaults the generator has 3,106,781 parameters.

    Block d of the way down, counted from 0, has `filters * 2^min(d, max_doublings)` filters, and
    the way up mirrors it. What a down block gives is put beside what the up block gives that has as
    many samples; the last up block has none beside it.

    Args:
        filters: int, a multiple of 8. Filters of the first module. Defaults to `64`.
        depth: int. Down blocks, and up blocks: the paper's B. Defaults to `8`.
        max_doublings: int. How many times the filters double: the paper's d_max. Defaults to `4`.
        reduction: int. See `Inception1D`. Defaults to `16`.
        output_kernel_size: int, odd. Taps of the output convolution. Defaults to `27`.
        dropout: float. Of the up blocks, in training. Defaults to `0.2`.
        additive_skip: bool. Whether the input is added to the output before the tanh, so that the
            network says what is missing: the super-resolution use. The paper leaves it out for the
            change of instruments. Defaults to `False`.
        residual: bool. Whether the input is kept as it is up to the end of its spectrum, and the
            network's output, without a tanh, is heard above it; see `residual`. The paper has no
            such. Defaults to `False`.
        seed: int. Of the initial weights and of dropout. Defaults to `0`.

    Raises:
        ValueError: if an argument is out of its range; in a call, if a known number of samples is
            no multiple of 2^depth.

    Example:
    ```python
    generator = tfrestore.models.InceptionGenerator.from_preset("inception_wgan_time_tiny")
    generator(np.random.uniform(-0.1, 0.1, (2, 8192))).shape  # (2, 8192)
    ```
    """

    def __init__(
        self,
        filters: int = 64,
        depth: int = 8,
        max_doublings: int = 4,
        reduction: int = 16,
        output_kernel_size: int = 27,
        dropout: float = 0.2,
        additive_skip: bool = False,
        residual: bool = False,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(
            filters,
            depth,
            max_doublings,
            reduction,
            output_kernel_size,
            dropout,
            seed,
            skip_connections=True,
            **kwargs,
        )
        if additive_skip and residual:
            raise ValueError(
                "Arguments `additive_skip` and `residual` are two ways of keeping the input; give "
                "one of them."
            )
        self.additive_skip = additive_skip
        self.residual = residual
        self.filling = BandFilling(name="filling") if residual else None
        self.build()

    def check_window(self, samples: int) -> None:
        """Raises ValueError where the network takes no window of so many samples."""
        super().check_window(samples)
        if self.residual and samples < FRAME_LENGTH:
            raise ValueError(
                f"A window of a residual network must have at least {FRAME_LENGTH} samples. "
                f"Received: {samples} samples"
            )

    def call(self, waveform, training=False):
        """See the class."""
        waveform = ops.convert_to_tensor(waveform)
        if self.residual:
            heard, level = emphasized(ops.cast(waveform, "float32"))
            made = level * self._decode(self._encode(heard), training)
            return self.filling(waveform, made)
        output = self._decode(self._encode(waveform), training)
        if self.additive_skip:
            output = output + ops.cast(waveform, "float32")
        return ops.tanh(output)

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "additive_skip": self.additive_skip,
            "residual": self.residual,
        }


@keras.saving.register_keras_serializable(package="tfrestore")
class InceptionAutoencoder(_InceptionUNet):
    """Brings a window down to a content embedding and makes the window of it again.

    Takes waveforms `(batch, samples)`, samples a multiple of 2^depth, and returns the same shape,
    float32. `embed` gives the bottleneck, the paper's phi. Batch and samples may be unknown. With
    its defaults it has 39,409 parameters.

    Args:
        filters: int, a multiple of 8. Filters of the first module. Defaults to `64`.
        depth: int. Down blocks, and up blocks: the paper's B. Defaults to `4`.
        max_doublings: int. How many times the filters double. Defaults to `0`.
        reduction: int. See `Inception1D`. Defaults to `4`.
        output_kernel_size: int, odd. Taps of the output convolution. Defaults to `27`.
        dropout: float. Of the up blocks, in training. Defaults to `0.2`.
        seed: int. Of the initial weights and of dropout. Defaults to `0`.

    Raises:
        ValueError: if an argument is out of its range; in a call, if a known number of samples is
            no multiple of 2^depth.
    """

    def __init__(
        self,
        filters: int = 64,
        depth: int = 4,
        max_doublings: int = 0,
        reduction: int = 4,
        output_kernel_size: int = 27,
        dropout: float = 0.2,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(
            filters,
            depth,
            max_doublings,
            reduction,
            output_kernel_size,
            dropout,
            seed,
            skip_connections=False,
            **kwargs,
        )
        self.build()

    def call(self, waveform, training=False):
        """See the class."""
        return self._decode(self._encode(ops.convert_to_tensor(waveform)), training)

    def embed(self, waveform):
        """The content embedding of waveforms `(batch, samples)`.

        Returns:
            float32 `(batch, samples / 2^depth, channels)`, 512 samples of 128 channels for 8192.
        """
        embedding = self._encode(ops.convert_to_tensor(waveform))[-1]
        return ops.cast(embedding, "float32")
