"""Folders of stems: which song a file belongs to, and that no song is in two splits."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.stem_trees import make_moisesdb, make_musdb, write
from tfrestore.audio.reading import read
from tfrestore.audio.resampling import resample
from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.excerpts import read_excerpt, read_frames
from tfrestore.data.mp3_pairs import Mp3Pairs
from tfrestore.data.pipeline import GapExamples
from tfrestore.data.songs import Song, Stem, with_own_files, with_stems
from tfrestore.data.stem_folders import recognise
from tfrestore.data.tracks import split_of
from tfrestore.errors import UsageError

SILENCE = np.zeros(800, np.float32)

OFFICIAL = "ANiMAL - Rockshow"


def tree(folder, *names):
    for name in names:
        write(folder / name, SILENCE, 8000)
    return folder


@pytest.mark.parametrize("given_as", ["{}", "musdb:{}"])
def test_musdb_has_its_official_splits_and_songs_are_their_mixtures(tmp_path, given_as):
    make_musdb(tmp_path, ["train/A - B", f"train/{OFFICIAL}", "test/C. D - E"], seconds=0.1)
    catalogue = open_catalogue(given_as.format(tmp_path))
    assert {track.track_id: track.split for track in catalogue} == {
        "train/A - B": "train",
        f"train/{OFFICIAL}": "validation",
        "test/C. D - E": "test",
    }
    assert catalogue.has_splits
    for song in catalogue:
        assert isinstance(song, Song) and song.genre == "mixed content"
        assert song.path.name == "mixture.wav" and song.files == (song.path,)
        assert {(stem.instrument, stem.genre) for stem in song.stems} == {
            ("vocals", "vocals"),
            ("drums", "single instrument"),
            ("bass", "single instrument"),
            ("other", "mixed content"),
        }
        assert {stem.split for stem in song.stems} == {song.split}
    assert len(with_stems(catalogue)) == 15 and list(with_own_files(catalogue)) == list(catalogue)


def test_of_a_train_folder_without_official_validation_songs_a_hash_sets_some_aside(tmp_path):
    names = [f"train/Song {number}" for number in range(12)]
    assert "validation" in map(split_of, (name.removeprefix("train/") for name in names))
    tree(tmp_path, *(f"{name}/{stem}.wav" for name in names for stem in ("mixture", "vocals")))
    tree(tmp_path, "test/T/mixture.wav", "test/T/vocals.wav")
    for track in open_catalogue(tmp_path):
        own = split_of(track.path.parent.name)
        expected = "validation" if own == "validation" else "train"
        assert track.split == ("test" if track.track_id == "test/T" else expected)
    tree(tmp_path, "valid/V/mixture.wav", "valid/V/vocals.wav")
    splits = [track.split for track in open_catalogue(tmp_path)]
    assert splits.count("validation") == 1 and splits.count("train") == 12


def test_the_mixture_of_moisesdb_is_the_sum_of_stems_of_different_rates_lengths_and_channels(
    tmp_path,
):
    stems = [("vocals", 1.0, 44100, 2), ("bass", 0.7, 48000, 1), ("other_keys", 0.5, 22050, 1)]
    make_moisesdb(tmp_path, {"one": stems})
    (song,) = open_catalogue(tmp_path)
    assert recognise(tmp_path) == "moisesdb"
    assert (song.track_id, song.sample_rate, song.channels) == ("moisesdb_v0.1/one", 48000, 2)
    assert song.frames == 48000 and len(song.files) == 3
    assert {(stem.instrument, stem.genre) for stem in song.stems} == {
        ("vocals", "vocals"),
        ("bass", "single instrument"),
        ("other_keys", "single instrument"),
    }
    expected = np.zeros((2, 48000), np.float32)
    for path in song.files:
        waveform = resample(*read(path), 48000)
        expected[:, : waveform.shape[1]] += waveform
    everything, rate = read_frames(song)
    assert rate == 48000 and everything.shape == (2, 48000)
    np.testing.assert_allclose(everything, expected, atol=2e-6)
    part, _ = read_frames(song, 20_000, 20_000)
    np.testing.assert_allclose(part, expected[:, 20_000:40_000], atol=2e-6)
    assert read_frames(song, 47_990, 100)[0].shape == (2, 10)
    excerpt = read_excerpt(song, -100, 1000, 48000)
    np.testing.assert_allclose(excerpt[100:], expected.mean(axis=0)[:900], atol=2e-6)
    assert not excerpt[:100].any()
    assert with_own_files([song]) == list(song.stems)


@pytest.mark.parametrize("given_as", ["{}", "stems:{}"])
def test_in_a_folder_per_instrument_files_of_one_name_are_one_song(tmp_path, given_as):
    tree(tmp_path, "drums/x.wav", "bass/x.wav", "vocals/y.wav", "Lead Guitar/z.wav")
    found = {track.track_id: track for track in open_catalogue(given_as.format(tmp_path))}
    assert set(found) == {"x", "vocals/y", "Lead Guitar/z"}
    assert isinstance(found["x"], Song) and not found["x"].has_mixture
    assert {stem.genre for stem in found["x"].stems} == {"drums", "bass"}
    assert isinstance(found["vocals/y"], Stem) and found["vocals/y"].genre == "vocals"
    assert found["vocals/y"].split == split_of("y")
    assert found["Lead Guitar/z"].instrument == "lead guitar"


def test_in_a_folder_per_song_the_files_are_its_instruments(tmp_path):
    for song in ("one", "two"):
        names = ("01 Drums.wav", "02_Bass.wav", "My song - Lead Vocals.wav", "Full Mix.wav")
        tree(tmp_path, *(f"{song}/{name}" for name in names))
    tree(tmp_path, "three/drums.wav", "three/inside/keys.wav")
    found = {track.track_id: track for track in open_catalogue(tmp_path)}
    assert set(found) == {"one", "two", "three"}
    assert found["one"].path.name == "Full Mix.wav" and found["one"].has_mixture
    assert {stem.instrument for stem in found["one"].stems} == {"drums", "bass", "lead vocals"}
    assert {stem.instrument for stem in found["three"].stems} == {"drums", "keys"}
    assert not found["three"].has_mixture


def test_sub_folders_for_splits_decide_those_of_stems(tmp_path):
    tree(tmp_path, "train/drums/a.wav", "valid/bass/b.wav", "test/vocals/c.wav", "else/drums/d.wav")
    catalogue = open_catalogue(f"stems:{tmp_path}")
    assert {(track.path.stem, track.split) for track in catalogue} == {
        ("a", "train"),
        ("b", "validation"),
        ("c", "test"),
    }
    assert catalogue.has_splits


@pytest.mark.parametrize(
    "names",
    [
        ("rock/a.wav", "jazz/b.wav", "bass/c.wav"),
        ("rock/a drum song.wav", "jazz/b.wav"),
        ("drums/a.wav",),
        ("a.wav", "b.wav"),
        ("album/mixture.wav", "album/song.wav"),
    ],
)
def test_a_folder_of_music_is_not_taken_for_stems(tmp_path, names):
    tree(tmp_path, *names)
    assert recognise(tmp_path) == ""
    assert not any(isinstance(track, (Song, Stem)) for track in open_catalogue(tmp_path))


def test_a_stem_that_cannot_be_read_is_left_out_and_its_song_stays(tmp_path, caplog):
    make_musdb(tmp_path, ["train/A", "train/B"], seconds=0.1)
    (tmp_path / "train/A/bass.wav").write_bytes(b"This is not music.")
    (tmp_path / "train/B/mixture.wav").write_bytes(b"Nor is this.")
    first, second = open_catalogue(f"musdb:{tmp_path}")
    assert len(first.stems) == 3 and first.has_mixture
    assert len(second.stems) == 4 and not second.has_mixture
    assert caplog.text.count("left out") == 2


@pytest.mark.parametrize(
    "kind, message",
    [
        ("musdb", "mixture.wav, vocals.wav, drums.wav"),
        ("moisesdb", "data.json and a folder per instrument"),
        ("stems", "give a folder per instrument"),
    ],
)
def test_a_folder_without_stems_is_one_line(tmp_path, kind, message):
    (tmp_path / "notes.txt").write_text("no music")
    with pytest.raises(UsageError, match=message) as caught:
        open_catalogue(f"{kind}:{tmp_path}")
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
    with pytest.raises(UsageError, match="does not exist"):
        open_catalogue(f"{kind}:{tmp_path}/nowhere")


def test_catalogues_are_joined_and_names_that_occur_twice_told_apart(tmp_path):
    tree(tmp_path / "a + b", "drums/x.wav", "bass/y.wav")
    tree(tmp_path / "c", "drums/x.wav", "z.wav")
    catalogue = open_catalogue(f"stems:{tmp_path / 'a + b'}+folder:{tmp_path / 'c'}")
    assert [track.track_id for track in catalogue] == ["bass/y", "1/drums/x", "2/drums/x", "z"]
    assert not catalogue.has_splits
    assert len(open_catalogue(f"folder:{tmp_path / 'a + b'}")) == 2


def test_stems_of_songs_of_one_name_are_told_apart_as_well(tmp_path):
    for folder in ("one", "two"):
        tree(tmp_path / folder, "train/A/mixture.wav", "train/A/vocals.wav", "train/B/vocals.wav")
    joined = open_catalogue(f"musdb:{tmp_path / 'one'}+musdb:{tmp_path / 'two'}")
    names = ["train/A", "train/A/vocals"]
    found = [track.track_id for track in with_stems(joined)]
    assert found == [f"{number}/{name}" for number in (1, 2) for name in names]


NAMES = st.sampled_from(
    ["drums", "Bass", "vocals", "mixture", "one", "zwölf", "a.b", "train", "01"]
)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.lists(NAMES, min_size=1, max_size=3).map(tuple), max_size=8, unique=True),
    st.sampled_from(["stems", "musdb", "moisesdb", ""]),
)
def test_whatever_lies_in_a_folder_no_song_is_in_two_splits(tmp_path_factory, paths, kind):
    folder = tmp_path_factory.mktemp("tree")
    for parts in paths:
        write(folder.joinpath(*parts[:-1], f"{parts[-1]}.wav"), SILENCE[:100], 8000)
    try:
        catalogue = open_catalogue(f"{kind}:{folder}" if kind else folder)
    except UsageError as error:
        assert "\n" not in str(error)
        return
    assert len({track.track_id for track in catalogue}) == len(catalogue)
    seen = defaultdict(set)
    for track in with_stems(catalogue):
        for path in track.files:
            seen[path].add(track.split)
    assert all(len(splits) == 1 for splits in seen.values())
    for song in catalogue:
        if isinstance(song, Song):
            assert {stem.split for stem in song.stems} == {song.split}
            assert read_frames(song)[0].shape == (song.channels, song.frames)


def test_a_song_without_a_mixture_is_a_track_for_every_model(tmp_path):
    make_moisesdb(tmp_path, {"one": [("vocals", 1.2, 16000, 1), ("bass", 1.2, 16000, 2)]})
    tracks = list(open_catalogue(tmp_path))
    (degraded, original) = next(
        iter(Mp3Pairs(samples=8192, sample_rate=16000).dataset(tracks, 1, 0))
    )
    assert degraded.shape == original.shape == (1, 8192) and np.ptp(original) > 0.01
    gaps = GapExamples(patches_per_excerpt=1)
    waveforms, _ = next(iter(gaps.dataset(tracks, 1, 0)))
    assert np.ptp(waveforms) > 0.01 and gaps.excerpts_in(tracks) == 4
