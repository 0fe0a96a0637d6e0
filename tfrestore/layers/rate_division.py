"""A fixed whole-number division of a sample rate, and the way back, by one linear-phase filter.

The filter is a sinc under a Kaiser window (Kaiser 1974), symmetric, so that nothing is delayed:
sample `i` of the lower rate belongs to sample `factor * i` of the higher. A sample depends on
32 of the lower rate on either side, and not on the whole waveform as with a transform.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tfrestore.errors import UsageError
from tfrestore.layers.float32_layer import Float32Layer

# Samples of the lower rate on either side, the middle of the transition as a share of the lower
# Nyquist frequency, and the window's parameter: 70 dB at the lower Nyquist frequency.
_REACH, _CUTOFF, _BETA = 32, 0.93, 7.0


class RateDivisionLayer(Float32Layer):
    """What both directions share.

    Args:
        factor: int. How many samples of the higher rate one of the lower stands for.

    Raises:
        UsageError: if the factor is below 1.
    """

    def __init__(self, factor: int, **kwargs):
        super().__init__(**kwargs)
        if factor < 1:
            raise UsageError(f"a sample rate cannot be divided by {factor}: give 1 or more.")
        self.factor = factor
        self.reach = _REACH * factor if factor > 1 else 0
        time = np.arange(-self.reach, self.reach + 1) / factor
        kernel = np.sinc(_CUTOFF * time) * np.kaiser(len(time), _BETA)
        self._kernel = (kernel / kernel.sum()).astype("float32")[:, None, None]

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(package="tfrestore")
class Decimation(RateDivisionLayer):
    """`(batch, samples)` to `(batch, samples / factor rounded up)` of what the lower rate can hold.

    A waveform goes on as zeros beyond its ends.
    """

    def call(self, waveform):
        """See the class."""
        waveform = ops.pad(ops.cast(waveform, "float32"), [[0, 0], [self.reach, self.reach]])
        return ops.conv(waveform[:, :, None], self._kernel, self.factor, "valid")[:, :, 0]

    def compute_output_shape(self, input_shape):
        """The shape of what `call` returns."""
        batch, samples = input_shape
        return batch, None if samples is None else -(-samples // self.factor)


@keras.saving.register_keras_serializable(package="tfrestore")
class Interpolation(RateDivisionLayer):
    """`(batch, n)` to `(batch, samples)`, by default and at most `factor * n` samples."""

    def call(self, waveform, samples=None):
        """See the class."""
        waveform = ops.cast(waveform, "float32")
        samples = self.factor * ops.shape(waveform)[1] if samples is None else samples
        kernel = self.factor * self._kernel
        # The last sample stands for those up to the next one, which the filter does not reach.
        waveform = ops.pad(waveform, [[0, 0], [0, 1]])[:, :, None]
        full = ops.conv_transpose(waveform, kernel, self.factor, "valid")
        return full[:, self.reach : self.reach + samples, 0]

    def compute_output_shape(self, input_shape, samples=None):
        """The shape of what `call` returns."""
        batch, lower = input_shape
        return batch, None if lower is None else samples or self.factor * lower
