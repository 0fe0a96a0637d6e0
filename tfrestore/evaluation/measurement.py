"""Measuring one recording against its reference: what a worker process does, and what it returns.

A reference and an estimate that differ in form are brought to one by this rule: the estimate is
resampled to the reference's rate; where one has more channels than the other, both are mixed to
mono; of different lengths, the longer is cut at its end. Whatever was done is noted with the
scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfrestore.audio.reading import AudioInfo, read, read_info
from tfrestore.audio.resampling import resample
from tfrestore.data.excerpts import read_frames
from tfrestore.data.tracks import Track
from tfrestore.evaluation.frequency_profile import frequency_profile
from tfrestore.evaluation.scoring import Score, score_waveforms


@dataclass(frozen=True)
class Excerpt:
    """A part of a recording.

    Attributes:
        start: Seconds; whole ones, so that it is the same moment at every sample rate.
        seconds: Length; `None` for everything to the end.
    """

    start: int = 0
    seconds: float | None = None

    @classmethod
    def middle(cls, duration: float, seconds: float | None) -> Excerpt:
        """So many seconds out of the middle of a recording; all of it for `None`."""
        return cls() if seconds is None else cls(max(0, int((duration - seconds) / 2)), seconds)

    def read(self, path: Path) -> tuple[np.ndarray, int]:
        """The excerpt of a file, float32 `(channels, samples)`, and its rate.

        Raises:
            AudioFileError: if the file cannot be read, or ends before the excerpt begins.
        """
        return read(path) if self.seconds is None else read(path, *self._frames(read_info(path)))

    def read_track(self, track: Track) -> tuple[np.ndarray, int]:
        """The same of a track of a catalogue."""
        return read_frames(track, *(() if self.seconds is None else self._frames(track)))

    def _frames(self, recording: AudioInfo | Track) -> tuple[int, int]:
        sample_rate = recording.sample_rate
        return self.start * sample_rate, max(1, round(self.seconds * sample_rate))


@dataclass(frozen=True)
class Recording:
    """A waveform, or the file that holds it.

    Attributes:
        waveform: float32 `(channels, samples)`; `None` where `path` is to be read.
        sample_rate: Hz of the waveform.
        path: The file.
        excerpt: What of the file to read.
    """

    waveform: np.ndarray | None = None
    sample_rate: int = 0
    path: Path | None = None
    excerpt: Excerpt | None = None

    def load(self) -> tuple[np.ndarray, int]:
        """The waveform and its rate.

        Raises:
            AudioFileError: if the file cannot be read.
        """
        if self.path is None:
            return self.waveform, self.sample_rate
        return (self.excerpt or Excerpt()).read(self.path)


@dataclass(frozen=True)
class Subject:
    """What is measured: one system's version of a recording.

    Attributes:
        track: The recording's name in tables.
        genre: Its genre.
        degradation: What was done to it, such as `mp3:32`.
        system: Whose version this is; the untreated one is `DEGRADED`.
        sample: Number of the version, from 1, where a system gives several.
    """

    track: str
    genre: str
    degradation: str
    system: str
    sample: int = 1


#: The system that does nothing: what the others got as their input.
DEGRADED = "degraded"


@dataclass(frozen=True)
class Effort:
    """What it took to restore a recording.

    Attributes:
        seconds: On the clock.
        processor_seconds: Of all cores together.
        audio_seconds: Length of the recording.
        channels: Its channels.
        cores: Processor cores that there were.
        scoring_processes: Processes that scored meanwhile.
        is_first: Whether it was the model's first in its process, which traces a graph.
    """

    seconds: float
    processor_seconds: float
    audio_seconds: float
    channels: int
    cores: int
    scoring_processes: int
    is_first: bool


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    Attributes:
        subject: Of what.
        scores: By the ruler's name.
        notes: What was done to make reference and estimate comparable.
        profiles: Frequency profiles of the reference and of the estimate, dB `(BANDS,)` each;
            `None` where there is no waveform.
        effort: What it took to restore it; `None` where nothing was, or nobody looked.
    """

    subject: Subject
    scores: dict[str, Score]
    notes: tuple[str, ...] = ()
    profiles: tuple[np.ndarray, np.ndarray] | None = None
    effort: Effort | None = None


def measure(
    subject: Subject, reference: Recording, estimate: Recording, choices: Sequence[str]
) -> Measurement:
    """Brings a pair to one form and lays the rulers on it.

    Raises:
        AudioFileError: if a file cannot be read.
    """
    reference, estimate, sample_rate, notes = bring_together(*reference.load(), *estimate.load())
    return Measurement(
        subject,
        score_waveforms(reference, estimate, sample_rate, choices),
        notes,
        (frequency_profile(reference, sample_rate), frequency_profile(estimate, sample_rate)),
    )


def bring_together(
    reference: np.ndarray, sample_rate: int, estimate: np.ndarray, estimate_rate: int
) -> tuple[np.ndarray, np.ndarray, int, tuple[str, ...]]:
    """Applies the rule above.

    Args:
        reference: float32 `(channels, samples)`.
        sample_rate: Its rate in Hz.
        estimate: float32 `(channels, samples)`, of any other form.
        estimate_rate: Its rate in Hz.

    Returns:
        Reference and estimate of one shape, their rate, and notes on what was done.
    """
    notes = []
    if estimate_rate != sample_rate:
        estimate = resample(estimate, estimate_rate, sample_rate)
        notes.append(f"resampled from {estimate_rate} to {sample_rate} Hz")
    if len(reference) != len(estimate):
        notes.append(f"{len(reference)} and {len(estimate)} channels mixed to one")
        reference, estimate = (each.mean(axis=0, keepdims=True) for each in (reference, estimate))
    difference = estimate.shape[1] - reference.shape[1]
    if difference:
        samples = min(reference.shape[1], estimate.shape[1])
        reference, estimate = reference[:, :samples], estimate[:, :samples]
        which = "estimate" if difference > 0 else "reference"
        notes.append(f"the last {abs(difference)} samples of the {which} left out")
    return reference, estimate, sample_rate, tuple(notes)
