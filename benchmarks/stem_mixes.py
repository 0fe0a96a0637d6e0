"""How many mixes of stems and their MP3s are made per second, and where the time goes.

Prints examples per second of the pipeline alone, on all cores that there are, for the first pass
over the files, in which each is searched for silence, and afterwards; then what each stage of an
example takes on one core, and the share of the whole that it is.

    python -m benchmarks.stem_mixes --data stems:FOLDER
"""

from __future__ import annotations

import argparse
import logging
import os
import time

import numpy as np

from benchmarks.parser import make_parser
from benchmarks.rates import items_per_second, print_parts
from tfrestore.command_line import available_cores, positive_integer, run_command

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = make_parser(__spec__.name, __doc__)
    parser.add_argument("--data", default="demo", help="musdb:FOLDER, stems:FOLDER, or any music")
    parser.add_argument("--batch-size", type=positive_integer, default=4, help="examples a batch")
    parser.add_argument("--examples", type=positive_integer, default=100, help="for the stages")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long the pipeline runs")
    return run_command(parser, benchmark, arguments)


def benchmark(options: argparse.Namespace) -> int:
    """Measures and prints; returns the exit code."""
    from tfrestore.data.shards import open_training_data
    from tfrestore.data.stem_mixes import MixReader, StemMixes

    logging.getLogger("tfrestore").setLevel(logging.ERROR)
    mixes = StemMixes()
    tracks = open_training_data(options.data).require("train")
    reader = MixReader(mixes, tracks, seed=0)
    draws = reader.draws
    print(
        f"{options.data}: {sum(map(len, draws.stems.values()))} stems of {len(draws.stems)} "
        f"instruments and {len(draws.mixtures)} mixtures; examples of "
        f"{mixes.samples / mixes.sample_rate:.0f} s at {', '.join(map(str, mixes.bit_rates))} "
        f"kbit/s, {available_cores()} cores"
    )
    _print_rates(mixes, tracks, options)
    _print_stages(reader, tracks, options.examples)
    return 0


def _print_rates(mixes, tracks, options: argparse.Namespace) -> None:
    batches = iter(mixes.dataset(tracks, options.batch_size, seed=0))
    began = time.perf_counter()
    for _ in range(-(-options.examples // options.batch_size)):
        next(batches)
    first = options.examples / (time.perf_counter() - began)
    later = items_per_second(lambda: next(batches), options.batch_size, options.seconds)
    audio = later * mixes.samples / mixes.sample_rate
    print(
        "examples per second:\n"
        f"  the first {options.examples:<20d} {first:8.1f}\n"
        f"  afterwards                     {later:8.1f}   {audio:.0f} s of audio per second"
    )


def _print_stages(reader, tracks, count: int) -> None:
    """What the stages of an example take on one core, without tf.data around them."""
    from tfrestore.audio.mp3 import decode_mp3
    from tfrestore.audio.resampling import resample
    from tfrestore.data.encoded_pairs import encode_heard, to_int16
    from tfrestore.data.excerpts import cut_excerpt, mean_of_channels, plan_excerpt, read_frames
    from tfrestore.data.songs import with_stems
    from tfrestore.data.stem_mixes import mix, rescale

    mixes, draws = reader.mixes, reader.draws
    rate, positions = mixes.sample_rate, range(count)
    files = {track.path: track for track in with_stems(tracks)}
    mixed, decoded, folded, sums, steps, mp3s, waveforms, degraded = ([] for _ in range(8))

    def draw():
        mixed.extend(map(draws.draw, positions))

    def decode():
        for drawn in mixed:
            length = drawn.lead + mixes.samples + reader.tail
            for part in drawn.parts:
                begin = max(0, part.begin - drawn.lead)
                plan = plan_excerpt(part.track, begin, length, rate)
                decoded.append((plan, *read_frames(part.track, plan.first, plan.frames)))

    def fold():
        for plan, waveform, own_rate in decoded:
            length = min(mixes.samples, waveform.shape[1])
            mono = mean_of_channels(waveform)
            folded.append(cut_excerpt(mono, own_rate, plan.offset, length, rate))

    def add():
        for drawn in mixed:
            length = drawn.lead + mixes.samples + reader.tail
            parts = [folded.pop(0) for _ in drawn.parts]
            parts = [np.resize(part, length) for part in parts]
            sums.append(mix(parts, [part.gain for part in drawn.parts]))

    def quantise():
        steps.extend(map(to_int16, sums))

    def encode():
        for drawn, heard in zip(mixed, steps, strict=True):
            mode = drawn.kbit_per_second, drawn.variable_bit_rate
            mp3s.append(encode_heard(heard, drawn.lead, rate, *mode))

    def decode_again():
        for mp3 in mp3s:
            waveforms.append(decode_mp3(mp3.data))

    def convert_back():
        for waveform, codec_rate in waveforms:
            degraded.append(resample(waveform, codec_rate, rate)[0][: mixes.samples])

    def scale():
        for waveform in degraded:
            rescale(waveform, waveform)

    def everything():
        for position in positions:
            reader.read(position)

    # LAME is asked for its bit rates once per process, and files for their silence once.
    draws.draw(0)
    search = ("find where it is silent", lambda: list(map(draws.sources.begins, files.values())))
    print_parts("file, once", len(files), [search])
    stems = sum(len(drawn.parts) for drawn in map(draws.draw, positions)) / count
    print_parts(
        "example",
        count,
        [
            ("draw", draw),
            (f"decode {stems:.1f} stems (soundfile)", decode),
            ("fold, resample where needed", fold),
            ("mix", add),
            ("to 16 bits", quantise),
            ("encode (LAME)", encode),
            ("decode the MP3", decode_again),
            ("resample to the rate", convert_back),
            ("rescale", scale),
            ("all of it", everything),
        ],
    )


if __name__ == "__main__":
    raise SystemExit(main())
