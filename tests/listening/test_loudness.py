import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.listening.loudness import (
    PEAK_DBTP,
    common_loudness,
    integrated_loudness,
    true_peak,
)


def sine(frequency, amplitude, sample_rate=48000, seconds=2.0, phase=0.0):
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (amplitude * np.sin(2 * np.pi * frequency * time + phase)).astype(np.float32)


@pytest.mark.parametrize(("amplitude", "db"), [(1.0, 0.0), (0.1, -20.0)])
def test_a_sine_of_997_hz_has_the_level_that_bs_1770_states(amplitude, db):
    mono = sine(997, amplitude)[None]
    # BS.1770-4: 0 dBFS in one channel indicates -3.01 LKFS; in two it is twice the power. Meters
    # may be off by 0.1 LU (EBU Tech 3341).
    assert integrated_loudness(mono, 48000) == pytest.approx(-3.01 + db, abs=0.1)
    assert integrated_loudness(np.repeat(mono, 2, axis=0), 48000) == pytest.approx(db, abs=0.1)


@pytest.mark.parametrize("waveform", [np.zeros((2, 48000)), np.full((2, 48000), 1e-6)])
def test_silence_has_no_loudness(waveform):
    assert integrated_loudness(waveform.astype(np.float32), 48000) == -np.inf


def test_the_peak_between_samples_is_found():
    # A quarter of the sample rate at 45 degrees: the samples are at 0.707, the wave reaches 1.
    waveform = sine(12000, 1.0, phase=np.pi / 4)[None]
    assert np.abs(waveform).max() == pytest.approx(np.sqrt(0.5), abs=1e-3)
    inner = np.hanning(waveform.shape[1])[None].astype(np.float32) * waveform
    assert true_peak(inner, 48000) == pytest.approx(0, abs=0.1)
    assert true_peak(np.zeros((1, 100), np.float32), 48000) == -np.inf


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.floats(-60, 0), st.floats(-60, 6)), min_size=1, max_size=6),
    st.floats(-60, 0),
)
def test_the_common_loudness_is_the_highest_at_which_nothing_clips(signals, target):
    loudness, peaks = zip(*signals, strict=True)
    common = common_loudness(loudness, peaks, target)
    peaks_after = [peak + common - own for own, peak in signals]
    assert common <= target and max(peaks_after) <= PEAK_DBTP + 1e-9
    assert common == target or max(peaks_after) == pytest.approx(PEAK_DBTP)
