"""The excerpts of a listening test: which stretch of a track, cut alike of every system, levelled.

Which stretch: at random by the seed and the track's name, among the louder half of all stretches of
that length (by the power of the reference, or else of the first system), so that nobody rates a
pause, an intro or a fade; several of one track do not overlap, for which some may be quieter. They
begin at multiples of 0.2 s, which are whole samples at every usual rate.

How it is cut: files of different lengths are used as far as the shortest goes; files of different
sample rates get the highest of them, in MUSHRA the reference's; mono goes to both channels, because
a loudspeaker pair plays it so. Both ends get the raised-cosine fade of 5 ms that ITU-R BS.1534-3,
section 5.3, asks for where something is looped. All systems get one loudness (`loudness`); an
anchor keeps the level that its reference has.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfrestore.audio.reading import AudioReader, read, read_info
from tfrestore.audio.resampling import resample
from tfrestore.errors import AudioFileError, InputError
from tfrestore.listening.anchor import make_anchor
from tfrestore.listening.loudness import common_loudness, integrated_loudness, true_peak

#: Excerpts begin at multiples of this many seconds.
GRID_SECONDS = 0.2
FADE_SECONDS = 0.005

# 10 dB below the mean, the relative gate of BS.1770: more than half of a track may be silent.
_LEAST_SHARE = 0.1
# Enough that one of them lies in the louder half with all of its excerpts, where that is possible.
_DRAWS = 1000
# Resampling and rounding may cost the end of a file this many samples.
_TOLERANCE = 4
_FULL_SCALE = 1 - 2.0**-15
# Lengths that differ by more than an MP3's padding are worth a line.
_NOTABLE_SECONDS = 0.2

_log = logging.getLogger("tfrestore.listening")


@dataclass(frozen=True)
class Excerpt:
    """A stretch of a track, of every system.

    Attributes:
        track: The track's name.
        start: Seconds from the track's beginning.
        sample_rate: Hz.
        loudness: LUFS that all systems have.
        signals: By name: float32 `(2, samples)`.
    """

    track: str
    start: float
    sample_rate: int
    loudness: float
    signals: dict[str, np.ndarray]


@dataclass(frozen=True)
class Recordings:
    """The files of one track, which have been opened and fit each other.

    Attributes:
        track: The track's name.
        files: By the signal's name.
        sample_rate: The rate that excerpts get, Hz.
        seconds: How long the shortest is.
    """

    track: str
    files: dict[str, Path]
    sample_rate: int
    seconds: float


def open_recordings(
    track: str, files: Mapping[str, Path], seconds: float, reference: str | None = None
) -> Recordings:
    """Reads what the headers of a track's files say.

    Args:
        track: The track's name.
        files: By the signal's name.
        seconds: Length of an excerpt.
        reference: The signal whose sample rate the others get; by default it is the highest.

    Raises:
        InputError: A file cannot be read, has more than two channels, or is shorter than an
            excerpt.
    """
    infos = {name: read_info(path) for name, path in files.items()}
    for info in infos.values():
        if info.channels > 2:
            raise AudioFileError(
                f"{info.path} has {info.channels} channels; mix it to stereo first."
            )
    shortest = min(infos.values(), key=lambda info: info.duration)
    if shortest.duration < seconds:
        raise AudioFileError(
            f"{shortest.path} is {shortest.duration:.3f} s long, shorter than an excerpt of "
            f"{seconds:g} s; choose fewer --seconds or leave the track out."
        )
    longest = max(infos.values(), key=lambda info: info.duration)
    if longest.duration - shortest.duration > _NOTABLE_SECONDS:
        _log.warning(
            "%s is %.1f s shorter than %s: only what both have is used, from the beginning on.",
            shortest.path,
            longest.duration - shortest.duration,
            longest.path,
        )
    rates = [info.sample_rate for info in infos.values()]
    rate = infos[reference].sample_rate if reference else max(rates)
    return Recordings(track, dict(files), rate, shortest.duration)


def choose_starts(
    recordings: Recordings, guide: str, seconds: float, count: int, seed: int
) -> list[float]:
    """Where a track's excerpts begin.

    Args:
        recordings: The track.
        guide: The signal whose power decides.
        seconds: Length of an excerpt, at most the track's.
        count: How many excerpts are wanted.
        seed: Decides, together with the track's name.

    Returns:
        Seconds, ascending; fewer than `count` where no more fit without overlap, which the log
        tells.

    Raises:
        AudioFileError: The guide cannot be decoded.
    """
    power = _power_profile(recordings.files[guide])
    cells = max(1, int(np.ceil(seconds / GRID_SECONDS - 1e-6)))
    last = int(np.floor((recordings.seconds - seconds) / GRID_SECONDS + 1e-6))
    sums = np.concatenate([[0.0], np.cumsum(power)])
    starts = np.arange(last + 1)
    ends = np.minimum(starts + cells, len(power))
    windows = sums[ends] - sums[np.minimum(starts, len(power))]
    digest = hashlib.blake2b(recordings.track.encode("utf-8", "surrogateescape"), digest_size=8)
    generator = np.random.default_rng([seed, int.from_bytes(digest.digest(), "big")])
    is_loud = windows >= max(np.median(windows), _LEAST_SHARE * np.mean(windows))
    number = min(count, 1 + last // cells)
    # Starts without overlap are any ascending numbers, each pushed on by the excerpts before it.
    free = last - (number - 1) * cells
    draws = np.sort(generator.integers(0, free + 1, (_DRAWS, number)), axis=1)
    draws += cells * np.arange(number)
    chosen = draws[np.argmax(is_loud[draws].sum(axis=1))]
    if number < count:
        _log.warning(
            "%s: only %d of %d excerpts fit into its %.1f s.",
            recordings.track,
            number,
            count,
            recordings.seconds,
        )
    return [round(start * GRID_SECONDS, 1) for start in chosen]


def cut_excerpt(
    recordings: Recordings,
    start: float,
    seconds: float,
    target: float,
    reference: str | None = None,
    anchors: Mapping[str, float] | None = None,
) -> Excerpt:
    """Cuts the same stretch of every system and gives it the same loudness.

    Args:
        recordings: The track.
        start: Seconds.
        seconds: Length.
        target: LUFS; the excerpt gets less where one of its signals would clip.
        reference: The signal that anchors are made of.
        anchors: Names of anchors and their cut-off frequencies, Hz.

    Raises:
        InputError: A file cannot be read there, or is silent there, or the sample rate is too low
            for an anchor.
    """
    rate = recordings.sample_rate
    signals, loudness = {}, {}
    for name, path in recordings.files.items():
        signals[name] = _read_stretch(path, start, seconds, rate)
        loudness[name] = integrated_loudness(_faded(signals[name], rate), rate)
        if not np.isfinite(loudness[name]):
            raise AudioFileError(
                f"{path} is silent from {start:g} s to {start + seconds:g} s; leave the track out "
                "or choose another --seed."
            )
    for name, cutoff_hz in (anchors or {}).items():
        try:
            signals[name] = make_anchor(signals[reference], rate, cutoff_hz)
        except InputError as error:
            raise InputError(f"{recordings.files[reference]}: {error}.") from None
        loudness[name] = loudness[reference]
    signals = {name: _faded(waveform, rate) for name, waveform in signals.items()}
    peaks = [true_peak(waveform, rate) for waveform in signals.values()]
    level = common_loudness(list(loudness.values()), peaks, target)
    if level < target:
        _log.info(
            "%s at %g s gets %.1f LUFS instead of %.1f: louder would clip.",
            recordings.track,
            start,
            level,
            target,
        )
    levelled = {
        name: (waveform * 10 ** ((level - loudness[name]) / 20)).astype(np.float32)
        for name, waveform in signals.items()
    }
    return Excerpt(recordings.track, start, rate, level, levelled)


def _power_profile(path: Path) -> np.ndarray:
    """Mean power of every stretch of `GRID_SECONDS`."""
    with AudioReader(path) as reader:
        cell = max(1, round(GRID_SECONDS * reader.info.sample_rate))
        blocks = (block.astype(np.float64) for block in reader.blocks(cell))
        return np.array([np.square(block).sum() / block.shape[0] for block in blocks])


def _read_stretch(path: Path, start: float, seconds: float, sample_rate: int) -> np.ndarray:
    """float32 `(2, round(seconds * sample_rate))`."""
    own_rate = read_info(path).sample_rate
    waveform, _ = read(path, round(start * own_rate), int(np.ceil(seconds * own_rate)) + 1)
    clipped = _count_clipped(waveform)
    if clipped:
        _log.warning(
            "%s: %d samples are clipped between %g s and %g s, and are heard so.",
            path,
            clipped,
            start,
            start + seconds,
        )
    waveform = resample(waveform, own_rate, sample_rate)
    samples = round(seconds * sample_rate)
    missing = samples - waveform.shape[1]
    if missing > _TOLERANCE:
        raise AudioFileError(
            f"{path} ends before {start + seconds:g} s, earlier than its header says; replace it "
            "by an intact copy."
        )
    waveform = np.pad(waveform[:, :samples], ((0, 0), (0, max(0, missing))))
    return np.repeat(waveform, 2 // waveform.shape[0], axis=0)


def _count_clipped(waveform: np.ndarray) -> int:
    """How many samples at full scale or beyond equal both of their neighbours."""
    same = np.diff(waveform, axis=1) == 0
    return int(np.sum(same[:, :-1] & same[:, 1:] & (np.abs(waveform[:, 1:-1]) >= _FULL_SCALE)))


def _faded(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    samples = max(1, round(FADE_SECONDS * sample_rate))
    ramp = (0.5 - 0.5 * np.cos(np.pi * np.arange(samples) / samples)).astype(np.float32)
    faded = waveform.copy()
    faded[:, :samples] *= ramp
    faded[:, -samples:] *= ramp[::-1]
    return faded
