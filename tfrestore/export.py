"""`python -m tfrestore.export`: writes a trained model as a SavedModel."""

from __future__ import annotations

import argparse
import sys

from tfrestore.command_line import make_parser, positive_integer, run_command

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
        "--model",
        "--preset",
        dest="model",
        required=True,
        help="a shipped preset's name, the folder of a trained run, or hf://USER/NAME",
    )
    parser.add_argument("--out", required=True, help="the model's folder, without the version")
    parser.add_argument("--version", type=positive_integer, help="by default the next free one")
    return parser


def export(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    from tfrestore.exporting import export_restorer
    from tfrestore.model_card import read_signatures
    from tfrestore.models.presets import find_preset
    from tfrestore.restorer import Restorer

    restorer = Restorer.from_preset(options.model)
    metadata = find_preset(options.model).metadata
    folder = export_restorer(restorer, options.out, options.version, metadata)
    print(folder)
    for name, signature in read_signatures(folder).items():
        inputs, outputs = (_forms(signature[way]) for way in ("inputs", "outputs"))
        print(f"  {name}: {inputs} -> {outputs}")
    return 0


def _forms(tensors: dict[str, dict]) -> str:
    from tfrestore.model_card import shape_text

    return ", ".join(
        f"{name} {form['dtype']} {shape_text(form['shape'])}" for name, form in tensors.items()
    )


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_export_parser(), export, arguments)


if __name__ == "__main__":
    sys.exit(main())
