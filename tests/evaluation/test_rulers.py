import numpy as np
import pytest

from tests.conftest import synthesize
from tfrestore import metrics
from tfrestore.errors import UndefinedMetricError, UsageError
from tfrestore.evaluation.rulers import CHOICES, RULERS, parse_choices
from tfrestore.evaluation.scoring import Score, score_waveforms

RATE = 16000
CHEAP = [name for name in CHOICES if name not in ("peaq", "visqol")]


def pair(seconds=1.0, channels=2):
    reference = np.stack([synthesize(seconds, RATE, seed) for seed in range(channels)])
    rng = np.random.default_rng(0)
    return reference, (reference + 0.01 * rng.standard_normal(reference.shape)).astype("float32")


def test_rulers_of_the_waveform_are_laid_on_the_mean_of_the_channels():
    reference, estimate = pair()
    scores = score_waveforms(reference, estimate, RATE, CHEAP)
    assert list(scores) == CHEAP
    mono = [each.mean(axis=0).astype("float64") for each in (reference, estimate)]
    for name in ("snr", "si_sdr", "sdr", "lsd", "log10_lsd", "sqrt_power_mse"):
        (value,) = scores[name].values
        assert value == pytest.approx(getattr(metrics, name)(*mono), rel=1e-9)
        assert scores[name].reason == ""


def test_patches_are_scored_one_by_one_at_16_khz():
    reference, estimate = pair(seconds=2.0)
    scores = score_waveforms(reference, estimate, RATE, ["psnr", "nrmse"])
    patches = [metrics.magnitude_patches(each.mean(axis=0)) for each in (reference, estimate)]
    assert len(patches[0]) == 3
    for name in ("psnr", "nrmse"):
        np.testing.assert_allclose(scores[name].values, getattr(metrics, name)(*patches), rtol=1e-4)
    assert scores["psnr"].summary == pytest.approx(scores["psnr"].values.mean())


def test_peaq_gives_its_grade_its_index_and_eleven_variables():
    scores = score_waveforms(*pair(), RATE, ["peaq"])
    assert tuple(scores) == CHOICES["peaq"] and len(scores) == 13
    assert all(np.isfinite(score.summary) for score in scores.values())
    expected = metrics.peaq(*pair(), RATE)
    assert scores["odg"].summary == expected.odg and scores["di"].summary == expected.di
    assert {name: scores[name].summary for name in expected.variables} == expected.variables


@pytest.mark.parametrize(
    ("which", "reason"), [(0, "the reference is silent"), (1, "the estimate is silent")]
)
def test_silence_gives_no_made_up_number_but_the_reason(which, reason):
    waveforms = [each.copy() for each in pair()]
    waveforms[which][:] = 0
    scores = score_waveforms(*waveforms, RATE, ["si_sdr", "sdr"])
    assert scores["si_sdr"].reason == reason and np.isnan(scores["si_sdr"].summary)


def test_a_single_sample_is_too_short_for_a_spectrum():
    one = np.float32([[0.5]])
    scores = score_waveforms(one, one * 0.5, RATE, ["psnr", "snr", "lsd"])
    assert np.isnan(scores["psnr"].summary) and "shorter than a patch" in scores["psnr"].reason
    assert scores["snr"].summary == pytest.approx(20 * np.log10(2))
    assert np.isnan(scores["lsd"].summary) and "shorter than 2048" in scores["lsd"].reason


def test_what_peaq_and_visqol_say_of_silence_is_the_reason():
    silent = np.zeros((1, RATE), np.float32)
    scores = score_waveforms(silent, silent, RATE, ["peaq", "visqol"])
    for name in ("peaq", "visqol"):
        with pytest.raises(UndefinedMetricError) as undefined:
            getattr(metrics, name)(silent, silent, RATE)
        for ruler in CHOICES[name]:
            assert scores[ruler].reason == str(undefined.value)
            assert np.isnan(scores[ruler].summary)


def test_equal_signals_are_infinite_where_the_equation_says_so():
    reference, _ = pair()
    scores = score_waveforms(reference, reference, RATE, ["psnr", "snr", "lsd"])
    assert scores["psnr"].summary == scores["snr"].summary == np.inf and not scores["snr"].reason
    assert scores["lsd"].summary == 0


def test_a_recordings_number_is_the_mean_of_its_finite_values():
    assert Score(np.array([1.0, np.inf, 3.0, np.nan])).summary == 2.0
    assert Score(np.array([np.inf, np.nan])).summary == np.inf
    assert np.isnan(Score(np.array([np.nan]), "why").summary)


def test_a_gain_is_positive_where_things_got_better():
    assert RULERS["snr"].gain(10.0, 12.0) == 2.0
    assert RULERS["lsd"].gain(10.98, 3.72) == pytest.approx(7.26)
    assert RULERS["ADBB"].gain(1.0, 0.5) == -0.5


def test_metrics_are_chosen_by_name_and_a_wrong_name_is_told():
    assert parse_choices(None) == tuple(CHOICES)
    assert parse_choices(["visqol", "snr"]) == ("snr", "visqol")
    with pytest.raises(UsageError, match="no metric 'stoi'.*peaq"):
        parse_choices(["stoi"])


def test_every_choice_names_rulers_that_exist():
    assert {ruler for rulers in CHOICES.values() for ruler in rulers} == set(RULERS)
