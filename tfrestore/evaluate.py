"""`python -m tfrestore.evaluate`: scores a model on degraded music and prints the paper's table."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from tfrestore.command_line import make_parser, run_command, seed
from tfrestore.errors import InputError, UsageError

EXAMPLES = """\
  tfrestore evaluate --model runs/first --data demo
  tfrestore evaluate --model runs/first --data ~/test --degradation gaps:waveform"""

logger = logging.getLogger(__name__)


def make_evaluate_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    from tfrestore.data.degradation import DESCRIPTION

    parser = make_parser(
        "evaluate",
        "Degrade music, restore it, and score every patch of 128 by 128 against the original:\n"
        "PSNR and NRMSE before and after, by genre. The table is printed and written as CSV and\n"
        "JSON. "
        "Numbers of different degradations are not comparable.",
        EXAMPLES,
    )
    parser.add_argument(
        "--model", "--preset", dest="model", required=True, help="folder of a trained run"
    )
    parser.add_argument("--data", required=True, help="folder of intact music, fma:FOLDER, or demo")
    parser.add_argument("--degradation", default="gaps:frames", help=DESCRIPTION)
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test", "all"),
        help="tracks to score; by default test of the demo corpus, of FMA, of a folder with splits "
        "and of the music the model was trained on, and all of any other folder",
    )
    parser.add_argument("--seed", type=seed, default=0, help="decides the gaps")
    parser.add_argument(
        "--out",
        metavar="STEM",
        help="tables are STEM.csv and STEM.json; by default in the model's folder",
    )
    return parser


def evaluate(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    from tfrestore.data.catalogue import open_catalogue
    from tfrestore.data.degradation import parse_degradation
    from tfrestore.models.presets import find_preset

    degradation = parse_degradation(options.degradation)
    find_preset(options.model)
    catalogue = open_catalogue(options.data)
    split = options.split or default_split(options.data, options.model)
    tracks = catalogue.require(split)

    from tfrestore.evaluation.scoring import score_track
    from tfrestore.evaluation.tables import format_table, make_table, write_tables
    from tfrestore.progress import progress_bars
    from tfrestore.restorer import Restorer

    restorer = Restorer.from_preset(options.model)
    scores, failed = [], []
    with progress_bars() as bars:
        bar = bars.add_task("scoring", total=len(tracks), note="")
        for index, track in enumerate(tracks):
            bars.update(bar, note=track.path.name)
            try:
                scored = score_track(
                    restorer,
                    track,
                    degradation,
                    options.seed,
                    index,
                    progress=lambda done, i=index: bars.update(bar, completed=i + done),
                )
                scores.append((track.genre, scored))
            except UsageError:
                # A bit rate that does not exist, say, is no fault of the track.
                raise
            except InputError as error:
                logger.error("%s", error)
                failed.append(track)
            bars.update(bar, completed=index + 1)
    if not scores:
        raise InputError(f"{options.data}: none of its {len(tracks)} tracks could be scored.")
    heading = {
        "model": options.model,
        "data": options.data,
        "split": split,
        "degradation": degradation.name,
        "seed": options.seed,
    }
    rows = make_table(scores)
    stem = options.out or f"{options.model}/evaluation-{degradation.name.replace(':', '-')}"
    try:
        paths = write_tables(Path(stem), heading, rows)
    except OSError as error:
        raise UsageError(f"{stem}: cannot be written ({error.strerror}); choose --out.") from None
    print(", ".join(f"{name}: {value}" for name, value in heading.items()))
    print(format_table(rows))
    print("written to", " and ".join(map(str, paths)))
    if failed:
        names = ", ".join(str(track.path) for track in failed)
        print(f"tfrestore evaluate: {len(failed)} tracks failed: {names}", file=sys.stderr)
    return 1 if failed else 0


def default_split(data: str, model: str) -> str:
    """The split that is scored when none is asked for; see the option's help."""
    from tfrestore.models.presets import find_preset

    trained_on = find_preset(model).config.get("catalogue")
    has_splits = data == "demo" or data.startswith("fma:") or (Path(data) / "test").is_dir()
    same = trained_on is not None and Path(trained_on).resolve() == Path(data).resolve()
    return "test" if has_splits or same or (Path(data) / "fma_metadata").is_dir() else "all"


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_evaluate_parser(), evaluate, arguments)


if __name__ == "__main__":
    sys.exit(main())
