import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.errors import UsageError
from tfrestore.models import UNet
from tfrestore.models.presets import find_preset, preset_names

SMALL = {"filters": 4, "depth": 2}

# Total parameters as the paper's authors printed them.
PUBLISHED_PARAMETERS = {
    "unet": 18_872_545,
    "unet_v2": 22_020_161,
    "res_unet": 18_872_545,
    "res_unet_v2": 22_020_161,
    "attention_unet": 19_573_894,
    "attention_res_unet": 19_573_894,
}


@pytest.mark.parametrize("name", PUBLISHED_PARAMETERS)
def test_each_of_the_six_presets_has_the_published_parameters_and_shapes(name):
    network = UNet.from_preset(name)
    assert network.count_params() == PUBLISHED_PARAMETERS[name]
    not_trained = sum(int(np.prod(weight.shape)) for weight in network.non_trainable_weights)
    assert not_trained == (8_000 if name.endswith("v2") else 6_016)
    assert network.compute_output_shape((3, 128, 128, 1)) == (3, 128, 128, 1)
    assert network(np.zeros((1, 128, 128, 1), "float32")).shape == (1, 128, 128, 1)


def test_the_layers_of_the_unet_have_the_published_parameters():
    network = UNet.from_preset("unet")
    blocks = {
        **{f"encoder_{i}": n for i, n in enumerate([448, 18_752, 74_368, 296_192, 1_182_208])},
        "bottom": 4_723_712,
        **{f"decoder_{4 - i}": n for i, n in enumerate([4_721_152, 1_180_928, 295_552, 74_048])},
        "decoder_0": 18_592,
    }
    for name, parameters in blocks.items():
        layers = [network.get_layer(f"{name}_{part}") for part in ("convolution", "normalization")]
        assert sum(layer.count_params() for layer in layers) == parameters, name
    up = [network.get_layer(f"decoder_{level}_upsample").count_params() for level in range(5)]
    assert up == [18_464, 73_792, 295_040, 1_179_904, 4_719_104]
    assert network.get_layer("output_convolution").count_params() == 289
    normalization = network.get_layer("bottom_normalization")
    assert (normalization.momentum, normalization.epsilon) == (0.9997, 0.001)


@pytest.mark.parametrize("frames, bins", [(128, 128), (100, 130), (1, 1), (7, 33)])
@pytest.mark.parametrize("downsampling", ["pool", "stride"])
def test_sizes_that_are_no_multiples_are_padded_and_cropped(frames, bins, downsampling):
    network = UNet(**SMALL, downsampling=downsampling, attention_gates=True)
    patches = np.random.default_rng(0).random((2, frames, bins, 1), "float32")
    restored = network(patches)
    assert restored.shape == patches.shape
    # Cropping gives what the padded patch gives.
    padded = np.pad(patches, [(0, 0), (0, -frames % 4), (0, -bins % 4), (0, 0)])
    np.testing.assert_allclose(restored, network(padded)[:, :frames, :bins], atol=1e-6)


def test_it_runs_in_a_graph_with_unknown_sizes():
    network = UNet(**SMALL)
    graph = tf.function(network, input_signature=[tf.TensorSpec([None, None, None, 1])])
    patches = np.random.default_rng(0).random((2, 13, 21, 1), "float32")
    np.testing.assert_allclose(graph(patches), network(patches), atol=1e-6)


def test_a_global_residual_with_nothing_to_subtract_is_the_identity():
    network = UNet(**SMALL, global_residual=True)
    for weight in network.get_layer("output_convolution").weights:
        weight.assign(np.zeros(weight.shape))
    patches = np.random.default_rng(0).random((2, 16, 16, 1), "float32")
    np.testing.assert_array_equal(network(patches), patches)


def test_the_output_scale_scales_what_the_output_convolution_says():
    patches = np.random.default_rng(0).random((2, 16, 16, 1), "float32")
    full, scaled = (UNet(**SMALL, output_scale=scale) for scale in (1.0, 0.25))
    scaled.set_weights(full.get_weights())
    np.testing.assert_allclose(scaled(patches), 0.25 * np.asarray(full(patches)), rtol=1e-5)


@pytest.mark.parametrize("downsampling", ["pool", "stride"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_no_frame_beyond_the_context_moves_an_output(downsampling, depth):
    network = UNet(filters=4, depth=depth, downsampling=downsampling, attention_gates=True)
    grid, context = 2**depth, network.context_frames
    frames = grid * (2 * (context // grid) + 6)
    patches = np.random.default_rng(0).random((1, frames, grid, 1), "float32")
    centre = frames // 2
    moved = patches.copy()
    moved[:, centre] += 1.0
    difference = np.abs(np.asarray(network(moved)) - np.asarray(network(patches))).max(
        axis=(0, 2, 3)
    )
    reach = np.abs(np.flatnonzero(difference > 0) - centre)
    assert reach.max() <= context
    # The bound is no larger than a level's stride off what is seen from the least lucky frame.
    assert context <= 2 * reach.max() + grid


def test_a_shift_by_the_grid_shifts_the_output():
    network = UNet(**SMALL, downsampling="stride")
    context, grid = network.context_frames, 4
    frames = 2 * context + 16 - (2 * context) % grid
    patches = np.random.default_rng(0).random((1, frames + grid, 8, 1), "float32")
    first, second = (np.asarray(network(patches[:, i : i + frames])) for i in (0, grid))
    inside = slice(context + grid, frames - context)
    np.testing.assert_allclose(
        first[:, inside], second[:, inside.start - grid : inside.stop - grid], atol=1e-5
    )


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_saved_model_comes_back_the_same_in_any_precision(tmp_path, precision):
    network = UNet(**SMALL, global_residual=True, attention_gates=True, dtype=precision)
    patches = np.random.default_rng(0).random((1, 16, 16, 1), "float32")
    assert network(patches).dtype == "float32"
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert loaded.get_config() == network.get_config()
    np.testing.assert_array_equal(loaded(patches), network(patches))


def test_a_preset_folder_gives_the_same_network(tmp_path):
    network = UNet(**SMALL, downsampling="stride", seed=3)
    network.save_to_preset(tmp_path)
    loaded = UNet.from_preset(tmp_path)
    patches = np.random.default_rng(0).random((1, 16, 16, 1), "float32")
    np.testing.assert_array_equal(loaded(patches), network(patches))
    assert UNet.from_preset(tmp_path, load_weights=False, seed=5).seed == 5


def test_a_preset_folder_whose_weights_were_changed_is_refused(tmp_path):
    UNet(**SMALL).save_to_preset(tmp_path)
    weights = tmp_path / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UsageError, match="model.weights.h5: the checksum differs"):
        UNet.from_preset(tmp_path)


def test_an_unknown_preset_is_named_with_those_there_are(tmp_path):
    with pytest.raises(UsageError, match=r"'unet_tinny'. Did you mean 'unet_tiny'\?"):
        UNet.from_preset("unet_tinny")
    with pytest.raises(UsageError, match="holds no config.json"):
        UNet.from_preset(tmp_path)


def test_every_built_in_preset_describes_itself_and_can_be_made():
    for name in preset_names("inpainter"):
        preset = find_preset(name)
        assert preset.description and "\n" not in preset.description
        assert name in UNet.presets()
        for section in ("network", "restorer", "recipe", "data"):
            assert preset.find_class(section)


def test_the_same_seed_gives_the_same_weights():
    first, second, other = (UNet(**SMALL, seed=seed).get_weights() for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("argument", [{"downsampling": "average"}, {"filters": 0}, {"depth": 0}])
def test_an_impossible_argument_is_named(argument):
    with pytest.raises(ValueError, match=f"`{next(iter(argument))}`"):
        UNet(**argument)


@pytest.mark.parametrize("options", [{}, {"downsampling": "stride", "attention_gates": True}])
def test_folded_batch_normalization_is_the_same_function_without_the_layers(options):
    network = UNet(**SMALL, **options)
    generator = np.random.default_rng(0)
    for weight in network.weights:
        # Statistics, factors and summands that do something; variances are positive.
        values = generator.normal(size=weight.shape, scale=0.3)
        weight.assign(0.2 + np.abs(values) if "variance" in weight.path else values)
    patches = generator.random((2, 20, 12, 1), "float32")
    folded = network.fold_batch_normalization()
    expected = network(patches).numpy()
    np.testing.assert_allclose(folded(patches), expected, atol=1e-5 * np.abs(expected).max())
    assert not [layer for layer in folded.layers if "normalization" in layer.name]
    normalizations = [layer for layer in network.layers if "normalization" in layer.name]
    assert folded.count_params() == network.count_params() - sum(
        layer.count_params() for layer in normalizations
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(folded))
    assert [w.shape for w in again.weights] == [w.shape for w in folded.weights]
