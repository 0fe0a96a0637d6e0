import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.layers import DilatedConv2D, dilated_convolution


def penalty_and_gradients(layer, x):
    """Something with second derivatives, as a gradient penalty has them."""
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.reduce_sum(tf.sin(layer(x)))
        penalty = tf.reduce_sum(inner.gradient(y, x) ** 2)
    return penalty, *outer.gradient(penalty, layer.weights)


@pytest.mark.parametrize("directly", [True, False])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("dilation", [1, 4, (2, 3)])
def test_it_is_kerass_convolution_to_its_second_derivatives(
    directly, padding, dilation, monkeypatch
):
    monkeypatch.setattr(dilated_convolution, "dilates_directly", lambda dtype: directly)
    x = tf.random.stateless_normal((2, 13, 12, 3), seed=(0, 1))
    options = {"padding": padding, "dilation_rate": dilation}
    layer, reference = DilatedConv2D(5, 3, **options), keras.layers.Conv2D(5, 3, **options)
    layer.build(x.shape)
    reference.build(x.shape)
    reference.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer(x), reference(x), rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(
        penalty_and_gradients(layer, x), penalty_and_gradients(reference, x), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_asking_what_the_machine_can_does_not_end_up_in_a_traced_function():
    dilated_convolution.dilates_directly.cache_clear()
    answer = []
    traced = tf.function(lambda: answer.append(dilated_convolution.dilates_directly("float32")))
    assert not traced.get_concrete_function().graph.get_operations()
    assert answer == [dilated_convolution.dilates_directly("float32")]


def test_it_is_saved():
    config = keras.saving.serialize_keras_object(DilatedConv2D(4, 3, dilation_rate=2, name="c"))
    layer = keras.saving.deserialize_keras_object(config)
    assert type(layer) is DilatedConv2D and layer.dilation_rate == (2, 2)
