"""`python -m tfrestore.restore`: restores recordings; and `tfrestore.restore(...)` for arrays.

The module is callable, so that the command's name and the function's can be the same.
"""

from __future__ import annotations

import argparse
import glob
import logging
import math
import os
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tfrestore.candidates import DEFAULT_SEED, read_noise
from tfrestore.command_line import make_parser, positive_integer, run_command, seed
from tfrestore.errors import AudioFileError, InputError, UsageError
from tfrestore.output_files import make_folder
from tfrestore.restoration_jobs import FORMATS, Job, plan_jobs
from tfrestore.restoration_models import NamedModel, PresetModels
from tfrestore.stream_restoration import add_stream_options, check_stream_options, restore_stream

EXAMPLES = """\
  tfrestore restore old.mp3
  tfrestore restore old.flac --preset runs/first
  tfrestore restore album/ 'tapes/*.wav' --preset runs/first -o restored/ --format flac
  tfrestore restore take.wav --preset runs/first --gap 12.30-12.34 --gap 15.0-15.02
  tfrestore restore song.mp3 --preset runs/gan --candidates 5 --seed 7 --pictures
  tfrestore restore song.mp3 --preset runs/gan --seed 7 --candidate 3 --format flac
  ffmpeg -i URL -f wav - | tfrestore restore --stream --preset runs/causal | aplay"""

#: Of a file at once; any other is made by its number.
MOST_CANDIDATES = 1000

#: Of `--chunk-seconds`; memory for a chunk is taken however long the recording is.
LONGEST_CHUNK_SECONDS = 600

logger = logging.getLogger(__name__)


def make_restore_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = make_parser(
        "restore",
        "Restore recordings of any format, sample rate, length and number of channels. The result\n"
        "lies next to each file as NAME.restored.wav, with the same channels and length; song.mp3\n"
        "beside song.wav gives song.mp3.restored.wav.\n"
        "Without --preset each file is looked at: how it was encoded, where its spectrum ends,\n"
        "its gaps. The shipped preset that improved such music is used, and a line says what was\n"
        "found and chosen; a sample rate too low for what is added is raised to the preset's.\n"
        "Where there is nothing to restore nothing is written, also with a --preset that fills\n"
        "gaps where there are none: no failure.\n"
        "The paths of the results are printed, one per line; with --candidates, a tab and the\n"
        "options that make that version again follow. A file that cannot be restored does\n"
        "not stop the others; the exit code is then 1, and 2 where the command was misused.",
        EXAMPLES,
    )
    parser.add_argument(
        "inputs", nargs="*", metavar="FILE", help="files, folders (with all below) or quoted globs"
    )
    parser.add_argument(
        "--preset",
        "--model",
        dest="preset",
        metavar="NAME",
        help="the model: a preset that is shipped with weights (tfrestore presets lists them), the "
        "folder that train wrote with --out, or hf://USER/NAME; by default what each file needs",
    )
    parser.add_argument(
        "--chunk-seconds",
        type=chunk_seconds,
        metavar="SECONDS",
        help="how much sound is restored at once, beside what the model sees around it; shorter "
        "chunks need less memory, and a stream comes sooner, but more is computed twice; by "
        "default as the model says",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16"),
        default="float32",
        help="what the network computes in; mixed_bfloat16 is faster on processors that have "
        "bfloat16",
    )
    add_restore_arguments(parser)
    add_stream_options(parser)
    return parser


def add_restore_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what can be said of the outputs and of versions, wherever the model runs."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="output file, or folder (end its name with / if it has a dot) in which the inputs' "
        "tree is kept",
    )
    parser.add_argument("--suffix", default=".restored", help="what is put behind a file's name")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="format of the output; by default that of -o FILE, and else wav",
    )
    parser.add_argument(
        "--subtype",
        choices=("16", "24", "32", "float"),
        help="sample format of WAV (FLAC: 16 or 24); by default the input's, and 24 for compressed "
        "inputs",
    )
    parser.add_argument(
        "--output-rate",
        type=positive_integer,
        metavar="HZ",
        help="sample rate of the output, beyond half of which nothing can be written; by default "
        "the input's, or, where the preset is chosen for the file and adds what that has no room "
        "for, the preset's",
    )
    parser.add_argument(
        "--strength",
        type=share,
        default=1.0,
        metavar="SHARE",
        help="how much of the restoration is mixed in, 0 to 1",
    )
    parser.add_argument(
        "--gap",
        dest="gaps",
        action="append",
        default=[],
        type=parse_gap,
        metavar="START-STOP",
        help="a stretch in seconds that is lost, beside those that are found; may be repeated",
    )
    versions = parser.add_argument_group(
        "versions", "A stochastic model can restore a recording in as many ways as you like."
    )
    choice = versions.add_mutually_exclusive_group()
    choice.add_argument(
        "--candidates",
        type=whole_number(MOST_CANDIDATES),
        metavar="COUNT",
        help="write so many versions, NAME.restored.1.wav and so on",
    )
    choice.add_argument(
        "--candidate",
        type=whole_number(2**64 - 1),
        metavar="NUMBER",
        help="write the version of this number, which stands in its name; without any of these "
        "options version 1 is written, as NAME.restored.wav",
    )
    choice.add_argument(
        "--noise",
        metavar="FILE",
        help="the noise vector itself, a .npy file of as many floats as the model takes",
    )
    versions.add_argument(
        "--seed", type=seed, help=f"other versions for the same numbers (default: {DEFAULT_SEED})"
    )
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="draw frequency profiles and spectrograms of each file and its results: "
        "NAME.restored.profiles.png and NAME.restored.spectrograms.png",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace outputs that exist; else they are skipped"
    )


def parse_gap(text: str) -> tuple[float, float]:
    """`"1.5-1.54"` as (1.5, 1.54), in seconds."""
    try:
        start, stop = (float(part) for part in text.split("-"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not START-STOP in seconds") from None
    if not 0 <= start < stop < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: the stop has to come after the start")
    return start, stop


def share(text: str) -> float:
    """The type of `--strength`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


def chunk_seconds(text: str) -> float:
    """The type of `--chunk-seconds`."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST_CHUNK_SECONDS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of seconds up to {LONGEST_CHUNK_SECONDS}"
        )
    return seconds


def whole_number(most: int) -> Callable[[str], int]:
    """The type of options that take a whole number from 1 to `most`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {most}")
        return int(text)

    return parse


def restore(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    check_stream_options(options)
    jobs = [] if options.stream else plan_jobs(options)
    noise = _read_noise(options)
    models = PresetModels(options, noise)
    if options.stream:
        return restore_stream(options, models.named, noise)
    return run_jobs(jobs, options, models, noise)


def restore_files(options: argparse.Namespace, load, model: str, program: str) -> int:
    """Restores files with another restorer than a preset's; returns the command's exit code.

    Args:
        options: `inputs` and those of `add_restore_arguments`.
        load: Makes the `RecordingRestorer`; called if there is something to do.
        model: What a message calls it.
        program: The command's name.
    """
    jobs = plan_jobs(options)
    noise = _read_noise(options)
    return run_jobs(jobs, options, NamedModel(load, options, noise, model), noise, program)


def run_jobs(
    jobs: list[Job],
    options: argparse.Namespace,
    models: NamedModel | PresetModels,
    noise,
    program: str = "tfrestore restore",
) -> int:
    """Restores files, with progress bars.

    Args:
        jobs: What to make.
        options: Those of `add_restore_arguments`.
        models: What to restore each file with.
        noise: The noise vector that was given, or `None`.
        program: The command's name.

    Returns:
        The command's exit code.
    """
    from tfrestore.progress import print_result, progress_bars

    failed, finished = [], 0
    with progress_bars() as bars:
        overall = bars.add_task("files", total=len(jobs), note="", visible=len(jobs) > 1)
        for source in dict.fromkeys(job.source for job in jobs):
            versions = [job for job in jobs if job.source == source]
            missing, choice, restorer = [], None, None
            with _noting_failure(source, failed), _task(bars, f"looking at {source.name}"):
                missing = _missing(versions, options.overwrite)
                choice = models.choose(source) if missing else None
            if choice:
                with _task(bars, "loading the model"):
                    restorer = models.load(choice)
            with _noting_failure(source, failed):
                if restorer and models.leaves_alone(source, restorer):
                    restorer = None
                # What fills gaps adds nothing that the file's rate would not have held.
                rate = options.output_rate or (choice and choice.output_rate)
                if restorer and rate is None and not restorer.accepts_gaps:
                    _tell_low_rate(source, restorer.sample_rate)
                for job in missing if restorer else []:
                    bars.update(overall, completed=finished + versions.index(job))
                    _restore_version(job, restorer, choice, options, noise, bars)
                    print_result(bars, f"{job.target}{_recipe(job, options)}")
                if options.pictures and source not in failed and (restorer or not missing):
                    for path in _draw(versions, options.overwrite):
                        print_result(bars, str(path))
            finished += len(versions)
        bars.update(overall, completed=len(jobs))
    files = len({job.source for job in jobs})
    # Why one failed is said already.
    if failed and files > 1:
        names = ", ".join(map(str, failed))
        print(f"{program}: {len(failed)} of {files} files failed: {names}", file=sys.stderr)
    return 1 if failed else 0


@contextmanager
def _task(bars, name: str) -> Iterator[None]:
    """Shows a piece of work whose length is not known."""
    task = bars.add_task(name, total=None, note="")
    try:
        yield
    finally:
        bars.remove_task(task)


@contextmanager
def _noting_failure(source: Path, failed: list[Path]) -> Iterator[None]:
    """Goes on after what is wrong with one file, says it, and remembers the file."""
    try:
        yield
    except InputError as error:
        logger.error("%s", error)
        failed.append(source)


def _missing(versions: list[Job], overwrite: bool) -> list[Job]:
    """The versions of a file that are to be made; says of the others why not.

    Raises:
        AudioFileError: if the file cannot be read.
    """
    from tfrestore.audio.reading import read_info

    missing = []
    for job in versions:
        if job.target.exists() and not overwrite:
            logger.warning("%s exists already, skipped; --overwrite replaces it.", job.target)
        else:
            missing.append(job)
    if missing:
        source = missing[0].source
        if glob.has_magic(str(source)) and not os.path.lexists(source):
            raise AudioFileError(
                f"{source}: no file has this name, and as a pattern it matches no audio file; "
                "check the folder and the suffix in it."
            )
        read_info(source)
    return missing


def _tell_low_rate(source: Path, model_rate: int) -> None:
    """Says that the file's rate holds less than the model can give."""
    from tfrestore.audio.reading import read_info

    rate = read_info(source).sample_rate
    if rate < model_rate:
        logger.info(
            "%s: its sample rate is %d Hz, so nothing is written above %g kHz; the model works at "
            "%d Hz: --output-rate %d keeps all that it restores.",
            source,
            rate,
            rate / 2000,
            model_rate,
            model_rate,
        )


def _restore_version(job: Job, restorer, choice, options, noise, bars) -> None:
    bar = bars.add_task(
        job.source.name if job.candidate is None else job.target.name, total=100, note="%"
    )
    try:
        make_folder(job.target.parent)
        restorer.restore_file(
            job.source,
            job.target,
            subtype=options.subtype,
            sample_rate=options.output_rate or choice.output_rate,
            gaps=options.gaps,
            progress=lambda done: bars.update(bar, completed=round(100 * done)),
            seed=options.seed,
            candidate=job.candidate,
            noise=noise,
            strength=options.strength,
            keep_below=choice.keep_below,
        )
    finally:
        bars.remove_task(bar)


def _recipe(job: Job, options: argparse.Namespace) -> str:
    """What is printed behind a version's path: how to get this one again."""
    if options.candidates is None:
        return ""
    seed = DEFAULT_SEED if options.seed is None else options.seed
    return f"\t--seed {seed} --candidate {job.candidate}"


def _draw(versions: list[Job], overwrite: bool) -> Iterator[Path]:
    """Draws a file and its versions; yields the paths of the pictures.

    Raises:
        InputError: if a file of sound cannot be read or a picture cannot be written.
    """
    from tfrestore.pictures import write_picture
    from tfrestore.restoration_pictures import PICTURES, read_excerpts

    stem = versions[0].picture
    paths = {name: stem.with_name(f"{stem.name}.{name}.png") for name in PICTURES}
    for name, path in list(paths.items()):
        if path.exists() and not overwrite:
            logger.warning("%s exists already, skipped; --overwrite replaces it.", path)
            del paths[name]
    if not paths:
        return
    labels = {
        "restored" if job.candidate is None else f"candidate {job.candidate}": job.target
        for job in versions
    }
    waveforms, sample_rate = read_excerpts(versions[0].source, labels)
    for name, path in paths.items():
        try:
            write_picture(path, PICTURES[name](waveforms, sample_rate))
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); free space, or choose another -o."
            ) from None
        yield path


def _read_noise(options: argparse.Namespace):
    if options.noise is None:
        return None
    if options.seed is not None:
        raise UsageError("--seed: the noise itself is given with --noise; leave out one of them.")
    try:
        return read_noise(options.noise)
    except UsageError as error:
        raise UsageError(f"--noise {error}") from None


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_restore_parser(), restore, arguments)


class _CallableModule(types.ModuleType):
    def __call__(
        self, waveform, sample_rate: int, preset: str | os.PathLike | None = None, **options
    ):
        """Restores a recording with a preset, at its own sample rate.

        That rate has no room for what is added above half of it, which of an MP3 of few kbit/s is
        nearly all: bring such a waveform to 44100 Hz first (`tfrestore.audio.resample`), or use
        `tfrestore.restore_file`, which writes it at the preset's rate.

        Args:
            waveform: float array `(samples,)` or `(channels, samples)`.
            sample_rate: int. Hz.
            preset: folder of a trained run, a built-in preset that has weights, or
                `hf://USER/NAME`. Defaults to `None`: the waveform is looked at, the shipped preset
                that it needs is used, and a waveform that needs none comes back as it is. What was
                found and chosen is logged.
            **options: `gaps`, `progress`, `seed`, `candidate`, `noise`, `strength` and `keep_below`
                of `Restorer.restore`.

        Returns:
            float32 array of the waveform's shape.

        Raises:
            ValueError: if the waveform has another rank or dtype, or samples that are not finite.
            UsageError: if there is no such preset, or as `Restorer.restore` does.
        """
        from tfrestore.recordings import checked_waveform
        from tfrestore.restorer import Restorer

        if preset is None:
            from tfrestore.preset_choice import choose_for_waveform

            waveform = checked_waveform(waveform)
            choice = choose_for_waveform(waveform, sample_rate, bool(options.get("gaps")))
            logger.info("%s", choice.reason)
            if choice.preset is None:
                return waveform
            preset = choice.preset.name
            options.setdefault("keep_below", choice.keep_below)
        return Restorer.from_preset(preset).restore(waveform, sample_rate, **options)


sys.modules[__name__].__class__ = _CallableModule


if __name__ == "__main__":
    sys.exit(main())
