"""A stream is what the network makes of the whole, however it comes."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.exporting import export_restorer
from tfrestore.models import Apollo
from tfrestore.models.apollo.restorer import ApolloRestorer
from tfrestore.models.apollo.streaming import MOST_HOPS, StreamingStep

HOP = 20


@pytest.fixture(scope="module")
def restorer():
    """A restorer that computes quickly: hops of 20 samples at 2 kHz."""
    network = Apollo(
        features=8, depth=2, heads=2, bands=4, band_bins=2, frame_length=2 * HOP, causal=True
    )
    return ApolloRestorer(network, sample_rate=2000, chunk_seconds=0.1)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


def stream_through(restorer, waveform, sizes):
    """Puts a waveform through in blocks, and says what was given back after each."""
    stream = restorer.open_stream(len(waveform))
    position, restored, behind = 0, [waveform[:, :0]], []
    for size in sizes:
        restored.append(stream.process(waveform[:, position : position + size]))
        position = min(position + size, waveform.shape[1])
        behind.append(position - sum(block.shape[1] for block in restored))
    restored.append(stream.process(waveform[:, position:]))
    restored.append(stream.finish())
    return np.concatenate(restored, axis=1), behind


@settings(deadline=None, max_examples=40)
@given(
    samples=st.integers(0, 1500),
    channels=st.integers(1, 3),
    sizes=st.lists(st.integers(0, 200), max_size=30),
)
def test_a_stream_in_any_chunks_equals_the_whole(samples, channels, sizes, restorer):
    waveform = noise(channels, samples, seed=samples)
    # Digital silence in one channel, of which the restorer makes silence.
    waveform[0, 200:500] = 0
    restored, behind = stream_through(restorer, waveform, sizes)
    assert restored.shape == waveform.shape
    assert max(behind, default=0) < restorer.open_stream(1).latency_samples == 2 * HOP
    if samples:
        whole = np.array(restorer.graph(waveform))
        np.testing.assert_allclose(restored, whole, atol=1e-6)
        assert not restored[0, 200 + 2 * HOP : min(500, samples) - 2 * HOP].any()


def test_the_latency_is_one_window(restorer):
    assert restorer.latency(2000) == pytest.approx(0.02)
    network = Apollo(features=4, depth=1, heads=2, causal=True)
    assert ApolloRestorer(network).latency(44100) == pytest.approx(0.02)


def test_a_sample_that_is_out_depends_on_nothing_behind_its_window(restorer):
    first, second = noise(1, 600), noise(1, 600)
    second[:, 300:] = noise(1, 300, seed=1)
    one, other = (stream_through(restorer, each, [HOP] * 30)[0] for each in (first, second))
    np.testing.assert_array_equal(one[:, : 300 - 2 * HOP], other[:, : 300 - 2 * HOP])
    assert np.abs(one - other)[:, 300:].max() > 0.001


def test_what_is_carried_on_does_not_grow(restorer):
    stream = restorer.open_stream(2)
    sizes = set()
    for _ in range(5):
        stream.process(noise(2, 3 * MOST_HOPS * HOP + 7))
        sizes.add(sum(np.size(part) for part in stream._state))
    assert len(sizes) == 1


def test_recordings_are_restored_as_streams(restorer):
    waveform = noise(2, 1234)
    whole = np.array(restorer.network(waveform))
    np.testing.assert_allclose(restorer.restore(waveform, 2000), whole, atol=1e-6)


@pytest.mark.parametrize("sample_rate", [1500, 2000, 3000])
def test_a_stream_at_another_rate_comes_out_as_long_and_in_time(sample_rate, restorer):
    waveform = noise(1, 2 * sample_rate)
    limit = restorer.latency(sample_rate)
    taken = 0

    def blocks():
        nonlocal taken
        for start in range(0, waveform.shape[1], 15):
            taken = start + 15
            yield waveform[:, start : start + 15]

    given = 0
    for block in restorer.restore_blocks(blocks(), sample_rate, *waveform.shape):
        if block.shape[1] and taken < waveform.shape[1]:
            assert (taken - given - 15) / sample_rate <= limit
        given += block.shape[1]
    assert given == waveform.shape[1]


def test_only_the_causal_network_streams():
    network = Apollo(features=8, depth=1, heads=2, bands=4, band_bins=2, frame_length=40)
    restorer = ApolloRestorer(network, sample_rate=2000, chunk_seconds=0.5)
    assert restorer.open_stream(1) is None
    assert "streaming" not in restorer.endpoints()
    assert restorer.latency(2000) > 0.5
    with pytest.raises(ValueError, match="causal"):
        StreamingStep(network)


def test_the_exported_model_streams_with_state_in_and_out(restorer, tmp_path):
    served = tf.saved_model.load(str(export_restorer(restorer, tmp_path / "model")))
    signature = served.signatures["streaming"]
    inputs = signature.structured_input_signature[1]
    state_names = set(inputs) - {"waveform"}
    assert set(signature.structured_outputs) == state_names | {"restored"}
    waveform = noise(2, 30 * HOP)
    state = {name: tf.zeros([2, *inputs[name].shape[1:]]) for name in state_names}
    restored = []
    for start in range(0, waveform.shape[1], HOP):
        outputs = dict(signature(waveform=tf.constant(waveform[:, start : start + HOP]), **state))
        restored.append(outputs.pop("restored"))
        state = outputs
    # What comes out first lies before the beginning.
    restored = np.concatenate(restored, axis=1)[:, HOP:]
    whole = np.array(restorer.network(waveform))
    np.testing.assert_allclose(restored, whole[:, :-HOP], atol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError):
        signature(waveform=tf.zeros([2, HOP + 1]), **state)
