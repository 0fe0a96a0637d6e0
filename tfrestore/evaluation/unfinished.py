"""What an interrupted evaluation had measured already, so that the next one goes on from there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tfrestore.complete_files import remove_unfinished, write_text
from tfrestore.evaluation.measurement import Effort, Measurement, Subject
from tfrestore.evaluation.scoring import Score


class UnfinishedEvaluation:
    """A file of measurements, a line each, that is removed when the evaluation has ended.

    Measurements of an evaluation of anything else, or of files that have changed since, are not
    used.

    Args:
        folder: Where the evaluation's results go; created if need be.
        settings: What is measured and how, JSON values.
        files: What it is measured on, models included; a change of size or time is noticed.

    Raises:
        OSError: if the file cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object], files: Iterable[Path]):
        self.path = folder / ".unfinished.jsonl"
        self._identity = _identity(settings, files)
        self._found = {each.subject: each for each in self._read()}
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder)
        # Written anew: the last line of a run that was killed may be cut off.
        lines = [self._identity, *map(_to_json, self._found.values())]
        write_text(self.path, "".join(f"{line}\n" for line in lines))
        self._file = self.path.open("a", encoding="utf-8")

    @property
    def measurements(self) -> list[Measurement]:
        """What was measured before."""
        return list(self._found.values())

    def lacks(self, subject: Subject) -> bool:
        """Whether something has still to be measured."""
        return subject not in self._found

    def add(self, measurement: Measurement) -> None:
        """Keeps a measurement."""
        self._file.write(_to_json(measurement) + "\n")
        self._file.flush()

    def close(self, finished: bool) -> None:
        """Ends the work; the file stays only if there is something to go on from."""
        self._file.close()
        if finished:
            self.path.unlink()

    def _read(self) -> list[Measurement]:
        try:
            identity, *lines = self.path.read_text("utf-8").splitlines()
        except (FileNotFoundError, ValueError):
            return []
        if identity != self._identity:
            return []
        measurements = []
        for line in lines:
            try:
                measurements.append(_from_json(line))
            except ValueError:
                # The line that was being written when the process was killed.
                break
        return measurements


def _identity(settings: Mapping[str, object], files: Iterable[Path]) -> str:
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16)
    for path in files:
        status = os.stat(path)
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="replace"))
    return digest.hexdigest()


def _to_json(measurement: Measurement) -> str:
    profiles = measurement.profiles
    return json.dumps(
        {
            "subject": asdict(measurement.subject),
            "scores": {
                name: [score.values.tolist(), score.reason]
                for name, score in measurement.scores.items()
            },
            "notes": measurement.notes,
            "profiles": profiles and [profile.tolist() for profile in profiles],
            "effort": measurement.effort and asdict(measurement.effort),
        }
    )


def _from_json(line: str) -> Measurement:
    fields = json.loads(line)
    profiles, effort = fields["profiles"], fields["effort"]
    return Measurement(
        Subject(**fields["subject"]),
        {name: Score(np.array(values), why) for name, (values, why) in fields["scores"].items()},
        tuple(fields["notes"]),
        profiles and tuple(np.array(profile) for profile in profiles),
        effort and Effort(**effort),
    )
