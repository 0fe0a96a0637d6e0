"""How a causal Apollo keeps up with a live stream: `python -m benchmarks.apollo_streaming`.

Prints, for each preset with causal convolutions and for mono and stereo, the latency that the model
itself needs (a window) and, for blocks of one hop (10 ms) and more, how long a block takes to come
and what restoring one costs: the median and the 99th percentile in milliseconds, and the real-time
factor, seconds of computing per second of sound, which has to stay below 1. Weights are fresh;
trained ones cost the same.

Also printed is the share of the machine's float32 matrix-product rate, measured in between, that
the network's products reach.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.parser import make_parser
from benchmarks.sr_gan import make_peak
from tfrestore.command_line import run_command
from tfrestore.models.presets import find_preset, preset_names


def operations_per_frame(network) -> int:
    """Multiplications and additions of the products that make one frame of one channel."""
    per_band = sum(
        int(np.prod(weight.shape))
        for layer in network.sequence
        for weight in layer.weights
        if len(weight.shape) == 2
    )
    attention = 2 * network.bands * network.features * network.depth
    bands = sum(
        int(np.prod(weight.shape))
        for layer in (network.band_split, network.band_reconstruction)
        for weight in layer.weights
        if weight.path.endswith("kernel")
    )
    return 2 * (network.bands * (per_band + attention) + bands)


def make_restorer(preset: str):
    """The restorer of a preset, causal and with fresh weights."""
    found = find_preset(preset)
    return found.make("restorer", found.make("network", causal=True))


def measure(restorer, channels: int, hops: int, blocks: int) -> list[float]:
    """Seconds for each of some blocks of a stream, after those at its beginning."""
    stream = restorer.open_stream(channels)
    size = hops * restorer.network.hop_length
    noise = np.random.default_rng(0).normal(0, 0.1, (channels, size)).astype(np.float32)
    times = []
    for number in range(blocks + 3):
        began = time.perf_counter()
        stream.process(noise)
        if number >= 3:
            times.append(time.perf_counter() - began)
    return times


def benchmark(options: argparse.Namespace) -> int:
    """Prints a line per preset, number of channels and length of blocks; returns the exit code."""
    peak = make_peak()
    for preset in options.presets:
        restorer = make_restorer(preset)
        network, rate = restorer.network, restorer.sample_rate
        hop = network.hop_length / rate
        print(
            f"{preset}: {network.count_params():,} parameters, latency "
            f"{1000 * restorer.latency(rate):.0f} ms"
        )
        print("  channels  block (ms)  median (ms)  99 % (ms)  real-time factor  share of peak")
        for channels in options.channels:
            for hops in options.hops:
                blocks = max(5, round(options.seconds / (hops * hop)))
                times = measure(restorer, channels, hops, blocks)
                rate_reached = operations_per_frame(network) * channels * hops / np.mean(times)
                print(
                    f"  {channels:8d}  {1000 * hops * hop:10.0f}  {1000 * np.median(times):11.2f}"
                    f"  {1000 * np.quantile(times, 0.99):9.2f}"
                    f"  {np.mean(times) / (hops * hop):16.3f}  {rate_reached / peak():13.2f}",
                    flush=True,
                )
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = make_parser(__spec__.name, __doc__)
    causal = ["apollo_tiny", "apollo_small", "apollo_causal"]
    parser.add_argument(
        "--presets", nargs="+", default=causal, choices=preset_names("apollo"), metavar="PRESET"
    )
    parser.add_argument("--channels", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--hops", nargs="+", type=int, default=[1, 8, 32], help="hops of a block")
    parser.add_argument("--seconds", type=float, default=2.0, help="of sound in each measurement")
    return run_command(parser, benchmark, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
