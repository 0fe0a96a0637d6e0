"""How much memory and time restoring a long file takes: `python -m benchmarks.restore_memory`.

Writes noise under decaying tones, with a gap in every second, at 44.1 kHz, and restores it
with the architecture of a preset and fresh weights, which costs what trained ones cost. Every
length has a process of its own, so that each peak is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.parser import make_parser

SAMPLE_RATE = 44100
GAP_SECONDS = 0.03


def write_recording(path: Path, minutes: float, channels: int) -> None:
    """Writes the recording second by second, so that this process stays small as well."""
    import numpy as np

    from tfrestore.audio.writing import AudioWriter

    rng = np.random.default_rng(0)
    time_axis = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    gap = slice(SAMPLE_RATE // 2, SAMPLE_RATE // 2 + round(GAP_SECONDS * SAMPLE_RATE))
    frames = round(60 * minutes * SAMPLE_RATE)
    with AudioWriter(path, SAMPLE_RATE, channels, subtype="16", frames=frames) as writer:
        for start in range(0, frames, SAMPLE_RATE):
            second = rng.uniform(-0.05, 0.05, (channels, SAMPLE_RATE)).astype(np.float32)
            pitch = rng.uniform(100, 2000)
            second += 0.4 * np.sin(2 * np.pi * pitch * time_axis) * np.exp(-2 * time_axis)
            second[:, gap] = 0
            writer.write(second[:, : frames - start])


def restore(source: Path, target: Path, preset: str) -> None:
    """Restores and prints seconds and peak resident bytes as JSON; runs in its own process."""
    from tfrestore.models.presets import find_preset
    from tfrestore.restorer import Restorer

    find_preset(preset).find_class("restorer").prepare_process()
    restorer = Restorer.from_preset(preset, load_weights=False)
    began = time.monotonic()
    restorer.restore_file(source, target)
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": time.monotonic() - began, "peak": peak}))


def measure(minutes: float, channels: int, preset: str, folder: Path) -> tuple[float, float]:
    """Seconds and peak resident GiB for a recording of that length."""
    source, target = folder / "recording.wav", folder / "restored.wav"
    write_recording(source, minutes, channels)
    try:
        child = [sys.executable, "-m", __spec__.name, "--child", str(source), str(target)]
        done = subprocess.run(
            [*child, "--preset", preset], stdout=subprocess.PIPE, text=True, check=True
        )
    finally:
        for path in (source, target):
            path.unlink(missing_ok=True)
    result = json.loads(done.stdout)
    return result["seconds"], result["peak"] / 2**30


def main() -> None:
    """Prints a line per length."""
    parser = make_parser(__spec__.name, __doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[60, 120])
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--preset", default="unet_tiny")
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        restore(*options.child, options.preset)
        return
    print("minutes  peak resident (GiB)  seconds  times real time")
    with tempfile.TemporaryDirectory() as folder:
        for minutes in options.minutes:
            seconds, peak = measure(minutes, options.channels, options.preset, Path(folder))
            speed = 60 * minutes / seconds
            print(f"{minutes:7.1f}  {peak:19.3f}  {seconds:7.1f}  {speed:15.1f}", flush=True)


if __name__ == "__main__":
    main()
