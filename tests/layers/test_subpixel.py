import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.layers import Subpixel1D, Superpixel1D

# Channels first, as the papers write it: 4 channels of 6 samples.
RAMP = np.arange(24, dtype="float32").reshape(1, 4, 6)


def channels_first(layer, x):
    return np.transpose(layer(np.transpose(x, (0, 2, 1))), (0, 2, 1))


def test_neighbouring_samples_become_neighbouring_channels():
    expected = [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]
    expected += [[12, 14, 16], [13, 15, 17], [18, 20, 22], [19, 21, 23]]
    np.testing.assert_array_equal(channels_first(Superpixel1D(), RAMP), [expected])


def test_neighbouring_channels_become_neighbouring_samples():
    expected = [[0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11], [12, 18, 13, 19, 14, 20, 15, 21, 16, 22]]
    expected[1] += [17, 23]
    np.testing.assert_array_equal(channels_first(Subpixel1D(), RAMP), [expected])


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(0, 2**31))
def test_each_is_the_inverse_of_the_other(factor, batch, size, seed):
    down, up = Superpixel1D(factor), Subpixel1D(factor)
    x = np.random.default_rng(seed).normal(size=(batch, factor * size, factor * 2))
    x = x.astype("float32")
    assert down(x).shape == down.compute_output_shape(x.shape)
    np.testing.assert_array_equal(up(down(x)), x)
    np.testing.assert_array_equal(down(up(x)), x)


def test_a_graph_needs_to_know_neither_batch_nor_length():
    down, up = Superpixel1D(3), Subpixel1D(3)
    function = tf.function(
        lambda x: (down(x), up(down(x))), [tf.TensorSpec([None, None, 2], "float32")]
    )
    for samples in (3, 12):
        x = np.random.default_rng(0).normal(size=(2, samples, 2)).astype("float32")
        coarse, again = function(x)
        np.testing.assert_array_equal(coarse, down(x))
        np.testing.assert_array_equal(again, x)
    assert down.compute_output_shape((None, None, 2)) == (None, None, 6)


def test_what_cannot_be_divided_is_refused():
    with pytest.raises(ValueError, match="a multiple of 2 samples. Received: 5"):
        Superpixel1D()(np.zeros((1, 5, 2)))
    with pytest.raises(ValueError, match="a multiple of 2 channels. Received: 3"):
        Subpixel1D()(np.zeros((1, 4, 3)))
    with pytest.raises(ValueError, match="factor"):
        Superpixel1D(0)
