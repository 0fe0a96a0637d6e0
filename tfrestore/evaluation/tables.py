"""Tables of scores: per genre and overall, on the screen, as CSV and as JSON.

The columns are those of Serra et al.'s Tables 2, 3 and 5: PSNR and NRMSE of the degraded and of the
restored patches, mean over patches, and the gain in PSNR. Infinite PSNR, of patches in which
nothing was lost or everything came back, are left out of the means and counted, as the paper
states.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tfrestore.evaluation.scoring import PatchScores
from tfrestore.models.presets import write_text


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        genre: The genre, or `"all"`.
        tracks: How many recordings.
        patches: How many patches have finite PSNR before and after.
        left_out: How many have not.
        psnr_degraded: Mean, dB.
        psnr_restored: Mean, dB.
        psnr_gain: Mean of the difference, dB.
        psnr_gain_deviation: Its standard deviation over patches, dB.
        nrmse_degraded: Mean over all patches that have one.
        nrmse_restored: The same of the restored patches.
    """

    genre: str
    tracks: int
    patches: int
    left_out: int
    psnr_degraded: float
    psnr_restored: float
    psnr_gain: float
    psnr_gain_deviation: float
    nrmse_degraded: float
    nrmse_restored: float


def make_row(genre: str, scores: list[PatchScores]) -> Row:
    """The line of a genre from the scores of its recordings."""
    before, after, error_before, error_after = (
        np.concatenate([getattr(each, name) for each in scores])
        for name in ("psnr_degraded", "psnr_restored", "nrmse_degraded", "nrmse_restored")
    )
    finite = np.isfinite(before) & np.isfinite(after)
    gain = after[finite] - before[finite]
    return Row(
        genre=genre,
        tracks=len(scores),
        patches=int(finite.sum()),
        left_out=int((~finite).sum()),
        psnr_degraded=_mean(before[finite]),
        psnr_restored=_mean(after[finite]),
        psnr_gain=_mean(gain),
        psnr_gain_deviation=float(np.std(gain)) if len(gain) else float("nan"),
        nrmse_degraded=_mean(error_before[np.isfinite(error_before)]),
        nrmse_restored=_mean(error_after[np.isfinite(error_after)]),
    )


def make_table(scores: list[tuple[str, PatchScores]]) -> list[Row]:
    """A line per genre, sorted, and one over all, from (genre, scores) of each recording."""
    genres = sorted({genre for genre, _ in scores})
    rows = [make_row(genre, [s for name, s in scores if name == genre]) for genre in genres]
    return [*rows, make_row("all", [s for _, s in scores])]


def format_table(rows: list[Row]) -> str:
    """The table as text, in fixed columns."""
    width = max(len("genre"), *(len(row.genre) for row in rows))
    lines = [
        f"{'genre':{width}s}  tracks  patches      PSNR (dB)            gain        NRMSE",
        f"{'':{width}s}                   degraded  restored            degraded  restored",
    ]
    for row in rows:
        lines.append(
            f"{row.genre:{width}s}  {row.tracks:6d}  {row.patches:7d}  {row.psnr_degraded:8.2f}  "
            f"{row.psnr_restored:8.2f}  {row.psnr_gain:+7.2f}   {row.nrmse_degraded:8.4f}  "
            f"{row.nrmse_restored:8.4f}"
        )
    left_out = rows[-1].left_out
    if left_out:
        lines.append(f"{left_out} patches with infinite PSNR (nothing lost there) are left out.")
    return "\n".join(lines)


def write_tables(stem: Path, heading: dict, rows: list[Row]) -> list[Path]:
    """Writes `STEM.csv` and `STEM.json`, each complete or not at all; returns their paths.

    The heading (model, degradation, seed, data) is repeated on every line of the CSV, so that
    numbers of different degradations cannot be mixed up when files are joined.
    """
    records = [asdict(row) for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*heading, *records[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**heading, **record} for record in records)
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("csv", "json")]
    write_text(paths[0], text.getvalue())
    write_text(paths[1], json.dumps({**heading, "rows": _finite_or_null(records)}, indent=2))
    return paths


def _finite_or_null(records):
    """JSON has no NaN."""
    return [
        {
            name: None if isinstance(value, float) and np.isnan(value) else value
            for name, value in r.items()
        }
        for r in records
    ]


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
