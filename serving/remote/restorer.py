"""A served model as a restorer: the same cutting, elsewhere the network."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from serving.remote.transports import RETRIED, RemoteError, Transport
from tfrestore.audio.framing import ChunkPlan
from tfrestore.errors import UsageError
from tfrestore.recordings import RecordingRestorer

# Between attempts, seconds: twice as long each time, and each time up to so long.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class RemoteRestorer(RecordingRestorer):
    """Restores recordings with a model behind TensorFlow Serving.

    What `Restorer` does with its network, this does by asking the server for each window, several
    at the same time; the result is the same to 1e-4. A window for which the server has no room, or
    no server is there, is sent again until its time is over.

    Args:
        transport: The connection.
        concurrency: int. Windows that are under way at the same time. Defaults to `4`.
        seconds: float. For each window, all attempts together. Defaults to `120`.

    Raises:
        RemoteError: if the server does not answer.
        UsageError: if the model is none of this package's.
    """

    def __init__(self, transport: Transport, concurrency: int = 4, seconds: float = 120.0):
        self._transport = transport
        self._seconds = seconds
        self._closed = threading.Event()
        self.concurrent_windows = concurrency
        try:
            told = self.ask(
                lambda left: transport.predict("properties", {"query": np.zeros(1, np.int32)}, left)
            )
        except RemoteError as error:
            if error.code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION"):
                raise UsageError(
                    f"{error}: the model has no signature `properties`; export it with "
                    "tfrestore export."
                ) from None
            raise
        told = {name: int(value[0]) for name, value in told.items()}
        self.sample_rate = told["sample_rate"]
        self.accepts_gaps = bool(told["accepts_gaps"])
        self._noise_size = told["noise_size"]
        self.reflects_ends = bool(told["reflects_ends"])
        self._plan = ChunkPlan(
            told["chunk_samples"],
            told["context_samples"],
            grid_samples=told["grid_samples"],
            reflect=self.reflects_ends,
        )

    def __enter__(self) -> RemoteRestorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives up what is under way, and the connection."""
        self._closed.set()
        self._transport.close()

    @property
    def noise_size(self) -> int:
        """Length of the model's noise vector; 0 where there is one version."""
        return self._noise_size

    @property
    def context_samples(self) -> int:
        """Samples on either side of a chunk that its result depends on."""
        return self._plan.context_samples

    @property
    def grid_samples(self) -> int:
        """Chunks start at multiples of this."""
        return self._plan.grid_samples

    @property
    def chunk_plan(self) -> ChunkPlan:
        """How recordings are cut: as the model was exported."""
        return self._plan

    def restore_window(self, waveform: np.ndarray, *noise: np.ndarray) -> np.ndarray:
        """See `RecordingRestorer`."""
        inputs = {"noise": noise[0]} if noise else {}
        # The windows at a recording's ends are shorter; as strings they fit into any batch.
        as_bytes = self._transport.prefers_bytes or waveform.shape[1] != self._plan.window_samples
        if as_bytes:
            signature, inputs["waveform_bytes"] = "window_bytes", _as_strings(waveform)
        else:
            signature, inputs["waveform"] = "window", waveform
        answer = self.ask(lambda left: self._transport.predict(signature, inputs, left))
        (restored,) = answer.values()
        if as_bytes:
            restored = np.stack([np.frombuffer(each, "<f4") for each in restored])
        return restored

    def restore_blocks(self, blocks, sample_rate, channels, samples, **options) -> Iterator:
        """See `RecordingRestorer`; says at which segment it ended.

        Raises:
            RemoteError: if a window's time is over.
        """
        finished = 0
        try:
            for block in super().restore_blocks(blocks, sample_rate, channels, samples, **options):
                yield block
                finished += block.shape[1]
        except RemoteError as error:
            seconds = self._plan.chunk_samples / self.sample_rate
            number = round(finished / sample_rate / seconds)
            end = min((number + 1) * seconds, samples / sample_rate)
            raise RemoteError(
                f"segment {number + 1}, from {number * seconds:.1f} to {end:.1f} s: {error}",
                error.code,
            ) from None

    def restore_file(self, source, target, **options) -> None:
        """See `RecordingRestorer`."""
        try:
            super().restore_file(source, target, **options)
        except RemoteError as error:
            raise RemoteError(f"{source}: {error}", error.code) from None

    def ask(self, question: Callable[[float], object]):
        """Asks until there is an answer, the time is over, or asking again would be of no use.

        Args:
            question: Takes the seconds that are left.

        Raises:
            RemoteError: the last attempt's.
        """
        end, pause = time.monotonic() + self._seconds, _FIRST_PAUSE
        while True:
            try:
                return question(max(0.001, end - time.monotonic()))
            except RemoteError as error:
                # Of a random length, so that not all come back at the same time.
                wait = pause * random.uniform(0.5, 1)
                if error.code not in RETRIED or time.monotonic() + wait >= end:
                    raise
                if self._closed.wait(wait):
                    raise
                pause = min(2 * pause, _LONGEST_PAUSE)


def _as_strings(waveform: np.ndarray) -> np.ndarray:
    texts = np.empty(len(waveform), object)
    texts[:] = [np.ascontiguousarray(row, "<f4").tobytes() for row in waveform]
    return texts
