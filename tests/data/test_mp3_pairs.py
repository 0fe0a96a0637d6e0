"""Pairs: aligned, equal to the track's own MP3, and functions of (seed, position)."""

import dataclasses
import logging
from collections import Counter

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.conftest import synthesize
from tfrestore.audio.mp3 import mp3_round_trip
from tfrestore.audio.reading import read
from tfrestore.audio.resampling import resample
from tfrestore.data.excerpt_pairs import PairReader
from tfrestore.data.mp3_pairs import Mp3Pairs, listening_pair
from tfrestore.data.pipeline import decoding_error
from tfrestore.data.tracks import Track
from tfrestore.errors import AudioFileError, UsageError

SAMPLES = 16384
SMALL = Mp3Pairs(samples=SAMPLES)


def make_track(folder, name, seconds, sample_rate=44100, channels=1, subtype=None, scale=1.0):
    path = folder / name
    seeds = [10 * len(name) + channel for channel in range(channels)]
    sound = scale * np.stack([synthesize(seconds, sample_rate, seed) for seed in seeds], axis=1)
    soundfile.write(path, sound, sample_rate, subtype=subtype)
    return Track(path, path.stem, sample_rate, channels, len(sound), "unknown", "train")


def batches(pairs, tracks, batch_size=4, seed=0, start=0, count=5):
    dataset = pairs.dataset(tracks, batch_size, seed, start, count)
    return [(degraded.numpy(), original.numpy()) for degraded, original in dataset]


def examples(*arguments, **options):
    """The examples of all batches: degraded, original."""
    return tuple(map(np.concatenate, zip(*batches(*arguments, **options), strict=True)))


def same(some, others):
    return len(some) == len(others) and all(
        np.array_equal(a, b)
        for pair in zip(some, others, strict=True)
        for a, b in zip(*pair, strict=True)
    )


def whole(track, rate=44100):
    """The whole track as the encoder hears it: mixed, resampled, 16 bits."""
    waveform, own = read(track.path)
    mono = resample(waveform.mean(axis=0, keepdims=True), own, rate)
    return np.clip(np.rint(mono * 32768), -32768, 32767).astype(np.float32)[0] / 32768


def decibels(signal, error):
    return 10 * np.log10(np.sum(signal**2) / np.sum(error**2))


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    """Mono and stereo, three rates, three formats, one shorter than an excerpt."""
    folder = tmp_path_factory.mktemp("tracks")
    return [
        make_track(folder, "mono.wav", 3),
        make_track(folder, "stereo.flac", 2, 44100, 2),
        make_track(folder, "wide.flac", 2, 48000, 2, "PCM_24"),
        make_track(folder, "lossy.ogg", 1.5, 22050, 2),
        make_track(folder, "short.wav", 0.1),
    ]


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    return make_track(tmp_path_factory.mktemp("song"), "song.flac", 12)


@pytest.mark.parametrize("kbit_per_second", [16, 32, 64])
def test_pairs_are_aligned_and_the_low_band_is_kept(song, kbit_per_second):
    pairs = Mp3Pairs(kbit_per_second, samples=65536, order="file")
    for degraded, original in zip(*examples(pairs, [song], count=2), strict=True):
        spectra = np.fft.rfft(degraded, 131072), np.fft.rfft(original, 131072)
        correlation = np.fft.irfft(spectra[0] * np.conj(spectra[1]))
        assert np.argmax(correlation) == 0
        # LAME turns the sound down to 0.95 of its amplitude.
        assert correlation[0] / np.sum(original**2) == pytest.approx(0.95, abs=0.02)
        low = slice(0, round(2000 / 44100 * 131072))
        error = spectra[0][low] / 0.95 - spectra[1][low]
        assert decibels(np.abs(spectra[1][low]), np.abs(error)) > 15


@pytest.mark.parametrize("kbit_per_second", [16, 32, 64])
def test_a_pair_is_nearer_to_the_mp3_of_the_whole_track_than_an_mp3_begun_elsewhere(
    song, kbit_per_second
):
    samples = 32768
    pairs = Mp3Pairs(kbit_per_second, samples, order="file")
    heard = whole(song)
    mp3 = mp3_round_trip(heard[None], 44100, kbit_per_second)[0]
    gains = []
    for position, begin in enumerate(pairs.begins(song)):
        degraded, original = PairReader(pairs, [song], seed=0).read(position)
        np.testing.assert_array_equal(original, heard[begin : begin + samples])
        start = max(0, begin - 44100) + 777
        end = begin + samples + 5000
        elsewhere = mp3_round_trip(heard[None, start:end], 44100, kbit_per_second)[0]
        expected = mp3[begin + 777 : begin + samples]
        errors = [
            degraded[777:] - expected,
            elsewhere[begin + 777 - start :][: samples - 777] - expected,
        ]
        near, far = (decibels(expected, error + 1e-9) for error in errors)
        gains.append(near - far)
    assert np.median(gains) > 4 and np.min(gains) > 0


def test_the_original_is_that_stretch_of_the_whole_track_in_16_bits(tracks):
    pairs = dataclasses.replace(SMALL, order="file")
    count = pairs.count(tracks)
    _, originals = examples(pairs, tracks, 1, count=count)
    expected = [
        np.pad(whole(track), (0, SAMPLES))[begin : begin + SAMPLES]
        for track in tracks
        for begin in pairs.begins(track)
    ]
    assert len(expected) == count
    # Resampling a stretch and the whole differs by rounding, which may cross the middle of a step.
    np.testing.assert_allclose(originals, expected, rtol=0, atol=1.01 / 32768)
    assert np.mean(originals != np.array(expected)) < 1e-3
    np.testing.assert_array_equal(originals * 32768, np.rint(originals * 32768))


@pytest.mark.parametrize("order", ["random", "file"])
def test_a_dataset_that_starts_at_a_batch_gives_what_one_from_the_beginning_gives(tracks, order):
    pairs = dataclasses.replace(SMALL, order=order, kbit_per_second=[16, 64])
    everything = batches(pairs, tracks, count=15)
    assert pairs.count(tracks) < 56
    for start in (1, 14):
        assert same(batches(pairs, tracks, start=start, count=15 - start), everything[start:])


def test_examples_depend_on_the_seed_and_not_on_the_size_of_batches(tracks):
    pairs = dataclasses.replace(SMALL, kbit_per_second=[16, 64])
    found = examples(pairs, tracks, 4, count=3)
    for part, other in zip(found, examples(pairs, tracks, 12, count=1), strict=True):
        np.testing.assert_array_equal(part, other)
    other = examples(pairs, tracks, 4, seed=2**64 - 1, count=3)
    assert not np.array_equal(found[1], other[1])


def test_an_epoch_has_each_excerpt_once_and_each_epoch_an_order_of_its_own(tracks):
    reader = PairReader(SMALL, tracks, seed=3)
    count = SMALL.count(tracks)
    grid = [(track, number) for track in tracks for number in range(len(SMALL.begins(track)))]
    epochs = [[reader.place(epoch * count + index) for index in range(count)] for epoch in range(3)]
    for epoch in epochs:
        assert sorted(map(str, epoch)) == sorted(map(str, grid)) and epoch != grid
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    in_order = PairReader(dataclasses.replace(SMALL, order="file"), tracks, seed=3)
    assert [in_order.place(index) for index in range(2 * count)] == grid * 2


def test_the_order_of_an_epoch_is_the_same_for_ever():
    # The ranks of the first words of Philox 4x64-10 with the key (7, 1).
    track = Track("x.wav", "x", 44100, 1, 6 * SAMPLES, "unknown", "train")
    reader = PairReader(SMALL, [track], seed=7)
    assert [reader.place(11 + index)[1] for index in range(11)] == [
        *(3, 9, 1, 6, 2, 5, 4, 8, 0, 7, 10),
    ]


@pytest.mark.parametrize("samples, expected", [(173568, 1), (173567, 1), (260351, 1), (260352, 2)])
def test_excerpts_overlap_by_half_and_lie_inside_the_track(samples, expected):
    pairs = Mp3Pairs()
    track = Track("x.wav", "x", 44100, 1, samples, "unknown", "train")
    assert list(pairs.begins(track)) == [86784 * number for number in range(expected)]
    # At twice the rate the same music has twice the samples.
    track = dataclasses.replace(track, sample_rate=88200, frames=2 * samples)
    assert len(pairs.begins(track)) == pairs.count([track]) == expected


def test_several_bit_rates_are_drawn_by_example_and_take_turns_in_file_order(tracks):
    both = dataclasses.replace(SMALL, kbit_per_second=[16, 64])
    reader = PairReader(both, tracks, seed=1)
    drawn = [reader.variant(position) for position in range(1000)]
    # Five standard deviations of a binomial.
    assert Counter(drawn)[16] == pytest.approx(500, abs=5 * 250**0.5)
    degraded, originals = examples(both, tracks, seed=1, count=4)
    single = {
        rate: examples(dataclasses.replace(SMALL, kbit_per_second=rate), tracks, seed=1, count=4)
        for rate in (16, 64)
    }
    assert set(drawn[:16]) == {16, 64}
    for position in range(16):
        np.testing.assert_array_equal(degraded[position], single[drawn[position]][0][position])
        np.testing.assert_array_equal(originals[position], single[16][1][position])
    in_order = PairReader(dataclasses.replace(both, order="file"), tracks, seed=1)
    assert [in_order.variant(position) for position in range(4)] == [16, 64, 16, 64]


def test_silence_stays_silence(tmp_path):
    track = make_track(tmp_path, "silence.wav", 2, scale=0.0)
    degraded, original = examples(SMALL, [track], count=1)
    assert not degraded.any() and not original.any()


def test_what_is_beyond_full_scale_is_what_the_encoder_hears_of_it(tmp_path):
    track = make_track(tmp_path, "loud.wav", 1, subtype="FLOAT", scale=3.0)
    _, original = examples(SMALL, [track], count=1)
    assert original.max() == 32767 / 32768 and original.min() == -1.0


@settings(deadline=None, max_examples=12)
@given(
    frames=st.integers(1, 60_000),
    sample_rate=st.sampled_from([8000, 22050, 32000, 44100, 44101, 48000, 96000]),
    channels=st.integers(1, 3),
    subtype=st.sampled_from(["PCM_16", "PCM_24", "FLOAT"]),
    kbit_per_second=st.sampled_from([8, 16, 32, 64, 320]),
)
@example(1, 8000, 1, "PCM_16", 8)
def test_a_file_of_any_length_rate_and_channels_gives_pairs(
    tmp_path_factory, frames, sample_rate, channels, subtype, kbit_per_second
):
    path = tmp_path_factory.mktemp("any") / "any.wav"
    noise = np.random.default_rng(frames).uniform(-1, 1, (frames, channels))
    soundfile.write(path, noise, sample_rate, subtype=subtype)
    track = Track(path, "any", sample_rate, channels, frames, "unknown", "train")
    pairs = Mp3Pairs(kbit_per_second, samples=4096, order="file")
    last = pairs.count([track]) - 1
    reader = PairReader(pairs, [track], seed=0)
    for position in (0, last):
        degraded, original = reader.read(position)
        assert degraded.shape == original.shape == (4096,)
        assert degraded.dtype == original.dtype == np.float32
        assert np.isfinite(degraded).all() and np.abs(original).max() <= 1


def test_an_excerpt_that_cannot_be_decoded_is_replaced_and_its_track_named_once(
    tracks, tmp_path, caplog
):
    bad = make_track(tmp_path, "bad.wav", 3)
    mixed = [*tracks[:2], bad]
    intact = batches(SMALL, mixed, 2, count=12)
    bad.path.write_bytes(b"This is not music.")
    with caplog.at_level(logging.WARNING, "tfrestore.data"):
        found = batches(SMALL, mixed, 2, count=12)
    assert [record.getMessage().count("bad.wav") for record in caplog.records] == [1]
    assert same(batches(SMALL, mixed, 2, start=5, count=7), found[5:])
    reader = PairReader(SMALL, mixed, seed=0)
    replaced = [reader.place(position)[0] is bad for position in range(24)]
    assert 0 < sum(replaced) < 24
    for position in range(24):
        batch, row = divmod(position, 2)
        equal = np.array_equal(found[batch][1][row], intact[batch][1][row])
        assert equal != replaced[position] and found[batch][1][row].any()


def test_music_that_is_gone_altogether_is_one_line_that_names_a_file(tmp_path):
    track = make_track(tmp_path, "gone.wav", 2)
    track.path.unlink()
    with pytest.raises(tf.errors.OpError) as caught:
        batches(SMALL, [track])
    message = str(decoding_error(caught.value))
    assert message.startswith(f"{track.path} cannot be decoded") and "\n" not in message


def test_the_pair_to_listen_to_is_the_middle_of_a_track(song, tracks, tmp_path):
    degraded, original = listening_pair([song, *tracks], 44100, 32)
    begin = 2 * 44100
    np.testing.assert_array_equal(original, whole(song)[begin : begin + 8 * 44100])
    assert degraded.shape == original.shape and decibels(original, degraded / 0.95 - original) > 10
    degraded, original = listening_pair(tracks, 44100, 32)
    assert len(original) == 8 * 44100 and not original[3 * 44100 :].any() and degraded.any()
    with pytest.raises(AudioFileError, match="nowhere.wav"):
        listening_pair(
            [dataclasses.replace(song, path=song.path.parent / "nowhere.wav")], 44100, 32
        )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"kbit_per_second": 17}, "no 17 kbit/s .* choose one of 8, 16"),
        ({"kbit_per_second": [16, 17]}, "no 17 kbit/s"),
        ({"kbit_per_second": 320, "sample_rate": 16000}, "no 320 kbit/s .* 144, 160"),
        ({"kbit_per_second": []}, "data.kbit_per_second is empty"),
        ({"samples": 0}, "data.samples is 0"),
        ({"order": "sideways"}, "data.order is 'sideways': choose one of random, file"),
        ({"sample_rate": 100}, "LAME takes 8000"),
    ],
)
def test_pairs_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        Mp3Pairs(**arguments)


def test_a_batch_of_nothing_is_refused_and_an_endless_dataset_goes_on(tracks):
    with pytest.raises(UsageError, match="batch size is 0"):
        SMALL.dataset(tracks, 0, seed=0)
    endless = SMALL.dataset(tracks[-1:], 2, seed=0)
    found = [original.numpy() for _, original in endless.take(3)]
    assert all(np.array_equal(found[0], each) for each in found)
