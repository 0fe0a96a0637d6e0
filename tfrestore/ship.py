"""`python -m tfrestore.ship`: a trained run as a preset with weights, facts and a model card."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tfrestore.command_line import make_parser, positive_number, run_command
from tfrestore.errors import UsageError

EXAMPLES = """\
  tfrestore evaluate --model runs/a --data ~/valid --degradation mp3:24 mp3:64 --out runs/a/scores
  tfrestore ship runs/a --evaluation runs/a/scores --name apollo_small \\
      --description "An Apollo for MP3s, 2.4 million parameters" \\
      --music "87 openly licensed tracks" --sources SOURCES.md"""


def make_ship_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = make_parser(
        "ship",
        "Turn a run of train and its evaluation into a preset that can be shipped: weights (in\n"
        "float16 where no score changes by it), checksum, scores, what it improves, training\n"
        "configuration and course, and a model card that says all of it. Without --out it becomes\n"
        "part of the package, for maintainers; with --out it is a folder to share, or to upload\n"
        "to the Hugging Face hub. It restores the evaluation's music up to three times.",
        EXAMPLES,
    )
    parser.add_argument("run", metavar="RUN", help="the folder that train wrote with --out")
    parser.add_argument(
        "--evaluation",
        required=True,
        metavar="FOLDER",
        help="what evaluate --model RUN wrote with --out",
    )
    parser.add_argument("--name", required=True, help="what the preset is to be called")
    parser.add_argument("--description", required=True, help="one line: what it is and what for")
    parser.add_argument("--music", required=True, help="what it was trained on, in a phrase")
    parser.add_argument(
        "--sources",
        metavar="FILE",
        help="Markdown on whose music that is, and under which licences",
    )
    parser.add_argument("--license", default="Apache-2.0", help="licence of the weights")
    parser.add_argument("--hardware", help="what it was trained on; by default this machine")
    parser.add_argument(
        "--earlier",
        action="append",
        default=[],
        metavar="RUN",
        help="a run whose weights it began with; may be repeated, the first one first",
    )
    parser.add_argument(
        "--earlier-hardware",
        action="append",
        default=[],
        metavar="TEXT",
        help="what that was trained on; by default that was not recorded",
    )
    parser.add_argument(
        "--remark",
        default="",
        help="what config.yaml does not say of how the weights were made, in sentences",
    )
    parser.add_argument(
        "--failure",
        dest="failures",
        action="append",
        default=[],
        metavar="SENTENCE",
        help="a known failure beside those that the scores tell; may be repeated",
    )
    parser.add_argument(
        "--would-help", default="", help="what it would take to do better, in sentences"
    )
    parser.add_argument("--out", metavar="FOLDER", help="another place than the package")
    parser.add_argument("--data", help="the evaluation's music, where it is not where it was")
    parser.add_argument(
        "--seconds", type=positive_number, help="of each recording; by default as in the evaluation"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a preset that is there")
    return parser


def ship(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    from tfrestore.progress import progress_bars
    from tfrestore.shipping import Statements
    from tfrestore.shipping import ship as ship_run

    statements = Statements(
        description=options.description,
        music=options.music,
        sources=_read(options.sources),
        license=options.license,
        hardware=options.hardware,
        earlier_hardware=options.earlier_hardware,
        remark=options.remark,
        failures=options.failures,
        would_help=options.would_help,
    )
    with progress_bars() as bars:
        bar = bars.add_task("measuring", total=None, note="")
        folder = ship_run(
            options.run,
            options.evaluation,
            options.name,
            statements,
            earlier=options.earlier,
            out=options.out,
            data=options.data,
            seconds=options.seconds,
            overwrite=options.overwrite,
            note=lambda done, total, track: bars.update(
                bar, completed=done, total=total, note=track
            ),
        )
    print(folder)
    return 0


def _read(path: str | None) -> str:
    if path is None:
        return ""
    try:
        return Path(path).read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"--sources {path}: cannot be read ({reason}).") from None


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_ship_parser(), ship, arguments)


if __name__ == "__main__":
    sys.exit(main())
