import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import synthesize
from tfrestore.audio.resampling import resample, resampled_length
from tfrestore.audio.tf_resampling import resample as resample_in_graph

rate = tf.TensorSpec((), tf.int32)
in_graph = tf.function(resample_in_graph, [tf.TensorSpec((None, None)), rate, rate])

RATES = [(44100, 16000), (16000, 44100), (48000, 44100), (44100, 47999), (8000, 96000)]


@pytest.mark.parametrize(("source", "target"), RATES)
def test_music_is_resampled_as_soxr_does(source, target):
    music = np.stack([synthesize(1.5, source, seed) for seed in (0, 1)])
    expected = resample(music, source, target)
    result = in_graph(music, source, target)
    assert result.shape == expected.shape
    error = np.asarray(result - expected)
    assert np.sqrt(np.mean(error**2)) < 4e-4 * np.sqrt(np.mean(expected**2))
    # soxr treats the first few samples in its own way.
    inner = error[:, target // 50 : -target // 50]
    assert np.abs(inner).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize(("source", "target"), RATES)
def test_a_tone_stays_a_tone_and_one_that_the_lower_rate_cannot_hold_goes(source, target):
    lower = min(source, target)
    for share, level in ((0.25, 1), (0.9, 1), (1.02, 0)):
        frequency = share * lower / 2
        tone = np.hanning(source)[None] * np.sin(2 * np.pi * frequency / source * np.arange(source))
        if frequency >= source / 2:
            continue
        time = np.arange(target) / target
        expected = level * np.interp(time, np.arange(source) / source, np.hanning(source))
        expected = expected * np.sin(2 * np.pi * frequency * time)
        result = in_graph(tone.astype("float32"), source, target)
        np.testing.assert_allclose(result[0], expected, atol=2e-4)


@pytest.mark.parametrize("samples", [1, 2, 31, 4097])
def test_the_length_is_rounded_up_and_the_same_rate_changes_nothing(samples):
    noise = np.random.default_rng(0).uniform(-1, 1, (1, samples)).astype("float32")
    for source, target in RATES:
        expected = resampled_length(samples, source, target)
        assert in_graph(noise, source, target).shape == (1, expected)
    np.testing.assert_array_equal(in_graph(noise, 44100, 44100), noise)
