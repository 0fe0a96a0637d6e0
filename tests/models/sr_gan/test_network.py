import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.models import FrequencyAggregationCritic, FrequencyAggregationGenerator
from tfrestore.models.presets import find_preset, preset_names
from tfrestore.models.sr_gan.frequency_aggregation import (
    FrequencyAggregation,
    FrequencyDistribution,
)
from tfrestore.models.sr_gan.trunk import FrequencyAggregationTrunk

SIZES = {"bins": 16, "filters": (2, 4, 4), "aggregation": 16, "maps": 4}
BINS, NOISE = 16, 6


def make_generator(**options):
    return FrequencyAggregationGenerator(**{**SIZES, "noise_size": NOISE, **options})


def make_critic(**options):
    return FrequencyAggregationCritic(**{**SIZES, **options})


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


# === Shapes and sizes ===


@pytest.mark.parametrize("frames", [125, 200, 336])
def test_the_generator_gives_124_frames_fewer_and_the_critic_a_value_per_frame(frames):
    generator, critic = make_generator(), make_critic()
    degraded = normal(2, frames, BINS, 2)
    restored = generator(degraded, normal(2, NOISE))
    assert restored.shape == (2, frames - 124, BINS, 2) and restored.dtype == "float32"
    context = generator.context_frames
    assert context == 62
    values = critic(restored, degraded[:, context:-context])
    assert values.shape == (2, frames - 124) and values.dtype == "float32"


def test_the_presets_take_336_frames_to_the_papers_212_in_shapes_that_are_known_beforehand():
    spectrum = keras.KerasTensor((None, 336, 1024, 2))
    generator = FrequencyAggregationGenerator.from_preset("sr_gan_tiny")
    restored = generator(spectrum, keras.KerasTensor((None, 64)))
    assert restored.shape == (None, 212, 1024, 2) and restored.dtype == "float32"
    assert generator.compute_output_shape((3, None, 1024, 2)) == (3, None, 1024, 2)
    critic = FrequencyAggregationCritic(filters=(2, 2, 2), aggregation=64, maps=2)
    assert critic(spectrum, spectrum).shape == (None, 336)


@pytest.fixture
def without_weights():
    """Networks that are made here have weights of known shape and no memory."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session()


def test_the_generator_has_the_parameters_of_table_1(without_weights):
    def convolution(maps_in, maps_out, size, slopes=0):
        return maps_in * maps_out * size + maps_out + slopes

    table = {
        "conv1": convolution(2, 18, 9, slopes=18),
        "conv2": convolution(18, 38, 9, slopes=38),
        "conv3": convolution(38, 38, 9, slopes=38),
        "conv4": convolution(38, 4096, 1024, slopes=4096),
        "remap": convolution(128, 256, 1, slopes=256),
        "conv5": convolution(256, 256, 9, slopes=256),
        "conv6": convolution(256 + 64, 256, 9, slopes=128),
        **{f"conv{n}": convolution(128, 256, 9, slopes=128) for n in range(7, 15)},
        "deconv4": convolution(4096, 38, 1024, slopes=38),
        "deconv3": convolution(38, 38, 9, slopes=38),
        "deconv2": convolution(38, 18, 9, slopes=18),
        "deconv1": convolution(18, 2, 9),
    }
    generator = FrequencyAggregationGenerator.from_preset("sr_gan_16k")
    counted = dict.fromkeys(table, 0)
    for weight in generator.weights:
        (name,) = (part for part in weight.path.split("/") if part.split("_")[0] in table)
        counted[name.split("_")[0]] += int(np.prod(weight.shape))
    assert counted == table
    assert generator.count_params() == sum(table.values()) == 322_538_274
    # What a later paper reports for it.
    assert abs(generator.count_params() - 322.53e6) <= 0.2e6


def test_the_deterministic_twin_lacks_the_noises_kernels_only(without_weights):
    twin = FrequencyAggregationGenerator.from_preset("sr_gan_16k_deterministic")
    assert twin.count_params() == 322_538_274 - 9 * 64 * 256


def test_each_group_of_the_critic_has_half_of_table_1(without_weights):
    def trunk(channels):
        outer = 9 * (channels * 9 + 9 * 19 + 19 * 19) + 2 * (9 + 19 + 19)
        aggregation = 19 * 1024 * 2048 + 2 * 2048
        remap = 64 * 128 + 2 * 128
        inner = 9 * 128 * (128 + 128 + 8 * 64) + 128 * 10 + 128 + 9 * 64
        return outer + aggregation + remap + inner + 128 * 64

    conv15 = 9 * 64 * 128 + 2 * 128
    conv16 = 32 * 256 + 1
    critic = FrequencyAggregationCritic()
    assert critic.count_params() == trunk(4) + trunk(2) + 2 * conv15 + conv16


def test_every_preset_describes_itself_and_gives_a_network():
    names = preset_names("sr_gan")
    rates = {f"sr_gan_{size}{rate}k" for size in ("", "small_") for rate in (16, 32, 64)}
    assert {"sr_gan_tiny", *rates} <= set(names)
    assert sorted(FrequencyAggregationGenerator.presets()) == names
    for name in names:
        arguments = dict(find_preset(name).config["network"])
        assert arguments.pop("class_name") == "FrequencyAggregationGenerator"
        generator = FrequencyAggregationGenerator(**{**arguments, **SIZES})
        assert generator.noise_size == (0 if name.endswith("_deterministic") else 64)


# === What they compute ===


def test_the_frequency_aggregation_filters_are_convolutions_over_all_bins():
    x = normal(2, 3, 5, 4)
    layer, reference = FrequencyAggregation(6), keras.layers.Conv2D(6, (1, 5))
    expected = reference(x)[:, :, 0]
    layer.build(x.shape)
    layer.set_weights([np.reshape(reference.kernel, (20, 6)), normal(6)])
    reference.bias.assign(layer.bias)
    expected = reference(x)[:, :, 0]
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_their_counterpart_is_a_transposed_convolution():
    x = normal(2, 3, 6)
    layer, reference = FrequencyDistribution(5, 4), keras.layers.Conv2DTranspose(4, (1, 5))
    reference.build((None, 3, 1, 6))
    layer.build(x.shape)
    kernel = np.transpose(reference.kernel, (0, 3, 1, 2))
    layer.set_weights([np.reshape(kernel, (6, 20)), normal(4)])
    reference.bias.assign(layer.bias)
    np.testing.assert_allclose(layer(x), reference(x[:, :, None]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shift", [1, 7, 40])
def test_the_generator_moves_with_its_input_away_from_the_edges(shift):
    generator = make_generator()
    spectrum, noise = normal(1, 240, BINS, 2), normal(1, NOISE)
    early = generator(spectrum[:, :-shift], noise)
    late = generator(spectrum[:, shift:], noise)
    edge = generator.receptive_frames - generator.context_frames
    assert edge == 14
    difference = np.abs(late[:, :-shift] - early[:, shift:]).max(axis=(0, 2, 3)) / np.std(early)
    assert difference[edge:-edge].max() <= 1e-4
    assert difference[:edge].max() > 1e-2


def test_a_frame_moves_exactly_the_generators_frames_within_its_receptive_field():
    generator = make_generator()
    frames, changed = 300, 150
    silence, noise = np.zeros((1, frames, BINS, 2), "float32"), np.zeros((1, NOISE), "float32")
    np.testing.assert_array_equal(generator(silence, noise), silence[:, 62:-62])
    click = silence.copy()
    click[:, changed] = normal(BINS, 2)
    moved = np.any(np.asarray(generator(click, noise)), axis=(0, 2, 3))
    assert generator.receptive_frames == 76
    expected = np.abs(np.arange(62, frames - 62) - changed) <= 76
    np.testing.assert_array_equal(moved, expected)


@pytest.mark.parametrize("argument", [0, 1])
def test_a_frame_moves_exactly_the_critics_values_within_its_receptive_field(argument):
    critic = make_critic()
    frames, changed = 220, 100
    inputs = [np.zeros((1, frames, BINS, 2), "float32") for _ in range(2)]
    before = np.asarray(critic(*inputs))
    inputs[argument][:, changed] = 1e4 * normal(BINS, 2)
    moved = np.asarray(critic(*inputs)) != before
    assert critic.receptive_frames == 70
    np.testing.assert_array_equal(moved[0], np.abs(np.arange(frames) - changed) <= 70)


def test_other_noise_gives_another_restoration_and_the_same_noise_the_same():
    generator = make_generator()
    spectrum, noise = normal(2, 150, BINS, 2), normal(2, NOISE)
    restored = generator(spectrum, noise)
    np.testing.assert_array_equal(generator(spectrum, noise), restored)
    other = generator(spectrum, normal(2, NOISE, seed=1))
    # Everywhere, since every frame sees the noise.
    assert np.all(np.abs(other - restored).max(axis=(2, 3)) > 0.01 * np.std(restored))


def test_a_fresh_generator_lets_music_and_noise_through():
    # As many inner bins as in the paper, of which the largest dilation loses half in the padding.
    generator = make_generator(bins=64, aggregation=256, maps=8)
    spectrum, noise = normal(2, 150, 64, 2), normal(2, NOISE)
    restored = np.asarray(generator(spectrum, noise))
    assert 0.03 < np.std(restored) < 3
    for other in (generator(spectrum[::-1], noise), generator(spectrum, noise[::-1])):
        assert np.std(other - restored) > 0.2 * np.std(restored)


def test_kernels_have_the_variance_that_their_activation_asks_for():
    def variances(network):
        return {
            weight.path.split("/")[-2]: np.var(weight) * np.prod(weight.shape[:-1])
            for weight in network.weights
            if weight.path.endswith("kernel")
        }

    gated = {f"conv{number}" for number in range(6, 15)}
    sizes = {"bins": 64, "filters": (8, 16, 16), "aggregation": 64, "maps": 16}
    for name, variance in variances(make_generator(**sizes)).items():
        expected = 5.2 if name in gated else 2
        # DeConv1 has 144 values only.
        assert variance == pytest.approx(expected, rel=0.3 if name == "deconv1" else 0.2), name
    for name, variance in variances(make_critic(**sizes)).items():
        assert variance == pytest.approx(2, rel=0.5), name


@pytest.mark.parametrize(("maps", "noise_size"), [(4, 64), (64, 4), (32, 16)])
def test_the_noise_has_the_share_of_table_1_whatever_the_sizes(maps, noise_size):
    generator = make_generator(aggregation=4 * maps, maps=maps, noise_size=noise_size)
    squares = np.square(generator.trunk.inner_convolutions[1].kernel).sum(axis=(0, 1, 3))
    assert len(squares) == 2 * maps + noise_size
    assert squares[2 * maps :].sum() / squares.sum() == pytest.approx(64 / 320, rel=0.15)


def test_one_vector_of_noise_serves_every_item_of_a_batch():
    generator = make_generator()
    spectrum, noise = normal(3, 130, BINS, 2), normal(1, NOISE)
    np.testing.assert_allclose(
        generator(spectrum, noise), generator(spectrum, np.repeat(noise, 3, axis=0)), atol=1e-6
    )


@pytest.mark.parametrize("residual", [False, True])
def test_several_versions_of_a_batch_are_those_of_one_vector_each(residual):
    generator = make_generator(residual=residual)
    spectrum, noise = normal(2, 130, BINS, 2), normal(3, 2, NOISE)
    together = generator(spectrum, noise)
    assert together.shape == (6, 6, BINS, 2)
    expected = np.concatenate([generator(spectrum, vectors) for vectors in noise])
    np.testing.assert_allclose(together, expected, atol=1e-5)
    symbolic = generator(keras.KerasTensor((2, 130, BINS, 2)), keras.KerasTensor((3, 2, NOISE)))
    assert symbolic.shape == together.shape
    assert generator.compute_output_shape((None, 130, BINS, 2), (3, None, NOISE))[0] is None


def test_spectrum_and_noise_in_one_argument_are_the_same_for_calls_predict_and_a_saved_model(
    tmp_path,
):
    generator = make_generator(residual=True)
    spectrum, noise = normal(3, 130, BINS, 2), normal(3, NOISE, seed=1)
    expected = np.asarray(generator(spectrum, noise))
    generator.save(tmp_path / "generator.keras")
    loaded = keras.saving.load_model(tmp_path / "generator.keras")
    for inputs in ((spectrum, noise), [spectrum, noise], {"spectrum": spectrum, "noise": noise}):
        np.testing.assert_array_equal(generator(inputs), expected)
        for network in (generator, loaded):
            predicted = network.predict(inputs, batch_size=2, verbose=0)
            np.testing.assert_allclose(predicted, expected, atol=1e-5)
    deterministic = make_generator(noise_size=0)
    predicted = deterministic.predict(spectrum, verbose=0)
    np.testing.assert_allclose(predicted, deterministic(spectrum), atol=1e-5)
    shapes = [spectrum.shape, noise.shape]
    assert generator.compute_output_shape(shapes) == expected.shape
    for wrong in ((spectrum, noise, noise), {"noise": noise}, {"spectrum": spectrum, "x": noise}):
        with pytest.raises(ValueError, match="must"):
            generator(wrong)


def test_the_deterministic_generator_takes_no_noise():
    generator = make_generator(noise_size=0)
    spectrum = normal(1, 130, BINS, 2)
    assert generator(spectrum).shape == (1, 6, BINS, 2)
    with pytest.raises(ValueError, match="`noise` must be None"):
        generator(spectrum, normal(1, NOISE))


def test_the_critics_groups_meet_in_the_output_layer_only():
    critic = make_critic()
    candidate, degraded = normal(1, 20, BINS, 2), normal(1, 20, BINS, 2, seed=1)
    mirrored = critic(-candidate, degraded), critic(candidate, -degraded)
    value = critic(candidate, degraded)
    assert all(np.abs(other - value).min() > 0 for other in mirrored)
    # Signs do not change magnitudes, so without the first group's share they change nothing.
    kernel = np.reshape(critic.conv16.kernel, (4, 2, 4))
    kernel[:, 0] = 0
    critic.conv16.kernel.assign(kernel.reshape(-1, 1))
    value = critic(candidate, degraded)
    np.testing.assert_array_equal(critic(-candidate, degraded), value)
    np.testing.assert_array_equal(critic(candidate, -degraded), value)
    assert np.abs(critic(2 * candidate, degraded) - value).min() > 0
    assert np.abs(critic(candidate, 2 * degraded) - value).min() > 0


def test_a_gradient_penalty_on_the_critic_reaches_its_kernels_with_the_right_gradient():
    critic = make_critic(seed=1)
    candidate, degraded = tf.constant(normal(2, 12, BINS, 2)), normal(2, 12, BINS, 2, seed=1)
    for weight in critic.weights:
        if "slope" in weight.path:
            # The norm jumps where a PReLU's input changes its sign; a difference must not see that.
            weight.assign(keras.ops.ones_like(weight))

    @tf.function
    def penalty():
        with tf.GradientTape() as tape:
            tape.watch(candidate)
            value = tf.reduce_sum(critic(candidate, degraded))
        norm = tf.norm(tf.reshape(tape.gradient(value, candidate), (2, -1)), axis=1)
        return tf.reduce_mean((norm - 1) ** 2)

    with tf.GradientTape() as tape:
        value = penalty()
    kernels = [weight for weight in critic.trainable_weights if "kernel" in weight.path]
    gradients = tape.gradient(value, [kernel.value for kernel in kernels])
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)
    step = 5e-4
    rng = np.random.default_rng(0)
    directions = [np.std(k) * rng.standard_normal(k.shape) for k in kernels]
    values = []
    for sign in (1, -1):
        for kernel, direction in zip(kernels, directions, strict=True):
            kernel.assign_add((1 if sign > 0 else -2) * step * direction)
        values.append(float(penalty()))
    slope = sum(float(np.sum(g * d)) for g, d in zip(gradients, directions, strict=True))
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=0.01)


# === How they run ===


def test_they_give_the_same_eagerly_in_a_graph_of_unknown_sizes_and_under_xla():
    generator, critic = make_generator(), make_critic()
    spectrum, noise = normal(2, 130, BINS, 2), normal(2, NOISE)

    def judge(spectrum, noise):
        restored = generator(spectrum, noise)
        return restored, critic(restored, spectrum[:, 62:-62])

    signature = [tf.TensorSpec((None, None, BINS, 2)), tf.TensorSpec((None, NOISE))]
    graph = tf.function(judge, input_signature=signature)
    assert graph.get_concrete_function().structured_outputs[0].shape.as_list()[2:] == [BINS, 2]
    eager = judge(spectrum, noise)
    for other in (graph(spectrum, noise), tf.function(judge, jit_compile=True)(spectrum, noise)):
        for ours, theirs in zip(other, eager, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.std(theirs))


def test_in_bfloat16_they_take_and_give_float32_and_still_learn():
    spectrum, noise = normal(2, 130, BINS, 2), normal(2, NOISE)
    exact = make_generator()(spectrum, noise)
    generator, critic = (make(dtype="mixed_bfloat16") for make in (make_generator, make_critic))
    with tf.GradientTape() as tape:
        restored = generator(spectrum, noise)
        value = critic(restored, spectrum[:, 62:-62])
    assert restored.dtype == value.dtype == "float32"
    assert np.std(restored - exact) < 0.1 * np.std(exact)
    weights = generator.trainable_weights
    assert {weight.dtype for weight in weights} == {"float32"}
    assert generator.trunk.conv4.compute_dtype == "bfloat16"
    for gradient in tape.gradient(value, [weight.value for weight in weights]):
        assert np.all(np.isfinite(gradient)) and np.any(gradient)


@pytest.mark.parametrize("make", [make_generator, make_critic])
def test_a_saved_network_is_the_same_network(make, tmp_path):
    network = make(seed=3, name="mine")
    inputs = (normal(1, 130, BINS, 2), normal(1, NOISE) if make is make_generator else None)
    inputs = inputs if make is make_generator else (inputs[0], inputs[0])
    expected = network(*inputs)
    network.save(tmp_path / "network.keras")
    network.save_to_preset(tmp_path)
    for again in (
        keras.models.load_model(tmp_path / "network.keras"),
        type(network).from_preset(tmp_path),
    ):
        assert type(again) is type(network)
        assert again.get_config() == network.get_config()
        np.testing.assert_array_equal(again(*inputs), expected)


def test_the_trunk_is_saved():
    trunk = FrequencyAggregationTrunk(
        (2, 2, 2), 8, 2, noise_size=3, pad_time=True, skip_connections=True, seed=5
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(trunk))
    assert again.get_config() == trunk.get_config()


def test_the_same_seed_gives_the_same_weights_and_layers_of_one_shape_differ():
    for make in (make_generator, make_critic):
        first, second, other = (make(seed=seed).get_weights() for seed in (0, 0, 1))
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
        kernels = [weight for weight in first + other if weight.ndim == 4]
        assert all(not np.array_equal(a, b) for i, a in enumerate(kernels) for b in kernels[:i])


# === Bad input ===


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ((normal(1, 130, BINS + 1, 2), normal(1, NOISE)), r"\(batch, frames, 16, 2\)"),
        ((normal(1, 124, BINS, 2), normal(1, NOISE)), "at least 125 frames"),
        ((normal(1, 130, BINS, 2), normal(1, NOISE + 1)), r"\(batch, 6\)"),
        ((normal(1, 130, BINS, 2),), r"\(batch, 6\)"),
    ],
)
def test_a_call_that_does_not_fit_says_what_would(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_generator()(*arguments)


def test_the_critic_refuses_spectra_of_other_sizes():
    with pytest.raises(ValueError, match=r"\(batch, frames, 16, 2\)"):
        make_critic()(normal(1, 9, BINS, 2), normal(1, 9, BINS, 1))


@pytest.mark.parametrize(
    "make, arguments, complaint",
    [
        (make_generator, {"maps": 3}, "`maps` must divide"),
        (make_critic, {"maps": 1}, "must be even"),
        (FrequencyAggregationTrunk, {"skip_connections": True}, "pad_time"),
    ],
)
def test_sizes_that_do_not_fit_each_other_are_named(make, arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        make(**arguments)
