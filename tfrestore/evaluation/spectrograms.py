"""Spectrogram pictures of the first recordings of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from tfrestore.errors import InputError
from tfrestore.evaluation.measurement import Subject, bring_together
from tfrestore.evaluation.workers import Failure, Task
from tfrestore.pictures import spectrogram_picture

#: How much of a recording's middle is shown.
SECONDS = 8


class Spectrograms:
    """Looks at tasks that pass by and draws the first recordings.

    A recording is drawn when the next one comes, while worker processes measure.

    Where an interrupted evaluation goes on, those are made again that were measured before, so that
    the pictures are the same.

    Args:
        count: How many recordings are drawn.
        lacks: Whether something has still to be measured.
    """

    def __init__(self, count: int, lacks: Callable[[Subject], bool]):
        self.count = count
        self._lacks = lacks
        self._pictures: dict[str, np.ndarray] = {}
        self._title = ""
        self._sample_rate = 0
        self._waveforms: dict[str, np.ndarray] = {}

    def wants(self, subject: Subject) -> bool:
        """Whether something has to be made: to be measured, or to be drawn."""
        drawn = len(self._pictures) + bool(self._waveforms and _title(subject) != self._title)
        return self._lacks(subject) or (subject.sample == 1 and drawn < self.count)

    def watch(self, tasks: Iterable[Task | Failure]) -> Iterator[Task | Failure]:
        """Those of the tasks that are to be measured, as they come."""
        for task in tasks:
            if not isinstance(task, Failure):
                self._keep(task)
            if isinstance(task, Failure) or self._lacks(task.subject):
                yield task
        self._draw()

    def pictures(self) -> dict[str, np.ndarray]:
        """Pictures, uint8 `(height, width, 3)`, by the recording's name and the degradation."""
        return dict(self._pictures)

    def _keep(self, task: Task) -> None:
        subject = task.subject
        title = _title(subject)
        if title != self._title:
            self._draw()
            self._title = title
        if len(self._pictures) >= self.count or subject.sample > 1:
            return
        try:
            reference, estimate, sample_rate, _ = bring_together(
                *task.reference.load(), *task.estimate.load()
            )
        except InputError:
            # Whoever measures it says so.
            return
        self._sample_rate = sample_rate
        self._waveforms.setdefault("original", _middle(reference, sample_rate))
        self._waveforms[subject.system] = _middle(estimate, sample_rate)

    def _draw(self) -> None:
        if self._waveforms:
            titled = {f"{self._title}: {name}": each for name, each in self._waveforms.items()}
            self._pictures[self._title] = spectrogram_picture(titled, self._sample_rate)
            self._waveforms = {}


def _title(subject: Subject) -> str:
    # A file name that is not valid text cannot be drawn.
    return f"{subject.track}, {subject.degradation}".encode(errors="replace").decode()


def _middle(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    samples = SECONDS * sample_rate
    start = max(0, (waveform.shape[1] - samples) // 2)
    return waveform[:, start : start + samples].mean(axis=0)
