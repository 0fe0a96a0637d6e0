"""`python -m tfrestore.train`: trains a preset's model, or goes on with a run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tfrestore.command_line import make_parser, run_command
from tfrestore.errors import UsageError

EXAMPLES = """\
  tfrestore train --preset unet_tiny --data demo --steps 300 --out runs/first
  tfrestore train --preset res_unet_v2 --data ~/music --precision mixed_bfloat16 --out runs/music
  tfrestore train --resume --out runs/music"""


def make_train_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = make_parser(
        "train",
        "Train a model. The run's folder is kept ready for restore, evaluate and export: it holds the\n"
        "best model so far, config.yaml, history.csv, checkpoints, and logs for TensorBoard.",
        EXAMPLES,
    )
    parser.add_argument(
        "--preset", help="built-in preset (tfrestore presets lists them) or a folder to fine-tune"
    )
    parser.add_argument(
        "--config", metavar="FILE", help="YAML file with sections that change the preset"
    )
    parser.add_argument(
        "--set",
        dest="assignments",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change one key; may be repeated",
    )
    parser.add_argument("--data", help="folder of music, fma:FOLDER, or demo")
    parser.add_argument("--out", required=True, help="folder of the run")
    parser.add_argument("--epochs", type=int, help="epochs at most")
    parser.add_argument("--steps", type=int, help="steps at most, instead of epochs")
    parser.add_argument(
        "--batch-size", type=int, help="examples per step, over all devices together"
    )
    parser.add_argument(
        "--precision", choices=("float32", "mixed_bfloat16", "mixed_float16"), help="of the network"
    )
    parser.add_argument("--seed", type=int, help="decides examples and degradations")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the latest checkpoint of the run in --out, with its configuration",
    )
    return parser


def train(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    folder = Path(options.out)
    lengths = {"epochs": options.epochs, "steps": options.steps}
    others = {
        "batch_size": options.batch_size,
        "precision": options.precision,
        "seed": options.seed,
    }
    if options.resume:
        preset, data = _of_run(folder, options, others)
    elif options.preset is None and options.config is None:
        raise UsageError("name a model with --preset (tfrestore presets lists them) or --config.")
    elif options.data is None:
        raise UsageError("name the music to train on with --data (a folder, or demo).")
    else:
        from tfrestore.models.presets import find_preset
        from tfrestore.training.configuration import read_config

        name = options.preset or read_config(options.config).get("preset")
        if name is None:
            raise UsageError(
                f"{options.config}: names no preset; add a line preset: NAME, or --preset."
            )
        preset, data = find_preset(name), options.data

    from tfrestore.data.catalogue import open_catalogue
    from tfrestore.training.configuration import resolve
    from tfrestore.training.loop import TrainingRun

    preset = resolve(preset, options.config, options.assignments, **lengths, **others)
    run = TrainingRun(preset, open_catalogue(data), folder, data)
    if options.resume:
        run.resume()
    else:
        run.start()
    scores = run.run()
    if scores:
        print(f"{folder}: {', '.join(f'{name} {value:.5g}' for name, value in scores.items())}")
    else:
        print(f"{folder}: already at its last step; give --steps or --epochs to go on.")
    return 0


def _of_run(folder: Path, options: argparse.Namespace, others: dict):
    """The preset and the data of the run to resume; what would change its examples is refused."""
    import dataclasses

    from tfrestore.models.presets import TRAINING_FILE, find_preset
    from tfrestore.training.configuration import read_config

    if not (folder / TRAINING_FILE).is_file():
        raise UsageError(
            f"{folder}: there is no run here to resume ({TRAINING_FILE} is missing); leave out "
            "--resume to start one."
        )
    config = read_config(folder / TRAINING_FILE)
    changed = [f"--{name.replace('_', '-')}" for name, value in others.items() if value is not None]
    changed += ["--config"] * bool(options.config) + ["--set"] * bool(options.assignments)
    if changed:
        raise UsageError(
            f"{folder}: {', '.join(changed)} cannot change a run that is resumed; leave it out, or "
            "start a new run with another --out."
        )
    if options.preset is not None and options.preset != config["preset"]:
        raise UsageError(
            f"{folder}: this run is of the preset {config['preset']!r}, not {options.preset!r}; "
            "leave out --preset, or choose another --out."
        )
    # Only the architecture is taken from the original preset: the weights are in the checkpoint.
    preset = dataclasses.replace(find_preset(config["preset"]), config=config)
    return preset, options.data or config["catalogue"]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_train_parser(), train, arguments)


if __name__ == "__main__":
    sys.exit(main())
