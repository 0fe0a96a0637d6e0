"""How fast Apollo restores, beside what matrix products reach: `python -m benchmarks.apollo`.

Prints, for each precision, the rate of a large matrix product with TensorFlow, measured just before
and just after, and for each length the seconds per second of a channel's audio, the network's
arithmetic (its weights' multiply-adds; attention's own products, 1.6 %, are not counted) over that
time as a share of the rate, and the process's peak resident memory so far. Each precision has a
process of its own. Weights are fresh, which cost what trained ones cost, the path is that of the
restore command from samples to samples, and of lengths below 30 s the better of two runs counts,
the first call of all, in which TensorFlow builds the graph, apart. At last it says how far bfloat16
is from float32.

What was measured on two cores of an AMD EPYC (Zen 5, 1 MiB of L2 per core) and kept:

- Blocks of 32 frames per lane with carried state: no map goes through memory, no page fault is left
  (28 in 3 s of audio), memory does not grow. 64 per lane are a tenth slower.
- Two lanes, a core each (`Apollo.advance`): the blocks alone take 0.73 s per second instead of 0.80
  with TensorFlow's own threads, and 0.65 with operations that use one, as the restore command sets.
- The depth-wise convolution of oneDNN over `(batch, frames, bands, features)`: a third of the time
  of shifted multiply-adds forwards, a twentieth of it with gradients.
- Separate kernels for queries, keys and values and for both halves of the gated layer, instead of
  splitting products: a tenth of these layers' time.
- Residual sums and biases next to their products, two-dimensional: TensorFlow fuses them into one
  operation, and `ops.silu` into oneDNN's.

What did not help, and is not there:

- Weights as constants of the graph, which oneDNN might pack once, or transposed: no difference.
- Rotary embeddings as complex products: 3 % of the attention layer, and not in `keras.ops`.
- Softmax as exponential and division behind the second product: slower than oneDNN's.
- glibc's transparent huge pages (`GLIBC_TUNABLES=glibc.malloc.hugetlb=1`): a tenth slower.

These two lists are mostly of one run each, in processor time on a machine that did other work too.
Not tried: other allocators; XLA, which could save at most the 8 % that SiLU takes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.parser import make_parser

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PRECISIONS = ("float32", "mixed_bfloat16")

_SIDE = 4096
_REPETITIONS = 5

# Seconds from which a single run says enough.
_LONG = 30


def matmul_rate(precision: str) -> float:
    """FLOP per second of a product of two large square matrices, the best of some."""
    import tensorflow as tf

    side = tf.random.normal((_SIDE, _SIDE))
    side = tf.cast(side, "bfloat16" if "bfloat16" in precision else "float32")
    multiply = tf.function(tf.matmul)
    multiply(side, side)
    best = float("inf")
    for _ in range(_REPETITIONS):
        began = time.perf_counter()
        multiply(side, side)[0, 0].numpy()
        best = min(best, time.perf_counter() - began)
    return 2 * _SIDE**3 / best


def arithmetic(network) -> float:
    """FLOP that the network's weights cost per second of a channel's audio."""
    features, taps = network.features, network.kernel_size
    # Per band and frame and block: attention's four kernels, the gated layer's three, and three
    # times the convolution with its two dense layers.
    block = (4 + 3 * 4 + 3 * 2 * 4) * features**2 + 3 * taps * features
    # Per frame: two values per bin and a level per band on the way in, four per bin on the way out.
    bins = network.frame_length // 2 + 1
    edges = (2 * bins + network.bands + 4 * bins) * features
    frames = 44100 / network.hop_length
    return 2 * frames * (network.depth * network.bands * block + edges)


def restore(preset: str, precision: str, seconds: list[float], channels: int) -> None:
    """Restores noise of each length and prints JSON lines; runs in its own process."""
    import numpy as np

    from tfrestore.metrics import si_sdr
    from tfrestore.models.apollo.restorer import ApolloRestorer
    from tfrestore.restorer import Restorer

    ApolloRestorer.prepare_process()
    restorer = Restorer.from_preset(preset, load_weights=False, dtype=precision)
    rng = np.random.default_rng(0)

    def noise(length: float):
        shape = (channels, round(length * restorer.sample_rate))
        return rng.uniform(-0.5, 0.5, shape).astype("float32")

    began = time.perf_counter()
    restorer.restore(noise(1), restorer.sample_rate)
    print(json.dumps({"first": time.perf_counter() - began}))
    for length in sorted(seconds):
        waveform, best = noise(length), float("inf")
        for _ in range(2 if length < _LONG else 1):
            began = time.perf_counter()
            restorer.restore(waveform, restorer.sample_rate)
            best = min(best, time.perf_counter() - began)
        # Linux counts in KiB, macOS in bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        peak = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        cost = best / length / channels
        flops = arithmetic(restorer.network)
        line = {"length": length, "cost": cost, "achieved": flops / cost, "peak": peak}
        print(json.dumps(line), flush=True)
    if precision != PRECISIONS[0]:
        exact = Restorer.from_preset(preset, load_weights=False)
        waveform = noise(3)
        outputs = (each.restore(waveform, exact.sample_rate) for each in (exact, restorer))
        print(json.dumps({"si_sdr": float(np.mean(si_sdr(*outputs)))}))


def run_child(*arguments: str) -> list[dict]:
    """What a process of this module prints."""
    child = [sys.executable, "-m", __spec__.name, *arguments]
    done = subprocess.run(child, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> None:
    """Prints a table per precision."""
    parser = make_parser(__spec__.name, __doc__)
    parser.add_argument("--preset", default="apollo")
    parser.add_argument("--seconds", type=float, nargs="+", default=[1, 3, 10, 60])
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument(
        "--minutes", type=float, nargs="*", default=[], help="also restore stereo files so long"
    )
    parser.add_argument("--child", choices=("rate", "restore"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child == "rate":
        print(json.dumps({"rate": matmul_rate(options.precisions[0])}))
        return
    if options.child == "restore":
        restore(options.preset, options.precisions[0], options.seconds, options.channels)
        return
    for precision in options.precisions:
        shared = ("--precisions", precision)
        before = run_child("--child", "rate", *shared)[0]["rate"]
        first, *lines = run_child(
            *("--child", "restore", *shared, "--preset", options.preset),
            *("--channels", str(options.channels), "--seconds", *map(str, options.seconds)),
        )
        after = run_child("--child", "rate", *shared)[0]["rate"]
        rate = (before + after) / 2
        print(
            f"{options.preset}, {precision}, {options.channels} channel(s): matrix products reach "
            f"{before / 1e9:.0f} and {after / 1e9:.0f} GFLOP/s; first call {first['first']:.1f} s"
        )
        print("seconds  s per second of a channel  share of the rate  peak resident (GiB)")
        for line in lines:
            if "si_sdr" in line:
                print(f"SI-SDR against float32: {line['si_sdr']:.1f} dB")
            else:
                print(
                    f"{line['length']:7g}  {line['cost']:25.3f}  {line['achieved'] / rate:17.2f}  "
                    f"{line['peak'] / 2**30:19.2f}",
                    flush=True,
                )
    if options.minutes:
        from benchmarks.restore_memory import measure

        channels = 2
        print("minutes of stereo  s per second of a channel  peak resident (GiB)")
        with tempfile.TemporaryDirectory() as folder:
            for minutes in options.minutes:
                seconds, peak = measure(minutes, channels, options.preset, Path(folder))
                cost = seconds / 60 / minutes / channels
                print(f"{minutes:17g}  {cost:25.3f}  {peak:19.2f}", flush=True)


if __name__ == "__main__":
    main()
