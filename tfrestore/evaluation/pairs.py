"""Finding, in folders, the recordings that belong together: `evaluate --pairs`.

Any tool's output can be scored so. A file belongs to the reference of the same name below its
folder, whatever its suffix: `rock/song.mp3` to `rock/song.flac`. Where there is none of just that
name, those that begin with it and a dot do, `song.restored.wav` for one; several of them are taken
for several versions by a stochastic system.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfrestore.audio.reading import mean_bit_rate, read_info
from tfrestore.command_line import named_folders
from tfrestore.data.tracks import Track, audio_files, open_folder, track_name
from tfrestore.errors import InputError, UsageError
from tfrestore.evaluation.measurement import (
    DEGRADED,
    Excerpt,
    Measurement,
    Recording,
    Subject,
)
from tfrestore.evaluation.workers import Failure, Task, measure_all

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pairing:
    """A reference and every system's versions of it.

    Attributes:
        track: The reference.
        versions: Files by the system's name; `DEGRADED` is the input that the others had.
        missing: Why a system has no version, by its name.
    """

    track: Track
    versions: dict[str, list[Path]]
    missing: dict[str, str]

    @property
    def degradation(self) -> str:
        """`mp3:` and the bit rate where the degraded file is an MP3, and otherwise `pairs`.

        Raises:
            AudioFileError: if the MP3 cannot be read.
        """
        return _mp3_name(self.versions[DEGRADED][0]) if DEGRADED in self.versions else "pairs"


class PairsEvaluation:
    """The evaluation of files that any tool wrote.

    Args:
        folders: Of the originals, of the degraded recordings, and of every system's restorations.
        choices: Metrics, keys of `tfrestore.evaluation.rulers.CHOICES`.
        seconds: How much of an original's middle to take, and the same stretch of its versions;
            `None` for all.

    Raises:
        UsageError: if the folders cannot be used.
    """

    default_folder = "evaluation"
    genre_name = "genre"
    #: Nothing is known of tools that wrote files.
    parameters: Mapping[str, int] = {}

    def __init__(self, folders: Sequence[str], choices: Sequence[str], seconds: float | None):
        if len(folders) < 2:
            raise UsageError("--pairs: give the folder of the originals and one or more to score.")
        self.source = folders[0]
        degraded, *restored = folders[1:]
        self.systems = {
            DEGRADED: Path(degraded.removeprefix(f"{DEGRADED}=")),
            **named_folders(restored, "--pairs", reserved=[DEGRADED]),
        }
        self.systems = {name: Path(folder) for name, folder in self.systems.items()}
        self.pairings = find_pairings(folders[0], self.systems)
        self.choices = choices
        self.seconds = seconds
        self.heading = {
            "originals": folders[0],
            "systems": {name: str(folder) for name, folder in self.systems.items()},
            "seconds": "all" if seconds is None else seconds,
        }

    @property
    def files(self) -> list[Path]:
        """Everything that is read."""
        paths = [pairing.track.path for pairing in self.pairings]
        return paths + [
            p for each in self.pairings for some in each.versions.values() for p in some
        ]

    @property
    def count(self) -> int:
        """How many versions there are to measure."""
        return sum(len(paths) for each in self.pairings for paths in each.versions.values())

    @property
    def failures(self) -> list[Failure]:
        """The versions that are missing."""
        return [
            Failure(Subject(each.track.track_id, each.track.genre, "pairs", system), reason)
            for each in self.pairings
            for system, reason in each.missing.items()
        ]

    def outcomes(
        self,
        jobs: int,
        wanted: Callable[[Subject], bool],
        watch: Callable[[Iterable[Task | Failure]], Iterable[Task | Failure]],
    ) -> Iterator[Measurement | Failure]:
        """Measures every version.

        Args:
            jobs: Processes.
            wanted: Which versions are still to be measured.
            watch: Is shown the versions and passes them on.
        """
        return measure_all(watch(self._tasks(wanted)), self.choices, jobs)

    def _tasks(self, wanted: Callable[[Subject], bool]) -> Iterator[Task | Failure]:
        for pairing in self.pairings:
            track = pairing.track
            excerpt = Excerpt.middle(track.duration, self.seconds)
            try:
                degradation = pairing.degradation
            except InputError:
                # Whoever reads the file itself says what is wrong with it.
                degradation = "pairs"
            for system, paths in pairing.versions.items():
                for number, path in enumerate(paths, start=1):
                    subject = Subject(track.track_id, track.genre, degradation, system, number)
                    if wanted(subject):
                        reference = Recording(path=track.path, excerpt=excerpt)
                        yield Task(subject, reference, Recording(path=path, excerpt=excerpt))


def find_pairings(reference: str, systems: dict[str, Path]) -> list[Pairing]:
    """Every reference with the files that belong to it.

    What belongs to no reference is said in the log.

    Args:
        reference: The folder of intact recordings.
        systems: Folders by the systems' names.

    Raises:
        UsageError: if a folder is missing or holds no audio, or no name occurs in two of them.
    """
    below = _existing(Path(reference))
    tracks = {track_name(track.path.relative_to(below)): track for track in open_folder(below)}
    versions: dict[str, dict[str, list[Path]]] = {name: {} for name in tracks}
    missing: dict[str, dict[str, str]] = defaultdict(dict)
    for system, folder in systems.items():
        found = _assign(tracks, _existing(folder))
        for name in tracks:
            exact = [path for path in found[name] if track_name(path.relative_to(folder)) == name]
            if len(exact) > 1:
                listed = " and ".join(map(str, exact))
                missing[name][system] = f"{listed} both belong to {name}; keep one of them."
            elif found[name]:
                versions[name][system] = exact or found[name]
            else:
                missing[name][system] = f"{folder} has no file for {tracks[name].path}."
    if not any(versions.values()):
        raise UsageError(
            f"{', '.join(map(str, systems.values()))}: no file has the name of one in {reference}; "
            "files belong together that are called the same below their folders."
        )
    return [Pairing(track, versions[name], missing[name]) for name, track in tracks.items()]


def _assign(tracks: dict[str, Track], folder: Path) -> dict[str, list[Path]]:
    """The files of a folder by the reference's name each belongs to."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in audio_files(folder):
        name = full = track_name(path.relative_to(folder))
        while name not in tracks and "." in name.rpartition("/")[2]:
            name = name.rpartition(".")[0]
        if name in tracks:
            found[name].append(path)
        else:
            logger.warning("%s: there is no reference named %s; left out.", path, full)
    return found


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise UsageError(f"--pairs: {folder} {what}; give folders of recordings.")
    if not audio_files(folder):
        raise UsageError(f"--pairs: {folder} holds no audio files; give folders of recordings.")
    return folder


def _mp3_name(path: Path) -> str:
    """`mp3:` and the mean bit rate of the frames, the usual one where it is close to that."""
    if path.suffix.lower() != ".mp3":
        return "pairs"
    duration = read_info(path).duration
    return f"mp3:{mean_bit_rate(path, duration)}"
