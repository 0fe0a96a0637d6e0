import numpy as np
import pytest
import tensorflow as tf
from conftest import synthesize

from tfrestore.models import UNet
from tfrestore.models.inpainter.restorer import InpainterRestorer

RATE = 16000
SMALL = {"filters": 2, "depth": 2}


def identity_network():
    """A network that gives back what it gets."""
    network = UNet(**SMALL, global_residual=True)
    for weight in network.get_layer("output_convolution").weights:
        weight.assign(np.zeros(weight.shape))
    return network


class Oracle(InpainterRestorer):
    """Restores magnitudes perfectly, because it was told them."""

    def tell(self, waveform):
        self.truth = self.true_magnitude(waveform)
        return self

    def true_magnitude(self, waveform):
        real, imaginary = self.stft(waveform)
        return tf.sqrt(real**2 + imaginary**2)

    def restore_magnitude(self, magnitude):
        return self.truth


def test_what_is_not_lost_comes_back_to_the_bit():
    waveform = synthesize(2.0, RATE)[None]
    restorer = InpainterRestorer(UNet(**SMALL))
    np.testing.assert_array_equal(restorer(waveform), waveform)
    gapped = waveform.copy()
    gapped[:, 16000:16400] = 0
    restored = np.asarray(restorer(gapped))
    np.testing.assert_array_equal(restored[:, :15936], waveform[:, :15936])
    np.testing.assert_array_equal(restored[:, 16464:], waveform[:, 16464:])
    assert np.abs(restored[:, 16000:16400]).max() > 0


def test_with_the_true_magnitudes_a_gap_is_nearly_closed():
    waveform = synthesize(2.0, RATE)[None]
    gapped = waveform.copy()
    gapped[:, 16000:16160] = 0
    restored = np.asarray(
        Oracle(UNet(**SMALL), iterations=100, momentum=0.99).tell(waveform)(gapped)
    )
    lost = slice(16000, 16160)
    error = np.sum((restored - waveform)[:, lost] ** 2) / np.sum(waveform[:, lost] ** 2)
    assert 10 * np.log10(error) < -10


def test_samples_that_are_marked_are_filled_though_nothing_would_find_them():
    waveform = synthesize(2.0, RATE)[None]
    oracle = Oracle(UNet(**SMALL), iterations=100, momentum=0.99).tell(waveform)
    marked = waveform.copy()
    marked[:, 16000:16032] = np.nan  # 2 ms, shorter than what counts as a dropout
    restored = np.asarray(oracle(marked))
    np.testing.assert_array_equal(restored[:, :16000], waveform[:, :16000])
    np.testing.assert_array_equal(restored[:, 16032:], waveform[:, 16032:])
    error = np.sum((restored - waveform) ** 2) / np.sum(waveform[:, 16000:16032] ** 2)
    assert 10 * np.log10(error) < -10


def test_griffin_lim_alone_comes_as_near_as_griffin_lim_can():
    waveform = synthesize(1.0, RATE)[None]
    restorer = InpainterRestorer(identity_network(), phase="griffin_lim", iterations=60)
    restored = restorer(waveform)
    truth, estimate = (
        np.abs(np.asarray(real) + 1j * np.asarray(imaginary))
        for real, imaginary in (restorer.stft(waveform), restorer.stft(restored))
    )
    assert np.linalg.norm(truth - estimate) < 0.25 * np.linalg.norm(truth)
    assert InpainterRestorer(identity_network(), phase="griffin_lim").iterations == 100


def test_silence_stays_silence():
    for phase in ("keep", "predict", "griffin_lim"):
        restorer = InpainterRestorer(identity_network(), phase=phase)
        assert np.abs(restorer(np.zeros((2, 5000), "float32"))).max() < 1e-6


def test_the_network_sees_normalised_magnitudes_and_its_answer_is_scaled_back():
    restorer = InpainterRestorer(identity_network(), input_scale=100.0, offset=0.01)
    magnitude = np.random.default_rng(0).uniform(0, 128, (2, 8, 128)).astype("float32")
    np.testing.assert_allclose(
        restorer.restore_magnitude(magnitude), magnitude, rtol=1e-4, atol=1e-4
    )
    normalised = restorer.normalise(magnitude)
    assert normalised.shape == (2, 8, 128, 1)
    np.testing.assert_allclose(normalised[..., 0], magnitude / 100 + 0.01, rtol=1e-6)


def test_the_largest_magnitude_of_a_full_scale_sine_is_below_the_scale():
    time = np.arange(RATE) / RATE
    sine = np.sin(2 * np.pi * 1000 * time)[None].astype("float32")
    restorer = InpainterRestorer(UNet(**SMALL))
    magnitude = restorer.patch_magnitudes(sine, 128)
    assert 60 < float(tf.reduce_max(magnitude)) <= restorer.input_scale


def test_patches_are_the_frames_of_tf_signal_in_their_order():
    waveform = np.stack([synthesize(1.2, RATE, seed) for seed in (0, 1)])
    patches = np.asarray(InpainterRestorer(UNet(**SMALL)).patch_magnitudes(waveform, 128))
    expected = np.abs(tf.signal.stft(waveform, 256, 64, 255))
    assert patches.shape == (4, 128, 128)
    for i in range(4):
        np.testing.assert_allclose(
            patches[i], expected[i // 2, 128 * (i % 2) : 128 * (i % 2 + 1)], atol=2e-5
        )


def test_frames_that_touch_a_lost_sample_and_no_others_count_as_lost():
    restorer = InpainterRestorer(UNet(**SMALL))
    lost = np.zeros((1, 4000), bool)
    lost[0, 1000:1010] = True
    intact = np.asarray(restorer._intact_frames(tf.constant(lost)))[0]
    starts = 64 * np.arange(len(intact)) - 192
    expected = (starts + 256 <= 1000) | (starts > 1009)
    np.testing.assert_array_equal(intact, expected)


WIDE = {"sample_rate": 3 * RATE, "spectrogram_rate": RATE, "phase": "predict"}


def wide_music(seconds=2.0):
    """Partials of which some lie above what the network sees, and a gap of 20 ms in them."""
    time = np.arange(int(seconds * 3 * RATE)) / (3 * RATE)
    music = sum(0.1 * np.sin(2 * np.pi * f * time + f) for f in (220, 1410, 5230, 11300))
    gap = slice(48000, 48960)
    damaged = music.copy()
    damaged[gap] = 0
    return music[None].astype("float32"), damaged[None].astype("float32"), gap


def silent_network():
    """A network that says that there was nothing."""
    network = UNet(**SMALL)
    weights = network.get_layer("output_convolution").weights
    weights[0].assign(np.zeros(weights[0].shape))
    return network


def decibels(error, signal):
    return 10 * np.log10(np.sum(error**2) / np.sum(signal**2))


def test_a_predicted_gap_is_closed_above_the_networks_band_too_and_nothing_else_changes():
    music, damaged, gap = wide_music()
    restored = np.asarray(InpainterRestorer(silent_network(), **WIDE)(damaged))
    assert decibels((restored - music)[:, gap], music[:, gap]) < -30
    beside = np.ones(music.shape[1], bool)
    beside[gap.start - 48 : gap.stop + 48] = False
    np.testing.assert_array_equal(restored[:, beside], damaged[:, beside])
    np.testing.assert_array_equal(InpainterRestorer(silent_network(), **WIDE)(music), music)


def test_a_network_that_says_there_was_less_changes_no_prediction():
    music, damaged, gap = wide_music()
    restorer = InpainterRestorer(silent_network(), **WIDE)
    lost = np.zeros(music.shape, bool)
    lost[:, gap] = True
    marked = np.where(lost, np.float32(np.nan), damaged)
    found = np.asarray(restorer.detection(damaged)) | lost
    np.testing.assert_allclose(
        restorer(marked), restorer.linear_prediction(damaged, found), atol=1e-4
    )


def test_what_dies_away_in_a_prediction_is_raised_to_what_the_network_says_there_was():
    rng = np.random.default_rng(0)
    low = rng.standard_normal((1, 2 * RATE)).astype("float32") * 0.1
    restorer = Oracle(UNet(**SMALL), **WIDE).tell(low)
    noise = np.asarray(restorer.interpolation(low))
    restorer.tell(np.asarray(restorer.decimation(noise)))
    gap = slice(48000, 50400)
    marked = noise.copy()
    marked[:, gap] = np.nan
    lost = np.isnan(marked)
    predicted = np.asarray(restorer.linear_prediction(noise, lost))
    levels = [
        decibels(np.asarray(each)[:, gap], noise[:, gap]) for each in (predicted, restorer(marked))
    ]
    assert levels[0] < -4 and levels[0] + 2 < levels[1] < 1


def test_a_long_recording_is_filled_in_chunks_as_in_one_piece():
    music = wide_music(14.0)[0]
    damaged = music.copy()
    for start in (90000, 191000, 383000, 575500):
        damaged[:, start : start + 1400] = 0
    one, many = (
        InpainterRestorer(UNet(**SMALL), chunk_seconds=seconds, **WIDE).restore(damaged, 3 * RATE)
        for seconds in (14.0, 2.0)
    )
    np.testing.assert_allclose(many, one, atol=2e-5)
    assert decibels(one - music, damaged - music) < -20


@pytest.mark.parametrize(
    "arguments",
    [
        {"sample_rate": 44100, "spectrogram_rate": 16000, "phase": "predict"},
        {"sample_rate": 48000, "spectrogram_rate": 16000},
    ],
)
def test_rates_that_do_not_go_together_are_refused(arguments):
    with pytest.raises(ValueError, match="`sample_rate`"):
        InpainterRestorer(UNet(**SMALL), **arguments)


def test_an_unknown_treatment_of_phase_is_refused():
    with pytest.raises(ValueError, match="`phase`"):
        InpainterRestorer(UNet(**SMALL), phase="guess")
