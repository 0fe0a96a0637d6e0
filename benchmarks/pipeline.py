"""Whether the tf.data pipeline keeps a training step fed, and what a patch costs.

Prints, in patches per second: what the pipeline delivers alone, what the model's training step
consumes alone, and both together, for every decoder; then what each part of the pipeline takes.

    python -m benchmarks.pipeline --data demo --preset unet_tiny
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import logging
import os

import numpy as np

from benchmarks.parser import make_parser
from benchmarks.rates import items_per_second, print_parts, start_training
from tfrestore.command_line import run_command

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = make_parser(__spec__.name, __doc__)
    parser.add_argument("--data", default="demo", help="folder of music, fma:FOLDER, or demo")
    parser.add_argument("--preset", default="unet_tiny", help="preset to train")
    parser.add_argument("--batch-size", type=int, help="patches per step")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each is measured")
    return run_command(parser, benchmark, arguments)


def benchmark(options: argparse.Namespace) -> int:
    """Measures and prints; returns the exit code."""
    from tfrestore.audio.tf_decoding import tensorflow_io_available
    from tfrestore.data.catalogue import open_catalogue

    logging.getLogger("tfrestore").setLevel(logging.WARNING)
    training = start_training(options.preset, options.batch_size)
    batch_size, examples = training.batch_size, training.examples
    tracks = open_catalogue(options.data).require("train")
    excerpts = examples.excerpts
    rate = functools.partial(items_per_second, items=batch_size, seconds=options.seconds)

    def measure(name: str, use_tensorflow_io: bool | None) -> None:
        examples.excerpts = dataclasses.replace(excerpts, use_tensorflow_io=use_tensorflow_io)
        dataset = examples.dataset(tracks, batch_size, seed=0)
        batches = iter(training.distribute(dataset))
        batch = next(batches)
        # Measured anew each time: what else the machine does changes from minute to minute.
        consumed = rate(lambda: training.train_step(batch))
        delivered = rate(lambda: next(batches))
        together = rate(lambda: training.train_step(next(batches)))
        print(
            f"decoding with {name}, in patches per second:\n"
            f"  training step alone  {consumed:8.1f}\n"
            f"  pipeline alone       {delivered:8.1f}   {delivered / consumed:.1f} times as many\n"
            f"  both together        {together:8.1f}   {together / consumed:.0%} of the step alone"
        )

    print(f"{options.preset}, batches of {batch_size}, {len(tracks)} tracks of {options.data}")
    measure("the decoders that train chooses", None)
    measure("soundfile", False)
    if tensorflow_io_available():
        measure("tensorflow-io wherever it is exact", True)
    _print_parts(examples, tracks)
    return 0


def _print_parts(examples, tracks, count: int = 200) -> None:
    """What the parts of an excerpt take on one core, without tf.data around them."""
    from tfrestore.audio.reading import read
    from tfrestore.audio.resampling import resample
    from tfrestore.data.pipeline import ExcerptReader

    excerpts, geometry = examples.excerpts, examples.excerpts.geometry
    reader = ExcerptReader(excerpts, tracks, seed=0)
    patches = excerpts.patches_per_excerpt
    plans = [reader.plan(position) for position in range(count)]
    waveforms = np.zeros((count, reader.samples), np.float32)
    decoded = []

    def decode():
        for plan in plans:
            decoded.append(read(plan.track.path, plan.first, plan.frames)[0])

    def convert():
        for plan, waveform in zip(plans, decoded, strict=True):
            mono = waveform.mean(axis=0, keepdims=True)
            resample(mono, plan.track.sample_rate, geometry.sample_rate)

    def mask():
        for position in range(count):
            kind = excerpts.kinds[position % len(excerpts.kinds)]
            excerpts.masks(kind, 0, position * patches, patches).astype(np.float32)

    def transform():
        for first in range(0, count, 8):
            examples.restorer.patch_magnitudes(waveforms[first : first + 8], geometry.frames)

    print_parts(
        "patch",
        count * patches,
        [
            ("decode (soundfile)", decode),
            ("mix and resample", convert),
            ("draw the mask", mask),
            ("STFT", transform),
        ],
    )


if __name__ == "__main__":
    raise SystemExit(main())
