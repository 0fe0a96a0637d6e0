"""`python -m tfrestore.train`: trains a preset's model, or goes on with a run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tfrestore.command_line import make_parser, run_command, seed
from tfrestore.errors import UsageError

EXAMPLES = """\
  tfrestore train --preset unet_tiny --data demo --steps 300 --out runs/first
  tfrestore train --preset res_unet_v2 --data ~/music --precision mixed_bfloat16 --out runs/music
  tfrestore train --resume --out runs/music"""

# What a resumed run may not be told anew, because its examples or its weights depend on it.
_FIXED = ("config", "batch_size", "precision", "seed")


def make_train_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = make_parser(
        "train",
        "Train a model. The run's folder is kept ready for restore, evaluate and export: it holds\n"
        "the best model so far, config.yaml, history.csv, checkpoints, and logs for TensorBoard.",
        EXAMPLES,
    )
    parser.add_argument(
        "--preset", help="built-in preset (tfrestore presets lists them) or a folder to fine-tune"
    )
    parser.add_argument(
        "--data",
        help="folder of music or of stems, or demo; fma:, musdb:, moisesdb:, stems:, midi: or "
        "maestro: in front of it says what it is, and musdb:A+moisesdb:B joins several",
    )
    parser.add_argument("--out", required=True, help="folder of the run")
    parser.add_argument("--epochs", type=int, help="epochs at most")
    parser.add_argument("--steps", type=int, help="steps at most, instead of epochs")
    add_configuration_arguments(parser)
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the latest checkpoint of the run in --out, with its configuration",
    )
    return parser


def add_configuration_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what changes a preset's configuration, for whatever trains by it."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="YAML file with sections that change the preset; a run's config.yaml repeats that run",
    )
    parser.add_argument(
        "--set",
        dest="assignments",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change one key; may be repeated",
    )
    parser.add_argument(
        "--batch-size", type=int, help="examples per step, over all devices together"
    )
    parser.add_argument(
        "--precision", choices=("float32", "mixed_bfloat16", "mixed_float16"), help="of the network"
    )
    parser.add_argument("--seed", type=seed, help="decides examples and degradations")


def train(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    folder = Path(options.out)
    if options.resume:
        preset, data = _preset_of_run(folder, options)
    else:
        preset, data = _preset_of_request(folder, options)

    from tfrestore.data.shards import open_training_data
    from tfrestore.training.configuration import resolve

    preset = resolve(
        preset,
        options.config,
        options.assignments,
        epochs=options.epochs,
        steps=options.steps,
        batch_size=options.batch_size,
        precision=options.precision,
        seed=options.seed,
    )
    catalogue = open_training_data(data)

    from tfrestore.training.loop import TrainingRun

    run = TrainingRun(preset, catalogue, folder, data)
    try:
        if options.resume:
            run.resume()
        else:
            run.start()
        scores = run.run()
    except KeyboardInterrupt:
        print(
            f"tfrestore train: interrupted at step {run.step_number}; tfrestore train --resume "
            f"--out {folder} goes on from step {run.checkpoint_step}.",
            file=sys.stderr,
        )
        return 130
    if scores:
        print(f"{folder}: {', '.join(f'{name} {value:.5g}' for name, value in scores.items())}")
    elif run.has_run_out_of_patience:
        print(f"{folder}: this run has ended, for want of a better model; it is as good as it got.")
    else:
        print(f"{folder}: already at its last step; give --steps or --epochs to go on.")
    return 0


def _preset_of_request(folder: Path, options: argparse.Namespace):
    """The preset and the data of a new run."""
    from tfrestore.models.presets import find_preset
    from tfrestore.training.configuration import read_config
    from tfrestore.training.run_folder import check_free

    if options.preset is None and options.config is None:
        raise UsageError("name a model with --preset (tfrestore presets lists them) or --config.")
    notes = read_config(options.config) if options.config else {}
    name, data = options.preset or notes.get("preset"), options.data or notes.get("catalogue")
    if name is None:
        raise UsageError(
            f"{options.config}: names no preset; add a line preset: NAME, or --preset."
        )
    if data is None:
        raise UsageError("name the music to train on with --data (a folder, or demo).")
    check_free(folder)
    return find_preset(name), data


def _preset_of_run(folder: Path, options: argparse.Namespace):
    """The preset and the data of the run to resume; what would change its examples is refused."""
    from tfrestore.training.run_folder import read_run

    changed = [
        f"--{name.replace('_', '-')}" for name in _FIXED if getattr(options, name) is not None
    ]
    changed += ["--set"] * bool(options.assignments)
    if changed:
        raise UsageError(
            f"{folder}: {', '.join(changed)} cannot change a run that is resumed; leave it out, or "
            "start a new run with another --out."
        )
    preset, data = read_run(folder, options.preset)
    return preset, options.data or data


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_train_parser(), train, arguments)


if __name__ == "__main__":
    sys.exit(main())
