import csv
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tfrestore.errors import InputError, UsageError
from tfrestore.metrics.waveform import sdr, si_sdr, snr

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mir_eval.separation announces its removal
    from mir_eval.separation import bss_eval_images, bss_eval_sources

GOLDEN = Path(__file__).parent / "golden"
with open(GOLDEN / "scores.tsv", encoding="utf-8") as table:
    PAIRS = {row["pair"]: row for row in csv.DictReader(table, delimiter="\t")}
RULERS = [snr, si_sdr, sdr]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def sine(samples=4000, cycles=100, phase=0.0):
    return np.sin(2 * np.pi * cycles * np.arange(samples) / samples + phase)


def decibels(ratio):
    return 10 * np.log10(ratio)


def sdr_by_least_squares(reference, estimate, taps):
    """The definition itself: project onto the delayed references, by singular values."""
    reference, estimate = np.atleast_2d(reference, estimate)
    delayed = np.hstack([scipy.linalg.convolution_matrix(x, taps) for x in reference])
    wanted = unwanted = 0.0
    for waveform in estimate:
        waveform = np.pad(waveform, (0, taps - 1))
        projection = delayed @ np.linalg.lstsq(delayed, waveform, rcond=1e-15)[0]
        wanted += np.sum(projection**2)
        unwanted += np.sum((waveform - projection) ** 2)
    return decibels(wanted / unwanted)


@pytest.mark.parametrize("name", PAIRS)
def test_real_music_scores_as_the_reference_implementations_say(name):
    reference, estimate = (
        soundfile.read(GOLDEN / f"{name}.{which}.flac", always_2d=True)[0].mean(axis=1)
        for which in ("reference", "test")
    )
    row = PAIRS[name]
    # The table has five decimals.
    assert snr(reference, estimate) == pytest.approx(float(row["snr_db_downmix"]), abs=6e-6)
    assert si_sdr(reference, estimate) == pytest.approx(float(row["si_sdr_db_downmix"]), abs=6e-6)
    assert sdr(reference, estimate) == pytest.approx(
        float(row["sdr_db_downmix_bss_eval"]), abs=6e-6
    )


def test_what_is_added_at_right_angles_counts_by_its_energy():
    reference, added = sine(), 0.01 * sine(phase=np.pi / 2)
    assert snr(reference, reference + added) == pytest.approx(40)
    assert si_sdr(reference, reference + added) == pytest.approx(40)
    assert snr(reference, 0.9 * reference) == pytest.approx(20)
    assert snr(reference, 3 * reference) == pytest.approx(-20 * np.log10(2))
    assert snr(reference, 0 * reference) == 0


@pytest.mark.parametrize("gain", [1e-3, -0.5, 1.0, 700.0])
def test_si_sdr_is_that_of_the_correlation_coefficient_whatever_the_gain(gain):
    reference = noise(5000)
    estimate = reference + 0.3 * noise(5000, seed=1)
    squared = np.corrcoef(reference, estimate)[0, 1] ** 2
    expected = decibels(squared / (1 - squared))
    assert si_sdr(reference, gain * estimate) == pytest.approx(expected)
    assert si_sdr(gain * reference + 5, estimate - 3) == pytest.approx(expected)
    cosine = np.vdot(reference, estimate) ** 2 / np.vdot(reference, reference)
    cosine /= np.vdot(estimate, estimate)
    assert si_sdr(reference, gain * estimate, zero_mean=False) == pytest.approx(
        decibels(cosine / (1 - cosine))
    )


def test_si_sdr_is_infinite_for_a_gain_and_minus_infinite_at_right_angles():
    reference = noise(1000)
    for gain in (1.0, -1.0, 0.3, 1e-5):
        assert si_sdr(reference, gain * reference) == np.inf
    assert si_sdr(reference, 0.5 * reference + 0.25) == np.inf
    assert np.isfinite(si_sdr(reference, reference + 0.25, zero_mean=False))
    assert si_sdr(sine(), sine(phase=np.pi / 2)) == -np.inf
    # 240 dB down is still measured.
    assert si_sdr(sine(), sine() + 1e-12 * sine(phase=np.pi / 2)) == pytest.approx(240, abs=0.1)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("samples", [512, 700, 40_000])
def test_sdr_is_mir_evals(samples):
    reference = scipy.signal.lfilter([1.0, -0.4], [1.0, -0.95], noise(samples))
    estimate = np.roll(reference, 3) * 0.8 + 0.2 * noise(samples, seed=1)
    theirs = bss_eval_sources(reference[None], estimate[None], compute_permutation=False)[0][0]
    assert sdr(reference, estimate) == pytest.approx(theirs, abs=1e-8)


HARD = {
    "a sine": sine(),
    "a period of 50 samples": np.tile(noise(50), 80),
    "a constant": np.ones(4000),
    "one sample": np.eye(1, 4000)[0],
    "an empty band": np.fft.irfft(np.fft.rfft(noise(4000)) * (np.arange(2001) < 500)),
    "an empty band, 16 bits": np.round(
        np.fft.irfft(np.fft.rfft(0.1 * noise(4000)) * (np.arange(2001) < 500)) * 32768
    )
    / 32768,
}


@pytest.mark.parametrize("reference", HARD.values(), ids=HARD)
def test_sdr_is_the_least_squares_projection_where_the_filter_is_hardly_determined(reference):
    estimate = reference + 0.01 * noise(len(reference), seed=1)
    expected = sdr_by_least_squares(reference, estimate, 64)
    assert sdr(reference, estimate, filter_length=64) == pytest.approx(expected, abs=1e-6)


def test_sdr_forgives_what_the_filter_can_do_and_nothing_longer():
    reference = np.pad(noise(6000), (0, 1000))
    equalised = scipy.signal.lfilter(noise(30, seed=1), 1, reference)
    assert sdr(reference, equalised) > 200
    assert sdr(reference, np.roll(reference, 511)) > 200
    assert sdr(reference, np.roll(reference, 512)) < 0
    assert sdr(reference, equalised, filter_length=30) > 200
    assert sdr(reference, equalised, filter_length=29) < 30


def test_sdr_grows_with_the_filter_from_si_sdr_on():
    reference = noise(3000)
    estimate = 0.7 * reference + 0.5 * noise(3000, seed=1)
    values = [sdr(reference, estimate, filter_length=taps) for taps in (1, 2, 16, 128, 512)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(si_sdr(reference, estimate, zero_mean=False))


def test_blocks_of_a_correlation_join_without_a_seam():
    # Longer than two blocks of 2^15 points.
    reference = noise(80_000)
    estimate = np.convolve(reference, noise(9, seed=1))[:80_000] + noise(80_000, seed=2)
    assert sdr(reference, estimate, filter_length=9) == pytest.approx(
        sdr_by_least_squares(reference, estimate, 9), abs=1e-8
    )


def test_joint_channels_may_be_mixed_by_filters_where_single_ones_may_not():
    reference = np.pad(noise(2, 5000), ((0, 0), (0, 600)))
    filters = noise(2, 2, 40, seed=1)
    mixed = sum(
        np.stack([scipy.signal.lfilter(filters[out, into], 1, reference[into]) for out in (0, 1)])
        for into in (0, 1)
    )
    assert sdr(reference, mixed, joint_channels=True) > 200
    assert (sdr(reference, mixed) < 3).all()
    mixed += 0.1 * noise(2, 5600, seed=2)
    expected = sdr_by_least_squares(reference, mixed, 50)
    assert sdr(reference, mixed, 50, joint_channels=True) == pytest.approx(expected, abs=1e-8)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_joint_sdr_and_snr_are_what_bss_eval_makes_of_one_stereo_image():
    reference = noise(2, 4000)
    estimate = reference[::-1] * 0.3 + reference + 0.1 * noise(2, 4000, seed=1)
    total, _, _, artifacts, _ = bss_eval_images(
        reference.T[None], estimate.T[None], compute_permutation=False
    )
    assert sdr(reference, estimate, joint_channels=True) == pytest.approx(artifacts[0], abs=1e-8)
    assert snr(reference.ravel(), estimate.ravel()) == pytest.approx(total[0], abs=1e-8)


def test_joint_sdr_of_two_equal_channels_is_that_of_one_and_a_silent_channel_adds_nothing():
    reference, estimate = noise(3000), noise(3000) + 0.2 * noise(3000, seed=1)
    expected = sdr(reference, estimate, 64)
    assert sdr(
        np.stack([reference] * 2), np.stack([estimate] * 2), 64, joint_channels=True
    ) == pytest.approx(expected, abs=1e-8)
    silent = np.zeros(3000)
    assert sdr(
        np.stack([reference, silent]), np.stack([estimate, silent]), 64, joint_channels=True
    ) == pytest.approx(expected, abs=1e-8)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("ruler", RULERS)
def test_equal_signals_are_infinite_and_what_is_undefined_is_nan(ruler):
    good, silent = noise(1000), np.zeros(1000)
    assert ruler(good, good) == np.inf
    assert np.isnan(ruler(silent, good))
    assert np.isnan(ruler(silent, silent))
    assert np.isnan(ruler(np.ones(0), np.ones(0)))
    for bad in (np.nan, np.inf):
        broken = good.copy()
        broken[7] = bad
        assert np.isnan(ruler(broken, good))
        assert np.isnan(ruler(good, broken))
    # Squares that no double holds.
    assert np.isnan(snr(1e200 * good, good))


@pytest.mark.filterwarnings("error")
def test_a_silent_estimate_and_a_constant_have_no_scale_invariant_score():
    good, silent = noise(1000), np.zeros(1000)
    assert np.isnan(si_sdr(good, silent))
    assert np.isnan(sdr(good, silent))
    for level in (0.1, 1 / 3, 1e-7):
        assert np.isnan(si_sdr(np.full(1000, level), good))
        assert np.isnan(si_sdr(good, np.full(1000, level)))
    assert np.isfinite(si_sdr(np.ones(1000), good, zero_mean=False))


def test_sdr_of_a_signal_shorter_than_the_filter_is_undefined():
    assert np.isnan(sdr(noise(511), noise(511, seed=1)))
    assert np.isfinite(sdr(noise(512), noise(512, seed=1)))
    assert np.isnan(sdr(np.ones(1), np.ones(1)))
    assert snr(np.ones(1), np.array([0.9])) == pytest.approx(20)


@pytest.mark.parametrize("ruler", RULERS)
def test_there_is_one_value_per_leading_index(ruler):
    reference = noise(2, 3, 600)
    estimate = reference + 0.1 * noise(2, 3, 600, seed=1)
    estimate[1, 2] = np.nan
    values = ruler(reference, estimate)
    assert values.shape == (2, 3) and values.dtype == np.float64
    assert np.isnan(values).sum() == 1
    assert isinstance(ruler(reference[0, 1], estimate[0, 1]), float)
    assert ruler(reference[0, 1], estimate[0, 1]) == values[0, 1]
    single = ruler(reference.astype("float32"), estimate.astype("float32"))
    np.testing.assert_allclose(single, values, rtol=1e-5)
    assert ruler(reference[:0], estimate[:0]).shape == (0, 3)


def test_different_shapes_and_filters_without_taps_are_refused_in_one_line():
    for ruler in RULERS:
        with pytest.raises(InputError, match=r"\(2, 3\).*\(3, 2\).*samples"):
            ruler(np.ones((2, 3)), np.ones((3, 2)))
        with pytest.raises(InputError, match="samples"):
            ruler(1.0, 1.0)
    with pytest.raises(InputError, match="channels, samples"):
        sdr(np.ones(600), np.ones(600), joint_channels=True)
    with pytest.raises(UsageError, match="filter_length is 0"):
        sdr(np.ones(600), np.ones(600), filter_length=0)


@pytest.mark.filterwarnings("error")
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_whatever_the_numbers_there_is_a_score_or_nan_and_no_warning(data):
    shape = data.draw(array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6))
    dtype = data.draw(st.sampled_from(["float32", "float64", "int16"]))
    reference = data.draw(arrays(dtype, shape))
    estimate = data.draw(arrays(dtype, shape))
    for values in (
        snr(reference, estimate),
        si_sdr(reference, estimate),
        si_sdr(reference, estimate, zero_mean=False),
        sdr(reference, estimate, filter_length=2),
    ):
        assert np.shape(values) == shape[:-1]
        undefined = ~(
            np.isfinite(reference).all(axis=-1)
            & np.isfinite(estimate).all(axis=-1)
            & reference.any(axis=-1)
        )
        assert np.isnan(np.asarray(values)[undefined]).all()
