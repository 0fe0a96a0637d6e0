"""`python -m tfrestore.prepare`: makes the pairs that a training needs, once."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tfrestore.command_line import available_cores, make_parser, positive_integer, run_command
from tfrestore.errors import UsageError

EXAMPLES = """\
  tfrestore prepare --data ~/music --out pairs --degradation mp3:16
  tfrestore prepare --data ~/music --out pairs --degradation mp3:16 mp3:32 mp3:64 --jobs 8
  tfrestore train --preset sr_gan_16k --data pairs --out runs/a"""


def make_prepare_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = make_parser(
        "prepare",
        "Make pairs of music and its MP3 once, so that training does not have to encode them as\n"
        "it goes. Tracks are split first, then cut into excerpts that overlap by half. The same\n"
        "command again goes on where it was interrupted, and makes damaged shards anew.",
        EXAMPLES,
    )
    parser.add_argument("--data", required=True, help="folder of music, fma:FOLDER, or demo")
    parser.add_argument("--out", required=True, metavar="SHARDS", help="folder for the pairs")
    parser.add_argument(
        "--degradation",
        nargs="+",
        required=True,
        metavar="mp3:KBIT_PER_SECOND",
        help="one or more bit rates; each takes little room",
    )
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test", "all"),
        help="tracks to take; by default train and validation",
    )
    parser.add_argument(
        "--excerpt-samples",
        type=positive_integer,
        default=173568,
        metavar="N",
        help="length of the excerpts; the default is 336 frames of 2048 samples with a hop of 512",
    )
    parser.add_argument(
        "--sample-rate",
        type=positive_integer,
        default=44100,
        metavar="HZ",
        help="bring the music to this rate before encoding it",
    )
    parser.add_argument(
        "--jobs", type=positive_integer, help="processor cores to use; by default all"
    )
    return parser


def prepare(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    bit_rates = _bit_rates(options.degradation)

    from tfrestore.data.catalogue import open_catalogue
    from tfrestore.data.mp3_pairs import Mp3Pairs
    from tfrestore.data.preparation import prepare_pairs
    from tfrestore.progress import progress_bars

    pairs = Mp3Pairs(bit_rates, options.excerpt_samples, options.sample_rate)
    catalogue = open_catalogue(options.data)
    splits = _splits(catalogue, options.split)
    folder = Path(options.out)
    with progress_bars() as bars:
        bar = bars.add_task("pairs", total=None, note="")

        def show(done: int, total: int, note: str) -> None:
            bars.update(bar, completed=done, total=total, note=note)

        outcome = prepare_pairs(
            catalogue, splits, pairs, folder, options.jobs or available_cores(), show
        )
    print(f"{folder}: {outcome.pairs} pairs, {outcome.size / 1e6:.0f} MB")
    if outcome.unreadable:
        names = ", ".join(map(str, outcome.unreadable))
        print(
            f"tfrestore prepare: {len(outcome.unreadable)} of {outcome.tracks} recordings could "
            f"not be read, or not all of them: {names}",
            file=sys.stderr,
        )
    return 1 if outcome.unreadable else 0


def _bit_rates(names: list[str]) -> tuple[int, ...]:
    """The bit rates of the degradations that the user named."""
    from tfrestore.data.degradation import Mp3, parse_degradation

    degradations = [parse_degradation(name) for name in names]
    for degradation in degradations:
        if not isinstance(degradation, Mp3):
            raise UsageError(
                f"--degradation {degradation.name}: only pairs with MP3s are prepared (mp3:16, "
                "say); gaps cost nothing while training."
            )
    return tuple(dict.fromkeys(degradation.kbit_per_second for degradation in degradations))


def _splits(catalogue, asked: str | None) -> list[str]:
    """The splits to prepare; those that were asked for have tracks."""
    from tfrestore.data.catalogue import SPLITS

    if asked in (None, "all"):
        wanted = SPLITS if asked else ("train", "validation")
        if asked is None:
            catalogue.require("train")
        return [split for split in wanted if catalogue.split(split)]
    catalogue.require(asked)
    return [asked]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_prepare_parser(), prepare, arguments)


if __name__ == "__main__":
    sys.exit(main())
