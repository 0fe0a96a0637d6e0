"""Whole recordings through a model that restores windows, wherever it runs.

Recordings of any rate, length and number of channels are cut into chunks of one length with real
neighbours as context, so that memory does not grow. `tfrestore.restorer.Restorer` does this with
the network in this process, `serving.client` with one behind a server.

What is resampled is never the recording but the correction, restored minus input: a model that
works at 16 kHz adds what it has to say to a 44.1 kHz recording, whose content above 8 kHz stays.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from tfrestore.audio.framing import ChunkPlan, process_in_chunks
from tfrestore.audio.high_pass import high_passed
from tfrestore.candidates import (
    DEFAULT_CANDIDATE,
    DEFAULT_SEED,
    candidate_noise,
    checked_noise,
)
from tfrestore.errors import UsageError
from tfrestore.output_files import check_not_the_source, matching_subtype

logger = logging.getLogger(__name__)

#: Called with the fraction done, 0 to 1; returning `False` stops the work.
Progress = Callable[[float], bool | None]

#: A waveform of more channels is taken for one whose axes are the wrong way round.
MOST_CHANNELS = 1024

#: Stretches of a recording, each (start, stop) in seconds.
Stretches = Sequence[tuple[float, float]]


class RestorationAborted(Exception):
    """A progress callback asked to stop; no output was written."""


class RecordingRestorer:
    """Restores whole recordings by way of `restore_window`.

    A subclass has `sample_rate` (Hz that the model works at), `chunk_seconds`, `context_samples`
    and `restore_window`; `grid_samples` where chunks have to start on a grid, and `noise_size`
    where it can restore a recording in several ways.
    """

    #: Whether lost stretches may be named by the caller; they arrive as NaN samples.
    accepts_gaps = False

    #: Whether a recording goes on as its reflection beyond its ends; a model that has its own way
    #: with ends gets less there.
    reflects_ends = True

    #: Windows that are restored at the same time, each in a thread of its own.
    concurrent_windows = 1

    @property
    def noise_size(self) -> int:
        """Length of the noise vector that decides which version is made; 0 where there is one."""
        return 0

    @property
    def is_stochastic(self) -> bool:
        """Whether one recording can be restored in several ways, by `seed` and `candidate`."""
        return self.noise_size > 0

    @property
    def context_samples(self) -> int:
        """Samples on either side of a chunk that its result depends on."""
        raise NotImplementedError(f"{type(self).__name__} has to say how far its network sees.")

    @property
    def grid_samples(self) -> int:
        """Chunks start at multiples of this."""
        return 1

    @property
    def chunk_plan(self) -> ChunkPlan:
        """How recordings are cut for this model."""
        grid = self.grid_samples
        chunk = max(1, round(self.chunk_seconds * self.sample_rate / grid)) * grid
        return ChunkPlan(
            chunk_samples=chunk,
            context_samples=self.context_samples,
            grid_samples=grid,
            reflect=self.reflects_ends,
        )

    def restore_window(self, waveform: np.ndarray, *noise: np.ndarray) -> np.ndarray:
        """Restores windows, float32 `(channels, samples)`, to the same shape.

        All of a recording are `chunk_plan.window_samples` long but the last, which is shorter by a
        multiple of `grid_samples`, and without `reflects_ends` the first.

        What is returned for the outer `context_samples` does not count. Lost samples are NaN where
        the model `accepts_gaps`; one that can restore in several ways gets noise
        `(channels, noise_size)` too.
        """
        raise NotImplementedError(f"{type(self).__name__} has to say how a window is restored.")

    def open_stream(self, channels: int):
        """A stream through a model that looks back only, with what it carries on.

        Returns:
            What takes blocks `(channels, any number)` by `process` and gives back those that are
            restored, and the rest by `finish`, `latency_samples` behind; `None` for a model that
            looks ahead too, which is given chunks.
        """
        return None

    def latency(self, sample_rate: int) -> float:
        """How far a stream that is restored while it comes is behind, in seconds.

        What the time it takes to compute adds is not counted.

        Args:
            sample_rate: Hz of the stream.
        """
        from tfrestore.audio.resampling import resampling_latency

        stream = self.open_stream(1)
        plan = self.chunk_plan
        samples = stream.latency_samples if stream else plan.chunk_samples + plan.context_samples
        there_and_back = resampling_latency(sample_rate, self.sample_rate)
        there_and_back += resampling_latency(self.sample_rate, sample_rate)
        return samples / self.sample_rate + there_and_back

    def restore(
        self,
        waveform,
        sample_rate: int,
        gaps: Stretches | None = None,
        progress: Progress | None = None,
        seed: int | None = None,
        candidate: int | None = None,
        noise=None,
        strength: float = 1.0,
        keep_below: float | None = None,
    ) -> np.ndarray:
        """Restores a whole recording.

        Args:
            waveform: float array `(samples,)` or `(channels, samples)`, at any sample rate.
            sample_rate: int. Hz of the waveform.
            gaps: Stretches in seconds that are known to be lost, for models that fill gaps; they
                find others themselves.
            progress: Called with the fraction done.
            seed: int, 0 to 2**64 - 1. Decides, for models that can restore a recording in several
                ways, which these are. Defaults to `0`.
            candidate: int, 1 or more. Number of the version. Defaults to `1`.
            noise: float array `(noise_size,)`. The version's noise vector itself, in place of
                `seed` and `candidate`.
            strength: float, 0 to 1. How much of the restoration is mixed in: 0 gives the recording
                back. Defaults to `1.0`.
            keep_below: float. Hz below which the recording stays as it is. Defaults to `None`, for
                no such.

        Returns:
            float32 array of the waveform's shape.

        Raises:
            ValueError: if the waveform has another rank or dtype, or samples that are not finite.
            UsageError: if gaps are given to a model that fills none, or are no stretches; if a
                version is chosen of a model that makes one only, or there is none such; if
                `strength` or `keep_below` is out of range.
            RestorationAborted: if `progress` returned `False`.
        """
        waveform = checked_waveform(waveform)
        channels = np.atleast_2d(waveform)
        blocks = self.restore_blocks(
            [channels],
            sample_rate,
            *channels.shape,
            gaps=gaps,
            progress=progress,
            noise=self.choose_noise(seed, candidate, noise),
            strength=strength,
            keep_below=keep_below,
        )
        return np.concatenate([channels[:, :0], *blocks], axis=1).reshape(waveform.shape)

    def restore_file(
        self,
        source: str | os.PathLike,
        target: str | os.PathLike,
        subtype: str | None = None,
        sample_rate: int | None = None,
        gaps: Stretches | None = None,
        progress: Progress | None = None,
        seed: int | None = None,
        candidate: int | None = None,
        noise=None,
        strength: float = 1.0,
        keep_below: float | None = None,
    ) -> None:
        """Restores a file of sound into another of the same channels and duration.

        Memory does not grow with the length, and the target appears complete or not at all.

        Args:
            source: A file that `tfrestore.audio` reads.
            target: Where to; the suffix decides the format. Must not be the source.
            subtype: A name of `tfrestore.audio.writable_subtypes`; by default the source's where
                the target's format has it, and else the format's usual one.
            sample_rate: int. Hz of the target; the source is brought to it first. By default the
                source's: what a model adds beyond half of that is left out.
            gaps: Stretches in seconds that are known to be lost.
            progress: Called with the fraction done.
            seed: Which versions a stochastic model makes; see `restore`.
            candidate: Number of the version.
            noise: The version's noise vector itself.
            strength: How much of the restoration is mixed in, 0 to 1; see `restore`.
            keep_below: Hz below which the recording stays as it is.

        Raises:
            AudioFileError: if the source cannot be read or the target cannot be written.
            UsageError: if the target is the source, its format cannot hold the sound, or the gaps,
                the choice of a version, `strength` or `keep_below` cannot be used.
            RestorationAborted: if `progress` returned `False`.
        """
        # Here and not above: importing the package's classes must not load an audio library.
        from tfrestore.audio.reading import AudioReader
        from tfrestore.audio.resampling import resampled_length
        from tfrestore.audio.writing import AudioWriter

        noise = self.choose_noise(seed, candidate, noise)
        check_not_the_source(source, target)
        with AudioReader(source) as reader:
            info = reader.info
            subtype = subtype or matching_subtype(info, target)
            rate = sample_rate or info.sample_rate
            frames = resampled_length(info.frames, info.sample_rate, rate)
            blocks = reader.blocks(info.sample_rate)
            if rate != info.sample_rate:
                blocks = _resampled(blocks, info.sample_rate, rate, info.channels)
            writer = AudioWriter(target, rate, info.channels, subtype=subtype, frames=frames)
            with writer:
                for block in self.restore_blocks(
                    blocks,
                    rate,
                    info.channels,
                    frames,
                    gaps=gaps,
                    progress=progress,
                    noise=noise,
                    strength=strength,
                    keep_below=keep_below,
                ):
                    writer.write(block)
        if writer.clipped_samples:
            logger.warning(
                "%s: samples beyond full scale were clipped (%d); a WAV of the subtype float keeps "
                "them.",
                target,
                writer.clipped_samples,
            )

    def restore_blocks(
        self,
        blocks: Iterable[np.ndarray],
        sample_rate: int,
        channels: int,
        samples: int,
        gaps: Stretches | None = None,
        progress: Progress | None = None,
        noise: np.ndarray | None = None,
        strength: float = 1.0,
        keep_below: float | None = None,
    ) -> Iterator[np.ndarray]:
        """Restores a recording that comes in blocks, each `(channels, n)` with any `n`.

        `samples` is the expected length, for `progress` only; `noise` is what `choose_noise`
        returns, by default the first version's. Yields blocks that add up to the input's length.
        See `restore` for the other arguments.
        """
        noise = self.choose_noise(noise=noise)
        gaps = self._check_gaps(gaps)
        if not 0 <= strength <= 1:
            raise UsageError(f"a strength of {strength} cannot be mixed: give 0 to 1.")
        if keep_below is not None and not keep_below > 0:
            raise UsageError(f"{keep_below} Hz: what is to be kept is below more than 0 Hz.")
        waiting: deque[np.ndarray] = deque()
        corrections = self._corrections(
            _remember(_silenced(blocks, gaps, sample_rate), waiting),
            sample_rate,
            channels,
            gaps,
            noise,
        )
        if keep_below is not None:
            corrections = high_passed(corrections, keep_below, sample_rate, channels)
        finished = 0
        for correction in corrections:
            original = _take(waiting, correction.shape[1], channels)
            # A resampled correction may be longer than the recording by less than one sample.
            correction = correction[:, : original.shape[1]]
            yield original + np.float32(strength) * correction
            finished += correction.shape[1]
            # The end is told when it is reached: files hold fewer or more samples than promised.
            if finished < samples:
                _report(progress, finished / samples)
        rest = _take(waiting, sum(block.shape[1] for block in waiting), channels)
        if rest.shape[1]:
            yield rest
        _report(progress, 1.0)

    def choose_noise(
        self, seed: int | None = None, candidate: int | None = None, noise=None
    ) -> np.ndarray | None:
        """The noise vector of a version; see `restore` for the arguments.

        Returns:
            float32 `(noise_size,)`; `None` for a model that makes one version only.

        Raises:
            UsageError: if there is no such version, or both ways of choosing one are used.
        """
        named = seed is not None or candidate is not None
        if not self.is_stochastic:
            if named or noise is not None:
                raise UsageError(
                    f"{type(self).__name__} makes one version of a recording; leave out the seed, "
                    "the candidate and the noise."
                )
            return None
        if noise is None:
            return candidate_noise(
                DEFAULT_SEED if seed is None else seed,
                DEFAULT_CANDIDATE if candidate is None else candidate,
                self.noise_size,
            )
        if named:
            raise UsageError("noise is given: leave out the seed and the candidate, or the noise.")
        return checked_noise(noise, self.noise_size)

    def _check_gaps(self, gaps: Stretches | None) -> list[tuple[float, float]]:
        gaps = [] if gaps is None else [(float(start), float(stop)) for start, stop in gaps]
        if gaps and not self.accepts_gaps:
            raise UsageError(f"{type(self).__name__} fills no gaps; leave out their positions.")
        for start, stop in gaps:
            if not 0 <= start < stop < math.inf:
                raise UsageError(
                    f"a gap from {start} to {stop} s is none: give its start and then its stop."
                )
        return gaps

    def _corrections(self, blocks, sample_rate, channels, gaps, noise):
        """What to add to the recording, in blocks at its own rate."""
        resampled = sample_rate != self.sample_rate
        if resampled:
            blocks = _resampled(blocks, sample_rate, self.sample_rate, channels)
        stream = self.open_stream(channels)
        if stream is not None:
            corrections = _streamed_corrections(blocks, stream)
        else:
            corrections = self._chunked_corrections(blocks, channels, gaps, noise)
        if resampled:
            corrections = _resampled(corrections, self.sample_rate, sample_rate, channels)
        return corrections

    def _chunked_corrections(self, blocks, channels, gaps, noise):
        """What to add at the model's own rate, of a model that restores windows."""
        rows, plan = channels, self.chunk_plan
        correct = functools.partial(self._correct, noise=noise)
        if gaps:
            # The marks travel beside the channels: what is lost is not what the samples there say,
            # but the correction is the difference to that.
            rows, correct = channels + 1, functools.partial(self._correct_marked, noise=noise)
            plan = dataclasses.replace(plan, batch_size=rows)
            blocks = _with_marks(blocks, gaps, self.sample_rate)
        corrections = process_in_chunks(blocks, correct, plan, rows, self.concurrent_windows)
        return (block[:channels] for block in corrections)

    def _correct_marked(self, rows: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
        """`_correct` of a chunk's channels, of which the last row says what is lost."""
        waveform, marks = rows[:-1], rows[-1]
        return np.concatenate([self._correct(waveform, noise, marks > 0), marks[None]])

    def _correct(
        self, waveform: np.ndarray, noise: np.ndarray | None, lost: np.ndarray | None = None
    ) -> np.ndarray:
        """Restored minus input of the channels of a chunk `(channels, samples)`."""
        if not waveform.any():
            # Silence stays silence, whatever a network would make of it.
            return np.zeros_like(waveform)
        marked = waveform if lost is None else np.where(lost, np.float32(np.nan), waveform)
        arguments = [marked]
        if noise is not None:
            arguments.append(np.tile(noise, (len(marked), 1)))
        return self.restore_window(*arguments) - waveform


def checked_waveform(waveform) -> np.ndarray:
    """A recording given as an array, as float32.

    Args:
        waveform: float array `(samples,)` or `(channels, samples)`.

    Returns:
        float32 of the same shape.

    Raises:
        ValueError: if it has another rank or dtype, more channels than `MOST_CHANNELS` or none, or
            samples that are not finite.
    """
    waveform = np.asarray(waveform)
    if not np.issubdtype(waveform.dtype, np.floating):
        raise ValueError(
            "Argument `waveform` must be of floats with full scale 1; divide integers by their "
            f"full scale. Received: dtype {waveform.dtype}"
        )
    if waveform.ndim not in (1, 2) or not 1 <= len(np.atleast_2d(waveform)) <= MOST_CHANNELS:
        raise ValueError(
            "Argument `waveform` must have the shape (samples,) or (channels, samples) with 1 "
            f"to {MOST_CHANNELS} channels. Received: shape {waveform.shape}"
        )
    waveform = waveform.astype(np.float32)
    if not np.isfinite(waveform).all():
        raise ValueError("Argument `waveform` has samples that are NaN or infinite.")
    return waveform


def _streamed_corrections(blocks, stream):
    """What to add at the model's own rate, of a model that carries its state on."""
    waiting: deque[np.ndarray] = deque()
    for block in blocks:
        waiting.append(block)
        restored = stream.process(block)
        yield restored - _take(waiting, restored.shape[1], restored.shape[0])
    rest = stream.finish()
    yield rest - _take(waiting, rest.shape[1], rest.shape[0])


def _report(progress: Progress | None, fraction: float) -> None:
    if progress and progress(fraction) is False:
        raise RestorationAborted("stopped by the progress callback")


def _silenced(blocks, stretches: Stretches, sample_rate: int):
    """The blocks with zeros in the given stretches of seconds."""
    position = 0
    for block in blocks:
        marks = _marks(stretches, sample_rate, position, block.shape[1])
        yield np.where(marks, np.float32(0.0), block) if marks.any() else block
        position += block.shape[1]


def _with_marks(blocks, stretches: Stretches, sample_rate: int):
    """The blocks with one more row, 1 in the stretches and 0 elsewhere."""
    position = 0
    for block in blocks:
        marks = _marks(stretches, sample_rate, position, block.shape[1])
        yield np.concatenate([block, marks[None].astype(np.float32)])
        position += block.shape[1]


def _marks(stretches: Stretches, sample_rate: int, position: int, samples: int) -> np.ndarray:
    """Which of the samples from `position` on lie in one of the stretches."""
    marks = np.zeros(samples, bool)
    for start, stop in stretches:
        first, last = (round(edge * sample_rate) - position for edge in (start, stop))
        marks[max(0, first) : max(0, last)] = True
    return marks


def _remember(blocks, waiting: deque):
    """The blocks, each also put at the end of `waiting`."""
    for block in blocks:
        waiting.append(block)
        yield block


def _take(waiting: deque, samples: int, channels: int) -> np.ndarray:
    """The first samples of a queue of blocks, fewer where it holds fewer."""
    taken = [np.zeros((channels, 0), np.float32)]
    while samples > 0 and waiting:
        block = waiting.popleft()
        taken.append(block[:, :samples])
        if block.shape[1] > samples:
            waiting.appendleft(block[:, samples:])
        samples -= taken[-1].shape[1]
    return np.concatenate(taken, axis=1)


def _resampled(blocks, sample_rate: int, target_sample_rate: int, channels: int):
    """The blocks at another rate; memory does not grow."""
    from tfrestore.audio.resampling import StreamResampler

    resampler = StreamResampler(sample_rate, target_sample_rate, channels)
    for block in blocks:
        yield resampler.process(block)
    yield resampler.finish()
