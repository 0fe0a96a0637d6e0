"""What a training step of Apollo costs: `python -m benchmarks.apollo_training`.

Prints seconds and peak memory of a step of the generator and its discriminators, then the share of
each part, which is measured alone: the generator's forward and backward pass, the discriminators'
step, what they say to the generator (the slope of all losses by the restored waveforms), and both
optimizers. Then the float32 matrix-product rate of the same run, measured between the steps, and
what the step has of it: operations of the products and convolutions, of a backward pass twice those
of its forward pass. The best of several runs counts.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time

from benchmarks.parser import make_parser
from benchmarks.sr_gan import best_seconds, make_peak
from tfrestore.command_line import run_command


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = make_parser(__spec__.name, __doc__)
    parser.add_argument("--preset", default="apollo", help="whose generator and recipe")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of an excerpt")
    parser.add_argument("--batch-size", type=int, default=1, help="excerpts per step")
    parser.add_argument("--precision", default="float32", help="float32 or mixed_bfloat16")
    parser.add_argument("--runs", type=int, default=2, help="how often each is measured")
    return run_command(parser, benchmark, arguments)


def benchmark(options: argparse.Namespace) -> int:
    """Measures and prints; returns the exit code."""
    import numpy as np
    import tensorflow as tf

    from tfrestore.models.presets import find_preset

    preset = find_preset(options.preset)
    network = preset.make("network", dtype=options.precision)
    trainer = preset.make("recipe", network)
    samples = round(options.seconds * preset.make("restorer", network).sample_rate)
    noise = np.random.default_rng(0).normal(0, 0.1, (2, options.batch_size, samples))
    degraded, original = (tf.constant(waveform, tf.float32) for waveform in noise)

    def run(function, *arguments) -> float:
        """Seconds of a function as a graph, traced beforehand."""
        graph = tf.function(function)
        graph(*arguments)
        return best_seconds(lambda: graph(*arguments), options.runs)

    began = time.perf_counter()
    step = tf.function(trainer.train_step)
    step((degraded, original))
    print(f"{options.preset}, {options.batch_size} x {options.seconds:g} s, {options.precision}")
    print(f"first step, with tracing      {time.perf_counter() - began:7.2f} s")
    measure_peak = make_peak()
    times, peaks = [], []
    for _ in range(options.runs):
        times.append(best_seconds(lambda: step((degraded, original)), 1))
        peaks.append(measure_peak())
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    memory = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    whole, peak = min(times), max(peaks)
    print(f"training step                 {whole:7.2f} s   {memory / 2**30:.1f} GiB at most")

    variables = network.trainable_variables

    def both_ways():
        with tf.GradientTape() as tape:
            restored = network(degraded, training=True)
        return tape.gradient(restored, variables, output_gradients=original)

    def update():
        for optimizer, model in (
            (trainer.optimizer, network),
            (trainer.discriminator_optimizer, trainer.discriminator),
        ):
            optimizer.apply(model.trainable_variables, model.trainable_variables)

    forward = run(lambda: network(degraded, training=True))
    parts = {
        "generator, forward": forward,
        "generator, backward": run(both_ways) - forward,
        "discriminators' step": run(lambda: trainer.discriminator_step(original, degraded)),
        "losses and their slope": run(
            lambda: trainer.generator_slopes(degraded, original, degraded)
        ),
        "optimizers": run(update),
    }
    for name, seconds in parts.items():
        print(f"  {name:26s}  {seconds:7.2f} s   {seconds / whole:5.0%}")
    print(f"  {'their sum':26s}  {sum(parts.values()):7.2f} s   {sum(parts.values()) / whole:5.0%}")
    operations = count_operations(network, trainer.discriminator, samples) * options.batch_size
    print(
        f"float32 matrix products       {peak / 1e9:7.0f} GFLOP/s\n"
        f"operations of a step          {operations / 1e9:7.0f} GFLOP: at that rate "
        f"{operations / peak:.2f} s, {operations / peak / whole:.0%} of the step"
    )
    return 0


def count_operations(network, discriminator, samples: int) -> float:
    """Multiplications and additions of a step for one excerpt, in products and convolutions.

    The discriminators see two excerpts in their own step, forward and backward, and two more for
    the generator, of which one is followed back to the waveform.
    """
    frames = network.stft.frames_for_samples(samples)
    generator = 0
    for weight in network.trainable_weights:
        if "kernel" in weight.path:
            # Those of band split and reconstruction belong to one band each, all others to all.
            own = "band_split" in weight.path or "band_reconstruction" in weight.path
            generator += 2 * frames * math.prod(weight.shape) * (1 if own else network.bands)
    generator += network.depth * 2 * 2 * frames * network.bands**2 * network.features
    pass_through = 0
    for each in discriminator.discriminators:
        height, width = each.stft.frames_for_samples(samples), each.stft.bins
        for layer in (*each.convolutions, each.output_convolution):
            stride = layer.strides if isinstance(layer.strides, int) else layer.strides[0]
            height, width = (-(-size // stride) for size in (height, width))
            pass_through += 2 * height * width * int(layer.kernel.shape[2]) * 9 * layer.filters
    return 3 * generator + (2 * 3 + 2 + 1) * pass_through


if __name__ == "__main__":
    sys.exit(main())
