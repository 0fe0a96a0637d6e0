"""Lost bandwidth: what is below stays as it is and where it is, what is above goes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.audio.bandwidth import FACTORS, reduce_bandwidth
from tfrestore.errors import UsageError


def tone(frequency, samples=32768):
    """A tone of a frequency in cycles per sample, faded so that its ends say little."""
    time = np.arange(samples)
    return (np.hanning(samples) * np.sin(2 * np.pi * frequency * time)).astype(np.float32)[None]


@pytest.mark.parametrize("factor", FACTORS)
def test_tones_below_the_new_nyquist_frequency_stay_and_those_above_it_go(factor):
    nyquist = 0.5 / factor
    low, high = tone(0.9 * nyquist), tone(min(1.05 * nyquist, 0.499))
    error = reduce_bandwidth(low, factor) - low
    assert 20 * np.log10(np.abs(error).max()) < -55
    # -80 dB at least: neither the tone itself nor its alias below the new Nyquist frequency.
    assert 20 * np.log10(np.abs(reduce_bandwidth(high, factor)).max()) < -80


@given(st.sampled_from(FACTORS), st.integers(0, 3000), st.integers(1, 3), st.floats(0, 4, width=32))
@settings(deadline=None, max_examples=30)
def test_any_length_and_number_of_channels_is_kept_and_the_scale_is_linear(
    factor, samples, channels, scale
):
    waveform = np.random.default_rng(samples).normal(0, 1, (channels, samples)).astype(np.float32)
    reduced = reduce_bandwidth(waveform, factor)
    assert reduced.shape == waveform.shape and reduced.dtype == np.float32
    scaled = reduce_bandwidth(np.float32(scale) * waveform, factor)
    np.testing.assert_allclose(scaled, scale * reduced, atol=2e-5)


def test_a_constant_stays_what_it_is():
    constant = np.full((1, 20000), 0.5, np.float32)
    np.testing.assert_allclose(reduce_bandwidth(constant, 6)[:, 4000:-4000], 0.5, atol=1e-4)


@pytest.mark.parametrize("factor", [0, 1, 5, -2])
def test_other_factors_are_refused(factor):
    with pytest.raises(UsageError, match="choose one of 2, 3, 4, 6"):
        reduce_bandwidth(np.zeros((1, 10), np.float32), factor)
