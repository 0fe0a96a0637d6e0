"""FMA: the real header of tracks.csv, and the paper's split."""

import csv
import random
from collections import Counter

import numpy as np
import pytest
import soundfile

from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.fma import (
    TEST_GENRES,
    TRAINING_GENRES,
    Row,
    find_metadata,
    open_fma,
    paper_splits,
    read_rows,
)
from tfrestore.errors import UsageError

# The header of the real file, shortened to columns of every group.
HEADER = [
    ["", "album", "album", "artist", "set", "set", "track", "track", "track"],
    ["", "comments", "title", "name", "split", "subset", "duration", "genre_top", "title"],
    ["track_id", "", "", "", "", "", "", "", ""],
]


def line(number, genre, subset="small"):
    title = 'with "quotes", commas\nand a second line'
    return [number, 0, title, "Ä. Musician", "training", subset, 30, genre, title]


def write_metadata(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([*HEADER, *lines])


def make_audio(folder, number, suffix="wav"):
    path = folder / f"{number // 1000:03d}" / f"{number:06d}.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(100), 8000)


@pytest.fixture
def fma(tmp_path):
    lines = [
        line(2, "Hip-Hop"),
        line(5, "Rock"),
        line(140, "Old-Time / Historic", "medium"),
        line(1234, "Soul-RnB", "medium"),
        line(1300, "", "large"),
        line(9999, "Jazz", "medium"),
    ]
    write_metadata(tmp_path / "fma_metadata" / "tracks.csv", lines)
    for number in (2, 5):
        make_audio(tmp_path / "fma_small", number)
    for number in (2, 140, 1234, 1300):
        make_audio(tmp_path / "fma_medium", number, "flac")
    (tmp_path / "fma_small" / "checksums").write_text("")
    return tmp_path


@pytest.mark.parametrize("given", ["{}", "fma:{}"])
def test_tracks_on_the_disk_get_their_genre_in_the_papers_words(fma, given):
    catalogue = open_catalogue(given.format(fma))
    assert [(track.track_id, track.genre, track.split) for track in catalogue] == [
        ("000002", "Hip-Hop", "train"),
        ("000005", "Rock", "train"),
        ("000140", "Historic", "test"),
        ("001234", "Soul-RnB", "test"),
    ]


def test_a_track_in_two_subsets_is_read_once_from_the_smaller_one(fma):
    assert open_fma(fma)[0].path == fma / "fma_small" / "000" / "000002.wav"


def test_the_folder_of_a_subset_finds_the_metadata_beside_it(fma):
    assert [track.track_id for track in open_catalogue(fma / "fma_small")] == ["000002", "000005"]


def test_a_tracks_csv_of_somebody_else_does_not_make_a_folder_fma(tmp_path):
    (tmp_path / "tracks.csv").write_text("track_id,title\n1,one\n")
    (tmp_path / "fma_metadata").mkdir()
    (tmp_path / "fma_metadata" / "tracks.csv").write_bytes(b"\xff\xfe\x00")
    make_audio(tmp_path, 1)
    assert find_metadata(tmp_path) is None
    assert [track.genre for track in open_catalogue(tmp_path)] == ["000"]
    with pytest.raises(UsageError, match="fma_metadata.zip"):
        open_fma(tmp_path)


def test_a_damaged_tracks_csv_is_one_sentence_that_names_it(tmp_path):
    write_metadata(tmp_path / "tracks.csv", [line(2, "Rock"), ["3", "cut off"]])
    make_audio(tmp_path, 2)
    with pytest.raises(UsageError, match=r"tracks\.csv .*again\.$"):
        open_catalogue(tmp_path)


def test_metadata_without_audio_is_a_usage_error(tmp_path):
    write_metadata(tmp_path / "tracks.csv", [line(2, "Rock")])
    with pytest.raises(UsageError, match="no audio files"):
        open_catalogue(tmp_path)


def test_very_long_texts_in_the_metadata_are_read(tmp_path):
    lines = [line(2, "Rock")]
    lines[0][2] = "x" * 300_000
    write_metadata(tmp_path / "tracks.csv", lines)
    assert read_rows(tmp_path / "tracks.csv") == [Row(2, "Rock", "small")]


def all_of_fma():
    """Rows with the numbers of FMA: 1000 of `small` in the training genres, others of `medium`."""
    genres = [(genre, "small") for genre in TRAINING_GENRES for _ in range(1000)]
    genres += [(genre, "medium") for genre in TRAINING_GENRES for _ in range(300)]
    genres += [(genre, "medium") for genre in TEST_GENRES for _ in range(50)]
    numbers = random.Random(0).sample(range(1, 155_321), len(genres))
    return [Row(number, *pair) for number, pair in zip(numbers, genres, strict=True)]


def test_the_split_is_that_of_the_papers_table_1():
    rows = all_of_fma()
    splits = paper_splits(rows)
    counts = Counter((row.genre, splits[row.number]) for row in rows)
    for genre in TRAINING_GENRES:
        assert [counts[genre, split] for split in ("train", "validation", "test")] == [
            800,
            200,
            300,
        ]
    for genre in TEST_GENRES:
        assert [counts[genre, split] for split in ("train", "validation", "test")] == [0, 0, 50]
    assert Counter(splits.values())["train"] == 6400
    assert Counter(splits.values())["validation"] == 1600
    assert all(splits[row.number] == "test" for row in rows if row.subset == "medium")


def test_the_split_does_not_depend_on_the_order_of_the_rows():
    rows = all_of_fma()
    shuffled = random.Random(1).sample(rows, len(rows))
    assert paper_splits(shuffled) == paper_splits(rows)


def test_the_sixteen_genres_are_the_papers():
    assert len(set(TRAINING_GENRES) | set(TEST_GENRES)) == 16
