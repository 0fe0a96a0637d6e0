"""The moving average of weights: its numbers, on several devices, and what a run does with it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.stopped_runs import run_until_checkpoint
from tfrestore.data.catalogue import open_catalogue
from tfrestore.models.presets import find_preset, load_network
from tfrestore.training.configuration import resolve
from tfrestore.training.distribution import mirrored_strategy
from tfrestore.training.loop import TrainingRun
from tfrestore.training.weight_average import WeightAverage


def make(strategy, decay):
    with strategy.scope():
        network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        network.set_weights([np.ones((2, 3)), np.zeros(3)])
    return network, WeightAverage(network, decay, strategy)


@pytest.fixture(params=["one device", "two devices"])
def strategy(request):
    if request.param == "one device":
        return tf.distribute.OneDeviceStrategy("CPU:0")
    return mirrored_strategy("CPU:0", "CPU:1")


def test_the_average_follows_fast_at_first_and_with_its_decay_later(strategy):
    network, average = make(strategy, decay=0.15)
    update = tf.function(average.update)
    expected = 1.0
    for step in range(4):
        network.layers[0].kernel.assign(np.full((2, 3), 2.0 * step))
        update()
        decay = min(0.15, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * 2.0 * step
    assert min(1 / 10, 0.15) == 0.1 and min(2 / 11, 0.15) == 0.15
    np.testing.assert_allclose(average.averages[0], np.full((2, 3), expected), rtol=1e-6)
    for copy in getattr(average.averages[0], "values", [average.averages[0]]):
        np.testing.assert_allclose(copy, np.full((2, 3), expected), rtol=1e-6)


def test_the_network_has_the_average_for_a_while_and_then_its_own_weights_to_the_bit(strategy):
    network, average = make(strategy, decay=0.999)
    own = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    network.layers[0].kernel.assign(own)
    average.update()
    with pytest.raises(KeyError), average.in_place():
        np.testing.assert_allclose(network.layers[0].kernel, 0.1 + 0.9 * own, rtol=1e-5)
        raise KeyError
    np.testing.assert_array_equal(network.layers[0].kernel, own)


SMALL = ["network.filters=2", "network.depth=2", "validation_examples=4", "calibration_batches=1"]


def make_run(folder, music_folder, *assignments, steps=4):
    preset = resolve(
        find_preset("unet_tiny"), None, [*SMALL, *assignments], batch_size=4, steps=steps
    )
    return TrainingRun(preset, open_catalogue(music_folder), folder, str(music_folder))


@pytest.fixture
def steps_of_one(monkeypatch):
    """A step adds 1 to all weights and takes no time; every validation scores the same."""

    def distributed(self, function, average=None):
        def step(batch):
            for variable in self.network.trainable_variables:
                variable.assign_add(tf.ones_like(variable))
            if average is not None:
                average.update()

        return step

    monkeypatch.setattr(TrainingRun, "_distributed", distributed)
    monkeypatch.setattr(TrainingRun, "_validate", lambda self, step: {"psnr": 1.0})
    monkeypatch.setattr(TrainingRun, "_illustrate", lambda self: ({}, {}))


def test_a_run_keeps_the_average_and_goes_on_with_it_where_it_was_stopped(
    music_folder, tmp_path, monkeypatch, steps_of_one
):
    assignments = ["weight_average=0.25", "steps_per_epoch=2"]
    stopped = make_run(tmp_path, music_folder, *assignments)
    initial = [np.array(weight) for weight in stopped.network.trainable_variables]
    stopped.start()
    run_until_checkpoint(stopped, monkeypatch, step=2)
    resumed = make_run(tmp_path, music_folder, *assignments)
    resumed.resume()
    resumed._keep_best = lambda scores, step: TrainingRun._keep_best(resumed, {"psnr": 2.0}, step)
    resumed.run()
    behind = 0.0
    for step in range(4):
        # How far the average is behind the weights, which go forward by 1.
        behind = min(0.25, (1 + step) / (10 + step)) * (behind + 1.0)
    kept = load_network(tmp_path).trainable_variables
    for found, weight, before in zip(
        kept, resumed.network.trainable_variables, initial, strict=True
    ):
        np.testing.assert_allclose(weight, before + 4, atol=1e-5)
        np.testing.assert_allclose(found, before + 4 - behind, atol=1e-5)


def test_a_run_without_a_better_model_ends_and_remembers_how_long_it_has_waited(
    music_folder, tmp_path, monkeypatch, steps_of_one
):
    assignments = ["patience=2", "steps_per_epoch=1"]
    first = make_run(tmp_path, music_folder, *assignments, steps=20)
    first.start()
    run_until_checkpoint(first, monkeypatch, step=2)
    second = make_run(tmp_path, music_folder, *assignments, steps=20)
    second.resume()
    # The first epoch has the best model, and two are waited.
    assert second.run()["step"] == 3
    assert second.has_run_out_of_patience
    third = make_run(tmp_path, music_folder, *assignments, steps=20)
    third.resume()
    assert third.run() == {} and third.step_number == 3
