"""From excitation patterns to what they are compared by: level, modulation, loudness.

ITU-R BS.1387-1, Annex 2, sections 2.1.8 (spreading over time) and 3 (pattern processing). The
classes keep what the recursions over time need, so that a signal can be given in blocks of frames.
Patterns are (frames, 2, bands), the reference first and the test second.
"""

from __future__ import annotations

import numpy as np

from tfrestore.metrics.peaq_basic.ear_model import (
    BAND_CENTRES,
    BANDS,
    HOP_LENGTH,
    SAMPLE_RATE,
    THRESHOLD_IN_QUIET,
    time_coefficients,
)

_SPREADING = time_coefficients(0.008, 0.030)
_SMOOTHING = time_coefficients(0.008, 0.050)


def _low_pass(values: np.ndarray, coefficients: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Runs `y[n] = c y[n-1] + x[n]` over the first axis, in place, from the state y[-1] on."""
    product = np.empty_like(state)
    for value in values:
        np.multiply(coefficients, state, out=product)
        np.add(value, product, out=value)
        state = value
    return state.copy()


class ExcitationAndModulation:
    """Spreading over time and modulation patterns (sections 2.1.8 and 3.2, eqs. 54 to 57).

    Args:
        frames_per_second: What the difference of two frames is multiplied by, to be a derivative.
    """

    def __init__(self, frames_per_second: float = SAMPLE_RATE / HOP_LENGTH) -> None:
        self._frames_per_second = frames_per_second
        self._previous = np.zeros((1, 2, BANDS))
        self._state = np.zeros((3, 2, BANDS))
        self._coefficients = np.stack([_SPREADING, _SMOOTHING, _SMOOTHING])[:, None, :]

    def process(self, unspread: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Takes the next frames.

        Args:
            unspread: Of `ear_model.spread`, (frames, 2, bands).

        Returns:
            The excitation, its modulation and its average loudness, (frames, 2, bands) each.
        """
        loudness = unspread**0.3
        before = np.concatenate([self._previous, loudness[:-1]])
        self._previous = loudness[-1:]
        smoothed = np.stack(
            [unspread, self._frames_per_second * np.abs(loudness - before), loudness], axis=1
        )
        smoothed *= 1 - self._coefficients
        self._state = _low_pass(smoothed, self._coefficients, self._state)
        spread_over_time, derivative, average = smoothed[:, 0], smoothed[:, 1], smoothed[:, 2]
        return np.maximum(spread_over_time, unspread), derivative / (1 + average / 0.3), average


# The correction of a band is the mean over those from 3 below to 4 above (eq. 51).
_BANDS_BELOW, _BANDS_ABOVE = 3, 4
_FIRST = np.maximum(np.arange(BANDS) - _BANDS_BELOW, 0)
_LAST = np.minimum(np.arange(BANDS) + _BANDS_ABOVE, BANDS - 1)


class LevelAndPatternAdaptation:
    """Removes differences of level and of slow linear distortion (section 3.1, eqs. 42 to 53)."""

    def __init__(self) -> None:
        self._excitation = np.zeros((2, BANDS))
        self._correlation = np.zeros((2, BANDS))
        self._correction = np.zeros((2, BANDS))

    def process(self, excitation: np.ndarray) -> np.ndarray:
        """Takes the next frames.

        Args:
            excitation: Of `ExcitationAndModulation.process`, (frames, 2, bands), at least one.

        Returns:
            The spectrally adapted patterns, (frames, 2, bands).
        """
        smoothed = (1 - _SMOOTHING) * excitation
        self._excitation = _low_pass(smoothed, _SMOOTHING, self._excitation)
        reference, test = smoothed[:, 0], smoothed[:, 1]
        level = (np.sqrt(reference * test).sum(axis=-1) / test.sum(axis=-1)) ** 2
        scale = np.stack([np.minimum(1 / level, 1), np.minimum(level, 1)], axis=-1)
        adapted = excitation * scale[:, :, None]

        correlation = adapted * adapted[:, :1]
        self._correlation = _low_pass(correlation, _SMOOTHING, self._correlation)
        ratio = correlation[:, 1] / correlation[:, 0]
        correction = np.stack([np.minimum(ratio, 1), np.minimum(1 / ratio, 1)], axis=1)

        total = np.zeros((*correction.shape[:-1], BANDS + 1))
        np.cumsum(correction, axis=-1, out=total[..., 1:])
        correction = (total[..., _LAST + 1] - total[..., _FIRST]) / (_LAST - _FIRST + 1)
        correction *= 1 - _SMOOTHING
        self._correction = _low_pass(correction, _SMOOTHING, self._correction)
        adapted *= correction
        return adapted


_THRESHOLD_INDEX = 10 ** (
    (-2.0 - 2.05 * np.arctan(BAND_CENTRES / 4000) - 0.75 * np.arctan((BAND_CENTRES / 1600) ** 2))
    / 10
)
_LOUDNESS_SCALE = 1.07664 * (THRESHOLD_IN_QUIET / (1e4 * _THRESHOLD_INDEX)) ** 0.23


def total_loudness(excitation: np.ndarray) -> np.ndarray:
    """Zwicker's loudness of excitation patterns (section 3.3).

    Args:
        excitation: (..., bands).

    Returns:
        Sone, (...).
    """
    above = 1 - _THRESHOLD_INDEX + _THRESHOLD_INDEX * excitation / THRESHOLD_IN_QUIET
    specific = _LOUDNESS_SCALE * (above**0.23 - 1)
    return 24 / BANDS * np.maximum(specific, 0).sum(axis=-1)
