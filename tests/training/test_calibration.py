"""Calibrated statistics of batch normalisation are those of the batches, computed by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.models.inpainter.network import UNet
from tfrestore.training.calibration import BatchNormalizationCalibration

BATCHES = np.random.default_rng(0).uniform(0, 1, (3, 4, 16, 16, 1)).astype(np.float32)


def normalizations(network):
    return [x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)]


def make_network():
    network = UNet(2, 2, batch_norm_momentum=0.9997, attention_gates=True)
    for layer in normalizations(network):
        layer.moving_mean.assign(np.full(layer.moving_mean.shape, 7.0))
        layer.moving_variance.assign(np.full(layer.moving_variance.shape, 9.0))
    return network


def test_the_statistics_are_those_of_all_batches_together():
    network = make_network()
    layers = normalizations(network)
    weights = [np.array(weight) for weight in network.trainable_variables]
    # What goes into each normalisation, with every batch normalised by its own statistics.
    probe = keras.Model(network.inputs[0], [layer.input for layer in layers])
    maps = [[np.array(x, np.float64) for x in probe(batch, training=True)] for batch in BATCHES]
    BatchNormalizationCalibration(network, tf.distribute.get_strategy())(BATCHES)
    for number, layer in enumerate(layers):
        values = np.concatenate([each[number] for each in maps])
        np.testing.assert_allclose(layer.moving_mean, values.mean(axis=(0, 1, 2)), atol=1e-5)
        np.testing.assert_allclose(layer.moving_variance, values.var(axis=(0, 1, 2)), atol=1e-5)
        assert layer.momentum == 0.9997
    for before, after in zip(weights, network.trainable_variables, strict=True):
        np.testing.assert_array_equal(before, after)


def test_calibrating_again_forgets_what_was_there_before():
    network = make_network()
    calibrate = BatchNormalizationCalibration(network, tf.distribute.get_strategy())
    calibrate(BATCHES)
    first = [np.array(weight) for weight in network.non_trainable_variables]
    calibrate(BATCHES[::-1] * 5)
    assert not np.allclose(first[0], network.non_trainable_variables[0])
    calibrate(BATCHES)
    for before, after in zip(first, network.non_trainable_variables, strict=True):
        np.testing.assert_allclose(before, after, atol=1e-6)


def test_the_momentum_is_restored_when_a_batch_cannot_be_had():
    network = make_network()

    def broken():
        yield BATCHES[0]
        raise OSError

    with pytest.raises(OSError):
        BatchNormalizationCalibration(network, tf.distribute.get_strategy())(broken())
    assert {layer.momentum for layer in normalizations(network)} == {0.9997}


def test_after_calibration_a_network_normalises_its_batches_in_inference_too():
    network = make_network()
    batch = BATCHES[0]
    assert not np.allclose(network(batch, training=False), network(batch, training=True), atol=1e-3)
    BatchNormalizationCalibration(network, tf.distribute.get_strategy())([batch])
    np.testing.assert_allclose(
        network(batch, training=False), network(batch, training=True), atol=1e-4
    )


def test_a_network_without_batch_normalisation_is_left_alone():
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    before = network.get_weights()
    BatchNormalizationCalibration(network, tf.distribute.get_strategy())([np.ones((1, 4))])
    for weight, was in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, was)
