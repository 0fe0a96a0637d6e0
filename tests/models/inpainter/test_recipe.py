"""A training step is the same on one device and on several, and in every precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.models.inpainter.network import UNet
from tfrestore.models.inpainter.recipe import (
    InpainterTrainer,
    log_root_error,
    squared_error,
)
from tfrestore.training.distribution import mirrored_strategy

PATCHES, SIZE = 8, 32

# Adam divides a gradient by its size. Where there is none (a bias in front of batch normalisation)
# it makes a whole step out of rounding errors, unless its epsilon is larger than those.
ROBUST = {"epsilon": 1e-3}


def one_device():
    return tf.distribute.OneDeviceStrategy("CPU:0")


def two_devices():
    return mirrored_strategy("CPU:0", "CPU:1")


def patches(batches=1):
    """Pairs (degraded, target) of `batches` global batches."""
    rng = np.random.default_rng(0)
    target = rng.uniform(0, 1, (batches * PATCHES, SIZE, SIZE, 1)).astype(np.float32)
    kept = rng.uniform(size=(batches * PATCHES, SIZE, 1, 1)) > 0.4
    return (target * kept).astype(np.float32), target


def dataset(batches=1):
    return tf.data.Dataset.from_tensor_slices(patches(batches)).batch(PATCHES, drop_remainder=True)


def make_trainer(strategy, precision="float32", filters=4, **arguments):
    with strategy.scope():
        network = UNet(filters, 1, batch_norm_momentum=0.9, dtype=precision, downsampling="stride")
        return InpainterTrainer(network, **arguments)


def train(strategy, batches=1, **arguments):
    """A trainer after one step on each batch, in the way of the training loop."""
    trainer = make_trainer(strategy, **arguments)

    @tf.function
    def step(batch):
        strategy.run(trainer.train_step, args=(batch,))

    for batch in strategy.experimental_distribute_dataset(dataset(batches)):
        step(batch)
    return trainer


def flat(variables):
    return np.concatenate([keras.ops.convert_to_numpy(each).ravel() for each in variables])


def relative_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def gradients(trainer):
    """The gradients of the first step: Adam's first moment is 1 - beta_1 of them."""
    optimizer = getattr(trainer.optimizer, "inner_optimizer", trainer.optimizer)
    return flat(optimizer._momentums) / (1 - trainer.beta_1)


def statistics(trainer):
    return flat(trainer.network.non_trainable_variables)


def scores(trainer):
    return {metric.name: float(metric.result()) for metric in trainer.metrics}


def assert_same_scores(found, expected, relative=1e-5):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        # A relative error of the squared error is 10 / ln(10) times that in dB.
        tolerance = relative * (10 if name == "psnr" else abs(expected[name]))
        assert value == pytest.approx(expected[name], rel=0, abs=tolerance), name


@pytest.fixture(scope="module")
def single():
    return train(one_device(), **ROBUST)


@pytest.fixture(scope="module")
def mirrored():
    return train(two_devices(), **ROBUST)


def test_the_gradients_of_two_replicas_are_those_of_one_device(single, mirrored):
    assert relative_error(gradients(mirrored), gradients(single)) <= 1e-5
    # And those of one device are those of the mean squared error, written out.
    network = UNet(4, 1, batch_norm_momentum=0.9, downsampling="stride")
    degraded, target = patches()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((network(degraded, training=True) - target) ** 2)
    expected = flat(tape.gradient(loss, network.trainable_variables))
    assert relative_error(gradients(single), expected) <= 1e-5


def test_the_weights_and_batch_statistics_of_two_replicas_are_those_of_one_device(single, mirrored):
    weights = [flat(each.network.trainable_variables) for each in (mirrored, single)]
    assert relative_error(*weights) <= 1e-5
    assert relative_error(statistics(mirrored), statistics(single)) <= 1e-5


def test_both_replicas_hold_the_same_weights_and_statistics(mirrored):
    for variable in mirrored.network.variables:
        copies = [np.array(copy) for copy in variable.value.values]
        np.testing.assert_array_equal(copies[0], copies[1], err_msg=variable.path)


def test_the_loss_and_the_metrics_of_two_replicas_are_those_of_one_device(single, mirrored):
    assert_same_scores(scores(mirrored), scores(single))
    network = UNet(4, 1, batch_norm_momentum=0.9, downsampling="stride")
    degraded, target = patches()
    error = np.mean((network(degraded, training=True).numpy() - target) ** 2, axis=(1, 2, 3))
    expected = {
        "loss": error.mean(),
        "psnr": np.mean(10 * np.log10(1 / error)),
        "nrmse": np.mean(np.sqrt(error / np.mean(target**2, axis=(1, 2, 3)))),
    }
    assert_same_scores(scores(single), expected)


def test_several_steps_of_adam_on_two_replicas_are_those_of_one_device():
    single, mirrored = (train(each, batches=6, **ROBUST) for each in (one_device(), two_devices()))
    weights = [flat(each.network.trainable_variables) for each in (mirrored, single)]
    before = flat(make_trainer(one_device()).network.trainable_variables)
    assert relative_error(before, weights[1]) > 5e-3
    assert relative_error(*weights) <= 1e-5
    assert relative_error(statistics(mirrored), statistics(single)) <= 1e-5
    assert_same_scores(scores(mirrored), scores(single))
    assert flat([mirrored.optimizer.iterations]) == 6


def test_fit_takes_the_same_steps_as_the_loop_on_one_device_and_on_two():
    looped = train(one_device(), batches=3, **ROBUST)
    expected = flat(looped.network.trainable_variables)
    for strategy in (one_device(), two_devices()):
        trainer = make_trainer(strategy, **ROBUST)
        history = trainer.fit(
            dataset(3), validation_data=dataset(1), shuffle=False, verbose=0
        ).history
        assert relative_error(flat(trainer.network.trainable_variables), expected) <= 1e-5
        assert relative_error(statistics(trainer), statistics(looped)) <= 1e-5
        assert_same_scores({name: history[name][0] for name in scores(looped)}, scores(looped))
        degraded, target = patches()
        error = np.mean((trainer.network(degraded, training=False).numpy() - target) ** 2)
        assert history["val_loss"][0] == pytest.approx(error, rel=1e-4)


def test_a_test_step_on_two_replicas_scores_as_one_device_does_and_changes_nothing():
    found = []
    for strategy in (one_device(), two_devices()):
        trainer = make_trainer(strategy)
        before = flat(trainer.network.variables)

        @tf.function
        def step(batch, trainer=trainer, strategy=strategy):
            strategy.run(trainer.test_step, args=(batch,))

        for batch in strategy.experimental_distribute_dataset(dataset(2)):
            step(batch)
        np.testing.assert_array_equal(flat(trainer.network.variables), before)
        found.append(scores(trainer))
    assert_same_scores(found[1], found[0])


@pytest.mark.parametrize(
    ("strategy", "precision", "tolerance"),
    [
        (one_device, "mixed_bfloat16", 0.1),
        (one_device, "mixed_float16", 0.02),
        (two_devices, "mixed_float16", 0.02),
    ],
)
def test_a_step_in_mixed_precision_is_close_to_one_in_float32(
    single, precision, tolerance, strategy
):
    trainer = train(strategy(), precision=precision)
    assert all(variable.dtype == "float32" for variable in trainer.network.variables)
    found = flat(trainer.network.variables)
    assert np.isfinite(found).all()
    assert scores(trainer)["loss"] == pytest.approx(scores(single)["loss"], rel=0.02)
    assert relative_error(statistics(trainer), statistics(single)) <= 0.02
    # The gradients arrive unscaled: 8 and 11 bits of every intermediate map are what is lost.
    assert relative_error(gradients(trainer), gradients(single)) <= tolerance


def test_the_loss_is_scaled_in_float16_and_nowhere_else(single):
    assert not hasattr(single.optimizer, "dynamic_scale")
    trainer = make_trainer(one_device(), "mixed_float16")
    assert float(trainer.optimizer.dynamic_scale) == 2**15
    assert float(trainer.optimizer.scale_loss(tf.constant(2.0))) == 2**16


@pytest.mark.parametrize("strategy", [one_device, two_devices])
def test_in_inference_mode_batch_statistics_never_change_and_never_count(strategy):
    trainer = train(strategy(), batches=2, batch_norm="inference", filters=2)
    assert not trainer.uses_batch_statistics
    layers = [x for x in trainer.network.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert layers
    for layer in layers:
        np.testing.assert_array_equal(layer.moving_mean, 0)
        np.testing.assert_array_equal(layer.moving_variance, 1)
        assert np.abs(layer.beta).max() > 0
    degraded, _ = patches()
    np.testing.assert_array_equal(
        trainer(degraded, training=True), trainer.network(degraded, training=False)
    )


def test_the_optimizers_state_exists_before_the_first_step():
    trainer = make_trainer(one_device())
    assert len(trainer.optimizer.variables) >= 2 * len(trainer.network.trainable_variables)


def test_a_trainer_is_made_again_from_its_configuration():
    trainer = make_trainer(one_device(), learning_rate=0.5, batch_norm="inference")
    again = InpainterTrainer.from_config(trainer.get_config())
    assert again.get_config() == trainer.get_config()
    assert float(again.optimizer.learning_rate) == 0.5


def test_a_way_to_normalise_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="batch_norm='both'"):
        make_trainer(one_device(), batch_norm="both")


def test_the_squared_error_is_one_number_per_patch():
    found = squared_error(np.zeros((3, 2, 2, 1)), np.arange(12.0).reshape(3, 2, 2, 1))
    np.testing.assert_allclose(found, [14 / 4, 126 / 4, 366 / 4])


def test_the_error_of_roots_is_that_of_quiet_bins_too():
    target = np.array([0.81, 0.0004], "float32").reshape(1, 2, 1, 1)
    # A root is off by 0.1, and by 0.02 where the magnitude is only a hundredth of that off.
    for restored, expected in (([0.64, 0.0004], 0.1**2 / 2), ([0.81, 0.0016], 0.02**2 / 2)):
        restored = np.array(restored, "float32").reshape(target.shape)
        found = float(log_root_error(target, restored)[0])
        assert found == pytest.approx(np.log(expected), abs=1e-3)


def test_the_error_of_roots_is_added_to_the_loss_with_its_weight():
    plain, with_roots = (make_trainer(one_device(), root_weight=weight) for weight in (0.0, 0.5))
    degraded, target = patches()
    restored = plain.network(degraded)
    losses = [each._losses_of(target, restored).numpy() for each in (plain, with_roots)]
    np.testing.assert_allclose(
        losses[1] - losses[0], 0.5 * log_root_error(target, restored), rtol=1e-3
    )


def test_a_cosine_takes_the_learning_rate_to_zero_at_the_last_step():
    decay = {"learning_rate_schedule": "cosine", "total_steps": 4}
    trainer = make_trainer(one_device(), learning_rate=0.01, **decay)
    rates = []
    for batch in dataset(5):
        rates.append(float(trainer.optimizer.learning_rate))
        trainer.train_step(batch)
    expected = [0.01 * 0.5 * (1 + np.cos(np.pi * step / 4)) for step in range(5)]
    np.testing.assert_allclose(rates, expected, atol=1e-8)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(trainer))
    assert again.get_config() == trainer.get_config()
    with pytest.raises(ValueError, match="total_steps"):
        make_trainer(one_device(), learning_rate_schedule="cosine")
