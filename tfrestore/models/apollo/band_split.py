"""From the bins of a spectrum to the bands that Apollo works on, and back.

Li & Luo, "Apollo: Band-sequence Modeling for High-Quality Audio Restoration" (2024): gain-shape
features (eq. 1 and 2), band split and band-wise reconstruction. Every band has weights of its own.
All bands but the last are equally wide, so their weights are stacked and their layers are one
batched product; the last band takes the bins that are left over.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from tfrestore.models.apollo.weights import normalize, uniform

# PyTorch's `finfo(float32).eps`, which the published model adds to the power of a band.
_SMALLEST_POWER = 1.1920929e-07


class _Banded(layers.Layer):
    """What band split and reconstruction share: how the bins are cut."""

    def __init__(self, bins: int, bands: int, band_bins: int, seed: int = 0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.bins = bins
        self.bands = bands
        self.band_bins = band_bins
        self.seed = seed
        self.last_band_bins = bins - (bands - 1) * band_bins
        if self.last_band_bins < 1:
            raise ValueError(
                f"{bands} bands of {band_bins} bins do not fit into {bins} bins; the last band "
                "needs at least one."
            )

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "bins": self.bins,
            "bands": self.bands,
            "band_bins": self.band_bins,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="tfrestore")
class BandSplit(_Banded):
    """Gain-shape features of every band, normalised and brought to one width.

    Takes a pair (real, imaginary), each float32 `(batch, frames, bins)`, and returns
    `(batch, frames, bands, features)`; batch and frames may be unknown. The features of a band are
    the real parts of its bins over the band's ℓ2 norm, their imaginary parts over the same, and the
    natural logarithm of that norm.

    Args:
        bins: int. Bins of the spectrum.
        bands: int. Number of bands.
        band_bins: int. Bins of every band but the last, which has the rest.
        features: int. Width of what comes out.
        seed: int. Seed of the initial weights. Defaults to `0`.

    Raises:
        ValueError: if the bands do not fit into the bins.
    """

    def __init__(
        self, bins: int, bands: int, band_bins: int, features: int, seed: int = 0, **kwargs
    ):
        super().__init__(bins, bands, band_bins, seed, **kwargs)
        self.features = features

    def build(self, input_shape=None):
        """Makes the weights of all bands."""
        for prefix, count, bins, seed in (
            ("", (self.bands - 1,), self.band_bins, self.seed),
            ("last_", (), self.last_band_bins, self.seed + 2),
        ):
            inputs = 2 * bins + 1
            for name, shape, initializer in (
                ("gain", (inputs,), "ones"),
                ("kernel", (inputs, self.features), uniform(inputs, seed)),
                ("bias", (self.features,), uniform(inputs, seed + 1)),
            ):
                weight = self.add_weight(
                    shape=(*count, *shape), initializer=initializer, name=prefix + name
                )
                setattr(self, prefix + name, weight)

    def call(self, spectrum):
        """See the class."""
        real, imaginary = spectrum
        batch, frames = ops.shape(real)[:2]
        edge = (self.bands - 1) * self.band_bins
        narrow = [
            ops.reshape(part[:, :, :edge], (batch, frames, self.bands - 1, self.band_bins))
            for part in (real, imaginary)
        ]
        x = self._normalize(*narrow, self.gain)
        # One product per band: the bands come first, and are put back behind the frames.
        x = ops.reshape(ops.transpose(x, (2, 0, 1, 3)), (self.bands - 1, -1, x.shape[-1]))
        x = ops.matmul(x, ops.cast(self.kernel, x.dtype))
        x = ops.reshape(x, (self.bands - 1, batch, frames, self.features))
        x = ops.transpose(x, (1, 2, 0, 3)) + ops.cast(self.bias, x.dtype)
        last = self._normalize(real[:, :, edge:], imaginary[:, :, edge:], self.last_gain)
        last = ops.reshape(last, (-1, last.shape[-1]))
        last = ops.matmul(last, ops.cast(self.last_kernel, last.dtype))
        last = last + ops.cast(self.last_bias, last.dtype)
        last = ops.reshape(last, (batch, frames, 1, self.features))
        return ops.concatenate([x, last], axis=2)

    def _normalize(self, real, imaginary, gain):
        """The normalised features of bands, the bins last."""
        power = ops.sum(real * real + imaginary * imaginary, axis=-1, keepdims=True)
        norm = ops.sqrt(power + _SMALLEST_POWER)
        features = ops.concatenate([real / norm, imaginary / norm, ops.log(norm)], axis=-1)
        return ops.cast(normalize(features, gain), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        return (*input_shape[0][:2], self.bands, self.features)

    def compute_output_spec(self, spectrum):
        """The shape and dtype of what `call` returns."""
        shape = self.compute_output_shape([part.shape for part in spectrum])
        return keras.KerasTensor(shape, self.compute_dtype)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "features": self.features}


@keras.saving.register_keras_serializable(package="tfrestore")
class BandReconstruction(_Banded):
    """The spectrum that the features of every band describe.

    Takes `(batch, frames, bands, features)` and returns a pair (real, imaginary), each float32
    `(batch, frames, bins)`; batch and frames may be unknown. Per band: RMSNorm, a dense layer to
    four values per bin, and a gated linear unit, the first half of these times the sigmoid of the
    second. The spectrum is made directly, neither a mask nor something that is added to the input,
    and it is not multiplied by the band's norm again.

    Args:
        bins: int. Bins of the spectrum.
        bands: int. Number of bands.
        band_bins: int. Bins of every band but the last, which has the rest.
        seed: int. Seed of the initial weights. Defaults to `0`.

    Raises:
        ValueError: if the bands do not fit into the bins.
    """

    def build(self, input_shape):
        """Makes the weights of all bands."""
        features = input_shape[-1]
        for prefix, count, bins, seed in (
            ("", (self.bands - 1,), self.band_bins, self.seed),
            ("last_", (), self.last_band_bins, self.seed + 2),
        ):
            for name, shape, initializer in (
                ("gain", (features,), "ones"),
                ("kernel", (features, 4 * bins), uniform(features, seed)),
                ("bias", (4 * bins,), uniform(features, seed + 1)),
            ):
                weight = self.add_weight(
                    shape=(*count, *shape), initializer=initializer, name=prefix + name
                )
                setattr(self, prefix + name, weight)

    def call(self, inputs):
        """See the class."""
        batch, frames, _, features = ops.shape(inputs)
        narrow = self.bands - 1
        x = ops.cast(normalize(inputs[:, :, :narrow], self.gain), self.compute_dtype)
        x = ops.reshape(ops.transpose(x, (2, 0, 1, 3)), (narrow, -1, features))
        x = ops.matmul(x, ops.cast(self.kernel, x.dtype))
        x = ops.transpose(ops.reshape(x, (narrow, batch, frames, 4 * self.band_bins)), (1, 2, 0, 3))
        last = ops.cast(normalize(inputs[:, :, narrow], self.last_gain), self.compute_dtype)
        last = ops.reshape(last, (-1, features))
        last = ops.matmul(last, ops.cast(self.last_kernel, last.dtype))
        last = ops.reshape(last, (batch, frames, 4 * self.last_band_bins))
        parts = zip(
            _gated_parts(x, self.bias, self.band_bins),
            _gated_parts(last, self.last_bias, self.last_band_bins),
            strict=True,
        )
        edge = narrow * self.band_bins
        return tuple(
            ops.concatenate([ops.reshape(part, (batch, frames, edge)), rest], axis=-1)
            for part, rest in parts
        )

    def compute_output_shape(self, input_shape):
        """The shapes of what `call` returns."""
        shape = (*input_shape[:2], self.bins)
        return shape, shape

    def compute_output_spec(self, inputs):
        """The shapes and dtypes of what `call` returns."""
        return tuple(
            keras.KerasTensor(shape, "float32") for shape in self.compute_output_shape(inputs.shape)
        )


def _gated_parts(x, bias, bins: int):
    """Real and imaginary parts of a band, float32, of what its dense layer gives."""
    # The result feeds losses and inverse transforms, so it is float32 in any precision.
    x = ops.cast(x, "float32") + ops.cast(bias, "float32")
    x = x[..., : 2 * bins] * ops.sigmoid(x[..., 2 * bins :])
    return x[..., :bins], x[..., bins:]
