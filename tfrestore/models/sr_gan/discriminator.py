"""The critic with frequency aggregation filters; what the paper leaves open is in `network.py`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import keras
from keras import ops

from tfrestore.layers.self_gating import MapwisePReLU
from tfrestore.layers.square_root_magnitude import square_root_magnitude
from tfrestore.models.sr_gan.convolutions import convolution
from tfrestore.models.sr_gan.frequency_aggregation import FrequencyAggregation
from tfrestore.models.sr_gan.spectrum_model import PARTS, SpectrumModel
from tfrestore.models.sr_gan.trunk import (
    INNER_DILATIONS,
    OUTER_DILATIONS,
    FrequencyAggregationTrunk,
)


@keras.saving.register_keras_serializable(package="tfrestore")
class FrequencyAggregationCritic(SpectrumModel):
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
            self.convolutions.append(convolution(maps, 1, seeds, policy, f"conv15_{group}"))
            self.activations.append(MapwisePReLU(dtype=policy, name=f"conv15_{group}_activation"))
        self.conv16 = FrequencyAggregation(1, seed=1000 * seed + 750, dtype=policy, name="conv16")
        self.build()

    def build(self, spectrum_shape=None, degraded_shape=None):
        """Makes all weights; the sizes are the constructor's."""
        if self.conv16.built:
            return
        for channels, trunk, layer, activation in zip(
            (2 * PARTS, 2), self.trunks, self.convolutions, self.activations, strict=True
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
        self.check_spectrum(spectrum)
        self.check_spectrum(degraded)
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
