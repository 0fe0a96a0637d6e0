"""Songs that come with their stems, as tracks among other tracks of a catalogue.

A song is a track like any other, namely its mixture, so that whoever takes music takes it; whoever
mixes stems, or scores them, finds them in it. MUSDB18-HQ has the mixture in a file. MoisesDB has
not: there it is the sum of the stems, as its own reader defines it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tfrestore.data.tracks import Track

#: The kinds of content of Apollo's Table II, as genres of songs and of their stems.
MIXED = "mixed content"
VOCALS = "vocals"
SINGLE = "single instrument"


@dataclass(frozen=True)
class Stem(Track):
    """What one instrument plays.

    Attributes:
        instrument: Which, as its file or folder says.
    """

    instrument: str


@dataclass(frozen=True)
class Song(Track):
    """A song with its stems.

    Attributes:
        path: The file with its mixture, or where there is none the song's folder; in any case no
            other song has it.
        has_mixture: Whether there is such a file; otherwise the mixture is the sum of the stems,
            at the highest of their sample rates and as long as the longest.
        stems: Its stems, at least one; two where there is no file with the mixture.
    """

    has_mixture: bool
    stems: tuple[Stem, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read for the mixture."""
        return (self.path,) if self.has_mixture else tuple(stem.path for stem in self.stems)

    def below(self, name: str) -> Song:
        """The same song, its stems renamed like itself."""
        stems = tuple(stem.below(name) for stem in self.stems)
        return replace(super().below(name), stems=stems)


def with_stems(tracks: Iterable[Track]) -> list[Track]:
    """The tracks, each song followed by its stems."""
    found = []
    for track in tracks:
        found.append(track)
        if isinstance(track, Song):
            found += track.stems
    return found


def with_own_files(tracks: Iterable[Track]) -> list[Track]:
    """The tracks that have a file each: in place of a song without a mixture, its stems."""
    found = []
    for track in tracks:
        found += track.stems if isinstance(track, Song) and not track.has_mixture else [track]
    return found
