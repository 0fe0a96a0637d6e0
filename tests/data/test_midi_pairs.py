"""MIDI pairs: windows of both renderings, as functions of (seed, position); their catalogues."""

import csv
import logging

import numpy as np
import pytest

from tests.data.midi_maker import write_notes
from tests.data.test_midi_rendering import cache  # noqa: F401
from tests.data.test_mp3_pairs import batches, examples, make_track, same
from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.excerpt_pairs import PairReader
from tfrestore.data.instrument_swap import InstrumentSwap
from tfrestore.data.midi_catalogue import MAESTRO_COLUMNS
from tfrestore.data.midi_pairs import MidiPairs
from tfrestore.data.midi_rendering import PairRenderer
from tfrestore.data.tracks import split_of
from tfrestore.errors import UsageError

pytest.importorskip("symusic")
pytest.importorskip("pretty_midi")


def write_song(path, seconds, seed=0, **options):
    rng = np.random.default_rng(seed)
    starts = np.arange(0, seconds, 0.25)
    notes = [(start, start + 0.25, int(rng.integers(48, 84)), 90) for start in starts]
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_notes(path, notes, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("midi")
    for number, name in enumerate(["jazz__a.mid", "folk/b.MIDI", "folk/c.mid"]):
        write_song(folder / name, 1 + number / 2, number)
    (folder / "bad.mid").write_bytes(b"MThd, but not music at all")
    (folder / "notes.txt").write_text("nothing")
    return folder


def test_a_folder_of_midi_files_is_a_catalogue_whose_lengths_are_known(folder, caplog):
    with caplog.at_level(logging.WARNING, "tfrestore.data"):
        catalogue = open_catalogue(f"midi:{folder}")
    assert [record.getMessage().count("bad.mid") for record in caplog.records] == [1]
    assert list(open_catalogue(folder)) == list(catalogue)
    found = {track.track_id: (track.duration, track.genre, track.split) for track in catalogue}
    assert found == {
        "folk/b": (2.5, "folk", split_of("folk/b")),
        "folk/c": (3.0, "folk", split_of("folk/c")),
        "jazz__a": (2.0, "jazz", split_of("jazz__a")),
    }


def test_a_pair_is_that_window_of_both_renderings(folder):
    tracks = open_catalogue(f"midi:{folder}")
    pairs = MidiPairs(0, "electric piano 1", order="file")
    degraded, originals = examples(pairs, tracks, 1, count=pairs.count(tracks))
    renderer = PairRenderer(InstrumentSwap(0, 4))
    windows = [(track.path, begin) for track in tracks for begin in pairs.begins(track)]
    assert (
        len(windows)
        == len(originals)
        == sum((round(track.duration * 44100) - 8192) // 4096 + 1 for track in tracks)
    )
    for (path, begin), *pair in zip(windows, degraded, originals, strict=True):
        np.testing.assert_array_equal(pair, renderer.render(path, begin, 8192))


def test_a_run_goes_on_anywhere_and_the_seed_decides(folder):
    tracks = open_catalogue(f"midi:{folder}")
    pairs = MidiPairs(samples=4096)
    found = batches(pairs, tracks, count=6)
    assert same(batches(pairs, tracks, start=4, count=2), found[4:])
    assert not same(batches(pairs, tracks, seed=1, count=6), found)


def test_a_file_that_cannot_be_played_is_replaced_by_others(folder, tmp_path, caplog):
    (tmp_path / "midi").mkdir()
    drums = write_notes(tmp_path / "midi" / "drums.mid", [], drums=[(0, 3, 38, 90)])
    write_song(tmp_path / "midi" / "song.mid", 3)
    tracks = open_catalogue(f"midi:{tmp_path / 'midi'}")
    assert [track.path for track in tracks][0] == drums
    with caplog.at_level(logging.WARNING, "tfrestore.data"):
        found = batches(MidiPairs(), tracks, count=4)
    assert sum("drums.mid" in record.getMessage() for record in caplog.records) == 1
    assert len(found) == 4


def test_music_that_is_not_midi_is_refused(tmp_path):
    track = make_track(tmp_path, "song.wav", 1)
    with pytest.raises(UsageError, match="song.wav is no MIDI file.* midi:FOLDER"):
        MidiPairs().dataset([track], 1, 0)
    with pytest.raises(UsageError, match="has no MIDI files: give a folder with .mid, .midi"):
        open_catalogue(f"midi:{tmp_path}")
    (tmp_path / "bad.mid").write_bytes(b"")
    with pytest.raises(UsageError, match="1 MIDI files, but none can be used"):
        open_catalogue(f"midi:{tmp_path}")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"input": 300}, "instrument 300 is out of range"),
        ({"samples": 0}, "data.samples is 0"),
        ({"order": "no"}, "data.order is 'no'"),
        ({"volume": 1000}, "volume is 1000"),
    ],
)
def test_pairs_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        MidiPairs(**arguments)


def write_maestro(folder, rows):
    with open(folder / "maestro-v3.0.0.csv", "w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(MAESTRO_COLUMNS)
        for composer, split, name, duration in rows:
            lines.writerow([composer, "A piece", split, 2018, name, f"{name}.wav", duration])


def test_maestro_is_known_by_its_csv_which_decides_the_splits(tmp_path, caplog):
    write_song(tmp_path / "2018" / "one.midi", 1)
    write_song(tmp_path / "2004" / "two.midi", 2)
    rows = [
        ("Frédéric Chopin", "test", "2018/one.midi", 2.25),
        ("Franz Liszt", "train", "2004/two.midi", 3.0),
        ("Franz Liszt", "train", "2004/three.midi", 3.0),
    ]
    write_maestro(tmp_path, rows)
    with caplog.at_level(logging.WARNING, "tfrestore.data"):
        found = [
            (track.track_id, track.genre, track.split, track.duration)
            for track in open_catalogue(str(tmp_path))
        ]
    assert found == [
        ("2018/one", "Frédéric Chopin", "test", 2.25),
        ("2004/two", "Franz Liszt", "train", 3.0),
    ]
    assert "1 pieces of its CSV are not there" in caplog.text
    assert len(open_catalogue(f"maestro:{tmp_path}")) == 2
    # Without its CSV, it is a folder of MIDI files.
    assert len(open_catalogue(f"midi:{tmp_path}")) == 2


@pytest.mark.parametrize(
    "rows, message",
    [
        ([("A", "holdout", "a.midi", 1)], "there is a split 'holdout'"),
        ([("A", "test", "song.midi", "long")], "is not MAESTRO's CSV"),
        ([("A", "test", "song.midi", "inf")], "is not MAESTRO's CSV"),
        ([("A", "test", "a.midi", 1)], "none of its MIDI files"),
    ],
)
def test_a_csv_that_cannot_be_used_is_one_line(tmp_path, rows, message):
    write_song(tmp_path / "song.midi", 1)
    write_maestro(tmp_path, rows)
    with pytest.raises(UsageError, match=message):
        open_catalogue(f"maestro:{tmp_path}")


def test_a_folder_without_the_csv_is_not_maestro(folder):
    with pytest.raises(UsageError, match="has no CSV of MAESTRO"):
        open_catalogue(f"maestro:{folder}")


def test_a_window_longer_than_a_piece_ends_in_silence(folder):
    track = open_catalogue(f"midi:{folder}")[0]
    degraded, original = PairReader(MidiPairs(samples=2**18), [track], seed=0).read(0)
    assert len(original) == 2**18 and not original[track.frames :].any() and original.any()
