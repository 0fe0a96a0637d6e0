"""What the inception U-Net costs: `python -m benchmarks.inception_wgan`.

Prints, for the networks of a preset with fresh weights:

- samples per second of the generator, on the windows of one chunk, and of the restorer;
- how much longer restoring a chunk takes than the generator on windows that do not overlap, and how
  much of that is left when the factor of 2, which windows that overlap by half need, is taken off;
  and how much longer it takes than the generator on the same windows, the cutting and the adding;
- the convolutions of 27 and 81 taps as `LongConv1D` computes them, against Keras's, forwards and
  with gradients.

Rows that are compared take turns, so that both have the same neighbours. The best run counts.
"""

from __future__ import annotations

from benchmarks.parser import make_parser
from benchmarks.sr_gan import best_seconds

# Channels, filters, taps and samples of the generator's and the discriminator's long convolutions.
CONVOLUTIONS = (
    (1, 8, 81, 8192),
    (1, 8, 27, 8192),
    (1, 16, 81, 4096),
    (2, 32, 81, 2048),
    (4, 64, 81, 1024),
    (32, 1, 27, 8192),
)


def best_in_turns(functions, runs: int) -> list[float]:
    """The shortest of several runs of each, taken in turns; each has run once before."""
    for function in functions:
        function()
    times = [[best_seconds(function, 1) for function in functions] for _ in range(runs)]
    return [min(each) for each in zip(*times, strict=True)]


def measure_restoring(preset: str, runs: int) -> None:
    """Prints what the generator and the restorer do in a second."""
    import numpy as np
    import tensorflow as tf

    from tfrestore.restorer import Restorer

    restorer = Restorer.from_preset(preset, load_weights=False)
    plan, window = restorer.chunk_plan, restorer.window_samples
    rng = np.random.default_rng(0)
    chunk = tf.constant(rng.normal(0, 0.1, (1, plan.window_samples)), "float32")
    # What overlaps by half is one more than twice as many, for as much sound.
    overlapping = tf.constant(
        rng.normal(0, 0.1, (2 * plan.chunk_samples // window + 1, window)), "float32"
    )
    windows = overlapping[: plan.chunk_samples // window]
    forward = tf.function(restorer.network, [tf.TensorSpec([None, window])])
    generating, twice, restoring = best_in_turns(
        (lambda: forward(windows), lambda: forward(overlapping), lambda: restorer.graph(chunk)),
        runs,
    )
    rate = restorer.sample_rate
    samples = windows.shape[0] * window
    print(f"{preset}, {restorer.network.count_params():,} parameters")
    for name, count, seconds in (
        ("generator", samples, generating),
        ("restorer", plan.chunk_samples, restoring),
    ):
        speed = count / seconds
        print(f"{name:9s}  {speed:12,.0f} samples/s  {speed / rate:6.1f} times real time")
    factor = restoring / plan.chunk_samples / (generating / samples)
    beyond = f"{factor / 2 - 1:+.1%} beyond the overlap's 2"
    print(f"restoring takes {factor:.3f} times as long: {beyond}")
    print(f"cutting and adding windows takes {restoring / twice - 1:+.1%} of the generator's time")


def measure_convolutions(runs: int) -> None:
    """Prints the two ways to compute the long convolutions."""
    import keras
    import numpy as np
    import tensorflow as tf

    from tfrestore.layers import LongConv1D

    print("channels  filters  taps  samples  forwards: Keras, ours (ms)  with gradients (ms)")
    for channels, filters, taps, samples in CONVOLUTIONS:
        x = tf.constant(
            np.random.default_rng(0).normal(size=(16, samples, channels)).astype("float32")
        )
        steps = []
        for layer in (
            keras.layers.Conv1D(filters, taps, padding="same"),
            LongConv1D(filters, taps),
        ):
            layer.build((None, None, channels))

            def backward(layer=layer, x=x):
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    loss = tf.reduce_sum(tf.square(layer(x)))
                return tape.gradient(loss, [x, *layer.trainable_variables])

            steps += [tf.function(layer), tf.function(backward)]
        forwards = [lambda layer=steps[i], x=x: layer(x) for i in (0, 2)]
        times = best_in_turns([forwards[0], forwards[1], steps[1], steps[3]], runs)
        print(
            f"{channels:8d}  {filters:7d}  {taps:4d}  {samples:7d}  "
            + "  ".join(f"{1000 * seconds:6.1f}" for seconds in times)
        )


def main() -> None:
    """Prints all of it."""
    parser = make_parser(__spec__.name, __doc__)
    parser.add_argument("--preset", default="inception_wgan_time")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    measure_restoring(options.preset, options.runs)
    measure_convolutions(options.runs)


if __name__ == "__main__":
    main()
