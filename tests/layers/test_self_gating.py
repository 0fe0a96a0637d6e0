import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.layers import MapwisePReLU, SelfGating
from tfrestore.layers.self_gating import SELF_GATING_VARIANCE


def test_self_gating_is_equation_2():
    a, b = np.random.default_rng(0).normal(size=(2, 2, 5, 4, 3))
    layer = SelfGating()
    layer.build((None, None, None, 6))
    slopes = np.array([0.1, 0.5, 2.0])
    layer.activation.slope.assign(slopes)
    expected = np.where(a > 0, a, slopes * a) / (1 + np.exp(-b))
    gated = layer(np.concatenate([a, b], axis=-1).astype("float32"))
    np.testing.assert_allclose(gated, expected, rtol=1e-5, atol=1e-6)
    assert layer.compute_output_shape((None, None, 4, 6)) == (None, None, 4, 3)


def test_the_mapwise_prelu_is_kerass_with_time_and_frequency_shared():
    x = np.random.default_rng(1).normal(size=(2, 7, 4, 3)).astype("float32")
    theirs = keras.layers.PReLU(
        shared_axes=[1, 2], alpha_initializer=keras.initializers.RandomUniform(0, 2, seed=0)
    )
    expected = theirs(x)
    ours = MapwisePReLU()
    ours.build(x.shape)
    np.testing.assert_array_equal(ours.slope, np.full(3, 0.25, "float32"))
    ours.slope.assign(keras.ops.reshape(theirs.alpha, (3,)))
    np.testing.assert_allclose(ours(x), expected, rtol=1e-6, atol=1e-6)


def test_the_second_derivative_of_self_gating_is_that_of_its_formula():
    layer = SelfGating()
    layer.build((None, 2))
    x = tf.constant([[-0.7, 0.3], [0.9, -1.1]])
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.reduce_sum(layer(x))
        slope = tf.reduce_sum(inner.gradient(y, x)[:, 0])
    a, b = x.numpy().T
    gate = 1 / (1 + np.exp(-b))
    # d/db of d/da (prelu(a) sigmoid(b)), and no second derivative of a PReLU.
    expected = np.stack([0 * a, np.where(a > 0, 1, 0.25) * gate * (1 - gate)], axis=1)
    np.testing.assert_allclose(outer.gradient(slope, x), expected, rtol=1e-5)


def test_self_gating_hands_on_the_mean_square_that_a_kernel_of_its_variance_got():
    # Both halves are normal and independent; quadrature for a normal weight.
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    nodes, weights = nodes * np.sqrt(SELF_GATING_VARIANCE), weights / weights.sum()
    a, b = (each.ravel() for each in np.meshgrid(nodes, nodes))
    layer = SelfGating()
    layer.build((None, 2))
    gated = layer(np.stack([a, b], axis=1).astype("float32"))[:, 0]
    assert np.sum(np.outer(weights, weights).ravel() * np.square(gated)) == pytest.approx(
        1, abs=0.01
    )


def test_an_odd_number_of_maps_cannot_be_halved():
    with pytest.raises(ValueError, match="7 maps"):
        SelfGating().build((None, None, 7))


@pytest.mark.parametrize("kind", [MapwisePReLU, SelfGating])
def test_they_compute_in_the_precision_asked_for_and_are_saved(kind):
    layer = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(kind(dtype="mixed_bfloat16", name="gate"))
    )
    assert isinstance(layer, kind)
    assert layer(np.ones((1, 4), "float32")).dtype == "bfloat16"
    assert {weight.dtype for weight in layer.weights} == {"float32"}
