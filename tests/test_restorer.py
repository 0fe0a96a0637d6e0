import keras
import numpy as np
import pytest
import soundfile
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keras import ops

import tfrestore
from tests.conftest import synthesize
from tfrestore.candidates import candidate_noise
from tfrestore.errors import AudioFileError, UsageError
from tfrestore.models.inpainter.network import UNet
from tfrestore.models.inpainter.restorer import InpainterRestorer
from tfrestore.recordings import MOST_CHANNELS, RestorationAborted
from tfrestore.restorer import Restorer

RATE = 16000
CHUNK = 1600


class Gain(Restorer):
    """Multiplies; the simplest network there is."""

    context_samples = 0

    def __init__(self, gain):
        super().__init__(None, sample_rate=RATE, chunk_seconds=CHUNK / RATE)
        self.gain = gain

    def call(self, waveform):
        return self.gain * waveform


class MovingAverage(Restorer):
    """The mean of a sample and its 50 neighbours on either side."""

    context_samples = 50

    def __init__(self):
        super().__init__(None, sample_rate=RATE, chunk_seconds=CHUNK / RATE)

    def call(self, waveform):
        padded = ops.pad(waveform, [[0, 0], [50, 50]])
        return ops.average_pool(padded[..., None], 101, strides=1, padding="valid")[..., 0]


class Ones(Gain):
    """Puts ones where samples are lost."""

    accepts_gaps = True
    # Sees something of every recording below, so that none counts as silent.
    context_samples = 4 * CHUNK

    def __init__(self):
        super().__init__(1.0)

    def call(self, waveform):
        return ops.where(ops.isnan(waveform), 1.0, waveform)


class Offset(Restorer):
    """Adds the second value of its noise vector to the waveform."""

    context_samples = 0
    noise_size = 3

    def __init__(self):
        super().__init__(None, sample_rate=RATE, chunk_seconds=CHUNK / RATE)

    def call(self, waveform, noise=None):
        return waveform + noise[:, 1:2]


def noise(shape, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


def gapped(waveform, sample_rate, every=0.3, length=0.02):
    """The waveform with a gap of `length` seconds every so often, and the gaps."""
    degraded = waveform.copy()
    gaps = [
        (start, start + length)
        for start in np.arange(every, waveform.shape[-1] / sample_rate - every, every)
    ]
    for start, stop in gaps:
        degraded[..., round(start * sample_rate) : round(stop * sample_rate)] = 0
    return degraded, gaps


@pytest.fixture(scope="module")
def identity(identity_run):
    return Restorer.from_preset(identity_run, chunk_seconds=1.0)


@pytest.fixture(scope="module")
def random(random_run):
    return Restorer.from_preset(random_run, chunk_seconds=1.0)


@settings(deadline=None, max_examples=40)
@given(
    samples=st.integers(1, 5 * CHUNK),
    channels=st.sampled_from([None, 1, 2, 8]),
    rate=st.sampled_from([8000, 11025, 16000, 44100, 48000, 192000]),
)
def test_what_an_identity_network_gets_comes_back_whatever_its_length_rate_and_channels(
    samples, channels, rate
):
    waveform = noise(samples if channels is None else (channels, samples))
    restored = Gain(1.0).restore(waveform, rate)
    assert restored.dtype == np.float32
    np.testing.assert_array_equal(restored, waveform)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 192000])
@pytest.mark.parametrize("channels", [1, 8])
def test_an_inpainter_leaves_recordings_without_gaps_exactly_as_they_are(identity, rate, channels):
    waveform = noise((channels, round(1.3 * rate)))
    np.testing.assert_array_equal(identity.restore(waveform, rate), waveform)


@pytest.mark.parametrize("samples", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_every_sample_gets_the_correction_that_belongs_to_it(samples):
    waveform = noise((2, samples))
    np.testing.assert_array_equal(Gain(2.0).restore(waveform, RATE), 2 * waveform)


@pytest.mark.parametrize("rate", [8000, 44100, 48000, 192000])
def test_a_correction_arrives_in_time_at_other_sample_rates(rate):
    time = np.arange(rate) / rate
    tone = (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    restored = Gain(2.0).restore(tone, rate)
    inner = slice(rate // 10, -rate // 10)
    np.testing.assert_allclose(restored[inner], 2 * tone[inner], atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(samples=st.integers(1, 4 * CHUNK))
def test_chunks_see_their_real_neighbours_and_reflections_at_the_ends(samples):
    waveform = noise(samples)
    padded = np.pad(waveform.astype(float), 50, mode="reflect" if samples > 1 else "edge")
    expected = np.convolve(padded, np.ones(101) / 101, mode="valid")
    np.testing.assert_allclose(MovingAverage().restore(waveform, RATE), expected, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    edges=st.lists(
        st.tuples(st.integers(0, 5 * CHUNK), st.integers(1, 2 * CHUNK)), min_size=1, max_size=4
    )
)
def test_exactly_the_named_gaps_are_filled_across_chunks_too(edges):
    waveform = noise((2, 4 * CHUNK))
    expected = waveform.copy()
    for start, length in edges:
        expected[:, start : start + length] = 1
    assume((expected != 1).any())
    gaps = [(start / RATE, (start + length) / RATE) for start, length in edges]
    np.testing.assert_array_equal(Ones().restore(waveform, RATE, gaps=gaps), expected)


def test_named_gaps_are_filled_at_other_sample_rates():
    waveform = noise((1, 44100))
    restored = Ones().restore(waveform, 44100, gaps=[(0.4, 0.6)])
    middle = slice(round(0.41 * 44100), round(0.59 * 44100))
    far = np.r_[0 : round(0.3 * 44100), round(0.7 * 44100) : 44100]
    np.testing.assert_allclose(restored[:, middle], 1, atol=2e-2)
    np.testing.assert_allclose(restored[:, far], waveform[:, far], atol=2e-3)


def test_chunks_and_the_whole_recording_give_the_same(random_run, random):
    in_one_piece = Restorer.from_preset(random_run, chunk_seconds=4.0)
    for rate in (16000, 44100):
        waveform, gaps = gapped(synthesize(3.6, rate), rate)
        whole, chunked = (
            restorer.restore(waveform, rate, gaps=gaps[::2]) for restorer in (in_one_piece, random)
        )
        assert np.abs(whole - waveform)[waveform == 0].max() > 1e-3
        np.testing.assert_allclose(chunked, whole, atol=1e-4)


def test_gaps_are_found_without_being_named_and_nothing_else_changes(random):
    waveform, gaps = gapped(synthesize(2.5, RATE), RATE)
    restored = random.restore(waveform, RATE)
    touched = np.zeros(len(waveform), bool)
    for start, stop in gaps:
        gap = restored[round(start * RATE) : round(stop * RATE)]
        assert np.abs(gap).max() > 0
        # The detection works in blocks of a millisecond and takes some to either side.
        touched[round((start - 0.006) * RATE) : round((stop + 0.006) * RATE)] = True
    np.testing.assert_array_equal(restored[~touched], waveform[~touched])


def test_content_above_the_models_nyquist_frequency_survives(random):
    rate = 44100
    time = np.arange(2 * rate) / rate
    high = (0.1 * np.sin(2 * np.pi * 13000 * time)).astype(np.float32)
    waveform, gaps = gapped(synthesize(2.0, rate) + high, rate)
    restored = random.restore(waveform, rate, gaps=gaps)
    assert not np.array_equal(restored, waveform)
    change = np.abs(np.fft.rfft((restored - waveform) * np.hanning(len(waveform))))
    frequency = np.fft.rfftfreq(len(waveform), 1 / rate)
    assert change[frequency > 8200].max() < 1e-3 * change[frequency < 8000].max()


def test_silence_stays_silence_even_where_a_gap_is_named(random):
    silence = np.zeros((2, 40000), np.float32)
    assert not random.restore(silence, 44100).any()
    assert not random.restore(silence, RATE, gaps=[(0.2, 0.3)]).any()


# Several versions of one recording.


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**64 - 1),
    candidate=st.integers(1, 2**64 - 1),
    samples=st.integers(1, 4 * CHUNK),
    channels=st.integers(1, 3),
)
def test_one_noise_vector_holds_for_the_whole_recording_and_all_channels(
    seed, candidate, samples, channels
):
    waveform = noise((channels, samples))
    restored = Offset().restore(waveform, RATE, seed=seed, candidate=candidate)
    vector = candidate_noise(seed, candidate, 3)
    np.testing.assert_allclose(restored - waveform, vector[1], atol=1e-5)


def test_candidates_can_be_made_again_and_differ():
    waveform = noise(3 * CHUNK)
    restorer = Offset()
    made = {
        (seed, candidate): restorer.restore(waveform, RATE, seed=seed, candidate=candidate)
        for seed in (0, 7)
        for candidate in (1, 2, 3)
    }
    for (seed, candidate), restored in made.items():
        again = Offset().restore(waveform, RATE, seed=seed, candidate=candidate)
        np.testing.assert_array_equal(again, restored)
    assert len({restored.tobytes() for restored in made.values()}) == 6
    np.testing.assert_array_equal(restorer.restore(waveform, RATE), made[0, 1])
    np.testing.assert_array_equal(restorer.restore(waveform, RATE, candidate=3), made[0, 3])
    np.testing.assert_array_equal(restorer.restore(waveform, RATE, seed=7), made[7, 1])


def test_noise_by_hand_is_the_candidate_it_was_taken_from():
    waveform = noise(3 * CHUNK)
    by_hand = Offset().restore(waveform, RATE, noise=candidate_noise(7, 3, 3).astype(float))
    named = Offset().restore(waveform, RATE, seed=7, candidate=3)
    np.testing.assert_array_equal(by_hand, named)


def test_another_candidate_is_not_another_graph():
    restorer = Offset()
    for candidate in (1, 2, 3):
        restorer.restore(noise(3 * CHUNK + candidate), RATE, candidate=candidate)
    assert restorer.graph.experimental_get_tracing_count() == 1


def test_a_file_is_restored_as_the_array_of_its_samples(tmp_path):
    waveform = noise((2, 5000))
    soundfile.write(tmp_path / "in.wav", waveform.T, RATE, "FLOAT")
    choices = ({"seed": 7, "candidate": 3}, {"noise": np.ones(3)}, {})
    for choice in choices:
        Offset().restore_file(tmp_path / "in.wav", tmp_path / "out.wav", **choice)
        np.testing.assert_allclose(
            soundfile.read(tmp_path / "out.wav")[0].T,
            Offset().restore(waveform, RATE, **choice),
            atol=1e-6,
        )


def test_silence_stays_silence_in_every_version():
    assert not Offset().restore(np.zeros(40000), RATE, candidate=2).any()


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"candidate": 0}, "candidate 0 is out of range"),
        ({"seed": -1}, "seed -1 is out of range"),
        ({"noise": np.zeros(4)}, r"shape \(4,\) cannot be used: give 3 floats"),
        ({"noise": [0.0, np.nan, 0.0]}, "NaN"),
        ({"noise": np.zeros(3), "seed": 0}, "leave out"),
        ({"noise": np.zeros(3), "candidate": 1}, "leave out"),
    ],
)
def test_a_version_that_does_not_exist_is_refused(tmp_path, choice, said):
    with pytest.raises(UsageError, match=said):
        Offset().restore(noise(100), RATE, **choice)
    soundfile.write(tmp_path / "in.wav", noise(100), RATE)
    with pytest.raises(UsageError, match=said):
        Offset().restore_file(tmp_path / "in.wav", tmp_path / "out.wav", **choice)
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize("choice", [{"seed": 0}, {"candidate": 1}, {"noise": np.zeros(3)}])
def test_a_model_that_makes_one_version_refuses_to_be_asked_for_another(choice):
    assert Offset().is_stochastic and not Gain(1.0).is_stochastic
    with pytest.raises(UsageError, match="Gain makes one version"):
        Gain(1.0).restore(noise(100), RATE, **choice)


def test_progress_rises_to_one():
    fractions = []
    Gain(1.0).restore(noise(10 * CHUNK + 5), RATE, progress=fractions.append)
    assert fractions[-1] == 1.0
    assert len(fractions) == 11
    assert np.all(np.diff(fractions) > 0)
    np.testing.assert_allclose(fractions[:3], np.arange(1, 4) * CHUNK / (10 * CHUNK + 5))


def test_progress_ends_at_one_where_a_recording_is_shorter_than_promised():
    fractions = []
    blocks = Gain(1.0).restore_blocks(
        [noise((1, 2 * CHUNK))], RATE, 1, 10 * CHUNK, progress=fractions.append
    )
    assert sum(block.shape[1] for block in blocks) == 2 * CHUNK
    assert fractions == [0.1, 0.2, 1.0]


def test_a_progress_callback_can_stop_the_work_and_no_file_is_left(tmp_path):
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    soundfile.write(source, noise(10 * CHUNK), RATE)
    with pytest.raises(RestorationAborted):
        Gain(1.0).restore_file(source, target, progress=lambda done: done < 0.5)
    assert list(tmp_path.iterdir()) == [source]


def test_no_more_than_a_chunk_is_held_however_long_the_recording():
    read = 0

    def blocks(seconds):
        nonlocal read
        for second in range(seconds):
            read += 44100
            yield noise((2, 44100), second)

    ahead = {}
    for seconds in (4, 40):
        read = written = ahead[seconds] = 0
        for block in Gain(1.0).restore_blocks(blocks(seconds), 44100, 2, seconds * 44100):
            written += block.shape[1]
            ahead[seconds] = max(ahead[seconds], read - written)
        assert written == seconds * 44100
    assert ahead[40] == ahead[4] < 3 * 44100


@pytest.mark.parametrize(
    ("waveform", "said"),
    [
        (np.array([0.1, np.nan]), "NaN or infinite"),
        (np.array([[0.1, np.inf]]), "NaN or infinite"),
        (np.zeros((2, 3, 4)), "shape"),
        (np.float32(0.5), "shape"),
        (np.zeros((44100, 2)), f"1 to {MOST_CHANNELS} channels"),
        (np.zeros((0, 5)), "channels"),
        (np.zeros(100, np.int16), "integers"),
    ],
)
def test_a_waveform_that_is_none_is_refused(waveform, said):
    with pytest.raises(ValueError, match=said):
        Gain(1.0).restore(waveform, RATE)


def test_an_empty_waveform_comes_back_empty():
    assert Gain(2.0).restore(np.zeros((2, 0)), 44100).shape == (2, 0)


@pytest.mark.parametrize("gap", [(0.5, 0.5), (0.5, 0.1), (-0.1, 0.5), (0, np.nan), (0, np.inf)])
def test_a_gap_that_is_none_is_refused(gap):
    with pytest.raises(UsageError, match="gap"):
        Ones().restore(noise(100), RATE, gaps=[gap])


def test_a_model_that_fills_no_gaps_refuses_their_positions():
    with pytest.raises(UsageError, match="fills no gaps"):
        Gain(1.0).restore(noise(100), RATE, gaps=[(0, 1)])


def test_a_rate_that_is_none_is_refused():
    with pytest.raises(UsageError, match="sample rate"):
        Gain(1.0).restore(noise(100), 0)


@pytest.mark.parametrize(
    ("subtype", "suffix", "expected"),
    [
        ("PCM_16", ".wav", "PCM_16"),
        ("PCM_24", ".flac", "PCM_24"),
        ("PCM_32", ".wav", "PCM_32"),
        ("FLOAT", ".wav", "FLOAT"),
        ("FLOAT", ".flac", "PCM_24"),
        ("PCM_16", ".ogg", "VORBIS"),
    ],
)
def test_a_file_keeps_samples_rate_channels_and_where_possible_its_sample_format(
    tmp_path, subtype, suffix, expected
):
    source, target = tmp_path / "in.wav", tmp_path / f"out{suffix}"
    soundfile.write(source, noise((5000, 3)), 22050, subtype)
    Gain(1.0).restore_file(source, target)
    info = soundfile.info(target)
    assert (info.samplerate, info.channels, info.frames) == (22050, 3, 5000)
    assert info.subtype == expected
    before, after = (soundfile.read(path)[0] for path in (source, target))
    if expected == subtype:
        np.testing.assert_array_equal(after, before)
    elif expected != "VORBIS":
        assert np.abs(after - before).max() <= 2**-24


def test_samples_beyond_full_scale_are_reported_when_clipped(tmp_path, caplog):
    soundfile.write(tmp_path / "in.wav", 2.5 * noise(1000), RATE, "FLOAT")
    beyond = int((np.abs(2.5 * noise(1000)) > 1).sum())
    Gain(1.0).restore_file(tmp_path / "in.wav", tmp_path / "kept.wav")
    assert not caplog.records
    Gain(1.0).restore_file(tmp_path / "in.wav", tmp_path / "out.flac")
    assert f"out.flac: samples beyond full scale were clipped ({beyond});" in caplog.text


def test_a_file_is_not_written_over_itself(tmp_path):
    source, link = tmp_path / "in.wav", tmp_path / "link.wav"
    soundfile.write(source, noise(100), RATE)
    before = source.read_bytes()
    link.symlink_to(source)
    for target in (source, link):
        with pytest.raises(UsageError, match="is the input itself"):
            Gain(1.0).restore_file(source, target)
    assert source.read_bytes() == before


def test_a_missing_source_is_named_and_an_existing_target_stays(tmp_path):
    target = tmp_path / "out.wav"
    target.write_text("precious")
    with pytest.raises(AudioFileError, match="missing.wav"):
        Gain(1.0).restore_file(tmp_path / "missing.wav", target)
    assert target.read_text() == "precious"


def test_the_package_restores_arrays_and_files_with_a_preset(random_run, tmp_path):
    waveform, _ = gapped(synthesize(1.0, 22050), 22050)
    restored = tfrestore.restore(waveform, 22050, preset=random_run)
    assert restored.shape == waveform.shape and not np.array_equal(restored, waveform)
    soundfile.write(tmp_path / "in.wav", waveform, 22050, "FLOAT")
    tfrestore.restore_file(tmp_path / "in.wav", tmp_path / "out.wav", preset=random_run)
    np.testing.assert_allclose(soundfile.read(tmp_path / "out.wav")[0], restored, atol=1e-7)


def test_a_restorer_comes_back_from_its_folder_with_all_settings(tmp_path):
    restorer = InpainterRestorer(
        UNet(filters=4, depth=2), chunk_seconds=3.0, iterations=7, input_scale=2.0
    )
    restorer.save_to_preset(tmp_path / "run")
    again = Restorer.from_preset(tmp_path / "run")
    config, expected = again.get_config(), restorer.get_config()
    for each in (config, expected):
        del each["name"]
    assert config == expected
    waveform, _ = gapped(synthesize(1.0, RATE)[None], RATE)
    np.testing.assert_array_equal(again(waveform), restorer(waveform))
    assert Restorer.from_preset(tmp_path / "run", iterations=3).iterations == 3
    assert isinstance(InpainterRestorer.from_preset(tmp_path / "run"), InpainterRestorer)
    with pytest.raises(ValueError, match="belongs to `InpainterRestorer`"):
        Gain.from_preset(tmp_path / "run")


def test_keras_saves_and_loads_a_restorer(random_run, tmp_path):
    restorer = Restorer.from_preset(random_run)
    waveform, _ = gapped(synthesize(1.0, RATE)[None], RATE)
    # A restorer that has been used carries a traced graph, which must not be in the way.
    restored = restorer.restore(waveform, RATE)
    restorer.save(tmp_path / "restorer.keras")
    loaded = keras.saving.load_model(tmp_path / "restorer.keras")
    np.testing.assert_allclose(loaded.restore(waveform, RATE), restored, atol=1e-6)


def test_a_preset_without_weights_says_how_to_get_some():
    with pytest.raises(UsageError, match="tfrestore train --preset unet "):
        Restorer.from_preset("unet")
