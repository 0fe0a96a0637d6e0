"""`python -m tfrestore.evaluate`: scores models, or any tool's output, and prints the tables."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tfrestore.command_line import (
    available_cores,
    make_parser,
    not_negative_integer,
    positive_integer,
    positive_number,
    run_command,
    seed,
)
from tfrestore.errors import InputError, UsageError

if TYPE_CHECKING:
    from tfrestore.evaluation.measurement import Measurement
    from tfrestore.evaluation.models import ModelsEvaluation
    from tfrestore.evaluation.pairs import PairsEvaluation
    from tfrestore.evaluation.workers import Failure

EXAMPLES = """\
  tfrestore evaluate --model runs/first --data demo
  tfrestore evaluate --model runs/a --model runs/b --data ~/test --degradation mp3:16 mp3:32
  tfrestore evaluate --model runs/a --data musdb:MUSDB18-HQ --seconds 10 \\
      --degradation mp3:24 mp3:32 mp3:48 mp3:64 mp3:96 mp3:128
  tfrestore evaluate --pairs originals/ mp3s/ ours=restored/ theirs=other/ --out comparison"""

# Options that say what is done to music, with their spelling; None or False where not given.
_OF_MODELS = {
    "data": "--data",
    "split": "--split",
    "degradation": "--degradation",
    "genres": "--genre",
    "candidates": "--candidates",
    "sample_rate": "--sample-rate",
    "mono": "--mono",
}

# Versions by a stochastic model where no other number is asked for, as in Lattner & Nistal.
_CANDIDATES = 20

logger = logging.getLogger(__name__)


def make_evaluate_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    from tfrestore.data.degradation import DESCRIPTION
    from tfrestore.evaluation.rulers import CHOICES

    parser = make_parser(
        "evaluate",
        "Score recordings against their originals before and after restoration: PSNR, NRMSE, SNR,\n"
        "SI-SDR, SDR, LSD, MSE, multi-resolution STFT error, PEAQ and ViSQOL, by degradation, bit\n"
        "rate, and genre or kind of content, with each model's parameters and real-time factor.\n"
        "Either --model degrades music (--data) and restores it, or --pairs scores files that any\n"
        "tool wrote. Tables (CSV, JSON, Markdown) and pictures go to --out.\n"
        "\n"
        "Files that differ in form are compared like this: the estimate is resampled to the\n"
        "original's rate; different numbers of channels are mixed to one; of different lengths\n"
        "the longer is cut at its end. What was done is said in scores.csv. An evaluation that\n"
        "was interrupted goes on where it was when it is started again.",
        EXAMPLES,
    )
    parser.add_argument(
        "--model",
        "--preset",
        dest="models",
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help="folder of a trained run; may be repeated to compare models",
    )
    parser.add_argument(
        "--data",
        help="folder of intact music, fma:FOLDER, musdb:FOLDER, moisesdb:FOLDER, stems:FOLDER, "
        "midi:FOLDER, maestro:FOLDER, or demo; stems of songs are scored beside the mixtures, by "
        "content",
    )
    parser.add_argument(
        "--pairs",
        nargs="+",
        metavar="FOLDER",
        help="folders of originals, of degraded recordings, and of one or more restorations "
        "([NAME=]FOLDER), in which files of one name belong together; NAME.x.wav and NAME.y.wav "
        "are versions of NAME by a stochastic system",
    )
    parser.add_argument(
        "--degradation",
        nargs="+",
        metavar="KIND",
        help=f"one or more of {DESCRIPTION}; by default what the first model is made for",
    )
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test", "all"),
        help="tracks to score; by default test of the demo corpus, of FMA, of a folder with splits "
        "and of the music the model was trained on, and all of any other folder",
    )
    parser.add_argument(
        "--genre",
        dest="genres",
        nargs="+",
        metavar="NAME",
        help="score only recordings of these genres, or kinds of content: mixed content, vocals, "
        "single instrument for songs and their stems",
    )
    parser.add_argument("--seed", type=seed, default=0, help="decides gaps and stochastic versions")
    parser.add_argument(
        "--candidates",
        type=positive_integer,
        metavar="K",
        help="versions of each recording by a stochastic model, of which the best and the mean are "
        f"reported; by default {_CANDIDATES}",
    )
    parser.add_argument(
        "--sample-rate",
        type=positive_integer,
        metavar="HZ",
        help="bring the music to this rate before degrading it; by default to the models'",
    )
    parser.add_argument(
        "--mono", action="store_true", help="mix the music to one channel before degrading it"
    )
    parser.add_argument(
        "--seconds",
        type=positive_number,
        help="score so many seconds out of the middle of each recording; by default all of it",
    )
    parser.add_argument(
        "--metrics", nargs="+", metavar="NAME", help=f"some of {', '.join(CHOICES)}; default all"
    )
    parser.add_argument(
        "--jobs", type=positive_integer, help="processor cores to use; by default all"
    )
    parser.add_argument(
        "--pictures",
        type=not_negative_integer,
        default=2,
        metavar="N",
        help="recordings to draw spectrograms of",
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        help="where the report goes; by default evaluation-DEGRADATION in the model's folder, and "
        "evaluation for pairs",
    )
    return parser


def evaluate(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    # One process per core, each with one thread: what the processes start is told through the
    # environment, before NumPy is loaded.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    evaluation = _prepare(options)
    folder = Path(options.out or evaluation.default_folder)
    found, failures, pictures = _measure(evaluation, folder, options)
    if not found:
        raise InputError(f"{evaluation.source}: none of its recordings could be scored.")
    _report(evaluation, folder, found, pictures)
    if failures:
        names = ", ".join(dict.fromkeys(each.subject.track for each in failures))
        print(
            f"tfrestore evaluate: {len(failures)} recordings could not be scored: {names}",
            file=sys.stderr,
        )
    return 1 if failures else 0


def _prepare(options: argparse.Namespace) -> PairsEvaluation | ModelsEvaluation:
    """What is to be evaluated, by the options."""
    from tfrestore.evaluation.rulers import parse_choices

    choices = parse_choices(options.metrics)
    if bool(options.pairs) == bool(options.models):
        raise UsageError(
            "give either --model, with --data, or --pairs; --help has an example of both."
        )
    if options.pairs:
        for name, spelling in _OF_MODELS.items():
            if getattr(options, name) not in (None, False):
                raise UsageError(
                    f"{spelling} goes with --model; --pairs scores files as they are, and all of "
                    "its folders."
                )
        from tfrestore.evaluation.pairs import PairsEvaluation

        return PairsEvaluation(options.pairs, choices, options.seconds)
    if options.data is None:
        raise UsageError("--model needs --data: a folder of intact music, or demo.")
    from tfrestore.evaluation.models import ModelsEvaluation

    return ModelsEvaluation(
        options.models,
        options.data,
        options.split,
        options.degradation,
        choices,
        seed=options.seed,
        candidates=options.candidates or _CANDIDATES,
        seconds=options.seconds,
        mono=options.mono,
        sample_rate=options.sample_rate,
        genres=options.genres,
    )


def _measure(
    evaluation: PairsEvaluation | ModelsEvaluation, folder: Path, options: argparse.Namespace
) -> tuple[list[Measurement], list[Failure], dict]:
    """Measures what an earlier, interrupted evaluation has not; says what could not be."""
    from tfrestore.evaluation.spectrograms import Spectrograms
    from tfrestore.evaluation.unfinished import UnfinishedEvaluation
    from tfrestore.evaluation.workers import Failure
    from tfrestore.progress import progress_bars

    settings = {**evaluation.heading, "metrics": evaluation.choices}
    with _explained(folder):
        unfinished = UnfinishedEvaluation(folder, settings, evaluation.files)
    found = {each.subject: each for each in unfinished.measurements}
    if found:
        logger.info(
            "going on: %d of %d recordings were scored before", len(found), evaluation.count
        )
    failures = list(evaluation.failures)
    for failure in failures:
        logger.error("%s", failure.reason)
    spectrograms = Spectrograms(options.pictures, unfinished.lacks)
    finished = False
    try:
        with progress_bars() as bars:
            bar = bars.add_task("scoring", total=evaluation.count, completed=len(found), note="")
            jobs = options.jobs or available_cores()
            for outcome in evaluation.outcomes(jobs, spectrograms.wants, spectrograms.watch):
                if isinstance(outcome, Failure):
                    logger.error("%s", outcome.reason)
                    failures.append(outcome)
                else:
                    unfinished.add(outcome)
                    found[outcome.subject] = outcome
                bars.update(bar, completed=len(found), note=outcome.subject.track)
        finished = True
    finally:
        unfinished.close(finished)
    return list(found.values()), failures, spectrograms.pictures()


def _report(
    evaluation: PairsEvaluation | ModelsEvaluation,
    folder: Path,
    measurements: list[Measurement],
    pictures: dict,
) -> None:
    from tfrestore.evaluation.cells import heading_in_words
    from tfrestore.evaluation.efforts import make_costs
    from tfrestore.evaluation.layout import format_screen
    from tfrestore.evaluation.report import write_report
    from tfrestore.evaluation.tables import Tables, in_order

    systems = list(evaluation.systems)
    measurements = in_order(measurements, systems)
    tables = Tables.of(measurements, evaluation.genre_name)
    costs = make_costs(measurements, evaluation.parameters, systems)
    with _explained(folder):
        path = write_report(folder, evaluation.heading, measurements, tables, costs, pictures)
    words = heading_in_words(evaluation.heading)
    print(", ".join(f"{name}: {value}" for name, value in words.items()))
    print(format_screen(tables, costs))
    print(f"\nwritten to {path} and beside it")


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror}); choose --out.") from None


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_evaluate_parser(), evaluate, arguments)


if __name__ == "__main__":
    sys.exit(main())
