"""Where a recording's spectrum ends as if cut off, and how much of it is missing before that.

A lossy encoder leaves two marks that outlive decoding and copying into another format: nothing is
left above a frequency that depends on the bit rate, and below it the encoder drops what it has no
bits for, in a band for some hundredths of a second at a time: holes, in a spectrogram. Music that
is dull by nature fades towards high frequencies, and a recording that was merely kept at a low
sample rate ends as sharply but has no holes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# An analysis window lasts about as long as a frame of an MP3; so many are looked at together.
_WINDOW_SECONDS = 0.023
_LONGEST_SEGMENT = 256

# Bins of a band: of the spectrum that is searched for an end, and of what holes are counted in.
_EDGE_BINS = 4
_HOLE_BINS = 8

# Bands between which the fall is measured, and that have to be empty above: 0.7 and 1 kHz.
_FALL_BANDS = 4
_EMPTY_BANDS = 6
_LOWEST_EDGE = 2000.0
_LOWEST_HOLE = 3000.0

# Decibels of levels that are told apart; full scale is near 0.
_QUIETEST, _LOUDEST = -140, 40
_SOUNDING = -60.0
_PERCENTILE = 0.95

# Holes lie so far below the same band just before and after, or below their neighbours at the time.
_BELOW_TIMES, _BELOW_BANDS = 20.0, 30.0
_TIMES, _BANDS = 9, 7


@dataclass(frozen=True)
class SpectralEdge:
    """Where a spectrum ends, as `SpectralEdges.find` says.

    Attributes:
        frequency: Hz, where half of the decibels of the sharpest fall are lost; `None` where
            nothing falls.
        fall: By how many decibels the loudest moments fall within 0.7 kHz there, to what is not
            exceeded anywhere above.
        holes: Share of the cells (0.34 kHz by 12 ms) between 3 kHz, or a third of the edge, and the
            edge that are at least 20 dB below those before and after.
        deep_holes: The same of cells that are at least 30 dB below the bands around them.
    """

    frequency: float | None
    fall: float = 0.0
    holes: float = 0.0
    deep_holes: float = 0.0


class SpectralEdges:
    """Collects what `find` needs to know of a recording that comes in blocks, in constant memory.

    Args:
        sample_rate: Hz.
    """

    def __init__(self, sample_rate: int):
        self.sample_rate = sample_rate
        self._window = 2 ** max(4, round(np.log2(_WINDOW_SECONDS * sample_rate)))
        self._hop = self._window // 2
        weights = np.hanning(self._window + 1)[:-1].astype(np.float32)
        self._weights = weights / np.sqrt(np.sum(weights**2))
        self._edge_bands = (self._window // 2) // _EDGE_BINS
        self._hole_bands = (self._window // 2) // _HOLE_BINS
        self._levels = np.zeros((self._edge_bands, _LOUDEST - _QUIETEST), np.int64)
        self._cells = 0
        self._holes = np.zeros((2, self._hole_bands), np.int64)

    def add(self, waveform: np.ndarray) -> None:
        """Looks at a stretch of the recording; what is shorter than a window is left out.

        Args:
            waveform: float32 `(channels, samples)`.
        """
        for channel in waveform:
            frames = (len(channel) - self._window) // self._hop + 1
            for start in range(0, frames, _LONGEST_SEGMENT):
                stop = min(start + _LONGEST_SEGMENT, frames)
                self._add(channel[start * self._hop : (stop + 1) * self._hop])

    def _add(self, samples: np.ndarray) -> None:
        # SciPy is not loaded until there is something to look at.
        from scipy.ndimage import median_filter

        framed = np.lib.stride_tricks.sliding_window_view(samples, self._window)[:: self._hop]
        spectrum = np.fft.rfft(framed * self._weights)[:, 1:]
        power = spectrum.real**2 + spectrum.imag**2
        narrow = _decibels(power, self._edge_bands, _EDGE_BINS)
        sounding = narrow.max(axis=1) > _SOUNDING
        narrow, wide = narrow[sounding], _decibels(power, self._hole_bands, _HOLE_BINS)[sounding]
        if not len(narrow):
            return
        bins = np.clip(np.floor(narrow) - _QUIETEST, 0, self._levels.shape[1] - 1).astype(np.int64)
        bins += np.arange(self._edge_bands) * self._levels.shape[1]
        counts = np.bincount(bins.ravel(), minlength=self._levels.size)
        self._levels += counts.reshape(self._levels.shape)
        self._cells += len(wide)
        usual = median_filter(wide, size=(_TIMES, 1), mode="nearest")
        self._holes[0] += np.count_nonzero(wide < usual - _BELOW_TIMES, axis=0)
        usual = median_filter(wide, size=(1, _BANDS), mode="nearest")
        self._holes[1] += np.count_nonzero(wide < usual - _BELOW_BANDS, axis=0)

    def find(self) -> SpectralEdge:
        """Where the spectrum of all that was added ends."""
        if not self._cells:
            return SpectralEdge(None)
        loud = self._loud_levels()
        bandwidth = self.sample_rate / self._window * _EDGE_BINS
        lowest = int(_LOWEST_EDGE / bandwidth)
        places = np.arange(lowest, len(loud) - _FALL_BANDS - _EMPTY_BANDS + 1)
        if not len(places):
            return SpectralEdge(None)
        above = np.maximum.accumulate(loud[::-1])[::-1]
        falls = np.array(
            [loud[p - _FALL_BANDS + 1 : p + 1].max() - above[p + _FALL_BANDS] for p in places]
        )
        fall = float(falls.max())
        if fall <= 0:
            return SpectralEdge(None)
        # The edge lies where half of the decibels are lost.
        place = places[np.argmax(falls)]
        rest = above[place + _FALL_BANDS]
        last = np.flatnonzero(loud[: place + _FALL_BANDS] > rest + fall / 2)[-1]
        frequency = float((last + 1) * bandwidth)
        width = self.sample_rate / self._window * _HOLE_BINS
        lowest = min(_LOWEST_HOLE, frequency / 3)
        below = slice(int(lowest / width), max(0, int(frequency / width) - 1))
        count = self._cells * len(range(*below.indices(self._hole_bands)))
        holes = self._holes[:, below].sum(axis=1) / max(1, count)
        return SpectralEdge(frequency, fall, float(holes[0]), float(holes[1]))

    def _loud_levels(self) -> np.ndarray:
        """The level of every narrow band that its loudest moments reach, in decibels."""
        counts = np.cumsum(self._levels, axis=1)
        return _QUIETEST + np.argmax(counts >= _PERCENTILE * self._cells, axis=1)


def _decibels(power: np.ndarray, bands: int, bins: int) -> np.ndarray:
    """Mean power of bands: (frames, any number of bins) to (frames, bands), in decibels."""
    means = power[:, : bands * bins].reshape(len(power), bands, bins).mean(axis=2)
    return 10 * np.log10(means + 10.0 ** (_QUIETEST / 10))
