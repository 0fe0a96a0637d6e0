import errno
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import tfrestore.restorer
from tests.conftest import synthesize
from tfrestore.__main__ import main
from tfrestore.audio.resampling import resample
from tfrestore.audio.writing import AudioWriter
from tfrestore.candidates import candidate_noise
from tfrestore.restore import parse_gap

RATE = 16000


def write_tone(path, seconds=0.2, rate=RATE, channels=1, gap=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    waveform = np.tile(synthesize(seconds, rate)[:, None], (1, channels))
    if gap:
        waveform[round(gap[0] * rate) : round(gap[1] * rate)] = 0
    soundfile.write(path, waveform, rate, **options)
    return path


def restore(*arguments, run):
    return main(["restore", "--preset", str(run), *map(str, arguments)])


def every_file(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def one_model(monkeypatch, identity_run):
    """Loads the model once for all tests that are not about loading, nor about its having to do."""
    from tfrestore import inspection
    from tfrestore.restorer import Restorer

    monkeypatch.setattr(inspection, "lacks_gaps", lambda *_: False)
    if not hasattr(one_model, "loaded"):
        one_model.loaded = Restorer.from_preset(identity_run, chunk_seconds=1.0)
    monkeypatch.setattr(Restorer, "from_preset", lambda preset, **options: one_model.loaded)
    return identity_run


@pytest.fixture
def stochastic(monkeypatch, stochastic_run):
    """Loads the stochastic model once for all tests that are not about loading."""
    from tfrestore.restorer import Restorer

    if not hasattr(stochastic, "loaded"):
        stochastic.loaded = Restorer.from_preset(stochastic_run)
    monkeypatch.setattr(Restorer, "from_preset", lambda preset, **options: stochastic.loaded)
    return stochastic_run


@pytest.mark.parametrize("text", ["5", "a-b", "2-1", "1-1", "1-inf", "nan-2", "-1-2", "1-2-3"])
def test_a_gap_that_is_none_is_refused(text, capsys):
    assert main(["restore", "a.wav", "--preset", "x", f"--gap={text}"]) == 2
    assert "--gap" in capsys.readouterr().err


@given(start=st.floats(0, 1e5), length=st.floats(1e-3, 1e3))
def test_a_gap_is_read_as_it_is_written(start, length):
    stop = start + length
    assert parse_gap(f"{start:f}-{stop:f}") == (float(f"{start:f}"), float(f"{stop:f}"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["empty"], "empty: no audio files"),
        (["a.wav", "b.wav", "-o", "c.wav"], "-o c.wav: one output file for 2 inputs"),
        (["a.wav", "-o", "c.xyz"], "c.xyz cannot be written: the suffix names the format"),
        (["a.wav", "-o", "plain"], "-o plain: this is a file"),
        (["a.wav", "-o", "a.wav"], "a.wav is the input itself"),
        (["a.wav", "-o", "hard.wav"], "hard.wav is the input itself"),
        (["a.wav", "-o", "soft.wav", "--overwrite"], "soft.wav is the input itself"),
        (["a.wav", "--suffix", ""], "a.wav is the input itself"),
        (["a.wav", "sub/a.wav", "-o", "out"], "would both be written to out/a.wav.restored.wav"),
        (["a.wav", "--suffix", "/x"], "--suffix /x"),
        ([""], "one of the names of files is empty"),
        (["a.wav", "-o", ""], "-o: the name of the output is empty"),
        (["a.wav", "--format", "flac", "--subtype", "float"], ".flac holds 24, 16"),
        (["a.wav", "--format", "mp3", "-o", "c.wav"], "--format mp3"),
        (["a.wav", "--format", "xyz"], "invalid choice: 'xyz'"),
        (["a.wav", "--unknown"], "--unknown"),
        (["a.wav", "--candidates", "0"], "--candidates: '0' is not a whole number from 1"),
        (["a.wav", "--candidates", "-1"], "--candidates"),
        (["a.wav", "--candidates", "1001"], "from 1 to 1000"),
        (["a.wav", "--candidates", "x"], "'x' is not a whole number"),
        (["a.wav", "--candidate", "0"], "--candidate: '0' is not a whole number from 1"),
        (["a.wav", "--candidate", str(2**64)], "--candidate"),
        (["a.wav", "--seed", "-1"], "--seed"),
        (["a.wav", "--candidate", "1", "--candidates", "2"], "not allowed with"),
        (["a.wav", "--candidate", "1", "--noise", "z.npy"], "not allowed with"),
        (["a.wav", "sub/a.wav", "-o", "out", "--candidates", "2"], "out/a.wav.restored.1.wav"),
        ([], "name the files"),
        (["-"], "- is no file; tfrestore restore --stream --preset NAME restores standard input."),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "b.wav", "a.flac", "sub/a.wav"):
        write_tone(tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "plain").write_text("")
    os.link("a.wav", "hard.wav")
    os.symlink("a.wav", "soft.wav")
    before = every_file(tmp_path)
    assert main(["restore", *arguments, "--preset", "any"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tfrestore restore: ") and captured.err.count("\n") == 1
    assert said in captured.err
    assert every_file(tmp_path) == before


# Presets.


def spoil_metadata(folder):
    (folder / "metadata.json").write_text("{")


def remove_weights(folder):
    (folder / "model.weights.h5").unlink()


def cut_weights(folder):
    weights = folder / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_metadata, "metadata.json"),
        (remove_weights, "model.weights.h5: the weights are missing"),
        (cut_weights, "model.weights.h5: the checksum differs"),
        (shutil.rmtree, "there is no preset and no folder named"),
    ],
)
def test_a_run_folder_that_cannot_be_used_is_named(tmp_path, capsys, random_run, spoil, said):
    write_tone(tmp_path / "a.wav", seconds=1.0, gap=(0.5, 0.52))
    spoil(shutil.copytree(random_run, tmp_path / "run"))
    assert restore(tmp_path / "a.wav", run=tmp_path / "run") == 2
    captured = capsys.readouterr().err
    assert captured.count("\n") == 1 and str(tmp_path / "run") in captured and said in captured
    assert not (tmp_path / "a.restored.wav").exists()


def test_weights_of_another_model_are_refused(tmp_path, capsys, random_run):
    from tfrestore.models.inpainter.network import UNet
    from tfrestore.models.inpainter.restorer import InpainterRestorer

    run = tmp_path / "run"
    InpainterRestorer(UNet(filters=6, depth=2)).save_to_preset(run)
    for name in ("model.weights.h5", "metadata.json"):
        shutil.copy(random_run / name, run / name)
    write_tone(tmp_path / "a.wav", seconds=1.0, gap=(0.5, 0.52))
    assert restore(tmp_path / "a.wav", run=run) == 2
    captured = capsys.readouterr().err
    assert captured.count("\n") == 1 and "do not fit the network" in captured


def test_a_preset_that_does_not_exist_is_told_with_those_that_do(tmp_path, capsys):
    write_tone(tmp_path / "a.wav")
    assert restore(tmp_path / "a.wav", run="res_unet_v3") == 2
    captured = capsys.readouterr().err
    assert "'res_unet_v3'. Did you mean 'res_unet_v2'?" in captured and "unet_tiny" in captured
    assert captured.count("\n") == 1


# Versions of one file by a stochastic model.


def test_candidates_are_written_and_each_can_be_made_again(tmp_path, capsys, stochastic):
    source = write_tone(tmp_path / "song.mp3", seconds=0.6, rate=44100, channels=2)
    assert restore(source, "--candidates", 3, "--seed", 7, run=stochastic) == 0
    lines = capsys.readouterr().out.splitlines()
    made = {}
    for number, line in enumerate(lines, start=1):
        path, again = line.split("\t")
        assert path == str(tmp_path / f"song.restored.{number}.wav")
        assert again == f"--seed 7 --candidate {number}"
        info = soundfile.info(path)
        assert (info.samplerate, info.channels) == (44100, 2)
        assert info.frames == soundfile.info(source).frames
        made[number] = soundfile.read(path)[0]
    assert len(made) == 3
    for one, other in ((1, 2), (1, 3), (2, 3)):
        assert np.abs(made[one] - made[other]).max() > 1e-3
    again = tmp_path / "again.wav"
    assert restore(source, *lines[1].split("\t")[1].split(), "-o", again, run=stochastic) == 0
    assert capsys.readouterr().out == f"{again}\n"
    np.testing.assert_array_equal(soundfile.read(again)[0], made[2])
    np.save(tmp_path / "z.npy", candidate_noise(7, 3, 8))
    by_hand = tmp_path / "by hand.wav"
    assert restore(source, "--noise", tmp_path / "z.npy", "-o", by_hand, run=stochastic) == 0
    np.testing.assert_array_equal(soundfile.read(by_hand)[0], made[3])


def test_without_options_the_first_version_of_seed_0_is_written(tmp_path, capsys, stochastic):
    source = write_tone(tmp_path / "a.wav", rate=44100)
    assert restore(source, run=stochastic) == 0
    assert capsys.readouterr().out == f"{tmp_path}/a.restored.wav\n"
    assert restore(source, "--candidates", 1, run=stochastic) == 0
    assert capsys.readouterr().out == f"{tmp_path}/a.restored.1.wav\t--seed 0 --candidate 1\n"
    assert (tmp_path / "a.restored.wav").read_bytes() == (
        tmp_path / "a.restored.1.wav"
    ).read_bytes()
    assert restore(source, "--seed", 1, "-o", tmp_path / "b.wav", run=stochastic) == 0
    assert (tmp_path / "b.wav").read_bytes() != (tmp_path / "a.restored.wav").read_bytes()


def test_versions_belong_to_their_reference_where_pairs_are_evaluated(tmp_path, stochastic):
    from tfrestore.evaluation.pairs import find_pairings

    write_tone(tmp_path / "original/rock/a.b.flac", rate=44100)
    shutil.copytree(tmp_path / "original", tmp_path / "mp3")
    outputs = ["--candidates", 2, "-o", tmp_path / "restored"]
    assert restore(tmp_path / "mp3", *outputs, run=stochastic) == 0
    (pairing,) = find_pairings(str(tmp_path / "original"), {"ours": tmp_path / "restored"})
    assert [path.name for path in pairing.versions["ours"]] == [
        "a.b.restored.1.wav",
        "a.b.restored.2.wav",
    ]


def test_a_file_that_cannot_be_read_is_told_once_for_all_its_versions(tmp_path, capsys, stochastic):
    (tmp_path / "bad.wav").write_text("text")
    good = write_tone(tmp_path / "good.wav", rate=44100)
    arguments = ["--candidates", 3, "--pictures"]
    assert restore(tmp_path / "bad.wav", good, *arguments, run=stochastic) == 1
    *told, last = [line for line in capsys.readouterr().err.splitlines() if "bad.wav" in line]
    assert len(told) == 1 and "bad.wav is damaged or is not audio" in told[0]
    assert last == f"tfrestore restore: 1 of 2 files failed: {tmp_path}/bad.wav"
    assert len(list(tmp_path.glob("good.restored.?.wav"))) == 3
    assert not list(tmp_path.glob("bad.*.*"))


def test_versions_that_exist_are_skipped_one_by_one(tmp_path, capsys, stochastic):
    source = write_tone(tmp_path / "a.wav", rate=44100)
    (tmp_path / "a.restored.2.wav").write_text("precious")
    assert restore(source, "--candidates", 3, run=stochastic) == 0
    captured = capsys.readouterr()
    assert [line.split("\t")[1] for line in captured.out.splitlines()] == [
        "--seed 0 --candidate 1",
        "--seed 0 --candidate 3",
    ]
    assert "a.restored.2.wav exists already" in captured.err
    assert (tmp_path / "a.restored.2.wav").read_text() == "precious"


@pytest.mark.parametrize(
    "arguments",
    [["--candidates", "2"], ["--candidate", "1"], ["--seed", "0"], ["--noise", "z.npy"]],
)
def test_versions_of_a_model_that_makes_one_are_refused(
    tmp_path, monkeypatch, capsys, one_model, arguments
):
    monkeypatch.chdir(tmp_path)
    np.save("z.npy", np.zeros(64))
    write_tone(tmp_path / "a.wav")
    assert restore("a.wav", *arguments, run=one_model) == 2
    captured = capsys.readouterr().err
    assert captured.count("\n") == 1
    assert f"{arguments[0]}: the model in {one_model} makes one version" in captured
    assert every_file(tmp_path) == ["a.wav", "z.npy"]


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        (np.zeros(64), "z.npy: noise of the shape (64,) cannot be used: give 8 floats"),
        (np.zeros((1, 8)), "z.npy: noise of the shape (1, 8)"),
        (np.zeros(8, int), "z.npy: noise of the dtype int64"),
        (np.full(8, np.nan), "z.npy: noise with values that are NaN"),
        (None, "z.npy: cannot be read (No such file or directory)"),
    ],
)
def test_noise_that_does_not_fit_is_misuse(tmp_path, monkeypatch, capsys, stochastic, noise, said):
    monkeypatch.chdir(tmp_path)
    write_tone(tmp_path / "a.wav", rate=44100)
    if noise is not None:
        np.save("z.npy", noise)
    before = every_file(tmp_path)
    assert restore("a.wav", "--noise", "z.npy", run=stochastic) == 2
    captured = capsys.readouterr().err
    assert captured.startswith("tfrestore restore: --noise z.npy: ")
    assert said in captured and captured.count("\n") == 1
    assert restore("a.wav", "--noise", "z.npy", "--seed", 1, run=stochastic) == 2
    assert "--seed: the noise itself is given" in capsys.readouterr().err
    assert every_file(tmp_path) == before


def test_pictures_lie_beside_the_results(tmp_path, capsys, stochastic):
    source = write_tone(tmp_path / "$a_b [c].wav", seconds=0.3, rate=44100)
    assert restore(source, "--candidates", 2, "--pictures", run=stochastic) == 0
    stem = tmp_path / "$a_b [c].restored"
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == [f"{stem}.profiles.png", f"{stem}.spectrograms.png"]
    for line in lines[2:]:
        with open(line, "rb") as file:
            assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    before = {line: os.stat(line).st_mtime_ns for line in lines[2:]}
    assert restore(source, "--candidates", 2, "--pictures", run=stochastic) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("exists already, skipped") == 4
    assert before == {line: os.stat(line).st_mtime_ns for line in before}
    os.remove(f"{stem}.profiles.png")
    assert restore(source, "--candidates", 2, "--pictures", run=stochastic) == 0
    assert capsys.readouterr().out == f"{stem}.profiles.png\n"


def test_any_model_has_pictures(tmp_path, capsys, one_model):
    source = write_tone(tmp_path / "a.wav")
    output = tmp_path / "out/b.flac"
    assert restore(source, "--pictures", "-o", output, run=one_model) == 0
    assert every_file(tmp_path / "out") == ["b.flac", "b.profiles.png", "b.spectrograms.png"]


def test_a_picture_that_cannot_be_written_fails_its_file_only(
    tmp_path, capsys, monkeypatch, one_model
):
    from tfrestore import pictures

    def on_a_full_disk(path, picture):
        if path.name.startswith("a."):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, picture)

    write = pictures.write_picture
    monkeypatch.setattr(pictures, "write_picture", on_a_full_disk)
    for name in ("a.wav", "b.wav"):
        write_tone(tmp_path / name)
    assert restore(tmp_path, "--pictures", run=one_model) == 1
    captured = capsys.readouterr()
    assert "a.restored.profiles.png: cannot be written (No space left" in captured.err
    assert captured.out.count("png") == 2 and "b.restored.profiles.png" in captured.out


# Files, good and bad.


def test_bad_files_are_named_at_the_end_and_do_not_stop_the_others(tmp_path, capsys, one_model):
    folder = tmp_path / "in"
    for name, options in {
        "mono.wav": {},
        "eight.wav": {"channels": 8},
        "8k.wav": {"rate": 8000},
        "11k.wav": {"rate": 11025},
        "192k.wav": {"rate": 192000},
    }.items():
        write_tone(folder / name, **options)
    soundfile.write(folder / "one.wav", np.array([0.25]), 44100)
    soundfile.write(folder / "silent.wav", np.zeros((30000, 2)), 44100)
    (folder / "text.wav").write_text("this is no music\n" * 100)
    (folder / "zero.wav").touch()
    spoilt = synthesize(0.3, RATE)
    for value in (np.nan, np.inf):
        spoilt[2000] = value
        soundfile.write(folder / f"{value}.wav", spoilt, RATE, "FLOAT")
    write_tone(folder / "song.mp3", seconds=3, rate=44100)
    encoded = (folder / "song.mp3").read_bytes()
    (folder / "song.mp3").write_bytes(encoded[: len(encoded) // 2])
    missing = tmp_path / "missing.wav"

    assert restore(folder, missing, "-o", tmp_path / "out", run=one_model) == 1
    captured = capsys.readouterr()
    good = ["11k", "192k", "8k", "eight", "mono", "one", "silent", "song"]
    expected = [f"{name}.restored.wav" for name in good]
    assert every_file(tmp_path / "out") == sorted(expected)
    assert captured.out.split() == [str(tmp_path / "out" / name) for name in expected]

    lines = captured.err.splitlines()
    failed = [folder / f"{name}.wav" for name in ("inf", "nan", "text", "zero")] + [missing]
    for path in failed:
        (told,) = [line for line in lines[:-1] if str(path) in line]
        assert len(told) < 250
    (warned,) = [line for line in lines[:-1] if "song.mp3" in line]
    assert "is damaged or cut off" in warned
    # What fills gaps adds nothing that a lower rate would not hold.
    assert not [line for line in lines if "--output-rate" in line]
    assert lines[-1] == (f"tfrestore restore: 5 of 13 files failed: {', '.join(map(str, failed))}")
    assert len(lines) == 7

    for name in good:
        if name != "song":
            before = soundfile.read(folder / f"{name}.wav", always_2d=True)
            after = soundfile.read(tmp_path / f"out/{name}.restored.wav", always_2d=True)
            assert before[1] == after[1]
            np.testing.assert_array_equal(after[0], before[0])
    decoded, _ = soundfile.read(tmp_path / "out/song.restored.wav")
    assert 1.2 < len(decoded) / 44100 < 1.7


def test_gaps_are_filled_and_the_file_keeps_its_format(tmp_path, random_run):
    rate = 22050
    waveform = synthesize(1.5, rate)
    waveform[8000:8500] = 0
    soundfile.write(tmp_path / "a.wav", waveform, rate, "PCM_16")
    assert restore(tmp_path / "a.wav", "--gap", "0.8-0.82", run=random_run) == 0
    restored, _ = soundfile.read(tmp_path / "a.restored.wav")
    assert soundfile.info(tmp_path / "a.restored.wav").subtype == "PCM_16"
    assert np.abs(restored[8100:8400]).max() > 0
    before, _ = soundfile.read(tmp_path / "a.wav")
    named = slice(round(0.8 * rate), round(0.82 * rate))
    assert np.abs(restored - before)[named].max() > 0
    np.testing.assert_array_equal(restored[-rate // 4 :], before[-rate // 4 :])


def test_a_rate_that_is_asked_for_is_the_outputs_and_holds_what_the_model_adds(
    tmp_path, capsys, stochastic, stochastic_run
):
    source = write_tone(tmp_path / "song.wav", seconds=1.0, rate=16000, subtype="FLOAT")
    arguments = [source, "--pictures", "--subtype", "float"]
    assert restore(*arguments, "--output-rate", 44100, run=stochastic) == 0
    assert "--output-rate" not in capsys.readouterr().err
    restored, rate = soundfile.read(tmp_path / "song.restored.wav", dtype="float32")
    assert (rate, len(restored)) == (44100, 44100)
    brought, _ = soundfile.read(source, dtype="float32")
    brought = resample(brought[None], 16000, 44100)
    expected = tfrestore.restorer.Restorer.from_preset(stochastic_run).restore(brought, 44100)[0]
    np.testing.assert_allclose(restored, expected, atol=1e-5)
    spectrum = np.abs(np.fft.rfft(restored * np.hanning(44100))) ** 2
    assert spectrum[9000:].sum() > 1e-4 * spectrum.sum()

    assert restore(*arguments, "--overwrite", run=stochastic) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "nothing is written above 8 kHz" in line and "--output-rate 44100" in line
    assert soundfile.info(tmp_path / "song.restored.wav").samplerate == 16000


def test_where_a_model_fills_gaps_and_there_are_none_nothing_is_written(
    tmp_path, capsys, random_run
):
    intact = write_tone(tmp_path / "in/a.wav", seconds=1.0)
    gapped = write_tone(tmp_path / "in/b.wav", seconds=1.0, gap=(0.5, 0.52))
    assert restore(tmp_path / "in", run=random_run) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path}/in/b.restored.wav\n"
    (line,) = captured.err.splitlines()
    assert f"{intact}: no gaps were found" in line and "--gap START-STOP" in line
    target = tmp_path / "a.wav"
    assert tfrestore.restore_file(intact, target, random_run) is False and not target.exists()
    assert tfrestore.restore_file(intact, target, random_run, gaps=[(0.3, 0.32)]) is True
    assert tfrestore.restore_file(gapped, target, random_run) is True


def test_a_pattern_that_matches_nothing_is_called_one_and_stops_no_other(
    tmp_path, capsys, one_model
):
    write_tone(tmp_path / "a.wav")
    (tmp_path / "notes.txt").write_text("no music")
    for pattern in ("*.flac", "*.txt", "take [1].wav"):
        arguments = [tmp_path / pattern, tmp_path / "*.wav", "--overwrite"]
        assert restore(*arguments, run=one_model) == 1
        captured = capsys.readouterr()
        assert captured.out == f"{tmp_path}/a.restored.wav\n"
        said = f"{tmp_path / pattern}: no file has this name, and as a pattern it matches no audio"
        assert said in captured.err and "does not exist" not in captured.err


def test_the_help_says_each_default_once(capsys):
    assert main(["restore", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.count("(default: float32)") == 1 and ") (default" not in shown


def test_a_low_rate_is_no_matter_where_gaps_are_filled(tmp_path, capsys, one_model):
    source = write_tone(tmp_path / "song.wav", seconds=1.0, rate=8000)
    assert restore(source, run=one_model) == 0
    assert "--output-rate" not in capsys.readouterr().err


def test_the_asked_for_format_is_written(tmp_path, one_model):
    write_tone(tmp_path / "a.wav", rate=44100)
    for arguments, name, subtype in (
        (["--format", "flac", "--subtype", "24"], "a.restored.flac", "PCM_24"),
        (["--format", "mp3"], "a.restored.mp3", "MPEG_LAYER_III"),
        (["--subtype", "float"], "a.restored.wav", "FLOAT"),
        (["-o", str(tmp_path / "b.ogg")], "b.ogg", "VORBIS"),
    ):
        assert restore(tmp_path / "a.wav", *arguments, run=one_model) == 0
        assert soundfile.info(tmp_path / name).subtype == subtype


def test_a_format_that_cannot_hold_a_file_fails_that_file_only(tmp_path, capsys, one_model):
    write_tone(tmp_path / "in/eight.wav", rate=44100, channels=8)
    write_tone(tmp_path / "in/mono.wav", rate=44100)
    assert restore(tmp_path / "in", "--format", "mp3", run=one_model) == 1
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path}/in/mono.restored.mp3\n"
    assert "8 channels" in captured.err


def test_outputs_that_exist_are_skipped_and_replaced_when_asked(tmp_path, capsys, one_model):
    write_tone(tmp_path / "a.wav")
    target = tmp_path / "a.restored.wav"
    target.write_text("precious")
    assert restore(tmp_path / "a.wav", run=one_model) == 0
    captured = capsys.readouterr()
    assert target.read_text() == "precious" and captured.out == ""
    assert f"{target} exists already, skipped" in captured.err
    assert restore(tmp_path / "a.wav", "--overwrite", run=one_model) == 0
    assert soundfile.info(target).frames == soundfile.info(tmp_path / "a.wav").frames


def test_strange_names_come_through(tmp_path, capsysbinary, one_model):
    names = [b"[bold] :smile: \xe6\x97\xa5.wav", b"bytes \xff.wav", b"two\tparts .wav"]
    for name in names:
        shutil.copy(write_tone(tmp_path / "x.wav"), tmp_path / os.fsdecode(name))
    (tmp_path / "x.wav").unlink()
    assert restore(tmp_path, "-o", tmp_path / "out", run=one_model) == 0
    expected = sorted(name.replace(b".wav", b".restored.wav") for name in names)
    assert sorted(os.listdir(os.fsencode(tmp_path / "out"))) == expected
    printed = capsysbinary.readouterr().out.splitlines()
    assert sorted(os.path.basename(line) for line in printed) == expected


# Places that cannot be written.


def test_a_full_disk_fails_the_file_and_leaves_nothing(tmp_path, capsys, monkeypatch, one_model):
    write_tone(tmp_path / "in/a.wav", seconds=2)
    write_tone(tmp_path / "in/b.wav")
    write = AudioWriter._write

    def on_a_full_disk(self, frames):
        if self._frames + len(frames) > RATE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, frames)

    monkeypatch.setattr(AudioWriter, "_write", on_a_full_disk)
    assert restore(tmp_path / "in", "-o", tmp_path / "out", run=one_model) == 1
    captured = capsys.readouterr()
    assert every_file(tmp_path / "out") == ["b.restored.wav"]
    assert f"{tmp_path}/out/a.restored.wav" in captured.err
    assert "No space left on device" in captured.err


def test_a_folder_that_cannot_be_made_is_named(tmp_path, capsys, one_model):
    write_tone(tmp_path / "a.wav")
    (tmp_path / "file").write_text("")
    assert restore(tmp_path / "a.wav", "-o", tmp_path / "file/out", run=one_model) == 1
    assert f"{tmp_path}/file/out: this folder cannot be made" in capsys.readouterr().err


# Interruptions.


@pytest.mark.parametrize(
    ("name", "said"),
    [("SIGINT", "interrupted"), ("SIGTERM", "terminated"), ("SIGHUP", "terminated")],
)
def test_a_signal_half_way_ends_with_one_line_and_no_partial_file(
    tmp_path, capsys, monkeypatch, heard_signals, one_model, name, said
):
    number = getattr(signal, name, None)
    if number is None or os.name == "nt":
        pytest.skip("no such signal")
    write_tone(tmp_path / "a.wav", seconds=5)
    write = AudioWriter._write

    def write_and_be_stopped(self, frames):
        write(self, frames)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(AudioWriter, "_write", write_and_be_stopped)
    before = signal.getsignal(number)
    assert restore(tmp_path / "a.wav", "-o", tmp_path / "out", run=one_model) == 128 + number
    assert capsys.readouterr().err == f"tfrestore restore: {said}\n"
    assert every_file(tmp_path / "out") == []
    assert signal.getsignal(number) == before


# The screen.


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")
def test_bars_are_for_terminals_and_results_for_standard_output(tmp_path, random_run):
    import pty

    for name in ("a [b].wav", "c.wav"):
        write_tone(tmp_path / name, seconds=1.0, gap=(0.5, 0.52))
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tfrestore.restore", str(tmp_path), "--preset", str(random_run)],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            piece = os.read(master, 1 << 16)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    results = process.stdout.read().decode().splitlines()
    assert results == [f"{tmp_path}/{name}.restored.wav" for name in ("a [b]", "c")]
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    for part in ("loading the model", "a [b].wav", "files", "2/2"):
        assert part.encode() in shown


def test_without_a_terminal_there_is_nothing_but_results_and_log_lines(tmp_path, random_run):
    write_tone(tmp_path / "a.wav", seconds=1.0, gap=(0.5, 0.52))
    (tmp_path / "bad.wav").write_text("text")
    done = subprocess.run(
        [sys.executable, "-m", "tfrestore", "restore", "a.wav", "bad.wav"]
        + ["--preset", str(random_run)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if "TF_CPP" not in name},
    )
    assert done.returncode == 1
    assert done.stdout == "a.restored.wav\n"
    first, second = done.stderr.splitlines()
    assert "bad.wav is damaged or is not audio" in first
    assert second == "tfrestore restore: 1 of 2 files failed: bad.wav"
