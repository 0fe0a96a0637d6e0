"""How Apollo is used: waveform in, waveform out.

The network itself takes and returns waveforms; what is added here is how recordings are cut. A
frame's result depends on `frames_before` frames before it and `frames_after` behind it, 54 each in
the paper's size, and on nothing else; so with that much context, and one window more, chunks are
what the whole recording gives.
"""

from __future__ import annotations

import keras
from keras import ops

from tfrestore.models.apollo.network import Apollo
from tfrestore.restorer import Restorer


@keras.saving.register_keras_serializable(package="tfrestore")
class ApolloRestorer(Restorer):
    """Restores what a lossy encoder took, with a trained `Apollo`.

    Takes waveforms `(batch, samples)` at `sample_rate`, of any length from one sample on, and
    returns the same shape.

    Args:
        network: the `Apollo`.
        sample_rate: int. Hz. Defaults to the paper's `44100`.
    """

    default_degradation = "mp3:32"

    def __init__(self, network: Apollo, sample_rate: int = 44100, **kwargs):
        super().__init__(network, sample_rate=sample_rate, **kwargs)

    @property
    def context_samples(self) -> int:
        """What the network sees to either side of a frame, and a frame of a sample."""
        frames = max(self.network.frames_before, self.network.frames_after)
        return (frames + 2) * self.grid_samples

    @property
    def grid_samples(self) -> int:
        """Chunks start on this grid, on which the frames lie."""
        return self.network.hop_length

    def call(self, waveform):
        """See the class."""
        return self.network(ops.cast(waveform, "float32"), training=False)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "sample_rate": self.sample_rate}
