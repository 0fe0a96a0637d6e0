"""The two halves of Apollo's band-sequence block: attention over bands, convolution along time.

Li & Luo, "Apollo: Band-sequence Modeling for High-Quality Audio Restoration" (2024). Both take and
return maps `(batch, frames, bands, features)`, one layout throughout: bands and features of a frame
lie together, so a product over features is one of two matrices, attention over bands is one batched
product per frame, and a convolution along time adds up shifted copies of whole frames.

The sums that run through all blocks stay float32 under a mixed precision policy. What enters
products and gates is in the policy's precision.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from tfrestore.layers.activations import silu, twice_gated
from tfrestore.models.apollo.weights import add_bias, normalize, product, uniform

#: Widths of the hidden layers, as multiples of the features.
EXPANSION = 4

_ROTARY_BASE = 10_000.0


@keras.saving.register_keras_serializable(package="tfrestore")
class BandRoformer(layers.Layer):
    """A Roformer layer across the bands of each frame, with its residual connections.

    `x + attention(RMSNorm(x))`, then `x + gated(RMSNorm(x))`. Attention has rotary position
    embeddings (the position is the band's number) on queries and keys and no mask. The gated layer
    is a dense one to eight times the features, SiLU on all of them, SiLU of the first half once
    more, times the second half, and a dense one back; in the authors' code the first half goes
    through SiLU twice, and so here. No dense layer has a bias.

    Takes and returns `(batch, frames, bands, features)`, float32 in any precision.

    Weights: `attention_gain (features,)`; `query_kernel`, `key_kernel` and `value_kernel`, each
    `(features, features)`, their columns head by head; `attention_kernel (features, features)`, its
    rows the values head by head; `feed_forward_gain (features,)`; `gate_kernel` and
    `content_kernel`, each `(features, 4 * features)`; `feed_forward_kernel
    (4 * features, features)`. The queries and the keys of a head are in the order 0, 2, 4, … 1, 3,
    5, … of the paper's, whose rotary embedding turns neighbours `(2i, 2i + 1)`, so that here it
    turns two halves; products of queries and keys are the same.

    Args:
        heads: int. Attention heads; divides the features into even parts.
        seed: int. Seed of the initial weights. Defaults to `0`.

    Raises:
        ValueError: when built, if `heads` does not fit the features.
    """

    def __init__(self, heads: int, seed: int = 0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.heads = heads
        self.seed = seed

    def build(self, input_shape):
        """Makes the weights."""
        bands, features = input_shape[-2:]
        if features % (2 * self.heads):
            raise ValueError(
                f"Argument `heads` must divide the features, {features}, into even parts. "
                f"Received: heads={self.heads}"
            )
        hidden = EXPANSION * features
        for seed, (name, shape) in enumerate(
            (
                ("query_kernel", (features, features)),
                ("key_kernel", (features, features)),
                ("value_kernel", (features, features)),
                ("attention_kernel", (features, features)),
                ("gate_kernel", (features, hidden)),
                ("content_kernel", (features, hidden)),
                ("feed_forward_kernel", (hidden, features)),
            ),
            self.seed,
        ):
            weight = self.add_weight(shape=shape, initializer=uniform(shape[0], seed), name=name)
            setattr(self, name, weight)
        for name in ("attention_gain", "feed_forward_gain"):
            setattr(self, name, self.add_weight(shape=(features,), initializer="ones", name=name))
        width = features // self.heads
        speeds = _ROTARY_BASE ** (-np.arange(0, width, 2) / width)
        angles = np.arange(bands)[:, None] * speeds
        # (bands, heads, half of a head), each head the same.
        self._cosine, self._sine = (
            np.tile(turn(angles)[:, None, :], (1, self.heads, 1)).astype("float32")
            for turn in (np.cos, np.sin)
        )

    def call(self, inputs):
        """See the class."""
        # Rows, as in every product below: what is added to one is then added by the product itself.
        features = inputs.shape[-1]
        x = ops.reshape(inputs, (-1, features))
        x = x + self._attend(x, inputs.shape[-2])
        x = x + self._feed_forward(x)
        return ops.reshape(x, ops.shape(inputs))

    def _attend(self, x, bands: int):
        """Attention across the bands of each frame: `(rows, features)` to the same."""
        features = x.shape[-1]
        x = ops.cast(normalize(x, self.attention_gain), self.compute_dtype)
        shape = (-1, bands, self.heads, features // self.heads)
        queries, keys, values = (
            ops.reshape(product(x, kernel), shape)
            for kernel in (self.query_kernel, self.key_kernel, self.value_kernel)
        )
        queries = ops.transpose(self._turn(queries, shape[-1] ** -0.5), (0, 2, 1, 3))
        keys = ops.transpose(self._turn(keys, 1.0), (0, 2, 3, 1))
        weights = ops.softmax(ops.cast(ops.matmul(queries, keys), "float32"), axis=-1)
        values = ops.transpose(values, (0, 2, 1, 3))
        x = ops.transpose(ops.matmul(ops.cast(weights, values.dtype), values), (0, 2, 1, 3))
        x = product(ops.reshape(x, (-1, features)), self.attention_kernel)
        return ops.cast(x, "float32")

    def _turn(self, x, scale: float):
        """The rotary embedding of `(frames, bands, heads, width)`, times `scale`."""
        first, second = ops.split(x, 2, axis=-1)
        cosine, sine = (ops.cast(scale * table, x.dtype) for table in (self._cosine, self._sine))
        return ops.concatenate(
            [first * cosine - second * sine, second * cosine + first * sine], axis=-1
        )

    def _feed_forward(self, x):
        """The gated layer: `(rows, features)` to the same."""
        x = ops.cast(normalize(x, self.feed_forward_gain), self.compute_dtype)
        x = twice_gated(product(x, self.gate_kernel), product(x, self.content_kernel))
        return ops.cast(product(x, self.feed_forward_kernel), "float32")

    def compute_output_spec(self, inputs):
        """The shape and dtype of what `call` returns."""
        return keras.KerasTensor(inputs.shape, "float32")

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "heads": self.heads, "seed": self.seed}


@keras.saving.register_keras_serializable(package="tfrestore")
class ConvActNorm(layers.Layer):
    """A convolution along time in each band, with its residual connection.

    `x + dense(SiLU(dense(RMSNorm(depthwise(x)))))`: a depth-wise convolution of each feature, then
    two dense layers, over four times the features; all with bias. Weights are shared by all bands.

    Takes and returns `(batch, frames, bands, features)`, float32 in any precision; outside of it
    there are zeros. Non-causal, the convolution reaches as far to either side; causal, it sees a
    frame and those before it.

    Weights: `depthwise_kernel (kernel_size, features)`, `depthwise_bias`, `gain (features,)`,
    `expansion_kernel (features, 4 * features)`, `expansion_bias`,
    `projection_kernel (4 * features, features)`, `projection_bias`.

    Args:
        kernel_size: int, odd. Frames of the convolution. Defaults to `7`.
        causal: bool. Whether later frames stay unseen. Defaults to `False`.
        seed: int. Seed of the initial weights. Defaults to `0`.

    Raises:
        ValueError: if `kernel_size` is even.
    """

    def __init__(self, kernel_size: int = 7, causal: bool = False, seed: int = 0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                f"Argument `kernel_size` must be odd. Received: kernel_size={kernel_size}"
            )
        self.kernel_size = kernel_size
        self.causal = causal
        self.seed = seed
        #: Frames behind one that its result depends on.
        self.frames_after = 0 if causal else kernel_size // 2
        #: Frames before one that its result depends on.
        self.frames_before = kernel_size - 1 - self.frames_after

    def build(self, input_shape):
        """Makes the weights."""
        features = input_shape[-1]
        hidden = EXPANSION * features
        for seed, (name, shape, fan_in) in enumerate(
            (
                ("depthwise_kernel", (self.kernel_size, features), self.kernel_size),
                ("depthwise_bias", (features,), self.kernel_size),
                ("expansion_kernel", (features, hidden), features),
                ("expansion_bias", (hidden,), features),
                ("projection_kernel", (hidden, features), hidden),
                ("projection_bias", (features,), hidden),
            ),
            self.seed,
        ):
            weight = self.add_weight(shape=shape, initializer=uniform(fan_in, seed), name=name)
            setattr(self, name, weight)
        self.gain = self.add_weight(shape=(features,), initializer="ones", name="gain")

    def call(self, inputs):
        """See the class."""
        # Not `convolve`: the gradients of its two slices would write a map of zeros each.
        frames = [[0, 0], [self.frames_before, self.frames_after], [0, 0], [0, 0]]
        return self._add_to(inputs, self._depthwise(ops.pad(inputs, frames)))

    def convolve(self, frames, count):
        """Computes the frames whose neighbours are all there.

        Args:
            frames: `(batch, frames, bands, features)`, `kernel_size` frames or more; the first are
                neighbours only.
            count: int or scalar int tensor. Frames to compute, at most
                `frames - kernel_size + 1`.

        Returns:
            `(batch, count, bands, features)`.
        """
        inputs = frames[:, self.frames_before : self.frames_before + count]
        return self._add_to(inputs, self._depthwise(frames)[:, :count])

    def _depthwise(self, frames):
        """The convolution of each feature, of frames whose neighbours are all there."""
        kernel = ops.cast(self.depthwise_kernel, "float32")[:, None, :, None]
        return add_bias(ops.depthwise_conv(frames, kernel), self.depthwise_bias)

    def _add_to(self, inputs, x):
        """The dense layers of what was convolved, added to what went in."""
        features = inputs.shape[-1]
        x = ops.cast(normalize(ops.reshape(x, (-1, features)), self.gain), self.compute_dtype)
        x = silu(add_bias(product(x, self.expansion_kernel), self.expansion_bias))
        x = ops.cast(product(x, self.projection_kernel), "float32")
        x = add_bias(x, self.projection_bias)
        return ops.reshape(ops.reshape(inputs, (-1, features)) + x, ops.shape(inputs))

    def advance(self, inputs, state, final):
        """Computes the frames that the next frames of a recording complete.

        Args:
            inputs: `(batch, frames, bands, features)`, any number of frames.
            state: What came before, `(batch, up to kernel_size - 1, bands, features)`: at the
                start of a recording `frames_before` frames of zeros.
            final: bool or scalar bool tensor. Whether no frames follow.

        Returns:
            The complete frames `(batch, frames, bands, features)` and the next state.
        """
        batch, _, bands, features = ops.shape(inputs)
        known = ops.shape(state)[1] + ops.shape(inputs)[1]
        behind = ops.where(final, self.frames_after, 0)
        # TensorFlow's convolution of fewer frames than its kernel has gives anything but none.
        zeros = ops.maximum(behind, self.kernel_size - known)
        zeros = ops.zeros((batch, zeros, bands, features), inputs.dtype)
        frames = ops.concatenate([state, inputs, zeros], axis=1)
        kept = ops.maximum(0, known - (self.kernel_size - 1))
        complete = ops.maximum(0, known + behind - (self.kernel_size - 1))
        return self.convolve(frames, complete), frames[:, kept:known]

    def compute_output_spec(self, inputs):
        """The shape and dtype of what `call` returns."""
        return keras.KerasTensor(inputs.shape, "float32")

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "causal": self.causal,
            "seed": self.seed,
        }
