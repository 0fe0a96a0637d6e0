import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from tfrestore.audio.spectral_edges import SpectralEdge, SpectralEdges

RATE = 44100


def noise(seconds=4.0, rate=RATE, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    return (0.1 * rng.normal(size=(channels, int(seconds * rate)))).astype(np.float32)


def cut_off(waveform, frequency, rate=RATE):
    taps = signal.firwin(801, frequency, window=("kaiser", 9), fs=rate)
    return signal.oaconvolve(waveform, taps[None], mode="same", axes=1).astype(np.float32)


def edge_of(waveform, rate=RATE):
    edges = SpectralEdges(rate)
    edges.add(waveform)
    return edges.find()


@pytest.mark.parametrize("frequency", [4000, 7500, 11025, 16000, 20000])
@pytest.mark.parametrize("level", [1.0, 0.05])
def test_a_low_pass_is_found_where_it_is(frequency, level):
    found = edge_of(level * cut_off(noise(), frequency))
    assert abs(found.frequency - frequency) < 300
    assert found.fall > 60


@pytest.mark.parametrize("rate", [22050, 32000, 48000, 96000])
def test_it_is_found_at_other_sample_rates(rate):
    found = edge_of(cut_off(noise(rate=rate), 8000, rate), rate)
    assert abs(found.frequency - 8000) < 300


def test_what_is_above_is_never_louder_than_the_fall_says():
    """White noise below 10 kHz, and the same 40 dB lower above: the fall is 40 dB."""
    low = cut_off(noise(), 10000)
    found = edge_of(low + 0.01 * (noise(seed=1)))
    assert abs(found.frequency - 10000) < 300
    assert found.fall == pytest.approx(40, abs=2)


def test_white_noise_and_a_slope_do_not_fall():
    assert edge_of(noise()).fall < 5
    spectrum = np.fft.rfft(noise())
    hertz = np.fft.rfftfreq(4 * RATE, 1 / RATE)
    # 6 dB per octave from 1 kHz on, and 1 dB per kHz beside.
    slope = np.minimum(1, 1000 / np.maximum(hertz, 1)) * 10 ** (-hertz / 1000 / 20)
    dull = np.fft.irfft(spectrum * slope).astype(np.float32)
    assert edge_of(dull).fall < 10


def test_holes_are_counted():
    """A band of 3 kHz is off for 50 ms in every 500: its share of time times its share of bands."""
    whole = cut_off(noise(8.0), 15000)
    band = signal.oaconvolve(
        whole, signal.firwin(1001, [8000, 11000], pass_zero=False, fs=RATE)[None], "same", axes=1
    )
    time = np.arange(whole.shape[1]) / RATE
    off = (time % 0.5) < 0.05
    found = edge_of((whole - band * off).astype(np.float32))
    assert abs(found.frequency - 15000) < 300
    # At the hole's edges in time and frequency windows hold something of both.
    share = 0.1 * 3000 / 12000
    assert 0.4 * share < found.holes < 1.2 * share
    assert edge_of(whole).holes < 1e-3 and edge_of(whole).deep_holes < 1e-3


def test_blocks_add_up():
    waveform = cut_off(noise(channels=2), 12000)
    whole, parts = edge_of(waveform), SpectralEdges(RATE)
    for start in range(0, waveform.shape[1], RATE):
        parts.add(waveform[:, start : start + RATE])
    assert parts.find().frequency == whole.frequency
    assert parts.find().fall == pytest.approx(whole.fall, abs=1)


def test_silence_and_nothing_have_no_edge():
    assert edge_of(np.zeros((2, RATE), np.float32)) == SpectralEdge(None)
    assert edge_of(np.zeros((1, 0), np.float32)) == SpectralEdge(None)
    assert SpectralEdges(RATE).find() == SpectralEdge(None)


@settings(deadline=None, max_examples=40)
@given(
    rate=st.integers(1, 200000),
    samples=st.integers(0, 5000),
    channels=st.integers(1, 3),
    level=st.floats(0, 1e3),
    seed=st.integers(0, 9),
)
def test_any_waveform_has_a_finite_answer(rate, samples, channels, level, seed):
    rng = np.random.default_rng(seed)
    found = edge_of((level * rng.normal(size=(channels, samples))).astype(np.float32), rate)
    if found.frequency is not None:
        assert 0 < found.frequency < rate / 2
    assert 0 <= found.holes <= 1 and 0 <= found.deep_holes <= 1 and np.isfinite(found.fall)
