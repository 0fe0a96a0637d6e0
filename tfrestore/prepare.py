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
  tfrestore prepare --data maestro:~/maestro-v3.0.0 --out pairs --degradation instruments:0:4
  tfrestore train --preset sr_gan_16k --data pairs --out runs/a"""


def make_prepare_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = make_parser(
        "prepare",
        "Make pairs of music and its MP3 once, so that training does not have to encode them as\n"
        "it goes. Tracks are split first, then cut into excerpts that overlap by half. Of MIDI\n"
        "files, render the recordings of both instruments. The same command again goes on where\n"
        "it was interrupted, and makes anew what is damaged.",
        EXAMPLES,
    )
    parser.add_argument(
        "--data", required=True, help="folder of music, fma:FOLDER, midi:FOLDER, or demo"
    )
    parser.add_argument("--out", required=True, metavar="SHARDS", help="folder for the pairs")
    parser.add_argument(
        "--degradation",
        nargs="+",
        required=True,
        metavar="KIND",
        help="mp3:KBIT_PER_SECOND, one or more, each of which takes little room; or one "
        "instruments:INPUT:TARGET, which may end in options such as :drums=true:sound_font=FILE",
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
        help="length of excerpts with MP3s; the default is 336 frames of 2048 samples with a hop "
        "of 512",
    )
    parser.add_argument(
        "--sample-rate",
        type=positive_integer,
        default=44100,
        metavar="HZ",
        help="bring the music to this rate before encoding it; instruments have 44100",
    )
    parser.add_argument(
        "--jobs", type=positive_integer, help="processor cores to use; by default all"
    )
    return parser


def prepare(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    kinds = _degradations(options.degradation)

    from tfrestore.data.catalogue import open_catalogue
    from tfrestore.data.degradation import Instruments
    from tfrestore.progress import progress_bars

    catalogue = open_catalogue(options.data)
    splits = _splits(catalogue, options.split)
    jobs = options.jobs or available_cores()
    is_midi = isinstance(kinds[0], Instruments)
    for split in splits:
        for track in catalogue.split(split):
            kinds[0].check(track)
    with progress_bars() as bars:
        bar = bars.add_task("seconds" if is_midi else "pairs", total=None, note="")

        def show(done: float, total: float, note: str) -> None:
            bars.update(bar, completed=done, total=total, note=note)

        prepare_them = _prepare_instruments if is_midi else _prepare_mp3s
        unreadable, tracks = prepare_them(catalogue, splits, kinds, options, jobs, show)
    if unreadable:
        names = ", ".join(map(str, unreadable))
        print(
            f"tfrestore prepare: {len(unreadable)} of {tracks} recordings could not be read, or "
            f"not all of them: {names}",
            file=sys.stderr,
        )
    return 1 if unreadable else 0


def _prepare_mp3s(catalogue, splits, kinds, options, jobs, show):
    """Writes shards of MP3s; returns the files that could not be read, and of how many."""
    from tfrestore.data.mp3_pairs import Mp3Pairs
    from tfrestore.data.preparation import prepare_pairs

    bit_rates = tuple(dict.fromkeys(each.kbit_per_second for each in kinds))
    pairs = Mp3Pairs(bit_rates, options.excerpt_samples, options.sample_rate)
    outcome = prepare_pairs(catalogue, splits, pairs, Path(options.out), jobs, show)
    print(f"{options.out}: {outcome.pairs} pairs, {outcome.size / 1e6:.0f} MB")
    return outcome.unreadable, outcome.tracks


def _prepare_instruments(catalogue, splits, kinds, options, jobs, show):
    """Writes recordings of both instruments; returns as `_prepare_mp3s`."""
    from tfrestore.data.rendered_pairs import prepare_recordings

    folder = Path(options.out)
    outcome = prepare_recordings(catalogue, splits, kinds[0].swap, folder, jobs, show)
    print(
        f"{folder}: {outcome.pairs} pairs of recordings, {outcome.seconds / 60:.0f} minutes, "
        f"{outcome.size / 1e6:.0f} MB"
    )
    return outcome.unreadable, outcome.tracks


def _degradations(names: list[str]) -> list:
    """The degradations that the user named: bit rates of MP3s, or one pair of instruments."""
    from tfrestore.data.degradation import Instruments, Mp3, parse_degradation

    kinds = [parse_degradation(name) for name in names]
    for kind in kinds:
        if isinstance(kind, Instruments) and len(kinds) > 1:
            raise UsageError(
                f"--degradation {kind.name}: instruments are prepared on their own; give each its "
                "own --out."
            )
        if not isinstance(kind, Mp3 | Instruments):
            raise UsageError(
                f"--degradation {kind.name}: only pairs with MP3s (mp3:16, say) and instruments "
                "are prepared; gaps and bandwidth cost little while training."
            )
    return kinds


def _splits(catalogue, asked: str | None) -> list[str]:
    """The splits to prepare; those that were asked for have tracks."""
    from tfrestore.data.tracks import SPLITS

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
