"""`python -m tfrestore.restore`: restores recordings; and `tfrestore.restore(...)` for arrays.

The module is callable, so that the command's name and the function's can be the same.
"""

from __future__ import annotations

import argparse
import glob
import itertools
import logging
import math
import os
import sys
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tfrestore.command_line import make_parser, run_command
from tfrestore.errors import InputError, UsageError
from tfrestore.output_files import check_not_the_source, make_folder

EXAMPLES = """\
  tfrestore restore old.flac --preset runs/first
  tfrestore restore album/ 'tapes/*.wav' --preset runs/first -o restored/ --format flac
  tfrestore restore take.wav --preset runs/first --gap 12.30-12.34 --gap 15.0-15.02"""

#: What --format takes; the first is the default.
FORMATS = ("wav", "flac", "ogg", "mp3")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One file to restore and where to."""

    source: Path
    target: Path


def make_restore_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = make_parser(
        "restore",
        "Restore recordings of any format, sample rate, length and number of channels. The result\n"
        "lies next to each file as NAME.restored.wav, with the same rate, channels and length.\n"
        "The paths of the results are printed, one per line. A file that cannot be restored does\n"
        "not stop the others; the exit code is then 1, and 2 where the command was misused.",
        EXAMPLES,
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE", help="files, folders (with all below) or quoted globs"
    )
    parser.add_argument(
        "--preset",
        "--model",
        dest="preset",
        required=True,
        metavar="FOLDER",
        help="the model: the folder that train wrote with --out",
    )
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
        "--gap",
        dest="gaps",
        action="append",
        default=[],
        type=parse_gap,
        metavar="START-STOP",
        help="a stretch in seconds that is lost, beside those that are found; may be repeated",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace outputs that exist; else they are skipped"
    )
    return parser


def parse_gap(text: str) -> tuple[float, float]:
    """`"1.5-1.54"` as (1.5, 1.54), in seconds."""
    try:
        start, stop = (float(part) for part in text.split("-"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not START-STOP in seconds") from None
    if not 0 <= start < stop < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: the stop has to come after the start")
    return start, stop


def find_inputs(inputs: Iterable[str], suffix: str) -> list[tuple[Path, Path]]:
    """Files to restore, each once and with the folder its place in an output tree is counted from.

    A folder or a glob stands for the audio files in it, without those whose name ends in `suffix`
    before the dot: they are results. A name that is no file is taken as a glob and, where nothing
    matches, as a file that is missing.

    Raises:
        UsageError: if a folder holds no audio.
    """
    from tfrestore.audio.files import AUDIO_SUFFIXES
    from tfrestore.data.catalogue import audio_files

    def is_result(file: Path) -> bool:
        return bool(suffix) and file.stem.endswith(suffix)

    found: dict[str, tuple[Path, Path]] = {}
    for name in inputs:
        if not name:
            raise UsageError("one of the names of files is empty; leave it out.")
        matches, root = [Path(name)], None
        if not os.path.lexists(name):
            globbed = [Path(path) for path in sorted(glob.glob(name, recursive=True))]
            audio = [p for p in globbed if p.is_dir() or p.suffix.lower() in AUDIO_SUFFIXES]
            matches = [p for p in audio if not is_result(p)] or audio or matches
            # A tree is counted from where the pattern begins.
            fixed = itertools.takewhile(lambda part: not glob.has_magic(part), Path(name).parts)
            root = Path(*fixed) if audio else None
        for path in matches:
            files = [path]
            if path.is_dir():
                files = [file for file in audio_files(path) if not is_result(file)]
            if not files:
                raise UsageError(
                    f"{path}: no audio files in this folder; give one that holds "
                    f"{', '.join(sorted(AUDIO_SUFFIXES))}."
                )
            for file in files:
                top = root or (path if path.is_dir() else path.parent)
                found.setdefault(os.path.abspath(file), (file, top))
    return list(found.values())


def plan_jobs(options: argparse.Namespace) -> list[Job]:
    """Every input with its output; inputs that are another input's output are left out.

    Raises:
        UsageError: if two inputs would have one output, an output would be its own input, or the
            outputs' place or format cannot be used.
    """
    if options.output == "":
        raise UsageError("-o: the name of the output is empty; leave -o out or give a name.")
    if os.sep in options.suffix:
        raise UsageError(f"--suffix {options.suffix}: a part of a file's name; -o names a folder.")
    inputs = find_inputs(options.inputs, options.suffix)
    if options.output is not None and _is_file_name(options.output):
        if len(inputs) > 1:
            raise UsageError(
                f"-o {options.output}: one output file for {len(inputs)} inputs; give a folder."
            )
        jobs = [Job(inputs[0][0], Path(options.output))]
    else:
        jobs = [Job(source, _target(source, root, options)) for source, root in inputs]
    _check_format(jobs[0].target, options)
    taken: dict[str, Path] = {}
    for job in jobs:
        check_not_the_source(job.source, job.target)
        other = taken.setdefault(os.path.abspath(job.target), job.source)
        if other != job.source:
            raise UsageError(
                f"{job.source} and {other} would both be written to {job.target}; restore them one "
                "at a time with -o, or into different folders."
            )
    # A shell's *.wav names, the second time, what came out of the first.
    return [job for job in jobs if os.path.abspath(job.source) not in taken]


def _is_file_name(output: str) -> bool:
    """Whether -o means a file: it has a suffix, is no folder and does not end in a slash."""
    is_folder = os.path.isdir(output) or output.endswith(os.sep)
    if os.path.exists(output) and not is_folder and not Path(output).suffix:
        raise UsageError(f"-o {output}: this is a file; give a folder, or a name with a suffix.")
    return bool(Path(output).suffix) and not is_folder


def _target(source: Path, root: Path, options: argparse.Namespace) -> Path:
    folder = source.parent
    if options.output is not None:
        folder = Path(options.output) / source.parent.relative_to(root)
    return folder / f"{source.stem}{options.suffix}.{options.format or FORMATS[0]}"


def _check_format(target: Path, options: argparse.Namespace) -> None:
    """Raises a `UsageError` for what would fail with every file."""
    from tfrestore.audio.files import writable_subtypes

    subtypes = writable_subtypes(target)
    if options.subtype and options.subtype not in subtypes:
        raise UsageError(
            f"--subtype {options.subtype}: {target.suffix} holds {', '.join(subtypes)}; leave it "
            "out or choose another --format."
        )
    if options.format and target.suffix.lower() != f".{options.format}":
        raise UsageError(
            f"--format {options.format}: the suffix of -o {target} says otherwise; leave out one."
        )


def restore(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    from tfrestore.models.presets import find_preset
    from tfrestore.progress import print_result, progress_bars

    jobs = plan_jobs(options)
    # A mistyped name, of the model here and of a file below, is told before TensorFlow is loaded.
    find_preset(options.preset)
    restorer, failed = None, []
    with progress_bars() as bars:
        overall = bars.add_task("files", total=len(jobs), note="", visible=len(jobs) > 1)
        for position, job in _startable(jobs, options.overwrite, failed):
            if restorer is None:
                loading = bars.add_task("loading the model", total=None, note="")
                restorer = _load_restorer(options)
                bars.remove_task(loading)
            bars.update(overall, completed=position)
            bar = bars.add_task(job.source.name, total=100, note="%")
            try:
                make_folder(job.target.parent)
                restorer.restore_file(
                    job.source,
                    job.target,
                    subtype=options.subtype,
                    gaps=options.gaps,
                    progress=lambda done, bar=bar: bars.update(bar, completed=round(100 * done)),
                )
                print_result(bars, str(job.target))
            except InputError as error:
                logger.error("%s", error)
                failed.append(job.source)
            finally:
                bars.remove_task(bar)
        bars.update(overall, completed=len(jobs))
    if failed:
        names = ", ".join(map(str, failed))
        print(
            f"tfrestore restore: {len(failed)} of {len(jobs)} files failed: {names}",
            file=sys.stderr,
        )
    return 1 if failed else 0


def _startable(jobs: list[Job], overwrite: bool, failed: list[Path]) -> Iterator[tuple[int, Job]]:
    """The jobs that can be begun, with their positions; says of the others why not."""
    from tfrestore.audio.files import read_info

    for position, job in enumerate(jobs):
        if job.target.exists() and not overwrite:
            logger.warning("%s exists already, skipped; --overwrite replaces it.", job.target)
            continue
        try:
            read_info(job.source)
        except InputError as error:
            logger.error("%s", error)
            failed.append(job.source)
            continue
        yield position, job


def _load_restorer(options: argparse.Namespace):
    from tfrestore.restorer import Restorer

    restorer = Restorer.from_preset(options.preset)
    if options.gaps and not restorer.accepts_gaps:
        raise UsageError(f"--gap: the model in {options.preset} fills no gaps; leave it out.")
    return restorer


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_restore_parser(), restore, arguments)


class _CallableModule(types.ModuleType):
    def __call__(self, waveform, sample_rate: int, preset: str | os.PathLike, **options):
        """Restores a recording with a preset.

        Args:
            waveform: float array `(samples,)` or `(channels, samples)`.
            sample_rate: int. Hz.
            preset: folder of a trained run, or a built-in preset that has weights.
            **options: `gaps` and `progress` of `Restorer.restore`.

        Returns:
            float32 array of the waveform's shape.
        """
        from tfrestore.restorer import Restorer

        return Restorer.from_preset(preset).restore(waveform, sample_rate, **options)


sys.modules[__name__].__class__ = _CallableModule


if __name__ == "__main__":
    sys.exit(main())
