"""Whether pairs of music and its MP3 come as fast as a training step takes them.

Prepares the training tracks into shards and then prints, in pairs per second and for pairs made on
the fly and pairs from the shards: what the pipeline delivers alone, what the training step consumes
alone, and both together, with the share of the time for which the step waits. Then what each part
of a pair takes on one core.

    python -m benchmarks.mp3_pairs --data FOLDER --preset sr_gan_tiny
"""

from __future__ import annotations

import argparse
import functools
import logging
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.parser import make_parser
from benchmarks.rates import items_per_second, print_parts, start_training
from tfrestore.command_line import available_cores, run_command

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Of so many pairs the parts are measured.
PARTS_PAIRS = 100


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = make_parser(__spec__.name, __doc__)
    parser.add_argument("--data", default="demo", help="folder of music, fma:FOLDER, or demo")
    parser.add_argument("--preset", default="sr_gan_tiny", help="preset to train")
    parser.add_argument("--batch-size", type=int, help="pairs per step")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each is measured")
    return run_command(parser, benchmark, arguments)


def benchmark(options: argparse.Namespace) -> int:
    """Measures and prints; returns the exit code."""
    from tfrestore.data.catalogue import open_catalogue
    from tfrestore.data.mp3_pairs import Mp3Pairs
    from tfrestore.data.preparation import prepare_pairs
    from tfrestore.data.shards import open_shards

    logging.getLogger("tfrestore").setLevel(logging.WARNING)
    training = start_training(options.preset, options.batch_size)
    batch_size, examples = training.batch_size, training.examples
    catalogue = open_catalogue(options.data)
    tracks = catalogue.require("train")
    pairs: Mp3Pairs = examples.pairs
    rate = functools.partial(items_per_second, items=batch_size, seconds=options.seconds)

    def measure(name: str, source) -> None:
        # Measured anew each time: what else the machine does changes from minute to minute. The
        # pipeline is not there yet, for it would work meanwhile.
        (batch,) = examples.dataset(source, batch_size, seed=0, batches=1)
        consumed = rate(lambda: training.train_step(batch))
        dataset = examples.dataset(source, batch_size, seed=0)
        batches = iter(training.distribute(dataset))
        delivered = rate(lambda: next(batches))
        waited = 0.0

        def both() -> None:
            nonlocal waited
            began = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - began
            training.train_step(batch)

        began = time.perf_counter()
        together = rate(both)
        waiting = waited / (time.perf_counter() - began)
        print(
            f"{name}, in pairs per second:\n"
            f"  training step alone  {consumed:8.1f}\n"
            f"  pipeline alone       {delivered:8.1f}   {delivered / consumed:.1f} times as many\n"
            f"  both together        {together:8.1f}   {together / consumed:.0%} of the step "
            f"alone; waits for {waiting:.1%} of the time"
        )

    rates = ", ".join(map(str, pairs.bit_rates))
    print(
        f"{options.preset}, batches of {batch_size}, {len(tracks)} tracks of {options.data} at "
        f"{rates} kbit/s, {available_cores()} cores"
    )
    with tempfile.TemporaryDirectory() as temporary:
        began = time.perf_counter()
        folder = Path(temporary) / "pairs"
        outcome = prepare_pairs(catalogue, ["train"], pairs, folder, available_cores())
        speed = outcome.pairs / (time.perf_counter() - began)
        size = outcome.size / outcome.pairs / 1e3
        print(f"preparing: {speed:.1f} pairs per second, {size:.0f} kB each")
        measure("made on the fly", tracks)
        measure("from shards", open_shards(folder).require("train"))
        _print_parts(pairs, tracks, open_shards(folder))
    return 0


def _print_parts(pairs, tracks, prepared) -> None:
    """What the parts of a pair take on one core, without tf.data around them."""
    from tfrestore.audio.mp3 import decode_mp3, encode_mp3
    from tfrestore.audio.reading import read
    from tfrestore.audio.resampling import resample
    from tfrestore.data.encoded_pairs import LEAD_SECONDS, TAIL_SECONDS, encode_pair
    from tfrestore.data.excerpt_pairs import PairReader
    from tfrestore.data.excerpts import plan_excerpt
    from tfrestore.data.shards import read_pair

    rate, kbit_per_second = pairs.sample_rate, pairs.bit_rates[0]
    reader = PairReader(pairs, tracks, seed=0)
    lead, tail = round(LEAD_SECONDS * rate), round(TAIL_SECONDS * rate)
    plans, waveforms, records = [], [], []
    for track, number in map(reader.place, range(PARTS_PAIRS)):
        first = max(0, pairs.begins(track)[number] - lead)
        plans.append(plan_excerpt(track, first, lead + pairs.samples + tail, rate))
    for track, number in map(PairReader(pairs, prepared, seed=0).place, range(PARTS_PAIRS)):
        records.append(track.records[number])
    mp3s, decoded = [], []

    def decode():
        for plan in plans:
            waveform, _ = read(plan.track.path, plan.first, plan.frames)
            waveforms.append(waveform.mean(axis=0, keepdims=True))

    def convert():
        for index, plan in enumerate(plans):
            waveforms[index] = resample(waveforms[index], plan.track.sample_rate, rate)

    def encode():
        for waveform in waveforms:
            mp3s.append(encode_mp3(waveform, rate, kbit_per_second))

    def decode_again():
        for mp3 in mp3s:
            decoded.append(decode_mp3(mp3))

    def convert_back():
        for waveform, codec_rate in decoded:
            resample(waveform, codec_rate, rate)

    def make():
        for track, number in map(reader.place, range(PARTS_PAIRS)):
            begin = pairs.begins(track)[number]
            pair = encode_pair(track, begin, pairs.samples, rate, [kbit_per_second])
            pair.decode(kbit_per_second, rate)

    def read_kept():
        for record in records:
            read_pair(record).decode(kbit_per_second, rate)

    # LAME is asked for its bit rates once per process.
    encode_mp3(np.zeros((1, 1), np.float32), rate, kbit_per_second)
    print_parts(
        "pair",
        PARTS_PAIRS,
        [
            ("decode (soundfile), mix", decode),
            ("resample, where needed", convert),
            ("encode (LAME)", encode),
            ("decode the MP3", decode_again),
            ("resample to the rate", convert_back),
            ("on the fly, all of it", make),
            ("from a shard, all of it", read_kept),
        ],
    )


if __name__ == "__main__":
    raise SystemExit(main())
