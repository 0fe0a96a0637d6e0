"""From measures of frames and channels to the eleven model output variables.

BS.1387-1, Annex 2, section 5: which frames count, how each variable is averaged over them, and the
mean over the channels. There are two sets of rules. One follows the Recommendation. The other is
that of the reference implementation (G. Gottardi's `peaqb`), whose published values the default
reproduces; it differs in what follows, besides what `score` lists:

- data boundary (section 5.2.4): each frame counts in which the reference or the test exceeds it;
  in the Recommendation those from the first to the last frame in which the reference does;
- BandwidthTestB is the mean over the frames in which the test's bandwidth exceeds 346 lines; in the
  Recommendation over those in which the reference's does, as for BandwidthRefB;
- the loudness threshold of RmsNoiseLoudB opens for each channel by itself when the reference *or*
  the test exceeds 0.1 sone, is looked for after the first 0.5 s only, leaves out 4 frames when it
  opens and none before it opens; in the Recommendation it opens for all channels when both signals
  exceed 0.1 sone in one, at any time, and what comes before and 3 frames after is left out;
- the mean over two channels is taken at the last frame, of those channels that count in it. EHSB
  and RmsNoiseLoudB take it anew in every frame, and where the first channel does not count the
  former mean stands in for it, so that it fades with every such frame at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from tfrestore.errors import UndefinedMetricError

# Delayed averaging (section 5.2): the adaptation settles for 0.5 s.
DELAY_FRAMES = 24
# 0.05 s after the loudness threshold opens, in the Recommendation and in the reference.
_FRAMES_AFTER_ONSET = 3
REFERENCE_FRAMES_SKIPPED = 4
# WinModDiff1B: frames in the sliding window of 0.1 s.
_WINDOW_FRAMES = 4
# What defines every variable: a window, and a frame more for the noise loudness.
LEAST_FRAMES = DELAY_FRAMES + REFERENCE_FRAMES_SKIPPED + 1
_LEAST_BANDWIDTH = 346
LEAST_LOUDNESS = 0.1


@dataclass(frozen=True)
class ChannelMeasures:
    """What was measured in one channel, in each frame in which it was processed.

    Attributes:
        frame: Number of the frame, from 0.
        bandwidths: Of `model_output_variables.bandwidths`, (2, frames).
        noise_to_mask: The mean and the largest ratio, (2, frames).
        has_energy: Whether the frame exceeds the energy threshold.
        harmonics: Of `error_harmonic_structure`, NaN where it is undefined.
        modulation: The two differences and their weight, (3, frames).
        noise_loudness: NaN where it was not measured.
        onset: Number of the first frame in which the loudness threshold is open, or None.
    """

    frame: np.ndarray
    bandwidths: np.ndarray
    noise_to_mask: np.ndarray
    has_energy: np.ndarray
    harmonics: np.ndarray
    modulation: np.ndarray
    noise_loudness: np.ndarray
    onset: int | None


def average(
    channels: list[ChannelMeasures],
    exceeds_boundary: np.ndarray,
    detection_exponent: np.ndarray,
    detection_steps: np.ndarray,
    recommendation: bool,
) -> dict[str, float]:
    """Averages over frames, then over channels.

    Args:
        channels: The measures of each channel; the first has all frames.
        exceeds_boundary: Whether the reference and the test exceed the data boundary, (2, frames).
        detection_exponent: Binaural exponent of the probability of detection, (frames,).
        detection_steps: Binaural number of steps above the threshold of detection, (frames,).
        recommendation: Which rules to follow.

    Returns:
        The eleven variables by name.

    Raises:
        UndefinedMetricError: No frame counts for a variable.
    """
    frames = exceeds_boundary.shape[1]
    within = _within_data(exceeds_boundary, recommendation)
    last = np.flatnonzero(within)[-1]
    in_data = [_InData(channel, within) for channel in channels if last in channel.frame]
    delayed = [channel for channel in channels if frames - 1 in channel.frame]
    if recommendation:
        harmonics = np.mean([_mean_harmonics(channel, within) for channel in channels])
        noise_loudness = _noise_loudness(channels, frames)
    else:
        harmonics = _mean_at_the_end(_harmonics_so_far(c, within, frames) for c in channels)
        noise_loudness = _mean_at_the_end(_noise_loudness_so_far(c, frames) for c in channels)
    probability = 1 - 0.5**detection_exponent
    return {
        "BandwidthRefB": _mean(c.bandwidth(0, of=0) for c in in_data),
        "BandwidthTestB": _mean(c.bandwidth(1, of=0 if recommendation else 1) for c in in_data),
        "TotalNMRB": _mean(10 * np.log10(c.noise_to_mask[0].mean()) for c in in_data),
        "WinModDiff1B": _mean(_windowed_modulation(c, frames) for c in delayed),
        "ADBB": _average_distorted_block(probability, detection_steps),
        "EHSB": float(harmonics),
        "AvgModDiff1B": _mean(_weighted_modulation(c, 0) for c in delayed),
        "AvgModDiff2B": _mean(_weighted_modulation(c, 1) for c in delayed),
        "RmsNoiseLoudB": float(noise_loudness),
        "MFPDB": _maximum_filtered(probability),
        "RelDistFramesB": _mean((c.noise_to_mask[1] >= 10**0.15).mean() for c in in_data),
    }


def _mean(values) -> float:
    return float(np.mean(list(values)))


def _within_data(exceeds_boundary: np.ndarray, recommendation: bool) -> np.ndarray:
    if not recommendation:
        return exceeds_boundary.any(axis=0)
    within = np.zeros(exceeds_boundary.shape[1], bool)
    data = np.flatnonzero(exceeds_boundary[0])
    within[data[0] : data[-1] + 1] = True
    return within


class _InData:
    """The measures of a channel that are averaged within the data boundaries."""

    def __init__(self, channel: ChannelMeasures, within: np.ndarray) -> None:
        counts = within[channel.frame]
        self.bandwidths = channel.bandwidths[:, counts]
        self.noise_to_mask = channel.noise_to_mask[:, counts]

    def bandwidth(self, signal: int, of: int) -> float:
        """Mean of a signal's bandwidth over the frames in which that of signal `of` is wide."""
        wide = self.bandwidths[of] > _LEAST_BANDWIDTH
        # No wide frame at all is a bandwidth of 0, in both sets of rules.
        return self.bandwidths[signal][wide].mean() if wide.any() else 0.0


def _windowed_modulation(channel: ChannelMeasures, frames: int) -> float:
    delayed = channel.frame >= DELAY_FRAMES
    root = np.sqrt(channel.modulation[0][delayed])
    # A window without its first frames counts in neither set of rules, unless a channel was left
    # out of frames: then the reference fills up with zeros.
    root = np.concatenate([np.zeros(_WINDOW_FRAMES - 1), root])
    windows = np.lib.stride_tricks.sliding_window_view(root, _WINDOW_FRAMES).mean(axis=1) ** 4
    whole = channel.frame[delayed] >= DELAY_FRAMES + _WINDOW_FRAMES - 1
    return np.sqrt(windows[whole].sum() / (frames - DELAY_FRAMES - _WINDOW_FRAMES + 1))


def _weighted_modulation(channel: ChannelMeasures, which: int) -> float:
    delayed = channel.frame >= DELAY_FRAMES
    return np.average(channel.modulation[which][delayed], weights=channel.modulation[2][delayed])


def _average_distorted_block(probability: np.ndarray, steps: np.ndarray) -> float:
    distorted = probability > 0.5
    if not distorted.any():
        return 0.0
    mean = steps[distorted].mean()
    return float(np.log10(mean)) if mean > 0 else -0.5


def _maximum_filtered(probability: np.ndarray) -> float:
    # The decay of the maximum (c1 of section 4.7.1) is 1 in the basic version: it never falls.
    return float(max(accumulate(0.1 * probability, lambda mean, value: 0.9 * mean + value)))


def _mean_harmonics(channel: ChannelMeasures, within: np.ndarray) -> float:
    values = channel.harmonics[channel.has_energy & within[channel.frame]]
    values = values[~np.isnan(values)]
    return values.mean() if values.size else 0.0


def _noise_loudness(channels: list[ChannelMeasures], frames: int) -> float:
    onsets = [channel.onset for channel in channels if channel.onset is not None]
    first = max(DELAY_FRAMES, min(onsets) + _FRAMES_AFTER_ONSET) if onsets else frames
    if first >= frames:
        raise UndefinedMetricError(
            "the reference and the estimate are at no time both louder than 0.1 sone"
            " for long enough"
        )
    return np.mean([np.sqrt(np.mean(c.noise_loudness[first:] ** 2)) for c in channels])


def _harmonics_so_far(channel: ChannelMeasures, within: np.ndarray, frames: int) -> np.ndarray:
    """The mean up to each frame, NaN where nothing is computed, 0 where it is undefined."""
    counts = channel.has_energy & within[channel.frame]
    values = channel.harmonics[counts]
    defined = ~np.isnan(values)
    total = np.cumsum(np.where(defined, values, 0))
    mean = np.where(defined, total / np.maximum(np.cumsum(defined), 1), 0)
    so_far = np.full(frames, np.nan)
    so_far[channel.frame[counts]] = mean
    return so_far


def _noise_loudness_so_far(channel: ChannelMeasures, frames: int) -> np.ndarray:
    """The root mean square up to each frame, NaN where nothing is computed.

    Frames in which only the other channel was processed count in the mean, as zeros.
    """
    delayed = channel.frame >= DELAY_FRAMES
    frame, values = channel.frame[delayed], channel.noise_loudness[delayed]
    measured = ~np.isnan(values)
    total = np.cumsum(np.where(measured, values, 0) ** 2)[measured]
    count = (frame + 1 - DELAY_FRAMES - np.cumsum(~measured))[measured]
    so_far = np.full(frames, np.nan)
    so_far[frame[measured]] = np.sqrt(total / count)
    return so_far


def _mean_at_the_end(channels) -> float:
    """The reference's mean over channels after the last frame.

    In every frame the first channel replaces the mean and each further one is averaged into it.
    """
    values = np.stack(list(channels))
    present = ~np.isnan(values)
    first_present = np.flatnonzero(present[0])
    # What came before the first channel's last frame was replaced in it.
    start = first_present[-1] if first_present.size else 0
    mean = 0.0
    for value, there in zip(values.T[start:], present.T[start:], strict=True):
        count = 1
        if there[0]:
            mean = value[0]
        for further in value[1:][there[1:]]:
            count += 1
            mean += (further - mean) / count
    return mean
