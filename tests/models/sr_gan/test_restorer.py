import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import synthesize
from keras import ops

from tfrestore.candidates import candidate_noise
from tfrestore.models.sr_gan.network import FrequencyAggregationGenerator
from tfrestore.models.sr_gan.restorer import SRGANRestorer
from tfrestore.restorer import Restorer

RATE = 44100
BINS = 1024
HOP = 512
NETWORK_LOSES, PADDED = 62, 14


class Standing(keras.layers.Layer):
    """Stands for a generator: gives 62 frames less at either side and nothing else changed."""

    bins = BINS
    context_frames = NETWORK_LOSES
    receptive_frames = NETWORK_LOSES + PADDED

    def __init__(self, noise_size=0):
        super().__init__()
        self.noise_size = noise_size
        self.seen = []

    def call(self, spectrum, noise=None):
        self.seen.append((spectrum, noise))
        return spectrum[:, NETWORK_LOSES:-NETWORK_LOSES]


class FarSeeing(Standing):
    """As loud as the loudest and the quietest of the 153 frames around one say, and the noise.

    Reaches as far as the real one, and is as sensitive as can be to the zeros that are padded at
    the input and at the output (7 frames each), where the quietest frame is silent.
    """

    def __init__(self):
        super().__init__(noise_size=2)

    def call(self, spectrum, noise):
        level = ops.mean(ops.abs(spectrum), axis=(2, 3))[..., None]
        loudest, quietest = level, -level
        for width, padding in ((15, 7), (125, 0), (15, 7)):
            pad = ((0, 0), (padding, padding), (0, 0))
            loudest, quietest = (
                ops.max_pool(ops.pad(each, pad), width, strides=1, padding="valid")
                for each in (loudest, quietest)
            )
        gain = 0.5 + noise[:, None, :1] * loudest - noise[:, None, 1:] * quietest
        return spectrum[:, NETWORK_LOSES:-NETWORK_LOSES] * gain[..., None]


def music(seconds, channels=None, seed=0):
    if channels is None:
        return synthesize(seconds, RATE, seed)
    return np.stack([synthesize(seconds, RATE, seed + 10 * c) for c in range(channels)])


@pytest.fixture(scope="module")
def real(stochastic_run):
    return Restorer.from_preset(stochastic_run)


# A network that changes nothing.


@pytest.mark.parametrize("samples", [1, 2, 511, 512, 513, 2049, 40000, 45000, 100000])
def test_a_network_that_changes_nothing_gives_the_input_back(samples):
    waveform = music(2.5, 2)[:, :samples]
    restorer = SRGANRestorer(Standing(), chunk_seconds=0.5)
    np.testing.assert_allclose(restorer.restore(waveform, RATE), waveform, atol=1e-6)
    np.testing.assert_allclose(restorer(waveform), waveform, atol=1e-6)


def test_the_network_sees_the_signed_square_root_of_the_spectrum_without_its_last_bin():
    restorer = SRGANRestorer(Standing())
    waveform = music(1.0)[None]
    restorer(waveform)
    ((seen, _),) = restorer.network.seen
    frames = -(-RATE // HOP)
    assert seen.shape == (1, frames + 3 + 2 * 77, BINS, 2)
    # The first frame that lies in the recording: 80 hops of context are before it.
    spectrum = tf.signal.stft(waveform, 2048, HOP)[:, :, :BINS].numpy()
    inside = np.asarray(seen)[:, 80 : 80 + spectrum.shape[1]]
    for part, expected in ((0, spectrum.real), (1, spectrum.imag)):
        np.testing.assert_allclose(
            inside[..., part], np.sign(expected) * np.sqrt(np.abs(expected)), atol=2e-3
        )


def test_what_lies_in_the_bin_that_the_network_does_not_see_stays():
    class Silencer(Standing):
        def call(self, spectrum, noise=None):
            return 0 * super().call(spectrum)

    waveform = np.tile(np.float32([0.5, -0.5]), 20000)
    tone = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(40000) / RATE).astype(np.float32)
    restored = SRGANRestorer(Silencer()).restore(waveform + tone, RATE)
    # The Hann window spreads the alternation over two bins: of 1, 1/2 at the last and 1/4 at its
    # neighbours, so that two thirds of its energy are in the last.
    inner = slice(3000, -3000)
    assert np.abs(restored[inner]).max() < 0.45
    np.testing.assert_allclose(restored[inner], 2 / 3 * waveform[inner], atol=1e-3)


# Where a recording is cut.


@pytest.mark.parametrize("samples", [1, 700, 30000, 40960, 41000, 3 * RATE + 1])
def test_a_candidate_is_the_same_whatever_the_length_of_chunks(samples):
    waveform = music(3.1)[:samples]
    # Loud and quiet stretches, and silence longer than what the network sees.
    waveform *= np.repeat(np.float32([1, 0.1, 1, 0.01, 1, 0, 0]), 20000)[:samples]
    restored = [
        SRGANRestorer(FarSeeing(), chunk_seconds=seconds).restore(waveform, RATE, candidate=2)
        for seconds in (0.0116, 0.3, 1.0, 8.0)
        if seconds > 0.1 or samples < RATE
    ]
    assert np.abs(restored[-1] - waveform).max() > 0.1 * np.abs(waveform).max()
    for each in restored[:-1]:
        np.testing.assert_allclose(each, restored[-1], atol=1e-5)


def test_a_real_networks_candidate_is_the_same_whatever_the_length_of_chunks(real):
    waveform = music(3.0)
    network = real.network
    whole = SRGANRestorer(network, chunk_seconds=3.0).restore(waveform, RATE, seed=7, candidate=3)
    assert np.abs(whole - waveform).max() > 0.05
    for seconds in (0.4, 1.1):
        chunked = SRGANRestorer(network, chunk_seconds=seconds)
        np.testing.assert_allclose(
            chunked.restore(waveform, RATE, seed=7, candidate=3), whole, atol=1e-4
        )


def test_a_call_gives_what_restoring_the_recording_gives(real):
    waveforms = music(1.3, 3)
    for restorer in (real, SRGANRestorer(FarSeeing(), chunk_seconds=0.5)):
        called = np.asarray(restorer(waveforms))
        np.testing.assert_allclose(restorer.restore(waveforms, RATE), called, atol=1e-5)
        assert np.abs(called - waveforms).max() > 0.05


def test_the_context_is_what_a_sample_depends_on_and_no_more():
    restorer = SRGANRestorer(FarSeeing())
    reach = restorer.network.receptive_frames * HOP
    assert reach + 2048 - HOP <= restorer.context_samples <= reach + 2048
    waveform = music(3.0)
    restored = restorer.restore(waveform, RATE)
    place = 60000
    louder = waveform.copy()
    louder[place] += 50
    changed = np.flatnonzero(np.abs(restorer.restore(louder, RATE) - restored) > 1e-6)
    assert place - changed[0] <= restorer.context_samples
    assert changed[-1] - place <= restorer.context_samples
    assert place - changed[0] > reach and changed[-1] - place > reach


@pytest.mark.parametrize("samples", [1, 100, 2048, 30000])
def test_a_recording_shorter_than_what_the_network_sees_is_reflected(real, samples):
    waveform = music(1.0)[:samples]
    context = real.context_samples
    longer = np.pad(waveform, context, mode="reflect" if samples > 1 else "edge")
    # Frames lie on multiples of the hop, and so does the context.
    expected = real.restore(longer, RATE)[context : context + samples]
    restored = real.restore(waveform, RATE)
    assert restored.shape == waveform.shape
    np.testing.assert_allclose(restored, expected, atol=1e-5)


# Batches, channels, candidates.


def test_a_candidate_is_the_same_whatever_the_batch(real):
    waveforms = music(0.7, 4)
    vectors = np.stack([candidate_noise(7, candidate, 8) for candidate in (1, 2, 3, 4)])
    together = np.asarray(real(waveforms, vectors))
    for number in range(4):
        alone = np.asarray(real(waveforms[number : number + 1], vectors[number : number + 1]))
        np.testing.assert_allclose(alone[0], together[number], atol=1e-5)
        recording = real.restore(waveforms[number], RATE, seed=7, candidate=number + 1)
        np.testing.assert_allclose(recording, together[number], atol=1e-5)


def test_channels_are_restored_with_one_noise_vector(real):
    mono = music(0.8)
    stereo = real.restore(np.stack([mono, mono]), RATE, candidate=5)
    np.testing.assert_array_equal(stereo[0], stereo[1])
    np.testing.assert_allclose(real.restore(mono, RATE, candidate=5), stereo[0], atol=1e-5)


def test_candidates_differ_and_come_again(real, stochastic_run):
    waveform = music(0.8)
    made = [real.restore(waveform, RATE, seed=7, candidate=number) for number in (1, 2, 3)]
    for one in range(3):
        for other in range(one):
            assert np.abs(made[one] - made[other]).max() > 1e-3
    again = Restorer.from_preset(stochastic_run)
    np.testing.assert_array_equal(again.restore(waveform, RATE, seed=7, candidate=3), made[2])
    by_hand = again.restore(waveform, RATE, noise=candidate_noise(7, 3, 8))
    np.testing.assert_array_equal(by_hand, made[2])
    assert again.graph.experimental_get_tracing_count() == 1


def test_without_noise_the_call_is_candidate_1_of_seed_0(real):
    waveforms = music(0.4, 2)
    fixed = np.tile(candidate_noise(0, 1, 8), (2, 1))
    np.testing.assert_array_equal(real(waveforms), real(waveforms, fixed))


def test_a_network_without_noise_makes_a_restorer_that_is_not_stochastic():
    restorer = SRGANRestorer(Standing())
    assert not restorer.is_stochastic and set(restorer.endpoints()) == {"serving_default"}
    assert SRGANRestorer(FarSeeing()).is_stochastic
    with pytest.raises(ValueError, match="`noise`"):
        restorer(music(0.1, 1), np.zeros((1, 64), np.float32))


# Silence, other rates, settings.


def test_digital_silence_stays_whatever_the_network_makes_of_it():
    class Humming(Standing):
        def call(self, spectrum, noise=None):
            return super().call(spectrum) + 1.0

    waveform = music(3.0)
    silent = slice(40000, 90000)
    waveform[silent] = 0
    for seconds in (0.2, 8.0):
        restorer = SRGANRestorer(Humming(), chunk_seconds=seconds)
        restored = restorer.restore(waveform, RATE)
        # Frames that touch what sounds reach 2047 samples into the silence.
        assert not restored[40000 + 2047 : 90000 - 2047].any()
        assert np.abs(restored - waveform)[:30000].max() > 1e-3
        assert not restorer.restore(np.zeros((2, 60000)), RATE).any()
        assert not np.asarray(restorer(np.zeros((2, 3000)))).any()


def test_what_lies_above_the_models_rate_stays():
    rate = 96000
    time = np.arange(rate) / rate
    high = 0.1 * np.sin(2 * np.pi * 30000 * time)

    class Quieter(Standing):
        def call(self, spectrum, noise=None):
            return 0.5 * super().call(spectrum)

    low = 0.2 * np.sin(2 * np.pi * 3000 * time)
    restored = SRGANRestorer(Quieter()).restore((low + high).astype(np.float32), rate)
    # Half the signed square root is a quarter of the spectrum.
    inner = slice(9600, -9600)
    np.testing.assert_allclose(restored[inner], (low / 4 + high)[inner], atol=1e-3)


def test_all_settings_come_back_from_a_folder(real, stochastic_run, tmp_path):
    assert (real.sample_rate, real.frame_length, real.hop_length) == (44100, 2048, 512)
    assert real.default_degradation == "mp3:16" and real.chunk_seconds == 2.0
    SRGANRestorer(real.network, sample_rate=48000, hop_length=256).save_to_preset(tmp_path)
    again = Restorer.from_preset(tmp_path)
    assert isinstance(again, SRGANRestorer)
    assert (again.sample_rate, again.hop_length, again.noise_size) == (48000, 256, 8)


@pytest.mark.parametrize(
    ("arguments", "said"), [({"frame_length": 1024}, "2048"), ({"hop_length": 500}, "divide")]
)
def test_a_transform_that_does_not_fit_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        SRGANRestorer(Standing(), **arguments)


def test_keras_saves_and_loads_it(real, tmp_path):
    waveform = music(0.5)
    restored = real.restore(waveform, RATE, candidate=2)
    real.save(tmp_path / "restorer.keras")
    loaded = keras.saving.load_model(tmp_path / "restorer.keras")
    np.testing.assert_allclose(loaded.restore(waveform, RATE, candidate=2), restored, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_deterministic_generator_of_any_precision_restores(dtype):
    network = FrequencyAggregationGenerator(
        filters=(2, 3, 3), aggregation=64, maps=4, noise_size=0, dtype=dtype
    )
    waveform = music(0.5)
    restored = SRGANRestorer(network).restore(waveform, RATE)
    assert restored.dtype == np.float32 and np.isfinite(restored).all()
    # Fresh weights, squared on the way out, let little through.
    assert 1e-5 * np.std(waveform) < np.std(restored) < 10 * np.std(waveform)
