"""`python -m tfrestore.degrade`: damages a recording on purpose, to try a model on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tfrestore.command_line import make_parser, run_command, seed
from tfrestore.output_files import check_not_the_source, make_folder, matching_subtype

EXAMPLES = """\
  tfrestore degrade song.flac -o gapped.flac
  tfrestore degrade song.flac -o bad.flac --degradation mp3:16
  tfrestore degrade song.flac -o dull.flac --degradation bandwidth:4"""


def make_degrade_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    from tfrestore.data.degradation import OF_RECORDINGS

    parser = make_parser(
        "degrade",
        "Damage a recording on purpose: gaps of 10 to 50 ms in the waveform, an MP3's losses, or\n"
        "lost bandwidth.\n"
        "The same seed gives the same damage on any machine.\n"
        "The output's suffix says how it is written, whatever the damage: of mp3:64, a FLAC\n"
        "holds what an MP3 of 64 kbit/s sounds like, and so does an MP3, which has 320 kbit/s.",
        EXAMPLES,
    )
    parser.add_argument("input", metavar="FILE", help="the intact recording")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the damaged one")
    parser.add_argument("--degradation", default="gaps:waveform", help=OF_RECORDINGS)
    parser.add_argument("--seed", type=seed, default=0, help="decides where gaps are")
    return parser


def degrade(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    from tfrestore.audio.reading import read, read_info
    from tfrestore.audio.writing import write
    from tfrestore.data.degradation import parse_degradation

    degradation = parse_degradation(options.degradation)
    check_not_the_source(options.input, options.output)
    output = Path(options.output)
    subtype = matching_subtype(read_info(options.input), output)
    waveform, sample_rate = read(options.input)
    damaged = degradation.degrade(waveform, sample_rate, options.seed, index=0)
    make_folder(output.parent)
    write(output, damaged, sample_rate, subtype=subtype)
    print(output)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_degrade_parser(), degrade, arguments)


if __name__ == "__main__":
    sys.exit(main())
