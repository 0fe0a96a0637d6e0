"""The generator and the critic with frequency aggregation filters.

Lattner & Nistal, "Stochastic Restoration of Heavily Compressed Musical Audio using Generative
Adversarial Networks" (Electronics 2021), section 3 and Table 1. Layers are named as in the table.

A recording's spectrum is the signed square root (eq. 4) of the real and the imaginary part of its
short-time Fourier transform of window 2048: `(batch, frames, 1024, 2)`. Maps lie last and bins
before them, so that Conv4 and DeConv4, which span all bins and do nearly all the work, are plain
matrix products over memory as it lies, and so that the reshapes between 4096 maps of one bin and
128 maps of 32 move nothing. What is learnt is the same in any order of these maps.

Where the paper leaves a choice:

- Which of the 1025 bins is left out: the last, Nyquist's.
- A dilation holds for both axes, time and frequency, as one number does in most libraries.
- DeConv3-1 are transposed convolutions of stride 1, which are convolutions with the kernel turned
  over, and are computed so.
- He's initialisation is taken at his word: a kernel's variance is such that its activation hands on
  the mean square that the kernel got. It is 2 / fan-in in front of PReLU, and in front of the
  generator's self-gating, which halves what it passes, 5.2 / fan-in. With 2 the nine gates in a row
  leave a 400th of the input (measured): a fresh generator says the same whatever the music and the
  noise, and the mode-collapse losses, a thousand times the critic's, drown it. The critic's skip
  connections carry the signal past the gates; all of its kernels have 2 / fan-in.
- Of what a fresh Conv6 hears, the noise has the share that it has in Table 1, 64 of 320 maps, in
  networks of other sizes too: there its kernels are initially smaller or larger than the others.
- PReLU has one slope per map, shared over time and frequency, starting at 0.25. The two output
  layers, DeConv1 and Conv16, are linear: their values have either sign.
- Every layer has a bias per map. So the generator has 322,538,274 parameters; the 322.53 million
  that a later paper reports would be one slope per layer instead of per map, 322,532,344.
- Table 1's maps of the critic are those of its two groups together, as in a grouped convolution.
- The critic's skip connection over Conv6, whose input has twice its output's maps, is a 1×1
  convolution without bias (He et al. 2016); over Conv7-14 it is the identity. Each is added behind
  the self-gating.
- Conv15 has a PReLU and no self-gating.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import keras
from keras import layers, ops

from tfrestore.layers.dilated_convolution import DilatedConv2D
from tfrestore.layers.self_gating import SELF_GATING_VARIANCE, MapwisePReLU, SelfGating
from tfrestore.layers.square_root_magnitude import square_root_magnitude
from tfrestore.models.presets import PresetMixin

#: Dilations of Conv1-3 and, the other way round, of DeConv3-1.
OUTER_DILATIONS = (1, 2, 4)

#: Dilations of Conv5-14.
INNER_DILATIONS = (1, 2, 4, 8, 16, 1, 2, 4, 8, 16)

#: Share of the noise in the variance of a fresh Conv6: 64 of 320 maps in Table 1.
NOISE_SHARE = 0.2

# Channels of a spectrum: real part, imaginary part.
_PARTS = 2


@keras.saving.register_keras_serializable(package="tfrestore")
class FrequencyAggregation(layers.Layer):
    """Conv4: filters that span all bins of all maps, a matrix product per frame.

    Takes `(batch, frames, bins, maps)` and returns `(batch, frames, filters)`; batch and frames may
    be unknown.

    Args:
        filters: int. Maps that come out.
        seed: int. Seed of He's normal initialisation of the kernel. Defaults to `0`.
    """

    def __init__(self, filters: int, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.seed = seed

    def build(self, input_shape):
        """Makes the kernel, `(bins * maps, filters)`, and the bias."""
        self.kernel = self.add_weight(
            shape=(input_shape[2] * input_shape[3], self.filters),
            initializer=keras.initializers.HeNormal(self.seed),
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, inputs):
        """See the class."""
        batch, frames = ops.shape(inputs)[:2]
        # One product of two matrices. As a batch of products, its gradient would be a kernel per
        # item of the batch before these are added up, each of 0.6 GB in the paper's size.
        rows = ops.reshape(inputs, (-1, self.kernel.shape[0]))
        x = ops.matmul(rows, self.kernel) + self.bias
        return ops.reshape(x, (batch, frames, self.filters))

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        return (*input_shape[:2], self.filters)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "seed": self.seed}


@keras.saving.register_keras_serializable(package="tfrestore")
class FrequencyDistribution(layers.Layer):
    """DeConv4: the transpose of `FrequencyAggregation`, from one bin back to all.

    Takes `(batch, frames, channels)` and returns `(batch, frames, bins, maps)`; batch and frames
    may be unknown. There is a bias per map, the same at every bin.

    Args:
        bins: int. Bins that come out.
        maps: int. Maps that come out.
        seed: int. Seed of He's normal initialisation of the kernel. Defaults to `0`.
    """

    def __init__(self, bins: int, maps: int, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.bins = bins
        self.maps = maps
        self.seed = seed

    def build(self, input_shape):
        """Makes the kernel, `(channels, bins * maps)`, and the bias."""
        self.kernel = self.add_weight(
            shape=(input_shape[2], self.bins * self.maps),
            initializer=keras.initializers.HeNormal(self.seed),
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.maps,), initializer="zeros", name="bias")

    def call(self, inputs):
        """See the class."""
        batch, frames = ops.shape(inputs)[:2]
        rows = ops.reshape(inputs, (-1, self.kernel.shape[0]))
        x = ops.matmul(rows, self.kernel)
        return ops.reshape(x, (batch, frames, self.bins, self.maps)) + self.bias

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        return (*input_shape[:2], self.bins, self.maps)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "bins": self.bins, "maps": self.maps, "seed": self.seed}


@keras.saving.register_keras_serializable(package="tfrestore")
class FrequencyAggregationTrunk(layers.Layer):
    """Conv1 to Conv14, what generator and critic have in common.

    Takes `(batch, frames, bins, channels)`, with `noise_size` also `(batch, noise_size)`, and
    returns `(batch, frames, inner bins, maps)`, where inner bins are `aggregation / maps`.
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
            _convolution(maps_out, dilation, seeds, policy, f"conv{number}")
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
            _convolution(
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
        return batch, frames, self.inner_bins, self.maps

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


class _SpectrumModel(PresetMixin, keras.Model):
    """What generator and critic share: sizes, weights made at once, spectra seen in float32."""

    def __init__(
        self,
        bins: int,
        filters: Sequence[int],
        aggregation: int,
        maps: int,
        seed: int,
        **kwargs,
    ):
        # The layers cast for themselves; the critic takes magnitudes before any precision is lost.
        super().__init__(autocast=False, **kwargs)
        self.bins = bins
        self.filters = list(filters)
        self.aggregation = aggregation
        self.maps = maps
        self.seed = seed

    def _check_spectrum(self, spectrum) -> None:
        if tuple(spectrum.shape[2:]) != (self.bins, _PARTS):
            raise ValueError(
                f"A spectrum of shape (batch, frames, {self.bins}, {_PARTS}) is needed. "
                f"Received: shape={tuple(spectrum.shape)}"
            )

    def get_config(self):
        """The constructor's arguments."""
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "bins": self.bins,
            "filters": self.filters,
            "aggregation": self.aggregation,
            "maps": self.maps,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        """The object of a `get_config`."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="tfrestore")
class FrequencyAggregationGenerator(_SpectrumModel):
    """Restores the spectrum of a heavily compressed recording, one way of many.

    `generator(spectrum, noise)` takes the signed square root of a short-time Fourier transform,
    `(batch, frames, bins, 2)`, and `(batch, noise_size)` values drawn from a standard normal
    distribution, and returns the same representation of the restored recording, float32,
    `(batch, frames - 124, bins, 2)`: no frame is made up, so 62 at either side are context. Noise
    of shape `(1, noise_size)` serves every item of the batch. Other noise gives another
    restoration, the same noise the same. Batch and frames may be unknown.

    Exact shift equivariance over time holds for outputs whose `receptive_frames` are all real.

    Args:
        bins: int. Bins of a spectrum. Defaults to `1024`.
        filters: Three ints. Maps of Conv1-3, and backwards of DeConv4-2. Defaults to the paper's
            `(18, 38, 38)`.
        aggregation: int. Maps of Conv4. Defaults to `4096`.
        maps: int. Maps behind the reshape and each self-gating. Defaults to `128`.
        noise_size: int. Values of noise; `0` is the paper's deterministic generator, called
            `generator(spectrum)`. Defaults to `64`.
        seed: int. Seed of He's normal initialisation; each layer's is its own. Defaults to `0`.

    Raises:
        ValueError: if `maps` does not divide `aggregation`; in a call, if the spectrum's
            bins, its frames (fewer than 125) or the noise do not fit.

    Example:
    ```python
    generator = tfrestore.models.FrequencyAggregationGenerator.from_preset("sr_gan_tiny")
    spectrum, noise = np.random.randn(2, 336, 1024, 2), np.random.randn(2, 64)
    generator(spectrum, noise).shape  # (2, 212, 1024, 2)
    ```
    """

    def __init__(
        self,
        bins: int = 1024,
        filters: Sequence[int] = (18, 38, 38),
        aggregation: int = 4096,
        maps: int = 128,
        noise_size: int = 64,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(bins, filters, aggregation, maps, seed, **kwargs)
        self.noise_size = noise_size
        policy, seeds = self.dtype_policy, itertools.count(1000 * seed + 500)
        self.trunk = FrequencyAggregationTrunk(
            filters,
            aggregation,
            maps,
            noise_size,
            seed=1000 * seed,
            dtype=policy,
            name="trunk",
        )
        self.deconv4 = FrequencyDistribution(
            bins, self.filters[-1], next(seeds), dtype=policy, name="deconv4"
        )
        maps_out = (self.filters[1], self.filters[0], _PARTS)
        self.convolutions = [
            _convolution(maps, dilation, seeds, policy, f"deconv{number}")
            for number, maps, dilation in zip(
                (3, 2, 1), maps_out, reversed(OUTER_DILATIONS), strict=True
            )
        ]
        self.activations = [
            MapwisePReLU(dtype=policy, name=f"deconv{number}_activation") for number in (4, 3, 2)
        ]
        self.build()

    def build(self, spectrum_shape=None, noise_shape=None):
        """Makes all weights; the sizes are the constructor's."""
        if self.trunk.built:
            return
        self.trunk.build((None, None, self.bins, _PARTS))
        self.deconv4.build((None, None, self.aggregation))
        channels = self.filters[-1]
        for activation, layer in zip(self.activations, self.convolutions, strict=True):
            activation.build((channels,))
            layer.build((None, None, None, channels))
            channels = layer.filters

    @property
    def context_frames(self) -> int:
        """Frames at either side of the input for which there is no output."""
        return sum(INNER_DILATIONS)

    @property
    def receptive_frames(self) -> int:
        """Frames to either side that an output frame depends on, the context among them."""
        return sum(INNER_DILATIONS) + 2 * sum(OUTER_DILATIONS)

    def call(self, spectrum, noise=None):
        """See the class."""
        self._check_spectrum(spectrum)
        frames = spectrum.shape[1]
        if frames is not None and frames <= 2 * self.context_frames:
            raise ValueError(
                f"A spectrum of at least {2 * self.context_frames + 1} frames is needed. "
                f"Received: {frames} frames"
            )
        if (0 if noise is None else noise.shape[-1]) != self.noise_size:
            wanted = f"of shape (batch, {self.noise_size})" if self.noise_size else "None"
            raise ValueError(
                f"Argument `noise` must be {wanted}. "
                f"Received: {None if noise is None else tuple(noise.shape)}"
            )
        x = self.trunk(spectrum, noise)
        batch, frames = ops.shape(x)[:2]
        x = self.deconv4(ops.reshape(x, (batch, frames, self.aggregation)))
        for activation, layer in zip(self.activations, self.convolutions, strict=True):
            x = layer(activation(x))
        # The result feeds losses and inverse transforms, so it leaves in float32 in any precision.
        return ops.cast(x, "float32")

    def compute_output_shape(self, spectrum_shape, noise_shape=None):
        """The shape of what `call` returns."""
        batch, frames = spectrum_shape[:2]
        frames = None if frames is None else frames - 2 * self.context_frames
        return batch, frames, self.bins, _PARTS

    def compute_output_spec(self, spectrum, noise=None):
        """The shape and dtype of what `call` returns."""
        return keras.KerasTensor(self.compute_output_shape(spectrum.shape), "float32")

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "noise_size": self.noise_size}


@keras.saving.register_keras_serializable(package="tfrestore")
class FrequencyAggregationCritic(_SpectrumModel):
    """Judges, frame by frame, whether a spectrum is an original's or a generator's.

    `critic(spectrum, degraded)` takes a candidate and the compressed version of the same frames,
    both the signed square root of a short-time Fourier transform, `(batch, frames, bins, 2)`, and
    returns one value per frame, float32, `(batch, frames)`. Batch and frames may be unknown. Its
    value has second derivatives with respect to its inputs and weights, as a gradient penalty
    needs.

    There are two groups of convolutions, joined in the output layer only: one sees the four real
    and imaginary parts of candidate and compressed version, the other their two square-root
    magnitudes. They are two trunks and not one of grouped convolutions, which take inputs of equal
    size and which TensorFlow has no CPU kernels for.

    Args:
        bins: int. Bins of a spectrum. Defaults to `1024`.
        filters: Three ints. Maps of Conv1-3 of both groups; each has half of them, rounded up.
            Defaults to the paper's `(18, 38, 38)`.
        aggregation: int, even. Maps of Conv4 of both groups. Defaults to `4096`.
        maps: int, even. Maps of both groups behind the reshape and each self-gating. Defaults to
            `128`.
        seed: int. Seed of He's normal initialisation; each layer's is its own. Defaults to `0`.

    Raises:
        ValueError: if `aggregation` or `maps` is odd or the second does not divide the first; in a
            call, if a spectrum's bins do not fit.
    """

    def __init__(
        self,
        bins: int = 1024,
        filters: Sequence[int] = (18, 38, 38),
        aggregation: int = 4096,
        maps: int = 128,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(bins, filters, aggregation, maps, seed, **kwargs)
        if aggregation % 2 or maps % 2:
            raise ValueError(
                "Arguments `aggregation` and `maps` must be even, since each of two groups has "
                f"half. Received: aggregation={aggregation}, maps={maps}"
            )
        policy = self.dtype_policy
        self.trunks, self.convolutions, self.activations = [], [], []
        for number, group in enumerate(("components", "magnitudes")):
            group_seed = 1000 * seed + 250 * (1 + number)
            self.trunks.append(
                FrequencyAggregationTrunk(
                    [-(-size // 2) for size in filters],
                    aggregation // 2,
                    maps // 2,
                    pad_time=True,
                    skip_connections=True,
                    seed=group_seed,
                    dtype=policy,
                    name=group,
                )
            )
            seeds = itertools.count(group_seed + 100)
            self.convolutions.append(_convolution(maps, 1, seeds, policy, f"conv15_{group}"))
            self.activations.append(MapwisePReLU(dtype=policy, name=f"conv15_{group}_activation"))
        self.conv16 = FrequencyAggregation(1, seed=1000 * seed + 750, dtype=policy, name="conv16")
        self.build()

    def build(self, spectrum_shape=None, degraded_shape=None):
        """Makes all weights; the sizes are the constructor's."""
        if self.conv16.built:
            return
        for channels, trunk, layer, activation in zip(
            (2 * _PARTS, 2), self.trunks, self.convolutions, self.activations, strict=True
        ):
            trunk.build((None, None, self.bins, channels))
            layer.build((None, None, None, self.maps // 2))
            activation.build((self.maps,))
        self.conv16.build((None, None, self.aggregation // self.maps, 2 * self.maps))

    @property
    def receptive_frames(self) -> int:
        """Frames to either side that an output frame depends on."""
        return sum(OUTER_DILATIONS) + sum(INNER_DILATIONS) + 1

    def call(self, spectrum, degraded):
        """See the class."""
        self._check_spectrum(spectrum)
        self._check_spectrum(degraded)
        inputs = (
            ops.concatenate([spectrum, degraded], axis=-1),
            ops.stack([square_root_magnitude(x) for x in (spectrum, degraded)], axis=-1),
        )
        outputs = [
            activation(layer(trunk(x)))
            for x, trunk, layer, activation in zip(
                inputs, self.trunks, self.convolutions, self.activations, strict=True
            )
        ]
        value = self.conv16(ops.concatenate(outputs, axis=-1))
        return ops.cast(value[..., 0], "float32")

    def compute_output_shape(self, spectrum_shape, degraded_shape=None):
        """The shape of what `call` returns."""
        return tuple(spectrum_shape[:2])

    def compute_output_spec(self, spectrum, degraded):
        """The shape and dtype of what `call` returns."""
        return keras.KerasTensor(self.compute_output_shape(spectrum.shape), "float32")


@keras.saving.register_keras_serializable(package="tfrestore")
class _HeNormal(keras.initializers.VarianceScaling):
    """He's normal initialisation for an activation and for inputs of which some are noise.

    Args:
        variance: float. Of a kernel, times its fan-in.
        noise_size: int. How many maps at the end of the input are noise; of the variance they have
            `NOISE_SHARE`.
        seed: int.
    """

    def __init__(self, variance: float, noise_size: int, seed: int):
        super().__init__(variance, "fan_in", "truncated_normal", seed=seed)
        self.noise_size = noise_size

    def __call__(self, shape, dtype=None):
        """A kernel `(rows, columns, maps in, maps out)`."""
        kernel = super().__call__(shape, dtype)
        if not self.noise_size:
            return kernel
        maps, others = shape[2], shape[2] - self.noise_size
        sizes = [((1 - NOISE_SHARE) * maps / others) ** 0.5] * others
        sizes += [(NOISE_SHARE * maps / self.noise_size) ** 0.5] * self.noise_size
        return kernel * ops.reshape(ops.cast(sizes, kernel.dtype), (-1, 1))

    def get_config(self):
        """The constructor's arguments."""
        return {"variance": self.scale, "noise_size": self.noise_size, "seed": self.seed}


def _convolution(
    maps: int,
    dilation: int,
    seeds: Iterator[int],
    policy,
    name: str,
    padding: str = "same",
    variance: float = 2.0,
    noise_size: int = 0,
) -> DilatedConv2D:
    initializer = _HeNormal(variance, noise_size, next(seeds))
    return DilatedConv2D(
        maps,
        3,
        dilation_rate=dilation,
        padding=padding,
        kernel_initializer=initializer,
        dtype=policy,
        name=name,
    )
