"""What PEAQ and ViSQOL cost on one core, and how that grows with a recording's length.

Measures stereo at 48 kHz, synthesised and what MP3 makes of it. Seconds are the processor's, the
fewest of the repetitions; what is computed once in a process is not in them.

    python -m benchmarks.metrics --seconds 10 20 40
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

from benchmarks.parser import make_parser
from tfrestore.command_line import run_command

SAMPLE_RATE = 48000


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    # As in evaluate's processes, each of which has a core; read when NumPy is first imported.
    for library in ("OPENBLAS_NUM", "MKL_NUM", "OMP_NUM", "VECLIB_MAXIMUM"):
        os.environ[f"{library}_THREADS"] = "1"
    parser = make_parser(__spec__.name, __doc__)
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=[10.0, 20.0, 40.0], help="lengths to measure"
    )
    parser.add_argument("--repetitions", type=int, default=3, help="of each measurement")
    return run_command(parser, benchmark, arguments)


def benchmark(options: argparse.Namespace) -> int:
    """Measures and prints; returns the exit code."""
    from tfrestore import metrics
    from tfrestore.audio.mp3 import mp3_round_trip

    rulers = {"PEAQ": metrics.peaq, "ViSQOL": metrics.visqol}
    reference = synthesize(max(options.seconds))
    estimate = mp3_round_trip(reference, SAMPLE_RATE, 64)

    def measure(ruler: Callable[..., object], length: float) -> float:
        samples = round(length * SAMPLE_RATE)
        began = time.process_time()
        ruler(reference[:, :samples], estimate[:, :samples], SAMPLE_RATE)
        return time.process_time() - began

    shortest = min(options.seconds)
    print("metric  length (s)  seconds  of what proportion would be")
    for name, ruler in rulers.items():
        measure(ruler, shortest)
        taken = {
            length: min(measure(ruler, length) for _ in range(options.repetitions))
            for length in sorted(options.seconds)
        }
        for length, seconds in taken.items():
            ratio = seconds / taken[shortest] / (length / shortest)
            print(f"{name:6}  {length:10g}  {seconds:7.3f}  {ratio:.2f}", flush=True)
    return 0


def synthesize(seconds: float):
    """Decaying tones over a little noise, float32 `(2, samples)`."""
    import numpy as np

    rng = np.random.default_rng(0)
    samples = round(seconds * SAMPLE_RATE)
    waveform = 0.003 * rng.standard_normal((2, samples))
    after = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    for start in range(0, samples, SAMPLE_RATE // 8):
        tone = np.sin(2 * np.pi * rng.uniform(80, 6000) * after) * np.exp(-5 * after)
        part = waveform[:, start : start + SAMPLE_RATE]
        part += rng.uniform(0.02, 0.2, (2, 1)) * tone[: part.shape[1]]
    return waveform.astype("float32")


if __name__ == "__main__":
    raise SystemExit(main())
