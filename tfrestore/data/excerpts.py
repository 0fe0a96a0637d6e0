"""Excerpts of tracks: what of a file is decoded for one, and which one a position of a run gets.

Whoever draws excerpts draws them as a pure function of (seed, position), so that a run that was
stopped goes on at any position with what an uninterrupted run would have seen.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfrestore.audio.reading import read
from tfrestore.audio.resampling import resample, resampled_length
from tfrestore.data.songs import Song
from tfrestore.data.tracks import Track
from tfrestore.errors import AudioFileError

# The orders in which examples come: drawn at random, or one after the other, track by track.
ORDERS = ("random", "file")

# Resampling an excerpt needs a little of what surrounds it; this many samples of the lower of the
# two rates are decoded on both sides, so that the excerpt equals the same stretch of the resampled
# track.
RESAMPLING_MARGIN = 160

# A compressed file's header may promise a little more than there is.
END_TOLERANCE_SECONDS = 0.1

# So many excerpts are tried for a position before decoding is given up.
MOST_ATTEMPTS = 20

_log = logging.getLogger("tfrestore.data")


def length_of(track: Track, sample_rate: int) -> int:
    """The samples of a track at another rate."""
    return resampled_length(track.frames, track.sample_rate, sample_rate)


class Plan(NamedTuple):
    """Where an excerpt is: what to decode, and where in that, resampled, the excerpt begins."""

    track: Track
    first: int
    frames: int
    offset: int


def plan_excerpt(track: Track, begin: int, samples: int, sample_rate: int) -> Plan:
    """What has to be decoded for an excerpt.

    Args:
        track: Where it is cut from.
        begin: Its first sample, counted at `sample_rate`.
        samples: Its length at that rate.
        sample_rate: The rate that it is wanted at, Hz.

    Returns:
        The plan for `cut_excerpt`.
    """
    rate, margin = track.sample_rate, 0
    if rate != sample_rate:
        margin = -(-RESAMPLING_MARGIN * sample_rate // min(rate, sample_rate))
    # What is decoded begins where samples of both rates coincide, so that resampling it needs no
    # shift by a fraction of a sample.
    grid = sample_rate // math.gcd(sample_rate, rate)
    start = max(0, begin - margin) // grid * grid
    first = start * rate // sample_rate
    last = -(-(begin + samples + margin) * rate // sample_rate)
    return Plan(track, first, max(1, min(last, track.frames) - first), begin - start)


def cut_excerpt(
    decoded: np.ndarray, rate: int, offset: int, samples: int, sample_rate: int
) -> np.ndarray:
    """The excerpt, resampled, its margin cut; it ends in zeros where the track ends before it.

    Args:
        decoded: What the plan said, mixed to one channel: float32 `(1, frames)`.
        rate: The track's rate.
        offset: The plan's.
        samples: Length of the excerpt.
        sample_rate: The rate that it is wanted at.

    Returns:
        float32 `(samples,)`.
    """
    return _cut(decoded, rate, offset, samples, sample_rate)[0]


def _cut(decoded, rate: int, offset: int, samples: int, sample_rate: int) -> np.ndarray:
    """As `cut_excerpt`, with all channels: float32 `(channels, samples)`."""
    waveform = resample(decoded, rate, sample_rate)[:, offset : offset + samples]
    return np.pad(waveform, [(0, 0), (0, samples - waveform.shape[1])])


def mean_of_channels(waveform: np.ndarray) -> np.ndarray:
    """The usual fold of `(channels, samples)` to `(1, samples)`."""
    return waveform.mean(axis=0, keepdims=True)


def read_channels(
    track: Track,
    begin: int,
    samples: int,
    sample_rate: int,
    fold: Callable[[np.ndarray], np.ndarray] = mean_of_channels,
) -> np.ndarray:
    """An excerpt of a track, in the channels that are made of its own.

    Args:
        track: Where it is cut from.
        begin: Its first sample, counted at `sample_rate`; if negative, the excerpt begins with
            zeros.
        samples: Its length at that rate; it ends in zeros where the track ends before it.
        sample_rate: The rate that it is wanted at, Hz.
        fold: Makes channels of the track's: float32 `(channels, frames)` to `(any number, frames)`.
            Defaults to their mean.

    Returns:
        float32 `(as many channels, samples)`.

    Raises:
        AudioFileError: if it cannot be decoded, or the file ends before its header says.
    """
    before = min(max(0, -begin), samples - 1)
    plan = plan_excerpt(track, begin + before, samples - before, sample_rate)
    decoded, rate = read_frames(track, plan.first, plan.frames)
    if decoded.shape[1] < plan.frames - END_TOLERANCE_SECONDS * rate:
        end = (plan.first + decoded.shape[1]) / rate
        raise AudioFileError(
            f"{track.path} is cut off: it ends at {end:.1f} s of {track.duration:.1f} s; replace "
            "it by an intact copy."
        )
    waveform = _cut(fold(decoded), rate, plan.offset, samples - before, sample_rate)
    return np.pad(waveform, [(0, 0), (before, 0)])


def read_excerpt(track: Track, begin: int, samples: int, sample_rate: int) -> np.ndarray:
    """The same in one channel, the mean of the track's: float32 `(samples,)`."""
    return read_channels(track, begin, samples, sample_rate)[0]


def read_frames(track: Track, first: int = 0, frames: int | None = None) -> tuple[np.ndarray, int]:
    """A stretch of a track as it is; a song's is its mixture.

    Where a song has no file with its mixture, its stems are added up: those at another rate are
    resampled, shorter ones end in silence, and ones with fewer channels are in all channels alike.

    Args:
        track: The track.
        first: First sample of the stretch, at the track's rate.
        frames: Its length; `None` for everything to the end. A stretch that reaches beyond the
            end is cut off there.

    Returns:
        The waveform, float32 `(channels, frames)`, and its rate in hertz.

    Raises:
        AudioFileError: if it cannot be decoded.
    """
    if not isinstance(track, Song) or track.has_mixture:
        return read(track.path, first, frames)
    left = max(0, track.frames - first)
    frames = left if frames is None else min(frames, left)
    mixture = np.zeros((track.channels, frames), np.float32)
    for stem in track.stems:
        plan = plan_excerpt(stem, first, frames, track.sample_rate)
        if frames and plan.first < stem.frames:
            decoded, rate = read(stem.path, plan.first, plan.frames)
            waveform = _cut(decoded, rate, plan.offset, frames, track.sample_rate)
            same = len(waveform) == track.channels
            mixture += waveform if same else mean_of_channels(waveform)
    return mixture, track.sample_rate


class Replacements:
    """Says, once per track, that excerpts of it are replaced by others, and when to give up."""

    def __init__(self):
        self._told: set[Path] = set()

    def report(self, track: Track, attempt: int) -> None:
        """Takes note that an excerpt of a track could not be decoded.

        Args:
            track: The track.
            attempt: How many excerpts have been tried for this position.

        Raises:
            AudioFileError: if they were `MOST_ATTEMPTS`.
        """
        if attempt == MOST_ATTEMPTS:
            raise AudioFileError(
                f"{track.path} cannot be decoded, nor could {attempt - 1} other excerpts before "
                "it; check that the music is still there and intact."
            )
        if track.path not in self._told:
            self._told.add(track.path)
            _log.warning(
                "%s: an excerpt cannot be decoded; others are taken in place of such.", track.path
            )


def fractions(*identity: object) -> tuple[float, float]:
    """Two numbers in [0, 1), as if drawn at random, that depend on nothing but the arguments.

    Args:
        identity: Numbers and words; written out they are what is hashed.
    """
    text = ":".join(map(str, identity))
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return tuple((int.from_bytes(half, "big") >> 11) / 2**53 for half in (digest[:8], digest[8:]))
