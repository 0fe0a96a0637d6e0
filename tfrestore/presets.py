"""`python -m tfrestore.presets`: lists the built-in presets."""

from __future__ import annotations

import argparse
import sys

from tfrestore.command_line import make_parser, run_command


def list_presets(options: argparse.Namespace) -> int:
    """Prints a line per preset; returns the exit code."""
    from tfrestore.models.presets import find_preset, preset_names

    for name in preset_names():
        preset = find_preset(name)
        print(f"{name:28s} {preset.family:12s} {preset.description}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = make_parser("presets", "List the built-in presets: name, family, what it is.")
    return run_command(parser, list_presets, arguments)


if __name__ == "__main__":
    sys.exit(main())
