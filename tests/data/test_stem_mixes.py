"""Stem mixes: every stage by its own, and examples that are functions of (seed, position)."""

import dataclasses
import hashlib
import logging
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audio.test_mp3 import broadband
from tests.data.stem_trees import make_moisesdb, make_musdb, write, write_sound
from tests.data.test_mp3_pairs import batches, decibels, examples, same
from tfrestore.audio.mp3 import decode_mp3, encode_mp3
from tfrestore.audio.reading import read
from tfrestore.audio.resampling import resample
from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.encoded_pairs import encode_heard, to_int16
from tfrestore.data.excerpts import read_excerpt
from tfrestore.data.mp3_pairs import Mp3Pairs
from tfrestore.data.pipeline import decoding_error
from tfrestore.data.preparation import prepare_pairs
from tfrestore.data.shards import open_shards
from tfrestore.data.songs import Song, Stem
from tfrestore.data.stem_mixes import (
    PAPER_BIT_RATES,
    MixReader,
    StemMixes,
    mix,
    rescale,
    weighted_channels,
)
from tfrestore.errors import UsageError

SAMPLES = 16384
SMALL = StemMixes(samples=SAMPLES)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Five songs of MUSDB18-HQ's layout, 1.5 s each."""
    folder = tmp_path_factory.mktemp("musdb")
    return make_musdb(folder, [f"train/{name}" for name in "abcde"], 1.5)


@pytest.fixture(scope="module")
def tracks(songs):
    return list(open_catalogue(songs))


@pytest.fixture(scope="module")
def stems(tmp_path_factory):
    """Ten stems of two instruments without mixtures; rates, channels and lengths differ."""
    folder = tmp_path_factory.mktemp("stems")
    for number in range(10):
        rate, seconds = (44100, 48000, 22050)[number % 3], 0.2 + 0.2 * number
        path = folder / ("bass", "drums")[number % 2] / f"{number}.wav"
        write_sound(path, seconds, rate, number, channels=1 + number % 2)
    return list(open_catalogue(f"stems:{folder}"))


def test_a_batch_is_two_waveforms_whose_largest_magnitude_is_1(tracks):
    for degraded, original in batches(SMALL, tracks, count=3):
        assert degraded.shape == original.shape == (4, SAMPLES)
        assert degraded.dtype == original.dtype == np.float32
        largest = np.maximum(np.abs(degraded), np.abs(original)).max(axis=1)
        np.testing.assert_allclose(largest, 1, rtol=1e-6)


@pytest.mark.parametrize("mode", ["constant", "variable"])
@pytest.mark.parametrize("kbit_per_second", PAPER_BIT_RATES)
def test_pairs_are_aligned_to_the_sample_at_constant_and_variable_bit_rates(
    tracks, mode, kbit_per_second
):
    mixes = StemMixes(kbit_per_second, mode, samples=32768)
    for degraded, original in zip(*examples(mixes, tracks, 4, count=1), strict=True):
        spectra = np.fft.rfft(degraded, 65536), np.fft.rfft(original, 65536)
        correlation = np.fft.irfft(spectra[0] * np.conj(spectra[1]))
        assert np.argmax(correlation) == 0
        # LAME turns the sound down to 0.95 of its amplitude.
        assert correlation[0] / np.sum(original**2) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("mode", ["constant", "variable"])
def test_an_excerpt_is_that_of_the_mp3_of_everything_that_was_heard(tracks, mode):
    mixes = StemMixes(64, mode, samples=SAMPLES)
    reader = MixReader(mixes, tracks, seed=1)
    drawn = reader.draws.draw(0)
    heard = np.concatenate([read_excerpt(tracks[0], 0, 60_000, 44100)] * 2)
    length = drawn.lead + SAMPLES + reader.tail
    degraded, original = reader.encode(heard[None, :length], drawn)
    np.testing.assert_array_equal(original, to_int16(heard)[drawn.lead :][:SAMPLES] / 32768)
    data = encode_mp3(
        to_int16(heard[None, :length]).astype(np.float32) / 32768, 44100, 64, mode == "variable"
    )
    np.testing.assert_array_equal(degraded, decode_mp3(data)[0][0, drawn.lead :][:SAMPLES])


def test_an_example_of_a_stereo_mp3_is_its_first_channel(tracks):
    reader = MixReader(StemMixes(128, "constant", samples=SAMPLES), tracks, seed=1)
    drawn = reader.draws.draw(0)._replace(channels=2)
    length = drawn.lead + SAMPLES + reader.tail
    first, second = broadband(2, length, seed=3)
    heard = np.stack([0.5 * first, 0.2 * first + 0.1 * second]).astype(np.float32)
    degraded, original = reader.encode(heard, drawn)
    steps = to_int16(heard)
    np.testing.assert_array_equal(original, steps[0, drawn.lead :][:SAMPLES] / 32768)
    data = encode_mp3(steps.astype(np.float32) / 32768, 44100, 128)
    decoded, rate = decode_mp3(data)
    assert rate == 44100 and decoded.shape[0] == 2
    np.testing.assert_array_equal(degraded, decoded[0, drawn.lead :][:SAMPLES])


@pytest.mark.parametrize("kbit_per_second", [24, 128])
def test_an_excerpt_is_as_damaged_at_its_ends_as_in_its_middle(tmp_path, kbit_per_second):
    # A codec's start or end, or a clean tail where it is too short, would be seen there.
    for seed in range(3):
        write(tmp_path / f"{seed}.wav", broadband(1, 88200, seed))
    mixes = StemMixes(kbit_per_second, samples=32768)
    degraded, original = examples(mixes, list(open_catalogue(tmp_path)), 4, count=6)
    error = degraded / 0.95 - original
    noise = {
        part: np.mean(error[:, slice(*part)] ** 2) / np.mean(original[:, slice(*part)] ** 2)
        for part in ((0, 600), (600, 32168), (32168, None))
    }
    first, middle, last = (10 * np.log10(each) for each in noise.values())
    assert first == pytest.approx(middle, abs=1.5) and last == pytest.approx(middle, abs=1.5)


def test_the_sum_is_that_of_the_stems_excerpts_with_their_gains(stems):
    reader = MixReader(SMALL, stems, seed=5)
    several = 0
    for position in range(8):
        drawn = reader.draws.draw(position)
        total = np.zeros(SAMPLES)
        for part in drawn.parts:
            waveform, rate = read(part.track.path)
            waveform = resample(waveform.mean(axis=0, keepdims=True), rate, 44100)[0]
            waveform = np.pad(waveform, (SAMPLES, SAMPLES))
            total += part.gain * waveform[SAMPLES + part.begin :][:SAMPLES]
        several += len(drawn.parts) > 1
        _, original = reader.read(position)
        # Both were scaled; 16 bits and the edges of resampled excerpts leave something.
        scale = np.dot(original, total) / np.dot(total, total)
        assert decibels(original, original - scale * total) > 45
    assert several > 4


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=8),
    st.floats(0.3, 3.2),
)
def test_a_mix_is_the_sum_turned_down_to_full_scale(excerpts, gain):
    excerpts = np.array(excerpts, np.float32)
    expected = gain * excerpts.sum(axis=0, dtype=np.float64)
    expected /= max(1, np.abs(expected).max())
    found = mix(list(excerpts), [gain] * len(excerpts))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == np.float32


def test_rescaling_divides_both_by_one_maximum():
    degraded, original = np.float32([0.1, -0.5]), np.float32([0.25, 0.2])
    for found in (rescale(degraded, original), rescale(original, degraded)[::-1]):
        np.testing.assert_allclose(found, [[0.2, -1], [0.5, 0.4]], rtol=1e-6)
    assert not np.any(rescale(np.zeros(3, np.float32), np.zeros(3, np.float32)))


def test_channels_are_weighted():
    stereo = np.float32([[1, 2], [3, -4]])
    weights, expected = (0, 1, 0.25), [[1, 2], [3, -4], [1.5, 0.5]]
    np.testing.assert_allclose(weighted_channels(stereo, weights), expected)
    np.testing.assert_array_equal(weighted_channels(stereo[:1], [0.7]), stereo[:1])
    three = np.float32([[1], [2], [4]])
    np.testing.assert_allclose(weighted_channels(three, [0.75]), [[3]])


def test_random_channels_are_another_mix_of_the_same_excerpt(stems):
    mixes = dataclasses.replace(SMALL, stems=(1, 1), channel_mix="random")
    for position in range(20):
        readers = [MixReader(each, stems, 0) for each in (mixes, SMALL)]
        (part,), plain = readers[0].draws.draw(position).parts, readers[1]
        assert 0 <= part.channel < 1
        found, mean = readers[0].read_part(part, 0), plain.read_part(part._replace(channel=None), 0)
        assert np.array_equal(found, mean) == (part.track.channels == 1)


def test_channels_of_a_stereo_mp3_are_a_recordings_own_or_two_mixes_of_them(stems):
    reader = MixReader(dataclasses.replace(SMALL, stems=(1, 1)), stems, 0)
    stereo = next(part for part in all_parts(reader) if part.track.channels == 2)
    left, right = reader.read_part(stereo, 100, channels=2)
    assert not np.array_equal(left, right)
    np.testing.assert_array_equal(reader.read_part(stereo, 100), [(left + right) / 2])
    mixed = reader.read_part(stereo._replace(channel=0.25), 100, channels=2)
    expected = [0.75 * left + 0.25 * right, 0.25 * left + 0.75 * right]
    np.testing.assert_allclose(mixed, expected, atol=1e-6)


def test_a_share_of_the_examples_is_of_stereo_mp3s_and_nothing_else_changes(tracks):
    plain = MixReader(SMALL, tracks, seed=0)
    shared = MixReader(dataclasses.replace(SMALL, stereo_share=0.3), tracks, seed=0)
    count, stereo = 300, 0
    for position in range(count):
        one, other = (reader.draws.draw(position) for reader in (plain, shared))
        assert one.channels == 1 and other.channels in (1, 2)
        assert other.parts == one.parts and other.kbit_per_second == one.kbit_per_second
        stereo += other.channels == 2
    assert stereo == pytest.approx(0.3 * count, abs=5 * (count * 0.21) ** 0.5)


def test_a_bit_rate_that_is_named_twice_is_drawn_twice_as_often(tracks):
    reader = MixReader(dataclasses.replace(SMALL, kbit_per_second=(32, 64, 64)), tracks, seed=0)
    rates = Counter(reader.draws.draw(position).kbit_per_second for position in range(300))
    assert rates[32] + rates[64] == 300
    assert rates[64] == pytest.approx(200, abs=5 * (300 * 2 / 9) ** 0.5)


def all_parts(reader, count=30):
    return [part for position in range(count) for part in reader.draws.draw(position).parts]


def test_draws_have_the_papers_ranges_and_no_song_twice(tracks):
    reader = MixReader(dataclasses.replace(SMALL, mixture_share=0.0), tracks, seed=0)
    songs = {stem.path: song.track_id for song in tracks for stem in song.stems}
    count, gains, sizes, modes, rates = 600, [], Counter(), Counter(), Counter()
    instruments = Counter()
    for position in range(count):
        drawn = reader.draws.draw(position)
        of = [songs[part.track.path] for part in drawn.parts]
        assert len(set(of)) == len(of)
        sizes[len(of)] += 1
        modes[drawn.variable_bit_rate] += 1
        rates[drawn.kbit_per_second] += 1
        gains += [20 * np.log10(part.gain) for part in drawn.parts]
        instruments.update(part.track.instrument for part in drawn.parts)
        assert 44100 <= drawn.lead < 44100 + 1600
        for part in drawn.parts:
            assert 0 <= part.begin <= part.track.frames - SAMPLES
    # 1 to 8 are drawn, of which there are five songs. Five standard deviations of a binomial.
    assert all(
        sizes[n] == pytest.approx(count / 8, abs=5 * (count * 7 / 64) ** 0.5) for n in (1, 4)
    )
    assert set(sizes) == {1, 2, 3, 4, 5}
    assert modes[True] == pytest.approx(count / 2, abs=5 * (count / 4) ** 0.5)
    spread = 5 * (count * 5 / 36) ** 0.5
    assert all(rates[rate] == pytest.approx(count / 6, abs=spread) for rate in PAPER_BIT_RATES)
    assert -10 <= min(gains) < -9.5 and 9.5 < max(gains) < 10
    assert np.mean(gains) == pytest.approx(0, abs=5 * (20 / 12**0.5) / len(gains) ** 0.5)
    assert min(instruments.values()) > 0.8 * max(instruments.values())


def test_half_of_the_examples_are_real_mixtures_as_loud_as_they_are(tracks):
    reader = MixReader(SMALL, tracks, seed=0)
    drawn = [reader.draws.draw(position).parts for position in range(400)]
    real = [parts for parts in drawn if isinstance(parts[0].track, Song)]
    assert len(real) == pytest.approx(200, abs=5 * 100**0.5)
    assert all(len(parts) == 1 and parts[0].gain == 1 for parts in real)
    assert all(
        isinstance(part.track, Stem) for parts in drawn if parts not in real for part in parts
    )


def test_without_mixtures_all_are_mixes_and_without_stems_all_are_excerpts(stems, music_folder):
    assert MixReader(SMALL, stems, 0).draws.mixture_share == 0
    recordings = list(open_catalogue(music_folder))
    reader = MixReader(SMALL, recordings, 0)
    assert all(len(reader.draws.draw(position).parts) == 1 for position in range(30))
    mixed = MixReader(dataclasses.replace(SMALL, mix_recordings=True), recordings, 0)
    assert max(len(mixed.draws.draw(position).parts) for position in range(30)) > 2
    both = MixReader(SMALL, [*stems, *recordings], 0)
    kinds = Counter(
        type(both.draws.draw(position).parts[0].track).__name__ for position in range(60)
    )
    assert min(kinds.values()) > 15 and set(kinds) == {"Stem", "Track"}


def test_longer_recordings_are_drawn_more_often(tmp_path):
    write_sound(tmp_path / "long.wav", 3.0)
    write_sound(tmp_path / "short.wav", 1.0)
    reader = MixReader(SMALL, list(open_catalogue(tmp_path)), 0)
    drawn = Counter(reader.draws.draw(n).parts[0].track.path.stem for n in range(300))
    assert drawn["long"] == pytest.approx(225, abs=5 * (300 * 3 / 16) ** 0.5)


def test_a_dataset_that_starts_at_a_batch_gives_what_one_from_the_beginning_gives(stems):
    everything = batches(SMALL, stems, count=6)
    assert same(batches(SMALL, stems, start=4, count=2), everything[4:])
    assert same(
        batches(SMALL, stems, 12, start=1, count=1),
        [tuple(map(np.concatenate, zip(*everything[3:], strict=True)))],
    )
    assert not same(batches(SMALL, stems, seed=1, count=1), everything[:1])


def test_what_is_drawn_is_the_same_for_ever(stems):
    def number(text):
        """The first eight of sixteen bytes of BLAKE2b as a share of 2**64."""
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    reader = MixReader(SMALL, stems, seed=7)
    for position in range(20):
        drawn = reader.draws.draw(position)
        rate = PAPER_BIT_RATES[int(6 * number(f"7:bit rate:example {position}"))]
        assert drawn.kbit_per_second == rate
        gain = -10 + 20 * number(f"7:{position}:0:gain:0")
        assert 20 * np.log10(drawn.parts[0].gain) == pytest.approx(gain)
        assert len(drawn.parts) == 1 + int(8 * number(f"7:{position}:0:number of stems"))
        stems_of = reader.draws.stems[("bass", "drums")[int(2 * number(f"7:{position}:0:stem:0"))]]
        assert drawn.parts[0].track in [stem for _, stem in stems_of]


def test_the_authors_draw_of_the_bit_rate_is_one_for_an_epoch(stems):
    mixes = dataclasses.replace(SMALL, bit_rate_draw="epoch", examples_per_epoch=10)
    assert mixes.count(stems) == 10
    reader = MixReader(mixes, stems, 0)
    drawn = [
        (each.kbit_per_second, each.variable_bit_rate) for each in map(reader.draws.draw, range(80))
    ]
    epochs = [set(drawn[first : first + 10]) for first in range(0, 80, 10)]
    assert all(len(epoch) == 1 for epoch in epochs) and len(set.union(*epochs)) > 3
    fixed = MixReader(dataclasses.replace(mixes, bit_rate_draw="example"), stems, 0)
    assert len({fixed.draws.draw(position).kbit_per_second for position in range(10)}) > 1


def test_an_epoch_has_as_many_examples_as_lie_side_by_side_in_the_music(tracks, stems):
    assert SMALL.count(tracks) == 5 * int(1.5 * 44100 / SAMPLES)
    seconds = [0.2 + 0.2 * number for number in range(10)]
    assert SMALL.count(stems) == sum(max(1, int(s * 44100 / SAMPLES)) for s in seconds)


def test_stems_shorter_than_an_excerpt_lie_somewhere_in_it(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"drums/{name}.wav", np.full(2000, 0.5, np.float32))
    reader = MixReader(
        dataclasses.replace(SMALL, stems=(1, 1)), list(open_catalogue(f"stems:{tmp_path}")), 0
    )
    begins = []
    for position in range(30):
        _, original = reader.read(position)
        (found,) = np.nonzero(original)
        assert np.ptp(found) == 1999 and len(found) == 2000
        begins.append(found[0])
    assert min(begins) < 3000 and max(begins) > SAMPLES - 5000


def test_a_damaged_stem_and_a_silent_one_are_replaced_and_named_once(tmp_path, caplog):
    stems = [("vocals", 1.0, 44100, 1), ("drums", 1.0, 44100, 1), ("bass", 1.0, 44100, 1)]
    make_moisesdb(tmp_path, {"one": stems, "two": stems})
    tracks = list(open_catalogue(tmp_path))
    damaged, silent, *intact = [stem for song in tracks for stem in song.stems]
    damaged.path.write_bytes(b"This is not music.")
    write(silent.path, np.zeros(44100, np.float32))
    mixes = dataclasses.replace(SMALL, mixture_share=0.0)
    with caplog.at_level(logging.WARNING, "tfrestore.data"):
        found = batches(mixes, tracks, count=6)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert all(any(str(each.path) in m for m in messages) for each in (damaged, silent))
    assert all(np.abs(original).max(axis=1).min() > 0.5 for _, original in found)
    assert same(batches(mixes, tracks, start=3, count=3), found[3:])
    reader = MixReader(mixes, tracks, 0)
    drawn = {part.track.path for n in range(60) for part in reader.draws.draw(n).parts}
    assert drawn == {each.path for each in intact}


def test_a_file_that_vanishes_while_training_is_replaced(stems, tmp_path, caplog):
    for number in range(4):
        write_sound(tmp_path / f"drums/{number}.wav", 1.0)
    tracks = list(open_catalogue(f"stems:{tmp_path}"))
    reader = MixReader(SMALL, tracks, 0)
    for track in tracks:
        reader.draws.sources.begins(track)
    tracks[0].path.unlink()
    with caplog.at_level(logging.WARNING, "tfrestore.data"):
        found = [reader.read(position)[1] for position in range(12)]
    assert all(np.abs(each).max() > 0.5 for each in found)
    assert [record.getMessage().count("0.wav") for record in caplog.records] == [1]


def test_where_all_mixtures_are_silent_stems_are_mixed_and_the_other_way_round(tmp_path):
    silence = np.zeros(20_000, np.float32)
    write(tmp_path / "music/silent.wav", silence)
    write_sound(tmp_path / "music/loud.wav", 1.0)
    write(tmp_path / "stems/drums/silent.wav", silence)
    write_sound(tmp_path / "stems/drums/loud.wav", 1.0)
    music = {track.path.stem: track for track in open_catalogue(f"folder:{tmp_path / 'music'}")}
    drums = {track.path.stem: track for track in open_catalogue(f"stems:{tmp_path / 'stems'}")}
    for tracks in ([music["silent"], drums["loud"]], [music["loud"], drums["silent"]]):
        draws = MixReader(SMALL, tracks, 0).draws
        assert {part.track.path.stem for n in range(20) for part in draws.draw(n).parts} == {"loud"}


def test_nothing_but_silence_is_one_line(tmp_path):
    for name in ("drums/a", "bass/b"):
        write(tmp_path / f"{name}.wav", np.zeros(20_000, np.float32))
    for kind in ("stems", "folder"):
        tracks = list(open_catalogue(f"{kind}:{tmp_path}"))
        with pytest.raises(tf.errors.OpError) as caught:
            batches(SMALL, tracks, count=1)
        message = str(decoding_error(caught.value))
        assert "nothing can be heard" in message and "\n" not in message


def test_prepared_pairs_are_refused_with_what_to_give_instead(tmp_path):
    write_sound(tmp_path / "music/song.wav", 1.0)
    catalogue = open_catalogue(tmp_path / "music")
    splits = [catalogue[0].split]
    pairs = Mp3Pairs(64, samples=SAMPLES)
    prepare_pairs(catalogue, splits, pairs, tmp_path / "pairs", 1)
    with pytest.raises(UsageError, match="give the folder of music"):
        SMALL.dataset(open_shards(tmp_path / "pairs"), 1, 0)
    with pytest.raises(UsageError, match="there is no music"):
        SMALL.dataset([], 1, 0)
    midi = dataclasses.replace(catalogue[0], path=tmp_path / "tune.mid")
    with pytest.raises(UsageError, match="tune.mid is a MIDI file"):
        SMALL.dataset([midi], 1, 0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"kbit_per_second": 17}, "no 17 kbit/s"),
        ({"kbit_per_second": []}, "data.kbit_per_second is empty"),
        ({"bit_rate_modes": "average"}, "data.bit_rate_modes is 'average': choose of constant"),
        ({"bit_rate_modes": ()}, "data.bit_rate_modes"),
        ({"bit_rate_draw": "worker"}, "data.bit_rate_draw is 'worker': choose one of example"),
        ({"channel_mix": "left"}, "data.channel_mix is 'left': choose one of mean, random"),
        ({"samples": 0}, "data.samples is 0"),
        ({"stems": (0, 8)}, "data.stems"),
        ({"stems": (3, 2)}, "data.stems"),
        ({"stems": 8}, "data.stems"),
        ({"gain_decibels": (1, -1)}, "data.gain_decibels"),
        ({"gain_decibels": (0, float("nan"))}, "data.gain_decibels"),
        ({"mixture_share": 1.5}, "data.mixture_share is 1.5: give 0 to 1"),
        ({"stereo_share": -0.1}, "data.stereo_share is -0.1: give 0 to 1"),
        ({"examples_per_epoch": 0}, "data.examples_per_epoch is 0"),
    ],
)
def test_mixes_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        StemMixes(**arguments)


def test_a_variable_bit_rate_is_another_mp3_of_about_its_size(tracks):
    heard = to_int16(np.tile(read_excerpt(tracks[0], 0, 66_000, 44100), 3))
    constant, variable = (encode_heard(heard, 0, 44100, 64, mode).data for mode in (False, True))
    assert constant != variable
    assert len(variable) == pytest.approx(len(constant), rel=0.2)
