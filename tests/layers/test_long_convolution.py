import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.layers import LongConv1D

# Channels, filters, taps: one for each way in which it is computed.
SIZES = [(1, 8, 81), (3, 4, 27), (32, 1, 27), (8, 16, 81), (2, 3, 9), (1, 1, 81)]


def pair(channels, filters, taps):
    """The layer and Keras's own with the same weights."""
    ours = LongConv1D(filters, taps, kernel_initializer=keras.initializers.LecunNormal(0))
    theirs = keras.layers.Conv1D(filters, taps, padding="same")
    for layer in (ours, theirs):
        layer.build((None, None, channels))
    ours.bias.assign(np.random.default_rng(0).normal(size=filters))
    theirs.set_weights(ours.get_weights())
    return ours, theirs


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_it_is_kerass_convolution_and_so_are_its_gradients(sizes):
    ours, theirs = pair(*sizes)
    for samples in (1, 16, 50, 128):
        x = tf.constant(np.random.default_rng(1).normal(size=(2, samples, sizes[0])), "float32")
        found = []
        for layer in (ours, theirs):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x)
                loss = tf.reduce_sum(y * tf.cos(tf.range(samples, dtype="float32"))[:, None])
            found.append([y, *tape.gradient(loss, [x, *layer.trainable_variables])])
        for mine, expected in zip(*found, strict=True):
            scale = 1 + np.abs(expected).max()
            np.testing.assert_allclose(mine / scale, expected / scale, atol=2e-6)


@pytest.mark.parametrize("sizes", SIZES[:3], ids=str)
def test_a_graph_needs_to_know_neither_batch_nor_length(sizes):
    ours, theirs = pair(*sizes)
    function = tf.function(ours, [tf.TensorSpec([None, None, sizes[0]], "float32")])
    for samples in (5, 64):
        x = np.random.default_rng(1).normal(size=(3, samples, sizes[0])).astype("float32")
        np.testing.assert_allclose(function(x), theirs(x), atol=1e-5)


@pytest.mark.parametrize("sizes", SIZES[:3], ids=str)
def test_under_mixed_precision_it_computes_in_bfloat16(sizes):
    layer = LongConv1D(sizes[1], sizes[2], dtype="mixed_bfloat16")
    y = layer(np.ones((2, 32, sizes[0]), "float32"))
    assert y.dtype == "bfloat16" and layer.kernel.dtype == "float32"


def test_a_kernel_without_a_middle_is_refused():
    with pytest.raises(ValueError, match="odd"):
        LongConv1D(4, 8)
