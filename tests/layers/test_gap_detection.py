import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import synthesize

from tfrestore.audio.resampling import resample
from tfrestore.layers.gap_detection import GapDetection

RATE = 16000


def lost_samples(waveform):
    return np.asarray(GapDetection(RATE)(waveform[None]))[0]


@pytest.mark.parametrize("milliseconds", [4, 10, 50, 300])
def test_a_dropout_is_found_with_a_few_milliseconds_beside_it(milliseconds):
    waveform = synthesize(3.0, RATE)
    start, stop = 20000, 20000 + milliseconds * 16
    waveform[start:stop] = 0
    found = np.flatnonzero(lost_samples(waveform))
    assert found[0] <= start and found[-1] >= stop - 1
    assert found[0] >= start - 64 and found[-1] < stop + 64
    assert len(found) == found[-1] - found[0] + 1


def test_a_dropout_is_found_after_resampling():
    waveform = synthesize(3.0, 44100)
    waveform[44100:45100] = 0
    found = np.flatnonzero(lost_samples(resample(waveform[None], 44100, RATE)[0]))
    assert found[0] <= RATE and found[-1] >= 45100 * RATE // 44100
    assert len(found) < 1000 * RATE / 44100 + 160


@pytest.mark.parametrize("rate", [RATE, 48000])
def test_the_edges_of_a_dropout_are_found_to_a_fraction_of_a_millisecond(rate):
    rng = np.random.default_rng(0)
    waveform = synthesize(3.0, 44100)
    for start in (30000, 60000, 90000):
        stop = start + int(rng.integers(600, 2200))
        damaged = waveform.copy()
        damaged[start:stop] = 0
        at_rate = resample(damaged[None], 44100, rate)
        found = np.flatnonzero(np.asarray(GapDetection(rate)(at_rate))[0]) / rate
        for edge, expected in ((found[0], start / 44100), (found[-1], stop / 44100)):
            assert abs(edge - expected) < 0.0005
        # None of what was lost is taken for music, but for what rings right beside an edge.
        assert found[0] < start / 44100 + 2 / rate and found[-1] > stop / 44100 - 2 / rate


def test_intact_music_has_no_gaps():
    assert not lost_samples(synthesize(5.0, RATE)).any()


def test_silence_and_what_touches_an_end_are_no_gaps():
    assert not lost_samples(np.zeros(RATE, "float32")).any()
    waveform = synthesize(2.0, RATE)
    waveform[:800] = waveform[-800:] = 0
    assert not lost_samples(waveform).any()


def test_a_rest_into_which_the_music_dies_away_is_no_gap():
    waveform = synthesize(2.0, RATE)
    fade = np.exp(-np.arange(4000) / 400).astype("float32")
    waveform[10000:14000] *= fade
    waveform[14000:17000] = 0
    assert not lost_samples(waveform).any()


def test_a_pause_longer_than_the_longest_gap_is_left_alone():
    waveform = synthesize(3.0, RATE)
    waveform[16000 : 16000 + 9600] = 0
    assert not lost_samples(waveform).any()


def test_a_batch_in_a_graph_finds_what_each_waveform_alone_has():
    batch = np.stack([synthesize(2.0, RATE, seed) for seed in range(3)])
    batch[0, 16000:16300] = batch[2, 9000:9800] = 0
    graph = tf.function(GapDetection(RATE), input_signature=[tf.TensorSpec([None, None])])
    np.testing.assert_array_equal(graph(batch), [lost_samples(each) for each in batch])


@pytest.mark.parametrize("samples", [1, 15, 16, 17])
def test_very_short_waveforms_are_no_problem(samples):
    assert lost_samples(np.ones(samples, "float32")).shape == (samples,)


def test_what_is_further_away_than_the_context_changes_nothing():
    layer = GapDetection(RATE)
    waveform = synthesize(4.0, RATE)
    waveform[32000:32400] = 0
    context = layer.context_samples
    # On the grid of blocks, so that both cuts see the same blocks.
    context += -context % layer.block
    part = slice(31984 - context, 32416 + context)
    np.testing.assert_array_equal(
        np.asarray(layer(waveform[None]))[0, 31984:32416],
        np.asarray(layer(waveform[None, part]))[0, context:-context],
    )


def test_the_layer_comes_back_from_its_configuration():
    layer = GapDetection(RATE, longest=0.1)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
