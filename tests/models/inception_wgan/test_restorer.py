import keras
import numpy as np
import pytest
from conftest import synthesize
from keras import ops

from tfrestore.models import InceptionAutoencoder, InceptionGenerator
from tfrestore.models.inception_wgan.restorer import InceptionRestorer
from tfrestore.restorer import Restorer

RATE, WINDOW = 44100, 1024
HOP = WINDOW // 2


class Standing(keras.layers.Layer):
    """Stands for a generator: gives windows back as they are, and keeps what it saw."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def check_window(self, samples):
        pass

    def call(self, waveform):
        self.seen.append(np.asarray(waveform) if hasattr(waveform, "numpy") else None)
        return waveform


class Ramping(Standing):
    """Makes of a window something that depends on the place in it and on all of its samples."""

    def call(self, waveform):
        ramp = ops.linspace(0.0, 1.0, WINDOW)
        return ops.tanh(ramp * waveform + 0.1 * ops.sum(waveform, axis=1, keepdims=True))


def music(seconds, channels=None, seed=0):
    if channels is None:
        return synthesize(seconds, RATE, seed)
    return np.stack([synthesize(seconds, RATE, seed + 10 * c) for c in range(channels)])


def make(network, seconds=4.0):
    return InceptionRestorer(network, window_samples=WINDOW, chunk_seconds=seconds)


@pytest.fixture(scope="module")
def network():
    """A small generator that does something to all it hears."""
    return InceptionGenerator(filters=8, depth=3, max_doublings=1)


# A network that changes nothing.


@pytest.mark.parametrize("samples", [1, 2, HOP - 1, HOP, HOP + 1, WINDOW, 5000, 40000])
def test_a_network_that_changes_nothing_gives_the_input_back(samples):
    waveform = music(1.0, 2)[:, :samples]
    restorer = make(Standing(), 0.1)
    np.testing.assert_allclose(restorer(waveform), waveform, atol=1e-7)
    np.testing.assert_allclose(restorer.restore(waveform, RATE), waveform, atol=1e-7)


def test_windows_are_cut_as_they_are_and_overlap_by_half():
    restorer = make(Standing())
    waveform = music(0.1)[: 4 * HOP]
    restorer(waveform[None])
    (seen,) = restorer.network.seen
    padded = np.pad(waveform, HOP, mode="reflect")
    np.testing.assert_array_equal(
        seen, [padded[start : start + WINDOW] for start in range(0, 5 * HOP, HOP)]
    )


def test_two_windows_that_disagree_are_weighted_with_hann_windows():
    waveform = music(0.5)
    padded = np.pad(waveform, HOP, mode="reflect")
    hann, expected = np.sin(np.pi * np.arange(WINDOW) / WINDOW) ** 2, np.zeros(len(padded))
    for start in range(0, len(padded) - WINDOW + 1, HOP):
        window = padded[None, start : start + WINDOW]
        expected[start : start + WINDOW] += hann * np.asarray(Ramping()(window))[0]
    restored = np.asarray(make(Ramping())(waveform[None]))[0]
    # The last windows reach beyond this padding.
    np.testing.assert_allclose(
        restored[:-WINDOW], expected[HOP : HOP + len(waveform) - WINDOW], atol=1e-6
    )


# Where a recording is cut.


@pytest.mark.parametrize("samples", [1, 300, WINDOW, 20000, RATE + 1])
def test_a_restoration_is_the_same_whatever_the_length_of_chunks(samples):
    waveform = music(1.1)[:samples]
    # Loud and quiet stretches, and silence longer than a window.
    waveform *= np.repeat(np.float32([1, 0.1, 1, 0, 0, 1, 1, 0, 1]), 5000)[:samples]
    restored = [
        make(Ramping(), seconds).restore(waveform, RATE) for seconds in (0.001, 0.1, 0.37, 4.0)
    ]
    assert np.abs(restored[-1] - waveform).max() > 0.1 * np.abs(waveform).max()
    for each in restored[:-1]:
        np.testing.assert_allclose(each, restored[-1], atol=1e-6)


def test_a_real_networks_restoration_is_the_same_in_chunks_and_in_a_call(network):
    waveforms = music(0.7, 2)
    whole = make(network).restore(waveforms, RATE)
    assert np.abs(whole - waveforms).max() > 0.01
    np.testing.assert_allclose(make(network, 0.1).restore(waveforms, RATE), whole, atol=1e-5)
    np.testing.assert_allclose(make(network)(waveforms), whole, atol=1e-5)
    np.testing.assert_allclose(make(network).restore(waveforms[0], RATE), whole[0], atol=1e-5)


def test_the_context_is_what_a_sample_depends_on():
    restorer = make(Ramping(), 0.1)
    waveform = music(1.0)
    changed = waveform.copy()
    changed[20000] += 0.1
    apart = np.flatnonzero(
        np.abs(restorer.restore(changed, RATE) - restorer.restore(waveform, RATE)) > 1e-7
    )
    assert 20000 - apart[0] <= WINDOW and apart[-1] - 20000 <= WINDOW
    assert apart[-1] - apart[0] > WINDOW
    assert (restorer.context_samples, restorer.grid_samples) == (WINDOW, HOP)


# Silence, other rates, settings.


def test_windows_of_digital_silence_stay_whatever_the_network_makes_of_them():
    class Humming(Standing):
        def call(self, waveform):
            return waveform + 1.0

    waveform = music(1.0)
    waveform[10000:30000] = 0
    for seconds in (0.1, 4.0):
        restored = make(Humming(), seconds).restore(waveform, RATE)
        assert not restored[10000 + WINDOW : 30000 - WINDOW].any()
        np.testing.assert_allclose(restored[:9000], waveform[:9000] + 1, atol=1e-6)
        assert not np.asarray(make(Humming(), seconds)(np.zeros((2, 3000)))).any()


def test_an_autoencoder_is_used_in_the_same_way():
    network = InceptionAutoencoder(filters=8, depth=2)
    waveform = music(0.3)
    restored = make(network).restore(waveform, RATE)
    assert restored.shape == waveform.shape and np.isfinite(restored).all()


def test_a_window_that_the_network_cannot_take_is_refused(network):
    with pytest.raises(ValueError, match="multiple of 8.*Received: 1001 samples"):
        InceptionRestorer(network, window_samples=1001)


def test_all_settings_come_back_from_a_folder(network, tmp_path):
    waveform = music(0.3)
    restorer = InceptionRestorer(network, 22050, WINDOW, chunk_seconds=1.0)
    restorer.save_to_preset(tmp_path)
    again = Restorer.from_preset(tmp_path)
    assert isinstance(again, InceptionRestorer)
    assert (again.sample_rate, again.window_samples, again.chunk_seconds) == (22050, WINDOW, 1.0)
    np.testing.assert_array_equal(again.restore(waveform, RATE), restorer.restore(waveform, RATE))


def test_keras_saves_and_loads_it(network, tmp_path):
    waveform = music(0.3)
    restorer = make(network)
    restorer.save(tmp_path / "restorer.keras")
    loaded = keras.saving.load_model(tmp_path / "restorer.keras")
    np.testing.assert_array_equal(loaded.restore(waveform, RATE), restorer.restore(waveform, RATE))


def test_a_network_of_mixed_precision_restores_nearly_the_same(network):
    mixed = InceptionGenerator(filters=8, depth=3, max_doublings=1, dtype="mixed_bfloat16")
    waveform = music(0.3)
    full, restored = (make(each).restore(waveform, RATE) for each in (network, mixed))
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, full, atol=0.02)
