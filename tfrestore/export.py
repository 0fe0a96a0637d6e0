"""`python -m tfrestore.export`: writes a trained model as a SavedModel."""

from __future__ import annotations

import argparse
import sys

from tfrestore.command_line import make_parser, run_command

EXAMPLES = """\
  tfrestore export --model runs/first --out models/inpainter
  tensorflow_model_server --model_name=inpainter --model_base_path=$PWD/models/inpainter"""


def make_export_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = make_parser(
        "export",
        "Write a model, waveform in and waveform out, as a SavedModel in TensorFlow Serving's\n"
        "layout: OUT/VERSION/saved_model.pb. It needs nothing but TensorFlow to run.",
        EXAMPLES,
    )
    parser.add_argument(
        "--model", "--preset", dest="model", required=True, help="folder of a trained run"
    )
    parser.add_argument("--out", required=True, help="the model's folder, without the version")
    parser.add_argument(
        "--version", type=int, help="positive integer; by default the next free one"
    )
    return parser


def export(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    from tfrestore.exporting import export_restorer
    from tfrestore.restorer import Restorer

    restorer = Restorer.from_preset(options.model)
    print(export_restorer(restorer, options.out, options.version))
    for name, endpoint in restorer.endpoints().items():
        inputs = ", ".join(f"{each} {_form(shape)}" for each, shape in endpoint.inputs.items())
        shape = next(iter(endpoint.inputs.values()))
        print(f"  {name}: {inputs} -> {endpoint.output} {_form(shape)}, the same size")
    return 0


def _form(shape: tuple[int | None, ...]) -> str:
    return f"float32 [{', '.join('any' if size is None else str(size) for size in shape)}]"


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_export_parser(), export, arguments)


if __name__ == "__main__":
    sys.exit(main())
