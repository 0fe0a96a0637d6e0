"""ViSQOL's comparison of two recordings, patch by patch.

Hines et al., "ViSQOLAudio" (JASA 137(6), 2015) and Chinen et al., "ViSQOL v3" (QoMEX 2020), with
the numbers and the order of steps of Google's implementation in audio mode. The recordings are
aligned and brought to one level; the reference's spectrogram is cut into patches of 30 frames, for
each of which the best match in the estimate's is found. Then the sound of every patch is aligned
with its match's to the sample, both get spectrograms of their own, and the higher one of the two
similarities, from the whole and from the patch's own sound, counts.
"""

from __future__ import annotations

import numpy as np

from tfrestore.errors import UndefinedMetricError
from tfrestore.metrics.visqol_audio.alignment import best_lag, shifted
from tfrestore.metrics.visqol_audio.gammatone import (
    FRAME_LENGTH,
    HOP_LENGTH,
    HOP_SECONDS,
    SAMPLE_RATE,
    spectrogram,
)
from tfrestore.metrics.visqol_audio.matching import match_patches
from tfrestore.metrics.visqol_audio.similarity import PATCH_FRAMES, band_similarities

# Half a patch before the first one is not used.
_FIRST_PATCH = PATCH_FRAMES // 2 - 1
_LEAST_FRAMES = PATCH_FRAMES + PATCH_FRAMES // 2
LEAST_SAMPLES = FRAME_LENGTH + (_LEAST_FRAMES - 1) * HOP_LENGTH

# In ViSQOL's decibels, 10 log10 of amplitudes: 90 dB below full scale.
NOISE_FLOOR = -45.0
RANGE_BELOW_PEAK = 45.0
_PATCH_SECONDS = HOP_SECONDS * PATCH_FRAMES
_TOO_LARGE = "the samples are too large for double precision"


def patch_band_similarities(reference: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """NSIM of each band, mean over the patches: what ViSQOL reads the quality from.

    Args:
        reference: float64 (samples,) at 48 kHz, at least `LEAST_SAMPLES`.
        estimate: As `reference`, of the same length.

    Returns:
        float64 (32,), bands from low to high, 1 where all is equal.

    Raises:
        UndefinedMetricError: if the reference has nothing above the noise floor or the estimate
            nothing but zeros, or if squares of samples overflow.
    """
    estimate = shifted(estimate, best_lag(reference, estimate))
    estimate = estimate * (_level(reference, "reference") / _level(estimate, "estimate"))
    amplitudes = spectrogram(reference), spectrogram(estimate)
    if not all(np.isfinite(each).all() for each in amplitudes):
        raise UndefinedMetricError(_TOO_LARGE)
    # With the reference at the floor throughout, any estimate would be as good as it.
    if amplitudes[0].max() <= 10 ** (NOISE_FLOOR / 10):
        raise UndefinedMetricError("the reference is silent")
    levels = _levels_above_floor(*amplitudes)
    starts = _patch_starts(*levels)
    similarities = np.zeros((len(starts), len(levels[0])))
    for patch, match in enumerate(match_patches(levels[0], starts, levels[1])):
        if match is not None:
            start = int(starts[patch])
            similarities[patch] = max(
                _similarities_of_sound(_sound(reference, start), _sound(estimate, match)),
                band_similarities(_patch(levels[0], start), _patch(levels[1], match)),
                key=np.mean,
            )
    return similarities.mean(axis=0)


def _level(waveform: np.ndarray, name: str) -> float:
    level = np.sqrt(np.mean(waveform**2))
    if level == 0:
        raise UndefinedMetricError(f"the {name} is silent")
    if not np.isfinite(level):
        raise UndefinedMetricError(_TOO_LARGE)
    return level


def _levels_above_floor(
    reference: np.ndarray, estimate: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Decibels above the lowest of both, after what is too low beside a frame's peak is raised."""
    with np.errstate(divide="ignore"):
        levels = [np.maximum(10 * np.log10(each), NOISE_FLOOR) for each in (reference, estimate)]
    common = slice(min(each.shape[1] for each in levels))
    peak = np.maximum(*(each[:, common].max(axis=0) for each in levels))
    for each in levels:
        np.maximum(each[:, common], peak - RANGE_BELOW_PEAK, out=each[:, common])
    lowest = min(each.min() for each in levels)
    return levels[0] - lowest, levels[1] - lowest


def _patch_starts(reference: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Frames of the reference, of which the last 31 start a patch only if no others do."""
    end = max(reference.shape[1] - PATCH_FRAMES - 1, _FIRST_PATCH + 1)
    starts = np.arange(_FIRST_PATCH, end, PATCH_FRAMES)
    # An estimate that alignment has made shorter has nothing for the last ones.
    return starts[starts <= estimate.shape[1] + PATCH_FRAMES // 2]


def _patch(levels: np.ndarray, start: int) -> np.ndarray:
    """A patch, at the floor from the recording's end on."""
    patch = levels[:, start : start + PATCH_FRAMES]
    return np.pad(patch, ((0, 0), (0, PATCH_FRAMES - patch.shape[1])))


def _sound(waveform: np.ndarray, start: int) -> np.ndarray:
    """The sound of a patch, of which Google's implementation, for equal results, sets the details.

    Its samples are counted from seconds, rounded down; the recording's last sample is never in it;
    and what it reaches beyond the recording's end is silence put before it.
    """
    seconds = start * HOP_SECONDS
    end = (seconds + _PATCH_SECONDS) * SAMPLE_RATE
    sound = waveform[int(seconds * SAMPLE_RATE) : min(int(end), len(waveform) - 1)]
    return np.concatenate([np.zeros(max(int(end - len(waveform)), 0)), sound])


def _similarities_of_sound(reference: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """NSIM of each band of two sounds, from where both have begun to where one ends."""
    lag = best_lag(reference, estimate)
    estimate = shifted(estimate, lag)
    if len(estimate) > len(reference):
        # By way of seconds and rounded down, as in Google's implementation.
        begun = int(max(lag, 0) / SAMPLE_RATE * SAMPLE_RATE)
        reference, estimate = reference[begun:], estimate[begun:]
    samples = min(len(reference), len(estimate))
    return band_similarities(
        *_levels_above_floor(spectrogram(reference[:samples]), spectrogram(estimate[:samples]))
    )
