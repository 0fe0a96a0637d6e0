"""The source activity detector: where in a stem anything is played.

A stem of a song is silent for much of it, and a model learns nothing from silence. This is the
detector of BSRNN (Luo & Yu, "Music source separation with band-split RNN", 2022), with the numbers
that open implementations of it share: a stem is cut into chunks, ten per excerpt; a chunk is active
when its mean power reaches a threshold, which is the 15 % quantile of the stem's own chunks, but at
least a floor; an excerpt is active when more than half of its chunks are. Here excerpts begin at
every chunk and not at every fifth, and the floor is a power and not an energy, so that it means the
same at every sample rate and length.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfrestore.data.excerpts import length_of, read_frames
from tfrestore.data.songs import with_stems
from tfrestore.data.tracks import Track
from tfrestore.errors import AudioFileError

CHUNKS_PER_EXCERPT = 10
QUANTILE = 0.15
ACTIVE_SHARE = 0.5

#: Mean power below which a chunk is silent: -60 dB of full scale.
FLOOR = 1e-6

# So much is decoded at a time, however long a track is.
_BLOCK_SECONDS = 60

_log = logging.getLogger("tfrestore.data")


@dataclass(frozen=True)
class SourceActivity:
    """Finds the active excerpts of tracks.

    Args:
        samples: Samples per excerpt.
        sample_rate: Hz at which they are counted.
    """

    samples: int
    sample_rate: int

    @property
    def chunk(self) -> int:
        """Samples per chunk."""
        return max(1, self.samples // CHUNKS_PER_EXCERPT)

    def begins(self, track: Track) -> np.ndarray:
        """First samples of the active excerpts of a track, int64, ascending; none if it is silent.

        Raises:
            AudioFileError: if it cannot be decoded.
        """
        return active_excerpts(self._powers(track)) * self.chunk

    def _powers(self, track: Track) -> np.ndarray:
        """Mean power of every chunk, over all channels, float64."""
        if not track.frames:
            return np.zeros(1)
        length = length_of(track, self.sample_rate)
        edges = np.arange(0, max(1, length), self.chunk) * track.sample_rate // self.sample_rate
        edges = np.append(np.unique(edges), track.frames)
        powers, per_block = [], max(1, _BLOCK_SECONDS * self.sample_rate // self.chunk)
        for first in range(0, len(edges) - 1, per_block):
            inner = edges[first : first + per_block + 1]
            waveform, _ = read_frames(track, int(inner[0]), int(inner[-1] - inner[0]))
            # A header may promise a little more than there is.
            square = np.zeros(inner[-1] - inner[0])
            square[: waveform.shape[1]] = np.mean(np.square(waveform, dtype=np.float64), axis=0)
            powers.append(np.add.reduceat(square, inner[:-1] - inner[0]) / np.diff(inner))
        return np.concatenate(powers)


class ActiveSources:
    """Remembers the active excerpts of tracks, and names those that have none.

    Every file is decoded as a whole once, when it is first asked for. Threads may share this.

    Args:
        tracks: The tracks that may be asked for; stems of songs are among them.
        samples: Samples per excerpt.
        sample_rate: Hz at which they are counted.
    """

    def __init__(self, tracks: Sequence[Track], samples: int, sample_rate: int):
        self.activity = SourceActivity(samples, sample_rate)
        self._beside: dict[Path, list[Track]] = defaultdict(list)
        for track in with_stems(tracks):
            self._beside[track.path.parent].append(track)
        self._known: dict[Path, np.ndarray] = {}
        self._told: set[Path] = set()
        self._lock = threading.Lock()

    def begins(self, track: Track) -> np.ndarray:
        """First samples of the active excerpts of a track; none where it is of no use.

        What is silent or cannot be decoded is named in the log, once; a folder in which all is
        silent is named instead of its files.
        """
        found = self._find(track)
        if not len(found):
            self._tell_silent(track)
        return found

    def _find(self, track: Track) -> np.ndarray:
        if track.path not in self._known:
            # Two threads may come here with the same track; both find the same.
            try:
                self._known[track.path] = self.activity.begins(track)
            except AudioFileError as error:
                self._known[track.path] = np.zeros(0, np.int64)
                self._tell(track.path, f"left out: {error}")
        return self._known[track.path]

    def _tell_silent(self, track: Track) -> None:
        if track.path in self._told:
            return
        folder = track.path.parent
        beside = self._beside[folder]
        if len(beside) > 1 and not any(len(self._find(each)) for each in beside):
            self._tell(
                folder, f"left out: {folder}: all {len(beside)} recordings in it are silent."
            )
            self._told.update(each.path for each in beside)
        else:
            self._tell(track.path, f"left out: {track.path} is silent, or nearly so.")

    def _tell(self, path: Path, message: str) -> None:
        with self._lock:
            if path in self._told:
                return
            self._told.add(path)
        _log.warning("%s", message)


def active_excerpts(powers: np.ndarray) -> np.ndarray:
    """Which chunks begin an active excerpt.

    Args:
        powers: Mean power of every chunk of a track, `(chunks,)`.

    Returns:
        Numbers of chunks, int64, ascending: none of those too near to the end for a whole excerpt.
        A track that is shorter than one, one stroke of a drum say, need not fill half of it: there
        0 is the answer where any chunk is active.
    """
    active = powers >= max(FLOOR, np.quantile(powers, QUANTILE))
    if len(active) < CHUNKS_PER_EXCERPT:
        return np.flatnonzero([active.any()])
    counts = np.convolve(active, np.ones(CHUNKS_PER_EXCERPT, int), "valid")
    return np.flatnonzero(counts > ACTIVE_SHARE * CHUNKS_PER_EXCERPT)
