"""The chief of several workers: serves the oracle, and starts workers again that die."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent import futures

import grpc
from keras_tuner.src.distribute.oracle_chief import OracleServicer
from keras_tuner.src.protos import get_service_grpc
from rich.progress import Progress

from tfrestore.errors import InputError, UsageError
from tuning.oracles import SearchOracle
from tuning.view import SearchView
from tuning.workers import PATIENCE, Worker

logger = logging.getLogger("tfrestore.tuning")

# Seconds between two looks at the workers.
_PERIOD = 0.2


def serve_workers(
    oracle: SearchOracle,
    bars: Progress,
    workers: Sequence[Worker],
    deadline: float | None,
) -> None:
    """Hands out trials until there are none left.

    Args:
        oracle: The search's.
        bars: Where to show how far it is.
        workers: Those on this machine, started. With none, the address is taken from the
            environment and workers elsewhere are waited for.
        deadline: `time.time()` at which to stop; `None` for never.

    Raises:
        UsageError: if nobody can listen at the address.
        InputError: if a worker found something wrong that concerns all trials.
    """
    address = workers[0].address if workers else address_of_environment()
    view = SearchView(oracle, bars)
    with _serving(oracle, address) as servicer:
        for worker in workers:
            worker.go()
        while not _is_done(oracle, servicer, workers, deadline):
            time.sleep(_PERIOD)
            view.update()
            for worker in workers:
                _look_after(worker, oracle)


def _is_done(oracle, servicer, workers, deadline) -> bool:
    if workers:
        return all(worker.is_finished for worker in workers)
    if deadline is not None and time.time() > deadline + PATIENCE:
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
    worker.go()


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
