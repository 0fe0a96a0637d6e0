"""How similar two spectrograms are: the neurogram similarity index measure (NSIM).

Hines & Harte, "Speech intelligibility prediction using a neurogram similarity index measure"
(Speech Communication 54(2), 2012). In the 3 x 3 cells around every cell, weighted with a Gaussian,
m is the mean, s the standard deviation and c the covariance of reference and estimate; the cell's
similarity is

    (2 m_r m_e + C1) / (m_r^2 + m_e^2 + C1)  *  (c + C3) / (s_r s_e + C3).

Numerator and denominator are sums of products of something of the reference with something of the
estimate: with x the weighted differences of the nine cells from their mean, c is the sum of x_r x_e
over the nine. Written with these factors, the similarities of all frames of a patch with all frames
of a recording are two matrix products and a division, which is what makes the search through a
minute of the recording for every patch affordable.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PATCH_FRAMES = 30

C1 = 0.01**2
C3 = 0.03**2 / 2
# The published implementation's Gaussian, over bands times frames; its sum is 1.
_CORNER, _EDGE, _CENTRE = 0.0113033910173052, 0.0838251475442633, 0.619485845753726
WEIGHTS = np.array(
    [_CORNER, _EDGE, _CORNER, _EDGE, _CENTRE, _EDGE, _CORNER, _EDGE, _CORNER]
).reshape(9, 1, 1)


def band_similarities(reference: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """NSIM of each band of two patches; the mean over bands is the patches' similarity.

    Args:
        reference: float64 (bands, frames), levels in decibels above the floor.
        estimate: As `reference`.

    Returns:
        float64 (bands,), 1 for equal patches and less for others.
    """
    columns = _patch_columns(np.zeros(1, int), reference.shape[1])
    first = _reference_factors(_neighbours(_with_outer_bands(reference), columns))
    second = _estimate_factors(_neighbours(_with_outer_bands(estimate), columns))
    numerator = (first.numerator * second.numerator).sum(axis=0)
    denominator = (first.denominator * second.denominator).sum(axis=0)
    return (numerator / denominator).mean(axis=1)


def search_similarities(
    reference: np.ndarray, starts: np.ndarray, estimate: np.ndarray, windows: list[range]
) -> list[np.ndarray]:
    """NSIM of each patch of the reference with every patch of the estimate in a window.

    Args:
        reference: float64 (bands, frames), levels in decibels above the floor.
        starts: int (patches,): the frame at which each patch of the reference starts.
        estimate: As `reference`; behind its end it goes on at the floor, 0.
        windows: For each patch of the reference, the frames at which a patch of the estimate may
            start.

    Returns:
        For each patch of the reference float64 (frames of its window,).
    """
    bands, frames = estimate.shape
    reference = _with_outer_bands(reference)
    estimate = _with_outer_bands(np.pad(estimate, ((0, 0), (0, PATCH_FRAMES))))
    patch_columns = _patch_columns(starts, PATCH_FRAMES)
    # At the ends of a patch, wherever it starts, the outermost frame stands for its neighbour too.
    here = np.arange(frames + PATCH_FRAMES - 1)
    earlier, later = np.maximum(here - 1, 0), here + 1
    frame_columns = ((here, here, later), (earlier, here, later), (earlier, here, here))
    rows = (slice(0, 1), slice(1, -1), slice(-1, None))

    totals = [np.zeros(len(window)) for window in windows]
    widest = max(map(len, windows)) + PATCH_FRAMES - 1
    memory = np.empty((2, PATCH_FRAMES * widest))
    for band in range(bands):
        around = slice(band, band + 3)
        patches = _reference_factors(_neighbours(reference[around], patch_columns)).per_patch()
        estimates = [
            _estimate_factors(_neighbours(estimate[around], columns)) for columns in frame_columns
        ]
        for patch, (window, total) in enumerate(zip(windows, totals, strict=True)):
            width = len(window) + PATCH_FRAMES - 1
            where = slice(window.start, window.start + width)
            cells = memory[:, : PATCH_FRAMES * width].reshape(2, PATCH_FRAMES, width)
            for part, ours in enumerate(patches):
                for row, theirs in zip(rows, estimates, strict=True):
                    np.matmul(ours[patch, row], theirs[part][:, 0, where], out=cells[part, row])
            similarity = np.divide(cells[0], cells[1], out=cells[0])
            # Along the diagonal that begins at a frame lies the patch that starts there.
            down, along = similarity.strides
            diagonals = np.lib.stride_tricks.as_strided(
                similarity, (PATCH_FRAMES, len(window)), (down + along, along)
            )
            total += diagonals.sum(axis=0)
    return [total / (bands * PATCH_FRAMES) for total in totals]


class _Factors(NamedTuple):
    """What one spectrogram brings to each cell's numerator and denominator.

    Both are (factors, bands, frames): the sum, over the factors, of the products with the other
    spectrogram's is the numerator or the denominator.
    """

    numerator: np.ndarray
    denominator: np.ndarray

    def per_patch(self) -> list[np.ndarray]:
        """Of a single band, as (patches, frames of a patch, factors)."""
        return [
            np.ascontiguousarray(each.reshape(len(each), -1, PATCH_FRAMES).transpose(1, 2, 0))
            for each in self
        ]


def _reference_factors(neighbours: np.ndarray) -> _Factors:
    mean, deviation, differences = _local_statistics(neighbours)
    one = np.ones_like(mean)
    return _Factors(
        _products([2 * mean, C1 * one], [*differences, C3 * one]),
        _products([mean**2 + C1, one], [deviation, C3 * one]),
    )


def _estimate_factors(neighbours: np.ndarray) -> _Factors:
    mean, deviation, differences = _local_statistics(neighbours)
    one = np.ones_like(mean)
    return _Factors(
        _products([mean, one], [*differences, one]),
        _products([one, mean**2], [deviation, one]),
    )


def _products(first: list[np.ndarray], second: list[np.ndarray]) -> np.ndarray:
    """The factors of a product of two sums of products: each of the one with each of the other."""
    return np.stack([each * other for each in first for other in second])


def _local_statistics(neighbours: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of nine cells, and what each adds to a covariance."""
    mean = (WEIGHTS * neighbours).sum(axis=0)
    differences = np.sqrt(WEIGHTS) * (neighbours - mean)
    return mean, np.sqrt((differences**2).sum(axis=0)), differences


def _with_outer_bands(spectrogram: np.ndarray) -> np.ndarray:
    """The lowest and the highest band once more beyond them, as their neighbours there."""
    return np.pad(spectrogram, ((1, 1), (0, 0)), mode="edge")


def _patch_columns(starts: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Earlier neighbour, itself and later neighbour of every frame of the patches, one by one."""
    first = starts[:, None]
    here = first + np.arange(frames)
    last = first + frames - 1
    return (
        np.maximum(here - 1, first).ravel(),
        here.ravel(),
        np.minimum(here + 1, last).ravel(),
    )


def _neighbours(spectrogram: np.ndarray, columns: tuple[np.ndarray, ...]) -> np.ndarray:
    """The 3 x 3 cells around every cell.

    Args:
        spectrogram: (bands + 2, frames).
        columns: Earlier neighbour, itself and later neighbour of every frame wanted.

    Returns:
        (9, bands, frames wanted).
    """
    bands = len(spectrogram) - 2
    return np.stack(
        [spectrogram[row : row + bands, column] for row in range(3) for column in columns]
    )
