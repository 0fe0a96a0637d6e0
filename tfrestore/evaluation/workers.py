"""Measuring on all cores: a pool of processes that each measure one recording at a time.

The processes load neither TensorFlow nor Keras.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace

from tfrestore.errors import InputError
from tfrestore.evaluation.measurement import Effort, Measurement, Recording, Subject, measure
from tfrestore.worker_processes import worker_processes


@dataclass(frozen=True)
class Task:
    """What a worker gets: see `tfrestore.evaluation.measurement.measure`.

    Attributes:
        subject: What is measured.
        reference: The intact recording.
        estimate: The version that is measured.
        effort: What it took to make it; kept with what is measured.
    """

    subject: Subject
    reference: Recording
    estimate: Recording
    effort: Effort | None = None


@dataclass(frozen=True)
class Failure:
    """A recording that could not be measured, and why, in a sentence that names the file."""

    subject: Subject
    reason: str


def measure_all(
    tasks: Iterable[Task | Failure], choices: Sequence[str], jobs: int
) -> Iterator[Measurement | Failure]:
    """Measures in parallel; yields results as they come, in any order.

    Tasks are drawn only as fast as they are measured, so that the recordings waiting to be measured
    do not fill the memory.

    Args:
        tasks: What to measure; a failure to make a task is passed on.
        choices: Keys of `tfrestore.evaluation.rulers.CHOICES`.
        jobs: Processes; 1 measures in this one.

    Raises:
        InputError: if a process ended before its work was done.
    """
    if jobs == 1:
        for task in tasks:
            yield task if isinstance(task, Failure) else _outcome(task, choices)
        return
    pending: set[Future] = set()
    try:
        with worker_processes(jobs) as pool:
            for task in tasks:
                if isinstance(task, Failure):
                    yield task
                    continue
                pending.add(pool.submit(_outcome, task, choices))
                # One that waits for each that works keeps the workers busy.
                while len(pending) >= 2 * jobs:
                    finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            while pending:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
    except BrokenProcessPool:
        raise InputError(
            "a process that measures was ended from outside, perhaps for want of memory; use fewer "
            "--jobs, or --seconds for shorter excerpts."
        ) from None


def _outcome(task: Task, choices: Sequence[str]) -> Measurement | Failure:
    try:
        measured = measure(task.subject, task.reference, task.estimate, choices)
        return replace(measured, effort=task.effort)
    except InputError as error:
        return Failure(task.subject, str(error))
