"""How the inception networks are used: waveform in, waveform out.

Sifringer, Stegmüller & Alahi (2020): a recording is cut into windows of 8192 samples that overlap
by half, as they are; what the network makes of them is weighted with Hann windows, whose two
overlapping halves sum to one, and added. All of it is in the graph.

Windows lie on a grid of half a window that begins half a window before the recording, so that every
sample is in two of them, and what comes before its first and behind its last sample is its
reflection. So a recording's restoration does not depend on how it is cut.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tfrestore.layers import stft
from tfrestore.models.inception_wgan.network import InceptionAutoencoder, InceptionGenerator
from tfrestore.restorer import Restorer


@keras.saving.register_keras_serializable(package="tfrestore")
class InceptionRestorer(Restorer):
    """Restores recordings window by window with a trained `InceptionGenerator`.

    Takes waveforms `(batch, samples)` at `sample_rate`, of any length from one sample on, and
    returns the same shape. An `InceptionAutoencoder` is used in the same way; what it gives back is
    the recording as far as it got through the bottleneck.

    A window of digital silence stays as it is.

    Args:
        network: the `InceptionGenerator` or `InceptionAutoencoder`.
        sample_rate: int. Hz. Defaults to the paper's `44100`.
        window_samples: int, a multiple of the network's 2^depth. Samples of a window. Defaults to
            the paper's `8192`.
        chunk_seconds: float. How much of a recording is restored in one call. Defaults to `4.0`.

    Raises:
        ValueError: if `window_samples` does not fit the network.
    """

    default_degradation = "instruments:0:4"

    def __init__(
        self,
        network: InceptionGenerator | InceptionAutoencoder,
        sample_rate: int = 44100,
        window_samples: int = 8192,
        chunk_seconds: float = 4.0,
        **kwargs,
    ):
        network.check_window(window_samples)
        super().__init__(network, sample_rate=sample_rate, chunk_seconds=chunk_seconds, **kwargs)
        self.window_samples = window_samples
        if getattr(network, "residual", False):
            self.default_degradation = "bandwidth:2"
        rise = stft.window_samples("hann", window_samples)[: self.grid_samples].astype("float32")
        self._rise, self._fall = rise, np.float32(1) - rise

    @property
    def context_samples(self) -> int:
        """A window: half of one is heard, and behind the recording so much of it is reflected."""
        return self.window_samples

    @property
    def grid_samples(self) -> int:
        """Chunks start on the grid on which the windows lie."""
        return self.window_samples // 2

    def call(self, waveform):
        """See the class."""
        waveform = ops.cast(waveform, "float32")
        samples, hop = ops.shape(waveform)[1], self.grid_samples
        behind = hop + (-samples) % hop
        return self._overlap_add(stft.reflect(waveform, hop, behind))[:, :samples]

    def restore_windows(self, waveform):
        """See `Restorer`; zeros are returned for the context."""
        hop, context = self.grid_samples, self.context_samples
        restored = self._overlap_add(waveform[:, hop:-hop])
        return ops.pad(restored, ((0, 0), (context, context)))

    def _overlap_add(self, waveform):
        """Restores whole hops but the first and the last: (batch, samples - 2 hops)."""
        hop = self.grid_samples
        batch, samples = ops.shape(waveform)
        hops = samples // hop
        halves = ops.reshape(waveform, (batch, hops, hop))
        windows = ops.concatenate([halves[:, :-1], halves[:, 1:]], axis=2)
        windows = ops.reshape(windows, (-1, self.window_samples))
        restored = self.network(windows, training=False)
        # Decided window by window, which is the same however the recording is cut.
        sounding = ops.any(ops.not_equal(windows, 0.0), axis=1, keepdims=True)
        restored = ops.where(sounding, restored, 0.0)
        restored = ops.reshape(restored, (batch, hops - 1, 2, hop))
        added = restored[:, :-1, 1] * self._fall + restored[:, 1:, 0] * self._rise
        return ops.reshape(added, (batch, (hops - 2) * hop))

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "sample_rate": self.sample_rate,
            "window_samples": self.window_samples,
        }
