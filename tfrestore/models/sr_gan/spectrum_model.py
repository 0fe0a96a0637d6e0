"""What makes a Keras model of a network that sees spectra, be it the generator or the critic."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfrestore.models.presets import PresetMixin

#: Channels of a spectrum: real part, imaginary part.
PARTS = 2


class SpectrumModel(PresetMixin, keras.Model):
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

    def check_spectrum(self, spectrum) -> None:
        """Raises a ValueError where a spectrum's bins or parts do not fit."""
        if tuple(spectrum.shape[2:]) != (self.bins, PARTS):
            raise ValueError(
                f"A spectrum of shape (batch, frames, {self.bins}, {PARTS}) is needed. "
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
