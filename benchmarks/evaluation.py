"""How `tfrestore evaluate` scales with its processes.

Scores the same pairs, synthesised music and what MP3 makes of it, with one process and with more,
each in a fresh interpreter, and prints the seconds and their ratio.

    python -m benchmarks.evaluation --files 32 --seconds 10
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.parser import make_parser
from tfrestore.command_line import run_command

SAMPLE_RATE = 44100


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = make_parser(__spec__.name, __doc__)
    parser.add_argument("--files", type=int, default=32, help="pairs to score")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2], help="processes")
    return run_command(parser, benchmark, arguments)


def benchmark(options: argparse.Namespace) -> int:
    """Measures and prints; returns the exit code."""
    from tfrestore.audio.mp3 import mp3_round_trip
    from tfrestore.audio.writing import write

    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.files):
            waveform = _music(options.seconds, number)
            decoded = mp3_round_trip(waveform, SAMPLE_RATE, 64)
            for name, each in (("originals", waveform), ("mp3", decoded)):
                path = Path(folder, name, f"{number}.wav")
                path.parent.mkdir(exist_ok=True)
                write(path, each, SAMPLE_RATE)
        seconds = {jobs: _evaluate(Path(folder), jobs) for jobs in options.jobs}
    first = options.jobs[0]
    for jobs, taken in seconds.items():
        print(
            f"{options.files} stereo files of {options.seconds:g} s, every metric, --jobs {jobs}: "
            f"{taken:.1f} s, {taken / seconds[first]:.2f} of the time with {first}"
        )
    return 0


def _evaluate(folder: Path, jobs: int) -> float:
    """Seconds of one evaluation, start of the interpreter and report included."""
    command = [sys.executable, "-m", "tfrestore.evaluate", "--pairs"]
    command += [str(folder / name) for name in ("originals", "mp3")]
    command += ["--jobs", str(jobs), "--out", str(folder / f"report-{jobs}")]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _music(seconds: float, seed: int) -> np.ndarray:
    """Decaying chords over noise, float32 `(2, samples)`."""
    rng = np.random.default_rng(seed)
    moments = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    waveform = 0.003 * rng.standard_normal((2, len(moments)))
    for onset in np.arange(0, seconds, 0.3):
        after = np.maximum(moments - onset, 0)
        for frequency in rng.uniform(80, 6000, 5):
            tone = np.sin(2 * np.pi * frequency * after) * np.exp(-5 * after) * (moments >= onset)
            waveform += 0.05 * rng.uniform(0.5, 1, (2, 1)) * tone
    return waveform.astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
