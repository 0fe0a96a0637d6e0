import numpy as np
import tensorflow as tf

from tfrestore.layers import SignedSquareRoot
from tfrestore.layers.square_root_magnitude import square_root_magnitude


def test_it_is_the_square_root_of_the_magnitude_that_the_parts_came_from():
    spectrum = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32")
    expected = np.sqrt(np.abs(spectrum[..., 0] + 1j * spectrum[..., 1]))
    magnitude = square_root_magnitude(SignedSquareRoot()(spectrum))
    np.testing.assert_allclose(magnitude, expected, rtol=1e-5)


def test_it_is_small_and_smooth_where_there_is_nothing():
    silence = tf.zeros((1, 2))
    with tf.GradientTape() as outer:
        outer.watch(silence)
        with tf.GradientTape() as inner:
            inner.watch(silence)
            magnitude = square_root_magnitude(silence)
        slope = inner.gradient(magnitude, silence)
    np.testing.assert_allclose(magnitude, [1e-3], rtol=1e-5)
    np.testing.assert_array_equal(slope, [[0, 0]])
    np.testing.assert_array_equal(outer.gradient(slope, silence), [[0, 0]])
