"""The evaluation of models: music is degraded, restored by each of them, and measured."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tfrestore.command_line import named_folders
from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.degradation import parse_degradation
from tfrestore.data.songs import Song, Stem, with_stems
from tfrestore.data.tracks import Catalogue, Track
from tfrestore.errors import UsageError
from tfrestore.evaluation.measurement import DEGRADED, Measurement, Subject
from tfrestore.evaluation.restorations import Restorations
from tfrestore.evaluation.spectrogram_gaps import measure_gapped_patches
from tfrestore.evaluation.workers import Failure, Task, measure_all
from tfrestore.models.presets import METADATA_FILE, find_preset
from tfrestore.restorer import Restorer


class ModelsEvaluation:
    """The evaluation of one model or more on music.

    Args:
        models: Folders of trained runs, each `FOLDER` or `NAME=FOLDER`.
        data: What `open_catalogue` takes.
        split: Of the catalogue; `None` chooses, see `default_split`.
        degradations: Their names; `None` for what the first model is made for.
        choices: Metrics, keys of `tfrestore.evaluation.rulers.CHOICES`.
        seed: Decides where gaps are, and what stochastic models make.
        candidates: How many versions a stochastic model makes of each recording.
        seconds: How much of a recording's middle to take; `None` for all.
        mono: Whether to mix the music to one channel first.
        sample_rate: Hz that the music is brought to first; `None` for the models' own.
        genres: Genres, or kinds of content, to take; `None` for all.

    Raises:
        UsageError: if a model, the data or a degradation cannot be used.
    """

    failures: Sequence[Failure] = ()

    def __init__(
        self,
        models: Sequence[str],
        data: str,
        split: str | None,
        degradations: Sequence[str] | None,
        choices: Sequence[str],
        *,
        seed: int,
        candidates: int,
        seconds: float | None,
        mono: bool,
        sample_rate: int | None,
        genres: Sequence[str] | None = None,
    ):
        # What is quickly found to be wrong is told before TensorFlow is loaded.
        folders = named_folders(models, "--model", reserved=[DEGRADED])
        presets = {name: find_preset(folder) for name, folder in folders.items()}
        self.degradations = [parse_degradation(name) for name in degradations or ()]
        catalogue = open_catalogue(data)
        split = split or default_split(catalogue, data, next(iter(folders.values())))
        # Stems are what is in a song: Apollo's Table II is by the kind of content.
        self.tracks = _of_genres(with_stems(catalogue.require(split)), genres, catalogue.source)
        has_stems = any(isinstance(track, (Song, Stem)) for track in self.tracks)
        self.genre_name = "content" if has_stems else "genre"
        self.source = data
        self.choices = choices
        self.restorations = Restorations(
            {name: Restorer.from_preset(folder) for name, folder in folders.items()},
            seed=seed,
            candidates=candidates,
            seconds=seconds,
            mono=mono,
            sample_rate=sample_rate,
        )
        first = next(iter(self.restorations.restorers.values()))
        self.degradations = self.degradations or [parse_degradation(first.default_degradation)]
        for degradation in self.degradations:
            for track in self.tracks:
                degradation.check(track)
        self._model_files = [
            preset.folder / METADATA_FILE for preset in presets.values() if preset.folder
        ]
        self.heading = {
            "models": dict(folders),
            "data": data,
            "split": split,
            "degradations": [each.name for each in self.degradations],
            "seed": seed,
            "sample_rate": self.restorations.rate,
            "channels": "mono" if mono else "as they are",
            "seconds": "all" if seconds is None else seconds,
        }
        if genres:
            self.heading["genres"] = list(genres)
        if any(each.is_stochastic for each in self.restorations.restorers.values()):
            self.heading["candidates"] = candidates
        names = "+".join(re.sub(r"[^\w.=-]+", "-", each.name) for each in self.degradations)
        only = next(iter(presets.values())) if len(presets) == 1 else None
        # What comes with the package, or from the hub's cache, is nobody's folder.
        is_own = only is not None and only.folder == Path(only.name)
        beside = only.name if is_own else "."
        self.default_folder = f"{beside}/evaluation-{names}"

    @property
    def systems(self) -> list[str]:
        """The columns of tables, in their order."""
        return [DEGRADED, *self.restorations.restorers]

    @property
    def parameters(self) -> dict[str, int]:
        """How many numbers of each model are trained."""
        return {
            name: sum(math.prod(weight.shape) for weight in restorer.network.trainable_weights)
            for name, restorer in self.restorations.restorers.items()
        }

    @property
    def files(self) -> list[Path]:
        """Everything that is read; a model's metadata holds the checksum of its weights."""
        return [*self._model_files, *(path for track in self.tracks for path in track.files)]

    @property
    def count(self) -> int:
        """How many versions there are to measure."""
        return sum(
            len(self.restorations.subjects(track, degradation))
            for track in self.tracks
            for degradation in self.degradations
        )

    def outcomes(
        self,
        jobs: int,
        wanted: Callable[[Subject], bool],
        watch: Callable[[Iterable[Task | Failure]], Iterable[Task | Failure]],
    ) -> Iterator[Measurement | Failure]:
        """Degrades, restores and measures.

        Args:
            jobs: Processes that measure; the restoring is done in this one.
            wanted: Which versions are still to be measured.
            watch: Is shown the versions and passes them on.
        """
        for degradation in self.degradations:
            if degradation.is_spectral:
                yield from measure_gapped_patches(
                    self.restorations, self.tracks, degradation, self.choices, wanted
                )
            else:
                # With one process, it restores and scores in turn.
                restorations = replace(self.restorations, scoring_processes=jobs * (jobs > 1))
                tasks = restorations.all_tasks(self.tracks, degradation, wanted)
                yield from measure_all(watch(tasks), self.choices, jobs)


def _of_genres(tracks: list[Track], genres: Sequence[str] | None, source: str) -> list[Track]:
    there = sorted({track.genre for track in tracks})
    for genre in genres or ():
        if genre not in there:
            raise UsageError(
                f"--genre {genre}: {source} has none of it to score; it has {', '.join(there)}."
            )
    return [track for track in tracks if not genres or track.genre in genres]


def default_split(catalogue: Catalogue, data: str, model: str) -> str:
    """The split that is scored when none is asked for.

    It is `test` where the music has splits or the model was trained on it, and `all` elsewhere.
    """
    trained_on = find_preset(model).config.get("catalogue")
    same = trained_on is not None and Path(trained_on).resolve() == Path(data).resolve()
    has_test = catalogue.has_splits and len(catalogue.split("test")) > 0
    return "test" if same or has_test else "all"
