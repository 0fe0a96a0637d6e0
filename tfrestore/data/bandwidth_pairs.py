"""Batches of music and what is left of it at a fraction of its sampling rate.

For a recipe's `data` section, as `tfrestore.data.mp3_pairs` is: the networks that enhance in the
time domain (Sifringer et al. 2020) are trained for super-resolution with it. A degraded excerpt is
that very stretch of the whole track's degraded version: the filter hears what is around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfrestore.audio.bandwidth import MARGIN, check_factor, reduce_bandwidth
from tfrestore.data.catalogue import Track
from tfrestore.data.excerpt_pairs import ExcerptPairs
from tfrestore.data.excerpts import read_excerpt
from tfrestore.errors import UsageError

#: The window of Sifringer et al., 0.186 s at 44.1 kHz.
PAPER_WINDOW = 8192


@dataclass(frozen=True)
class BandwidthPairs(ExcerptPairs):
    """Which pairs are made of the tracks; tracks are mixed to one channel.

    Args:
        factor: By how much the sampling rate is divided: 2, 3, 4 or 6; or several, of which
            each example has one: drawn at random, or taking turns in file order. Defaults to `2`.
        samples: Samples per excerpt. Defaults to `8192`.
        sample_rate: Hz; tracks are resampled where they have another. Defaults to `44100`.
        order: `"random"` or `"file"`, see `ExcerptPairs`. Defaults to `"random"`.

    Raises:
        UsageError: if an argument is none of those possible.
    """

    factor: int | Sequence[int] = 2
    samples: int = PAPER_WINDOW
    sample_rate: int = 44100
    order: str = "random"

    def __post_init__(self):
        super().__post_init__()
        if not self.variants:
            raise UsageError("data.factor is empty: give at least one factor.")
        for factor in self.variants:
            check_factor(factor)

    @property
    def variants(self) -> tuple[int, ...]:
        """The factors."""
        factor = self.factor
        return (factor,) if isinstance(factor, int) else tuple(dict.fromkeys(factor))

    def make(self, track: Track, number: int, variant: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads an excerpt and reduces its bandwidth; see `ExcerptPairs`."""
        begin = self.begins(track)[number]
        margin = MARGIN * variant
        # Decimation keeps every so many samples of the track, not of the excerpt.
        first = max(0, begin - margin) // variant * variant
        lead = begin - first
        heard = read_excerpt(track, first, lead + self.samples + margin, self.sample_rate)
        degraded = reduce_bandwidth(heard[None], variant)[0]
        inside = slice(lead, lead + self.samples)
        return degraded[inside].copy(), heard[inside].copy()
