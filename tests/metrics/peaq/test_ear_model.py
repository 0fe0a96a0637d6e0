import numpy as np
import pytest

from tfrestore.metrics.peaq_basic import ear_model

pytestmark = pytest.mark.filterwarnings("error")


def frames_of(waveform, count):
    starts = np.arange(count) * ear_model.HOP_LENGTH
    return np.stack([waveform[s : s + ear_model.FRAME_LENGTH] for s in starts])


def test_there_are_109_bands_a_quarter_of_a_bark_wide_from_80_hz_to_18_khz():
    assert ear_model.BANDS == 109
    assert ear_model.BAND_EDGES[0] == pytest.approx(80)
    assert ear_model.BAND_EDGES[-1] == pytest.approx(18000)
    widths = np.diff(ear_model.bark(ear_model.BAND_EDGES))
    np.testing.assert_allclose(widths[:-1], 0.25, rtol=1e-12)
    assert 0 < widths[-1] <= 0.25


def test_band_edges_and_centres_are_those_of_the_recommendations_table():
    np.testing.assert_allclose(
        ear_model.BAND_EDGES[[0, 1, 2, 50, 107, 108]],
        [80.000, 103.445, 127.023, 2143.227, 16775.035, 17385.420],
        atol=3e-3,
    )
    np.testing.assert_allclose(
        ear_model.BAND_CENTRES[[0, 1, 2, 50, 107, 108]],
        [91.708, 115.216, 138.870, 2183.564, 17077.504, 17690.045],
        atol=3e-3,
    )


def test_the_ear_is_most_sensitive_near_3_khz_and_its_response_at_1_khz_is_the_formulas():
    frequencies = np.arange(20.0, 18000.0)
    response = ear_model.outer_and_middle_ear(frequencies)
    assert 3000 < frequencies[response.argmax()] < 3600
    assert ear_model.outer_and_middle_ear(1000.0) == pytest.approx(
        -2.184 + 6.5 * np.exp(-0.6 * 2.3**2) - 0.001
    )


def test_internal_noise_falls_with_frequency_and_is_the_formulas():
    assert (np.diff(ear_model.INTERNAL_NOISE) < 0).all()
    kilohertz = ear_model.BAND_CENTRES / 1000
    np.testing.assert_allclose(
        10 * np.log10(ear_model.INTERNAL_NOISE), 1.456 * kilohertz**-0.8, rtol=1e-12
    )
    np.testing.assert_allclose(
        np.log(ear_model.INTERNAL_NOISE), 0.4 * np.log(ear_model.THRESHOLD_IN_QUIET), rtol=1e-12
    )


def test_masking_is_3_db_below_12_bark_and_a_quarter_of_the_band_rate_above():
    offset = 10 * np.log10(ear_model.MASKING_OFFSET)
    np.testing.assert_allclose(offset[:49], 3)
    np.testing.assert_allclose(offset[49:], 0.25 * 0.25 * np.arange(49, 109))


def test_a_sine_of_full_scale_at_1019_5_hz_has_its_largest_line_at_92_db():
    time = np.arange(10 * ear_model.HOP_LENGTH + ear_model.FRAME_LENGTH) / 48000
    sine = 32767 / 32768 * np.sin(2 * np.pi * 1019.5 * time)
    largest = ear_model.power_spectra(frames_of(sine, 10)).max()
    assert 10 * np.log10(largest) == pytest.approx(92, abs=0.01)


def test_white_noise_fills_each_band_by_its_width_and_the_ears_response():
    # Power 1 in every line is a density of 1 per line width, 23.4375 Hz. Only in the widest bands
    # is the mean response not quite that of the centre.
    pattern = ear_model.pitch_patterns(np.ones((1, ear_model.LINES)))[0] - ear_model.INTERNAL_NOISE
    lines = np.diff(ear_model.BAND_EDGES) / 23.4375
    response = 10 ** (ear_model.outer_and_middle_ear(ear_model.BAND_CENTRES) / 10)
    np.testing.assert_allclose(pattern[:100], (lines * response)[:100], rtol=0.01)
    np.testing.assert_allclose(pattern, lines * response, rtol=0.03)


def test_a_line_is_shared_among_bands_without_loss():
    for line in range(5, 760, 31):
        power = np.zeros((1, ear_model.LINES))
        power[0, line] = 1e6
        pattern = ear_model.pitch_patterns(power)[0] - ear_model.INTERNAL_NOISE
        response = 10 ** (ear_model.outer_and_middle_ear(line * 23.4375) / 10)
        assert pattern.sum() == pytest.approx(1e6 * response, rel=1e-9)


def test_noise_is_the_difference_of_magnitudes_and_nothing_for_equal_spectra():
    rng = np.random.default_rng(0)
    power = rng.random((3, ear_model.LINES)) * 1e6
    assert (ear_model.noise_patterns(power, power) == 1e-12).all()
    # Halving every magnitude leaves a difference of half of it: a quarter of the power.
    np.testing.assert_allclose(
        ear_model.noise_patterns(power, power / 4),
        (ear_model.pitch_patterns(power) - ear_model.INTERNAL_NOISE) / 4,
        rtol=1e-9,
    )


def spread_by_the_definition(pitch):
    """Section 2.1.7 as a double sum over bands, for one frame."""
    bands = len(pitch)

    def compressed_sum(power, levels):
        slopes = -24 - 230 / ear_model.BAND_CENTRES + 0.2 * levels
        total = np.zeros(bands)
        for source in range(bands):
            distance = 0.25 * (np.arange(bands) - source)
            decibels = np.where(distance < 0, 27 * distance, slopes[source] * distance)
            shape = 10 ** (decibels / 10)
            total += (power[source] * shape / shape.sum()) ** 0.4
        return total**2.5

    levels = 10 * np.log10(pitch)
    return compressed_sum(pitch, levels) / compressed_sum(np.ones(bands), np.zeros(bands))


def test_spreading_is_the_sum_of_the_definition():
    rng = np.random.default_rng(0)
    pitch = 10 ** rng.uniform(0, 10, (4, ear_model.BANDS))
    expected = [spread_by_the_definition(frame) for frame in pitch]
    np.testing.assert_allclose(ear_model.spread(pitch), expected, rtol=1e-10)


def test_0_db_everywhere_spreads_to_0_db_and_a_flat_upper_slope_is_no_division_by_zero():
    np.testing.assert_allclose(ear_model.spread(np.ones((1, ear_model.BANDS))), 1, rtol=1e-12)
    flat = 10 ** ((24 + 230 / ear_model.BAND_CENTRES) / 0.2 / 10)
    np.testing.assert_allclose(
        ear_model.spread(flat[None])[0], spread_by_the_definition(flat), rtol=1e-9
    )


def test_louder_sound_spreads_further_upwards_and_equally_far_downwards():
    excitation = []
    for level in (40, 80):
        pitch = np.full((1, ear_model.BANDS), 1e-30)
        pitch[0, 50] = 10 ** (level / 10)
        excitation.append(10 * np.log10(ear_model.spread(pitch)[0]) - level)
    quiet, loud = excitation
    assert (loud[60:80] > quiet[60:80] + 10).all()
    assert loud[40] - loud[44] == pytest.approx(quiet[40] - quiet[44], abs=1e-6)


def test_time_constants_at_100_hz_and_at_high_frequencies_are_those_asked_for():
    coefficients = ear_model.time_coefficients(0.008, 0.050)
    time_constants = -1024 / 48000 / np.log(coefficients)
    at_100 = np.interp(100, ear_model.BAND_CENTRES, time_constants)
    assert at_100 == pytest.approx(0.050, rel=0.02)
    assert 0.008 < time_constants[-1] < 0.0083
