"""Up to which frequency a recording is the truth: above it an encoder cut off what there was.

Much openly licensed music was kept as Ogg Vorbis or AAC once, which end between 15 and 20.5 kHz. A
model that learns from such an original above its edge learns that nothing is there.
`tfrestore.losses.agreeing_above` leaves that part out of the losses.
"""

from __future__ import annotations

from pathlib import Path

from tfrestore.audio.spectral_edges import SpectralEdges
from tfrestore.data.excerpts import read_frames
from tfrestore.data.tracks import Track

# An edge falls by so much; the music's own treble falls by less within 0.7 kHz.
_SHARP_FALL = 25.0

# The spectrum begins to fall so far below the middle of the edge.
_SLOPE_HERTZ = 300.0

# The middle of a recording is looked at.
_SECONDS = 20


class Bandwidths:
    """Finds the bandwidths of tracks, each once. Threads may share this."""

    def __init__(self):
        self._known: dict[Path, float] = {}

    def find(self, track: Track) -> float:
        """The bandwidth of a track in Hz: where its spectrum ends as if cut off.

        Of one that does not end so, it is half of its sample rate.

        Raises:
            AudioFileError: if it cannot be decoded.
        """
        if track.path not in self._known:
            # Two threads may come here with the same track; both find the same.
            self._known[track.path] = _bandwidth(track)
        return self._known[track.path]


def _bandwidth(track: Track) -> float:
    frames = min(track.frames, _SECONDS * track.sample_rate)
    waveform, sample_rate = read_frames(track, (track.frames - frames) // 2, frames)
    edges = SpectralEdges(sample_rate)
    edges.add(waveform)
    edge = edges.find()
    if edge.frequency is None or edge.fall < _SHARP_FALL:
        return sample_rate / 2
    return edge.frequency - _SLOPE_HERTZ
