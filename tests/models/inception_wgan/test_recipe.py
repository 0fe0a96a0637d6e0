"""Each stage's step is the one written down, on one device and on several."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore import losses, metrics
from tfrestore.errors import UsageError
from tfrestore.models.inception_wgan.discriminator import InceptionDiscriminator
from tfrestore.models.inception_wgan.network import (
    InceptionAutoencoder,
    InceptionGenerator,
)
from tfrestore.models.inception_wgan.recipe import (
    TERMS,
    InceptionAutoencoderTrainer,
    InceptionWGANTrainer,
)
from tfrestore.models.inception_wgan.restorer import InceptionRestorer
from tfrestore.models.presets import find_preset
from tfrestore.training.configuration import resolve
from tfrestore.training.distribution import mirrored_strategy

EXAMPLES, WINDOW = 4, 768
# With a first moment of 0 Adam's momentum is the gradient of the latest step.
BARE = {"beta_1": 0.0, "epsilon": 1e-3}
EVERYTHING = {
    "time_weight": 2.0,
    "frequency_weight": 10.0,
    "autoencoder_weight": 0.1,
    "adversarial_weight": 0.01,
    "autoencoder_steps": 1,
    "autoencoder_filters": 8,
}


def one_device():
    return tf.distribute.OneDeviceStrategy("CPU:0")


def two_devices():
    return mirrored_strategy("CPU:0", "CPU:1")


def pairs(seed=0):
    """A batch `(degraded, original)`: noise, and what a moving average leaves of it."""
    original = np.random.default_rng(seed).normal(0, 0.3, (EXAMPLES, WINDOW)).astype(np.float32)
    return (original + np.roll(original, 1, axis=1)) / 2, original


def make_trainer(strategy=None, precision="float32", dropout=0.0, **arguments):
    with (strategy or one_device()).scope():
        network = InceptionGenerator(
            filters=8, depth=3, max_doublings=1, dropout=dropout, dtype=precision
        )
        restorer = InceptionRestorer(network, window_samples=WINDOW)
        if arguments.get("adversarial_weight"):
            arguments["critic"] = InceptionDiscriminator(
                WINDOW, filters=8, depth=2, units=4, dropout=dropout, seed=1, dtype=precision
            )
        return InceptionWGANTrainer(network, restorer, **{**BARE, **arguments})


def autoencoder_trainer(strategy=None, dropout=0.0, **arguments):
    with (strategy or one_device()).scope():
        network = InceptionAutoencoder(filters=8, depth=2, dropout=dropout)
        return InceptionAutoencoderTrainer(network, **{**BARE, **arguments})


def batches_of(strategy, batches):
    every = [pairs(seed) for seed in range(batches)]
    stacked = tuple(np.concatenate(waveforms) for waveforms in zip(*every, strict=True))
    dataset = tf.data.Dataset.from_tensor_slices(stacked).batch(EXAMPLES, drop_remainder=True)
    return strategy.experimental_distribute_dataset(dataset)


def train(trainer, strategy=None, batches=1):
    """Steps on some batches, in the way of the training loop."""
    strategy = strategy or one_device()
    for step, batch in enumerate(batches_of(strategy, batches)):
        # Not in a graph, which takes longer to build than these steps do.
        strategy.run(trainer.stage_at(step).train_step, args=(batch,))
    return trainer


def flat(variables):
    return np.concatenate([keras.ops.convert_to_numpy(each).ravel() for each in variables])


def relative_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def gradients(optimizer):
    return flat(getattr(optimizer, "inner_optimizer", optimizer)._momentums)


def scores(metrics):
    return {metric.name: float(metric.result()) for metric in metrics}


def mean_square(x):
    return tf.reduce_mean(tf.square(x))


def power(waveform):
    """Of a periodic Hann window of 512 samples, every 128, the ends reflected, over its energy."""
    padded = tf.pad(waveform, [[0, 0], [256, 256]], "REFLECT")
    return tf.abs(tf.signal.stft(padded, 512, 128)) ** 2 / np.float32(192)


# === The generator's losses ===


@pytest.mark.parametrize(
    ("preset", "weights"),
    [
        ("inception_wgan_time", {}),
        ("inception_wgan_frequency", {"frequency": 10.0}),
        ("inception_wgan_autoencoder", {"autoencoder": 0.1}),
        ("inception_wgan_adversarial", {"adversarial": 1e-4}),
    ],
)
def test_the_presets_have_the_losses_of_equations_20_to_23(preset, weights):
    for name in (preset, f"{preset}_tiny"):
        recipe = resolve(find_preset(name)).config["recipe"]
        assert recipe["time_weight"] == 1 and recipe["learning_rate"] == 1e-3
        for term in ("frequency", "autoencoder", "adversarial"):
            assert recipe[f"{term}_weight"] == weights.get(term, 0)
    assert resolve(find_preset(preset)).config["training"]["batch_size"] == 64


@pytest.mark.parametrize("term", TERMS)
def test_a_generator_step_is_one_of_the_weighted_terms(term):
    weight = 0.5
    autoencoder = InceptionAutoencoder(filters=8, depth=2)
    trainer = make_trainer(
        **{"time_weight": 1.0, f"{term}_weight": weight},
        **({"autoencoder": autoencoder} if term == "autoencoder" else {}),
        critic_learning_rate=0.0,
    )
    fresh, frozen = make_trainer().network, flat(autoencoder.weights)
    train(trainer)
    degraded, original = pairs()
    with tf.GradientTape() as tape:
        generated = fresh(degraded)
        time = mean_square(generated - original)
        value = {
            "time": lambda: time,
            "frequency": lambda: mean_square(power(generated) - power(original)),
            "autoencoder": lambda: mean_square(
                autoencoder.embed(generated) - autoencoder.embed(original)
            ),
            "adversarial": lambda: -tf.reduce_mean(trainer.critic(generated)),
            "log_spectral": lambda: tf.reduce_mean(losses.log_spectral_loss(original, generated)),
            "neurogram_similarity": lambda: tf.reduce_mean(
                losses.neurogram_similarity_loss(original, generated, 44100)
            ),
        }[term]()
        loss = weight * value + (0 if term == "time" else time)
    expected = flat(tape.gradient(loss, fresh.trainable_variables))
    assert relative_error(gradients(trainer.optimizer), expected) <= 1e-4
    found = scores(trainer.training_metrics)
    assert found["generator_loss"] == pytest.approx(float(loss), rel=1e-5)
    assert found[f"{term}_loss"] == pytest.approx(float(value), rel=1e-5)
    assert found["time_loss"] == pytest.approx(float(time), rel=1e-5)
    assert found["generator_gradient_norm"] == pytest.approx(np.linalg.norm(expected), rel=1e-4)
    np.testing.assert_array_equal(flat(autoencoder.weights), frozen)


def test_the_power_of_noise_is_its_variance_in_every_bin():
    noise = np.random.default_rng(0).normal(0, 0.2, (4, 65536)).astype(np.float32)
    found = np.asarray(make_trainer(frequency_weight=1.0)._power(noise)).mean(axis=(0, 1))
    np.testing.assert_allclose(found[2:-2], 0.04, rtol=0.2)
    assert found[2:-2].mean() == pytest.approx(0.04, rel=0.01)


def test_what_has_no_weight_is_not_there():
    trainer = make_trainer()
    assert trainer.critic is trainer.autoencoder is trainer.stft is None
    assert {"critic_loss", "frequency_loss"}.isdisjoint(scores(trainer.metrics))
    assert len(trainer.weights) == len(trainer.network.weights)


# === The critic ===


@pytest.mark.parametrize("place", ["generated", "between"])
def test_a_critic_step_is_wasserstein_and_the_penalty_at_its_place(place):
    trainer = train(make_trainer(adversarial_weight=1.0, penalty_at=place, learning_rate=0.0))
    fresh = make_trainer(adversarial_weight=1.0).critic
    degraded, original = pairs()
    generated = trainer.network(degraded)
    share = tf.zeros([EXAMPLES])
    if place == "between":
        share = tf.random.stateless_uniform([EXAMPLES], [0, 0])
    points = share[:, None] * original + (1 - share[:, None]) * generated
    with tf.GradientTape() as tape:
        with tf.GradientTape() as inner:
            inner.watch(points)
            values = fresh(points)
        norm = tf.norm(inner.gradient(values, points), axis=1)
        penalty = mean_square(norm - 1)
        loss = tf.reduce_mean(fresh(generated)) - tf.reduce_mean(fresh(original)) + 10 * penalty
    expected = flat(tape.gradient(loss, fresh.trainable_variables))
    assert relative_error(gradients(trainer.critic_optimizer), expected) <= 1e-4
    found = scores(trainer.training_metrics)
    assert found["critic_loss"] == pytest.approx(float(loss), rel=1e-4)
    assert found["gradient_penalty"] == pytest.approx(float(penalty), rel=1e-4)
    assert found["critic_gradient_norm"] == pytest.approx(np.linalg.norm(expected), rel=1e-4)


def test_the_vanilla_gan_is_equations_2_and_4():
    trainer = make_trainer(
        time_weight=0.0, adversarial_weight=1.0, adversarial_loss="non_saturating"
    )
    fresh = make_trainer(adversarial_weight=1.0)
    train(trainer)
    degraded, original = pairs()
    with tf.GradientTape(persistent=True) as tape:
        generated = fresh.network(degraded)
        real, false = (tf.sigmoid(fresh.critic(each)) for each in (original, generated))
        discriminator = -tf.reduce_mean(tf.math.log(real)) - tf.reduce_mean(tf.math.log(1 - false))
        # The generator meets the critic after its step.
        generator = -tf.reduce_mean(tf.math.log(tf.sigmoid(trainer.critic(generated))))
    for loss, variables, optimizer in (
        (discriminator, fresh.critic.trainable_variables, trainer.critic_optimizer),
        (generator, fresh.network.trainable_variables, trainer.optimizer),
    ):
        expected = flat(tape.gradient(loss, variables))
        assert relative_error(gradients(optimizer), expected) <= 1e-4
    found = scores(trainer.training_metrics)
    assert found["critic_loss"] == pytest.approx(float(discriminator), rel=1e-5)
    assert found["generator_loss"] == pytest.approx(float(generator), rel=1e-5)
    assert "gradient_penalty" not in found


def test_the_critic_makes_several_steps_and_its_penalty_has_a_weight():
    critic_losses = []
    for steps, weight in ((1, 10.0), (2, 10.0), (1, 0.0)):
        trainer = train(
            make_trainer(adversarial_weight=1.0, critic_steps=steps, gradient_penalty_weight=weight)
        )
        assert int(trainer.critic_optimizer.iterations) == steps
        assert int(trainer.optimizer.iterations) == 1
        critic_losses.append(scores(trainer.training_metrics)["critic_loss"])
    assert len(set(critic_losses)) == 3


# === The autoencoder ===


def test_the_autoencoder_learns_inputs_and_targets_separately_and_in_turns():
    trainer = autoencoder_trainer()
    fresh = autoencoder_trainer()
    trainer.train_step(pairs())
    assert int(trainer.optimizer.iterations) == 2
    losses = []
    for windows in pairs():
        with tf.GradientTape() as tape:
            loss = mean_square(fresh.network(windows) - windows)
        variables = fresh.network.trainable_variables
        found = tape.gradient(loss, variables)
        fresh.optimizer.apply(found, variables)
        losses.append(float(loss))
    np.testing.assert_allclose(flat(trainer.weights), flat(fresh.weights), atol=1e-6)
    assert scores(trainer.metrics)["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_run_of_both_stages_trains_the_autoencoder_and_then_leaves_it_alone():
    trainer = make_trainer(**{**EVERYTHING, "autoencoder_steps": 2})
    stages = [trainer.stage_at(step) for step in range(4)]
    assert stages == [trainer.autoencoder_trainer] * 2 + [trainer] * 2
    untouched = flat(trainer.network.weights)
    train(trainer, batches=2)
    np.testing.assert_array_equal(flat(trainer.network.weights), untouched)
    assert int(trainer.autoencoder_trainer.optimizer.iterations) == 4
    frozen = flat(trainer.autoencoder.weights)
    trainer.train_step(pairs())
    np.testing.assert_array_equal(flat(trainer.autoencoder.weights), frozen)
    assert np.abs(flat(trainer.network.weights) - untouched).max() > 1e-4


def test_a_trained_autoencoder_is_taken_from_its_folder(tmp_path):
    network = InceptionAutoencoder(filters=8, depth=2, seed=3)
    network.save_to_preset(tmp_path)
    trainer = make_trainer(autoencoder_weight=0.1, autoencoder=str(tmp_path))
    np.testing.assert_array_equal(flat(trainer.autoencoder.weights), flat(network.weights))
    assert trainer.stage_at(0) is trainer
    with pytest.raises(UsageError, match="no preset and no folder named"):
        make_trainer(autoencoder_weight=0.1, autoencoder=str(tmp_path / "nothing"))
    InceptionGenerator(filters=8, depth=1).save_to_preset(tmp_path / "generator")
    with pytest.raises(ValueError, match="holds a `InceptionGenerator`"):
        make_trainer(autoencoder_weight=0.1, autoencoder=str(tmp_path / "generator"))


# === Validation ===


def test_a_test_step_gives_the_papers_two_scores_of_output_and_input_and_changes_nothing():
    trainer = make_trainer(dropout=0.2)
    before = flat(trainer.variables)
    degraded, original = pairs()
    trainer.test_step((degraded, original))
    found = scores(trainer.validation_metrics)
    restored = np.asarray(trainer.network(degraded))
    for name, ruler in (("snr", metrics.snr), ("log10_lsd", metrics.log10_lsd)):
        assert found[name] == pytest.approx(ruler(original, restored).mean(), rel=1e-3)
        assert found[f"input_{name}"] == pytest.approx(ruler(original, degraded).mean(), rel=1e-3)
    np.testing.assert_array_equal(flat(trainer.variables), before)
    assert trainer.monitor in found


def test_with_what_is_heard_in_the_loss_the_best_model_is_the_one_that_has_least_of_it():
    weights = {"log_spectral_weight": 0.5, "neurogram_similarity_weight": 2.0}
    trainer = make_trainer(**weights)
    degraded, original = pairs()
    trainer.test_step((degraded, original))
    restored = trainer.network(degraded)
    expected = 0.5 * losses.log_spectral_loss(original, restored)
    expected += 2 * losses.neurogram_similarity_loss(original, restored)
    assert trainer.monitor == "loss" and trainer.lower_is_better
    found = scores(trainer.validation_metrics)
    assert found["loss"] == pytest.approx(np.mean(expected), rel=1e-5)
    assert type(trainer).from_config(trainer.get_config()).get_config() == trainer.get_config()


def test_above_an_originals_bandwidth_no_term_sees_what_is_restored():
    weights = {"adversarial_weight": 0.1, "log_spectral_weight": 0.5, "time_weight": 1.0}
    found = {}
    for bandwidth in (None, 22050.0, 1.0):
        trainer = make_trainer(**weights)
        known = () if bandwidth is None else (tf.fill([EXAMPLES], bandwidth),)
        for step in (trainer.train_step, trainer.test_step):
            one_device().run(step, args=((*map(tf.constant, pairs()), *known),))
        found[bandwidth] = scores(trainer.metrics)
    for name, value in found[None].items():
        assert found[22050.0][name] == pytest.approx(value, rel=1e-2, abs=1e-6), name
    for name in ("time_loss", "log_spectral_loss", "loss"):
        assert found[None][name] > 1e-3
        assert abs(found[1.0][name]) < 0.02 * found[None][name], name
    assert found[1.0]["snr"] == pytest.approx(found[None]["snr"], abs=1)


def test_the_learning_rates_decay_by_the_epoch():
    trainer = make_trainer(
        adversarial_weight=0.1, learning_rate=0.5, learning_rate_decay=0.5, steps_per_epoch=2
    )
    for optimizer, first in ((trainer.optimizer, 0.5), (trainer.critic_optimizer, 1e-3)):
        rates = []
        for step in range(5):
            optimizer.iterations.assign(step)
            rates.append(float(optimizer.learning_rate))
        np.testing.assert_allclose(rates, np.array([1, 1, 0.5, 0.5, 0.25]) * first, rtol=1e-6)


# === Devices, precisions, fit ===


@pytest.fixture(scope="module")
def both():
    """A step of each stage and one more, on one device and on two."""
    return [
        train(make_trainer(each, **EVERYTHING), each, 3) for each in (one_device(), two_devices())
    ]


def test_two_replicas_are_one_device(both):
    single, mirrored = both
    for expected, found in zip(single.weights, mirrored.weights, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=expected.path)
    for of in (lambda trainer: trainer.optimizer, lambda trainer: trainer.critic_optimizer):
        found, expected = (gradients(of(trainer)) for trainer in (mirrored, single))
        assert relative_error(found, expected) <= 1e-3
    assert scores(mirrored.metrics) == pytest.approx(scores(single.metrics), rel=1e-3)
    for variable in mirrored.weights:
        copies = [np.array(copy) for copy in variable.value.values]
        np.testing.assert_array_equal(copies[0], copies[1], err_msg=variable.path)


def test_two_replicas_step_with_dropout_too():
    trainer = train(make_trainer(two_devices(), dropout=0.2, **EVERYTHING), two_devices(), 2)
    assert np.isfinite(flat(trainer.weights)).all()


def test_fit_takes_the_same_steps(both):
    looped = both[0]
    trainer = make_trainer(**EVERYTHING)
    dataset = [tf.data.Dataset.from_tensor_slices(pairs(seed)).batch(EXAMPLES) for seed in range(3)]
    for stage in (trainer, trainer.autoencoder_trainer):
        stage.run_eagerly = True
    trainer.autoencoder_trainer.fit(dataset[0], verbose=0)
    history = trainer.fit(
        dataset[1].concatenate(dataset[2]), validation_data=dataset[1], shuffle=False, verbose=0
    )
    for ours, theirs in zip(trainer.weights, looped.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert {"generator_loss", "val_snr", "val_input_log10_lsd"} <= history.history.keys()


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_step_in_half_precision_is_finite_and_close(both, precision):
    trainer = train(make_trainer(precision=precision, **EVERYTHING), batches=3)
    assert all(variable.dtype == "float32" for variable in trainer.weights)
    assert np.isfinite(flat(trainer.weights)).all()
    found, expected = (scores(each.training_metrics) for each in (trainer, both[0]))
    for name in ("generator_loss", "time_loss", "frequency_loss"):
        assert found[name] == pytest.approx(expected[name], rel=0.1), name


# === The trainer itself ===


def test_every_optimizer_has_its_state_before_the_first_step():
    trainer = make_trainer(**EVERYTHING)
    stage = trainer.autoencoder_trainer
    for optimizer, model in (
        (trainer.optimizer, trainer.network),
        (trainer.critic_optimizer, trainer.critic),
        (stage.optimizer, stage.network),
    ):
        assert len(optimizer.variables) >= 2 * len(model.trainable_variables)


def test_trainers_are_made_again_from_their_configuration():
    given = InceptionAutoencoder(filters=8, depth=2)
    for trainer in (
        make_trainer(**EVERYTHING),
        make_trainer(autoencoder_weight=0.1, autoencoder=given, critic_steps=2),
        autoencoder_trainer(learning_rate=0.5),
    ):
        again = type(trainer).from_config(trainer.get_config())
        assert again.get_config() == trainer.get_config()
        assert len(again.weights) == len(trainer.weights)
        assert again.network is again.restorer.network


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"critic_steps": 0}, "critic_steps=0"),
        ({"time_weight": 0.0}, "All weights of the loss are 0"),
        ({"frequency_weight": -1.0}, "frequency_weight=-1.0"),
        ({"autoencoder_weight": 0.1}, "`autoencoder_steps` to train one first"),
        ({"penalty_at": "nowhere"}, "penalty_at='nowhere'"),
        ({"adversarial_loss": "hinge"}, "adversarial_loss='hinge'"),
    ],
    ids=str,
)
def test_a_loss_that_cannot_be_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        make_trainer(**arguments)
