"""What the paper-size frequency-aggregation GAN costs: `python -m benchmarks.sr_gan`.

Prints the machine's float32 matrix-product peak, and seconds, peak memory and share of that peak
for the generator's forward pass over a recording's frames, for restoring the recording, and for one
training step of generator and critic. The share counts the products of Table 1, zeros that pad
among them, and neither activations nor Fourier transforms.

Every row has a process of its own, so that each peak of memory is its own; each measures the
machine's peak between its runs, so that both have the same neighbours. The best run counts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

from benchmarks.parser import make_parser

PEAK_SIZE = 4096


def best_seconds(function, runs: int) -> float:
    """The shortest of several runs."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times)


def make_peak():
    """A function that measures operations per second of a large product of two matrices."""
    import numpy as np
    import tensorflow as tf

    matrix = np.random.default_rng(0).random((PEAK_SIZE, PEAK_SIZE), "float32")
    tensor = tf.constant(matrix)
    product = tf.function(tf.matmul)
    product(tensor, tensor)

    def measure() -> float:
        ours = best_seconds(lambda: product(tensor, tensor), 3)
        numpys = best_seconds(lambda: matrix @ matrix, 2)
        return 2 * PEAK_SIZE**3 / min(ours, numpys)

    return measure


def forward_operations(network, frames: int) -> int:
    """Multiplications and additions of the generator's matrix products and convolutions."""
    trunk = network.trunk
    left = frames - 2 * network.context_frames

    def of(kernel, positions):
        return 2 * positions * int(kernel.shape[-1]) * int(kernel.shape[-2]) * kernel.shape[0] ** 2

    total = sum(of(layer.kernel, frames * network.bins) for layer in trunk.outer_convolutions)
    total += sum(of(layer.kernel, left * network.bins) for layer in network.convolutions)
    total += 2 * frames * trunk.conv4.kernel.shape[0] * trunk.conv4.kernel.shape[1]
    total += 2 * left * network.deconv4.kernel.shape[0] * network.deconv4.kernel.shape[1]
    total += of(trunk.remap.kernel, frames * trunk.inner_bins)
    for layer in trunk.inner_convolutions:
        frames -= 2 * layer.dilation_rate[0]
        total += of(layer.kernel, frames * trunk.inner_bins)
    return total


def make_restorer(preset: str):
    """The restorer of a preset with fresh weights, which cost what trained ones cost."""
    from tfrestore.models.presets import find_preset
    from tfrestore.models.sr_gan.restorer import SRGANRestorer

    return SRGANRestorer(find_preset(preset).make("network"))


def make_forward(preset: str, seconds: float):
    """The generator's forward pass over as many frames as the restorer gives it, in one chunk."""
    import numpy as np
    import tensorflow as tf

    restorer = make_restorer(preset)
    network = restorer.network
    frames = round(seconds * restorer.sample_rate / restorer.hop_length)
    frames += 2 * network.receptive_frames
    rng = np.random.default_rng(0)
    spectrum = tf.constant(rng.standard_normal((1, frames, network.bins, 2)), "float32")
    noise = {}
    if network.noise_size:
        noise["noise"] = tf.constant(rng.standard_normal((1, network.noise_size)), "float32")
    forward = tf.function(lambda: network(spectrum, **noise))
    return forward, forward_operations(network, frames)


def make_restore(preset: str, seconds: float):
    """Restoring a recording, waveform to waveform."""
    import numpy as np

    restorer = make_restorer(preset)
    samples = round(seconds * restorer.sample_rate)
    waveform = np.random.default_rng(0).normal(0, 0.1, (1, samples)).astype("float32")
    return lambda: restorer.restore(waveform, restorer.sample_rate), None


def make_training(preset: str):
    """A training step of generator and critic on one excerpt of 336 frames."""
    import numpy as np
    import tensorflow as tf

    from tfrestore.data.mp3_pairs import PAPER_SAMPLES
    from tfrestore.models.sr_gan.recipe import SRGANTrainer

    restorer = make_restorer(preset)
    trainer = SRGANTrainer(restorer.network, restorer)
    rng = np.random.default_rng(0)
    batch = [tf.constant(rng.normal(0, 0.1, (1, PAPER_SAMPLES)), "float32") for _ in range(2)]
    step = tf.function(trainer.train_step)
    return lambda: step(batch), None


# What makes a row's function, the row's name and the number of runs.
ROWS = {
    "forward": (make_forward, "forward pass", 5),
    "restore": (make_restore, "restoring", 2),
    "training": (lambda preset, _: make_training(preset), "training step", 2),
}


def measure(row: str, preset: str, seconds: float) -> dict:
    """A row's figures; runs in its own process."""
    make, _, runs = ROWS[row]
    function, operations = make(preset, seconds)
    function()
    times, peaks = [], []
    peak = make_peak()
    for _ in range(runs):
        peaks.append(peak())
        times.append(best_seconds(function, 1))
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    result = {
        "seconds": min(times),
        "memory": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "peak": max(peaks),
    }
    if operations:
        result["rate"] = operations / min(times)
    return result


def main() -> None:
    """Prints a line per row."""
    parser = make_parser(__spec__.name, __doc__)
    parser.add_argument("--preset", default="sr_gan_16k")
    parser.add_argument("--seconds", type=float, default=10, help="length of the recording")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--child", choices=ROWS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.preset, options.seconds)))
        return
    print(f"{options.preset}, {options.seconds:g} s of audio")
    print("                seconds  peak memory (GiB)  GFLOP/s  of peak GFLOP/s  share")
    arguments = ["--preset", options.preset, "--seconds", str(options.seconds)]
    for row in options.rows:
        child = [sys.executable, "-m", __spec__.name, "--child", row, *arguments]
        done = subprocess.run(child, stdout=subprocess.PIPE, text=True, check=True)
        result = json.loads(done.stdout.splitlines()[-1])
        line = f"{ROWS[row][1]:14s}  {result['seconds']:7.2f}  {result['memory'] / 2**30:17.2f}"
        if "rate" in result:
            line += f"  {result['rate'] / 1e9:7.0f}  {result['peak'] / 1e9:15.0f}"
            line += f"  {result['rate'] / result['peak']:5.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
