"""The source activity detector: what is silent, by its definition and in a closed form."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.stem_trees import make_moisesdb, write
from tfrestore.data import source_activity
from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.source_activity import ActiveSources, SourceActivity, active_excerpts
from tfrestore.data.tracks import Track, open_folder

RATE = 8000
#: Excerpts of 1 s, chunks of 0.1 s.
DETECTOR = SourceActivity(RATE, RATE)


def track_of(folder, waveform, sample_rate=RATE, name="stem.wav"):
    waveform = np.atleast_2d(np.asarray(waveform, np.float32))
    path = write(folder / name, waveform, sample_rate)
    return Track(path, name, sample_rate, len(waveform), waveform.shape[1], "unknown", "train")


def tone(seconds, amplitude=0.1, sample_rate=RATE):
    return amplitude * np.sin(np.arange(round(seconds * sample_rate)) * 0.7)


def test_excerpts_are_active_that_are_silent_for_less_than_half(tmp_path):
    # Silent for 2 s, sounding for 2, silent for 3: chunks 20 to 39.
    waveform = np.concatenate([np.zeros(2 * RATE), tone(2), np.zeros(3 * RATE)])
    begins = DETECTOR.begins(track_of(tmp_path, waveform))
    np.testing.assert_array_equal(begins, np.arange(16, 35) * 800)


@pytest.mark.parametrize("sample_rate, channels", [(8000, 2), (16000, 1), (11025, 1)])
def test_begins_are_counted_at_the_examples_rate(tmp_path, sample_rate, channels):
    silence = np.zeros(2 * sample_rate)
    waveform = np.concatenate([silence, tone(2, 0.1, sample_rate), silence])
    channels = np.stack([waveform] + [np.zeros_like(waveform)] * (channels - 1))
    begins = DETECTOR.begins(track_of(tmp_path, channels, sample_rate))
    np.testing.assert_array_equal(begins, np.arange(16, 35) * 800)


@pytest.mark.parametrize("decibels, active", [(-59.5, True), (-60.5, False)])
def test_silence_is_what_has_less_than_60_dB_below_full_scale(tmp_path, decibels, active):
    waveform = np.full(2 * RATE, 10 ** (decibels / 20))
    assert bool(len(DETECTOR.begins(track_of(tmp_path, waveform)))) == active


def test_what_is_far_below_a_stem_s_own_level_is_silent_where_it_is_rare():
    powers = np.full(100, 1e-2)
    powers[:12] = 1e-4
    assert active_excerpts(powers)[0] == 8
    # More than 15 % of a stem is how it sounds.
    powers[:20] = 1e-4
    assert active_excerpts(powers)[0] == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1e-7, 1e-5, 1e-3]), min_size=1, max_size=60))
def test_active_excerpts_are_those_of_the_definition(powers):
    powers = np.array(powers)
    active = powers >= max(1e-6, np.quantile(powers, 0.15))
    if len(powers) < 10:
        expected = [0] if active.any() else []
    else:
        expected = [n for n in range(len(powers) - 9) if active[n : n + 10].sum() > 5]
    assert active_excerpts(powers).tolist() == expected


@pytest.mark.parametrize("length", [1, 799, 5000])
def test_one_stroke_that_is_shorter_than_an_excerpt_is_active(tmp_path, length):
    stroke = np.zeros(length)
    stroke[0] = 1.0
    assert DETECTOR.begins(track_of(tmp_path, stroke)).tolist() == [0]
    assert not len(DETECTOR.begins(track_of(tmp_path, np.zeros(length))))
    assert not len(DETECTOR.begins(track_of(tmp_path, np.zeros(0))))


def test_the_length_of_the_blocks_that_are_decoded_has_no_influence(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    loudness = np.repeat(rng.choice([0, 1e-4, 0.1], 23), 3 * 1102)
    track = track_of(tmp_path, loudness * rng.standard_normal(len(loudness)), 11025)
    expected = DETECTOR.begins(track)
    assert 0 < len(expected) < 60
    monkeypatch.setattr(source_activity, "_BLOCK_SECONDS", 1)
    np.testing.assert_array_equal(DETECTOR.begins(track), expected)


def test_a_file_is_decoded_once(tmp_path, monkeypatch):
    track = track_of(tmp_path, tone(2))
    sources = ActiveSources([track], RATE, RATE)
    assert len(sources.begins(track)) == 11
    track.path.unlink()
    assert len(sources.begins(track)) == 11


def test_what_is_silent_or_damaged_is_named_once_and_a_folder_instead_of_its_files(
    tmp_path, caplog
):
    write(tmp_path / "drums/loud.wav", tone(2), RATE)
    write(tmp_path / "drums/silent.wav", np.zeros(2 * RATE), RATE)
    for name in "abc":
        write(tmp_path / f"bass/{name}.wav", np.zeros(2 * RATE), RATE)
    write(tmp_path / "vocals/bad.wav", tone(2), RATE)
    write(tmp_path / "vocals/good.wav", tone(2), RATE)
    tracks = open_folder(tmp_path)
    (tmp_path / "vocals/bad.wav").write_bytes(b"This is not music.")
    sources = ActiveSources(tracks, RATE, RATE)
    with caplog.at_level(logging.WARNING, "tfrestore.data"):
        for _ in range(2):
            found = {track.path.stem: len(sources.begins(track)) for track in tracks}
    assert {name for name, count in found.items() if count} == {"loud", "good"}
    messages = sorted(record.getMessage() for record in caplog.records)
    assert len(messages) == 3
    assert f"{tmp_path / 'bass'}: all 3 recordings" in messages[0]
    assert "silent.wav is silent" in messages[1] and "bad.wav" in messages[2]


def test_songs_in_a_folder_per_instrument_are_not_taken_for_each_other(tmp_path):
    for instrument in ("drums", "bass"):
        write(tmp_path / instrument / "loud.wav", tone(2), RATE)
        write(tmp_path / instrument / "silent.wav", np.zeros(2 * RATE), RATE)
    songs = open_catalogue(tmp_path)
    sources = ActiveSources(songs, RATE, RATE)
    assert {song.track_id: len(sources.begins(song)) for song in songs} == {"loud": 11, "silent": 0}


def test_a_song_whose_stems_all_are_silent_is_silent(tmp_path):
    make_moisesdb(tmp_path, {"one": [("vocals", 0.5, 8000, 1), ("bass", 0.5, 8000, 1)]})
    (song,) = open_catalogue(tmp_path)
    assert len(ActiveSources([song], 4000, 8000).begins(song))
    for path in song.files:
        write(path, np.zeros(4000), 8000)
    assert not len(ActiveSources([song], 4000, 8000).begins(song))
