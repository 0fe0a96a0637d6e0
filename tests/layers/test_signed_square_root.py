import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.layers import SignedSquare, SignedSquareRoot


def test_it_is_equation_4_above_the_straight_part():
    x = np.array([[-4.0, -1.0, -1e-4, -1e-6, 0.0, 1e-6, 0.25, 9.0]], "float32")
    expected = np.sign(x) * np.sqrt(np.abs(x))
    np.testing.assert_allclose(SignedSquareRoot()(x), expected, rtol=1e-6)
    np.testing.assert_allclose(SignedSquare()(expected), x, rtol=1e-6)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=50))
def test_one_undoes_the_other(values):
    x = np.array([values], "float32")
    assert np.abs(SignedSquare()(SignedSquareRoot()(x)) - x).max() <= 1e-6
    assert np.abs(SignedSquareRoot()(SignedSquare()(x)) - x).max() <= 1e-6


def test_the_slope_is_finite_everywhere_and_never_zero():
    x = tf.Variable([[-1.0, -1e-7, 0.0, 1e-7, 1e-6, 0.25]])
    with tf.GradientTape() as tape:
        y = SignedSquareRoot()(x)
    np.testing.assert_allclose(
        tape.gradient(y, x).numpy()[0, [0, 1, 2, 3, 5]], [0.5, 1e3, 1e3, 1e3, 1.0], rtol=1e-5
    )
    with tf.GradientTape() as tape:
        y = SignedSquare()(x)
    np.testing.assert_allclose(
        tape.gradient(y, x).numpy()[0, [0, 2, 5]], [2.0, 1e-3, 0.5], rtol=1e-5
    )


@pytest.mark.parametrize("kind", [SignedSquareRoot, SignedSquare])
def test_they_are_saved_and_stay_float32(kind):
    layer = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(kind(name="map"))
    )
    assert isinstance(layer, kind)
    assert layer(tf.constant([1.0, 4.0], tf.bfloat16)).dtype == "float32"
