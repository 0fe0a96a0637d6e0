import keras
import numpy as np
import pytest

from tfrestore.layers import Inception1D


def test_filters_are_shared_out_24_24_8_8_and_reduced_by_16():
    layer = Inception1D(64)
    layer.build((None, None, 32))
    shapes = [tuple(each.kernel.shape) for each in layer.convolutions]
    assert shapes == [(3, 1, 24), (9, 1, 24), (27, 1, 8), (81, 1, 8)]
    assert tuple(layer.reduction_kernel.shape) == (32, 4)
    wide = Inception1D(1024)
    assert wide.reduced_channels == [24, 24, 8, 8]
    assert Inception1D(64, reduction=4).reduced_channels == [6, 6, 2, 2]


def test_it_is_four_convolutions_each_behind_one_of_a_single_tap():
    layer = Inception1D(16, reduction=2, seed=3)
    x = np.random.default_rng(0).normal(size=(2, 100, 5)).astype("float32")
    found = layer(x)
    layer.reduction_bias.assign(np.random.default_rng(1).normal(size=8))
    found, first, expected = layer(x), 0, []
    for channels, convolution in zip((3, 3, 1, 1), layer.convolutions, strict=True):
        part = slice(first, first + channels)
        narrow = keras.layers.Conv1D(channels, 1)
        narrow.build(x.shape)
        narrow.set_weights([layer.reduction_kernel[None, :, part], layer.reduction_bias[part]])
        wide = keras.layers.Conv1D(convolution.filters, convolution.kernel_size, padding="same")
        wide.build((None, None, channels))
        wide.set_weights(convolution.get_weights())
        expected.append(wide(narrow(x)))
        first += channels
    np.testing.assert_allclose(found, np.concatenate(expected, axis=-1), atol=1e-5)
    assert layer.compute_output_shape((None, None, 5)) == (None, None, 16)


def test_a_signal_keeps_its_level_through_many_modules_and_prelus():
    x = np.random.default_rng(0).normal(size=(1, 1024, 64)).astype("float32")
    for seed in range(8):
        x = np.asarray(Inception1D(64, reduction=1, seed=10 * seed)(x))
        x = np.where(x > 0, x, 0.25 * x)
    assert 0.3 < np.std(x) < 3


def test_it_is_made_again_from_its_config():
    layer = Inception1D(16, reduction=3, seed=4)
    again = Inception1D.from_config(layer.get_config())
    x = np.random.default_rng(0).normal(size=(2, 30, 5)).astype("float32")
    np.testing.assert_array_equal(layer(x), again(x))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"filters": 12}, "multiple of 8"), ({"filters": 8, "reduction": 0}, "1")],
)
def test_sizes_that_cannot_be_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        Inception1D(**arguments)
