import numpy as np
import pytest
import soundfile

from tfrestore.errors import UsageError
from tfrestore.listening.tracks import match_tracks, parse_systems


def put(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(100), 8000)


def systems(folder, *names):
    return parse_systems([f"{name}={folder / name}" for name in names])


def test_names_match_whatever_the_suffix_and_behind_what_restore_adds(tmp_path):
    put(tmp_path / "a", "song.flac", "rock/other.wav")
    put(tmp_path / "b", "song.mp3", "rock/other.restored.wav")
    found = match_tracks(systems(tmp_path, "a", "b"))
    assert list(found) == ["rock/other", "song"]
    assert found["song"] == {"a": tmp_path / "a/song.flac", "b": tmp_path / "b/song.mp3"}
    assert found["rock/other"]["b"] == tmp_path / "b/rock/other.restored.wav"


def test_a_name_in_two_spellings_of_unicode_is_one(tmp_path):
    put(tmp_path / "a", "caf\u00e9.wav")
    put(tmp_path / "b", "cafe\u0301.wav")
    assert list(match_tracks(systems(tmp_path, "a", "b"))) == ["caf\u00e9"]


def test_what_a_system_lacks_or_has_twice_is_a_line_each(tmp_path, caplog):
    put(tmp_path / "a", "both.wav", "mine.wav", "twice.flac", "twice.wav")
    put(tmp_path / "b", "both.wav", "yours.wav", "twice.wav")
    found = match_tracks(systems(tmp_path, "a", "b"))
    assert list(found) == ["both", "twice"] and found["twice"]["a"].suffix == ".flac"
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        f"left out: {tmp_path}/a/twice.wav, because {tmp_path}/a/twice.flac has the same name.",
        f"left out: mine is missing in b ({tmp_path}/b).",
        f"left out: yours is missing in a ({tmp_path}/a).",
    ]


def test_no_common_name_and_an_empty_folder_are_refused(tmp_path):
    put(tmp_path / "a", "mine.wav")
    put(tmp_path / "b", "yours.wav")
    with pytest.raises(UsageError, match="no name occurs in all of them"):
        match_tracks(systems(tmp_path, "a", "b"))
    (tmp_path / "c").mkdir()
    with pytest.raises(UsageError, match="c has no audio files"):
        match_tracks(systems(tmp_path, "a", "c"))


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["a"], "write it as NAME=FOLDER"),
        (["=a"], "write it as NAME=FOLDER"),
        (["a="], "write it as NAME=FOLDER"),
        (["a=."] * 2, "two systems named a"),
        (["anchor=."], "the test has a signal named anchor"),
        (["a=nowhere"], "nowhere does not exist"),
        ([f"a={__file__}"], "is not a folder"),
    ],
)
def test_systems_that_cannot_be_understood_are_refused(texts, said):
    with pytest.raises(UsageError, match=said):
        parse_systems(texts, reserved=("anchor",))
