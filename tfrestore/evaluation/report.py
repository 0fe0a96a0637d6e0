"""What `evaluate` leaves in its folder: scores, tables, pictures, and a page that shows them.

scores.csv has a line per recording, system and version; table.csv and table.json the means by
degradation, genre and system, those of the degradation `mp3` being over all bit rates; table.json
also what the systems cost; comparisons.csv the t-tests; report.md all of it for a person.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from tfrestore.complete_files import write_text
from tfrestore.evaluation.cells import heading_in_words
from tfrestore.evaluation.efforts import Cost
from tfrestore.evaluation.figures import bit_rate_picture, profile_picture, violin_picture
from tfrestore.evaluation.layout import format_markdown
from tfrestore.evaluation.measurement import Measurement
from tfrestore.evaluation.rulers import RULERS
from tfrestore.evaluation.tables import Comparison, Row, Tables
from tfrestore.pictures import write_picture


def write_report(
    folder: Path,
    heading: Mapping[str, object],
    measurements: Sequence[Measurement],
    tables: Tables,
    costs: Sequence[Cost],
    spectrograms: Mapping[str, np.ndarray],
) -> Path:
    """Writes every file, each complete or not at all.

    The heading (models, data, seed, ...) is repeated on every line of the tables, so that numbers
    of different evaluations cannot be mixed up when files are joined.

    Args:
        folder: Where to; created if need be.
        heading: What was evaluated and how.
        measurements: The scores.
        tables: The tables made of them.
        costs: What the systems cost.
        spectrograms: Pictures by the recording's name.

    Returns:
        The path of report.md.

    Raises:
        OSError: if something cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "scores.csv", _csv([_line(each) for each in measurements]))
    words = heading_in_words(heading)
    records = [asdict(row) for row in tables.every_row]
    names = [field.name for field in fields(Row)]
    write_text(folder / "table.csv", _csv([{**words, **each} for each in records], names))
    tests = [asdict(each) for each in tables.comparisons]
    names = [field.name for field in fields(Comparison)]
    write_text(folder / "comparisons.csv", _csv([{**words, **each} for each in tests], names))
    everything = {
        **heading,
        "rows": _finite(records),
        "comparisons": _finite(tests),
        "costs": [asdict(each) for each in costs],
    }
    write_text(folder / "table.json", json.dumps(everything, indent=2))
    pictures = {
        "bit-rates.png": bit_rate_picture(tables.rows),
        "violins.png": violin_picture(measurements),
        "frequency-profiles.png": profile_picture(measurements),
        **{
            f"spectrograms-{number}.png": picture
            for number, picture in enumerate(spectrograms.values(), start=1)
        },
    }
    pictures = {name: picture for name, picture in pictures.items() if picture is not None}
    for name, picture in pictures.items():
        write_picture(folder / name, picture)
    path = folder / "report.md"
    write_text(path, format_markdown(words, tables, costs, pictures))
    return path


def _line(measurement: Measurement) -> dict:
    """A recording's line in scores.csv; a number that does not exist is `nan` with the reason."""
    scores = measurement.scores
    reasons = {scores[name].reason: [] for name in scores if scores[name].reason}
    for name, score in scores.items():
        if score.reason:
            reasons[score.reason].append(name)
    return {
        **asdict(measurement.subject),
        **{name: scores[name].summary for name in RULERS if name in scores},
        "undefined": "; ".join(f"{', '.join(names)}: {why}" for why, names in reasons.items()),
        "notes": "; ".join(measurement.notes),
    }


def _csv(records: list[dict], names: Sequence[str] = ()) -> str:
    columns = list(dict.fromkeys(name for record in records for name in record)) or list(names)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _finite(records: list[dict]) -> list[dict]:
    """JSON has no NaN and no infinity."""
    return [
        {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in record.items()
        }
        for record in records
    ]
