"""How many requests a second are answered, and how fast, by so many clients at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Load:
    """What was measured.

    Attributes:
        clients: At the same time.
        seconds: From the first request to the last answer.
        latencies: Of each request that was answered, seconds.
        errors: What the others ended with.
    """

    clients: int
    seconds: float
    latencies: np.ndarray
    errors: list[Exception]

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """The latency that so many percent do not exceed, milliseconds."""
        return 1000 * float(np.percentile(self.latencies, share)) if len(self.latencies) else 0.0


def measure_load(request: Callable[[], object], clients: int, requests: int) -> Load:
    """Sends requests from so many threads, each its next when its last is answered.

    Args:
        request: Sends one and waits for the answer.
        clients: Threads.
        requests: All together.
    """
    latencies, errors, left = [], [], iter(range(requests))
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                if next(left, None) is None:
                    return
            began = time.perf_counter()
            try:
                request()
            except Exception as error:
                errors.append(error)
            else:
                latencies.append(time.perf_counter() - began)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(clients, time.perf_counter() - began, np.array(latencies), errors)
