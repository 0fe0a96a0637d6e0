import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.layers import MapNormalization


def test_it_is_kerass_layer_normalization_over_all_axes_but_the_first():
    x = np.random.default_rng(0).normal(3, 2, (2, 6, 5)).astype("float32")
    ours, theirs = MapNormalization(), keras.layers.LayerNormalization(axis=(1, 2), epsilon=1e-5)
    for layer in (ours, theirs):
        layer.build((None, 6, 5))
    ours.set_weights([np.random.default_rng(seed).normal(size=(6, 5)) for seed in (1, 2)])
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-5)
    assert ours.compute_output_shape((None, 6, 5)) == (None, 6, 5)


def test_its_second_derivative_is_that_of_its_formula():
    # The mixed one: how the slope by the input, along a direction, changes with the input.
    layer = MapNormalization(dtype="float64")
    layer.build((None, 3, 2))
    rng = np.random.default_rng(0)
    x, weight, along, other = (tf.constant(rng.normal(size=(1, 3, 2))) for _ in range(4))

    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(weight * tf.sin(layer(x)))
        return tf.reduce_sum(along * tape.gradient(value, x))

    with tf.GradientTape() as outer:
        outer.watch(x)
        found = slope(x)
    found = float(tf.reduce_sum(outer.gradient(found, x) * other))
    step = 1e-5
    numeric = float(slope(x + step * other) - slope(x - step * other)) / (2 * step)
    assert found == pytest.approx(numeric, rel=1e-7)


def test_under_mixed_precision_it_takes_and_gives_bfloat16_and_computes_in_float32():
    layer = MapNormalization(dtype="mixed_bfloat16")
    x = 100 + np.random.default_rng(0).normal(size=(1, 512, 4)).astype("float32")
    y = layer(x)
    assert y.dtype == "bfloat16"
    rounded = np.asarray(tf.cast(tf.cast(x, "bfloat16"), "float32"))
    expected = (rounded - rounded.mean()) / np.sqrt(rounded.var() + 1e-5)
    np.testing.assert_allclose(tf.cast(y, "float32"), expected, atol=0.02)
    assert MapNormalization.from_config(layer.get_config()).epsilon == layer.epsilon
