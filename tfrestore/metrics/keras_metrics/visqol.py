"""ViSQOL over waveforms: `tfrestore.metrics.visqol`."""

import keras
import numpy as np
from keras import ops

from tfrestore.errors import UndefinedMetricError
from tfrestore.metrics.keras_metrics.mean_over_items import MeanOverWaveforms
from tfrestore.metrics.visqol_audio import visqol


@keras.saving.register_keras_serializable(package="tfrestore")
class ViSQOL(MeanOverWaveforms):
    """Mean opinion score that ViSQOL predicts for waveforms (batch, samples[, 1]), 1 to 4.732.

    Higher is better. Waveforms of less than 0.96 s, or silent ones, are left out; where none is
    left, the result is 0. NumPy computes it, at about 25 times real time: a graph that XLA compiles
    cannot hold it, so `compile` needs `jit_compile=False`.

    Args:
        sample_rate: int. Hz. Defaults to `44100`.
        name: Name in the logs.
        dtype: As for every Keras metric.
    """

    def __init__(self, sample_rate: int = 44100, name="visqol", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.sample_rate = sample_rate

    def values(self, reference, estimate):
        """Returns the score of each row of (batch, samples)."""
        if keras.backend.backend() != "tensorflow":
            rows = (ops.convert_to_numpy(each) for each in (reference, estimate))
            return ops.convert_to_tensor(self._scores(*rows))
        import tensorflow as tf

        scores = tf.numpy_function(self._scores, [reference, estimate], tf.float32)
        return tf.ensure_shape(scores, reference.shape[:1])

    def _scores(self, references, estimates):
        scores = np.full(len(references), np.nan, "float32")
        for row, pair in enumerate(zip(references, estimates, strict=True)):
            try:
                scores[row] = visqol(*pair, self.sample_rate)
            except UndefinedMetricError:
                continue
        return scores

    def get_config(self):
        """Returns the constructor's arguments."""
        return super().get_config() | {"sample_rate": self.sample_rate}
