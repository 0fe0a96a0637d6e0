"""When a request runs: at once, or in a batch with others that fit.

Models run in threads, everything else in the event loop. What waits is bounded: a request too many
is refused instead of being kept until its client has given up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from serving.model_server.statuses import Code, StatusError, invalid

Arrays = Mapping[str, np.ndarray]


class DirectScheduler:
    """Runs each request by itself.

    Args:
        threads: Requests that run at the same time.
        most_waiting: Requests that may wait for a thread.
    """

    def __init__(self, threads: int, most_waiting: int):
        self._executor = ThreadPoolExecutor(threads, "running")
        self._most = threads + most_waiting
        self._present = 0

    async def run(self, servable, signature: str, inputs: Arrays, outputs: list[str]) -> Arrays:
        """Runs a signature of a servable and returns the named outputs.

        Raises:
            StatusError: if too many requests wait, or whatever the servable raises.
        """
        if self._present >= self._most:
            raise StatusError(
                Code.RESOURCE_EXHAUSTED, f"{self._present} requests are waiting already."
            )
        self._present += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._executor, servable.run, signature, inputs, outputs
            )
        finally:
            self._present -= 1


@dataclass
class _Task:
    inputs: Arrays
    rows: int
    answer: asyncio.Future


@dataclass
class _Batch:
    opened: float
    tasks: list[_Task] = field(default_factory=list)
    closed: bool = False

    @property
    def rows(self) -> int:
        return sum(task.rows for task in self.tasks)


class BatchingScheduler:
    """Runs requests together whose inputs differ in their first dimension only.

    A batch is run as soon as a thread is free and it is full or its first request has waited for
    the time window; while no thread is free, it goes on filling.

    Args:
        max_batch_size: Rows of a request, and of a batch.
        batch_timeout_micros: The time window, microseconds.
        max_enqueued_batches: Batches that may wait, of each kind of request.
        num_batch_threads: Batches that run at the same time.
        allowed_batch_sizes: Rows that batches are filled up to; `[]` for any number.
        pad_variable_length_inputs: Whether inputs that differ in other dimensions, too, run
            together. Each is made as large as the largest with its own first element, and outputs
            are as large as the model makes them of that.
        max_execution_batch_size: Rows of a batch where requests may have more: their rows are
            divided among batches. `None` where requests stay whole.
    """

    def __init__(
        self,
        max_batch_size: int,
        batch_timeout_micros: int,
        max_enqueued_batches: int,
        num_batch_threads: int,
        allowed_batch_sizes: list[int],
        pad_variable_length_inputs: bool = False,
        max_execution_batch_size: int | None = None,
    ):
        self._max_task_rows = max_batch_size
        self._max_rows = max_execution_batch_size or max_batch_size
        self._divides = max_execution_batch_size is not None
        self._pads = pad_variable_length_inputs
        self._window = batch_timeout_micros / 1e6
        self._max_batches = max_enqueued_batches
        self._sizes = allowed_batch_sizes
        self._executor = ThreadPoolExecutor(num_batch_threads, "running")
        self._idle = num_batch_threads
        self._queues: dict[tuple, deque[_Batch]] = {}
        # Of batches that run, so that they are not collected meanwhile.
        self._running: set[asyncio.Task] = set()

    async def run(self, servable, signature: str, inputs: Arrays, outputs: list[str]) -> Arrays:
        """See `DirectScheduler`."""
        if any(value.ndim == 0 for value in inputs.values()):
            raise invalid("Batching Run() input tensors must have at least one dimension")
        counts = {len(value) for value in inputs.values()}
        if len(counts) != 1:
            raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
        (rows,) = counts
        if rows > self._max_task_rows:
            raise invalid(
                f"Task size {rows} is larger than maximum input batch size {self._max_task_rows}"
            )
        form = tuple(
            (name, value.dtype, value.ndim if self._pads else value.shape[1:])
            for name, value in sorted(inputs.items())
        )
        kind = (servable, signature, form, tuple(outputs))
        queue = self._queues.get(kind) or deque()
        sizes = self._divide(rows, queue)
        if len(queue) + len(sizes) - (sizes[0] <= self._room(queue)) > self._max_batches:
            raise StatusError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full",
            )
        # Only now, so that there is no queue without a batch.
        self._queues[kind] = queue
        tasks, first = [], 0
        for size in sizes:
            part = {name: value[first : first + size] for name, value in inputs.items()}
            tasks.append(self._enqueue(queue, part, size))
            first += size
        self._start_what_is_ready()
        if len(tasks) == 1:
            return await tasks[0].answer
        results = await asyncio.gather(*(task.answer for task in tasks))
        return {name: np.concatenate([each[name] for each in results]) for name in outputs}

    def _room(self, queue: deque[_Batch]) -> int:
        """Rows that the batch still takes which is filling."""
        return self._max_rows - queue[-1].rows if queue and not queue[-1].closed else -1

    def _divide(self, rows: int, queue: deque[_Batch]) -> list[int]:
        """The parts of a request: what the open batch still takes, then whole batches."""
        if not self._divides:
            return [rows]
        sizes, room = [], max(0, self._room(queue))
        if room and rows:
            sizes.append(min(room, rows))
            rows -= sizes[0]
        while rows > 0 or not sizes:
            sizes.append(min(rows, self._max_rows))
            rows -= sizes[-1]
        return sizes

    def _enqueue(self, queue: deque[_Batch], inputs: Arrays, rows: int) -> _Task:
        loop = asyncio.get_running_loop()
        if rows > self._room(queue):
            if queue:
                queue[-1].closed = True
            queue.append(_Batch(loop.time()))
            loop.call_later(self._window, self._start_what_is_ready)
        task = _Task(inputs, rows, loop.create_future())
        queue[-1].tasks.append(task)
        queue[-1].closed = queue[-1].rows == self._max_rows
        return task

    def _start_what_is_ready(self) -> None:
        # A timer may come a little before its time.
        now = asyncio.get_running_loop().time() + 1e-4
        while self._idle:
            ready = [
                (queue[0].opened, kind)
                for kind, queue in self._queues.items()
                if queue[0].closed or now - queue[0].opened >= self._window
            ]
            if not ready:
                return
            _, kind = min(ready, key=lambda each: each[0])
            batch = self._queues[kind].popleft()
            if not self._queues[kind]:
                del self._queues[kind]
            self._idle -= 1
            running = asyncio.ensure_future(self._run_batch(kind, batch))
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def _run_batch(self, kind: tuple, batch: _Batch) -> None:
        # A client that has gone needs no answer.
        tasks = [task for task in batch.tasks if not task.answer.done()]
        try:
            await self._answer(kind, tasks)
        finally:
            self._idle += 1
            self._start_what_is_ready()

    async def _answer(self, kind: tuple, tasks: list[_Task]) -> None:
        if not tasks:
            return
        servable, signature, _, outputs = kind
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(
                self._executor, self._run_joined, servable, signature, tasks, list(outputs)
            )
        except Exception as error:  # It goes to whoever waits for the answer.
            if len(tasks) > 1 and isinstance(error, StatusError):
                # One client's mistake is not the others'.
                for task in tasks:
                    await self._answer(kind, [task])
                return
            for task in tasks:
                if not task.answer.done():
                    task.answer.set_exception(error)
            return
        for task, result in zip(tasks, results, strict=True):
            if not task.answer.done():
                task.answer.set_result(result)

    def _run_joined(
        self, servable, signature: str, tasks: list[_Task], outputs: list[str]
    ) -> list[Arrays]:
        """Runs the tasks' rows as one batch and gives each its part, in a thread."""
        rows = sum(task.rows for task in tasks)
        size = next((each for each in self._sizes if each >= rows), rows) if rows else 0
        joined = {}
        for name, value in tasks[0].inputs.items():
            parts = _padded([task.inputs[name] for task in tasks])
            if size > rows:
                # Rows that surely fit; what comes of them is thrown away.
                whole = next(part for part in parts if len(part))
                parts.append(np.repeat(whole[:1], size - rows, axis=0))
            joined[name] = np.concatenate(parts) if len(parts) > 1 else value
        results = servable.run(signature, joined, outputs)
        for name, value in results.items():
            if value.ndim == 0 or len(value) != size:
                raise StatusError(
                    Code.FAILED_PRECONDITION,
                    f"Batched output tensor's 0th dimension does not equal the sum of the 0th "
                    f"dimension sizes of the input tensors: {name}",
                )
        divided, first = [], 0
        for task in tasks:
            part = slice(first, first + task.rows)
            divided.append({name: value[part] for name, value in results.items()})
            first = part.stop
        return divided


def _padded(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Arrays made equal in all dimensions but the first, each with its own first element.

    Raises:
        StatusError: if one has no element to be made larger with.
    """
    largest = np.max([array.shape[1:] for array in arrays], axis=0, initial=0)
    padded = []
    for array in arrays:
        missing = largest - array.shape[1:]
        if missing.any():
            if not array.size:
                raise invalid("Got empty tensor in batch of non-empty tensors.")
            widths = [(0, 0), *((0, int(each)) for each in missing)]
            array = np.pad(array, widths, constant_values=array.flat[0])
        padded.append(array)
    return padded
