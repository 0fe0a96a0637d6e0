"""What a second worker gains in a search of many small trials.

Searches the same space at random with one worker and with more, each in a fresh interpreter, on
synthesised music with tiny networks, and prints the seconds and their ratio. Starting the
interpreters counts.

    python -m benchmarks.tuning --trials 24 --workers 1 2
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from benchmarks.parser import make_parser
from tfrestore.command_line import run_command

SAMPLE_RATE = 16000
SPACE = {
    "network.depth": {"min": 2, "max": 3},
    "recipe.learning_rate": {"min": 1e-3, "max": 1e-2, "sampling": "log"},
}
SETTINGS = ("steps_per_epoch=10", "validation_examples=16", "calibration_batches=2")


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = make_parser(__spec__.name, __doc__)
    parser.add_argument("--trials", type=int, default=24, help="trials of each search")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="how many")
    return run_command(parser, benchmark, arguments)


def benchmark(options: argparse.Namespace) -> int:
    """Measures and prints; returns the exit code."""
    from tfrestore.audio.writing import write

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        for split in ("train", "valid"):
            for number in range(3):
                path = folder / "music" / split / f"{number}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                write(path, _music(rng), SAMPLE_RATE)
        (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
        seconds = {workers: _search(folder, workers, options.trials) for workers in options.workers}
    first = options.workers[0]
    for workers, taken in seconds.items():
        print(
            f"{options.trials} trials, --workers {workers}: {taken:.1f} s, "
            f"{taken / seconds[first]:.2f} of the time with {first}"
        )
    return 0


def _search(folder: Path, workers: int, trials: int) -> float:
    """Seconds of one search."""
    command = [sys.executable, "-m", "tuning.search", "--preset", "unet_tiny", "--tuner", "random"]
    command += ["--data", str(folder / "music"), "--space", str(folder / "space.yaml")]
    command += ["--epochs", "1", "--batch-size", "4", "--fix", "filters=4"]
    command += [word for key in SETTINGS for word in ("--set", key)]
    command += ["--max-trials", str(trials), "--workers", str(workers)]
    began = time.perf_counter()
    subprocess.run(
        [*command, "--out", str(folder / f"workers_{workers}")],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


def _music(rng: np.random.Generator) -> np.ndarray:
    """Six seconds of decaying tones over a little noise, float32 (1, samples)."""
    moments = np.arange(6 * SAMPLE_RATE) / SAMPLE_RATE
    tones = np.sin(2 * np.pi * rng.uniform(100, 2000, (4, 1)) * moments)
    waveform = (tones * np.exp(-3 * (moments % rng.uniform(0.3, 1, (4, 1))))).sum(axis=0)
    return (0.1 * waveform + 0.005 * rng.standard_normal(len(moments))).astype(np.float32)[None]


if __name__ == "__main__":
    sys.exit(main())
