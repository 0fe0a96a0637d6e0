"""`tfrestore COMMAND`, the same as `python -m tfrestore.COMMAND`."""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "restore": "restore recordings: files, folders",
    "prepare": "make the pairs of music and its MP3 that a training needs, once",
    "train": "train a model, or go on training one",
    "evaluate": "score models, or any tool's output, and print the tables",
    "embedding": "draw how a model's embedding sees degraded and intact music",
    "listening_test": "make a listening test as a web page, and report its results",
    "export": "write a model as a SavedModel for TensorFlow Serving",
    "convert": "turn a published PyTorch checkpoint into a preset folder, or back",
    "degrade": "damage a recording on purpose, to try a model on",
    "presets": "list the built-in presets: size, purpose, licence, scores",
    "ship": "turn a trained run and its evaluation into a preset with a model card",
    "demo": "train, evaluate, export and restore with a tiny model, all in one",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command named first, with the rest as its arguments; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in COMMANDS:
        module = importlib.import_module(f"tfrestore.{arguments[0]}")
        return module.main(arguments[1:])
    if arguments and arguments[0] == "--version":
        from tfrestore.version import __version__

        print(f"tfrestore {__version__}")
        return 0
    usage = ["usage: tfrestore COMMAND ...", "", "commands:"]
    usage += [f"  {name:14s} {purpose}" for name, purpose in COMMANDS.items()]
    usage += ["", "tfrestore COMMAND --help describes one. tfrestore --version prints the version."]
    if not arguments or arguments[0] in ("-h", "--help"):
        print("\n".join(usage))
        return 0 if arguments else 2
    print(
        f"tfrestore: there is no command {arguments[0]!r}; commands: {', '.join(COMMANDS)}.",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
