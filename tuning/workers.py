"""Worker processes on this machine: they are started early and told when to begin.

A worker needs seconds to load TensorFlow. It does so beside the chief, which needs them too, and
waits at its standard input until the chief is ready; when that pipe closes it ends, however its
chief died. This module loads nothing itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tfrestore.command_line import available_cores

#: Where the workers write their log lines, in the folder of the search.
LOGS = "workers"

#: Seconds that processes get to end by themselves.
PATIENCE = 20.0

# Linux lists here the GPUs that there are.
_GPUS = Path("/proc/driver/nvidia/gpus")


@contextlib.contextmanager
def started_workers(
    count: int, folder: Path, options: Sequence[str], deadline: float | None
) -> Iterator[list[Worker]]:
    """Workers that load what they need and wait; they end with the block.

    Args:
        count: How many.
        folder: Of the search.
        options: What each is told.
        deadline: `time.time()` at which to stop; `None` for never.
    """
    address = free_address()
    workers = [Worker(folder, number, count, address, options, deadline) for number in range(count)]
    try:
        with contextlib.ExitStack() as stack:
            for worker in workers:
                stack.enter_context(worker)
            yield workers
    finally:
        # A request that was refused leaves no folder behind.
        for worker in workers:
            if worker.log.is_file() and not worker.log.stat().st_size:
                worker.log.unlink()
        for made in (folder / LOGS, folder) if workers else ():
            with contextlib.suppress(OSError):
                made.rmdir()


class Worker:
    """A process on this machine that trains trials; a context that ends it.

    Args:
        folder: Of the search.
        number: From 0.
        workers: How many there are.
        address: The chief's IP and port.
        options: What it is told.
        deadline: `time.time()` at which to stop; `None` for never.
    """

    is_finished = False

    def __init__(
        self,
        folder: Path,
        number: int,
        workers: int,
        address: tuple[str, int],
        options: Sequence[str],
        deadline: float | None,
    ):
        self.folder = folder
        self.address = address
        self.name = f"worker{number}"
        self.log = folder / LOGS / f"{self.name}.log"
        self.options = options
        self.deadline = deadline
        self.environment = {
            **os.environ,
            "KERASTUNER_TUNER_ID": self.name,
            "KERASTUNER_ORACLE_IP": address[0],
            "KERASTUNER_ORACLE_PORT": str(address[1]),
            **share_of_machine(number, workers),
        }
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> Worker:
        self.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        process = self.process
        # Told to all of them by the first, so that none waits for another.
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        process.kill()
        process.wait()

    def start(self) -> None:
        """Starts the process, again after it died."""
        command = [sys.executable, "-m", "tuning.search", "--out", str(self.folder)]
        command += ["--chief-on-stdin", *self.options]
        if self.deadline is not None:
            minutes = max(0.001, (self.deadline - time.time()) / 60)
            command += ["--max-minutes", f"{minutes:.4f}"]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self.environment,
                # An interruption is the chief's to pass on.
                start_new_session=True,
            )

    def go(self) -> None:
        """Tells it to begin."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()

    def poll(self) -> int | None:
        """The exit code, or minus the signal that ended it; `None` while it runs."""
        return self.process.poll()

    def last_line(self) -> str:
        """What it said last."""
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1].removeprefix("python -m tuning.search: ") if lines else str(self.log)


def share_of_machine(number: int, workers: int) -> dict[str, str]:
    """The environment in which a worker takes its share of cores and GPUs, and no more.

    Two processes with a thread per core each wait for each other's threads; with half of the cores
    each they do not.
    """
    threads = str(max(1, available_cores() // workers))
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    share = dict.fromkeys(names, threads)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpus = visible.split(",") if visible else _gpu_numbers()
    if gpus:
        # With more workers than GPUs, several share one and take of its memory what they need.
        own = gpus[number::workers] or [gpus[number % len(gpus)]]
        share["CUDA_VISIBLE_DEVICES"] = ",".join(own)
        share["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    return share


def _gpu_numbers() -> list[str]:
    return [str(number) for number in range(len(list(_GPUS.glob("*"))))]


def free_address() -> tuple[str, int]:
    """An IP and a port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()


def wait_for_chief() -> None:
    """Waits until the chief says so; from then on this process ends when the chief does.

    It would otherwise finish its trial and wait for an hour for a chief to tell.
    """
    _told.wait()


_told = threading.Event()


def listen_to_chief() -> None:
    """Begins to listen at standard input, where the chief is; see `wait_for_chief`."""

    def listen() -> None:
        # Not by `sys.stdin`, whose lock Python needs when it ends.
        while os.read(0, 1):
            _told.set()
        # Whatever is being written is written whole or not at all.
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
