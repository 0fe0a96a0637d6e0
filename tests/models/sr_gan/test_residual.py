import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.models import FrequencyAggregationGenerator
from tfrestore.models.sr_gan.residual import HoleFilling

GAIN = (1 / 0.95) ** 0.5
LEVEL = 0.25
# 20 of 22.05 kHz.
FILLED = (np.arange(32) <= 29)[:, None]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def flat(power, bins=32):
    """A signed square root whose two parts have the same power everywhere, together `power`."""
    return np.full((1, 1, bins, 2), (power / 2) ** 0.25, "float32")


@pytest.mark.parametrize("own, made", [(1.0, 1.0), (1.0, 31.6), (1e-3, 1.0), (1.0, 1e-3)])
def test_of_what_was_made_the_share_passes_that_its_power_has(own, made):
    spectrum, new = flat(own), flat(made)
    filled = HoleFilling()(spectrum, new / LEVEL)
    share = made**2 / (made**2 + 1000 * own**2)
    np.testing.assert_allclose(filled, GAIN * spectrum + share * new * FILLED, rtol=1e-5)


def test_above_20_khz_nothing_is_made_in_the_presets_transform():
    made = flat(1.0, bins=1024)
    filled = np.asarray(HoleFilling()(np.zeros_like(made), made))[0, 0, :, 0]
    hertz = np.arange(1024) * 44100 / 2048
    np.testing.assert_array_equal(filled != 0, hertz <= 20000)


def test_silence_is_filled_with_all_that_was_made():
    made = normal(2, 3, 32, 2)
    nothing = np.zeros_like(made)
    np.testing.assert_allclose(HoleFilling()(nothing, made), LEVEL * made * FILLED, rtol=1e-5)
    np.testing.assert_allclose(HoleFilling(0.1)(nothing, made), 0.1 * made * FILLED, rtol=1e-5)


def test_music_stays_but_for_what_the_encoder_turned_it_down_by():
    spectrum, made = 30 * normal(2, 3, 32, 2), 0.3 * normal(2, 3, 32, 2, seed=1)
    np.testing.assert_allclose(HoleFilling()(spectrum, made), GAIN * spectrum, atol=1e-5)


def test_what_lies_within_four_bins_of_a_partial_is_no_hole_and_the_fifth_bin_is():
    spectrum, made = np.zeros((1, 1, 32, 2), "float32"), flat(1e-4)
    spectrum[:, :, 16] = 10
    filled = HoleFilling()(spectrum, made / LEVEL) - GAIN * spectrum
    hole = FILLED[:, 0] & (np.abs(np.arange(32) - 16) > 4)
    expected = np.where(hole, made[0, 0, 0, 0], 0)
    np.testing.assert_allclose(filled[0, 0, :, 0], expected, atol=1e-5)


@pytest.mark.parametrize("own, made", [(0, 0), (0, 1e-6), (1e-6, 0), (1, 1), (300, 300)])
def test_its_gradients_are_finite_from_silence_to_full_scale(own, made):
    spectrum, new = (tf.constant(size * normal(1, 2, 32, 2)) for size in (own, made))
    with tf.GradientTape() as tape:
        tape.watch([spectrum, new])
        filled = HoleFilling()(spectrum, new)
    for gradient in tape.gradient(filled, [spectrum, new]):
        assert np.all(np.isfinite(gradient))


def test_a_generator_with_residual_has_no_further_weights_and_starts_near_the_music():
    sizes = {"bins": 64, "filters": (2, 4, 4), "aggregation": 64, "maps": 8, "noise_size": 6}
    plain = FrequencyAggregationGenerator(**sizes)
    generator = FrequencyAggregationGenerator(**sizes, residual=True)
    assert generator.count_params() == plain.count_params()
    spectrum, noise = normal(1, 130, 64, 2), normal(1, 6)
    restored = np.asarray(generator(spectrum, noise))
    kept = GAIN * spectrum[:, 62:-62]
    assert restored.shape == kept.shape and restored.dtype == "float32"
    assert np.std(restored - kept) < 0.05
    # What it makes goes into the hole, and is one of many.
    spectrum[:, :, 32:] = 0
    restored, other = (np.asarray(generator(spectrum, z)) for z in (noise, -noise))
    assert np.all(np.std(restored[:, :, 40:58], axis=(0, 2, 3)) > 0)
    assert np.std((restored - other)[:, :, 40:58]) > 10 * np.std((restored - other)[:, :, :24])


def test_it_is_saved(tmp_path):
    sizes = {"bins": 16, "filters": (2, 4, 4), "aggregation": 16, "maps": 4, "noise_size": 6}
    generator = FrequencyAggregationGenerator(**sizes, residual=True, residual_level=0.1)
    generator.save(tmp_path / "generator.keras")
    again = keras.models.load_model(tmp_path / "generator.keras")
    assert again.get_config() == generator.get_config()
    assert again.hole_filling.level == 0.1
    inputs = normal(1, 130, 16, 2), normal(1, 6)
    np.testing.assert_array_equal(again(*inputs), generator(*inputs))
