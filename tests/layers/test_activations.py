"""Activations with gradients of their own have the gradients they would have anyway."""

import numpy as np
import pytest
import tensorflow as tf

from tfrestore.layers.activations import silu, twice_gated


def plain_silu(x):
    return x * tf.sigmoid(x)


def plain_gate(gate, content):
    return plain_silu(plain_silu(gate)) * plain_silu(content)


@pytest.mark.parametrize(
    ("ours", "plain", "inputs"), [(silu, plain_silu, 1), (twice_gated, plain_gate, 2)]
)
@pytest.mark.parametrize("graph", [False, True])
def test_values_and_gradients_are_those_of_the_formula(ours, plain, inputs, graph):
    rng = np.random.default_rng(0)
    x = [tf.constant(rng.normal(0, 4, (5, 7)), tf.float32) for _ in range(inputs)]
    slope = tf.constant(rng.normal(size=(5, 7)), tf.float32)

    def both(function):
        def run():
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = function(*x)
            return [value, *tape.gradient(value, x, output_gradients=slope)]

        return tf.function(run)() if graph else run()

    for found, expected in zip(both(ours), both(plain), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_bfloat16_stays_bfloat16_and_extremes_are_finite():
    x = tf.constant([-300.0, -30.0, 0.0, 30.0, 300.0])
    for dtype in ("bfloat16", "float32"):
        cast = tf.cast(x, dtype)
        with tf.GradientTape() as tape:
            tape.watch(cast)
            value = twice_gated(cast, cast) + silu(cast)
        slope = tape.gradient(value, cast)
        assert value.dtype == slope.dtype == dtype
        assert np.isfinite(np.array(slope, "f4")).all()
