"""Which files the restore command restores, and where each of their versions goes."""

from __future__ import annotations

import argparse
import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tfrestore.errors import UsageError
from tfrestore.output_files import check_not_the_source

#: What --format takes; the first is the default.
FORMATS = ("wav", "flac", "ogg", "mp3")


@dataclass(frozen=True)
class Job:
    """One version of a file to make, and where to.

    Attributes:
        source: The file.
        target: Where the version goes.
        candidate: Its number where versions were asked for by number.
        picture: The name of the file's pictures, up to what they show.
    """

    source: Path
    target: Path
    candidate: int | None
    picture: Path


def find_inputs(inputs: Iterable[str], suffix: str) -> list[tuple[Path, Path]]:
    """Files to restore, each once and with the folder its place in an output tree is counted from.

    A folder or a glob stands for the audio files in it, without those whose name ends in `suffix`,
    or in that and the number of a version, before the dot: they are results. A name that is no file
    is taken as a glob and, where nothing matches, as a file that is missing.

    Raises:
        UsageError: if a folder holds no audio.
    """
    from tfrestore.audio.reading import AUDIO_SUFFIXES
    from tfrestore.data.tracks import audio_files

    def is_result(file: Path) -> bool:
        return bool(suffix and re.search(rf"{re.escape(suffix)}(\.[0-9]+)?$", file.stem))

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
        UsageError: if no input is named, or standard input; if two inputs of one name would go into
            one folder, an output would be its own input, or the outputs' place or format cannot be
            used.
    """
    if options.output == "":
        raise UsageError("-o: the name of the output is empty; leave -o out or give a name.")
    if os.sep in options.suffix:
        raise UsageError(f"--suffix {options.suffix}: a part of a file's name; -o names a folder.")
    if not options.inputs:
        raise UsageError("name the files to restore, or --stream to restore standard input.")
    if "-" in options.inputs and not os.path.lexists("-"):
        raise UsageError(
            "- is no file; tfrestore restore --stream --preset NAME restores standard input."
        )
    inputs = find_inputs(options.inputs, options.suffix)
    if options.output is not None and _is_file_name(options.output):
        if len(inputs) > 1:
            raise UsageError(
                f"-o {options.output}: one output file for {len(inputs)} inputs; give a folder."
            )
        jobs = _versions(inputs[0][0], Path(options.output), options)
    else:
        jobs = [
            job
            for source, target in _targets(inputs, options)
            for job in _versions(source, target, options)
        ]
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


def _targets(
    inputs: list[tuple[Path, Path]], options: argparse.Namespace
) -> list[tuple[Path, Path]]:
    """Every input with its output, whose name holds the input's suffix where it would be another's.

    song.mp3 and song.wav of one folder become song.mp3.restored.wav and song.wav.restored.wav.
    """
    with_suffix: set[Path] = set()
    while True:
        targets = [
            (source, _target(source, root, options, source in with_suffix))
            for source, root in inputs
        ]
        counts = Counter(os.path.abspath(target) for _, target in targets)
        # Another file may have been given that longer name already.
        alike = {source for source, target in targets if counts[os.path.abspath(target)] > 1}
        if alike <= with_suffix:
            return targets
        with_suffix |= alike


def _target(source: Path, root: Path, options: argparse.Namespace, with_suffix: bool) -> Path:
    folder = source.parent
    if options.output is not None:
        folder = Path(options.output) / source.parent.relative_to(root)
    name = source.name if with_suffix else source.stem
    number = "" if options.candidate is None else f".{options.candidate}"
    return folder / f"{name}{options.suffix}{number}.{options.format or FORMATS[0]}"


def _versions(source: Path, target: Path, options: argparse.Namespace) -> list[Job]:
    """The jobs of one file, of which `target` is the output but for the numbers of versions."""
    picture = target.with_name(target.stem)
    if options.candidates is None:
        return [Job(source, target, options.candidate, picture)]
    return [
        Job(source, target.with_name(f"{target.stem}.{number}{target.suffix}"), number, picture)
        for number in range(1, options.candidates + 1)
    ]


def _check_format(target: Path, options: argparse.Namespace) -> None:
    """Raises a `UsageError` for what would fail with every file."""
    from tfrestore.audio.writing import writable_subtypes

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
