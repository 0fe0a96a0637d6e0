"""A step of Apollo's training is the one written down, on one device and on several."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.stopped_runs import assert_ended_alike, run_until_checkpoint
from tfrestore import losses, metrics
from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.mp3_pairs import Mp3Pairs
from tfrestore.data.preparation import prepare_pairs
from tfrestore.data.shards import open_training_data
from tfrestore.errors import UsageError
from tfrestore.models import Apollo, MultiResolutionSTFTDiscriminator
from tfrestore.models.apollo.recipe import ApolloExamples, ApolloTrainer
from tfrestore.models.apollo.restorer import ApolloRestorer
from tfrestore.models.presets import find_preset, preset_names, read_metadata
from tfrestore.restorer import Restorer
from tfrestore.training.configuration import resolve
from tfrestore.training.distribution import mirrored_strategy
from tfrestore.training.loop import TrainingRun

EXAMPLES, SAMPLES = 4, 2112
# Hz, at which so many samples are several frames of a neurogram.
NEUROGRAM_RATE = 8000
SIZES = {"features": 8, "depth": 1, "heads": 2, "bands": 5, "frame_length": 64}


def one_device():
    return tf.distribute.OneDeviceStrategy("CPU:0")


def two_devices():
    return mirrored_strategy("CPU:0", "CPU:1")


def pairs(seed=0):
    """A global batch `(degraded, original)`: noise, and what a moving average leaves of it."""
    original = np.random.default_rng(seed).normal(0, 0.3, (EXAMPLES, SAMPLES)).astype(np.float32)
    return (original + np.roll(original, 1, axis=1)) / 2, original


def make_trainer(strategy=None, precision="float32", residual=False, **arguments):
    with (strategy or one_device()).scope():
        network = Apollo(**SIZES, residual=residual, dtype=precision)
        discriminator = MultiResolutionSTFTDiscriminator((32, 128), 1, dtype=precision)
        return ApolloTrainer(network, discriminator, **arguments)


def train(strategy, batches=1, **arguments):
    """A trainer after a step on each of some batches, in the way of the training loop."""
    trainer = make_trainer(strategy, **arguments)
    every = [pairs(seed) for seed in range(batches)]
    stacked = tuple(np.concatenate(waveforms) for waveforms in zip(*every, strict=True))
    dataset = tf.data.Dataset.from_tensor_slices(stacked).batch(EXAMPLES, drop_remainder=True)
    for batch in strategy.experimental_distribute_dataset(dataset):
        # Not in a graph, which takes longer to build than these steps do.
        strategy.run(trainer.train_step, args=(batch,))
    return trainer


def flat(variables):
    return np.concatenate([keras.ops.convert_to_numpy(each).ravel() for each in variables])


def gradients(optimizer):
    """Those of the first step, as they were applied."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return flat(optimizer._momentums) / (1 - optimizer.beta_1)


def scores(metrics):
    return {metric.name: float(metric.result()) for metric in metrics}


def relative_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.fixture(scope="module")
def single():
    return train(one_device())


@pytest.fixture(scope="module")
def both():
    """Two steps on one device and on two."""
    return [train(strategy, batches=2) for strategy in (one_device(), two_devices())]


# A step, written out


def test_a_discriminator_step_is_least_squares_on_what_was_restored_before_it(single):
    trainer = make_trainer()
    degraded, original = pairs()
    restored = trainer.network(degraded)
    variables = trainer.discriminator.trainable_variables
    with tf.GradientTape() as tape:
        logits, _ = trainer.discriminator(tf.concat([original, restored], 0), training=True)
        loss = 0.0
        for each in logits:
            loss += tf.reduce_mean((each[:EXAMPLES] - 1) ** 2) + tf.reduce_mean(
                each[EXAMPLES:] ** 2
            )
        loss /= len(logits)
    expected = flat(tape.gradient(loss, variables))
    norm = np.linalg.norm(expected)
    found = gradients(single.discriminator_optimizer)
    assert relative_error(found, expected * min(1, 5 / norm)) <= 1e-4
    tracked = scores(single.training_metrics)
    assert tracked["discriminator_loss"] == pytest.approx(float(loss), rel=1e-4)
    assert tracked["discriminator_gradient_norm"] == pytest.approx(norm, rel=1e-4)


def generator_losses(trainer, discriminator, degraded, original):
    """The terms as they are for the discriminators behind their step, and what was restored."""
    restored = trainer.network(degraded)
    _, real_features = discriminator(original)
    logits, features = discriminator(restored)
    return [
        tf.reduce_mean(loss)
        for loss in (
            losses.multi_resolution_stft_loss(original, restored),
            losses.least_squares_generator_loss(logits),
            losses.feature_matching_loss(real_features, features),
            losses.si_snr_loss(original, restored),
            losses.log_spectral_loss(original, restored),
            losses.neurogram_similarity_loss(original, restored, NEUROGRAM_RATE),
            tf.nn.relu(
                0.05
                + losses.si_snr_loss(original, restored)
                - losses.si_snr_loss(original, degraded)
            ),
        )
    ]


def test_a_generator_step_is_the_sum_of_three_losses_by_discriminators_behind_their_step(single):
    trainer = make_trainer()
    with tf.GradientTape() as tape:
        # The discriminators as their own step, which came first, left them.
        stft, adversarial, matching, *_ = generator_losses(trainer, single.discriminator, *pairs())
        loss = stft + adversarial + matching
    expected = flat(tape.gradient(loss, trainer.network.trainable_variables))
    assert relative_error(gradients(single.optimizer), expected) <= 1e-4
    found = scores(single.training_metrics)
    for name, value in (
        ("multi_resolution_stft_loss", stft),
        ("adversarial_loss", adversarial),
        ("feature_matching_loss", matching),
        ("generator_loss", loss),
        ("generator_gradient_norm", np.linalg.norm(expected)),
    ):
        assert found[name] == pytest.approx(float(value), rel=1e-4), name


def test_every_loss_counts_by_its_weight():
    names = ("stft", "adversarial", "feature_matching", "si_snr", "log_spectral")
    names += ("neurogram_similarity", "si_snr_deficit")
    weights = dict(zip(names, (0.5, 0.25, 3.0, 0.0625, 0.125, 2.0, 1.5), strict=True))
    arguments = {f"{name}_weight": weights[name] for name in names}
    trainer = train(one_device(), sample_rate=NEUROGRAM_RATE, **arguments)
    terms = generator_losses(make_trainer(), trainer.discriminator, *pairs())
    expected = sum(
        weight * float(term) for weight, term in zip(weights.values(), terms, strict=True)
    )
    found = scores(trainer.training_metrics)
    assert found["generator_loss"] == pytest.approx(expected, rel=1e-4)
    assert found["si_snr_loss"] == pytest.approx(float(terms[3]), rel=1e-3)
    assert found["log_spectral_loss"] == pytest.approx(float(terms[4]), rel=1e-4)
    assert found["neurogram_similarity_loss"] == pytest.approx(float(terms[5]), rel=1e-3)
    assert found["si_snr_deficit"] == pytest.approx(float(terms[6]), rel=1e-3) and terms[6] > 1


def test_what_is_worse_than_the_mp3_counts_more_by_the_weight_of_its_loss():
    weights = {"adversarial_weight": 0.0, "feature_matching_weight": 0.0}
    weights |= {"stft_weight": 0.5, "log_spectral_weight": 0.25, "si_snr_deficit_weight": 2.0}
    trainer = train(one_device(), deficit_weight=3.0, **weights)
    degraded, original = map(tf.constant, pairs())
    restored = make_trainer().network(degraded)
    deficits = [
        weight * tf.nn.relu(loss(original, restored) - loss(original, degraded))
        for weight, loss in (
            (0.5, losses.multi_resolution_stft_loss),
            (0.25, losses.log_spectral_loss),
        )
    ]
    expected = float(tf.reduce_mean(tf.add_n(deficits)))
    found = scores(trainer.training_metrics)
    assert found["deficit"] == pytest.approx(expected, rel=1e-3) and expected > 0.1
    total = (
        0.5 * found["multi_resolution_stft_loss"]
        + 0.25 * found["log_spectral_loss"]
        + 2.0 * found["si_snr_deficit"]
        + 3.0 * found["deficit"]
    )
    assert found["generator_loss"] == pytest.approx(total, rel=1e-4)
    better = trainer._waveform_losses(degraded, original, original)
    assert not np.any(better["deficit"])
    with pytest.raises(ValueError, match="Where `deficit_weight` is not 0"):
        make_trainer(stft_weight=0.0, deficit_weight=1.0)


def test_without_their_losses_there_are_no_discriminators():
    weights = {"adversarial_weight": 0.0, "feature_matching_weight": 0.0}
    trainer = train(one_device(), **weights)
    assert trainer.discriminator is None
    names = {metric.name for metric in trainer.training_metrics}
    assert names == {"multi_resolution_stft_loss", "generator_loss", "generator_gradient_norm"}
    degraded, original = pairs()
    loss = losses.multi_resolution_stft_loss(original, make_trainer().network(degraded))
    found = scores(trainer.training_metrics)["generator_loss"]
    assert found == pytest.approx(float(tf.reduce_mean(loss)), rel=1e-4)
    again = ApolloTrainer.from_config(trainer.get_config())
    assert again.get_config() == trainer.get_config()
    with pytest.raises(ValueError, match="must be more than 0"):
        make_trainer(**weights, stft_weight=0.0)


def test_above_an_originals_bandwidth_no_loss_sees_what_is_restored():
    weights = {"adversarial_weight": 0, "feature_matching_weight": 0, "log_spectral_weight": 1.0}
    degraded, original = map(tf.constant, pairs())
    losses_of = {}
    for bandwidth in (None, NEUROGRAM_RATE / 2, 1.0):
        trainer = make_trainer(sample_rate=NEUROGRAM_RATE, **weights)
        known = () if bandwidth is None else (tf.fill([EXAMPLES], bandwidth),)
        for step in (trainer.train_step, trainer.test_step):
            one_device().run(step, args=((degraded, original, *known),))
        losses_of[bandwidth] = scores(trainer.metrics)
    for name, loss in losses_of[None].items():
        assert losses_of[NEUROGRAM_RATE / 2][name] == pytest.approx(loss, rel=1e-2), name
    for name in ("log_spectral_loss", "generator_loss"):
        assert losses_of[None][name] > 0.1
        assert losses_of[1.0][name] == pytest.approx(0, abs=1e-2), name
    assert losses_of[1.0]["lsd"] == pytest.approx(losses_of[None]["lsd"], rel=0.2)


def test_without_discriminators_the_best_model_is_that_of_the_lowest_loss():
    trainer = make_trainer(
        adversarial_weight=0.0,
        feature_matching_weight=0.0,
        neurogram_similarity_weight=2.0,
        sample_rate=NEUROGRAM_RATE,
    )
    degraded, original = pairs()
    trainer.test_step((degraded, original))
    restored = trainer.network(degraded)
    expected = losses.multi_resolution_stft_loss(original, restored)
    expected += 2.0 * losses.neurogram_similarity_loss(original, restored, NEUROGRAM_RATE)
    found = scores(trainer.validation_metrics)
    assert trainer.monitor == "loss" and trainer.lower_is_better
    assert found["loss"] == pytest.approx(float(tf.reduce_mean(expected)), rel=1e-4)


def test_each_step_leaves_the_weights_of_the_other_alone():
    fresh = make_trainer()
    for held, arguments in enumerate(
        [{"learning_rate": 0.0}, {"discriminator_learning_rate": 0.0}]
    ):
        trainer = train(one_device(), weight_decay=0.0, **arguments)
        for number, name in enumerate(("network", "discriminator")):
            before, after = (
                flat(getattr(each, name).trainable_weights) for each in (fresh, trainer)
            )
            moved = np.abs(after - before).max()
            assert moved == 0 if number == held else moved > 5e-5


def test_weights_decay_by_the_learning_rate_and_their_share():
    fresh, trainer = make_trainer(), train(one_device(), weight_decay=0.5)
    plain = train(one_device(), weight_decay=0.0)
    for name, rate in (("network", 1e-3), ("discriminator", 1e-4)):
        before, decayed, kept = (
            flat(getattr(each, name).trainable_weights) for each in (fresh, trainer, plain)
        )
        np.testing.assert_allclose(decayed, kept - 0.5 * rate * before, atol=2e-5)


@pytest.mark.parametrize("strategy", [one_device, two_devices])
def test_gradients_are_clipped_when_they_are_those_of_the_global_batch(strategy):
    trainer = train(strategy(), gradient_norm=0.01)
    for optimizer in (trainer.optimizer, trainer.discriminator_optimizer):
        assert np.linalg.norm(gradients(optimizer)) == pytest.approx(0.01, rel=1e-3)
    assert scores(trainer.training_metrics)["generator_gradient_norm"] > 0.02


def test_learning_rates_are_lowered_every_two_epochs_by_the_optimizers_own_steps():
    trainer = make_trainer(steps_per_epoch=3)
    for steps, factor in ((0, 1), (5, 1), (6, 0.98), (11, 0.98), (12, 0.98**2), (60, 0.98**10)):
        trainer.optimizer.iterations.assign(steps)
        trainer.discriminator_optimizer.iterations.assign(steps)
        assert float(trainer.optimizer.learning_rate) == pytest.approx(1e-3 * factor)
        assert float(trainer.discriminator_optimizer.learning_rate) == pytest.approx(1e-4 * factor)


def test_the_optimizers_are_the_papers_and_have_their_state_before_the_first_step():
    trainer = make_trainer()
    for optimizer, model, betas in (
        (trainer.optimizer, trainer.network, (0.9, 0.999)),
        (trainer.discriminator_optimizer, trainer.discriminator, (0.5, 0.99)),
    ):
        assert isinstance(optimizer, keras.optimizers.AdamW) and optimizer.weight_decay == 0.01
        assert (optimizer.beta_1, optimizer.beta_2) == betas
        assert len(optimizer.variables) >= 2 * len(model.trainable_variables)


def test_the_power_iteration_makes_one_step_per_step():
    fresh, trainer = make_trainer(), train(one_device())
    layer, after = (
        each.discriminator.discriminators[0].convolutions[0] for each in (fresh, trainer)
    )
    layer.normalized_kernel(training=True)
    np.testing.assert_allclose(after.left, layer.left, atol=1e-6)


# Validation


def test_a_test_step_scores_what_is_restored_and_its_mp3_and_changes_nothing(single):
    before = flat(single.variables)
    for metric in single.validation_metrics:
        metric.reset_state()
    degraded, original = pairs()
    single.test_step((degraded, original))
    found = scores(single.validation_metrics)
    restored = np.array(single.network(degraded))
    for prefix, estimate in (("", restored), ("mp3_", degraded)):
        for name, ruler in (
            ("si_snr", metrics.si_sdr),
            ("lsd", metrics.lsd),
            ("multi_resolution_stft_error", metrics.multi_resolution_stft_error),
        ):
            expected = ruler(original, estimate).mean()
            assert found[prefix + name] == pytest.approx(expected, rel=1e-3), prefix + name
    assert {"si_sdr", "mp3_si_sdr"} <= found.keys() and single.monitor == "si_snr"
    assert not single.lower_is_better
    np.testing.assert_array_equal(flat(single.variables), before)


# Devices, precisions, fit


def test_two_replicas_take_the_steps_of_one_device(both):
    for expected, found in zip(*(each.weights for each in both), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5, err_msg=expected.path)
    single, mirrored = (scores(each.training_metrics) for each in both)
    assert mirrored == pytest.approx(single, rel=1e-3)


def test_both_replicas_hold_the_same_weights(both):
    for variable in both[1].weights:
        copies = [np.array(copy) for copy in variable.value.values]
        np.testing.assert_array_equal(copies[0], copies[1], err_msg=variable.path)


def test_a_step_in_bfloat16_is_finite_and_close_to_one_in_float32(single):
    trainer = train(one_device(), precision="mixed_bfloat16")
    assert all(variable.dtype == "float32" for variable in trainer.weights)
    assert np.isfinite(flat(trainer.weights)).all()
    found, expected = (scores(each.training_metrics) for each in (trainer, single))
    assert found == pytest.approx(expected, rel=0.1)
    assert relative_error(gradients(trainer.optimizer), gradients(single.optimizer)) <= 0.2


def test_what_overflows_in_float16_is_left_out_and_scaled_less():
    trainer = train(one_device(), precision="mixed_float16", batches=2)
    assert np.isfinite(flat(trainer.weights)).all()
    assert np.isfinite(list(scores(trainer.training_metrics).values())).all()
    for optimizer in (trainer.optimizer, trainer.discriminator_optimizer):
        skipped = 2 - flat([optimizer.iterations])[0]
        assert flat([optimizer.dynamic_scale]) == 2.0 ** (15 - skipped)


def test_fit_takes_the_same_steps(both):
    trainer = make_trainer()
    trainer.run_eagerly = True
    dataset = tf.data.Dataset.from_tensor_slices(
        tuple(np.concatenate(each) for each in zip(pairs(0), pairs(1), strict=True))
    ).batch(EXAMPLES, drop_remainder=True)
    history = trainer.fit(dataset, validation_data=dataset.take(1), shuffle=False, verbose=0)
    for ours, theirs in zip(trainer.weights, both[0].weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert history.history["val_lsd"][0] > 0


@pytest.mark.parametrize("residual", [False, True])
def test_a_trainer_is_made_again_from_its_configuration(residual):
    trainer = make_trainer(residual=residual, learning_rate=0.5, si_snr_weight=0.25)
    again = ApolloTrainer.from_config(trainer.get_config())
    assert again.get_config() == trainer.get_config()
    assert float(again.optimizer.learning_rate) == 0.5
    assert again.discriminator.windows == [32, 128]


# Examples, presets, and a run of all of it


def test_every_preset_says_how_it_is_trained():
    paper = find_preset("apollo").config
    for name in preset_names("apollo"):
        config = resolve(find_preset(name)).config
        assert config["recipe"]["class_name"] == "ApolloTrainer"
        assert config["data"]["class_name"] == "ApolloExamples"
    recipe = resolve(find_preset("apollo")).config["recipe"]
    assert (recipe["learning_rate"], recipe["discriminator_learning_rate"]) == (1e-3, 1e-4)
    assert paper["training"]["patience"] == 20 and recipe["learning_rate_decay"] == 0.98
    assert "residual" not in paper["network"]


def test_examples_are_mixes_at_the_papers_rates(music_folder):
    examples = ApolloExamples(ApolloRestorer(Apollo(**SIZES)), samples=SAMPLES, mixture_share=1.0)
    assert examples.pairs.bit_rates == (24, 32, 48, 64, 96, 128)
    assert examples.pairs.modes == ("constant", "variable")
    tracks = open_catalogue(music_folder).split("train")
    degraded, original = next(iter(examples.dataset(tracks, batch_size=2, seed=0)))
    assert degraded.shape == original.shape == (2, SAMPLES)
    assert not np.allclose(degraded, original, atol=1e-3)
    assert examples.count(tracks) == 3 * (4 * 44100 // SAMPLES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"samples": 1024}, "data.samples is 1024"), ({"kbit_per_second": 17}, "17")],
)
def test_examples_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        ApolloExamples(ApolloRestorer(Apollo(**SIZES)), **arguments)


def test_prepared_pairs_do_not_tell_the_bandwidth_that_is_to_be_masked(music_folder, tmp_path):
    music = open_catalogue(music_folder)
    prepare_pairs(music, ["train"], Mp3Pairs(64, SAMPLES), tmp_path / "pairs", jobs=1)
    tracks = open_training_data(str(tmp_path / "pairs")).require("train")
    restorer = ApolloRestorer(Apollo(**SIZES))
    arguments = {"kbit_per_second": 64, "samples": SAMPLES}
    examples = ApolloExamples(restorer, **arguments)
    assert len(next(iter(examples.dataset(tracks, batch_size=2, seed=0)))) == 2
    masked = ApolloExamples(restorer, **arguments, mask_above_bandwidth=True)
    with pytest.raises(UsageError, match="do not tell their bandwidth"):
        masked.dataset(tracks, batch_size=2, seed=0)


SMALL = [
    *(f"network.{name}={value}" for name, value in SIZES.items()),
    *(f"samples={SAMPLES}", "validation_examples=2", "steps_per_epoch=3", "checkpoint_steps=2"),
    *("discriminator_filters=1", "kbit_per_second=64", "weight_average=0.9"),
    *("adversarial_weight=1", "feature_matching_weight=1"),
]


@pytest.fixture(scope="module")
def preset():
    return resolve(find_preset("apollo_tiny"), None, SMALL, batch_size=2, steps=3)


def make_run(preset, music_folder, folder, monkeypatch):
    # Not in a graph, which takes longer to build than these steps do.
    def distributed(self, function, average=None):
        def step(batch):
            self.strategy.run(function, args=(batch,))
            if average is not None:
                average.update()

        return step

    monkeypatch.setattr(TrainingRun, "_distributed", distributed)
    return TrainingRun(preset, open_catalogue(music_folder), folder, str(music_folder))


@pytest.fixture(scope="module")
def finished(preset, music_folder, tmp_path_factory):
    """A run of three steps: its folder, its last scores and itself."""
    folder = tmp_path_factory.mktemp("apollo") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch:
        run = make_run(preset, music_folder, folder, monkeypatch)
        assert run.trainer.steps_per_epoch == 3
        run.start()
        return folder, run.run(), run


def test_a_run_keeps_a_generator_that_the_restorer_loads(finished):
    folder, last, _ = finished
    with open(folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["3"]
    assert read_metadata(folder)["scores"]["val_si_snr"] == float(rows[0]["val_si_snr"])
    assert {"discriminator_loss", "val_si_snr", "val_mp3_lsd"} <= last.keys()
    restorer = Restorer.from_preset(folder)
    assert isinstance(restorer, ApolloRestorer)
    assert restorer.restore(pairs()[0], 44100).shape == (EXAMPLES, SAMPLES)


def test_tensorboard_has_every_curve_a_picture_and_three_sounds(finished):
    folder, *_ = finished
    found = set()
    for split in ("train", "validation"):
        for path in (folder / "logs" / split).iterdir():
            for event in tf.compat.v1.train.summary_iterator(str(path)):
                found |= {(split, value.tag) for value in event.summary.value}
    curves = {tag for split, tag in found if split == "train"}
    assert curves >= {
        *("multi_resolution_stft_loss", "adversarial_loss", "feature_matching_loss"),
        *("generator_loss", "discriminator_loss", "learning_rate"),
        *("generator_gradient_norm", "discriminator_gradient_norm"),
    }
    rulers = ("si_snr", "si_sdr", "lsd", "multi_resolution_stft_error", "visqol")
    assert {tag for split, tag in found if split == "validation"} == {
        *rulers,
        *(f"mp3_{name}" for name in rulers),
        *("spectrogram", "mp3", "original", "restored"),
    }


def test_a_run_that_was_stopped_ends_bit_for_bit_where_it_would(
    preset, music_folder, tmp_path, monkeypatch, finished
):
    _, expected, straight = finished
    monkeypatch.setattr(TrainingRun, "_illustrate", lambda self: ({}, {}))
    first = make_run(preset, music_folder, tmp_path, monkeypatch)
    first.start()
    run_until_checkpoint(first, monkeypatch)
    second = make_run(preset, music_folder, tmp_path, monkeypatch)
    second.resume()
    assert second.step_number == 2
    assert {**second.run(), "steps_per_second": 0} == {**expected, "steps_per_second": 0}
    assert_ended_alike(
        second,
        straight,
        lambda run: run.trainer.variables,
        lambda run: run.trainer.optimizer.variables,
        lambda run: run.trainer.discriminator_optimizer.variables,
        lambda run: run.average.averages,
    )
