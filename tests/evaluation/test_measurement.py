import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import synthesize
from tfrestore.errors import AudioFileError
from tfrestore.evaluation.frequency_profile import BANDS, HIGHEST_FREQUENCY, frequency_profile
from tfrestore.evaluation.measurement import Excerpt, Recording, Subject, bring_together, measure

RATE = 16000
SUBJECT = Subject("song", "rock", "pairs", "degraded")


def test_signals_of_one_form_are_left_as_they_are():
    reference, estimate = (np.float32([synthesize(0.1, RATE, seed)] * 2) for seed in (0, 1))
    brought = bring_together(reference, RATE, estimate, RATE)
    assert brought[0] is reference and brought[1] is estimate and brought[2:] == (RATE, ())


def test_the_longer_one_is_cut_at_its_end_and_the_note_says_by_how_much():
    reference = synthesize(0.1, RATE)[None]
    estimate = np.concatenate([reference, np.ones((1, 1105), np.float32)], axis=1)
    cut, kept, _, notes = bring_together(reference, RATE, estimate, RATE)
    np.testing.assert_array_equal(kept, reference)
    assert notes == ("the last 1105 samples of the estimate left out",)
    cut, kept, _, notes = bring_together(estimate, RATE, reference, RATE)
    np.testing.assert_array_equal(cut, kept)
    assert notes == ("the last 1105 samples of the reference left out",)


def test_different_numbers_of_channels_are_mixed_to_one():
    stereo = np.float32([[0.2] * 50, [0.6] * 50])
    mono = np.float32([[0.4] * 50])
    reference, estimate, _, notes = bring_together(stereo, RATE, mono, RATE)
    np.testing.assert_allclose(reference, estimate, rtol=1e-6)
    assert notes == ("2 and 1 channels mixed to one",)


def test_the_estimate_is_brought_to_the_references_rate():
    seconds = np.arange(8000) / 8000
    tone = np.float32(np.sin(2 * np.pi * 440 * seconds))[None]
    same = np.float32(np.sin(2 * np.pi * 440 * np.arange(16000) / 16000))[None]
    reference, estimate, rate, notes = bring_together(same, 16000, tone, 8000)
    assert rate == 16000 and notes == ("resampled from 8000 to 16000 Hz",)
    inside = slice(800, -800)
    np.testing.assert_allclose(estimate[:, inside], reference[:, inside], atol=1e-3)


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 300)),
    st.tuples(st.integers(1, 3), st.integers(1, 300)),
    st.sampled_from([(8000, 8000), (8000, 11025), (44100, 8000)]),
)
def test_any_two_recordings_get_one_form(first, second, rates):
    brought = bring_together(np.zeros(first, np.float32), rates[0], np.ones(second), rates[1])
    assert brought[0].shape == brought[1].shape and brought[2] == rates[0]
    assert bool(brought[3]) == (first != second or rates[0] != rates[1])


def test_an_excerpt_is_the_same_moment_at_every_rate(tmp_path):
    for rate in (8000, 12000):
        # The sample at t seconds is t / 16.
        soundfile.write(tmp_path / f"{rate}.wav", np.arange(10 * rate) / rate / 16, rate, "FLOAT")
    excerpt = Excerpt.middle(10.0, 3.5)
    assert excerpt == Excerpt(3, 3.5)
    for rate in (8000, 12000):
        waveform, found = excerpt.read(tmp_path / f"{rate}.wav")
        assert found == rate and waveform.shape == (1, 3.5 * rate)
        assert waveform[0, 0] == pytest.approx(3 / 16)
    assert Excerpt.middle(10.0, None) == Excerpt() == Excerpt(0, None)
    assert Excerpt.middle(2.0, 5.0) == Excerpt(0, 5.0)


def test_a_recording_is_measured_from_its_file_or_its_samples(tmp_path):
    reference, estimate = (synthesize(0.5, RATE, seed)[None] for seed in (0, 1))
    for name, waveform in (("reference", reference), ("estimate", estimate)):
        soundfile.write(tmp_path / f"{name}.wav", waveform[0], RATE, "FLOAT")
    from_files = measure(
        SUBJECT,
        Recording(path=tmp_path / "reference.wav"),
        Recording(path=tmp_path / "estimate.wav"),
        ["snr"],
    )
    from_samples = measure(SUBJECT, Recording(reference, RATE), Recording(estimate, RATE), ["snr"])
    expected = 10 * np.log10(np.sum(reference**2) / np.sum((reference - estimate) ** 2))
    for measurement in (from_files, from_samples):
        assert measurement.subject == SUBJECT
        assert measurement.scores["snr"].summary == pytest.approx(expected, abs=1e-4)


def test_a_file_with_samples_that_are_no_numbers_is_refused_by_name(tmp_path):
    bad = np.zeros(100, np.float32)
    bad[50] = np.nan
    soundfile.write(tmp_path / "bad.wav", bad, RATE, "FLOAT")
    with pytest.raises(AudioFileError, match=r"bad\.wav"):
        measure(SUBJECT, Recording(bad[None] * 0, RATE), Recording(path=tmp_path / "bad.wav"), [])


def test_a_profile_of_white_noise_is_flat_and_ends_at_half_the_rate():
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal((2, 200000))
    profile = frequency_profile(noise, 16000)
    edges = np.arange(BANDS) * HIGHEST_FREQUENCY / BANDS
    # Power 0.01 spread over 8 kHz.
    inside = profile[(edges > 200) & (edges < 7800)]
    np.testing.assert_allclose(inside, 10 * np.log10(0.01 / 8000), atol=1.0)
    assert np.isnan(profile[edges > 8100]).all()
    assert np.isnan(frequency_profile(np.zeros((1, 5000)), 16000)).all()


def test_a_profile_shows_a_tone_in_its_band():
    tone = np.sin(2 * np.pi * 6050 * np.arange(48000) / 48000)[None]
    assert np.nanargmax(frequency_profile(tone, 48000)) == 60
