"""What the trainers learn from whose examples are pairs: degraded music and the original."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import numpy as np

from tfrestore.data.tracks import Track
from tfrestore.pictures import spectrogram_picture
from tfrestore.restorer import Restorer


class PairExamples(abc.ABC):
    """A trainer's batches, of what a family's `pairs` makes, and what its training looks like.

    Attributes:
        pairs: What makes the pairs, such as `tfrestore.data.mp3_pairs.Mp3Pairs`.
    """

    def __init__(self, pairs):
        self.pairs = pairs

    def pairs_of(self, tracks: Sequence[Track]):
        """What makes pairs of such tracks."""
        return self.pairs

    def count(self, tracks: Sequence[Track]) -> int:
        """How many examples make an epoch."""
        return self.pairs_of(tracks).count(tracks)

    def dataset(self, tracks, batch_size: int, seed: int, start: int = 0, batches=None):
        """Batches `(degraded, original)`, float32 `(batch_size, samples)` each.

        With `mask_above_bandwidth` the bandwidth in Hz follows, float32 `(batch_size,)`.
        """
        return self.pairs_of(tracks).dataset(tracks, batch_size, seed, start, batches)

    @abc.abstractmethod
    def listen(self, restorer: Restorer, tracks: Sequence[Track]) -> dict[str, np.ndarray]:
        """Some seconds degraded, as they were, and restored: by name, float32 `(samples,)`."""

    def illustrate(self, restorer: Restorer, tracks: Sequence[Track]):
        """What TensorBoard shows and plays.

        Args:
            restorer: The restorer that is trained.
            tracks: At least one.

        Returns:
            Pictures, name to uint8 `(height, width, 3)`, and sounds, name to float32 `(samples,)`.
        """
        sounds = self.listen(restorer, tracks)
        return {"spectrogram": spectrogram_picture(sounds, restorer.sample_rate)}, sounds
