import numpy as np
import pytest
from conftest import synthesize
from hypothesis import given
from hypothesis import strategies as st

from tfrestore.data.degradation import DAMAGED_SHARES, Degradation, parse_degradation
from tfrestore.errors import UsageError

RATE = 16000


@pytest.mark.parametrize(
    "name", ["gaps:frames", "gaps:window", "gaps:bands", "gaps:waveform", "mp3:64"]
)
def test_a_name_is_read_and_given_back(name):
    assert parse_degradation(name).name == name


@given(st.text())
def test_any_other_name_is_refused_with_those_there_are(name):
    try:
        assert parse_degradation(name).name == name
    except UsageError as error:
        assert "gaps:KIND" in str(error) and "mp3:" in str(error)


@given(st.integers(0, 2**32), st.integers(0, 100))
def test_waveform_gaps_silence_the_share_that_a_damaged_recording_loses(seed, index):
    stereo = np.stack([synthesize(1.0, RATE), -synthesize(1.0, RATE, 1)]) + 1
    degraded = parse_degradation("gaps:waveform").degrade(stereo, RATE, seed, index)
    lost = degraded == 0
    np.testing.assert_array_equal(lost[0], lost[1])
    np.testing.assert_array_equal(degraded[~lost], stereo[~lost])
    assert DAMAGED_SHARES[0] <= lost.mean() <= DAMAGED_SHARES[1]
    again = parse_degradation("gaps:waveform").degrade(stereo, RATE, seed, index)
    np.testing.assert_array_equal(again, degraded)


def test_an_mp3_keeps_the_length_and_loses_the_upper_band():
    waveform = synthesize(2.0, 44100)[None]
    degraded = Degradation("mp3", kbit_per_second=16).degrade(waveform, 44100, 0, 0)
    assert degraded.shape == waveform.shape
    power = [np.abs(np.fft.rfft(each[0])) ** 2 for each in (waveform, degraded)]
    upper = len(power[0]) * 3 // 4
    assert power[1][upper:].sum() < 0.01 * power[0][upper:].sum()


def test_a_spectrogram_gap_is_refused_in_a_waveform():
    with pytest.raises(UsageError, match="gaps:waveform"):
        parse_degradation("gaps:frames").degrade(np.zeros((1, 100), "float32"), RATE, 0, 0)
