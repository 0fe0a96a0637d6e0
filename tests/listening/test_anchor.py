import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.errors import InputError
from tfrestore.listening.anchor import LOW_ANCHOR_HZ, MID_ANCHOR_HZ, make_anchor


def response_db(cutoff_hz, sample_rate):
    """Frequencies and the anchor's response to an impulse, measured by FFT."""
    impulse = np.zeros((1, sample_rate), np.float32)
    impulse[0, sample_rate // 2] = 1
    spectrum = np.abs(np.fft.rfft(make_anchor(impulse, sample_rate, cutoff_hz)[0]))
    return np.arange(len(spectrum)), 20 * np.log10(spectrum + 1e-12)


@pytest.mark.parametrize("sample_rate", [16000, 22050, 44100, 48000, 96000])
def test_the_low_anchor_keeps_within_the_recommendations_limits(sample_rate):
    frequency, level = response_db(LOW_ANCHOR_HZ, sample_rate)
    assert np.abs(level[frequency <= 3500]).max() <= 0.1
    assert level[frequency >= 4000].max() <= -25
    assert level[frequency >= 4500].max() <= -50


def test_the_mid_anchor_is_flat_to_7_khz_and_gone_from_9_khz_on():
    frequency, level = response_db(MID_ANCHOR_HZ, 48000)
    assert np.abs(level[frequency <= 7000]).max() <= 0.1
    assert level[frequency >= 8000].max() <= -25
    assert level[frequency >= 9000].max() <= -50


@settings(deadline=None, max_examples=20)
@given(st.floats(100, 3400), st.integers(1, 2))
def test_what_is_below_the_cut_off_frequency_stays_where_it_was(frequency, channels):
    time = np.arange(8000) / 16000
    tone = np.sin(2 * np.pi * frequency * time).astype(np.float32)
    waveform = np.stack([tone, -0.5 * tone])[:channels]
    anchor = make_anchor(waveform, 16000, LOW_ANCHOR_HZ)
    assert anchor.shape == waveform.shape and anchor.dtype == np.float32
    inner = slice(1000, -1000)
    np.testing.assert_allclose(anchor[:, inner], waveform[:, inner], atol=5e-3)


@pytest.mark.parametrize("sample_rate", [4000, 8000])
def test_a_rate_that_holds_nothing_above_the_anchor_is_refused(sample_rate):
    with pytest.raises(InputError, match=f"{sample_rate} Hz is too low"):
        make_anchor(np.zeros((1, 100), np.float32), sample_rate, LOW_ANCHOR_HZ)
