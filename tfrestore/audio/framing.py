"""Long waveforms in pieces of one length, and back into one, in constant memory.

`process_in_chunks` cuts a stream into chunks, gives each its real neighbours as context, and throws
away what the process says about the context. It is not cross-faded: that would only hide how far
the edges of a window reach into it.

It is transparent (an identity process gives back the stream, first and last sample included), puts
chunks on a fixed grid, so that the result does not depend on the blocks in which the stream
arrives, and calls the process with one shape only, but for what a `ChunkPlan` makes shorter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

Process = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ChunkPlan:
    """How a stream is cut for `process_in_chunks`.

    Attributes:
        chunk_samples: Samples that are kept of each window, 1 or more.
        context_samples: Samples on either side that the process sees and that are then thrown away.
        batch_size: Rows (a channel of a chunk is one) that the process gets at once.
        grid_samples: What the length of the last chunk, which may hold less than others, is a
            multiple of; `None` for a last chunk like the others.
        reflect: Whether windows reach beyond the stream's ends, where it is reflected. Otherwise
            they are cut there: by the context and the process's own ideas of an end.
    """

    chunk_samples: int
    context_samples: int
    batch_size: int = 1
    grid_samples: int | None = None
    reflect: bool = True

    def __post_init__(self) -> None:
        positive = (self.chunk_samples, self.batch_size, self.grid_samples or 1)
        if min(positive) < 1 or self.context_samples < 0:
            raise ValueError(
                "A chunk, a batch and a grid hold at least one, a context at least zero samples; "
                f"received {self}."
            )

    @property
    def window_samples(self) -> int:
        """Length of what the process gets: context, chunk and context."""
        return self.context_samples + self.chunk_samples + self.context_samples


def process_in_chunks(
    blocks: Iterable[np.ndarray],
    process: Process,
    plan: ChunkPlan,
    channels: int,
    concurrent_batches: int = 1,
) -> Iterator[np.ndarray]:
    """Runs a process over a stream, chunk by chunk, each with context on both sides.

    Chunk `k` begins at sample `k * chunk_samples`. Before the stream's first sample and behind its
    last, the context is the stream reflected about that sample (as often as it takes where the
    stream is shorter than the context), or there is none if the plan says so.

    Args:
        blocks: The stream: arrays of shape `(channels, any number)`, one after the other.
        process: Takes float32 of shape `(plan.batch_size, plan.window_samples)`, less at the
            stream's ends where the plan says so, and returns the same shape. Rows are the channels
            of a chunk, then those of the next; the last batch of a length is filled up with
            silence.
        plan: How the stream is cut.
        channels: Number of channels of the stream.
        concurrent_batches: Calls of the process that may run at the same time, each in a thread of
            its own where it is more than one; so many batches are held in memory.

    Yields:
        float32 arrays `(channels, up to chunk_samples)`, which joined have the length of the
        stream.

    Raises:
        ValueError: A block or what the process returns has the wrong shape.
    """
    windows = _windows(blocks, channels, plan)
    for window, kept in _in_batches(windows, process, plan.batch_size, concurrent_batches):
        yield window[:, kept]


def _windows(
    blocks: Iterable[np.ndarray], channels: int, plan: ChunkPlan
) -> Iterator[tuple[np.ndarray, slice]]:
    """Cuts a stream into windows a chunk apart, the first of which begins with its context.

    Yields each window and which of its samples to keep: those of the chunk that are inside the
    stream. Where these are fewer, the window is shorter by as many multiples of the grid; one that
    reaches beyond the stream is too, unless that is reflected.
    """
    context, hop = plan.context_samples, plan.chunk_samples
    buffer = _WindowBuffer(channels, plan.window_samples, start=-context)

    def window() -> tuple[np.ndarray, slice]:
        # A window is asked for only while its chunk has begun.
        kept = min(hop, buffer.end - buffer.start - context)
        length = plan.window_samples
        if plan.grid_samples:
            length -= (hop - kept) // plan.grid_samples * plan.grid_samples
        first, last = (0, length) if plan.reflect else buffer.inside_stream(length)
        return buffer.window()[:, first:last], slice(context - first, context - first + kept)

    for block in blocks:
        if block.ndim != 2 or block.shape[0] != channels:
            raise ValueError(
                f"Expected blocks of shape ({channels}, samples), received {block.shape}."
            )
        taken = 0
        while taken < block.shape[1]:
            taken += buffer.append(block[:, taken:])
            if buffer.is_full:
                yield window()
                buffer.advance(hop)
    while buffer.start + context < buffer.end:
        yield window()
        buffer.advance(hop)


class _WindowBuffer:
    """The samples of the window that is being filled.

    Attributes:
        start: Position in the stream at which the window begins; negative before the stream.
        end: Position behind the last sample seen.
    """

    def __init__(self, channels: int, window_samples: int, start: int) -> None:
        self._samples = np.empty((channels, window_samples), np.float32)
        self._first = 0
        self.start = start
        self.end = 0

    @property
    def is_full(self) -> bool:
        return self.end == self.start + self._samples.shape[1]

    def append(self, block: np.ndarray) -> int:
        """Takes as many samples as the window still needs, and says how many."""
        filled = self.end - self._first
        taken = min(block.shape[1], self.start + self._samples.shape[1] - self.end)
        self._samples[:, filled : filled + taken] = block[:, :taken]
        self.end += taken
        return taken

    def window(self) -> np.ndarray:
        """A copy of the window, reflected where the stream has not begun or is over."""
        filled = self.end - self._first
        offset = self.start - self._first
        if offset == 0 and self.is_full:
            return self._samples.copy()
        return self._samples[:, _reflected(offset, self._samples.shape[1], filled)]

    def inside_stream(self, length: int) -> tuple[int, int]:
        """Which of the window's first `length` samples are the stream's."""
        return max(0, -self.start), min(length, self.end - self.start)

    def advance(self, hop: int) -> None:
        self.start += hop
        first = min(max(0, self.start), self.end)
        kept = self._samples[:, first - self._first : self.end - self._first]
        self._samples[:, : kept.shape[1]] = kept.copy()
        self._first = first


def _reflected(offset: int, count: int, length: int) -> np.ndarray:
    """Indices `offset, offset + 1, ...`, folded into `0 ... length - 1` by mirrors at both ends."""
    period = max(1, 2 * (length - 1))
    folded = np.arange(offset, offset + count) % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros(count, np.intp)


def _in_batches(
    windows: Iterable[tuple[np.ndarray, slice]],
    process: Process,
    batch_size: int,
    concurrent_batches: int,
) -> Iterator[tuple[np.ndarray, slice]]:
    """Puts the rows of the windows through `process`, `batch_size` at once, and keeps the order."""
    # A window waits here until each of its rows has been through the process.
    waiting: deque[tuple[np.ndarray, slice]] = deque()
    running: deque[Future] = deque()
    rows: list[np.ndarray] = []
    executor = ThreadPoolExecutor(concurrent_batches) if concurrent_batches > 1 else None
    channels = 1

    def start(rows: list[np.ndarray]) -> None:
        if executor is None:
            _process_in_place(rows, process, batch_size)
        else:
            running.append(executor.submit(_process_in_place, rows, process, batch_size))

    def finished() -> Iterator[tuple[np.ndarray, slice]]:
        unfinished_rows = len(rows) + len(running) * batch_size
        while waiting and (len(waiting) - 1) * channels >= unfinished_rows:
            yield waiting.popleft()

    try:
        for window, kept in windows:
            if rows and len(rows[0]) != window.shape[1]:
                start(rows)
                rows = []
            channels = len(window)
            waiting.append((window, kept))
            for row in window:
                rows.append(row)
                if len(rows) == batch_size:
                    start(rows)
                    rows = []
            # While the caller is busy with what it gets, all threads are.
            while len(running) > concurrent_batches:
                running.popleft().result()
            yield from finished()
        if rows:
            start(rows)
            rows = []
        while running:
            running.popleft().result()
            yield from finished()
        yield from finished()
    finally:
        if executor:
            executor.shutdown(wait=False, cancel_futures=True)


def _process_in_place(rows: list[np.ndarray], process: Process, batch_size: int) -> None:
    batch = np.zeros((batch_size, len(rows[0])), np.float32)
    batch[: len(rows)] = rows
    result = np.asarray(process(batch))
    if result.shape != batch.shape:
        raise ValueError(
            f"The process was given the shape {batch.shape} and returned {result.shape}."
        )
    for row, processed in zip(rows, result, strict=False):
        row[:] = processed
