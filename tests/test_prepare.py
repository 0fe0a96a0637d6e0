"""The command: what it makes, that nothing it was killed in is lost, and what it refuses."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import soundfile

from tests.conftest import synthesize
from tfrestore.data import preparation
from tfrestore.data.shards import open_shards
from tfrestore.prepare import main

OPTIONS = ["--degradation", "mp3:16", "--excerpt-samples", "8192"]

# The command with small shards, which kills itself as by kill -9 behind a write of its choice.
SMALL_SHARDS = """
import json, os, signal, sys
from pathlib import Path
import tfrestore.data.preparation as preparation
import tfrestore.data.shards as shards
from tfrestore.prepare import main

arguments, kill_at = json.loads(sys.argv[1])
preparation.PAIRS_PER_SHARD = 5
replace, writes = os.replace, 0

def killed_replace(source, target):
    global writes
    if writes == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    writes += 1
    replace(source, target)

os.replace = killed_replace
sys.exit(main(arguments))
"""


def write_song(path, seconds, seed, sample_rate=44100):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, synthesize(seconds, sample_rate, seed), sample_rate)


@pytest.fixture
def music(tmp_path):
    """Three tracks to train on, one to validate, one to test."""
    for number, name in enumerate(["train/a", "train/b", "train/c", "valid/d", "test/e"]):
        write_song(tmp_path / "music" / f"{name}.flac", 1.5, number)
    return tmp_path / "music"


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(preparation, "PAIRS_PER_SHARD", 5)


def prepare(music, out, *more):
    return main(["--data", str(music), "--out", str(out), *OPTIONS, *map(str, more)])


def start(music, out, kill_at=-1):
    request = json.dumps([["--data", str(music), "--out", str(out), *OPTIONS], kill_at])
    return subprocess.Popen(
        [sys.executable, "-c", SMALL_SHARDS, request], stderr=subprocess.PIPE, text=True
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pairs_of(folder):
    return {track.track_id: len(track.records) for track in open_shards(folder)}


def test_pairs_of_training_and_validation_are_made_and_counted(music, tmp_path, capsys):
    # 66150 samples hold 15 excerpts of 8192 that overlap by half.
    out = tmp_path / "new" / "pairs"
    assert prepare(music, out) == 0
    assert pairs_of(out) == {"train/a": 15, "train/b": 15, "train/c": 15, "valid/d": 15}
    size = sum(path.stat().st_size for path in out.glob("*.tfrecord"))
    captured = capsys.readouterr()
    assert captured.out == f"{out}: 60 pairs, {size / 1e6:.0f} MB\n"
    assert set(contents(out)) == {
        "mp3_pairs.json",
        *(
            f"{name}-00000-of-00001.{suffix}"
            for name in ("train", "validation", "listening")
            for suffix in ("tfrecord", "json")
        ),
    }


@pytest.mark.parametrize(
    ("split", "expected"),
    [("test", {"test/e"}), ("train", {"train/a", "train/b", "train/c"}), ("all", None)],
)
def test_a_split_can_be_chosen(music, tmp_path, split, expected):
    assert prepare(music, tmp_path / "pairs", "--split", split) == 0
    everything = {"train/a", "train/b", "train/c", "valid/d", "test/e"}
    assert set(pairs_of(tmp_path / "pairs")) == (expected or everything)


def test_what_is_there_already_is_checked_and_left_alone(music, tmp_path, small_shards):
    out = tmp_path / "pairs"
    assert prepare(music, out, "--jobs", 1) == 0
    before = {path: path.stat().st_mtime_ns for path in out.glob("*-*")}
    assert len(before) == 2 * (9 + 3 + 1)
    made = contents(out)
    assert prepare(music, out, "--jobs", 3) == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("*-*")} == before
    # Nor does it matter with how many threads they are made.
    assert prepare(music, tmp_path / "other", "--jobs", 3) == 0
    assert contents(tmp_path / "other") == made


def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_files(
    music, tmp_path, small_shards
):
    reference, out = tmp_path / "reference", tmp_path / "pairs"
    assert prepare(music, reference) == 0
    # Between a shard and its index.
    process = start(music, out, kill_at=4)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    assert len(list(out.glob("*-*.tfrecord"))) == 2 and len(list(out.glob("*-*.json"))) == 1
    # In the middle of anything.
    process = start(music, out)
    while len(list(out.glob("*-*.json"))) < 3 and process.poll() is None:
        time.sleep(0.002)
    wait = random.uniform(0, 0.03)
    time.sleep(wait)
    process.kill()
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, (wait, said)
    assert not is_complete(out)
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*-*.json")}
    assert len(kept) >= 2
    assert prepare(music, out) == 0
    assert contents(out) == contents(reference)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def is_complete(folder):
    return json.loads((folder / "mp3_pairs.json").read_text())["is_complete"]


def test_ctrl_c_is_one_line_and_leaves_nothing_half_written(
    music, tmp_path, small_shards, monkeypatch, capsys, heard_signals
):
    out, encode = tmp_path / "pairs", preparation.encode_pair
    encoded = itertools.count()

    def interrupted(*arguments):
        if next(encoded) == 32:
            os.kill(os.getpid(), signal.SIGINT)
        return encode(*arguments)

    monkeypatch.setattr(preparation, "encode_pair", interrupted)
    assert prepare(music, out, "--jobs", 2) == 130
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == "tfrestore prepare: interrupted\n"
    assert len(list(out.glob("*-*.json"))) > 2
    assert not is_complete(out) and not list(out.glob(".*"))


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "index gone", "index of another"])
def test_damaged_shards_are_made_anew(music, tmp_path, small_shards, damage, capsys):
    out = tmp_path / "pairs"
    assert prepare(music, out) == 0
    made = contents(out)
    shard = out / "train-00003-of-00009.tfrecord"
    content = bytearray(made[shard.name])
    if damage == "flipped":
        content[5000] ^= 1
        shard.write_bytes(content)
    elif damage == "cut":
        shard.write_bytes(content[:-7])
    elif damage == "gone":
        shard.unlink()
    elif damage == "index gone":
        shard.with_suffix(".json").unlink()
    else:
        shutil.copy(out / "train-00004-of-00009.json", shard.with_suffix(".json"))
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*-*")}
    assert prepare(music, out) == 0
    assert "going on: 12 of 13 shards are there already" in capsys.readouterr().err
    assert contents(out) == made
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*-*")}
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed <= {shard.name, shard.with_suffix(".json").name}


def test_shards_whose_music_has_changed_are_made_anew(music, tmp_path, small_shards):
    out = tmp_path / "pairs"
    assert prepare(music, out) == 0
    made = contents(out)
    write_song(music / "train/b.flac", 1.5, seed=77)
    assert prepare(music, out) == 0
    changed = {name for name, content in contents(out).items() if content != made[name]}
    numbers = (3, 4, 5)
    assert changed == {
        f"train-0000{number}-of-00009.{suffix}"
        for number in numbers
        for suffix in ("tfrecord", "json")
    }


def test_a_file_that_cannot_be_decoded_is_named_and_counted_and_tried_again(
    music, tmp_path, small_shards, capsys
):
    broken = music / "train/b.flac"
    content = broken.read_bytes()
    # The header is intact, all behind it is not.
    broken.write_bytes(content[:100] + bytes(len(content) - 100))
    out = tmp_path / "pairs"
    assert prepare(music, out) == 1
    captured = capsys.readouterr()
    assert f"{out}: 45 pairs, 2 MB" in captured.out
    lines = captured.err.splitlines()
    assert len(lines) == 2 and f"{broken} cannot be decoded" in lines[0]
    assert lines[1] == (
        f"tfrestore prepare: 1 of 4 recordings could not be read, or not all of them: {broken}"
    )
    assert set(pairs_of(out)) == {"train/a", "train/c", "valid/d"}
    broken.write_bytes(content)
    assert prepare(music, out) == 0
    assert pairs_of(out)["train/b"] == 15


def test_a_file_that_is_cut_off_gives_the_pairs_that_it_holds_and_is_counted(
    music, tmp_path, small_shards, capsys
):
    path = music / "train/b.flac"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert prepare(music, tmp_path / "pairs") == 1
    lines = capsys.readouterr().err.splitlines()
    assert f"1 of 4 recordings could not be read, or not all of them: {path}" in lines[-1]
    assert len(lines) == 3 and all(f"{path} " in line for line in lines[:2])
    assert "damaged or cut off" in lines[0] and "ends at" in lines[1]
    # Half of the bytes is about half of the sound.
    assert 5 <= pairs_of(tmp_path / "pairs")["train/b"] <= 9


def test_without_anything_that_can_be_decoded_it_fails_and_can_be_tried_again(
    tmp_path, capsys, small_shards
):
    write_song(tmp_path / "music/train/a.flac", 1, 1)
    content = (tmp_path / "music/train/a.flac").read_bytes()
    (tmp_path / "music/train/a.flac").write_bytes(content[:100] + bytes(len(content) - 100))
    assert prepare(tmp_path / "music", tmp_path / "pairs") == 1
    assert "none of its recordings can be decoded" in capsys.readouterr().err
    assert not is_complete(tmp_path / "pairs")


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--degradation", "mp3:32"], 2, "holds pairs of 8192 samples at 44100 Hz and 16 kbit/s, "),
        (["--excerpt-samples", "4096"], 2, "not of 4096 samples at 44100 Hz and 16 kbit/s; choose"),
        (["--sample-rate", "48000"], 2, "not of 8192 samples at 48000 Hz"),
        (["--split", "all"], 2, "holds pairs of other music (test/e is different, for one)"),
        (["--split", "train"], 2, "holds pairs of other music (valid/d is different, for one)"),
        (["--degradation", "mp3:77"], 2, "mp3:77: MP3 has no such bit rate"),
        (["--degradation", "mp3:320", "--sample-rate", "16000"], 2, "MP3 has no 320 kbit/s"),
        (["--degradation", "gaps:frames"], 2, "only pairs with MP3s (mp3:16, say) and instruments"),
        (["--degradation", "rust"], 2, "no degradation 'rust'"),
        (["--excerpt-samples", "0"], 2, "0 is not at least 1"),
        (["--jobs", "-1"], 2, "-1 is not at least 1"),
        (["--split", "valid"], 2, "invalid choice"),
        (["--data", "nowhere"], 2, "nowhere does not exist"),
        (["--out", "file"], 2, "file: this is a file"),
        (["--out", "music"], 2, "music: this folder is not empty"),
        (["--out", "file/pairs"], 1, "file/pairs: cannot be written"),
        (["--out", "odd"], 2, "odd/mp3_pairs.json: not written by tfrestore prepare"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    music, tmp_path, monkeypatch, capsys, more, code, said
):
    monkeypatch.chdir(tmp_path)
    assert prepare("music", "pairs") == 0
    (tmp_path / "file").write_text("")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/mp3_pairs.json").write_text("{}")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    capsys.readouterr()
    assert prepare("music", "pairs", *more) == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and said in captured.err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_too_little_space_is_said_before_the_work(music, tmp_path, monkeypatch, capsys):
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert prepare(music, tmp_path / "pairs") == 1
    assert "0.0 GB are needed, but only 0.0 GB are free" in capsys.readouterr().err
    assert not contents(tmp_path / "pairs")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_disk_that_is_full_is_one_line(music, tmp_path, monkeypatch, capsys):
    import tensorflow as tf

    writer = tf.io.TFRecordWriter
    monkeypatch.setattr(tf.io, "TFRecordWriter", lambda path: writer("/dev/full"))
    assert prepare(music, tmp_path / "pairs") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "pairs: cannot be written (" in said
    assert set(contents(tmp_path / "pairs")) == {"mp3_pairs.json"}
    monkeypatch.undo()
    assert prepare(music, tmp_path / "pairs") == 0
