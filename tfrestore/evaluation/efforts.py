"""What a system costs: its parameters, and how long it computes for a second of audio.

The real-time factor is measured while the evaluation runs, of every recording that a model
restores: seconds on the clock per second of audio, with all its channels, and of these the median,
which what else the machine does for a while does not change. The first recording in a process makes
TensorFlow trace the graph and is left out where there are others. Processes that score recordings
meanwhile take their share of the cores; `--jobs 1` scores and restores in turn, so that nothing but
the rest of the machine disturbs the measurement. The processor's seconds are what restoring takes
on all cores together, whoever else is at work.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tfrestore.command_line import available_cores
from tfrestore.evaluation.measurement import Effort, Measurement


@dataclass(frozen=True)
class Cost:
    """What a system costs.

    Attributes:
        system: Its name.
        parameters: Trainable numbers of its network; `None` where it is not known.
        real_time_factor: Seconds of computing per second of audio, the median over recordings;
            `None` where none was measured.
        processor_seconds: The same, added up over all cores.
        audio_seconds: Of how much audio.
        channels: Of this audio, such as `1`, or `1-2`.
        cores: Processor cores that it had, likewise.
        scoring_processes: Processes that scored at the same time, likewise; 0 for none.
    """

    system: str
    parameters: int | None
    real_time_factor: float | None
    processor_seconds: float | None
    audio_seconds: float
    channels: str
    cores: str
    scoring_processes: str


def timed(
    restore: Callable[[], np.ndarray], sample_rate: int, scoring_processes: int, is_first: bool
) -> tuple[np.ndarray, Effort]:
    """Restores a recording and says what it took.

    Args:
        restore: Does it: float32 `(channels, samples)`.
        sample_rate: Hz of the result.
        scoring_processes: How many other processes of this evaluation are at work.
        is_first: Whether this is the model's first recording in this process.
    """
    began, before = time.perf_counter(), time.process_time()
    waveform = restore()
    seconds, processor_seconds = time.perf_counter() - began, time.process_time() - before
    effort = Effort(
        seconds=seconds,
        processor_seconds=processor_seconds,
        audio_seconds=waveform.shape[1] / sample_rate,
        channels=len(waveform),
        cores=available_cores(),
        scoring_processes=scoring_processes,
        is_first=is_first,
    )
    return waveform, effort


def make_costs(
    measurements: Iterable[Measurement], parameters: Mapping[str, int], systems: Sequence[str]
) -> list[Cost]:
    """What every system costs of which anything is known, in the order given.

    Args:
        measurements: With or without efforts; of several evaluations of which one went on with what
            the other had, possibly on other machines.
        parameters: Numbers of parameters, where known.
        systems: Names.
    """
    found: dict[str, list[Effort]] = {}
    for each in measurements:
        if each.effort and each.effort.audio_seconds:
            found.setdefault(each.subject.system, []).append(each.effort)
    return [
        _cost(system, parameters.get(system), found.get(system, []))
        for system in systems
        if system in parameters or system in found
    ]


def _cost(system: str, parameters: int | None, efforts: list[Effort]) -> Cost:
    efforts = [each for each in efforts if not each.is_first] or efforts
    audio = sum(each.audio_seconds for each in efforts)
    return Cost(
        system=system,
        parameters=parameters,
        real_time_factor=_median(each.seconds / each.audio_seconds for each in efforts),
        processor_seconds=_median(each.processor_seconds / each.audio_seconds for each in efforts),
        audio_seconds=audio,
        channels=_range(each.channels for each in efforts),
        cores=_range(each.cores for each in efforts),
        scoring_processes=_range(each.scoring_processes for each in efforts),
    )


def _median(values: Iterable[float]) -> float | None:
    values = list(values)
    return statistics.median(values) if values else None


def _range(numbers: Iterable[int]) -> str:
    ordered = sorted(set(numbers))
    return "-".join(map(str, dict.fromkeys((*ordered[:1], *ordered[-1:]))))
