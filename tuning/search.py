"""`python -m tuning.search`: looks for the training configuration that does best.

A search has a folder. Whoever gives the same command again, or `--out` alone, goes on with what is
in it, after a kill too: a trial that was being trained goes on from its latest checkpoint.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfrestore.command_line import (
    CommandParser,
    HelpFormatter,
    positive_integer,
    positive_number,
    run_command,
)
from tfrestore.errors import InputError, UsageError
from tfrestore.train import add_configuration_arguments
from tuning.workers import Worker, listen_to_chief, started_workers, wait_for_chief

if TYPE_CHECKING:
    from tfrestore.models.presets import Preset
    from tuning.request import SearchRequest

logger = logging.getLogger("tfrestore.tuning")

TUNERS = ("hyperband", "bayesian", "random")

#: Trials of a search that is given no end.
DEFAULT_TRIALS = 20

EXAMPLES = """\
  python -m tuning.search --preset unet_tiny --data ~/music --max-minutes 20 --epochs 9 \\
      --set steps_per_epoch=50 --out tuning_runs/a
  python -m tuning.search --preset apollo_small --data ~/music --objective visqol \\
      --tuner bayesian --max-trials 40 --fix depth=3 --workers 2 --out tuning_runs/b
  python -m tuning.search --out tuning_runs/b --max-trials 60

on several machines that share a file system, the same command with, on one of them,
  KERASTUNER_TUNER_ID=chief KERASTUNER_ORACLE_IP=10.0.0.1 KERASTUNER_ORACLE_PORT=8000
and on the others KERASTUNER_TUNER_ID=worker1 (worker2, ...), with the chief's address and port"""

# What decides a search, and so cannot be told anew where one goes on.
_FIXED = (
    *("config", "assignments", "data", "space", "fixed", "objective", "tuner", "epochs"),
    *("batch_size", "precision", "patience", "seed", "degradation", "candidates", "seconds"),
)


def make_search_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = CommandParser(
        prog="python -m tuning.search",
        description="Search for the training configuration that does best on validation music.\n"
        "The preset itself is the first trial. The best trial's config.yaml is what\n"
        "tfrestore train takes with --config.",
        epilog=f"examples:\n{EXAMPLES}",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--preset", help="built-in preset that the search begins with")
    parser.add_argument("--data", help="music, as for tfrestore train")
    parser.add_argument("--out", required=True, help="folder of the search; one is gone on with")
    parser.add_argument(
        "--objective",
        help="what to look for: a validation score of the training, such as val_psnr, or a ruler "
        "on restored recordings, such as odg; by default what train keeps the best model by",
    )
    parser.add_argument("--tuner", choices=TUNERS, help="by default hyperband")
    parser.add_argument("--max-trials", type=positive_integer, metavar="N", help="trials at most")
    parser.add_argument(
        "--max-minutes", type=positive_number, metavar="M", help="minutes that this call may take"
    )
    parser.add_argument("--space", metavar="FILE", help="YAML file of what to vary")
    parser.add_argument(
        "--fix",
        dest="fixed",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="give a key one value in all trials; may be repeated",
    )
    add_configuration_arguments(parser)
    parser.add_argument(
        "--epochs", type=positive_integer, help="epochs of a trial, with hyperband of the longest"
    )
    parser.add_argument(
        "--patience",
        type=positive_integer,
        metavar="EPOCHS",
        help="end a trial after so many epochs without a better model",
    )
    parser.add_argument(
        "--degradation", metavar="NAME", help="what a ruler's recordings suffer, such as mp3:32"
    )
    parser.add_argument(
        "--candidates",
        type=positive_integer,
        metavar="K",
        help="versions of a recording by a stochastic model, of which a ruler takes the best "
        "(by default 4)",
    )
    parser.add_argument(
        "--seconds",
        type=positive_number,
        help="how much of a recording's middle a ruler is laid on (by default 10)",
    )
    parser.add_argument(
        "--max-parameters",
        type=positive_number,
        metavar="N",
        help="skip trials whose network has more",
    )
    parser.add_argument(
        "--max-memory",
        type=positive_number,
        metavar="GIB",
        help="skip trials that need more; by default what is free, without a GPU",
    )
    parser.add_argument(
        "--workers",
        type=positive_integer,
        default=1,
        metavar="N",
        help="processes that train trials, which share cores, memory and GPUs",
    )
    # What the chief tells the workers that it starts.
    parser.add_argument("--chief-on-stdin", action="store_true", help=argparse.SUPPRESS)
    return parser


def search(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    folder = Path(options.out)
    deadline = None if options.max_minutes is None else time.time() + 60 * options.max_minutes
    if options.chief_on_stdin:
        listen_to_chief()
    has_own_workers = options.workers > 1 and "KERASTUNER_TUNER_ID" not in os.environ
    try:
        with started_workers(
            options.workers * has_own_workers, folder, _passed_on(options), deadline
        ) as workers:
            return _search(folder, options, deadline, workers)
    except KeyboardInterrupt:
        print(
            f"python -m tuning.search: interrupted; the same command, or --out {folder} alone, "
            "goes on.",
            file=sys.stderr,
        )
        return 130


def _search(
    folder: Path,
    options: argparse.Namespace,
    deadline: float | None,
    workers: Sequence[Worker],
) -> int:
    from keras_tuner.errors import FatalError

    from tuning.request import read_request
    from tuning.running import run_search

    if options.chief_on_stdin:
        wait_for_chief()
    earlier = read_request(folder)
    if options.preset is not None:
        request = _request(options)
        if earlier is not None:
            request.check_same(earlier, folder)
    elif earlier is not None:
        request = _going_on(earlier, options, folder)
    else:
        raise UsageError("name a model with --preset (tfrestore presets lists them).")
    try:
        return run_search(request, folder, options, deadline, workers)
    except FatalError as error:
        if isinstance(error.__cause__, InputError | OSError):
            raise error.__cause__ from None
        raise


def _passed_on(options: argparse.Namespace) -> list[str]:
    """The options that every worker on this machine gets as well."""
    words = ["--workers", str(options.workers)]
    for name in ("max_parameters", "max_memory"):
        if getattr(options, name) is not None:
            words += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    return words


def _request(options: argparse.Namespace) -> SearchRequest:
    """What the options ask for."""
    from tuning.footprint import symbolic_trainer
    from tuning.objectives import RecordingsScore, direction_of, find_objective
    from tuning.request import SearchRequest
    from tuning.space import Space

    if options.data is None:
        raise UsageError("name the music to search on with --data (a folder, or demo).")
    preset, fixed_keys = _base(options)
    space = Space.of(preset, options.space).without(fixed_keys)
    space.require_any()
    objective = find_objective(options.objective, symbolic_trainer(preset))
    score = None
    if direction_of(objective.name) and not objective.name.startswith("val_"):
        score = RecordingsScore.make(
            objective.name,
            preset,
            options.degradation,
            options.candidates or 4,
            options.seconds or 10.0,
        )
    max_trials = options.max_trials
    if max_trials is None and options.max_minutes is None:
        max_trials = DEFAULT_TRIALS
    return SearchRequest(
        preset,
        options.data,
        objective,
        options.tuner or TUNERS[0],
        space,
        preset.config["training"]["seed"],
        score,
        max_trials,
    )


def _base(options: argparse.Namespace) -> tuple[Preset, list[str]]:
    """The preset with what holds for all trials, and the keys that were fixed."""
    from tfrestore.models.presets import find_preset
    from tfrestore.training.configuration import find_key, resolve

    found = find_preset(options.preset)
    plain = resolve(found)
    keys = []
    for text in options.fixed:
        key, equals, _ = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--fix {text}: write it as KEY=VALUE.")
        keys.append(".".join(find_key(plain, key, f"--fix {text}")))
    preset = resolve(
        found,
        options.config,
        [*options.assignments, *options.fixed],
        epochs=options.epochs,
        batch_size=options.batch_size,
        precision=options.precision,
        patience=options.patience,
        seed=options.seed,
    )
    training = preset.config["training"]
    if training["steps"] is not None:
        # A trial's length is in epochs, since that is what Hyperband hands out.
        if training["steps_per_epoch"] is None:
            raise UsageError(
                f"{options.preset}: its training is {training['steps']} steps long; give --epochs, "
                "or --set steps_per_epoch=N."
            )
        epochs = math.ceil(training["steps"] / training["steps_per_epoch"])
        preset = resolve(preset, epochs=epochs)
    return preset, keys


def _going_on(earlier: SearchRequest, options: argparse.Namespace, folder: Path) -> SearchRequest:
    """The search of a folder, with what a later call may change."""
    import dataclasses

    changed = [name for name in _FIXED if getattr(options, name) not in (None, [])]
    if changed:
        name = {"assignments": "set", "fixed": "fix"}.get(changed[0], changed[0]).replace("_", "-")
        raise UsageError(
            f"{folder}: --{name} cannot change a search that goes on; leave it out, or choose "
            "another --out."
        )
    if options.max_trials is None:
        return earlier
    return dataclasses.replace(earlier, max_trials=options.max_trials)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_search_parser(), search, arguments)


if __name__ == "__main__":
    sys.exit(main())
