"""What is wrong with a recording, by looking at it: how it was encoded, where it ends, its gaps.

    >>> inspect_file("old.mp3")
    Inspection(..., kbit_per_second=64, edge=SpectralEdge(frequency=11197.3, ...), gaps=())

A file is read once, in constant memory. The numbers that tell an MP3 that was copied into another
format from intact music were found on 285 recordings and stems of the openly licensed music that
the presets are trained on; `benchmarks/inspection.py` prints how often they are right.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfrestore.audio.framing import ChunkPlan, process_in_chunks
from tfrestore.audio.reading import AudioInfo, AudioReader, mean_bit_rate
from tfrestore.audio.resampling import checked_sample_rate
from tfrestore.audio.spectral_edges import SpectralEdge, SpectralEdges

logger = logging.getLogger(__name__)

#: How libsndfile calls the codings that lose something, and people.
LOSSY_CODINGS = {
    "MPEG_LAYER_III": "MP3",
    "MPEG_LAYER_II": "MP2",
    "VORBIS": "Vorbis",
    "OPUS": "Opus",
}

#: Seconds that a gap lasts at most, as GapDetection has it.
LONGEST_GAP = 0.4

# Music falls by so much where an encoder cuts it off, and LAME does from 16 to 128 kbit/s in here.
_SHARP_FALL = 30.0
_LOWEST_CUT, _HIGHEST_CUT = 3000.0, 17200.0

# Where so few Hz are left above an edge, part of the fall is out of sight: LAME cuts 64 kbit/s off
# at 11 kHz and lowers its rate to 24 kHz. There less of a fall tells, beside holes that are plain.
_LITTLE_ROOM = 1500.0
_FALL_IN_LITTLE_ROOM = 15.0
_PLAIN_HOLES = 0.003

# The least shares of holes and of deep holes, with the highest frequency of an edge they are for:
# of few bits many are left out, but where next to nothing is left there is little beside them.
_LEAST_HOLES = ((5000.0, 0.0, 0.001), (14000.0, 0.002, 0.0005), (_HIGHEST_CUT, 0.0015, 0.0002))

# An MP3 that was made of another is told up to here, which is some 80 kbit/s.
_HIGHEST_CUT_OF_MP3 = 14000.0

# Of long recordings, so much is analysed, in seconds that are evenly spread.
_MOST_SECONDS = 300

# Gaps are looked for in pieces of so many seconds.
_PIECE_SECONDS = 10.0


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        info: What the file's header says.
        kbit_per_second: The mean bit rate of an MP3; `None` for other files.
        edge: Where the spectrum ends.
        gaps: Stretches in seconds that are silent in the middle of music, of any channel.
    """

    info: AudioInfo
    kbit_per_second: int | None
    edge: SpectralEdge
    gaps: tuple[tuple[float, float], ...] = ()

    @property
    def codec(self) -> str | None:
        """The lossy codec that the file itself names: "MP3", "Vorbis", ...; `None` for others."""
        return LOSSY_CODINGS.get(self.info.subtype)

    @property
    def cutoff(self) -> float | None:
        """Hz above which nothing is left although there is room; `None` where there is no such."""
        edge, least = self.edge, _SHARP_FALL
        if edge.frequency is None:
            return None
        room = self.info.sample_rate / 2 - edge.frequency
        holes = min(edge.holes, edge.deep_holes)
        if room < _LITTLE_ROOM and holes >= _PLAIN_HOLES and edge.frequency <= _HIGHEST_CUT:
            least = _FALL_IN_LITTLE_ROOM
        return edge.frequency if edge.fall >= least else None

    @property
    def was_mp3(self) -> bool:
        """Whether it sounds like an MP3 of 128 kbit/s or less that was decoded and saved anew.

        It says no rather than yes by mistake: what is merely dull, or was kept at a low sample
        rate, has no holes in its spectrogram. An MP3 has holes of its own, so one that was made of
        another is told up to some 80 kbit/s only.
        """
        highest = _HIGHEST_CUT_OF_MP3 if self.codec == "MP3" else _HIGHEST_CUT
        if self.cutoff is None or not _LOWEST_CUT <= self.cutoff <= highest:
            return False
        holes, deep_holes = next(least for top, *least in _LEAST_HOLES if self.cutoff <= top)
        return self.edge.holes >= holes and self.edge.deep_holes >= deep_holes

    def __str__(self) -> str:
        """What was found, in a phrase."""
        kind = self.codec or self.info.format
        if self.kbit_per_second is not None:
            kind = f"{kind} of {self.kbit_per_second} kbit/s"
        found = [kind]
        if self.cutoff is not None:
            found.append(f"nothing above {self.cutoff / 1000:.1f} kHz")
        if self.codec != "MP3" and self.was_mp3:
            found.append(f"holes in {100 * self.edge.holes:.1f} % of the spectrogram, as in an MP3")
        if self.gaps:
            lost = sum(stop - start for start, stop in self.gaps)
            count = len(self.gaps)
            found.append(f"{count} silent gap{'s' * (count > 1)} ({1000 * lost:.0f} ms in all)")
        return ", ".join(found)


def inspect_file(path: str | os.PathLike) -> Inspection:
    """Looks at a file of sound.

    Args:
        path: A file that `tfrestore.audio` reads.

    Raises:
        AudioFileError: if it cannot be read.
    """
    with AudioReader(path) as reader:
        info = reader.info
        rate = mean_bit_rate(path, info.duration) if info.format == "MP3" else None
        found = inspect_blocks(
            reader.blocks(info.sample_rate), info.sample_rate, info.channels, info.frames
        )
    return dataclasses.replace(found, info=info, kbit_per_second=rate)


def lacks_gaps(path: str | os.PathLike, name: str, restorer, gaps: Sequence = ()) -> bool:
    """Whether a model that was named has nothing to do in a file, which a line then says.

    One that fills gaps changes nothing where there are none.

    Args:
        path: The file.
        name: What the line calls the model.
        restorer: A `RecordingRestorer`, or a class of such.
        gaps: Those that the caller knows of.

    Raises:
        AudioFileError: if the file cannot be read.
    """
    if gaps or not restorer.accepts_gaps or inspect_file(path).gaps:
        return False
    logger.info(
        "%s: no gaps were found, and %s changes nothing else, so nothing is written; --gap "
        "START-STOP names one that is not silent.",
        path,
        name,
    )
    return True


def inspect_waveform(waveform: np.ndarray, sample_rate: int) -> Inspection:
    """Looks at a waveform, float32 `(samples,)` or `(channels, samples)`.

    Raises:
        UsageError: if the sample rate is not a positive whole number.
    """
    sample_rate = checked_sample_rate(sample_rate)
    waveform = np.atleast_2d(np.asarray(waveform, np.float32))
    blocks = (
        waveform[:, start : start + sample_rate]
        for start in range(0, waveform.shape[1], sample_rate)
    )
    return inspect_blocks(blocks, sample_rate, *waveform.shape)


def inspect_blocks(blocks, sample_rate: int, channels: int, samples: int) -> Inspection:
    """Looks at a recording that comes in blocks of a second, float32 `(channels, up to rate)`.

    Args:
        blocks: The recording.
        sample_rate: Hz.
        channels: How many there are.
        samples: How many are expected; of a long recording not every second is analysed.
    """
    edges = SpectralEdges(sample_rate)
    step = max(1, round(samples / sample_rate / _MOST_SECONDS))

    def watched() -> Iterator[np.ndarray]:
        for number, block in enumerate(blocks):
            if number % step == 0:
                edges.add(block)
            yield block

    gaps = tuple(find_gaps(watched(), sample_rate, channels))
    info = AudioInfo(Path(), sample_rate, channels, samples, "waveform", "FLOAT")
    return Inspection(info, None, edges.find(), gaps)


def find_gaps(blocks, sample_rate: int, channels: int) -> Iterator[tuple[float, float]]:
    """The gaps of a recording that comes in blocks, in seconds, as `GapDetection` finds them.

    Keras is loaded and asked where there is any silence at all beside music.
    """
    detection = _Detection(sample_rate)
    plan = ChunkPlan(
        chunk_samples=round(_PIECE_SECONDS * sample_rate),
        context_samples=detection.context_samples,
        batch_size=channels,
        reflect=False,
    )
    position, begun = 0, None
    for marks in process_in_chunks(blocks, detection, plan, channels):
        lost = np.concatenate([[begun is not None], marks.max(axis=0) > 0])
        for place in np.flatnonzero(lost[1:] != lost[:-1]):
            if begun is None:
                begun = position + place
            else:
                yield begun / sample_rate, (position + place) / sample_rate
                begun = None
        position += marks.shape[1]
    if begun is not None:
        yield begun / sample_rate, position / sample_rate


class _Detection:
    """`GapDetection` of channels `(channels, samples)`, 1 where they are lost and else 0."""

    # Those of GapDetection, by which a piece is passed over without loading Keras: a gap holds so
    # many seconds whose peaks lie so far below the loudest of its surroundings.
    _SILENCE_DB, _SHORTEST = 66.0, 0.003

    def __init__(self, sample_rate: int):
        self.sample_rate = sample_rate
        self._layer = None
        # Of GapDetection's own context, computed without loading it.
        block = max(1, sample_rate // 1000)
        self.context_samples = (int(LONGEST_GAP * sample_rate) // block + 1 + 4 + 3 + 500) * block
        self._block = block
        self.shortest = max(1, int(self._SHORTEST * sample_rate / block))

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        if not self._may_hold_gaps(waveform):
            return np.zeros_like(waveform)
        from keras import ops

        if self._layer is None:
            from tfrestore.layers.gap_detection import GapDetection

            self._layer = GapDetection(self.sample_rate)
        return ops.convert_to_numpy(self._layer(waveform)).astype(np.float32)

    def _may_hold_gaps(self, waveform: np.ndarray) -> bool:
        blocks = waveform.shape[1] // self._block
        peaks = np.abs(waveform[:, : blocks * self._block])
        peaks = peaks.reshape(len(waveform), blocks, self._block).max(axis=2)
        loudest = peaks.max(axis=1, keepdims=True, initial=0.0)
        silent = (peaks <= loudest * 10 ** (-self._SILENCE_DB / 20)) & (loudest > 1e-4)
        runs = np.lib.stride_tricks.sliding_window_view(
            np.pad(silent, [(0, 0), (0, self.shortest)]), self.shortest, axis=1
        )
        return bool(runs.all(axis=2).any())
