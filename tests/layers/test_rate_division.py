import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.errors import UsageError
from tfrestore.layers.rate_division import Decimation, Interpolation


def tone(hertz, samples=6000, rate=48000):
    return np.sin(2 * np.pi * hertz * np.arange(samples) / rate)[None].astype("float32")


@pytest.mark.parametrize("samples", [6000, 6001, 6002])
def test_what_the_lower_rate_can_hold_passes_undelayed_both_ways(samples):
    waveform = tone(5000, samples)
    lower = np.asarray(Decimation(3)(waveform))
    assert lower.shape == (1, -(-samples // 3))
    np.testing.assert_allclose(lower[:, 50:-50], waveform[:, ::3][:, 50:-50], atol=1e-3)
    back = np.asarray(Interpolation(3)(lower, samples=samples))
    assert back.shape == waveform.shape
    np.testing.assert_allclose(back[:, 200:-200], waveform[:, 200:-200], atol=1e-3)


def test_what_it_cannot_hold_is_left_out():
    for hertz in (8050, 11000, 20000):
        assert np.abs(Decimation(3)(tone(hertz)))[:, 50:-50].max() < 1e-3
    # And what the way back has above is no image of what is below.
    spectrum = np.abs(np.fft.rfft(np.hanning(6000) * Interpolation(3)(tone(5000, 2000, 16000))[0]))
    assert spectrum[1100:].max() < 1e-3 * spectrum.max()


def test_a_sample_depends_on_its_reach_only():
    rng = np.random.default_rng(0)
    waveform = rng.standard_normal((1, 3000)).astype("float32")
    other, layer = waveform.copy(), Decimation(3)
    other[:, : 1500 - layer.reach] = 0
    other[:, 1500 + layer.reach + 1 :] = 0
    whole, part = (np.asarray(layer(each))[0, 500] for each in (waveform, other))
    assert whole == pytest.approx(part, abs=1e-6)


def test_a_factor_of_one_changes_nothing():
    waveform = tone(1000)
    np.testing.assert_array_equal(Decimation(1)(waveform), waveform)
    np.testing.assert_array_equal(Interpolation(1)(waveform), waveform)


def test_lengths_may_be_unknown_in_a_graph():
    signature = [tf.TensorSpec([None, None])]
    there, back = (tf.function(layer, signature) for layer in (Decimation(3), Interpolation(3)))
    for samples in (299, 300):
        assert there(tone(1000, samples)).shape == (1, 100)
    assert back(tone(1000, 100)).shape == (1, 300)


def test_the_layers_come_back_from_their_configuration_and_refuse_no_factor():
    for layer_class in (Decimation, Interpolation):
        config = keras.saving.serialize_keras_object(layer_class(3))
        assert keras.saving.deserialize_keras_object(config).factor == 3
        with pytest.raises(UsageError, match="1 or more"):
            layer_class(0)
