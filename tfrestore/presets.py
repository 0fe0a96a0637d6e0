"""`python -m tfrestore.presets`: lists the built-in presets."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass

from tfrestore.command_line import make_parser, run_command

EXAMPLES = """\
  tfrestore presets
  tfrestore presets --shipped | cut -f1"""


@dataclass(frozen=True)
class Line:
    """What is said of a preset, each as text.

    Attributes:
        name: Its name.
        family: Its family.
        size: Of its weights on disk; empty for an architecture.
        license: Of its weights; likewise.
        scores: What it makes better, and by how much ViSQOL rises; likewise.
        purpose: What it is.
    """

    name: str
    family: str
    size: str
    license: str
    scores: str
    purpose: str


def make_presets_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = make_parser(
        "presets",
        "List the built-in presets: those that are shipped with trained weights, to restore with\n"
        "(size, licence, what they improve by how much ViSQOL), and the architectures to train.\n"
        "On a terminal as a table, otherwise a line each with tabs between.",
        EXAMPLES,
    )
    parser.add_argument("--shipped", action="store_true", help="only those with trained weights")
    return parser


def list_presets(options: argparse.Namespace) -> int:
    """Prints a line per preset; returns the exit code."""
    lines = preset_lines()
    if options.shipped:
        lines = [line for line in lines if line.size]
    if sys.stdout.isatty():
        _print_table(lines)
    else:
        for line in lines:
            print(*(getattr(line, name) or "-" for name in Line.__annotations__), sep="\t")
    return 0


def preset_lines() -> list[Line]:
    """What is said of every built-in preset, those with weights first."""
    from tfrestore.models.presets import find_preset, preset_names

    found = [find_preset(name) for name in preset_names()]
    return [_line(preset) for preset in sorted(found, key=lambda each: each.folder is None)]


def _line(preset) -> Line:
    metadata = preset.metadata
    size = metadata.get("weights_bytes")
    return Line(
        name=preset.name,
        family=preset.family,
        size="" if size is None else f"{size / 2**20:.1f} MiB",
        license=metadata.get("license", ""),
        scores=_scores(metadata.get("restores", {})),
        purpose=preset.description,
    )


def _scores(restores: dict) -> str:
    """By how much ViSQOL rises, where the preset improves anything."""
    mp3 = {int(rate): gain for rate, gain in restores.get("mp3", {}).items() if gain is not None}
    said = [f"MP3 {rate} kbit/s {_signed(mp3[rate])}" for rate in sorted(mp3)]
    said += [f"gaps {_signed(gain)}" for gain in restores.get("gaps", {}).values()]
    bandwidth = restores.get("bandwidth", {})
    said += [f"bandwidth ×{k} {_signed(v)}" for k, v in bandwidth.items() if v is not None]
    return ", ".join(said)


def _signed(gain: float) -> str:
    return "?" if not math.isfinite(gain) else f"{gain:+.2f}"


def _print_table(lines: list[Line]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("preset", "family", "weights", "licence", "ViSQOL gain", "purpose"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("preset", "weights"))
    for line in lines:
        cells = [Text(getattr(line, name)) for name in Line.__annotations__]
        if line.size:
            cells[0].stylize("bold green")
        table.add_row(*cells)
    Console().print(table)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_presets_parser(), list_presets, arguments)


if __name__ == "__main__":
    sys.exit(main())
