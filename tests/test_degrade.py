import os

import numpy as np
import pytest
import soundfile

from tests.conftest import synthesize
from tfrestore.__main__ import main
from tfrestore.data.gaps import waveform_gaps

RATE = 22050


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.wav"
    stereo = np.stack([synthesize(3.0, RATE, seed) for seed in (1, 2)], axis=1) + 0.001
    soundfile.write(path, stereo, RATE, "PCM_16")
    return path


def degrade(*arguments):
    return main(["degrade", *map(str, arguments)])


def test_gaps_are_zeros_and_all_else_is_as_it_was(song, tmp_path, capsys):
    target = tmp_path / "new/folder/gapped.flac"
    assert degrade(song, "-o", target, "--seed", 3) == 0
    assert capsys.readouterr().out == f"{target}\n"
    before, after = (soundfile.read(path, dtype="int16")[0] for path in (song, target))
    assert soundfile.info(target).subtype == "PCM_16"
    lost = np.zeros(len(before), bool)
    for start, stop in waveform_gaps(len(before), RATE, 3, 0, shares=(0.05, 0.15)):
        lost[start:stop] = True
    assert 0.05 <= lost.mean() <= 0.15
    assert not after[lost].any()
    np.testing.assert_array_equal(after[~lost], before[~lost])


def test_the_seed_decides_the_damage(song, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert degrade(song, "-o", tmp_path / f"{name}.wav", "--seed", seed) == 0
    a, b, c = ((tmp_path / f"{name}.wav").read_bytes() for name in "abc")
    assert a == b != c


def test_an_mp3s_losses_keep_rate_and_length(song, tmp_path):
    assert degrade(song, "-o", tmp_path / "bad.wav", "--degradation", "mp3:32") == 0
    info, expected = soundfile.info(tmp_path / "bad.wav"), soundfile.info(song)
    assert (info.samplerate, info.frames, info.channels) == (RATE, expected.frames, 2)
    before, after = (soundfile.read(path)[0] for path in (song, tmp_path / "bad.wav"))
    error = np.sqrt(np.mean((after - before) ** 2)) / np.sqrt(np.mean(before**2))
    assert 1e-4 < error < 0.5


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["song.wav", "-o", "song.wav"], 2, "song.wav is the input itself"),
        (["song.wav", "-o", "hard.wav"], 2, "hard.wav is the input itself"),
        (["song.wav", "-o", "x.xyz"], 2, "x.xyz cannot be written"),
        (["song.wav", "-o", "x.wav", "--degradation", "gaps:frames"], 2, "spectrogram only"),
        (["song.wav", "-o", "x.wav", "--degradation", "rust"], 2, "no degradation 'rust'"),
        (["song.wav", "-o", "x.wav", "--degradation", "mp3:77"], 2, "77"),
        (["missing.wav", "-o", "x.wav"], 1, "missing.wav does not exist"),
        (["text.wav", "-o", "x.wav"], 1, "text.wav is damaged or is not audio"),
        (["song.wav", "-o", "text.wav/x.wav"], 1, "text.wav: this folder cannot be made"),
        (["song.wav"], 2, "--output"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    song, tmp_path, monkeypatch, capsys, arguments, code, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.wav").write_text("no music")
    os.link("song.wav", "hard.wav")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert degrade(*arguments) == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and said in captured.err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
