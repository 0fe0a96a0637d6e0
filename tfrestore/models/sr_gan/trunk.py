"""What generator and critic of Lattner & Nistal (Electronics 2021, Table 1) have in common."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import keras
from keras import layers, ops

from tfrestore.layers.self_gating import SELF_GATING_VARIANCE, MapwisePReLU, SelfGating
from tfrestore.models.sr_gan.convolutions import convolution
from tfrestore.models.sr_gan.frequency_aggregation import FrequencyAggregation

#: Dilations of Conv1-3 and, the other way round, of DeConv3-1.
OUTER_DILATIONS = (1, 2, 4)

#: Dilations of Conv5-14.
INNER_DILATIONS = (1, 2, 4, 8, 16, 1, 2, 4, 8, 16)


@keras.saving.register_keras_serializable(package="tfrestore")
class FrequencyAggregationTrunk(layers.Layer):
    """Conv1 to Conv14, what generator and critic have in common.

    Takes `(batch, frames, bins, channels)`, with `noise_size` also `(batch, noise_size)` or
    `(versions, batch, noise_size)`, and returns `(batch, frames, inner bins, maps)`, or
    `(versions * batch, ...)`, where inner bins are `aggregation / maps`.
    Without `pad_time` 124 frames fewer come out, 62 at either side. Batch and frames may be
    unknown.

    Args:
        filters: Three ints. Maps of Conv1-3. Defaults to the paper's `(18, 38, 38)`.
        aggregation: int. Maps of Conv4, the frequency aggregation filters. Defaults to
            `4096`.
        maps: int. Maps behind the reshape and behind each self-gating; ReMap and Conv5-14 have
            twice as many. Defaults to `128`.
        noise_size: int. Values of noise that Conv6 sees at every frame and inner bin; `0` for none.
            Defaults to `0`.
        pad_time: bool. Whether Conv5-14 pad time with zeros, as the critic's do. Conv1-3 always
            pad time, and every layer pads frequency. Defaults to `False`.
        skip_connections: bool. Whether the input of each of Conv6-14 is added to its output, as in
            the critic. Needs `pad_time`. Defaults to `False`.
        seed: int. Seed of He's normal initialisation; each layer's is its own. Defaults to `0`.

    Raises:
        ValueError: if `maps` does not divide `aggregation`, or if there are skip
            connections without padding.
    """

    def __init__(
        self,
        filters: Sequence[int] = (18, 38, 38),
        aggregation: int = 4096,
        maps: int = 128,
        noise_size: int = 0,
        pad_time: bool = False,
        skip_connections: bool = False,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if aggregation % maps:
            raise ValueError(
                "Argument `maps` must divide `aggregation`. "
                f"Received: maps={maps}, aggregation={aggregation}"
            )
        if skip_connections and not pad_time:
            raise ValueError("Argument `skip_connections` needs `pad_time=True`.")
        self.filters = list(filters)
        self.aggregation = aggregation
        self.maps = maps
        self.noise_size = noise_size
        self.pad_time = pad_time
        self.skip_connections = skip_connections
        self.seed = seed
        self.inner_bins = aggregation // maps

        policy, seeds = self.dtype_policy, itertools.count(seed)
        self.outer_convolutions = [
            convolution(maps_out, dilation, seeds, policy, f"conv{number}")
            for number, maps_out, dilation in zip((1, 2, 3), filters, OUTER_DILATIONS, strict=True)
        ]
        self.outer_activations = [
            MapwisePReLU(dtype=policy, name=f"conv{number}_activation") for number in (1, 2, 3)
        ]
        self.conv4 = FrequencyAggregation(aggregation, next(seeds), dtype=policy, name="conv4")
        self.conv4_activation = MapwisePReLU(dtype=policy, name="conv4_activation")
        self.remap = layers.Conv2D(
            2 * maps,
            1,
            kernel_initializer=keras.initializers.HeNormal(next(seeds)),
            dtype=policy,
            name="remap",
        )
        self.remap_activation = MapwisePReLU(dtype=policy, name="remap_activation")
        gated = 2.0 if skip_connections else SELF_GATING_VARIANCE
        self.inner_convolutions = [
            convolution(
                2 * maps,
                dilation,
                seeds,
                policy,
                f"conv{number}",
                padding="same" if pad_time else "valid",
                variance=gated if number > 5 else 2.0,
                noise_size=noise_size if number == 6 else 0,
            )
            for number, dilation in enumerate(INNER_DILATIONS, 5)
        ]
        self.inner_activations = [
            (SelfGating if number > 5 else MapwisePReLU)(
                dtype=policy, name=f"conv{number}_activation"
            )
            for number, _ in enumerate(INNER_DILATIONS, 5)
        ]
        if skip_connections:
            self.skip_projection = layers.Conv2D(
                maps,
                1,
                use_bias=False,
                kernel_initializer=keras.initializers.HeNormal(next(seeds)),
                dtype=policy,
                name="conv6_skip",
            )

    def build(self, input_shape, noise_shape=None):
        """Makes the weights of every layer."""
        # Sizes other than the channels are unknown to the convolutions, which do not need them.
        channels = input_shape[-1]
        for layer, activation in zip(self.outer_convolutions, self.outer_activations, strict=True):
            layer.build((None, None, None, channels))
            channels = layer.filters
            activation.build((channels,))
        self.conv4.build((None, None, input_shape[2], channels))
        self.conv4_activation.build((self.aggregation,))
        self.remap.build((None, None, None, self.maps))
        self.remap_activation.build((2 * self.maps,))
        conv5, *others = zip(self.inner_convolutions, self.inner_activations, strict=True)
        channels = 2 * self.maps
        for layer, activation in (conv5, *others):
            layer.build((None, None, None, channels))
            activation.build((2 * self.maps,))
            channels = self.maps if layer is not conv5[0] else 2 * self.maps + self.noise_size
        if self.skip_connections:
            self.skip_projection.build((None, None, None, 2 * self.maps))

    def call(self, inputs, noise=None):
        """See the class."""
        x = inputs
        for layer, activation in zip(self.outer_convolutions, self.outer_activations, strict=True):
            x = activation(layer(x))
        x = self.conv4_activation(self.conv4(x))
        batch, frames = ops.shape(x)[:2]
        x = ops.reshape(x, (batch, frames, self.inner_bins, self.maps))
        x = self.remap_activation(self.remap(x))
        conv5, conv6, *others = zip(self.inner_convolutions, self.inner_activations, strict=True)
        x = self._convolve(x, *conv5)
        if self.noise_size:
            if len(noise.shape) == 3:
                # Nothing so far depends on the noise, so it was done once for all versions.
                x = ops.tile(x, (ops.shape(noise)[0], 1, 1, 1))
                noise = ops.reshape(noise, (-1, self.noise_size))
            size = (*ops.shape(x)[:3], self.noise_size)
            noise = ops.cast(noise, x.dtype)[:, None, None, :]
            x = ops.concatenate([x, ops.broadcast_to(noise, size)], axis=-1)
        skipped = self.skip_projection(x) if self.skip_connections else None
        x = self._convolve(x, *conv6, skipped)
        for layer, activation in others:
            x = self._convolve(x, layer, activation, x if self.skip_connections else None)
        return x

    def _convolve(self, x, layer, activation, skipped=None):
        """One of Conv5-14, with its activation and its skip connection."""
        if not self.pad_time:
            dilation = layer.dilation_rate[1]
            x = ops.pad(x, [[0, 0], [0, 0], [dilation, dilation], [0, 0]])
        x = activation(layer(x))
        return x if skipped is None else x + skipped

    def compute_output_shape(self, input_shape, noise_shape=None):
        """The shape of what `call` returns."""
        batch, frames = input_shape[:2]
        if frames is not None and not self.pad_time:
            frames -= 2 * sum(INNER_DILATIONS)
        return versions_of(batch, noise_shape), frames, self.inner_bins, self.maps

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "aggregation": self.aggregation,
            "maps": self.maps,
            "noise_size": self.noise_size,
            "pad_time": self.pad_time,
            "skip_connections": self.skip_connections,
            "seed": self.seed,
        }


def versions_of(batch: int | None, noise_shape) -> int | None:
    """How many items come out of a batch with noise of a shape; `None` if that is not known."""
    if noise_shape is None or len(noise_shape) < 3:
        return batch
    return None if batch is None or noise_shape[0] is None else noise_shape[0] * batch
