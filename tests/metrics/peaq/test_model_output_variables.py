import numpy as np
import pytest

from tfrestore.metrics.peaq_basic import model_output_variables as variables
from tfrestore.metrics.peaq_basic.ear_model import (
    BANDS,
    FRAME_LENGTH,
    INTERNAL_NOISE,
    LINES,
    MASKING_OFFSET,
)

pytestmark = pytest.mark.filterwarnings("error")


def spectrum(noise_level, *steps):
    """Powers in dB: the noise from line 921 on, then (end, level) from the left, -100 between."""
    level = np.full(LINES, -100.0)
    level[921:] = noise_level
    start = 0
    for end, decibels in steps:
        level[start:end] = decibels
        start = end
    return 10 ** (level / 10)[None]


def test_bandwidths_are_the_last_lines_10_and_5_db_above_the_tests_noise():
    test = spectrum(0, (300, 20), (400, 5.1), (500, 4.9))
    reference = spectrum(50, (700, 10.1), (800, 9.9))
    assert [int(b[0]) for b in variables.bandwidths(reference, test)] == [700, 400]


def test_the_tests_bandwidth_does_not_exceed_the_references():
    test, reference = spectrum(0, (800, 60)), spectrum(0, (500, 60))
    assert [int(b[0]) for b in variables.bandwidths(reference, test)] == [500, 500]


def test_nothing_above_the_noise_is_a_bandwidth_of_zero_and_silence_has_all_lines():
    noise = spectrum(0)
    assert [int(b[0]) for b in variables.bandwidths(noise, noise)] == [0, 0]
    silence = np.zeros((1, LINES))
    assert [int(b[0]) for b in variables.bandwidths(noise, silence)] == [921, 921]


def test_noise_to_mask_ratios_are_relative_to_the_excitation_less_the_masking_offset():
    excitation = np.full((1, BANDS), 1e4)
    noise = excitation / MASKING_OFFSET
    mean, largest = variables.noise_to_mask_ratios(noise, excitation)
    assert mean[0] == pytest.approx(1) and largest[0] == pytest.approx(1)
    noise[0, 7] *= 110
    mean, largest = variables.noise_to_mask_ratios(noise, excitation)
    assert mean[0] == pytest.approx(2) and largest[0] == pytest.approx(110)


def harmonic_spectra(period, frames=1):
    """A reference whose spectrum is that of the test plus a ripple of a period in lines."""
    lines = np.arange(LINES)
    test = np.ones((frames, LINES))
    return test * 10 ** np.cos(2 * np.pi * lines / period), test


def harmonics_by_the_definition(reference, test):
    """Section 4.8 with a direct sum for each lag, and the spectrum of the correlation."""
    error = np.log10(reference[:511] / test[:511])
    correlation = np.array(
        [
            error[:256]
            @ error[lag : lag + 256]
            / (np.linalg.norm(error[:256]) * np.linalg.norm(error[lag : lag + 256]))
            for lag in range(256)
        ]
    )
    window = np.sqrt(8 / 3) * 0.5 * (1 - np.cos(2 * np.pi * np.arange(256) / 255))
    spectrum = np.fft.fft((correlation - correlation.mean()) * window) / 256
    return np.abs(spectrum[:128]) ** 2


@pytest.mark.parametrize("after_first_valley", [False, True])
def test_error_harmonics_are_those_of_the_definition(after_first_valley):
    rng = np.random.default_rng(0)
    reference, test = 10 ** rng.normal(0, 2, (2, 6, LINES))
    ours = variables.error_harmonic_structure(reference, test, after_first_valley)
    for frame, strength in enumerate(ours):
        cepstrum = harmonics_by_the_definition(reference[frame], test[frame])
        start = 0
        while after_first_valley and cepstrum[start + 1] <= cepstrum[start]:
            start += 1
        assert strength == pytest.approx(1000 * cepstrum[start + 1 :].max(), rel=1e-9)


def test_a_periodic_error_has_a_strong_harmonic_and_a_random_one_a_weak_one():
    reference, test = harmonic_spectra(period=16)
    periodic = variables.error_harmonic_structure(reference, test, True)[0]
    # The correlation is a cosine, of which half stands in one bin: (1/2)**2 times the window's
    # squared mean, 2/3, times 1000.
    assert periodic == pytest.approx(1000 * 2 / 3 / 4, rel=0.02)
    random = 10 ** np.random.default_rng(0).normal(0, 1, (1, LINES))
    assert variables.error_harmonic_structure(random, test, True)[0] < periodic / 100


def test_the_slope_down_to_the_first_valley_is_no_harmonic_of_the_error():
    # One period over all lags: the cepstrum falls all the way from its constant.
    reference, test = harmonic_spectra(period=256)
    everywhere = variables.error_harmonic_structure(reference, test, False)[0]
    after_valley = variables.error_harmonic_structure(reference, test, True)[0]
    assert everywhere > 100 and after_valley < 1e-3


def test_equal_spectra_have_no_harmonics_and_a_line_without_power_makes_them_undefined():
    reference, test = harmonic_spectra(period=16, frames=3)
    test[1] = reference[1]
    test[2, 300] = 0
    ours = variables.error_harmonic_structure(reference, test, False)
    assert ours[0] > 0 and ours[1] == 0 and np.isnan(ours[2])


def test_modulation_differences_are_those_of_the_formulas():
    modulation = np.zeros((2, 2, BANDS))
    modulation[:, 0] = 1.0
    modulation[0, 1] = 2.0
    modulation[1, 1] = 0.5
    loudness = 100 * INTERNAL_NOISE**0.3 * np.ones((2, 1))
    first, second, weight = variables.modulation_differences(modulation, loudness)
    np.testing.assert_allclose(first, [100 * 1 / 2, 100 * 0.5 / 2])
    # What the test loses counts a tenth.
    np.testing.assert_allclose(second, [100 * 1 / 1.01, 10 * 0.5 / 1.01])
    np.testing.assert_allclose(weight, 109 / 2)


def test_noise_loudness_is_of_what_is_added_only():
    modulation = np.zeros((3, 2, BANDS))
    adapted = np.full((3, 2, BANDS), 1e4)
    adapted[1, 1] = 1e3
    adapted[2, 1] = 1e5
    equal, less, more = variables.noise_loudness(modulation, adapted)
    assert equal == 0 and less == 0
    expected = (INTERNAL_NOISE / 0.5) ** 0.23 * (
        (1 + 0.5 * 9e4 / (INTERNAL_NOISE + 0.5 * 1e4 * np.exp(-1.5 * 9))) ** 0.23 - 1
    )
    assert more == pytest.approx(24 / BANDS * expected.sum())


def test_equal_excitations_are_not_detected():
    excitation = 10 ** np.random.default_rng(0).uniform(0, 9, (4, 1, BANDS)).repeat(2, axis=1)
    exponent, steps = variables.detection(excitation)
    assert (exponent == 0).all() and (steps == 0).all()


def test_a_difference_of_one_threshold_step_is_detected_in_half_of_the_cases():
    # At a level of 60 dB, by eq. 74.
    level = 60.0
    step = (
        5.95072 * (6.39468 / level) ** 1.71332
        + 9.01033e-11 * level**4
        + 5.05622e-6 * level**3
        - 0.00102438 * level**2
        + 0.0550197 * level
        - 0.198719
    )
    for sign in (1, -1):
        # The level that counts is 0.3 max + 0.7 test: shift both so that it is 60 dB.
        reference, test = sign * step, 0.0
        shift = level - (0.3 * max(reference, test) + 0.7 * test)
        pair = 10 ** (np.array([reference + shift, test + shift]) / 10)
        exponent, _ = variables.detection(np.tile(pair[None, :, None], (1, 1, BANDS)))
        assert 1 - 0.5 ** exponent[0, 0] == pytest.approx(0.5)


def test_steps_above_threshold_count_whole_decibels():
    def steps(difference):
        pair = 10 ** (np.array([60.0, 60.0 - difference]) / 10)
        return variables.detection(np.tile(pair[None, :, None], (1, 1, BANDS)))[1][0, 0]

    assert steps(0.99) == 0 and steps(-0.99) == 0
    assert steps(1.01) > 0 and steps(-1.01) > 0
    assert steps(2.01) > steps(1.99)


def test_below_zero_decibels_nothing_is_detected():
    pair = 10 ** (np.array([-5.0, -10.0]) / 10)
    exponent, steps = variables.detection(np.tile(pair[None, :, None], (1, 1, BANDS)))
    assert (exponent < 1e-100).all() and (steps < 1e-20).all()


def test_data_is_five_samples_in_a_row_whose_magnitudes_exceed_200():
    frames = np.zeros((5, FRAME_LENGTH))
    frames[0, 100:105] = [40, -40, 40, -40, 40]
    frames[1, 100:105] = [40, -40, 41, -40, 40]
    frames[2, -5:] = [40, -40, 41, -40, 40]
    frames[3, 100:108:2] = 60
    frames[4, 0] = 201
    exceeds = variables.exceeds_data_boundary(frames / 32768)
    assert exceeds.tolist() == [False, True, True, False, True]


def test_the_energy_threshold_is_8000_in_the_newer_half():
    frames = np.zeros((3, FRAME_LENGTH))
    frames[0, 1024] = np.sqrt(8001)
    frames[1, 1024] = np.sqrt(7999)
    frames[2, 1023] = 32767
    assert variables.exceeds_energy_threshold(frames / 32768).tolist() == [True, False, False]
