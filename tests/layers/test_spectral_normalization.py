"""Spectral normalisation is PyTorch's, on one device and on several."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.layers import SpectralNormalizedConv2D
from tfrestore.layers.spectral_normalization import power_iteration
from tfrestore.training.distribution import mirrored_strategy

GOLDEN = np.load(Path(__file__).parent / "golden" / "power_iteration.npz")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def make_layer(channels=3, **arguments):
    layer = SpectralNormalizedConv2D(**{"filters": 4, **arguments})
    layer.build((None, None, None, channels))
    return layer


def largest_singular_value(layer):
    kernel = np.array(layer.kernel)
    return np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]


def test_a_step_of_the_power_iteration_is_pytorchs():
    matrix = GOLDEN["weight_orig"].reshape(4, -1).T
    left, right = power_iteration(matrix, GOLDEN["weight_u_before"])
    np.testing.assert_allclose(left, GOLDEN["weight_u_after"], atol=1e-6)
    np.testing.assert_allclose(right, GOLDEN["weight_v_after"], atol=1e-6)


def test_a_training_call_keeps_the_vectors_that_it_convolves_with():
    layer, x = make_layer(channels=2), normal(1, 6, 7, 2)
    layer.kernel.assign(GOLDEN["weight_orig"].transpose(2, 3, 1, 0))
    layer.left.assign(GOLDEN["weight_u_before"])
    found = layer(x, training=True)
    np.testing.assert_allclose(layer.left, GOLDEN["weight_u_after"], atol=1e-6)
    # v in the order of this kernel's axes.
    after = GOLDEN["weight_v_after"].reshape(2, 3, 3).transpose(1, 2, 0).ravel()
    np.testing.assert_allclose(layer.right, after, atol=1e-6)
    np.testing.assert_allclose(layer(x), found, atol=1e-6)


def test_many_training_calls_divide_by_the_largest_singular_value():
    layer = make_layer()
    before = np.array(layer.kernel)
    for _ in range(100):
        layer.normalized_kernel(training=True)
    np.testing.assert_array_equal(layer.kernel, before)
    expected = before / largest_singular_value(layer)
    np.testing.assert_allclose(layer.normalized_kernel(), expected, rtol=1e-5, atol=1e-7)


def test_other_calls_change_nothing():
    layer, x = make_layer(), normal(2, 5, 5, 3)
    before = [np.array(weight) for weight in layer.weights]
    first = layer(x)
    np.testing.assert_array_equal(layer(x), first)
    for weight, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize("training", [True, False])
def test_the_gradient_goes_through_sigma_and_not_through_its_vectors(training):
    layer = make_layer()
    direction = tf.constant(normal(*layer.kernel.shape, seed=1))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer.normalized_kernel(training) * direction)
    found = np.array(tape.gradient(value, layer.kernel.value))
    # W / sigma does not change with the size of W, so the gradient is at a right angle to it.
    assert np.sum(found * layer.kernel) == pytest.approx(0, abs=1e-4)
    kernel, left, right = (np.array(w, "f8") for w in (layer.kernel, layer.left, layer.right))
    sigma = right @ kernel.reshape(-1, 4) @ left
    outer = np.outer(right, left).reshape(kernel.shape)
    expected = direction / sigma - np.sum(kernel * direction) / sigma**2 * outer
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("strides", "sizes"), [(1, (6, 7)), (2, (6, 7)), (2, (7, 6)), (3, (8, 9))])
def test_zeros_lie_evenly_at_all_sides(strides, sizes):
    layer, x = make_layer(strides=strides), normal(2, *sizes, 3)
    layer.bias.assign(normal(4))
    kernel = np.array(layer.normalized_kernel())
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    expected = np.einsum("bhwcij,ijcf->bhwf", windows[:, ::strides, ::strides], kernel)
    found = layer(x)
    np.testing.assert_allclose(found, expected + layer.bias, rtol=1e-4, atol=1e-4)
    assert layer.compute_output_shape(x.shape) == found.shape
    assert layer.compute_output_shape((None, None, sizes[1], 3)) == (None, None, *found.shape[2:])


def test_new_kernels_are_drawn_as_pytorchs_and_vectors_have_norm_1():
    layer = make_layer(channels=50, filters=60)
    limit = 450**-0.5
    kernel = np.array(layer.kernel)
    assert 0.99 * limit < np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
    assert np.linalg.norm(layer.left) == pytest.approx(1, rel=1e-5)
    assert np.linalg.norm(layer.right) == pytest.approx(1, rel=1e-5)
    other = make_layer(channels=50, filters=60, seed=9)
    assert not np.allclose(other.kernel, kernel)


def test_every_replica_holds_the_vectors_of_one_device():
    single, x = make_layer(), normal(4, 5, 5, 3)
    strategy = mirrored_strategy("CPU:0", "CPU:1")
    with strategy.scope():
        mirrored = make_layer()
    dataset = tf.data.Dataset.from_tensors(x).unbatch().batch(4)
    step = tf.function(lambda batch: strategy.run(mirrored, (batch,), {"training": True}))
    for batch in strategy.experimental_distribute_dataset(dataset.repeat(3)):
        step(batch)
        single(x, training=True)
    for ours, theirs in zip(mirrored.weights, single.weights, strict=True):
        for copy in ours.value.values:
            np.testing.assert_allclose(copy, theirs, atol=1e-6, err_msg=theirs.path)


def test_sigma_keeps_its_digits_in_bfloat16():
    x = normal(2, 8, 8, 3)
    exact, layer = make_layer(), make_layer(dtype="mixed_bfloat16")
    found, expected = (each(x, training=True) for each in (layer, exact))
    assert found.dtype == "bfloat16"
    np.testing.assert_array_equal(layer.normalized_kernel(), exact.normalized_kernel())
    error = np.linalg.norm(np.array(found, "f4") - expected) / np.linalg.norm(expected)
    assert error < 0.02


def test_a_model_with_it_is_loaded_as_it_was_saved(tmp_path):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, SpectralNormalizedConv2D(4, 5, 2, seed=3)(inputs))
    model(normal(1, 9, 9, 3), training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = normal(2, 11, 12, 3)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert loaded.layers[1].get_config() == model.layers[1].get_config()


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel_size=2"):
        SpectralNormalizedConv2D(3, 2)
