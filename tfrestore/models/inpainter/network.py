"""The six U-Nets that fill gaps in magnitude spectrograms, as one network with three switches.

Serra et al., "Quality Enhancement of Highly Degraded Music Using Deep Learning Models" (WebMedia
2021), and their code (TeleMidia/audio_reconstruction). U-Net, U-Net V2, Res-U-Net, Res-U-Net V2,
Attention U-Net and Attention Res-U-Net differ only in how they halve the resolution, in whether
they predict the patch or what to subtract from it, and in whether attention gates (Oktay et al.
2018) weigh the skip connections.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from tfrestore.models.presets import PresetMixin

DOWNSAMPLINGS = ("pool", "stride")


@keras.saving.register_keras_serializable(package="tfrestore")
class PadToMultiple(layers.Layer):
    """Appends zeros to the frames and bins of a map until both are multiples of `multiple`.

    Takes and returns `(batch, frames, bins, channels)`; frames and bins may be unknown.

    Args:
        multiple: int. What the padded sizes are multiples of.
    """

    def __init__(self, multiple: int, **kwargs):
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, inputs):
        """See the class."""
        frames, bins = ops.shape(inputs)[1:3]
        return ops.pad(
            inputs, [[0, 0], [0, -frames % self.multiple], [0, -bins % self.multiple], [0, 0]]
        )

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        batch, frames, bins, channels = input_shape
        frames, bins = (
            None if size is None else size + -size % self.multiple for size in (frames, bins)
        )
        return batch, frames, bins, channels

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "multiple": self.multiple}


@keras.saving.register_keras_serializable(package="tfrestore")
class CropLike(layers.Layer):
    """Cuts the frames and bins of the first map down to those of the second.

    Takes two maps `(batch, frames, bins, channels)`, of which the first is at least as large, and
    returns the top left part of the first. Frames and bins may be unknown.
    """

    def call(self, inputs):
        """See the class."""
        inputs, like = inputs
        frames, bins = ops.shape(like)[1:3]
        return inputs[:, :frames, :bins, :]

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        (batch, _, _, channels), (_, frames, bins, _) = input_shape
        return batch, frames, bins, channels


@keras.saving.register_keras_serializable(package="tfrestore")
class UNet(PresetMixin, keras.Model):
    """U-Net that predicts an intact magnitude spectrogram from one with gaps.

    Takes normalised magnitudes `(batch, frames, bins, 1)` and returns the same shape. The paper's
    patches are 128×128; any size works, known or not: sizes that are not multiples of `2**depth`
    are padded with zeros and cropped again. The network is fully convolutional, so a long
    spectrogram may be given whole; its output at one frame depends on `context_frames` frames on
    either side.

    The paper's six models are these switches, with the authors' code's parameters:

    | model              | downsampling | global_residual | attention_gates | parameters |
    |--------------------|--------------|-----------------|-----------------|------------|
    | U-Net              | pool         | no              | no              | 18,872,545 |
    | U-Net V2           | stride       | no              | no              | 22,020,161 |
    | Res-U-Net          | pool         | yes             | no              | 18,872,545 |
    | Res-U-Net V2       | stride       | yes             | no              | 22,020,161 |
    | Attention U-Net    | pool         | no              | yes             | 19,573,894 |
    | Attention Res-U-Net| pool         | yes             | yes             | 19,573,894 |

    Every convolution is 3×3 with "same" padding. A block is convolution, batch normalisation, ReLU;
    a level has one block. Up-sampling is a transposed convolution of stride 2 with ReLU and without
    normalisation; the output convolution is linear.

    Args:
        filters: int. Filters of the first level, doubled at every level. Defaults to `32`.
        depth: int. How often the resolution is halved. Defaults to `5`.
        downsampling: `"pool"` (2×2 maximum) or `"stride"` (one more block, of stride 2, after the
            skip connection is taken). Defaults to `"pool"`.
        global_residual: bool. If `True` the network predicts what is subtracted from its input.
            Defaults to `False`.
        attention_gates: bool. If `True` every skip connection is weighted, per frame and bin, by a
            gate computed from it and from the up-sampled map. Defaults to `False`.
        batch_norm_momentum: float. Momentum of the moving statistics. Defaults to `0.9997`, the
            paper's, which takes thousands of steps to arrive anywhere: the training recipe measures
            the statistics anew before they are used, and so should any other training of this
            model.
        batch_normalization: bool. `False` leaves the normalisations out: the network that
            `fold_batch_normalization` makes. Defaults to `True`.
        output_scale: float. What the output convolution's result is multiplied by. Defaults to
            `1.0`, the paper's. The presets have 1/128: normalised magnitudes are mostly near 0.001,
            and with 1 it takes Adam tens of thousands of steps to make the output that small.
        seed: int. Seed of the Glorot normal initialisation of every kernel. Defaults to `0`.

    Raises:
        ValueError: if `downsampling` is not one of the two, or `filters` or `depth` is below 1.

    Example:
    ```python
    network = tfrestore.models.UNet(filters=8, downsampling="stride", global_residual=True)
    network(np.random.rand(2, 128, 128, 1)).shape  # (2, 128, 128, 1)
    ```

    Distribution: batch normalisation takes its statistics over all replicas on TensorFlow.
    """

    def __init__(
        self,
        filters: int = 32,
        depth: int = 5,
        downsampling: str = "pool",
        global_residual: bool = False,
        attention_gates: bool = False,
        batch_norm_momentum: float = 0.9997,
        batch_normalization: bool = True,
        output_scale: float = 1.0,
        seed: int = 0,
        **kwargs,
    ):
        if downsampling not in DOWNSAMPLINGS:
            raise ValueError(
                f"Argument `downsampling` must be one of {DOWNSAMPLINGS}. "
                f"Received: downsampling={downsampling!r}"
            )
        for name, value in (("filters", filters), ("depth", depth)):
            if value < 1:
                raise ValueError(f"Argument `{name}` must be at least 1. Received: {name}={value}")
        dtype = keras.dtype_policies.get(kwargs.pop("dtype", None))

        def glorot():
            return keras.initializers.GlorotNormal(seed=seed)

        def convolution(x, channels, size, name, **options):
            return layers.Conv2D(
                channels,
                size,
                padding="same",
                kernel_initializer=glorot(),
                dtype=dtype,
                name=name,
                **options,
            )(x)

        def block(x, channels, name, strides=1):
            x = convolution(x, channels, 3, f"{name}_convolution", strides=strides)
            if batch_normalization:
                x = layers.BatchNormalization(
                    momentum=batch_norm_momentum,
                    epsilon=0.001,
                    # Statistics of one replica alone would drift apart and differ from one
                    # device's.
                    synchronized=keras.backend.backend() == "tensorflow",
                    dtype=dtype,
                    name=f"{name}_normalization",
                )(x)
            return layers.ReLU(dtype=dtype, name=f"{name}_activation")(x)

        def downsample(x, channels, name):
            if downsampling == "pool":
                return layers.MaxPooling2D(2, dtype=dtype, name=f"{name}_pool")(x)
            return block(x, channels, f"{name}_downsample", strides=2)

        def upsample(x, channels, name):
            return layers.Conv2DTranspose(
                channels,
                3,
                strides=2,
                padding="same",
                activation="relu",
                kernel_initializer=glorot(),
                dtype=dtype,
                name=f"{name}_upsample",
            )(x)

        def gate(skip, signal, channels, name):
            x = layers.Add(dtype=dtype, name=f"{name}_gate_sum")(
                [
                    convolution(skip, channels, 1, f"{name}_gate_skip"),
                    convolution(signal, channels, 1, f"{name}_gate_signal"),
                ]
            )
            x = layers.ReLU(dtype=dtype, name=f"{name}_gate_activation")(x)
            x = convolution(x, 1, 1, f"{name}_gate_weight", activation="sigmoid")
            return layers.Multiply(dtype=dtype, name=f"{name}_gate")([skip, x])

        # === Functional Model ===
        inputs = keras.Input((None, None, 1), name="magnitude")
        padded = PadToMultiple(2**depth, dtype=dtype, name="pad")(inputs)
        x, skips = padded, []
        for level in range(depth):
            channels, name = filters * 2**level, f"encoder_{level}"
            x = block(x, channels, name)
            skips.append(x)
            x = downsample(x, channels, name)
        x = block(x, filters * 2**depth, "bottom")
        for level in reversed(range(depth)):
            channels, name, skip = filters * 2**level, f"decoder_{level}", skips[level]
            x = upsample(x, channels, name)
            if attention_gates:
                skip = gate(skip, x, channels, name)
            x = layers.Concatenate(dtype=dtype, name=f"{name}_skip")([skip, x])
            x = block(x, channels, name)
        x = convolution(x, 1, 3, "output_convolution")
        if output_scale != 1.0:
            x = layers.Rescaling(output_scale, dtype=dtype, name="output_scale")(x)
        if global_residual:
            x = layers.Subtract(dtype=dtype, name="residual")([padded, x])
        # The result feeds losses and inverse transforms, so it leaves in float32 in any precision.
        outputs = CropLike(dtype="float32", name="crop")([x, inputs])
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        # A functional model is not told; it would cast what it gets as the process does in general.
        self.dtype_policy = dtype

        # === Config ===
        self.filters = filters
        self.depth = depth
        self.downsampling = downsampling
        self.global_residual = global_residual
        self.attention_gates = attention_gates
        self.batch_norm_momentum = batch_norm_momentum
        self.batch_normalization = batch_normalization
        self.output_scale = output_scale
        self.seed = seed

    @property
    def context_frames(self) -> int:
        """Frames (or bins) on either side that the output at one frame depends on.

        Adds up how far each layer reaches, in frames of the input: at level `l` a 3×3 convolution
        reaches `2**l`, a 2×2 maximum or a convolution of stride 2 `2**l`, a transposed convolution
        less than `2**(l+1)`. Exact shift equivariance holds for shifts by multiples of `2**depth`.
        """
        encoder = sum(2 * 2**level for level in range(self.depth))
        decoder = sum(2**level + 2 ** (level + 1) for level in range(self.depth))
        return encoder + 2**self.depth + decoder + 1

    def fold_batch_normalization(self) -> UNet:
        """The same function for inference, each normalisation a part of the convolution before it.

        With fixed statistics a normalisation is a factor and a summand per channel, which a
        convolution's kernel and bias can hold. Outputs differ by rounding only.
        """
        folded = UNet.from_config({**self.get_config(), "batch_normalization": False})
        own = {layer.name: layer for layer in self.layers}
        for layer in folded.layers:
            weights = own[layer.name].get_weights()
            normalization = own.get(layer.name.replace("_convolution", "_normalization"))
            if isinstance(normalization, layers.BatchNormalization):
                kernel, bias, scale, offset, mean, variance = (
                    weight.astype("float64") for weight in weights + normalization.get_weights()
                )
                factor = scale / np.sqrt(variance + normalization.epsilon)
                weights = [kernel * factor, (bias - mean) * factor + offset]
            layer.set_weights(weights)
        return folded

    def get_config(self):
        """The constructor's arguments."""
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "filters": self.filters,
            "depth": self.depth,
            "downsampling": self.downsampling,
            "global_residual": self.global_residual,
            "attention_gates": self.attention_gates,
            "batch_norm_momentum": self.batch_norm_momentum,
            "batch_normalization": self.batch_normalization,
            "output_scale": self.output_scale,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        """The object of a `get_config`."""
        return cls(**config)
