"""What extends a band keeps what is there, whatever its network says."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.models.inception_wgan.network import InceptionGenerator
from tfrestore.models.inception_wgan.residual import BandFilling, emphasized
from tfrestore.models.inception_wgan.restorer import InceptionRestorer

SIZES = {"filters": 8, "depth": 2, "max_doublings": 1, "dropout": 0.0}
SAMPLES, RATE = 8192, 44100
HERTZ = np.fft.rfftfreq(SAMPLES, 1 / RATE)


def noise(end=None, examples=2, level=0.1, seed=0):
    """Noise that ends as if cut off, float32 `(examples, samples)`."""
    waveform = np.random.default_rng(seed).normal(0, level, (examples, SAMPLES))
    if end is not None:
        waveform = np.fft.irfft(np.fft.rfft(waveform) * (end > HERTZ), SAMPLES)
    return waveform.astype(np.float32)


def power(waveform, first, last):
    spectrum = np.fft.rfft(np.asarray(waveform, np.float64) * np.hanning(SAMPLES))
    return np.mean(np.abs(spectrum[:, (first <= HERTZ) & (last > HERTZ)]) ** 2)


def test_the_share_of_every_bin_is_the_one_written_down():
    waveform = noise(9000)
    window = np.hanning(1025)[:-1] ** 2
    frames = np.lib.stride_tricks.sliding_window_view(waveform, 1024, axis=1)[:, ::512]
    mean = np.mean(np.abs(np.fft.rfft(frames * window)) ** 2, axis=1)
    rounding = np.sum(window**2) / 12 / 32768**2
    expected = np.zeros((2, 513))
    for k in range(64, 513):
        quiet = np.maximum(1e-3 * mean[:, k - 32 : k - 15].mean(axis=1), 64 * rounding)
        expected[:, k] = (quiet / (quiet + mean[:, k:].max(axis=1))) ** 2
    np.testing.assert_allclose(BandFilling().share(waveform), expected, rtol=1e-3, atol=1e-6)
    assert expected[:, :205].max() < 1e-4 and expected[:, 215:].min() > 0.99


@pytest.mark.parametrize("end", [4000, 5500, 11000, 16000])
@pytest.mark.parametrize("rounded", [False, True])
def test_what_is_made_is_heard_above_the_end_only(end, rounded):
    waveform, made = noise(end), noise(level=0.05, seed=1)
    if rounded:
        waveform = np.round(waveform * 2**15).astype(np.float32) / 2**15
    added = BandFilling()(waveform, made) - waveform
    assert power(added, 0, end - 200) < 1e-7 * power(waveform, 0, end)
    above = (end + 200, RATE / 2)
    assert power(added, *above) == pytest.approx(power(made, *above), rel=0.15)


def test_music_that_does_not_end_is_kept_and_nothing_is_made_in_the_bass():
    waveform, made = noise(), noise(seed=1)
    np.testing.assert_allclose(BandFilling()(waveform, made), waveform, atol=1e-5)
    added = BandFilling()(np.zeros_like(waveform), made)
    assert power(added, 0, 2600) < 1e-4 * power(made, 0, 2600)


def test_a_window_is_heard_with_its_treble_raised_at_one_loudness():
    waveform = noise()
    raised, level = emphasized(waveform)
    np.testing.assert_allclose(np.mean(np.square(raised), axis=1), 1.0, rtol=1e-5)
    expected = waveform[:, 1:] - 0.95 * waveform[:, :-1]
    np.testing.assert_allclose((10 * level * raised)[:, 1:], expected, atol=1e-5)
    silent, level = emphasized(np.zeros_like(waveform))
    assert not np.any(silent) and np.max(level) <= 1.01e-6


def test_a_fresh_generator_leaves_its_input_almost_alone_at_any_loudness():
    with keras.StatelessScope(initialize_variables=False):
        plain = InceptionGenerator(**SIZES).count_params()
    generator = InceptionGenerator(**SIZES, residual=True)
    assert generator.count_params() == plain
    waveform = noise(5500, level=0.05)
    restored = np.asarray(generator(waveform))
    assert 0 < power(restored, 6000, RATE / 2) < 0.05 * power(waveform, 0, 5500)
    assert power(restored - waveform, 0, 5300) < 1e-7 * power(waveform, 0, 5300)
    # Full scale is no limit, and four times the loudness is four times the result.
    np.testing.assert_allclose(generator(16 * waveform) / 16, restored, atol=1e-4)
    half = InceptionGenerator(**SIZES, residual=True, dtype="mixed_bfloat16")
    half.set_weights(generator.get_weights())
    assert half(waveform).dtype == "float32"
    np.testing.assert_allclose(half(waveform), restored, atol=2e-3)


def test_it_takes_unknown_sizes_and_comes_back_from_a_folder(tmp_path):
    generator = InceptionGenerator(**SIZES, residual=True)
    graph = tf.function(generator, [tf.TensorSpec([None, None], "float32")])
    for samples in (1024, 4096):
        waveform = noise(5500)[:, :samples]
        np.testing.assert_allclose(graph(waveform), generator(waveform), atol=1e-5)
    generator.save_to_preset(tmp_path)
    again = InceptionGenerator.from_preset(tmp_path)
    assert again.get_config() == generator.get_config() and again.residual
    assert InceptionRestorer(again).default_degradation == "bandwidth:2"
    np.testing.assert_allclose(again(waveform), generator(waveform), atol=1e-6)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="`additive_skip` and `residual`"):
        InceptionGenerator(**SIZES, residual=True, additive_skip=True)
    with pytest.raises(ValueError, match="at least 1024 samples. Received: 512"):
        InceptionGenerator(**SIZES, residual=True)(noise()[:, :512])
