"""The chief of several workers: serves the oracle, starts workers, and replaces those that die."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import tensorflow as tf
from keras_tuner.src.distribute.oracle_chief import OracleServicer
from keras_tuner.src.protos import get_service_grpc
from rich.progress import Progress

from tfrestore.command_line import available_cores
from tfrestore.errors import InputError, UsageError
from tuning.oracles import SearchOracle
from tuning.view import SearchView

logger = logging.getLogger("tfrestore.tuning")

#: Where the workers on this machine write their log lines.
LOGS = "workers"

# Seconds between two looks at the workers, and what they get to end by themselves.
_PERIOD, _PATIENCE = 0.2, 20.0


def serve_workers(
    oracle: SearchOracle,
    folder: Path,
    bars: Progress,
    local_workers: int,
    options: list[str],
    deadline: float | None,
) -> None:
    """Hands out trials until there are none left.

    Args:
        oracle: The search's.
        folder: Of the search.
        bars: Where to show how far it is.
        local_workers: Processes to start on this machine. With none, the address is taken from the
            environment and workers elsewhere are waited for.
        options: What every local worker is told.
        deadline: `time.time()` at which to stop; `None` for never.

    Raises:
        UsageError: if nobody can listen at the address.
        InputError: if a worker found something wrong that concerns all trials.
    """
    address = _free_address() if local_workers else address_of_environment()
    view = SearchView(oracle, bars)
    with _serving(oracle, address) as servicer, contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(folder, number, local_workers, address, options, deadline))
            for number in range(local_workers)
        ]
        while not _is_done(oracle, servicer, workers, deadline):
            time.sleep(_PERIOD)
            view.update()
            for worker in workers:
                _look_after(worker, oracle)


def _is_done(oracle, servicer, workers, deadline) -> bool:
    if workers:
        return all(worker.is_finished for worker in workers)
    if deadline is not None and time.time() > deadline + _PATIENCE:
        return True
    return servicer.stop_triggered and not oracle.ongoing_trials and not oracle.tuner_ids


def _look_after(worker: Worker, oracle: SearchOracle) -> None:
    """Goes on without a worker that has ended, or starts it again where it was killed."""
    code = worker.poll()
    if code is None or worker.is_finished:
        return
    if code > 0:
        raise InputError(worker.last_line())
    if code == 0:
        worker.is_finished = True
        return
    how = signal.Signals(-code).name
    trial = oracle.abandon(worker.name, how)
    logger.warning(
        "%s was ended by %s, %s; it is started again",
        worker.name,
        how,
        "between trials" if trial is None else f"in trial {trial}",
    )
    worker.start()


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
        options: list[str],
        deadline: float | None,
    ):
        self.folder = folder
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
            process.wait(_PATIENCE)
        process.kill()
        process.wait()

    def start(self) -> None:
        """Starts the process, again after it died."""
        command = [sys.executable, "-m", "tuning.search", "--out", str(self.folder)]
        command += ["--chief-on-stdin", *self.options]
        if self.deadline is not None:
            minutes = max(0.001, (self.deadline - time.time()) / 60)
            command += ["--max-minutes", f"{minutes:.4f}"]
        self.log.parent.mkdir(exist_ok=True)
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
    return [str(number) for number in range(len(tf.config.list_physical_devices("GPU")))]


@contextlib.contextmanager
def _serving(oracle: SearchOracle, address: tuple[str, int]) -> Iterator[OracleServicer]:
    """Serves the oracle as KerasTuner's chief does."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    servicer = OracleServicer(oracle)
    get_service_grpc().add_OracleServicer_to_server(servicer, server)
    try:
        server.add_insecure_port("{}:{}".format(*address))
    except RuntimeError:
        raise UsageError(
            "{}:{}: nobody can listen there; check KERASTUNER_ORACLE_IP and "
            "KERASTUNER_ORACLE_PORT.".format(*address)
        ) from None
    server.start()
    try:
        yield servicer
    finally:
        server.stop(grace=None)


def _free_address() -> tuple[str, int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()


def address_of_environment() -> tuple[str, int]:
    """The chief's IP and port, as KerasTuner is told them.

    Raises:
        UsageError: if one is missing.
    """
    try:
        return os.environ["KERASTUNER_ORACLE_IP"], int(os.environ["KERASTUNER_ORACLE_PORT"])
    except (KeyError, ValueError):
        raise UsageError(
            "KERASTUNER_TUNER_ID is set; set KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT to "
            "the chief's address and port as well."
        ) from None


def end_with_standard_input() -> None:
    """Ends this worker when its chief does, whose end of the pipe is then closed, however it died.

    It would otherwise finish its trial and wait for an hour for a chief to tell.
    """

    def wait() -> None:
        # Not by `sys.stdin`, whose lock Python needs when it ends.
        os.read(0, 1)
        # Whatever is being written is written whole or not at all.
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
