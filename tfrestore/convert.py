"""`python -m tfrestore.convert`: published checkpoints as preset folders, and back."""

from __future__ import annotations

import argparse
import sys

from tfrestore.command_line import make_parser, positive_integer, run_command
from tfrestore.errors import UsageError

EXAMPLES = """\
  tfrestore convert apollo pytorch_model.bin --out apollo_official
  tfrestore restore song.mp3 --preset apollo_official
  tfrestore train --preset apollo_official --data ~/music --out runs/fine_tuned
  tfrestore convert apollo runs/fine_tuned --to torch --out fine_tuned.bin"""

#: The families whose published weights are known.
FAMILIES = ("apollo",)

# What only a checkpoint that is read needs to be told.
_OF_CHECKPOINTS = ("license", "weights", "sample_rate", "heads", "causal")


def make_convert_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = make_parser(
        "convert",
        "Turn a published PyTorch checkpoint (.bin, .ckpt, .pth, .safetensors) into a preset\n"
        "folder for all other commands, or a preset folder into a checkpoint. PyTorch is not\n"
        "needed, and nothing that a checkpoint asks for is run: one that asks for more than\n"
        "tensors and plain containers is refused.",
        EXAMPLES,
    )
    parser.add_argument("family", choices=FAMILIES, help="what the weights are of")
    parser.add_argument("source", metavar="SOURCE", help="the checkpoint; or the preset folder")
    parser.add_argument("--out", required=True, help="the preset folder; or the checkpoint")
    parser.add_argument(
        "--to",
        choices=("preset", "torch"),
        default="preset",
        help="what to make; the ending of --out chooses between PyTorch's format and safetensors",
    )
    reading = parser.add_argument_group("what a checkpoint may leave open")
    reading.add_argument(
        "--license",
        metavar="TEXT",
        help="licence of the weights, for the metadata; by default CC-BY-SA-4.0, that of the "
        "authors' weights and of works made from them",
    )
    reading.add_argument(
        "--weights", metavar="NAME", help="which weights, where a file holds several"
    )
    reading.add_argument(
        "--sample-rate",
        type=positive_integer,
        metavar="HZ",
        help="by default the rate at which the window lasts 20 ms",
    )
    reading.add_argument(
        "--heads", type=positive_integer, help="attention heads; by default as stored, or else 8"
    )
    reading.add_argument(
        "--causal",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="the network was trained with causal convolutions; by default as stored, or else not",
    )
    return parser


def convert(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    if options.to == "torch":
        return _to_torch(options)
    from tfrestore.conversion import DEFAULT_LICENSE, convert_to_preset

    license = options.license or DEFAULT_LICENSE
    conversion = convert_to_preset(
        options.family,
        options.source,
        options.out,
        license=license,
        which=options.weights,
        sample_rate=options.sample_rate,
        heads=options.heads,
        causal=options.causal,
    )
    for name, count in conversion.ignored.items():
        print(f"tfrestore convert: ignored {count} tensors of {name!r}", file=sys.stderr)
    restorer = conversion.restorer
    network = restorer.network
    print(conversion.folder)
    print(
        f"  {type(network).__name__}, {network.count_params():,} parameters, "
        f"feature_dim {network.features}, layer {network.depth}, "
        f"{restorer.sample_rate} Hz, {license}"
    )
    return 0


def _to_torch(options: argparse.Namespace) -> int:
    given = [name for name in _OF_CHECKPOINTS if getattr(options, name) is not None]
    if given:
        raise UsageError(
            f"--{given[0].replace('_', '-')}: with --to torch the preset folder says that; leave "
            "it out."
        )
    from tfrestore.conversion import convert_to_checkpoint

    tensors = convert_to_checkpoint(options.family, options.source, options.out)
    print(options.out)
    print(f"  {len(tensors)} tensors, {sum(tensor.size for tensor in tensors.values()):,} numbers")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_convert_parser(), convert, arguments)


if __name__ == "__main__":
    sys.exit(main())
