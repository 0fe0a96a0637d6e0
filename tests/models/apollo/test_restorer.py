"""Recordings come out as the network makes them, however they are cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.models import Apollo
from tfrestore.models.apollo import restorer as module
from tfrestore.models.apollo.restorer import ApolloRestorer
from tfrestore.restorer import Restorer

RATE = 8000


def noise(*shape):
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)


def small(causal=False, **arguments):
    network = Apollo(8, depth=2, heads=2, bands=6, frame_length=64, causal=causal)
    return ApolloRestorer(network, sample_rate=RATE, **arguments)


@pytest.fixture(scope="module")
def restorer():
    """Restores in chunks of a tenth of a second."""
    return small(chunk_seconds=0.1)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("batch", [1, 3, 40])
def test_in_blocks_of_frames_comes_out_what_the_network_makes(causal, batch, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_FRAMES", 32)
    restorer, waveform = small(causal), noise(batch, 3210)
    np.testing.assert_allclose(restorer.graph(waveform), restorer.network(waveform), atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(samples=st.integers(1, 4000), channels=st.integers(1, 3))
def test_a_recording_in_chunks_is_the_recording_at_once_to_its_very_ends(
    restorer, samples, channels
):
    waveform = noise(channels, samples)
    restored = restorer.restore(waveform, RATE)
    assert restored.shape == waveform.shape
    np.testing.assert_allclose(restored, restorer.network(waveform), atol=1e-5)


def test_less_context_is_not_enough(monkeypatch):
    restorer, waveform = small(chunk_seconds=0.1), noise(1, 4000)
    exact = restorer.context_samples
    assert exact == (18 + 1) * 32
    expected = np.array(restorer.network(waveform))
    for context, equal in ((exact, True), (exact // 2 // 32 * 32, False)):
        monkeypatch.setattr(ApolloRestorer, "context_samples", context)
        difference = np.abs(restorer.restore(waveform, RATE) - expected).max()
        assert (difference < 1e-6) == equal


def test_silence_stays_silence_beside_sound(restorer):
    waveform = noise(1, 4000)
    waveform[:, 1000:3000] = 0
    restored = restorer.restore(waveform, RATE)
    assert not restored[:, 1064:2936].any()
    assert restored[:, :900].any()
    assert not restorer.restore(np.zeros((2, 500), np.float32), RATE).any()


def test_another_rate_and_one_sample_work(restorer):
    for samples in (1, 500):
        assert restorer.restore(noise(2, samples), 44100).shape == (2, samples)


def test_a_saved_restorer_restores_the_same(tmp_path, restorer):
    restorer.save_to_preset(tmp_path / "saved")
    again = Restorer.from_preset(tmp_path / "saved")
    assert isinstance(again, ApolloRestorer)
    assert (again.sample_rate, again.chunk_seconds) == (RATE, 0.1)
    waveform = noise(1, 1000)
    np.testing.assert_array_equal(again(waveform), restorer(waveform))
