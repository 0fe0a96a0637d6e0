"""What a trial may need, so that one too large for the machine is skipped before it fills it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from tfrestore.errors import InputError
from tfrestore.models.presets import Preset
from tfrestore.training.loop import TrainingRun
from tuning.footprint import parameter_count, state_bytes, step_bytes, symbolic_trainer

GIB = 2**30

# What a step takes on a CPU beside its tensors: kernels' buffers and what is freed late because
# threads go ahead of each other, a share of the tensors; the graph and music that is read ahead.
# Measured: 1.2 times of 0.5 GiB (unet_tiny), 1.4 times of 9.0 GiB (apollo), 0.28 GiB more than
# 0.15 GiB (sr_gan_tiny).
_SHARE_BESIDE, _BESIDE = 1.4, 0.3 * GIB

# What Linux says of the memory of a machine, and of what a container may have of it.
_MEMORY = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")


class TooLargeError(InputError):
    """A trial that needs more than it may."""


@dataclass
class Limits:
    """What a trial may need.

    Attributes:
        parameters: Trained numbers of the network; `None` for any.
        memory: Bytes of the model, its optimizers and a training step; `None` for what is free,
            where there is no GPU. A GPU says itself when it is full.
        workers: How many share the machine's memory.
    """

    parameters: int | None = None
    memory: int | None = None
    workers: int = 1

    def check_model(self, preset: Preset) -> int:
        """Refuses a model before it is built.

        Returns:
            The network's parameters.

        Raises:
            TooLargeError: if it has too many, or they alone need too much memory.
            UsageError: if it cannot be built.
        """
        trainer = symbolic_trainer(preset)
        count = parameter_count(trainer)
        if self.parameters is not None and count > self.parameters:
            raise TooLargeError(
                f"skipped: {count:,} parameters, more than --max-parameters {self.parameters:,}"
            )
        self._available = self.memory or _free_bytes(self.workers)
        self._state = state_bytes(trainer)
        self._check(self._state)
        return count

    def check_step(self, run: TrainingRun) -> None:
        """Refuses a run before its first step; `check_model` was asked for its preset.

        Raises:
            TooLargeError: if a step needs too much memory.
        """
        if self._available is not None:
            self._check(self._state + _SHARE_BESIDE * step_bytes(run.traced_step()) + _BESIDE)

    def _check(self, needed: float) -> None:
        if self._available is not None and needed > self._available:
            allowed = "--max-memory" if self.memory else "free memory"
            raise TooLargeError(
                f"skipped: needs about {needed / GIB:.2f} GiB, more than "
                f"{self._available / GIB:.2f} GiB of {allowed}"
            )


def _free_bytes(workers: int) -> int | None:
    """A worker's share of the memory that is free; `None` where a GPU has the model, or unknown."""
    if tf.config.list_physical_devices("GPU"):
        return None
    known = [*_of_machine(), *_of_container()]
    return min(known) // workers if known else None


def _of_machine() -> list[int]:
    if _MEMORY.is_file():
        words = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
        return [int(words["MemAvailable"].split()[0]) * 1024]
    return [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]


def _of_container() -> list[int]:
    try:
        most = (_CONTAINER / "memory.max").read_text().strip()
        used = int((_CONTAINER / "memory.current").read_text())
        cached = dict(
            line.split() for line in (_CONTAINER / "memory.stat").read_text().splitlines()
        )
    except (OSError, ValueError):
        return []
    return [] if most == "max" else [int(most) - used + int(cached.get("inactive_file", 0))]
