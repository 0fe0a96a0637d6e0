"""Catalogues: what belongs to them, and splits that stay where they are."""

import logging
import os
import shutil

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.tracks import Catalogue, Track, open_folder, split_of
from tfrestore.errors import UsageError


def make(folder, *names, frames=800, sample_rate=8000, channels=1):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros((frames, channels)), sample_rate)


def splits(catalogue):
    return {track.track_id: track.split for track in catalogue}


def test_ten_thousand_names_are_split_80_10_10():
    names = [split_of(f"artist {n % 97}/album {n % 11}/song {n}") for n in range(10_000)]
    # The standard deviation of a share of 0.1 is 0.003 over 10 000 names, of 0.8 it is 0.004.
    assert names.count("train") == pytest.approx(8000, abs=5 * 40)
    assert names.count("validation") == pytest.approx(1000, abs=5 * 30)
    assert names.count("test") == pytest.approx(1000, abs=5 * 30)


def test_the_split_of_a_name_is_the_same_for_ever():
    # BLAKE2b of eight bytes, as a share of 2**64: 0.697, 0.412, 0.881, 0.994.
    names = ("a/1", "Müsli", "rock/44", "rock/8")
    assert [split_of(name) for name in names] == ["train", "train", "validation", "test"]


@given(
    st.lists(
        st.text("abcäß %_-", min_size=1, max_size=6).map(str.strip).filter(bool),
        min_size=2,
        max_size=8,
        unique=True,
    )
)
@settings(deadline=None, max_examples=15)
def test_adding_files_or_moving_the_folder_moves_no_track(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("music")
    make(folder, *(f"{name}.wav" for name in names[: len(names) // 2]))
    before = splits(open_folder(folder))
    make(folder, *(f"{name}.wav" for name in names))
    moved = shutil.move(folder, folder.with_name(folder.name + " moved"))
    after = splits(open_catalogue(moved))
    assert len(after) == len(names)
    assert before.items() <= after.items()


def test_a_track_keeps_its_split_when_its_format_changes(tmp_path):
    make(tmp_path, "x/song.wav", "x/song.flac")
    assert len({track.split for track in open_folder(tmp_path)}) == 1


def test_tracks_carry_what_their_headers_say(tmp_path):
    make(tmp_path, "song.wav", frames=12_000, sample_rate=48_000, channels=2)
    (track,) = open_catalogue(str(tmp_path))
    assert (track.path, track.track_id) == (tmp_path / "song.wav", "song")
    assert (track.sample_rate, track.channels, track.frames) == (48_000, 2, 12_000)
    assert track.duration == 0.25


def test_genres_come_from_the_first_folder_else_from_the_name_before_two_underscores(tmp_path):
    make(
        tmp_path, "rock/album/one.wav", "jazz/x__two.wav", "folk__three.wav", "four.wav", "__5.wav"
    )
    genres = {track.track_id: track.genre for track in open_folder(tmp_path)}
    assert genres == {
        "rock/album/one": "rock",
        "jazz/x__two": "jazz",
        "folk__three": "folk",
        "four": "unknown",
        "__5": "unknown",
    }


@pytest.mark.parametrize("validation", ["valid", "validation", "val", "Validation"])
def test_sub_folders_for_splits_decide_them_and_are_no_genre(tmp_path, validation, caplog):
    make(
        tmp_path,
        "train/rock/a.wav",
        "train/b.wav",
        f"{validation}/jazz__c.wav",
        "test/folk/d/e.wav",
    )
    make(tmp_path, "elsewhere/f.wav", "g.wav")
    with caplog.at_level(logging.WARNING, "tfrestore.data"):
        found = {(track.path.stem, track.split, track.genre) for track in open_folder(tmp_path)}
    assert found == {
        ("a", "train", "rock"),
        ("b", "train", "unknown"),
        ("jazz__c", "validation", "jazz"),
        ("e", "test", "folk"),
    }
    assert "2 audio files" in caplog.text


def test_an_album_called_test_among_others_decides_nothing(tmp_path):
    make(tmp_path, "test/a.wav", "rock/b.wav")
    assert {track.genre for track in open_folder(tmp_path)} == {"test", "rock"}


def test_a_folder_with_nothing_but_a_test_folder_is_all_test(tmp_path):
    make(tmp_path, "test/rock/a.wav", "test/jazz/b.wav")
    assert set(splits(open_folder(tmp_path)).values()) == {"test"}


def test_files_come_sorted_and_without_hidden_ones(tmp_path):
    make(tmp_path, "b.wav", "a/z.WAV", ".hidden.wav", ".cache/x.wav", "c.flac")
    (tmp_path / "notes.txt").write_text("not sound")
    assert [track.track_id for track in open_folder(tmp_path)] == ["a/z", "b", "c"]


def test_links_are_followed_but_not_round_in_circles(tmp_path):
    make(tmp_path / "elsewhere", "a.wav")
    (tmp_path / "music").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "music" / "linked")
    os.symlink(tmp_path / "music", tmp_path / "elsewhere" / "back")
    assert [track.track_id for track in open_folder(tmp_path / "music")] == ["linked/a"]


def test_an_unreadable_file_is_left_out_with_one_line_that_names_it(tmp_path, caplog):
    make(tmp_path, "good.wav")
    make(tmp_path, "silent.wav", frames=0)
    (tmp_path / "text.wav").write_text("I am not a sound.")
    (tmp_path / "empty.mp3").write_bytes(b"")
    with caplog.at_level(logging.WARNING, "tfrestore.data"):
        assert [track.track_id for track in open_folder(tmp_path)] == ["good"]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3 and all("\n" not in line for line in lines)
    assert all(
        any(name in line for line in lines) for name in ("text.wav", "empty.mp3", "silent.wav")
    )


@pytest.mark.parametrize("files", [{}, {"a.txt": b"x"}, {"a.wav": b"not a wave file"}])
def test_a_folder_without_readable_audio_is_a_usage_error_that_names_it(tmp_path, files):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        open_catalogue(str(tmp_path))
    assert str(tmp_path) in str(caught.value) and ".wav" in str(caught.value)


def test_a_path_that_is_no_folder_is_a_usage_error_that_names_it(tmp_path):
    with pytest.raises(UsageError, match="nowhere does not exist"):
        open_catalogue(str(tmp_path / "nowhere"))
    make(tmp_path, "song.wav")
    with pytest.raises(UsageError, match="song.wav is not a folder"):
        open_catalogue(str(tmp_path / "song.wav"))


def test_a_folder_may_be_named_with_its_kind(tmp_path):
    make(tmp_path / "demo", "song.wav")
    assert len(open_catalogue(f"folder:{tmp_path / 'demo'}")) == 1
    with pytest.raises(UsageError, match="tracks.csv"):
        open_catalogue(f"fma:{tmp_path / 'demo'}")


def track(number, split, genre="rock"):
    return Track(f"/{number}.wav", str(number), 100, 1, 100 * number, genre, split)


def test_a_catalogue_is_a_sequence_that_knows_splits_genres_and_length():
    tracks = [track(1, "train"), track(2, "test", "jazz"), track(3, "train", "folk")]
    catalogue = Catalogue(tracks, "mine")
    assert list(catalogue) == tracks and len(catalogue) == 3 and catalogue[1] is tracks[1]
    assert list(catalogue.split("train")) == [tracks[0], tracks[2]]
    assert list(catalogue.split("validation")) == []
    assert list(catalogue.split("all")) == list(catalogue.require("all")) == tracks
    assert list(catalogue[:2]) == tracks[:2] and catalogue[:2].source == "mine"
    assert catalogue.genres == ("folk", "jazz", "rock")
    assert catalogue.total_duration == 6.0


def test_a_split_without_tracks_is_asked_for_in_vain_with_advice():
    catalogue = Catalogue([track(1, "train"), track(2, "train")], "my music")
    assert len(catalogue.require("train")) == 2
    with pytest.raises(
        UsageError, match="my music has only 2 tracks, none .* validation split: add"
    ):
        catalogue.require("validation")
    with pytest.raises(UsageError, match="no split 'valid': choose one of train, validation, test"):
        catalogue.split("valid")
