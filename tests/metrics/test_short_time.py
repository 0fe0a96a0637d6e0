from pathlib import Path

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tfrestore.errors import InputError, UsageError
from tfrestore.metrics.short_time import (
    log10_lsd,
    lsd,
    multi_resolution_stft_error,
    sqrt_power_mse,
)
from tfrestore.metrics.stft import power, spectra

GOLDEN = Path(__file__).parent / "golden"
#: Each ruler, and the fewest samples it is defined on.
RULERS = {lsd: 2048, log10_lsd: 257, sqrt_power_mse: 2048, multi_resolution_stft_error: 1025}


def noise(*shape, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(shape)


def music(seed=0):
    """A decaying tone in noise that falls off by 60 dB."""
    time = np.arange(30_000) / 44100
    rng = np.random.default_rng(seed)
    return 0.3 * np.sin(2 * np.pi * 330 * time) * np.exp(-2 * time) + np.geomspace(
        0.1, 1e-4, 30_000
    ) * rng.standard_normal(30_000)


def librosa_spectra(waveform, frame_length, hop_length, centred):
    # Reflected here: librosa 0.11 reflects the last frame of a hop of half a frame otherwise.
    waveform = np.pad(waveform, frame_length // 2, mode="reflect") if centred else waveform
    return librosa.stft(
        waveform, n_fft=frame_length, hop_length=hop_length, window="hann", center=False
    ).T


@pytest.mark.parametrize("samples", [2048, 2049, 5000, 300_000])
@pytest.mark.parametrize("stft", [(2048, 512), (512, 128), (32, 16), (882, 441)])
@pytest.mark.parametrize("padding", ["valid", "center"])
def test_the_stft_is_librosas_in_blocks_that_do_not_grow_with_the_signal(samples, stft, padding):
    waveform = noise(samples)
    blocks = list(spectra(waveform, *stft, padding=padding))
    expected = librosa_spectra(waveform, *stft, centred=padding == "center")
    np.testing.assert_allclose(np.concatenate(blocks), expected, atol=1e-12)
    np.testing.assert_allclose(power(blocks[0]), np.abs(blocks[0]) ** 2, rtol=1e-12)
    assert max(block.nbytes for block in blocks) < 2**21


def test_a_waveform_too_short_for_a_frame_or_for_its_reflection_has_no_spectrum():
    assert list(spectra(np.ones(7), 8, 4)) == []
    assert list(spectra(np.ones(4), 8, 4, padding="center")) == []
    assert len(np.concatenate(list(spectra(np.ones(5), 8, 4, padding="center")))) == 2


@pytest.mark.parametrize("gain", [0.01, 0.5, 3.0])
def test_a_gain_has_the_closed_form_of_each_ruler(gain):
    reference = noise(20_000)
    estimate = gain * reference
    decibels = abs(20 * np.log10(gain))
    assert lsd(reference, estimate, floor=0) == pytest.approx(decibels, rel=1e-9)
    assert lsd(reference, estimate) == pytest.approx(decibels, rel=1e-4)
    assert log10_lsd(reference, estimate) == pytest.approx(decibels / 10, rel=1e-9)
    assert multi_resolution_stft_error(reference, estimate) == pytest.approx(
        abs(1 - gain), rel=1e-6
    )
    # White noise of variance 0.01 has 0.01 times the window's energy, 3/8 2048, in every bin.
    long = noise(400_000)
    assert sqrt_power_mse(long, gain * long) == pytest.approx(
        (1 - gain) ** 2 * 0.01 * 0.375 * 2048, rel=0.02
    )


def test_each_ruler_is_its_equation_on_librosas_spectra():
    reference, estimate = music(0), music(1)

    def powers(*stft):
        return [np.abs(librosa_spectra(x, *stft)) ** 2 for x in (reference, estimate)]

    p, q = powers(2048, 512, False)
    floored = 10 * np.log10(np.maximum(p, 1e-8) / np.maximum(q, 1e-8))
    assert lsd(reference, estimate) == pytest.approx(
        np.mean(np.sqrt(np.mean(floored**2, axis=1))), rel=1e-9
    )
    assert sqrt_power_mse(reference, estimate) == pytest.approx(
        np.mean((np.sqrt(p) - np.sqrt(q)) ** 2), rel=1e-9
    )
    p, q = powers(512, 128, True)
    assert log10_lsd(reference, estimate) == pytest.approx(
        np.mean(np.sqrt(np.mean(np.log10(p / q) ** 2, axis=1))), rel=1e-9
    )
    ratios = []
    for window in (32, 64, 128, 256, 512, 1024, 2048):
        p, q = (np.sqrt(x) for x in powers(window, window // 2, True))
        ratios.append(np.mean(np.abs(p - q)) / np.mean(p))
    assert multi_resolution_stft_error(reference, estimate) == pytest.approx(
        np.mean(ratios), rel=1e-6
    )


def test_the_multi_resolution_error_is_what_apollos_code_gives_for_all_channels():
    with np.load(GOLDEN / "apollo_freq_error.npz") as golden:
        reference, estimate, expected = (
            golden[key] for key in ("reference", "estimate", "freq_mae")
        )
    ours = multi_resolution_stft_error(reference, estimate, joint_channels=True)
    assert ours == pytest.approx(float(expected), rel=1e-6)
    # Channels apart, the quiet one counts as much as the loud one.
    apart = multi_resolution_stft_error(reference, estimate)
    assert apart.shape == (2,) and abs(apart.mean() - ours) > 1e-3


def test_the_two_log_spectral_distances_are_not_multiples_of_each_other():
    reference, estimate = music(0), music(1)
    ratio = lsd(reference, estimate, floor=0) / log10_lsd(reference, estimate, floor=0)
    assert abs(ratio - 10) > 0.1


def test_the_default_floor_lies_below_the_rounding_noise_of_16_bits():
    waveform = noise(1_000_000)
    rounding = np.round(waveform * 2**15) / 2**15 - waveform
    measured = np.mean([block.mean() for block in map(power, spectra(rounding, 2048, 512))])
    assert measured == pytest.approx(2**-30 / 12 * 0.375 * 2048, rel=0.02)
    assert 10 * np.log10(measured / 1e-8) == pytest.approx(7.8, abs=0.1)


def test_an_empty_signal_is_the_floor_in_every_bin():
    # One frame that holds a click has the window's square, 1 in its middle, in every bin.
    click, silence = np.zeros(2048), np.zeros(2048)
    click[1024] = 1
    assert lsd(click, silence) == pytest.approx(80)
    assert lsd(silence, click) == pytest.approx(80)
    assert lsd(click, silence, floor=1e-7) == pytest.approx(70)
    assert log10_lsd(click, silence, floor=1e-8) > 0
    assert lsd(1e-5 * click, silence) == 0


@pytest.mark.filterwarnings("error")
def test_without_a_floor_what_is_empty_in_both_is_equal_and_in_one_infinite():
    silence = np.zeros(3000)
    half = np.where(np.arange(30_000) < 15_000, 0, noise(30_000))
    for ruler in (lsd, log10_lsd):
        assert ruler(silence, silence, floor=0) == 0
        assert ruler(silence, noise(3000), floor=0) == np.inf
        assert ruler(noise(3000), silence, floor=0) == np.inf
        assert np.isfinite(ruler(half, 0.5 * half, floor=0))
        assert ruler(half, noise(30_000), floor=0) == np.inf
    assert log10_lsd(half, noise(30_000)) == np.inf
    assert np.isfinite(lsd(half, noise(30_000)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("ruler, shortest", RULERS.items())
def test_equal_signals_score_zero_and_what_is_undefined_is_nan(ruler, shortest):
    good = noise(shortest)
    assert ruler(good, good) == 0
    assert np.isfinite(ruler(good, noise(shortest, seed=1)))
    assert np.isnan(ruler(good[1:], good[1:]))
    assert np.isnan(ruler(np.ones(1), np.ones(1)))
    assert np.isnan(ruler(np.ones(0), np.ones(0)))
    for bad in (np.nan, np.inf):
        broken = good.copy()
        broken[7] = bad
        assert np.isnan(ruler(broken, good))
        assert np.isnan(ruler(good, broken))


@pytest.mark.filterwarnings("error")
def test_silence_is_an_error_of_one_to_a_reference_and_undefined_as_one():
    good, silence = noise(4000), np.zeros(4000)
    assert multi_resolution_stft_error(good, silence) == pytest.approx(1, rel=1e-6)
    assert np.isnan(multi_resolution_stft_error(silence, good))
    assert np.isnan(multi_resolution_stft_error(silence, silence))
    assert sqrt_power_mse(silence, good) == sqrt_power_mse(good, silence) > 0
    joint = np.stack([good, silence])
    assert multi_resolution_stft_error(joint, 0 * joint, joint_channels=True) == pytest.approx(
        1, rel=1e-6
    )


@pytest.mark.parametrize("ruler, shortest", RULERS.items())
def test_there_is_one_value_per_leading_index(ruler, shortest):
    reference = noise(2, 3, shortest + 100)
    estimate = reference + noise(2, 3, shortest + 100, seed=1)
    estimate[1, 2] = np.nan
    values = ruler(reference, estimate)
    assert values.shape == (2, 3) and values.dtype == np.float64
    assert np.isnan(values).sum() == 1
    assert isinstance(ruler(reference[0, 1], estimate[0, 1]), float)
    assert ruler(reference[0, 1], estimate[0, 1]) == values[0, 1]
    single = ruler(reference.astype("float32"), estimate.astype("float32"))
    np.testing.assert_allclose(single, values, rtol=1e-5)
    assert ruler(reference[:0], estimate[:0]).shape == (0, 3)


def test_different_shapes_and_floors_that_are_no_power_are_refused_in_one_line():
    for ruler in RULERS:
        with pytest.raises(InputError, match=r"\(2, 3\).*\(3, 2\).*samples"):
            ruler(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(InputError, match="channels, samples"):
        multi_resolution_stft_error(np.ones(3000), np.ones(3000), joint_channels=True)
    for ruler in (lsd, log10_lsd):
        for floor in (-1e-8, np.nan, np.inf):
            with pytest.raises(UsageError, match="floor is"):
                ruler(noise(3000), noise(3000), floor=floor)


@pytest.mark.filterwarnings("error")
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_whatever_the_numbers_there_is_a_score_or_nan_and_no_warning(data):
    leading = data.draw(array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=2))
    dtype = data.draw(st.sampled_from(["float32", "float64", "int16"]))
    samples = data.draw(st.sampled_from([0, 1, 256, 257, 1024, 1025, 2047, 2048, 2600]))
    period = data.draw(st.integers(1, 9))
    # What hypothesis can draw is repeated to the length that a frame needs.
    reference, estimate = (
        np.tile(data.draw(arrays(dtype, (*leading, period))), samples // period + 1)
        for _ in range(2)
    )
    reference, estimate = reference[..., :samples], estimate[..., :samples]
    finite = np.isfinite(reference).all(axis=-1) & np.isfinite(estimate).all(axis=-1)
    for ruler, shortest in RULERS.items():
        values = np.asarray(ruler(reference, estimate))
        assert values.shape == leading
        assert np.isnan(values[~finite]).all()
        assert not (values < 0).any()
        if samples < shortest:
            assert np.isnan(values).all()
