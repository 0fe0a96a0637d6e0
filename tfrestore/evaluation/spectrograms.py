"""Spectrogram pictures of the first recordings that are evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from tfrestore.errors import InputError
from tfrestore.evaluation.measurement import bring_together
from tfrestore.evaluation.workers import Failure, Task
from tfrestore.pictures import spectrogram_picture

#: How much of a recording's middle is shown.
SECONDS = 8


class Spectrograms:
    """Looks at tasks that pass by and keeps the waveforms of the first recordings for pictures.

    Args:
        count: How many recordings are kept.
    """

    def __init__(self, count: int):
        self.count = count
        self._shown: dict[str, tuple[dict[str, np.ndarray], int]] = {}

    def watch(self, tasks: Iterable[Task | Failure]) -> Iterator[Task | Failure]:
        """The tasks, as they come."""
        for task in tasks:
            if not isinstance(task, Failure):
                self._keep(task)
            yield task

    def pictures(self) -> dict[str, np.ndarray]:
        """Pictures, uint8 `(height, width, 3)`, by the degradation and the recording's name."""
        return {
            title: spectrogram_picture(
                {f"{title}: {system}": waveform for system, waveform in waveforms.items()}, rate
            )
            for title, (waveforms, rate) in self._shown.items()
        }

    def _keep(self, task: Task) -> None:
        subject = task.subject
        # A file name that is not valid text cannot be drawn.
        title = f"{subject.track}, {subject.degradation}".encode(errors="replace").decode()
        if (title not in self._shown and len(self._shown) >= self.count) or subject.sample > 1:
            return
        try:
            reference, estimate, sample_rate, _ = bring_together(
                *task.reference.load(), *task.estimate.load()
            )
        except InputError:
            # Whoever measures it says so.
            return
        waveforms, _ = self._shown.setdefault(
            title, ({"original": _middle(reference, sample_rate)}, sample_rate)
        )
        waveforms[subject.system] = _middle(estimate, sample_rate)


def _middle(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    samples = SECONDS * sample_rate
    start = max(0, (waveform.shape[1] - samples) // 2)
    return waveform[:, start : start + samples].mean(axis=0)
