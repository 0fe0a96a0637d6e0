import csv
import json
import shutil

import numpy as np
import pytest
import soundfile
import soxr
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio

from tfrestore.__main__ import main
from tfrestore.data.gaps import gap_mask

HEADING = ["model", "data", "split", "degradation", "seed"]


def evaluate(run, data, *arguments):
    return main(["evaluate", "--model", str(run), "--data", str(data), *map(str, arguments)])


def read_tables(stem):
    """The lines of the CSV and the JSON, in which nothing but JSON is accepted."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    with open(f"{stem}.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    with open(f"{stem}.json") as file:
        return lines, json.load(file, parse_constant=refuse)


def patches(path):
    """Magnitudes (patches, 128, 128) of a file, as the paper cuts them, by NumPy alone."""
    stereo, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(stereo.mean(axis=1), rate, 16000, "VHQ")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    frames = np.lib.stride_tricks.sliding_window_view(mono, 256)[::64] * window
    # tf.signal.stft with a transform of 255 points drops a frame's last sample, whose weight is 0.
    magnitude = np.abs(np.fft.rfft(frames[:, :255], 255))
    whole = len(magnitude) // 128
    return magnitude[: whole * 128].reshape(whole, 128, 128)


@pytest.mark.parametrize("kind", ["frames", "window", "bands"])
def test_a_table_holds_what_scikit_image_computes(identity_run, music_folder, tmp_path, kind):
    stem = tmp_path / "table"
    arguments = ["--degradation", f"gaps:{kind}", "--seed", 5, "--out", stem]
    assert evaluate(identity_run, music_folder, *arguments) == 0
    (path,) = (music_folder / "test").iterdir()
    references = patches(path)
    masks = gap_mask(kind, 5, 0, len(references))
    psnr, nrmse = [], []
    for reference, mask in zip(references, masks, strict=True):
        # The network's scale: one patch of the loudest music there is reaches 1.
        intact, degraded = (each / 128 + 0.001 for each in (reference, reference * mask))
        psnr.append(peak_signal_noise_ratio(intact, degraded, data_range=1))
        nrmse.append(normalized_root_mse(intact, degraded))
    lines, table = read_tables(stem)
    for row in lines + table["rows"]:
        assert int(row["patches"]) == len(references) and int(row["left_out"]) == 0
        for when in ("degraded", "restored"):
            assert float(row[f"psnr_{when}"]) == pytest.approx(np.mean(psnr), abs=2e-3)
            assert float(row[f"nrmse_{when}"]) == pytest.approx(np.mean(nrmse), abs=1e-4)
        assert float(row["psnr_gain"]) == pytest.approx(0, abs=1e-4)
    assert [row["genre"] for row in lines] == ["odd", "all"]
    assert table["degradation"] == f"gaps:{kind}" and table["split"] == "test"
    assert all(row["degradation"] == f"gaps:{kind}" for row in lines)
    assert list(lines[0])[: len(HEADING)] == HEADING


def test_genres_have_lines_of_their_own_and_all_is_over_the_patches(
    random_run, music_folder, tmp_path, capsys
):
    stem = tmp_path / "table"
    assert evaluate(random_run, music_folder, "--split", "all", "--out", stem) == 0
    shown = capsys.readouterr()
    lines, table = read_tables(stem)
    even, odd, overall = table["rows"]
    assert [row["genre"] for row in table["rows"]] == ["even", "odd", "all"]
    assert (even["tracks"], odd["tracks"], overall["tracks"]) == (3, 3, 6)
    assert overall["patches"] == even["patches"] + odd["patches"]
    for name in ("psnr_degraded", "psnr_restored", "psnr_gain"):
        weighted = sum(row[name] * row["patches"] for row in (even, odd)) / overall["patches"]
        assert overall[name] == pytest.approx(weighted)
    assert overall["psnr_gain"] == pytest.approx(
        overall["psnr_restored"] - overall["psnr_degraded"]
    )
    assert overall["psnr_gain"] != 0
    assert "degradation: gaps:frames" in shown.out
    for row in table["rows"]:
        (line,) = [line for line in shown.out.splitlines() if line.startswith(f"{row['genre']} ")]
        assert f"{row['psnr_degraded']:.2f}" in line and f"{row['psnr_gain']:+.2f}" in line
    assert shown.err == ""
    assert len(lines) == 3


def test_waveform_gaps_are_scored_where_nothing_is_lost_too(
    identity_run, music_folder, tmp_path, capsys
):
    stem = tmp_path / "table"
    arguments = ["--degradation", "gaps:waveform", "--out", stem]
    assert evaluate(identity_run, music_folder, *arguments) == 0
    _, table = read_tables(stem)
    row = table["rows"][-1]
    (path,) = (music_folder / "test").iterdir()
    assert row["patches"] + row["left_out"] == len(patches(path))
    assert row["patches"] > 0 and np.isfinite(row["psnr_gain"])


def test_bad_tracks_are_named_and_the_others_scored(identity_run, music_folder, tmp_path, capsys):
    folder = tmp_path / "music"
    shutil.copytree(music_folder / "test", folder)
    bad = np.zeros(30000, np.float32)
    bad[20000] = np.nan
    soundfile.write(folder / "odd__bad.wav", bad, 16000, "FLOAT")
    (folder / "odd__text.wav").write_text("no music")
    assert evaluate(identity_run, folder, "--out", tmp_path / "table") == 1
    errors = capsys.readouterr().err.splitlines()
    assert any("left out" in line and "odd__text.wav" in line for line in errors)
    assert any("odd__bad.wav" in line and "1.250 s" in line for line in errors)
    assert errors[-1] == f"tfrestore evaluate: 1 tracks failed: {folder}/odd__bad.wav"
    _, table = read_tables(tmp_path / "table")
    assert table["rows"][-1]["tracks"] == 1 and table["split"] == "all"


def test_silence_and_shorter_music_than_a_patch_give_strict_json(identity_run, tmp_path):
    for name, waveform in {"silent": np.zeros(20000), "one": np.array([0.5])}.items():
        soundfile.write(tmp_path / f"{name}.wav", waveform, 16000)
    assert evaluate(identity_run, tmp_path, "--out", tmp_path / "table") == 0
    lines, table = read_tables(tmp_path / "table")
    assert len(lines) == len(table["rows"]) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--degradation", "gaps:holes"], "no degradation 'gaps:holes'"),
        (["--degradation", "mp3:77"], "77"),
        (["--model", "nothing"], "named 'nothing'"),
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--split", "middle"], "--split"),
        (["--seed", "-1"], "--seed"),
        (["--out", "/dev/null/table"], "/dev/null/table"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(
    identity_run, music_folder, tmp_path, capsys, arguments, said
):
    run = shutil.copytree(identity_run, tmp_path / "run")
    assert evaluate(run, music_folder, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and said in captured.err


def test_tables_lie_in_the_models_folder_unless_told_otherwise(
    identity_run, music_folder, tmp_path
):
    run = shutil.copytree(identity_run, tmp_path / "run")
    assert evaluate(run, music_folder) == 0
    read_tables(run / "evaluation-gaps-frames")
