"""Prepared recordings of two instruments: those made on the fly, once, whatever happens."""

import json
import os

import pytest
import soundfile

from tests.data.midi_maker import write_notes
from tests.data.test_midi_pairs import write_song
from tests.data.test_midi_rendering import cache  # noqa: F401
from tests.data.test_mp3_pairs import batches, same
from tfrestore.data import rendered_pairs
from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.instrument_swap import InstrumentSwap
from tfrestore.data.midi_pairs import MidiPairs
from tfrestore.data.rendered_pairs import MANIFEST, open_rendered, prepare_recordings
from tfrestore.data.shards import open_training_data
from tfrestore.errors import AudioFileError, InputError, UsageError
from tfrestore.evaluation.pairs import find_pairings
from tfrestore.prepare import main

pytest.importorskip("symusic")
pytest.importorskip("pretty_midi")


@pytest.fixture
def music(tmp_path):
    for number, name in enumerate(["train/a.mid", "train/deep/b.mid", "valid/c.mid"]):
        write_song(tmp_path / "midi" / name, 1 + number, number)
    return tmp_path / "midi"


def prepare(music, folder, swap=None, splits=("train", "validation"), jobs=1, **options):
    catalogue = open_catalogue(f"midi:{music}")
    return prepare_recordings(catalogue, splits, swap or InstrumentSwap(), folder, jobs, **options)


def times(folder):
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.suffix == ".flac"
    }


def test_training_reads_the_windows_that_are_rendered_on_the_fly(music, tmp_path):
    outcome = prepare(music, tmp_path / "pairs")
    assert (outcome.pairs, outcome.tracks, outcome.seconds) == (3, 3, 9) and not outcome.unreadable
    tracks = open_training_data(tmp_path / "pairs")
    assert [(track.track_id, track.split) for track in tracks] == [
        ("train/a", "train"),
        ("train/deep/b", "train"),
        ("valid/c", "validation"),
    ]
    pairs = MidiPairs()
    assert same(
        batches(pairs, tracks, count=12), batches(pairs, open_catalogue(f"midi:{music}"), count=12)
    )
    assert outcome.size == sum(len(data) for _, data in times(tmp_path / "pairs").values())


def test_any_program_finds_the_recordings_that_belong_together(music, tmp_path):
    prepare(music, tmp_path / "pairs")
    pairings = find_pairings(
        str(tmp_path / "pairs" / "target"), {"degraded": tmp_path / "pairs" / "input"}
    )
    assert len(pairings) == 3 and not any(pairing.missing for pairing in pairings)
    info = soundfile.info(pairings[0].track.path)
    assert (info.samplerate, info.channels, info.subtype) == (44100, 1, "PCM_16")


def test_it_goes_on_where_it_was_interrupted_and_ends_with_the_same_files(music, tmp_path):
    prepare(music, tmp_path / "whole", jobs=2)

    def stop(done, total, note):
        if note == "b.mid":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(music, tmp_path / "pairs", progress=stop)
    with pytest.raises(UsageError, match="not complete; give the same tfrestore prepare again"):
        open_rendered(tmp_path / "pairs")
    before = times(tmp_path / "pairs")
    (tmp_path / "pairs" / "input" / ".tfrestore-0.part").write_bytes(b"left behind")
    steps = []
    prepare(music, tmp_path / "pairs", progress=lambda *step: steps.append(step))
    assert steps[0] == (5.0, 9.0, "") and steps[-1] == (9.0, 9.0, "c.mid")
    after = times(tmp_path / "pairs")
    assert before.items() <= after.items() and len(before) == 4
    whole = times(tmp_path / "whole")
    assert {n: data for n, (_, data) in after.items()} == {
        n: data for n, (_, data) in whole.items()
    }
    assert not list((tmp_path / "pairs").rglob("*.part"))


def test_what_is_damaged_or_of_a_file_that_changed_is_made_anew(music, tmp_path):
    folder = tmp_path / "pairs"
    prepare(music, folder)
    intact = times(folder)
    cut_off = folder / "input" / "train" / "a.flac"
    os.truncate(cut_off, 100)
    with pytest.raises(UsageError, match="recordings of train/a are missing or cut off"):
        open_rendered(folder)
    write_song(music / "valid" / "c.mid", 2, seed=77)
    prepare(music, folder)
    after = times(folder)
    assert after["input/train/a.flac"][1] == intact["input/train/a.flac"][1]
    assert after["target/train/deep/b.flac"] == intact["target/train/deep/b.flac"]
    assert after["target/valid/c.flac"][1] != intact["target/valid/c.flac"][1]


def test_files_that_cannot_be_rendered_are_named_and_others_go_on(music, tmp_path):
    write_notes(music / "train" / "drums.mid", [], drums=[(0, 1, 38, 90)])
    outcome = prepare(music, tmp_path / "pairs", jobs=2)
    assert [path.name for path in outcome.unreadable] == ["drums.mid"]
    assert "has drums only" in str(outcome.unreadable) and outcome.pairs == 3
    assert len(open_rendered(tmp_path / "pairs")) == 3
    drums = music / "drums"
    drums.mkdir()
    os.replace(music / "train" / "drums.mid", drums / "drums.mid")
    with pytest.raises(InputError, match="none of its MIDI files can be rendered"):
        prepare(drums, tmp_path / "none", splits=("train", "validation", "test"))


def test_names_that_differ_in_their_suffix_only_do_not_meet(music, tmp_path):
    write_song(music / "train" / "A.MIDI", 1, seed=9)
    assert prepare(music, tmp_path / "pairs").pairs == 4
    assert len({track.path for track in open_rendered(tmp_path / "pairs")}) == 4


def test_other_instruments_and_other_folders_are_refused(music, tmp_path):
    prepare(music, tmp_path / "pairs")
    with pytest.raises(UsageError, match="holds recordings of other instruments"):
        prepare(music, tmp_path / "pairs", InstrumentSwap(0, 5))
    with pytest.raises(UsageError, match="these recordings have target 4, but 5 is asked for"):
        MidiPairs(0, 5).dataset(open_rendered(tmp_path / "pairs"), 1, 0)
    with pytest.raises(UsageError, match="this folder is not empty"):
        prepare(music, music)
    with pytest.raises(UsageError, match="this is a file"):
        prepare(music, music / "train" / "a.mid")
    with pytest.raises(InputError, match="cannot be written"):
        prepare(music, music / "train" / "a.mid" / "pairs")


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: "no JSON",
        lambda manifest: manifest["tracks"],
        lambda manifest: {**manifest, "format": "something else"},
        lambda manifest: {**manifest, "made_by": {}},
        lambda manifest: {**manifest, "tracks": [{**manifest["tracks"][0], "name": "../x.flac"}]},
        lambda manifest: {**manifest, "tracks": [{**manifest["tracks"][0], "frames": 0}]},
        lambda manifest: {**manifest, "tracks": [17]},
    ],
)
def test_a_manifest_that_says_anything_else_is_refused(music, tmp_path, change):
    prepare(music, tmp_path / "pairs")
    path = tmp_path / "pairs" / MANIFEST
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(UsageError, match=f"{MANIFEST}: not written by tfrestore prepare"):
        open_rendered(tmp_path / "pairs")


def test_a_recording_that_is_damaged_later_ends_a_run_and_is_not_replaced(music, tmp_path):
    prepare(music, tmp_path / "pairs")
    tracks = open_rendered(tmp_path / "pairs")
    os.truncate(tracks[2].input_path, 3000)
    with pytest.raises(AudioFileError, match="c.flac"):
        tracks[2].read(44100, 8192)
    assert not MidiPairs().is_replaceable(tracks[2])


def test_the_command_says_what_it_made(music, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rendered_pairs, "BLOCK_SAMPLES", 50_000)
    (music / "train" / "bad.mid").write_bytes(b"MThd?")
    arguments = ["--data", f"midi:{music}", "--out", str(tmp_path / "pairs"), "--jobs", "1"]
    kind = "instruments:0:electric piano 1"
    assert main([*arguments, "--degradation", kind]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{tmp_path / 'pairs'}: 3 pairs of recordings, 0 minutes, ")
    assert captured.err.count("bad.mid") == 1
    for kinds, said in (
        ([kind, "mp3:16"], "instruments are prepared on their own"),
        (["bandwidth:2"], "only pairs with MP3s"),
        (["mp3:16"], "a.mid is a MIDI file"),
        (["instruments:0:128"], "instrument 128 is out of range"),
    ):
        assert main([*arguments, "--degradation", *kinds]) != 0
        captured = capsys.readouterr().err
        assert said in captured.splitlines()[-1]
