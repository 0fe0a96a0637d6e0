"""A step of the GAN is the one written down, on one device and on several."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore import losses, metrics
from tfrestore.layers.square_root_magnitude import square_root_magnitude
from tfrestore.models.sr_gan.network import FrequencyAggregationGenerator
from tfrestore.models.sr_gan.recipe import SRGANTrainer
from tfrestore.models.sr_gan.restorer import SRGANRestorer
from tfrestore.training.distribution import mirrored_strategy
from tfrestore.training.equalized_adam import EqualizedAdam

EXAMPLES, FRAMES, NOISE_SIZE = 4, 130, 3
WINDOW, HOP = 64, 16
SAMPLES = WINDOW + (FRAMES - 1) * HOP


def one_device():
    return tf.distribute.OneDeviceStrategy("CPU:0")


def two_devices():
    return mirrored_strategy("CPU:0", "CPU:1")


def pairs(seed=0):
    """A global batch `(degraded, original)`: noise, and what a moving average leaves of it."""
    original = np.random.default_rng(seed).normal(0, 0.3, (EXAMPLES, SAMPLES)).astype(np.float32)
    return (original + np.roll(original, 1, axis=1)) / 2, original


def vectors(batch, size=NOISE_SIZE):
    return [np.ones((batch, size), np.float32)] * (size > 0)


def make_trainer(
    strategy=None, precision="float32", noise_size=NOISE_SIZE, critic=None, **arguments
):
    with (strategy or one_device()).scope():
        network = FrequencyAggregationGenerator(
            bins=WINDOW // 2,
            filters=(2, 3, 3),
            aggregation=16,
            maps=4,
            noise_size=noise_size,
            dtype=precision,
        )
        # This gives restorations the size of music.
        spectrum = np.random.default_rng(0).normal(0, 1, (1, FRAMES, WINDOW // 2, 2))
        loudness = np.std(network(spectrum.astype(np.float32), *vectors(1, noise_size)))
        last = network.convolutions[-1].kernel
        last.assign(last * 0.5 / loudness)
        restorer = SRGANRestorer(network, frame_length=WINDOW, hop_length=HOP)
        return SRGANTrainer(network, restorer, critic and critic(), **arguments)


def train(strategy, batches=1, **arguments):
    """A trainer after a step on each of some batches, in the way of the training loop."""
    trainer = make_trainer(strategy, **arguments)
    every = [pairs(seed) for seed in range(batches)]
    stacked = tuple(np.concatenate(waveforms) for waveforms in zip(*every, strict=True))
    dataset = tf.data.Dataset.from_tensor_slices(stacked).batch(EXAMPLES, drop_remainder=True)
    for batch in strategy.experimental_distribute_dataset(dataset):
        # Not in a graph, which takes longer to build than these steps do.
        strategy.run(trainer.train_step, args=(batch,))
        if not hasattr(trainer, "first_gradients"):
            found = [gradients(trainer.critic_optimizer), gradients(trainer.optimizer)]
            object.__setattr__(trainer, "first_gradients", found)
    return trainer


def flat(variables):
    return np.concatenate([keras.ops.convert_to_numpy(each).ravel() for each in variables])


def relative_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def gradients(optimizer):
    """Those of the latest step: with a first moment of 0 Adam's momentum is the gradient."""
    return flat(getattr(optimizer, "inner_optimizer", optimizer)._momentums)


def scores(metrics):
    return {metric.name: float(metric.result()) for metric in metrics}


@pytest.fixture(scope="module")
def single():
    return train(one_device())


@pytest.fixture(scope="module")
def both():
    """Two steps on one device and on two; with this epsilon Adam makes nothing of rounding."""
    return [train(each, batches=2, epsilon=1e-3) for each in (one_device(), two_devices())]


# A step, written out


def seen(waveform):
    """The frames of `tf.signal.stft`, without the last bin, as signed square roots."""
    spectrum = tf.signal.stft(waveform, WINDOW, HOP)[..., :-1]
    parts = tf.stack([tf.math.real(spectrum), tf.math.imag(spectrum)], axis=-1)
    return tf.sign(parts) * tf.sqrt(tf.abs(parts))


def normal(number):
    """Noise vectors of the first step."""
    return tf.random.stateless_normal([EXAMPLES, NOISE_SIZE], [0, number])


def test_a_critic_step_is_wasserstein_gradient_penalty_and_drift(single):
    trainer = make_trainer()
    degraded, original = (seen(waveform) for waveform in pairs())
    condition, real = degraded[:, 62:-62], original[:, 62:-62]
    generated = trainer.network(degraded, normal(0))
    share = tf.random.stateless_uniform([EXAMPLES], [0, 1])[:, None, None, None]
    between = share * real + (1 - share) * generated
    critic = trainer.critic
    with tf.GradientTape() as tape:
        with tf.GradientTape() as inner:
            inner.watch(between)
            values = tf.reduce_mean(critic(between, condition), axis=1)
        norm = tf.sqrt(tf.reduce_sum(inner.gradient(values, between) ** 2, axis=(1, 2, 3)))
        real_values, generated_values = critic(real, condition), critic(generated, condition)
        estimate = tf.reduce_mean(real_values) - tf.reduce_mean(generated_values)
        penalty = tf.reduce_mean((norm - 1) ** 2)
        drift = tf.reduce_mean(real_values**2)
        loss = -estimate + 10 * penalty + 0.001 * drift
    expected = flat(tape.gradient(loss, critic.trainable_variables))
    assert relative_error(gradients(single.critic_optimizer), expected) <= 1e-5
    found = scores(single.training_metrics)
    for name, value in (
        ("wasserstein_estimate", estimate),
        ("gradient_penalty", penalty),
        ("drift_penalty", drift),
        ("critic_loss", loss),
        ("critic_gradient_norm", np.linalg.norm(expected)),
    ):
        assert found[name] == pytest.approx(float(value), rel=1e-4), name


def test_a_generator_step_is_what_the_critic_says_of_two_versions_and_their_two_profiles(single):
    trainer = make_trainer()
    degraded = seen(pairs()[0])
    noise = [normal(2), normal(3)]
    with tf.GradientTape() as tape:
        versions = [trainer.network(degraded, each) for each in noise]
        # The critic as its own step, which came first, left it.
        values = [single.critic(each, degraded[:, 62:-62]) for each in versions]
        adversarial = -(tf.reduce_mean(values[0]) + tf.reduce_mean(values[1])) / 2
        first, second = (square_root_magnitude(each) for each in versions)
        frequency = tf.reduce_mean(first**1.3, axis=1) - tf.reduce_mean(second**1.3, axis=1)
        rhythm = tf.reduce_mean(first**1.6, axis=2) - tf.reduce_mean(second**1.6, axis=2)
        spreads = [tf.reduce_mean(tf.abs(each), axis=1) for each in (frequency, rhythm)]
        apart = tf.reduce_mean(tf.abs(noise[0] - noise[1]), axis=1)
        ratios = [tf.reduce_mean(apart / (each + 1e-3)) for each in spreads]
        loss = adversarial + ratios[0] + ratios[1]
    expected = flat(tape.gradient(loss, trainer.network.trainable_variables))
    assert relative_error(gradients(single.optimizer), expected) <= 1e-5
    found = scores(single.training_metrics)
    for name, value in (
        ("generator_loss", loss),
        ("frequency_profile_loss", ratios[0]),
        ("rhythm_profile_loss", ratios[1]),
        ("frequency_spread", tf.reduce_mean(spreads[0])),
        ("rhythm_spread", tf.reduce_mean(spreads[1])),
        ("generator_gradient_norm", np.linalg.norm(expected)),
    ):
        assert found[name] == pytest.approx(float(value), rel=1e-4), name


def test_the_log_spectral_distance_is_that_of_the_waveforms_of_two_versions():
    trainer = make_trainer(log_spectral_weight=3.0)
    degraded, original = (seen(waveform) for waveform in pairs())
    trainer._generator_step(degraded, degraded[:, 62:-62], original[:, 62:-62], ())
    fresh = make_trainer()
    versions = [fresh.network(degraded, normal(number)) for number in (2, 3)]
    waveforms = []
    for spectrum in (original[:, 62:-62], *versions):
        squared = np.array(tf.sign(spectrum) * spectrum**2)
        squared = np.pad(squared, ((0, 0), (0, 0), (0, 1), (0, 0)))
        frames = np.fft.irfft(squared[..., 0] + 1j * squared[..., 1])
        weights = tf.signal.hann_window(WINDOW).numpy()
        sums, energy = (np.zeros((EXAMPLES, WINDOW + 5 * HOP)) for _ in range(2))
        for number in range(6):
            place = slice(number * HOP, number * HOP + WINDOW)
            sums[:, place] += weights * frames[:, number]
            energy[:, place] += weights**2
        # What fewer frames hold than could is left out.
        inner = slice(WINDOW - HOP, -(WINDOW - HOP))
        waveforms.append((sums[:, inner] / energy[:, inner]).astype(np.float32))
    distances = [losses.log_spectral_loss(waveforms[0], each) for each in waveforms[1:]]
    found = scores(trainer.training_metrics)
    assert found["log_spectral_loss"] == pytest.approx(float(np.mean(distances)), rel=1e-3)
    without = make_trainer()
    without._generator_step(degraded, degraded[:, 62:-62], original[:, 62:-62], ())
    rest = scores(without.training_metrics)
    assert "log_spectral_loss" not in rest
    expected = rest["generator_loss"] + 3 * found["log_spectral_loss"]
    assert found["generator_loss"] == pytest.approx(expected, rel=1e-4)


def test_above_an_originals_bandwidth_nobody_sees_what_is_made():
    weights = {
        "log_spectral_weight": 1.0,
        "frequency_profile_weight": 0.0,
        "rhythm_profile_weight": 0.0,
    }
    found = {}
    for bandwidth in (None, 22050.0, 1.0):
        trainer = make_trainer(**weights)
        known = () if bandwidth is None else (tf.fill([EXAMPLES], bandwidth),)
        for step in (trainer.train_step, trainer.test_step):
            one_device().run(step, args=((*pairs(), *known),))
        found[bandwidth] = scores(trainer.metrics)
    assert found[22050.0] == pytest.approx(found[None], rel=1e-3)
    # Nothing but the lowest bin is left.
    for name in ("log_spectral_loss", "wasserstein_estimate", "lsd", "mp3_lsd"):
        assert abs(found[1.0][name]) < 0.1 * abs(found[None][name]), name


def test_the_critics_steps_leave_the_generator_alone_and_the_generators_the_critic():
    fresh = make_trainer()
    before = [flat(each.weights) for each in (fresh.network, fresh.critic)]
    for held, arguments in enumerate([{"learning_rate": 0.0}, {"critic_learning_rate": 0.0}]):
        trainer = train(one_device(), **arguments)
        after = [flat(each.weights) for each in (trainer.network, trainer.critic)]
        np.testing.assert_array_equal(after[held], before[held])
        assert np.abs(after[1 - held] - before[1 - held]).max() > 1e-4


def test_weights_of_0_leave_only_what_is_weighted():
    trainer = train(
        one_device(),
        gradient_penalty_weight=0.0,
        drift_weight=0.0,
        frequency_profile_weight=0.0,
        rhythm_profile_weight=0.0,
        critic_learning_rate=0.0,
    )
    found = scores(trainer.training_metrics)
    assert found["critic_loss"] == pytest.approx(-found["wasserstein_estimate"], rel=1e-5)
    noise = tf.concat([normal(2), normal(3)], axis=0)
    degraded = tf.concat([seen(pairs()[0])] * 2, axis=0)
    fresh = make_trainer()
    values = fresh.critic(fresh.network(degraded, noise), degraded[:, 62:-62])
    assert found["generator_loss"] == pytest.approx(-float(tf.reduce_mean(values)), rel=1e-4)


def test_the_critic_makes_several_steps_where_it_is_told_to(single):
    trainer = train(one_device(), critic_steps=3)
    assert int(trainer.critic_optimizer.iterations) == 3
    assert int(trainer.optimizer.iterations) == 1
    assert (
        scores(trainer.training_metrics)["critic_loss"]
        != scores(single.training_metrics)["critic_loss"]
    )


class LinearCritic(keras.Model):
    """The weighted sum of a frame's real and imaginary parts: of one slope everywhere."""

    def __init__(self):
        super().__init__()
        self.slopes = self.add_weight(shape=(WINDOW // 2, 2), initializer="ones")

    def call(self, spectrum, degraded):
        return keras.ops.sum(spectrum * self.slopes, axis=(2, 3))


def test_the_estimate_of_a_trained_linear_critic_is_the_distance_of_the_means():
    # The best slope s for a distance d makes s d - 10 (s - 1)^2 largest: s = 1 + d / 20.
    trainer = make_trainer(
        critic=LinearCritic,
        learning_rate=0.0,
        equalized_learning_rate=False,
        drift_weight=0.0,
        critic_steps=8,
    )
    degraded, original = pairs()
    noise = tf.concat([normal(number) for number in range(0, 16, 2)], axis=0)
    generated = trainer.network(tf.concat([seen(degraded)] * 8, axis=0), noise)
    apart = tf.reduce_mean(seen(original)[:, 62:-62], axis=(0, 1))
    apart -= tf.reduce_mean(generated, axis=(0, 1))
    # Only what all frames have in common can be told apart by one slope for all of them.
    distance = float(tf.norm(apart)) * np.sqrt(FRAMES - 124)
    for learning_rate in (0.1, 0.1, 0.1, 0.1, 0.02, 0.02, 0.004, 0.004):
        trainer.critic_optimizer.learning_rate = learning_rate
        for metric in trainer.metrics:
            metric.reset_state()
        trainer.train_step((degraded, original))
    found = scores(trainer.training_metrics)
    assert found["wasserstein_estimate"] == pytest.approx(distance * (1 + distance / 20), rel=0.1)
    slope = 1 + np.sqrt(found["gradient_penalty"])
    assert slope == pytest.approx(1 + distance / 20, rel=0.1)


# Noise


def test_noise_is_new_in_every_step_and_another_with_another_seed(single):
    losses = []
    for seed in (0, 1):
        trainer = make_trainer(learning_rate=0.0, critic_learning_rate=0.0, noise_seed=seed)
        for _ in range(2):
            for metric in trainer.training_metrics:
                metric.reset_state()
            trainer.train_step(pairs())
            losses.append(scores(trainer.training_metrics)["critic_loss"])
    assert losses[0] == pytest.approx(scores(single.training_metrics)["critic_loss"], rel=1e-6)
    assert len({round(each, 6) for each in losses}) == 4


def test_a_generator_without_noise_has_one_version_and_no_losses_on_profiles():
    trainer = train(one_device(), noise_size=0)
    names = {metric.name for metric in trainer.training_metrics}
    assert "generator_loss" in names
    assert not any("profile" in each or "spread" in each for each in names)
    fresh = make_trainer(noise_size=0)
    degraded = seen(pairs()[0])
    values = trainer.critic(fresh.network(degraded), degraded[:, 62:-62])
    found = scores(trainer.training_metrics)["generator_loss"]
    assert found == pytest.approx(-float(tf.reduce_mean(values)), rel=1e-4)
    trainer.test_step(pairs())
    found = scores(trainer.validation_metrics)
    assert found["lsd"] > 0 and found["frequency_spread"] == found["rhythm_spread"] == 0


# Validation


def test_a_test_step_scores_the_restorers_waveforms_and_changes_nothing(single):
    before = flat(single.variables)
    for metric in single.validation_metrics:
        metric.reset_state()
    degraded, original = pairs()
    single.test_step((degraded, original))
    found = scores(single.validation_metrics)
    noise = tf.random.stateless_normal([EXAMPLES, NOISE_SIZE], tf.constant([0, -1], tf.int64))
    restored = np.array(single.restorer(degraded, noise))
    assert found["lsd"] == pytest.approx(metrics.lsd(original, restored).mean(), rel=1e-4)
    assert found["mp3_lsd"] == pytest.approx(metrics.lsd(original, degraded).mean(), rel=1e-4)
    assert found["snr"] == pytest.approx(metrics.snr(original, restored).mean(), rel=1e-4)
    assert found["frequency_spread"] > 0 and found["rhythm_spread"] > 0
    single.test_step((degraded, original))
    assert scores(single.validation_metrics) == pytest.approx(found, rel=1e-6)
    assert single.monitor in found and single.lower_is_better
    np.testing.assert_array_equal(flat(single.variables), before)


# Devices, precisions, fit


def test_the_gradients_and_the_weights_of_two_replicas_are_those_of_one_device(both):
    for expected, found in zip(*(each.first_gradients for each in both), strict=True):
        assert relative_error(found, expected) <= 1e-5
    for expected, found in zip(*(each.weights for each in both), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=expected.path)


def test_both_replicas_hold_the_same_weights(both):
    for variable in both[1].weights:
        copies = [np.array(copy) for copy in variable.value.values]
        np.testing.assert_array_equal(copies[0], copies[1], err_msg=variable.path)


def test_the_metrics_of_two_replicas_are_those_of_one_device(both):
    single, mirrored = both
    dataset = tf.data.Dataset.from_tensor_slices(pairs()).batch(EXAMPLES)
    for batch in two_devices().experimental_distribute_dataset(dataset):
        two_devices().run(mirrored.test_step, args=(batch,))
    single.test_step(pairs())
    assert scores(mirrored.metrics) == pytest.approx(scores(single.metrics), rel=1e-4)


def test_a_step_in_bfloat16_is_finite_and_close_to_one_in_float32(single):
    trainer = train(one_device(), precision="mixed_bfloat16")
    assert all(variable.dtype == "float32" for variable in trainer.weights)
    assert np.isfinite(flat(trainer.weights)).all()
    found, expected = (scores(each.training_metrics) for each in (trainer, single))
    for name in ("critic_loss", "gradient_penalty", "critic_gradient_norm", "generator_loss"):
        assert found[name] == pytest.approx(expected[name], rel=0.1), name
    found, expected = (gradients(each.critic_optimizer) for each in (trainer, single))
    assert relative_error(found, expected) <= 0.2


def test_what_overflows_in_float16_is_left_out_and_scaled_less():
    trainer = train(one_device(), precision="mixed_float16", batches=2)
    assert np.isfinite(flat(trainer.weights)).all()
    assert np.isfinite(list(scores(trainer.training_metrics).values())).all()
    for optimizer in (trainer.critic_optimizer, trainer.optimizer):
        skipped = 2 - flat([optimizer.iterations])[0]
        assert flat([optimizer.dynamic_scale]) == 2.0 ** (15 - skipped)


def test_fit_takes_the_same_steps(both):
    looped = both[0]
    trainer = make_trainer(epsilon=1e-3)
    trainer.run_eagerly = True
    dataset = tf.data.Dataset.from_tensor_slices(
        tuple(np.concatenate(each) for each in zip(pairs(0), pairs(1), strict=True))
    ).batch(EXAMPLES, drop_remainder=True)
    history = trainer.fit(dataset, validation_data=dataset.take(1), shuffle=False, verbose=0)
    for ours, theirs in zip(trainer.weights, looped.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    found = {name: values[0] for name, values in history.history.items()}
    for name, value in scores(looped.training_metrics).items():
        assert found[name] == pytest.approx(value, rel=1e-3), name
    assert found["val_lsd"] > 0


# The trainer itself


def test_the_learning_rate_of_a_kernel_is_relative_to_its_initial_size():
    kernel = keras.Variable(np.ones((2, 4, 3), np.float32))
    bias = keras.Variable(np.ones(3, np.float32))
    optimizer = EqualizedAdam(0.1, 0.0, 0.99, 1e-12)
    optimizer.apply([tf.fill([2, 4, 3], 5.0), tf.fill([3], -5.0)], [kernel, bias])
    # Adam's first step is the learning rate; He's deviation for 8 inputs is 1 / 2.
    np.testing.assert_allclose(kernel, np.full((2, 4, 3), 0.95), rtol=1e-5)
    np.testing.assert_allclose(bias, np.full(3, 1.1), rtol=1e-5)


def test_both_learning_rates_fall_along_half_a_cosine():
    trainer = train(
        one_device(),
        learning_rate_schedule="cosine",
        total_steps=4,
        critic_steps=2,
        critic_learning_rate=2e-3,
    )
    for optimizer, start in ((trainer.optimizer, 1e-3), (trainer.critic_optimizer, 2e-3)):
        share = (1 + np.cos(np.pi / 4)) / 2
        assert float(optimizer.learning_rate) == pytest.approx(share * start, rel=1e-5)
    assert float(make_trainer().optimizer.learning_rate) == pytest.approx(1e-3)


def test_both_optimizers_have_their_state_before_the_first_step():
    trainer = make_trainer()
    for optimizer, model in (
        (trainer.optimizer, trainer.network),
        (trainer.critic_optimizer, trainer.critic),
    ):
        assert len(optimizer.variables) >= 2 * len(model.trainable_variables)


def test_the_trainers_weights_are_those_of_generator_and_critic_once():
    trainer = make_trainer()
    paths = [weight.path for weight in trainer.weights]
    assert len(paths) == len(trainer.network.weights) + len(trainer.critic.weights)


def test_a_trainer_is_made_again_from_its_configuration():
    trainer = make_trainer(
        learning_rate=0.5, critic_steps=2, equalized_learning_rate=False, log_spectral_weight=2.0
    )
    again = SRGANTrainer.from_config(trainer.get_config())
    assert again.get_config() == trainer.get_config()
    assert float(again.optimizer.learning_rate) == 0.5
    assert again.network is again.restorer.network
    assert not isinstance(again.optimizer, EqualizedAdam)
    assert isinstance(make_trainer().critic_optimizer, EqualizedAdam)


def test_a_critic_that_makes_no_step_is_refused():
    with pytest.raises(ValueError, match="critic_steps=0"):
        make_trainer(critic_steps=0)


def test_a_decay_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="'linear'"):
        make_trainer(learning_rate_schedule="linear")
    with pytest.raises(ValueError, match="total_steps=None"):
        make_trainer(learning_rate_schedule="cosine")
