"""Excerpts of tracks: what of a file is decoded for one, and which one a position of a run gets.

Whoever draws excerpts draws them as a pure function of (seed, position), so that a run that was
stopped goes on at any position with what an uninterrupted run would have seen.
"""

from __future__ import annotations

import hashlib
import logging
import math
from typing import NamedTuple

import numpy as np

from tfrestore.audio.files import read
from tfrestore.audio.resampling import resample
from tfrestore.data.catalogue import Track
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
    waveform = resample(decoded, rate, sample_rate)[0][offset : offset + samples]
    return np.pad(waveform, (0, samples - len(waveform)))


def read_excerpt(track: Track, begin: int, samples: int, sample_rate: int) -> np.ndarray:
    """An excerpt as the mean of the track's channels, float32 `(samples,)`.

    Args:
        track: Where it is cut from.
        begin: Its first sample, counted at `sample_rate`.
        samples: Its length at that rate; it ends in zeros where the track ends before it.
        sample_rate: The rate that it is wanted at, Hz.

    Raises:
        AudioFileError: if it cannot be decoded, or the file ends before its header says.
    """
    plan = plan_excerpt(track, begin, samples, sample_rate)
    decoded, rate = read(track.path, plan.first, plan.frames)
    if decoded.shape[1] < plan.frames - END_TOLERANCE_SECONDS * rate:
        end = (plan.first + decoded.shape[1]) / rate
        raise AudioFileError(
            f"{track.path} is cut off: it ends at {end:.1f} s of {track.duration:.1f} s; replace "
            "it by an intact copy."
        )
    mono = decoded.mean(axis=0, keepdims=True)
    return cut_excerpt(mono, rate, plan.offset, samples, sample_rate)


class Replacements:
    """Says, once per track, that excerpts of it are replaced by others, and when to give up."""

    def __init__(self):
        self._told: set[str] = set()

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
        if track.track_id not in self._told:
            self._told.add(track.track_id)
            _log.warning(
                "%s: an excerpt cannot be decoded; others are taken in place of such.", track.path
            )


def two_fractions(seed: int, position: int, attempt: int) -> tuple[float, float]:
    """Two numbers in [0, 1) that depend on nothing but the arguments."""
    digest = hashlib.blake2b(f"{seed}:{position}:{attempt}".encode(), digest_size=16).digest()
    return tuple((int.from_bytes(half, "big") >> 11) / 2**53 for half in (digest[:8], digest[8:]))
