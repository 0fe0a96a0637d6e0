"""Degrading a recording and restoring it with models, as `degrade` and `restore` would.

A recording is brought to the rate that the models work at before it is degraded, as in the papers:
what a model cannot touch would otherwise be in all numbers. It keeps its channels; `mono` mixes
them to one first, as Lattner & Nistal did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tfrestore.data.degradation import Degradation
from tfrestore.data.tracks import Track
from tfrestore.errors import InputError
from tfrestore.evaluation.efforts import timed
from tfrestore.evaluation.measurement import DEGRADED, Effort, Excerpt, Recording, Subject
from tfrestore.evaluation.workers import Failure, Task
from tfrestore.restorer import Restorer


@dataclass(frozen=True)
class Restorations:
    """What is made of every recording.

    Attributes:
        restorers: By the names they shall have in tables.
        seed: Decides where gaps are, and what stochastic models make.
        candidates: How many versions a stochastic model makes; others make one.
        seconds: How much of a recording's middle to take; `None` for all.
        mono: Whether to mix a recording to one channel first.
        sample_rate: Hz that a recording is brought to first; `None` for the highest of the models'.
        scoring_processes: Processes that score while this one restores.
        seen: The systems that have restored anything in this process.
    """

    restorers: dict[str, Restorer]
    seed: int = 0
    candidates: int = 20
    seconds: float | None = None
    mono: bool = False
    sample_rate: int | None = None
    scoring_processes: int = 0
    seen: set[str] = field(default_factory=set)

    @property
    def rate(self) -> int:
        """Hz at which recordings are degraded, restored and measured."""
        return self.sample_rate or max(each.sample_rate for each in self.restorers.values())

    def count(self, restorer: Restorer) -> int:
        """How many versions a model makes."""
        return self.candidates if restorer.is_stochastic else 1

    def subjects(self, track: Track, degradation: Degradation) -> list[Subject]:
        """What will be measured of a recording: the degraded one, and every model's versions."""
        systems = {DEGRADED: 1, **{name: self.count(r) for name, r in self.restorers.items()}}
        return [
            Subject(track.track_id, track.genre, degradation.name, system, number)
            for system, count in systems.items()
            for number in range(1, count + 1)
        ]

    def all_tasks(
        self,
        tracks: Sequence[Track],
        degradation: Degradation,
        wanted: Callable[[Subject], bool] = lambda subject: True,
    ) -> Iterator[Task | Failure]:
        """Makes the versions of every recording; one that cannot be used does not stop the others.

        Args:
            tracks: The intact recordings.
            degradation: What to do to them.
            wanted: Which versions to make.
        """
        for index, track in enumerate(tracks):
            try:
                yield from self.tasks(track, degradation, index, wanted)
            except InputError as error:
                subject = Subject(track.track_id, track.genre, degradation.name, DEGRADED)
                yield Failure(
                    subject, f"{track.path}: {str(error).removeprefix(f'{track.path}: ')}"
                )

    def tasks(
        self,
        track: Track,
        degradation: Degradation,
        index: int,
        wanted: Callable[[Subject], bool] = lambda subject: True,
    ) -> Iterator[Task]:
        """Makes the versions of a recording, each ready to be measured.

        Args:
            track: The intact recording.
            degradation: What to do to it.
            index: Number of the recording, so that recordings have different gaps.
            wanted: Which versions to make.

        Raises:
            AudioFileError: if the recording cannot be read.
            UsageError: if it cannot have the degradation.
        """
        subjects = [each for each in self.subjects(track, degradation) if wanted(each)]
        if not subjects:
            return
        excerpt = Excerpt.middle(track.duration, self.seconds)
        intact, degraded = degradation.pair(
            track,
            self.rate,
            start=excerpt.start,
            seconds=excerpt.seconds,
            mono=self.mono,
            seed=self.seed,
            index=index,
        )
        for subject in subjects:
            version, effort = degraded, None
            if subject.system != DEGRADED:
                version, effort = self._restore(degraded, subject)
            recordings = Recording(intact, self.rate), Recording(version, self.rate)
            yield Task(subject, *recordings, effort)

    def _restore(self, degraded: np.ndarray, subject: Subject) -> tuple[np.ndarray, Effort]:
        restorer = self.restorers[subject.system]
        choice = {"seed": self.seed, "candidate": subject.sample} if restorer.is_stochastic else {}
        is_first = subject.system not in self.seen
        self.seen.add(subject.system)
        return timed(
            lambda: restorer.restore(degraded, self.rate, **choice),
            self.rate,
            self.scoring_processes,
            is_first,
        )
