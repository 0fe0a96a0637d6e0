"""An Apollo that mends what it is given, as small ones do, instead of making it anew."""

import keras
import numpy as np
import pytest

from tfrestore import metrics
from tfrestore.errors import InputError
from tfrestore.models import Apollo
from tfrestore.models.apollo.residual import (
    LevelFeatures,
    SpectralResidual,
    band_power,
    excitation,
    frame_norm,
    whitened,
)
from tfrestore.models.apollo.torch_weights import torch_weights

SIZES = {"features": 8, "depth": 1, "heads": 2, "bands": 5, "frame_length": 64}


def small(**arguments):
    return Apollo(**SIZES, residual=True, **arguments)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype("float32")


def test_a_fresh_network_takes_back_what_lame_turned_down_and_adds_next_to_nothing():
    waveform = noise(2, 4000)
    restored = np.array(small()(waveform))
    assert metrics.si_sdr(waveform, restored).min() > 30
    assert np.std(restored) == pytest.approx(np.std(waveform) / 0.95, rel=0.01)


@pytest.mark.parametrize("gain", [0.01, 3.0])
def test_it_does_the_same_at_any_loudness(gain):
    network, waveform = small(), noise(1, 2000)
    expected = gain * np.array(network(waveform))
    np.testing.assert_allclose(network(np.float32(gain) * waveform), expected, rtol=1e-2, atol=1e-4)


def test_what_is_made_fills_holes_and_is_not_heard_beside_what_is_there():
    layer = SpectralResidual(bins=33, bands=5, band_bins=5)
    layer.build((None, None, 5, 8))
    layer.level_bias.assign(np.full(5, 4.0, "float32"))
    # A hole among bins of 0.3, of which each band of five has a norm of 0.67.
    real = np.full((1, 1, 33), 0.3, "float32")
    real[:, :, [2, 12]] = 0.0
    made = noise(2, 1, 1, 33)
    restored = layer((real, np.zeros_like(real)), noise(1, 1, 5, 8), (made[0], made[1]))
    level = np.sqrt(4 * 0.09)
    made = made + np.array(excitation((real, 0 * real)))
    for part, new, old in zip(np.array(restored), made, (real, 0 * real), strict=True):
        np.testing.assert_allclose(part[0, 0, [2, 12]], level * new[0, 0, [2, 12]], rtol=1e-2)
        kept = old[0, 0, 3:10] / 0.95
        share = 0.45 / (0.45 + 0.09)
        np.testing.assert_allclose(
            part[0, 0, 5:10], kept[2:] + np.sqrt(0.45) * share * new[0, 0, 5:10], rtol=1e-2
        )


def test_holes_get_the_phases_of_the_part_of_the_spectrum_that_an_mp3_always_has():
    # Bins of 50 Hz: 1.5 to 5.5 kHz are 30 to 109.
    angles = np.linspace(0, 40, 442, dtype="float32") ** 2
    loudness = np.geomspace(1, 1e-5, 442, dtype="float32")
    found = excitation(tuple((loudness * f(angles))[None, None] for f in (np.cos, np.sin)))
    source = list(range(40, 110)) + list(range(30, 70))
    while len(source) < 442:
        source += range(30, 110)
    for part, expected in zip(found, (np.cos(angles), np.sin(angles)), strict=True):
        np.testing.assert_allclose(part[0, 0], expected[source[:442]], atol=1e-4)
    empty = np.zeros((1, 2, 442), "float32")
    assert not np.any(excitation((empty, empty)))


def test_an_empty_band_is_filled_up_to_what_music_has_there():
    layer = SpectralResidual(bins=33, bands=5, band_bins=5)
    layer.build((None, None, 5, 8))
    layer.level_bias.assign(np.full(5, 4.0, "float32"))
    real = np.zeros((1, 1, 33), "float32")
    real[:, :, 0] = 1.0
    ones = np.ones((1, 1, 33), "float32")
    restored, _ = layer((real, 0 * real), noise(1, 1, 5, 8), (ones, ones))
    usual = np.exp(-1 - 1.2 * np.log([2, 3, 4, 5]))
    np.testing.assert_allclose(np.array(restored)[0, 0, [7, 12, 17, 29]], usual, rtol=1e-3)
    # 20 kHz of 22.05.
    assert not np.any(np.array(restored)[0, 0, 30:])


def test_levels_far_below_the_rest_are_told_apart():
    layer = LevelFeatures(bins=33, bands=5, band_bins=5, features=8, seed=1)
    layer.build()
    usual = np.exp(-1 - 1.2 * np.log([1, 2, 3, 4, 5]))
    quiet = np.repeat(usual / np.sqrt([5, 5, 5, 5, 13]), [5, 5, 5, 5, 13]).astype("float32")
    found = {}
    for level in (0, -30, -55, -70, -140, -200):
        real = (quiet * 10 ** (level / 20))[None, None]
        found[level] = np.array(layer((real, 0 * real)))[0, 0]
    steps = np.tanh(np.log(10 ** (-55 / 20)) - np.array(layer.STEPS))
    expected = np.einsum("s,bsf->bf", steps, layer.kernel)
    np.testing.assert_allclose(found[-55], expected, rtol=0.05, atol=0.02)
    levels = list(found)
    for louder, softer in zip(levels[:3], levels[1:4], strict=True):
        assert np.abs(found[louder] - found[softer]).max(axis=1).min() > 0.1
    np.testing.assert_allclose(found[-140], found[-200], atol=1e-2)


def test_whitened_bands_of_what_music_has_on_average_are_all_alike():
    usual = np.exp(-1 - 1.2 * np.log([1, 2, 3, 4, 5]))
    real = np.repeat(usual / np.sqrt([5, 5, 5, 5, 13]), [5, 5, 5, 5, 13])[None, None]
    parts = whitened((real.astype("float32"), 0 * real.astype("float32")), 5, 5)
    np.testing.assert_allclose(band_power(parts, 5, 5), np.ones((1, 1, 5)), rtol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("cuts", [[25], [1, 24], [7, 3, 1, 11, 3], [0, 24, 1], [25, 0]])
def test_a_spectrum_in_pieces_gives_what_the_whole_gives(causal, cuts):
    network = small(causal=causal)
    spectrum = tuple(part[:, :25] for part in network.stft(noise(2, 24 * 32)))
    state, position, pieces = network.start(2), 0, []
    for number, frames in enumerate(cuts):
        piece = tuple(part[:, position : position + frames] for part in spectrum)
        position += frames
        restored, state = network.advance(piece, state, final=number == len(cuts) - 1)
        pieces.append(np.stack(restored, axis=-1))
    whole = np.stack(network.restore_spectrum(spectrum), axis=-1)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=2e-5)


def test_silence_stays_silence_and_a_frames_norm_is_over_both_parts():
    assert np.abs(small()(np.zeros((1, 1000), "float32"))).max() < 1e-5
    parts = np.full((1, 1, 8), 3.0, "float32"), np.full((1, 1, 8), 4.0, "float32")
    assert float(frame_norm(parts)[0, 0, 0]) == pytest.approx(np.sqrt(8 * 25))


def test_it_is_loaded_as_it_was_saved(tmp_path):
    network, waveform = small(causal=True, seed=3), noise(1, 500)
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(again(waveform), network(waveform))
    assert again.get_config() == network.get_config() and again.residual
    assert not Apollo(**SIZES).residual


def test_it_cannot_become_a_checkpoint_of_the_authors():
    with pytest.raises(InputError, match="network.residual"):
        torch_weights(small())
