"""`tfrestore restore --stream`: standard input restored to standard output while it comes."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from tfrestore.errors import UsageError

if TYPE_CHECKING:
    from tfrestore.audio.streams import StreamFormat

#: Encodings of raw samples that may be named.
RAW_ENCODINGS = ("s16le", "s24le", "s32le", "f32le", "f64le")

# Options that choose files, with what they are when they are not given.
_OF_FILES = {
    "output": None,
    "suffix": ".restored",
    "format": None,
    "candidates": None,
    "output_rate": None,
    "pictures": False,
    "overwrite": False,
}

# Options of raw samples.
_OF_RAW = ("sample_rate", "channels")

# What can be done about the latency of a model that is given chunks.
_SOONER = " (a causal model, as of the preset apollo_causal, is not; --chunk-seconds shortens it)"

logger = logging.getLogger(__name__)


def add_stream_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that only streams have."""
    from tfrestore.command_line import positive_integer

    group = parser.add_argument_group(
        "streams",
        "With --stream, sound is read from standard input and written to standard output while it\n"
        "comes, WAV to WAV or raw samples to raw samples of the same kind. A causal model, as of\n"
        "the preset apollo_causal, is 20 ms behind, any other by its --chunk-seconds and more.",
    )
    group.add_argument(
        "--stream", action="store_true", help="restore standard input to standard output"
    )
    group.add_argument(
        "--raw",
        choices=RAW_ENCODINGS,
        help="standard input has no WAV header but such samples, interleaved; names as FFmpeg's",
    )
    group.add_argument("--sample-rate", type=positive_integer, metavar="HZ", help="of raw samples")
    group.add_argument("--channels", type=positive_integer, metavar="COUNT", help="of raw samples")


def check_stream_options(options: argparse.Namespace) -> None:
    """Refuses what cannot be asked for together.

    Raises:
        UsageError: naming the option.
    """
    raw = [_option(name) for name in ("raw", *_OF_RAW) if getattr(options, name) is not None]
    if not options.stream:
        if raw:
            raise UsageError(f"{raw[0]}: describes a stream; add --stream.")
        return
    if options.inputs not in ([], ["-"]):
        raise UsageError(
            f"--stream: restores standard input; leave out {options.inputs[0]}, or --stream."
        )
    for name, default in _OF_FILES.items():
        if getattr(options, name) != default:
            raise UsageError(f"{_option(name)}: is for files; leave it out with --stream.")
    if options.raw is None and raw:
        raise UsageError(f"{raw[0]}: a WAV says that itself; name the samples with --raw.")
    missing = [_option(name) for name in _OF_RAW if getattr(options, name) is None]
    if options.raw is not None and missing:
        raise UsageError(f"--raw: raw samples do not say what they are; give {missing[0]} too.")


def restore_stream(options: argparse.Namespace, load_restorer, noise) -> int:
    """Restores standard input to standard output.

    Args:
        options: The parsed options, checked.
        load_restorer: Gives the restorer; called once the input's header has been read.
        noise: What `Restorer.choose_noise` takes as noise.

    Returns:
        The exit code.

    Raises:
        UsageError: if input or output is a terminal, or is closed.
        AudioFileError: if the input is no sound that can be read.
    """
    from tfrestore.audio.streams import SUBTYPES, StreamWriter, read_blocks

    source, sink = _open_streams()
    form = _input_format(source, options)
    encoding = SUBTYPES.get(options.subtype) or {"u8": "s16le"}.get(form.encoding, form.encoding)
    restorer = load_restorer()
    latency = restorer.latency(form.sample_rate)
    looks_ahead = restorer.open_stream(1) is None
    logger.info(
        "restoring %d channels at %d Hz, %s behind%s",
        form.channels,
        form.sample_rate,
        _time(latency),
        _SOONER if looks_ahead else "",
    )
    silenced = _Silenced()
    writer = StreamWriter(sink, dataclasses.replace(form, encoding=encoding), _is_file(sink))
    blocks = silenced.finite(read_blocks(source, form))
    for block in _restored(restorer, blocks, form, options, noise):
        writer.write(block)
    writer.finish()
    _report(writer, form, silenced.samples)
    return 0


def _restored(restorer, blocks, form: StreamFormat, options, noise) -> Iterator[np.ndarray]:
    from tfrestore.progress import progress_bars

    with progress_bars() as bars:
        bar = bars.add_task("stream", total=form.frames and 100, note="%" if form.frames else "")
        yield from restorer.restore_blocks(
            blocks,
            form.sample_rate,
            form.channels,
            form.frames or 0,
            gaps=options.gaps,
            progress=lambda done: bars.update(bar, completed=round(100 * done)),
            noise=restorer.choose_noise(options.seed, options.candidate, noise),
            strength=options.strength,
        )


def _open_streams():
    if sys.stdin is None or sys.stdout is None:
        raise UsageError("--stream: standard input or output is closed; use the command in a pipe.")
    for stream, what in ((sys.stdin, "standard input"), (sys.stdout, "standard output")):
        if stream.isatty():
            raise UsageError(
                f"--stream: {what} is a terminal; use the command in a pipe, as in "
                "cat a.wav | tfrestore restore --stream --preset FOLDER > b.wav."
            )
    return sys.stdin.buffer, sys.stdout.buffer


def _input_format(source, options: argparse.Namespace) -> StreamFormat:
    from tfrestore.audio.streams import StreamFormat, read_wav_header

    if options.raw is None:
        form = read_wav_header(source)
    else:
        form = StreamFormat(options.sample_rate, options.channels, options.raw)
    return form


def _is_file(sink) -> bool:
    """Whether what was written may be written over: a file, not opened for appending."""
    with suppress(OSError, ImportError):
        import fcntl

        flags = fcntl.fcntl(sink.fileno(), fcntl.F_GETFL)
        return sink.seekable() and not flags & os.O_APPEND
    return False


class _Silenced:
    """Replaces samples that are no numbers, which floats in a stream may be.

    Attributes:
        samples: How many there were, of all channels.
    """

    def __init__(self):
        self.samples = 0

    def finite(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """The blocks with zeros for what is not finite."""
        for block in blocks:
            finite = np.isfinite(block)
            self.samples += int(np.count_nonzero(~finite))
            yield np.where(finite, block, np.float32(0))


def _report(writer, form: StreamFormat, silenced: int) -> None:
    seconds = writer.frames / form.sample_rate
    if form.frames is not None and writer.frames < form.frames:
        logger.warning(
            "standard input ended after %.2f of %.2f s; all of that is restored",
            seconds,
            form.frames / form.sample_rate,
        )
    else:
        logger.info("standard input ended after %.2f s; all of it is restored", seconds)
    if silenced:
        logger.warning("%d samples were no finite numbers and taken for silence", silenced)
    if writer.clipped_samples:
        logger.warning(
            "samples beyond full scale were clipped (%d); --subtype float keeps them",
            writer.clipped_samples,
        )


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
