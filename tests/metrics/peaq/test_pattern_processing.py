import numpy as np
import pytest

from tfrestore.metrics.peaq_basic.ear_model import (
    BAND_CENTRES,
    BANDS,
    THRESHOLD_IN_QUIET,
    time_coefficients,
)
from tfrestore.metrics.peaq_basic.pattern_processing import (
    ExcitationAndModulation,
    LevelAndPatternAdaptation,
    total_loudness,
)

pytestmark = pytest.mark.filterwarnings("error")


def excitation(frames, seed=0):
    return 10 ** np.random.default_rng(seed).uniform(1, 8, (frames, 2, BANDS))


def test_sound_that_stops_decays_by_the_time_constants_and_its_onset_is_immediate():
    pulse = np.full((10, 2, BANDS), 1e-9)
    pulse[0] = 1.0
    spread, _, _ = ExcitationAndModulation().process(pulse)
    coefficient = time_coefficients(0.008, 0.030)
    np.testing.assert_allclose(spread[0], 1.0)
    for frame in range(1, 8):
        np.testing.assert_allclose(
            spread[frame], np.tile((1 - coefficient) * coefficient**frame, (2, 1)), atol=1e-8
        )


def test_a_steady_sound_has_no_modulation_and_its_loudness_is_averaged_to_itself():
    _, modulation, loudness = ExcitationAndModulation().process(np.full((200, 2, BANDS), 1e6))
    np.testing.assert_allclose(modulation[-1], 0, atol=1e-6)
    np.testing.assert_allclose(loudness[-1], 1e6**0.3, rtol=1e-6)


def test_modulation_of_a_sound_that_changes_in_every_frame_is_the_closed_form():
    # Loudness alternates between 1 and 3: its derivative is 2 per frame all the time.
    alternating = np.where(np.arange(400) % 2, 3.0, 1.0)[:, None, None] ** (1 / 0.3)
    _, modulation, loudness = ExcitationAndModulation(46.875).process(
        np.broadcast_to(alternating, (400, 2, BANDS))
    )
    np.testing.assert_allclose(modulation[-1], 2 * 46.875 / (1 + loudness[-1] / 0.3), rtol=1e-6)
    np.testing.assert_allclose((loudness[-1] + loudness[-2]) / 2, 2, rtol=1e-6)
    _, slower, _ = ExcitationAndModulation(46).process(
        np.broadcast_to(alternating, (400, 2, BANDS))
    )
    np.testing.assert_allclose(slower / modulation, 46 / 46.875, rtol=1e-9)


def test_adaptation_removes_a_constant_gain():
    patterns = excitation(300)
    patterns[:, 1] = 0.01 * patterns[:, 0]
    adapted = LevelAndPatternAdaptation().process(patterns)[-1]
    np.testing.assert_allclose(adapted[1], adapted[0], rtol=1e-6)
    # The louder of the two is turned down.
    np.testing.assert_allclose(adapted[0], 0.01 * patterns[-1, 0], rtol=1e-6)
    patterns[:, 1] = 100 * patterns[:, 0]
    adapted = LevelAndPatternAdaptation().process(patterns)[-1]
    np.testing.assert_allclose(adapted, patterns[-1, :1].repeat(2, axis=0), rtol=1e-6)


def test_adaptation_reduces_a_slow_change_of_spectrum():
    patterns = excitation(300)
    patterns[:, 1] = patterns[:, 0] * np.linspace(0.2, 1.0, BANDS)
    before = np.abs(np.log(patterns[-1, 1] / patterns[-1, 0])).mean()
    adapted = LevelAndPatternAdaptation().process(patterns)[-1]
    assert np.abs(np.log(adapted[1] / adapted[0])).mean() < 0.2 * before


@pytest.mark.parametrize("sizes", [[1] * 20, [7, 13], [19, 1]])
def test_blocks_of_frames_give_what_all_frames_at_once_give(sizes):
    patterns = excitation(20)
    blocks = np.split(patterns, np.cumsum(sizes)[:-1])
    model, whole = ExcitationAndModulation(), ExcitationAndModulation()
    parts = [model.process(block) for block in blocks]
    for part, expected in zip(zip(*parts, strict=True), whole.process(patterns), strict=True):
        np.testing.assert_array_equal(np.concatenate(part), expected)
    adaptation = LevelAndPatternAdaptation()
    adapted = np.concatenate([adaptation.process(block) for block in blocks])
    np.testing.assert_array_equal(adapted, LevelAndPatternAdaptation().process(patterns))


def test_processing_does_not_change_its_input():
    patterns = excitation(5)
    copy = patterns.copy()
    ExcitationAndModulation().process(patterns)
    LevelAndPatternAdaptation().process(patterns)
    np.testing.assert_array_equal(patterns, copy)


def test_loudness_is_zero_at_the_threshold_in_quiet_and_below_and_grows_above():
    assert total_loudness(THRESHOLD_IN_QUIET) == pytest.approx(0, abs=1e-12)
    assert total_loudness(0.5 * THRESHOLD_IN_QUIET) == 0
    loudness = [total_loudness(THRESHOLD_IN_QUIET * 10**power) for power in range(1, 9)]
    assert (np.diff(loudness) > 0).all()


def test_loudness_of_one_band_is_the_formulas():
    excitation = THRESHOLD_IN_QUIET.copy()
    excitation[40] = 1e6
    kilohertz = BAND_CENTRES[40] / 1000
    index = 10 ** (
        (-2 - 2.05 * np.arctan(kilohertz / 4) - 0.75 * np.arctan((kilohertz / 1.6) ** 2)) / 10
    )
    threshold = 10 ** (0.364 * kilohertz**-0.8)
    expected = 1.07664 * (threshold / (1e4 * index)) ** 0.23
    expected *= (1 - index + index * 1e6 / threshold) ** 0.23 - 1
    assert total_loudness(excitation) == pytest.approx(24 / 109 * expected, rel=1e-9)
