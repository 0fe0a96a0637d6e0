"""The listening_test command, from outside; the page itself is tested in tests/listening."""

import json
import os
import re
import subprocess
import sys
import zlib
from base64 import b64decode

import numpy as np
import pytest
import soundfile

from tfrestore.listening_test import main


def music(seed, seconds=2.0, rate=16000, channels=1):
    generator = np.random.default_rng(seed)
    return 0.1 * np.clip(generator.standard_normal((round(seconds * rate), channels)), -3, 3)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two systems, a and b, and a reference with two songs, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for number, (folder, suffix) in enumerate([("a", "wav"), ("b", "flac"), ("ref", "wav")]):
        os.mkdir(folder)
        for song in range(2):
            soundfile.write(f"{folder}/song {song}.{suffix}", music(song + 10 * number), 16000)
    return tmp_path


MAKE = ["make", "--systems", "a=a", "b=b", "--seconds", "1", "--out", "page"]


def configuration():
    with open("page/index.html") as file:
        return json.loads(re.search(r'json">(.*?)</script>', file.read(), re.S)[1])


def answers(ratings, session="s", /, **changes):
    """A results file as the page writes it, with a rating for every (track, system)."""
    made = configuration()
    key = json.loads(zlib.decompress(b64decode(made["key"])))
    rated = [
        {"item": item, "rating": ratings[key["excerpts"][excerpt][0], key["systems"][system]]}
        for item, (excerpt, system) in key["items"].items()
    ]
    return {
        "format": "tfrestore-listening-test-results",
        "version": 1,
        "page": made["page"],
        "mode": made["mode"],
        "session": session,
        "listener": f"listener {session}",
        "ratings": rated,
        "key": made["key"],
    } | changes


def put(name, record):
    with open(name, "w") as file:
        json.dump(record, file)


def test_make_and_report_go_together(folders, capsys):
    assert main(MAKE) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "page/index.html",
        "2 excerpts, 4 signals to rate, 0.1 minutes of sound",
    ]
    assert captured.err == ""
    first = {("song 0", "a"): 2, ("song 0", "b"): 4, ("song 1", "a"): 3, ("song 1", "b"): 4}
    put("1.json", answers(first, "1"))
    put("2.json", answers({name: rating + 1 for name, rating in first.items()}, "2"))
    assert main(["report", "1.json", "2.json", "--out", "tables/mos"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Listening test: MOS, 1 to 5; 2 listeners, 2 excerpts, 8 ratings"
    assert lines[3].split()[:4] == ["a", "4", "3.00", "0.82"]
    assert lines[4].split()[:4] == ["b", "4", "4.50", "0.58"]
    # The differences -2, -1, -2, -1: t = -1.5 / (sqrt(1 / 3) / 2) = -3 sqrt(3).
    assert lines[7].split()[:6] == ["a", "-", "b", "4", "-1.50", "-5.20"]
    assert lines[-1].startswith("written to tables/mos.csv")
    with open("tables/mos.json") as file:
        assert json.load(file)["t_tests"][0]["t"] == pytest.approx(-3 * np.sqrt(3))
    assert sorted(os.listdir("tables")) == [
        "mos.csv",
        "mos.json",
        "mos.md",
        "mos.ratings.csv",
        "mos.t-tests.csv",
    ]


def test_mushra_names_whom_the_post_screening_leaves_out(folders, capsys):
    assert main([*MAKE, "--mushra", "--reference", "ref"]) == 0
    good = {
        (f"song {n}", name): rating
        for n in range(2)
        for name, rating in [("a", 60), ("b", 50), ("hidden reference", 99), ("anchor 3.5 kHz", 9)]
    }
    put("good.json", answers(good, "good"))
    put("deaf.json", answers({name: 50 for name in good}, "deaf"))
    capsys.readouterr()
    assert main(["report", "good.json", "deaf.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "left out by the post-screening of ITU-R BS.1534-3: listener deaf"
    assert lines[4].split()[:3] == ["a", "2", "60.00"]
    os.remove("good.json")
    assert main(["report", "deaf.json"]) == 1
    assert "leaves none of the 1 listeners" in capsys.readouterr().err


def test_results_that_cannot_be_used_are_named_and_the_others_count(folders, capsys):
    assert main(MAKE) == 0
    ratings = {(f"song {n}", name): 3 for n in range(2) for name in "ab"}
    os.mkdir("results")
    put("results/1.json", answers(ratings, "1"))
    put("results/1 again.json", answers(ratings, "1", finished="2030-01-01T00:00:00Z"))
    put("results/2.json", answers(ratings, "2"))
    put("results/wrong.json", answers(ratings, "3", ratings=[]))
    with open("results/broken.json", "w") as file:
        file.write("{")
    capsys.readouterr()
    assert main(["report", "results"]) == 1
    captured = capsys.readouterr()
    assert "2 listeners, 2 excerpts, 8 ratings" in captured.out
    lines = captured.err.splitlines()
    assert len(lines) == 4
    assert any("results/broken.json is not JSON" in line for line in lines)
    assert any("results/wrong.json: it holds no ratings" in line for line in lines)
    assert any("results/1.json is of the same session as results/1 again" in line for line in lines)
    assert lines[-1] == (
        "tfrestore listening_test: 2 files could not be used: results/broken.json, "
        "results/wrong.json"
    )
    assert main(["report", "results/broken.json"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "none of the 1 files holds results" in captured.err


def test_tracks_that_cannot_be_used_are_named_and_the_page_is_written(folders, capsys):
    bad = music(3)
    bad[:, 0] = np.nan
    for name, waveform in {
        "silent": np.zeros((32000, 1)),
        "nan": bad,
        "short": music(4, seconds=0.5),
        "one": np.array([[0.5]]),
        "surround": music(5, channels=6),
    }.items():
        soundfile.write(f"a/{name}.wav", music(6), 16000)
        soundfile.write(f"b/{name}.wav", waveform, 16000, "FLOAT")
    soundfile.write("a/alone.wav", music(7), 16000)
    for folder in "ab":
        with open(f"{folder}/text.wav", "w") as file:
            file.write("no music")
    assert main(MAKE) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1].startswith("2 excerpts, 4 signals")
    lines = captured.err.splitlines()
    for said in (
        "alone is missing in b (b)",
        "b/silent.wav is silent",
        "b/nan.wav holds a sample that is not a finite number",
        "b/short.wav is 0.500 s long",
        "b/one.wav is 0.000 s long",
        "b/surround.wav has 6 channels",
        "a/text.wav is damaged or is not audio",
    ):
        assert sum(said in line for line in lines) == 1, said
    assert lines[-1] == (
        "tfrestore listening_test: 6 of 8 tracks failed: nan, one, short, silent, surround, text"
    )
    assert len(configuration()["trials"]) == 2


def test_where_no_track_can_be_used_nothing_is_written(folders, capsys):
    assert main([*MAKE[:-4], "--seconds", "60", "--out", "page"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and not os.path.exists("page")
    assert captured.err.splitlines()[-1] == (
        "tfrestore listening_test: none of the 2 tracks could be used."
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mushra"], "--mushra needs --reference"),
        (["--reference", "ref"], "--reference belongs to --mushra"),
        (["--mid-anchor"], "--mid-anchor belongs to --mushra"),
        (["--mushra", "--reference", "nowhere"], "--reference: nowhere does not exist"),
        (["--systems", "a"], "--systems a: write it as NAME=FOLDER"),
        (["--systems", "a=a", "a=b"], "two systems named a"),
        (["--systems", "a=nowhere"], "nowhere does not exist"),
        (["--systems", "a=a", "empty=empty"], "empty has no audio files"),
        (["--systems", "a=a", "other=other"], "no name occurs in all of them"),
        (
            ["--mushra", "--reference", "ref", "--systems", "hidden reference=a"],
            "the test has a signal named hidden reference",
        ),
        (["--out", "a"], "--out a: this folder holds other things"),
        (["--out", "a/song 0.wav"], "this is a file"),
        (["--seconds", "0.5"], "--seconds"),
        (["--seconds", "nan"], "--seconds"),
        (["--seconds", "many"], "--seconds"),
        (["--excerpts-per-track", "0"], "--excerpts-per-track"),
        (["--seed", "-1"], "--seed"),
        (["--loudness", "3"], "--loudness"),
        (["--post-url", "ftp://host/x"], "--post-url"),
        (["--post-url", "javascript:alert(1)"], "--post-url"),
        (["--post-url", "//host/x"], "--post-url"),
        (["--post-url", ""], "--post-url"),
        (["--post-url", "http://[host/x"], "--post-url"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(folders, capsys, arguments, said):
    os.mkdir("empty")
    os.mkdir("other")
    soundfile.write("other/different.wav", music(1), 16000)
    assert main([*MAKE, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and said in captured.err
    assert not os.path.exists("page")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "make|report"),
        (["make"], "--systems"),
        (["report"], "FILE"),
        (["report", "nowhere.json"], "nowhere.json does not exist"),
        (["report", "a"], "a: this folder has no .json files"),
        (["listen"], "listen"),
    ],
)
def test_what_is_missing_is_said_in_one_line(folders, capsys, arguments, said):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and said in captured.err


def test_a_report_that_cannot_be_written_is_one_line(folders, capsys):
    assert main(MAKE) == 0
    put("1.json", answers({(f"song {n}", name): 3 for n in range(2) for name in "ab"}))
    capsys.readouterr()
    assert main(["report", "1.json", "--out", "1.json/table"]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "--out 1.json/table: cannot be" in captured.err


def test_too_many_signals_for_mushra_are_told(folders, capsys):
    systems = [f"s{number}=a" for number in range(11)]
    arguments = ["make", "--mushra", "--reference", "ref", "--systems", *systems]
    assert main([*arguments, "--seconds", "1", "--out", "page"]) == 0
    assert "13 signals at once are more than the 12" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["make", "report"])
def test_each_command_has_a_help_that_fits_the_screen(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "100")
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: tfrestore listening_test {command}")
    assert max(map(len, shown.splitlines())) <= 100


def test_neither_command_loads_tensorflow(folders):
    assert main(MAKE) == 0
    put("1.json", answers({(f"song {n}", name): 3 for n in range(2) for name in "ab"}))
    script = (
        "import sys\n"
        "from tfrestore.listening_test import main\n"
        "assert main(['report', '1.json']) == 0\n"
        f"assert main({[*MAKE, '--overwrite']!r}) == 0\n"
        "print(sorted({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr == "[]\n"
