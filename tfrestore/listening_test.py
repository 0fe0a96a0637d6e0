"""`python -m tfrestore.listening_test`: makes a listening test's page and reports its results."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tfrestore.command_line import (
    HelpFormatter,
    make_parser,
    positive_integer,
    run_command,
    seed,
)
from tfrestore.errors import UsageError

EXAMPLES = """\
  tfrestore listening_test make --systems original=wav mp3=mp3 ours=restored --out page/
  tfrestore listening_test make --mushra --reference wav --systems mp3=mp3 ours=out --out page/
  tfrestore listening_test report results/*.json --out table"""

MAKE_DESCRIPTION = """\
Write a folder with one page that any web server can serve, or that is opened from the disk.
Recordings belong together that have the same name below their system's folder, whatever their
suffix. Of each track the same stretch is cut of every system, at random (--seed) out of the
louder half, faded in and out over 5 ms, and given the same loudness (ITU-R BS.1770); where
that would clip, the whole excerpt is made softer. Different lengths: what the shortest has.
Different sample rates: the highest, with --mushra the reference's. Mono is put on both channels.

MOS (default): five levels from very bad to excellent, one excerpt at a time in random order; it
can be rated once it has been heard to its end. --mushra (ITU-R BS.1534-3): all systems, the
reference and a 3.5 kHz low-pass anchor under letters beside the labelled reference, sliders
from 0 to 100, looping, switching at the same position; a page can be left once every signal has
been heard for a second and rated. The anchor keeps the level that the filter leaves it."""

REPORT_DESCRIPTION = """\
Print means with standard deviation and 95 % confidence interval (t distribution) for every
system, and paired t-tests between systems, out of the files that listeners sent. A file that
cannot be used is named, and the others count; of one session the latest counts. MUSHRA: listeners
are left out, and named, who give the hidden reference less than 90 in more than 15 % of the
items (or the 7 kHz anchor more than 90), as ITU-R BS.1534-3 has it."""

logger = logging.getLogger(__name__)


def make_listening_test_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = make_parser(
        "listening_test",
        "Make a listening test as a web page, and report what listeners answered.",
        EXAMPLES,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="make|report")
    make = commands.add_parser(
        "make",
        help="write the page",
        description=MAKE_DESCRIPTION,
        formatter_class=HelpFormatter,
    )
    make.add_argument(
        "--systems",
        nargs="+",
        required=True,
        metavar="NAME=FOLDER",
        help="what is compared: a name for the tables and a folder of recordings each",
    )
    make.add_argument("--out", required=True, metavar="FOLDER", help="the page's folder")
    make.add_argument("--mushra", action="store_true", help="a MUSHRA test instead of MOS")
    make.add_argument(
        "--reference", metavar="FOLDER", help="the original recordings, with --mushra"
    )
    make.add_argument(
        "--mid-anchor",
        action="store_true",
        help="add the 7 kHz anchor, which ITU-R BS.1534-3 wants beside that of 3.5 kHz",
    )
    make.add_argument("--seconds", type=_seconds, default=8.0, help="length of an excerpt, 1 to 60")
    make.add_argument(
        "--excerpts-per-track",
        type=positive_integer,
        default=1,
        metavar="N",
        help="how many of each track",
    )
    make.add_argument("--seed", type=seed, default=0, help="decides which stretches are taken")
    make.add_argument(
        "--loudness", type=_loudness, default=-23.0, metavar="LUFS", help="of the excerpts"
    )
    make.add_argument("--title", default="Listening test", help="heading of the page")
    make.add_argument(
        "--post-url",
        type=_post_url,
        metavar="URL",
        help="where the page sends results, as JSON by POST; without it listeners download them",
    )
    make.add_argument("--overwrite", action="store_true", help="replace a page that is there")
    report = commands.add_parser(
        "report",
        help="make tables of the results",
        description=REPORT_DESCRIPTION,
        formatter_class=HelpFormatter,
    )
    report.add_argument(
        "results", nargs="+", metavar="FILE", help="results files, or folders of them"
    )
    report.add_argument(
        "--out",
        metavar="STEM",
        help="also write STEM.csv, STEM.t-tests.csv, STEM.ratings.csv, STEM.json and STEM.md, or "
        "in a folder report.csv ...",
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 60:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 60")
    return seconds


def _loudness(text: str) -> float:
    loudness = float(text)
    if not -60 <= loudness <= 0 or math.isnan(loudness):
        raise argparse.ArgumentTypeError(f"{text} is not between -60 and 0")
    return loudness


def _post_url(text: str) -> str:
    parts = urlsplit(text)
    is_absolute = parts.scheme in ("http", "https") and parts.netloc
    if not is_absolute and (parts.scheme or parts.netloc or not parts.path):
        raise argparse.ArgumentTypeError(f"{text!r} is no http(s) address")
    return text


def make(options: argparse.Namespace) -> int:
    """Writes the page of parsed options; returns the exit code."""
    from tfrestore.listening.page_folder import (
        HIDDEN_REFERENCE,
        MOST_MUSHRA_SIGNALS,
        RESERVED_NAMES,
        ListeningTest,
        check_target,
        write_page,
    )
    from tfrestore.listening.tracks import System, existing_folder, match_tracks, parse_systems
    from tfrestore.progress import progress_bars

    if options.mushra and not options.reference:
        raise UsageError("--mushra needs --reference FOLDER, the original recordings.")
    if not options.mushra and (options.reference or options.mid_anchor):
        which = "--reference" if options.reference else "--mid-anchor"
        raise UsageError(f"{which} belongs to --mushra; leave it out or add --mushra.")
    systems = parse_systems(options.systems, RESERVED_NAMES if options.mushra else ())
    if options.mushra:
        folder = existing_folder(options.reference, "--reference")
        systems.append(System(HIDDEN_REFERENCE, folder))
    out = Path(options.out)
    check_target(out, options.overwrite)
    test = ListeningTest(
        tracks=match_tracks(systems),
        systems=tuple(system.name for system in systems),
        mushra=options.mushra,
        mid_anchor=options.mid_anchor,
        seconds=options.seconds,
        excerpts_per_track=options.excerpts_per_track,
        seed=options.seed,
        loudness=options.loudness,
        title=options.title,
        post_url=options.post_url,
    )
    signals = len(test.systems) + len(test.anchors)
    if options.mushra and signals > MOST_MUSHRA_SIGNALS:
        logger.warning(
            "%d signals at once are more than the %d that ITU-R BS.1534-3 recommends at most.",
            signals,
            MOST_MUSHRA_SIGNALS,
        )
    with progress_bars() as bars:
        bar = bars.add_task("tracks", total=len(test.tracks), note="")
        summary = write_page(
            test,
            out,
            options.overwrite,
            lambda done, name: bars.update(bar, completed=done, note=name),
        )
    print(out / "index.html")
    print(
        f"{summary.excerpts} excerpts, {summary.signals} signals to rate, "
        f"{summary.seconds / 60:.1f} minutes of sound"
    )
    if summary.failed:
        print(
            f"tfrestore listening_test: {len(summary.failed)} of {len(test.tracks)} tracks failed: "
            f"{', '.join(summary.failed)}",
            file=sys.stderr,
        )
    return 1 if summary.failed else 0


def report(options: argparse.Namespace) -> int:
    """Prints and writes the tables of parsed options; returns the exit code."""
    from tfrestore.listening.report import format_report, make_report, write_report
    from tfrestore.listening.results import collect_results, find_results

    results, broken = collect_results(find_results(options.results))
    made = make_report(results)
    print(format_report(made))
    if options.out:
        try:
            paths = write_report(made, options.out)
        except OSError as error:
            raise UsageError(
                f"--out {options.out}: cannot be written ({error.strerror}); choose another place."
            ) from None
        print("written to", ", ".join(map(str, paths)))
    if broken:
        print(
            f"tfrestore listening_test: {len(broken)} files could not be used: "
            f"{', '.join(map(str, broken))}",
            file=sys.stderr,
        )
    return 1 if broken else 0


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    commands = {"make": make, "report": report}
    return run_command(
        make_listening_test_parser(), lambda options: commands[options.command](options), arguments
    )


if __name__ == "__main__":
    sys.exit(main())
