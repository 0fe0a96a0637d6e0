import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from tfrestore.audio.high_pass import high_pass_taps, high_passed
from tfrestore.errors import UsageError

RATE = 44100


def joined(waveform, sizes, frequency, rate=RATE):
    """The filter's result for a waveform that comes in blocks of the sizes, and then the rest."""
    edges = np.cumsum([0, *sizes])
    blocks = [waveform[:, a:b] for a, b in zip(edges, [*edges[1:], None], strict=True)]
    parts = list(high_passed(blocks, frequency, rate, len(waveform)))
    return np.concatenate([waveform[:, :0], *parts], axis=1)


@pytest.mark.parametrize("frequency", [700.0, 5000.0, 16000.0, 21900.0])
def test_the_response_is_what_is_promised(frequency):
    at, response = signal.freqz(high_pass_taps(frequency, RATE), worN=1 << 14, fs=RATE)
    gain = 20 * np.log10(np.abs(response) + 1e-12)
    assert gain[at <= frequency].max() < -79
    assert np.abs(gain[at >= frequency + 500]).max(initial=0) < 0.01


def test_a_tone_above_passes_at_its_place_and_one_below_does_not():
    time = np.arange(RATE) / RATE
    low, high = (np.sin(2 * np.pi * f * time).astype(np.float32) for f in (3000, 9000))
    passed = joined((low + high)[None], [1000, 7], 6000.0)
    inner = slice(2000, -2000)
    assert np.abs(passed[0, inner] - high[inner]).max() < 2e-4


@settings(deadline=None, max_examples=30)
@given(
    samples=st.integers(0, 3000),
    sizes=st.lists(st.integers(0, 900), max_size=6),
    channels=st.integers(1, 3),
    frequency=st.floats(1, 21000),
)
def test_the_length_stays_and_blocks_do_not_matter(samples, sizes, channels, frequency):
    waveform = np.random.default_rng(samples).normal(size=(channels, samples)).astype(np.float32)
    cut = joined(waveform, sizes, frequency)
    assert cut.shape == waveform.shape and cut.dtype == np.float32
    np.testing.assert_allclose(cut, joined(waveform, [], frequency), atol=1e-5)


@pytest.mark.parametrize("frequency", [0.0, -1.0, RATE / 2, float("nan")])
def test_a_frequency_that_divides_nothing_is_refused(frequency):
    with pytest.raises(UsageError, match="between 0 and"):
        high_pass_taps(frequency, RATE)


def test_above_half_the_sample_rate_there_is_nothing():
    assert not joined(np.ones((2, 3000), np.float32), [1000], RATE / 2).any()
    assert joined(np.ones((2, 3000), np.float32), [1000], RATE).shape == (2, 3000)
