"""The networks are the authors', where their code uses its parameters."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.layers import Subpixel1D, Superpixel1D
from tfrestore.models import InceptionAutoencoder, InceptionDiscriminator, InceptionGenerator

GOLDEN = np.load(Path(__file__).parent / "golden" / "wgan_small.npz")
SMALL = {
    InceptionGenerator: {"filters": 8, "depth": 3, "max_doublings": 1},
    InceptionAutoencoder: {"filters": 8, "depth": 2},
    InceptionDiscriminator: {"window_samples": 64, "filters": 8, "depth": 3, "units": 4},
}


def windows(batch=2, samples=64, seed=0):
    return np.random.default_rng(seed).normal(0, 0.2, (batch, samples)).astype("float32")


# === The authors' numbers ===


def load_inception(layer, name):
    """Gives an inception module the authors' weights."""

    def weights(group, number, kind):
        return GOLDEN[f"{name}.conv_layers_{group}.{number}.{kind}"]

    layer.reduction_kernel.assign(
        np.concatenate([weights(1, number, "weight")[:, :, 0].T for number in range(4)], axis=1)
    )
    layer.reduction_bias.assign(np.concatenate([weights(1, number, "bias") for number in range(4)]))
    for number, convolution in enumerate(layer.convolutions):
        kernel = np.transpose(weights(2, number, "weight"), (2, 1, 0))
        convolution.set_weights([kernel, weights(2, number, "bias")])


def load_unet(network, net, down, up, first):
    """Gives a generator or autoencoder the authors' weights; they count blocks from `first`."""
    for blocks, name in ((network.down_blocks, down), (network.up_blocks, up)):
        for number, block in enumerate(blocks, first):
            where = f"{net}/param/{name}{number}"
            load_inception(block.inception, where)
            block.activation.slope.assign(GOLDEN[f"{where}.activation.weight"])
    kernel = np.transpose(GOLDEN[f"{net}/param/output_conv.weight"], (2, 1, 0))
    network.output_convolution.set_weights([kernel, GOLDEN[f"{net}/param/output_conv.bias"]])


def golden(name):
    """Channels last, as maps are here."""
    return np.transpose(GOLDEN[name], (0, 2, 1))


def test_pixel_layers_give_the_golden_ramp():
    for layer, name in ((Superpixel1D(), "superpixel"), (Subpixel1D(), "subpixel")):
        np.testing.assert_array_equal(layer(golden("ramp")), golden(f"{name}_r2(ramp)"))


@pytest.mark.parametrize("additive_skip", [False, True])
def test_the_generator_gives_the_golden_output(additive_skip):
    network = InceptionGenerator(filters=8, additive_skip=additive_skip)
    load_unet(network, "generator", "down_block_", "up_block_", 1)
    name = "output_with_additive_skip" if additive_skip else "output"
    waveform = GOLDEN["input"][:, 0]
    np.testing.assert_allclose(network(waveform), GOLDEN[f"generator/{name}"][:, 0], atol=1e-6)
    first, second = network.down_blocks[:2]
    x = first(waveform[..., None])
    np.testing.assert_allclose(x, golden("generator/down_block_1"), atol=1e-6)
    np.testing.assert_allclose(second(x), golden("generator/down_block_2"), atol=1e-6)


def test_the_autoencoder_gives_the_golden_output_and_embedding():
    network = InceptionAutoencoder(filters=8)
    load_unet(network, "autoencoder", "encoder.", "decoder.", 0)
    waveform = GOLDEN["input"][:, 0]
    np.testing.assert_allclose(network(waveform), GOLDEN["autoencoder/output"][:, 0], atol=1e-6)
    embedding = network.embed(waveform)
    np.testing.assert_allclose(embedding, golden("autoencoder/embedding"), atol=1e-6)


def test_the_discriminator_gives_the_golden_output():
    network = InceptionDiscriminator(window_samples=512, filters=8, units=16)
    first, *others = network.inceptions
    load_inception(first, "discriminator/param/in_block")
    for number, (inception, normalization) in enumerate(
        zip(others, network.normalizations, strict=True)
    ):
        name = f"discriminator/param/mid_blocks.{number}"
        load_inception(inception, name)
        normalization.set_weights(
            [GOLDEN[f"{name}.normalization.{each}"].T for each in ("weight", "bias")]
        )
    dense, last = (f"discriminator/param/out_block.fc_{number}" for number in (1, 2))
    # The authors flatten channels first.
    kernel = GOLDEN[f"{dense}.weight"].reshape(16, 16, 4).transpose(2, 1, 0).reshape(64, 16)
    network.dense.set_weights([kernel, GOLDEN[f"{dense}.bias"]])
    network.output_dense.set_weights([GOLDEN[f"{last}.weight"].T, GOLDEN[f"{last}.bias"]])
    found = network(GOLDEN["input"][:, 0])
    np.testing.assert_allclose(found, GOLDEN["discriminator/output"][:, 0], atol=1e-6)


# === Sizes ===


@pytest.mark.parametrize(
    ("network", "arguments", "parameters"),
    [
        (InceptionGenerator, {}, 3_106_781),
        (InceptionGenerator, {"max_doublings": 3}, 968_413),
        (InceptionGenerator, {"max_doublings": 0}, 29_989),
        (InceptionAutoencoder, {}, 39_409),
        (InceptionDiscriminator, {}, 3_142_693),
    ],
)
def test_the_parameters_are_those_that_the_authors_code_uses(network, arguments, parameters):
    with keras.StatelessScope(initialize_variables=False):
        assert network(**arguments).count_params() == parameters


def test_8192_samples_become_32_of_2048_channels_and_512_of_128():
    with keras.StatelessScope(initialize_variables=False):
        shape = (None, 8192, 1)
        for block in InceptionGenerator().down_blocks:
            shape = block.compute_output_shape(shape)
        assert shape == (None, 32, 2048)
    assert InceptionAutoencoder().embed(np.zeros((1, 8192))).shape == (1, 512, 128)


# === What goes in ===


def test_any_multiple_of_2_to_the_depth_is_a_window():
    network = InceptionGenerator(**SMALL[InceptionGenerator])
    assert network.window_multiple == 8
    graph = tf.function(network, [tf.TensorSpec([None, None], "float32")])
    for batch, samples in ((1, 8), (3, 72), (2, 4096)):
        x = windows(batch, samples)
        y = network(x)
        assert y.shape == x.shape and np.abs(y).max() < 1
        np.testing.assert_allclose(graph(x), y, atol=1e-5)
    symbolic = network(keras.KerasTensor((None, 16)))
    assert symbolic.shape == (None, 16) and symbolic.dtype == "float32"


@pytest.mark.parametrize("network", [InceptionGenerator, InceptionAutoencoder])
def test_a_window_of_another_length_is_refused_in_a_line(network):
    made = network(**SMALL[network])
    for samples in (4090, 1, 0):
        with pytest.raises(ValueError, match=rf"multiple of \d+.*Received: {samples} samples"):
            made(np.zeros((1, samples), "float32"))


def test_a_discriminator_judges_windows_of_one_length():
    made = InceptionDiscriminator(**SMALL[InceptionDiscriminator])
    with pytest.raises(ValueError, match="windows of 64 samples"):
        made(windows(2, 72))
    with pytest.raises(ValueError, match="multiple of 8"):
        InceptionDiscriminator(window_samples=60, depth=3)


@pytest.mark.parametrize("arguments", [{"filters": 12}, {"depth": 0}, {"dropout": 1.0}], ids=str)
def test_sizes_that_cannot_be_are_refused(arguments):
    for network in SMALL:
        with pytest.raises(ValueError, match=next(iter(arguments))):
            network(**{**SMALL[network], **arguments})


# === How they behave ===


def test_with_the_additive_skip_the_network_says_what_to_add_before_the_tanh():
    plain, adding = (
        InceptionGenerator(**SMALL[InceptionGenerator], additive_skip=skip)
        for skip in (False, True)
    )
    x = windows()
    np.testing.assert_allclose(np.arctanh(adding(x)), x + np.arctanh(plain(x)), atol=1e-5)


@pytest.mark.parametrize("network", SMALL, ids=lambda each: each.__name__)
def test_dropout_acts_in_training_only(network):
    made, without = network(**SMALL[network]), network(**SMALL[network], dropout=0.0)
    x = windows()
    np.testing.assert_array_equal(made(x), made(x))
    np.testing.assert_array_equal(made(x), without(x, training=True))
    first, second = made(x, training=True), made(x, training=True)
    assert np.abs(first - second).max() > 1e-6


def test_a_windows_value_does_not_depend_on_the_other_windows():
    made = InceptionDiscriminator(**SMALL[InceptionDiscriminator])
    x = tf.constant(windows(3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        first = made(x)[0]
    slopes = np.abs(tape.gradient(first, x))
    assert slopes[0].max() > 0 and slopes[1:].max() == 0
    np.testing.assert_allclose(made(x[:1])[0], first, atol=1e-6)


def test_the_discriminators_slope_has_the_right_slope_by_its_weights():
    made = InceptionDiscriminator(**SMALL[InceptionDiscriminator], dtype="float64")
    x = tf.constant(windows(), "float64")
    kernel = made.inceptions[1].reduction_kernel

    def slope():
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(made(x))
        return tf.reduce_sum(tape.gradient(value, x) ** 2)

    with tf.GradientTape() as outer:
        squared = slope()
    gradient = outer.gradient(squared, kernel.value)
    direction = tf.constant(np.random.default_rng(0).normal(size=kernel.shape))
    values, step = [], 1e-6
    for sign in (1, -1):
        kernel.assign_add(sign * step * direction)
        values.append(float(slope()))
        kernel.assign_sub(sign * step * direction)
    numeric = (values[0] - values[1]) / (2 * step)
    assert float(tf.reduce_sum(gradient * direction)) == pytest.approx(numeric, rel=1e-5)


# === As Keras models ===


@pytest.mark.parametrize("network", SMALL, ids=lambda each: each.__name__)
def test_it_is_saved_and_loaded_as_any_keras_model_and_as_a_preset(network, tmp_path):
    made = network(**SMALL[network], seed=5)
    for weight in made.weights:
        weight.assign_add(0.1 * keras.random.normal(weight.shape, seed=1))
    x = windows()
    made.save(tmp_path / "network.keras")
    made.save_to_preset(tmp_path / "preset")
    for loaded in (
        keras.saving.load_model(tmp_path / "network.keras"),
        network.from_preset(tmp_path / "preset"),
    ):
        assert loaded.get_config() == made.get_config()
        np.testing.assert_array_equal(loaded(x), made(x))


@pytest.mark.parametrize("network", SMALL, ids=lambda each: each.__name__)
def test_seeds_decide_the_weights(network):
    x = windows()
    first, same, other = (network(**SMALL[network], seed=seed)(x) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1e-4


@pytest.mark.parametrize("network", SMALL, ids=lambda each: each.__name__)
def test_mixed_precision_gives_nearly_the_same_in_float32(network):
    x = windows()
    full, mixed = (
        network(**SMALL[network], dtype=dtype) for dtype in ("float32", "mixed_bfloat16")
    )
    assert mixed.weights[0].dtype == "float32" and mixed(x).dtype == "float32"
    np.testing.assert_allclose(mixed(x), full(x), atol=0.05)
