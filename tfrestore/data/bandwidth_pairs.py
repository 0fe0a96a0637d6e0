"""Batches of music and what is left of it at a fraction of its sampling rate.

For a recipe's `data` section, as `tfrestore.data.mp3_pairs` is: the networks that enhance in the
time domain (Sifringer et al. 2020) are trained for super-resolution with it. A degraded excerpt is
that very stretch of the whole track's degraded version: the filter hears what is around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from tfrestore.audio.bandwidth import MARGIN, check_factor, reduce_bandwidth
from tfrestore.data.excerpt_pairs import ExcerptPairs
from tfrestore.data.excerpts import read_excerpt
from tfrestore.data.tracks import Track
from tfrestore.errors import UsageError

#: The window of Sifringer et al., 0.186 s at 44.1 kHz.
PAPER_WINDOW = 8192

#: Bits per sample that files have.
BITS = (16, 24, 32)


@dataclass(frozen=True)
class BandwidthPairs(ExcerptPairs):
    """Which pairs are made of the tracks; tracks are mixed to one channel.

    Args:
        factor: By how much the sampling rate is divided: 2, 3, 4 or 6; or several, of which
            each example has one: drawn at random, or taking turns in file order. Defaults to `2`.
        bits: Bits per sample of what is left: 16 or 24, which leave noise of rounding above the
            band as a file of this format has it, or 32, floats as they are; or several, as of
            `factor`. Defaults to `32`.
        samples: Samples per excerpt. Defaults to `8192`.
        sample_rate: Hz; tracks are resampled where they have another. Defaults to `44100`.
        order: `"random"` or `"file"`, see `ExcerptPairs`. Defaults to `"random"`.
        with_bandwidth: Whether an example tells up to which frequency it is the truth. Defaults to
            `False`.

    Raises:
        UsageError: if an argument is none of those possible.
    """

    factor: int | Sequence[int] = 2
    samples: int = PAPER_WINDOW
    sample_rate: int = 44100
    order: str = "random"
    bits: int | Sequence[int] = 32
    with_bandwidth: bool = False

    def __post_init__(self):
        super().__post_init__()
        for name in ("factor", "bits"):
            if not _several(getattr(self, name)):
                raise UsageError(f"data.{name} is empty: give at least one.")
        for factor in _several(self.factor):
            check_factor(factor)
        for bits in _several(self.bits):
            if bits not in BITS:
                raise UsageError(f"data.bits is {bits}: choose one of {', '.join(map(str, BITS))}.")

    @property
    def variants(self) -> tuple[tuple[int, int], ...]:
        """The factors with the bits."""
        return tuple(product(_several(self.factor), _several(self.bits)))

    def make(
        self, track: Track, number: int, variant: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Reads an excerpt and reduces its bandwidth; see `ExcerptPairs`."""
        factor, bits = variant
        begin = self.begins(track)[number]
        margin = MARGIN * factor
        # Decimation keeps every so many samples of the track, not of the excerpt.
        first = max(0, begin - margin) // factor * factor
        lead = begin - first
        heard = read_excerpt(track, first, lead + self.samples + margin, self.sample_rate)
        degraded = reduce_bandwidth(heard[None], factor)[0]
        if bits < 32:
            degraded = np.round(degraded * 2.0 ** (bits - 1)) / np.float32(2.0 ** (bits - 1))
        inside = slice(lead, lead + self.samples)
        return degraded[inside].astype(np.float32), heard[inside].copy()


def _several(value: int | Sequence[int]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(dict.fromkeys(value))
