"""The discriminators and the losses on them are the published ones."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore import losses
from tfrestore.errors import UsageError
from tfrestore.models import MultiResolutionSTFTDiscriminator

GOLDEN = np.load(Path(__file__).parent / "golden" / "discriminator_and_losses.npz")
WINDOWS = [int(window) for window in GOLDEN["windows"]]
SIGNALS = ("input", "target", "small_output")


def signal(name):
    return GOLDEN[name][:, 0]


@pytest.fixture(scope="module")
def published():
    """The discriminators with the golden weights."""
    model = MultiResolutionSTFTDiscriminator(filters=2)
    for number, discriminator in enumerate(model.discriminators):
        prefix = f"param/discriminators.{number}.discriminator"
        for index, layer in enumerate(discriminator.convolutions):
            weights = {
                name: GOLDEN[f"{prefix}.{index}.0.{name}"]
                for name in ("weight_orig", "bias", "weight_u", "weight_v")
            }
            inputs = weights["weight_orig"].shape[1]
            layer.kernel.assign(weights["weight_orig"].transpose(3, 2, 1, 0))
            layer.bias.assign(weights["bias"])
            layer.left.assign(weights["weight_u"])
            layer.right.assign(weights["weight_v"].reshape(inputs, 3, 3).transpose(2, 1, 0).ravel())
        output = discriminator.output_convolution
        output.kernel.assign(GOLDEN[f"{prefix}.6.weight"].transpose(3, 2, 1, 0))
        output.bias.assign(GOLDEN[f"{prefix}.6.bias"])
    return model


@pytest.fixture(scope="module")
def judgements(published):
    return {name: published(signal(name)) for name in SIGNALS}


# Parity


@pytest.mark.parametrize("name", SIGNALS)
def test_logits_are_the_published_ones(judgements, name):
    logits, _ = judgements[name]
    for window, found in zip(WINDOWS, logits, strict=True):
        expected = GOLDEN[f"logits/{name}/{window}"]
        if expected.ndim == 0:
            assert np.mean(found) == pytest.approx(expected, rel=1e-4)
        else:
            error = np.abs(np.transpose(found, (0, 2, 1)) - expected[:, 0]).max()
            assert error <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", SIGNALS)
def test_feature_maps_have_the_published_means_and_shapes(judgements, name):
    _, features = judgements[name]
    for window, maps in zip(WINDOWS, features, strict=True):
        means = [np.abs(each).mean() for each in maps]
        np.testing.assert_allclose(means, GOLDEN[f"feature_absmean/{name}/{window}"], rtol=1e-4)
        # PyTorch has channels first and frames last.
        shapes = [np.array(each.shape)[[0, 3, 2, 1]] for each in maps]
        np.testing.assert_array_equal(shapes, GOLDEN[f"feature_shapes/{window}"])


def over_the_batch(ratios, sizes):
    """The ratio of two means over a batch, from the ratios and the divisors of its examples."""
    ratios, sizes = np.asarray(ratios, "f8"), np.asarray(sizes, "f8")
    return np.sum(ratios * sizes) / np.sum(sizes)


def published_stft_terms(estimate):
    """The published loss by window: its means are over the batch, ours over an example."""
    terms = []
    for window in WINDOWS:
        spectrum = tf.signal.stft(
            np.pad(signal("target"), ((0, 0), (window // 2, window // 2)), "reflect"),
            window,
            window // 2,
        )
        sizes = np.abs(spectrum).mean(axis=(1, 2))
        ratios = losses.multi_resolution_stft_loss(signal("target"), signal(estimate), [window])
        terms.append(over_the_batch(ratios, sizes))
    return terms


def published_feature_matching(judgements, estimate):
    """The published loss: its means are over the batch, ours over an example."""
    terms = []
    for real_maps, maps in zip(judgements["target"][1], judgements[estimate][1], strict=True):
        for real, generated in zip(real_maps, maps, strict=True):
            ratios = losses.feature_matching_loss([[real]], [[generated]])
            terms.append(over_the_batch(ratios, np.abs(real).mean(axis=(1, 2, 3))))
    return np.mean(terms)


@pytest.mark.parametrize("estimate", ["input", "small_output"])
def test_every_loss_is_the_published_one(judgements, estimate):
    real, generated = judgements["target"][0], judgements[estimate][0]
    found = {
        "freq_mae": np.mean(published_stft_terms(estimate)),
        "discriminator_loss": np.mean(losses.least_squares_discriminator_loss(real, generated)),
        "generator_adversarial": np.mean(losses.least_squares_generator_loss(generated)),
        "generator_feature_matching": published_feature_matching(judgements, estimate),
    }
    found["generator_total"] = sum(
        found[name] for name in ("freq_mae", "generator_adversarial", "generator_feature_matching")
    )
    for name, value in found.items():
        assert value == pytest.approx(GOLDEN[f"loss/{estimate}_vs_target/{name}"], abs=1e-5), name


def test_the_stft_loss_by_window_is_the_published_one():
    expected = GOLDEN["freq_mae_terms/input_vs_target"]
    np.testing.assert_allclose(published_stft_terms("input"), expected, atol=1e-5)


def test_losses_of_a_batch_are_those_of_its_examples_one_by_one(published, judgements):
    def terms(target, estimate):
        (real, real_features), (generated, features) = published(target), published(estimate)
        return np.stack(
            [
                losses.multi_resolution_stft_loss(target, estimate),
                losses.least_squares_discriminator_loss(real, generated),
                losses.least_squares_generator_loss(generated),
                losses.feature_matching_loss(real_features, features),
            ]
        )

    target, estimate = signal("target"), signal("small_output")
    one_by_one = [terms(target[[i]], estimate[[i]]) for i in range(2)]
    np.testing.assert_allclose(terms(target, estimate), np.hstack(one_by_one), rtol=1e-4)


# Sizes


def test_the_discriminators_have_the_published_parameters():
    model = MultiResolutionSTFTDiscriminator()
    counts = [
        sum(int(np.prod(weight.shape)) for weight in each.trainable_weights)
        for each in model.discriminators
    ]
    assert counts == [395_785] * 7 and sum(counts) == 2_770_495
    assert model.windows == WINDOWS


def test_a_gain_changes_no_judgement(published):
    quiet, _ = published(0.01 * signal("input"))
    loud, _ = published(signal("input"))
    for ours, theirs in zip(quiet, loud, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_silence_is_judged_with_finite_numbers_and_slopes(published):
    silence = tf.zeros((1, 4096))
    with tf.GradientTape() as tape:
        tape.watch(silence)
        logits, features = published(silence)
        loss = losses.least_squares_generator_loss(logits)
        loss += losses.feature_matching_loss(features, features)
        loss += losses.multi_resolution_stft_loss(silence + 1.0, silence)
    assert np.isfinite(loss).all() and np.isfinite(tape.gradient(loss, silence)).all()


# A Keras citizen


def test_unknown_batch_and_length_are_taken(published):
    function = tf.function(published, input_signature=[tf.TensorSpec((None, None), tf.float32)])
    logits, _ = function(signal("target"))
    for ours, theirs in zip(logits, published(signal("target"))[0], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert function(signal("target")[:1, :3000])[0][0].shape[0] == 1


def test_a_judgement_in_bfloat16_is_close_to_that_in_float32(published):
    model = MultiResolutionSTFTDiscriminator(filters=2, dtype="mixed_bfloat16")
    model.set_weights(published.get_weights())
    assert all(weight.dtype == "float32" for weight in model.weights)
    (ours, features), (theirs, _) = (each(signal("input")) for each in (model, published))
    assert features[0][0].dtype == "bfloat16"
    for found, expected in zip(ours, theirs, strict=True):
        assert found.dtype == "float32"
        assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


def test_it_is_loaded_as_it_was_saved(published, tmp_path):
    published.save(tmp_path / "model.keras")
    expected, _ = published(signal("input"))
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == published.get_config()
    for ours, theirs in zip(loaded(signal("input"))[0], expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_window_of_no_samples_is_refused():
    with pytest.raises(UsageError, match="hop_length is 0"):
        MultiResolutionSTFTDiscriminator(windows=[0])
