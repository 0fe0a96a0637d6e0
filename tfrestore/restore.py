"""`python -m tfrestore.restore`: restores recordings; and `tfrestore.restore(...)` for arrays.

The module is callable, so that the command's name and the function's can be the same.
"""

from __future__ import annotations

import argparse
import glob
import logging
import os
import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tfrestore.command_line import make_parser, run_command
from tfrestore.errors import AudioFileError, InputError, UsageError

EXAMPLES = """\
  tfrestore restore old.flac --preset runs/first
  tfrestore restore album/ 'tapes/*.wav' --preset runs/first -o restored/ --format flac
  tfrestore restore take.wav --preset runs/first --gap 12.30-12.34 --gap 15.0-15.02"""

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
        "lies next to each file as NAME.restored.wav, with the same rate, channels and length.",
        EXAMPLES,
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE", help="files, folders (with all below) or globs"
    )
    parser.add_argument(
        "--preset", "--model", dest="preset", required=True, help="folder of a trained run"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="output file, or folder where the inputs' tree is kept",
    )
    parser.add_argument("--suffix", default=".restored", help="what is put behind a file's name")
    parser.add_argument(
        "--format",
        default="wav",
        choices=("wav", "flac", "ogg", "mp3"),
        help="format of the output",
    )
    parser.add_argument(
        "--subtype",
        choices=("16", "24", "float"),
        help="sample format of WAV and FLAC; by default the input's, and 24 for compressed inputs",
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
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    return parser


def parse_gap(text: str) -> tuple[float, float]:
    """`"1.5-1.54"` as (1.5, 1.54), in seconds."""
    try:
        start, stop = (float(part) for part in text.split("-"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not START-STOP in seconds") from None
    if not 0 <= start < stop:
        raise argparse.ArgumentTypeError(f"{text!r}: the stop has to come after the start")
    return start, stop


def find_inputs(inputs: Iterable[str], suffix: str) -> list[tuple[Path, Path]]:
    """Files to restore, each with the folder its place in an output tree is counted from.

    A folder stands for all audio files below it, without those that already end in `suffix`. A name
    that is no file is taken as a glob, and, where nothing matches, as a file that is missing.

    Raises:
        UsageError: if a folder holds no audio.
    """
    from tfrestore.audio.files import AUDIO_SUFFIXES

    found: dict[Path, Path] = {}
    for name in inputs:
        matches = [name] if os.path.exists(name) else sorted(glob.glob(name, recursive=True))
        for path in map(Path, matches or [name]):
            if not path.is_dir():
                found.setdefault(path, path.parent)
                continue
            files = [
                file
                for file in sorted(path.rglob("*"))
                if file.suffix.lower() in AUDIO_SUFFIXES
                and not file.stem.endswith(suffix)
                and not file.name.startswith(".")
                and file.is_file()
            ]
            if not files:
                raise UsageError(
                    f"{path}: no audio files in this folder; give one that holds "
                    f"{', '.join(sorted(AUDIO_SUFFIXES))}."
                )
            for file in files:
                found.setdefault(file, path)
    return list(found.items())


def plan_jobs(options: argparse.Namespace) -> list[Job]:
    """Every input with its output.

    Raises:
        UsageError: if two inputs would have one output, or a folder of outputs is a file.
    """
    inputs = find_inputs(options.inputs, options.suffix)
    output = Path(options.output) if options.output else None
    to_file = output is not None and bool(output.suffix) and not output.is_dir()
    if to_file:
        if len(inputs) > 1:
            raise UsageError(
                f"-o {output}: one output file for {len(inputs)} inputs; give a folder."
            )
        return [Job(inputs[0][0], output)]
    if output is not None and output.exists() and not output.is_dir():
        raise UsageError(f"-o {output}: this is a file; give a folder, or a name with a suffix.")
    jobs, taken = [], {}
    for source, root in inputs:
        name = f"{source.stem}{options.suffix}.{options.format}"
        target = (output / source.parent.relative_to(root) if output else source.parent) / name
        if target in taken:
            raise UsageError(
                f"{source} and {taken[target]} would both be written to {target}; restore them one "
                "at a time with -o, or into different folders."
            )
        taken[target] = source
        jobs.append(Job(source, target))
    return jobs


def restore(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    jobs = plan_jobs(options)

    from tfrestore.audio.files import read_info
    from tfrestore.progress import progress_bars
    from tfrestore.restorer import Restorer

    restorer = Restorer.from_preset(options.preset)
    if options.gaps and not restorer.accepts_gaps:
        raise UsageError(f"--gap: the model in {options.preset} fills no gaps; leave it out.")
    failed, skipped = [], 0
    with progress_bars() as bars:
        overall = bars.add_task("files", total=len(jobs), note="", visible=len(jobs) > 1)
        for job in jobs:
            bar = bars.add_task(job.source.name, total=100, note="%")
            try:
                if job.target.exists() and not options.overwrite:
                    logger.warning(
                        "%s: exists already, skipped; --overwrite replaces it", job.target
                    )
                    skipped += 1
                    continue
                info = read_info(job.source)
                _make_folder(job.target.parent)
                restorer.restore_file(
                    job.source,
                    job.target,
                    subtype=options.subtype or default_subtype(info, job.target.suffix),
                    gaps=options.gaps,
                    progress=lambda done, bar=bar: bars.update(bar, completed=round(100 * done)),
                )
                print(job.target)
            except InputError as error:
                logger.error("%s", error)
                failed.append(job.source)
            finally:
                bars.remove_task(bar)
                bars.advance(overall)
    if failed:
        names = ", ".join(str(path) for path in failed)
        print(
            f"tfrestore restore: {len(failed)} of {len(jobs)} files failed: {names}",
            file=sys.stderr,
        )
    if skipped and skipped == len(jobs):
        logger.info("nothing was left to do")
    return 1 if failed else 0


def default_subtype(info, suffix: str) -> str | None:
    """The sample format of an output whose user asked for none: the input's where there is one."""
    if suffix.lower() not in (".wav", ".flac"):
        return None
    if info.subtype in ("PCM_16", "PCM_U8", "PCM_S8"):
        return "16"
    if info.subtype in ("FLOAT", "DOUBLE") and suffix.lower() == ".wav":
        return "float"
    return "24"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudioFileError(
            f"{folder}: this folder cannot be made ({error.strerror}); choose another with -o."
        ) from None


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
