import csv
import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import soxr
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio

from tests.conftest import synthesize
from tests.data.stem_trees import make_moisesdb, make_musdb
from tfrestore.__main__ import main
from tfrestore.audio.mp3 import encode_mp3
from tfrestore.data.gaps import gap_mask
from tfrestore.evaluation.rulers import CHOICES, RULERS
from tfrestore.restorer import Restorer

CHEAP = ["--metrics", "snr", "lsd", "--jobs", "1", "--pictures", "0"]


def evaluate(run, data, *arguments):
    return main(["evaluate", "--model", str(run), "--data", str(data), *map(str, arguments)])


def read_report(folder):
    """The lines of table.csv, table.json, in which nothing but JSON is accepted, and scores.csv."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    with open(folder / "table.json") as file:
        table = json.load(file, parse_constant=refuse)
    return read_csv(folder / "table.csv"), table, read_csv(folder / "scores.csv")


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def find(rows, **wanted):
    (row,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return row


def assert_alike(report, expected):
    """Whether two reports say the same, but for the rounding of one thread or two."""
    for lines, others in zip((report[0], report[2]), (expected[0], expected[2]), strict=True):
        for line, other in zip(lines, others, strict=True):
            assert line.keys() == other.keys()
            for name, value in line.items():
                try:
                    assert float(value) == pytest.approx(float(other[name]), rel=1e-6, nan_ok=True)
                except ValueError:
                    assert value == other[name]


def spectrograms(folder):
    """The pictures of recordings, byte by byte."""
    return {path.name: path.read_bytes() for path in folder.glob("spectrograms-*.png")}


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
    out = tmp_path / "report"
    arguments = ["--degradation", f"gaps:{kind}", "--seed", 5, "--out", out]
    assert evaluate(identity_run, music_folder, *arguments) == 0
    (path,) = (music_folder / "test").iterdir()
    references = patches(path)
    masks = gap_mask(kind, 5, 0, len(references))
    expected = {"psnr": [], "nrmse": []}
    for reference, mask in zip(references, masks, strict=True):
        # The network's scale: one patch of the loudest music there is reaches 1.
        intact, degraded = (each / 128 + 0.001 for each in (reference, reference * mask))
        expected["psnr"].append(peak_signal_noise_ratio(intact, degraded, data_range=1))
        expected["nrmse"].append(normalized_root_mse(intact, degraded))
    lines, table, _ = read_report(out)
    for rows in (lines, table["rows"]):
        for name, tolerance in (("psnr", 2e-3), ("nrmse", 1e-4)):
            for system in ("degraded", "identity"):
                row = find(rows, metric=name, system=system, genre="all")
                assert int(row["count"]) == len(references) and int(row["infinite"]) == 0
                assert float(row["mean"]) == pytest.approx(np.mean(expected[name]), abs=tolerance)
                deviation = np.std(expected[name], ddof=1)
                assert float(row["standard_deviation"]) == pytest.approx(deviation, abs=tolerance)
            assert float(row["gain"]) == pytest.approx(0, abs=1e-4)
    assert {row["genre"] for row in lines} == {"odd", "all"}
    assert {row["degradation"] for row in lines} == {f"gaps:{kind}"}
    assert table["degradations"] == [f"gaps:{kind}"] and table["split"] == "test"
    assert list(lines[0])[:3] == ["models", "data", "split"] and lines[0]["seed"] == "5"


def test_genres_have_lines_of_their_own_and_all_is_over_the_patches(
    random_run, music_folder, tmp_path, capsys
):
    assert evaluate(random_run, music_folder, "--split", "all", "--out", tmp_path / "report") == 0
    shown = capsys.readouterr()
    _, table, scores = read_report(tmp_path / "report")
    rows = [row for row in table["rows"] if row["metric"] == "psnr" and row["system"] == "random"]
    even, odd, overall = rows
    assert [row["genre"] for row in rows] == ["even", "odd", "all"]
    assert (even["tracks"], odd["tracks"], overall["tracks"]) == (3, 3, 6)
    assert overall["count"] == even["count"] + odd["count"]
    for name in ("mean", "gain"):
        weighted = sum(row[name] * row["count"] for row in (even, odd)) / overall["count"]
        assert overall[name] == pytest.approx(weighted)
    assert overall["gain"] != 0
    assert "gaps:frames, 6 recordings" in shown.out and shown.err == ""
    assert f"{overall['mean']:.2f} ± {overall['standard_deviation']:.2f}" in shown.out
    assert f"{even['gain']:+.2f}" in shown.out
    assert len(scores) == 12 and {line["system"] for line in scores} == {"degraded", "random"}


def test_every_metric_is_taken_of_an_mp3_and_its_restoration(
    identity_run, music_folder, tmp_path, capsys
):
    out = tmp_path / "report"
    arguments = ["--degradation", "mp3:64", "--seconds", "2", "--jobs", "1", "--out", out]
    assert evaluate(identity_run, music_folder, *arguments) == 0
    _, table, scores = read_report(out)
    assert {row["metric"] for row in table["rows"]} == set(RULERS)
    assert {row["kbit_per_second"] for row in table["rows"]} == {64}
    before, after = scores
    assert (before["system"], after["system"]) == ("degraded", "identity")
    for name in RULERS:
        # The model finds no gap in it and leaves it as it is.
        assert float(after[name]) == float(before[name]) and np.isfinite(float(before[name]))
    assert before["undefined"] == before["notes"] == ""
    for name in ("violins.png", "frequency-profiles.png", "spectrograms-1.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
        assert f"({name})" in (out / "report.md").read_text()
    assert str(out / "report.md") in capsys.readouterr().out


def test_models_are_compared_with_each_other(identity_run, random_run, music_folder, tmp_path):
    out = tmp_path / "report"
    arguments = ["--model", f"other={random_run}", "--split", "all", *CHEAP, "--out", out]
    assert evaluate(identity_run, music_folder, *arguments, "--degradation", "gaps") == 0
    lines, table, _ = read_report(out)
    assert list(dict.fromkeys(row["system"] for row in lines)) == ["degraded", "identity", "other"]
    compared = find(table["comparisons"], metric="snr", first="identity", second="other")
    assert compared["count"] == 6
    means = {row["system"]: row["mean"] for row in table["rows"] if row["metric"] == "snr"}
    assert compared["gain"] == pytest.approx(means["other"] - means["identity"])
    assert find(read_csv(out / "comparisons.csv"), first="identity", second="other", metric="lsd")


@pytest.fixture
def pairs(tmp_path):
    """Originals of 1 s, half as loud copies, and copies at nine tenths."""
    for number in range(4):
        waveform = synthesize(1.0, 16000, number)
        for name, gain in (("originals", 1), ("bad", 0.5), ("ours", 0.9)):
            path = tmp_path / name / f"rock__{number}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, gain * waveform, 16000, "FLOAT")
    return tmp_path


def score_pairs(folder, *arguments, names=("originals", "bad", "ours")):
    folders = [str(folder / name) for name in names]
    out = ["--out", str(folder / "report")]
    return main(["evaluate", "--pairs", *folders, *CHEAP, *out, *map(str, arguments)])


def test_pairs_of_any_tool_are_scored(pairs, capsys):
    assert score_pairs(pairs) == 0
    _, table, _ = read_report(pairs / "report")
    for system, gain in (("degraded", 0.5), ("ours", 0.9)):
        row = find(table["rows"], system=system, metric="snr", genre="all")
        assert row["mean"] == pytest.approx(-20 * np.log10(1 - gain), abs=1e-4)
        row = find(table["rows"], system=system, metric="lsd", genre="all")
        assert row["mean"] == pytest.approx(-20 * np.log10(gain), abs=0.05)
        assert row["count"] == 4
    assert find(table["rows"], system="ours", metric="lsd", genre="rock")["gain"] > 0
    captured = capsys.readouterr()
    assert captured.err == "" and "+13.98 ± 0.00" in captured.out


def test_two_jobs_give_what_one_gives(pairs):
    assert score_pairs(pairs) == 0
    alone = read_report(pairs / "report")
    assert score_pairs(pairs, "--jobs", "2") == 0
    assert_alike(read_report(pairs / "report"), alone)


def test_what_cannot_be_scored_is_named_and_the_rest_goes_on(pairs, capsys):
    bad = synthesize(1.0, 16000)
    bad[8000] = np.nan
    soundfile.write(pairs / "ours" / "rock__0.wav", bad, 16000, "FLOAT")
    (pairs / "ours" / "rock__1.wav").write_text("no music")
    (pairs / "ours" / "rock__2.wav").unlink()
    (pairs / "ours" / "stray.wav").write_bytes(b"")
    assert score_pairs(pairs) == 1
    errors = capsys.readouterr().err.splitlines()
    for name in ("rock__0.wav", "rock__1.wav", "rock__2.wav", "stray.wav"):
        assert sum(name in line for line in errors) == 1
    assert errors[-1] == (
        "tfrestore evaluate: 3 recordings could not be scored: rock__2, rock__0, rock__1"
    )
    _, table, _ = read_report(pairs / "report")
    assert find(table["rows"], system="ours", metric="snr", genre="all")["count"] == 1
    assert find(table["rows"], system="degraded", metric="snr", genre="all")["count"] == 4


def test_the_rules_for_files_of_different_form_are_applied_and_written_down(pairs):
    for number, (rate, extra, channels) in enumerate([(8000, 0, 1), (16000, 40, 1), (16000, 0, 2)]):
        waveform, _ = soundfile.read(pairs / "ours" / f"rock__{number}.wav")
        waveform = soxr.resample(waveform, 16000, rate)
        waveform = np.pad(waveform, (0, extra))[:, None].repeat(channels, axis=1)
        soundfile.write(pairs / "ours" / f"rock__{number}.wav", waveform, rate, "FLOAT")
    assert score_pairs(pairs) == 0
    _, _, scores = read_report(pairs / "report")
    notes = [line["notes"] for line in scores if line["system"] == "ours"]
    assert notes == [
        "resampled from 8000 to 16000 Hz",
        "the last 40 samples of the estimate left out",
        "1 and 2 channels mixed to one",
        "",
    ]


def test_undefined_numbers_are_nan_with_the_reason_and_left_out_of_means(pairs, capsys):
    soundfile.write(pairs / "originals" / "rock__0.wav", np.zeros(16000), 16000, "FLOAT")
    soundfile.write(pairs / "originals" / "rock__1.wav", [0.5], 16000, "FLOAT")
    equal, _ = soundfile.read(pairs / "originals" / "rock__2.wav")
    soundfile.write(pairs / "ours" / "rock__2.wav", equal, 16000, "FLOAT")
    assert score_pairs(pairs) == 0
    _, table, scores = read_report(pairs / "report")
    silent = find(scores, system="ours", track="rock__0")
    assert silent["snr"] == "nan" and silent["undefined"] == "snr: the reference is silent"
    short = find(scores, system="ours", track="rock__1")
    assert short["lsd"] == "nan" and "lsd: the recording is shorter than 2048" in short["undefined"]
    assert find(scores, system="ours", track="rock__2")["snr"] == "inf"
    row = find(table["rows"], system="ours", metric="snr", genre="all")
    assert (row["count"], row["infinite"], row["undefined"]) == (2, 1, 1)
    assert "SNR (dB) of ours: 1 infinite and 1 undefined of 4 values" in capsys.readouterr().out


def test_mp3s_are_grouped_by_their_bit_rate(pairs):
    (pairs / "mp3s").mkdir()
    for number, rate in enumerate([32, 32, 64, 64]):
        waveform, _ = soundfile.read(pairs / "originals" / f"rock__{number}.wav", dtype="float32")
        data = encode_mp3(np.tile(waveform, 4)[None], 16000, rate)
        (pairs / "mp3s" / f"rock__{number}.mp3").write_bytes(data)
    assert score_pairs(pairs, names=("originals", "mp3s")) == 0
    _, table, _ = read_report(pairs / "report")
    for rate in (32, 64):
        row = find(table["rows"], kbit_per_second=rate, metric="snr", genre="all")
        assert row["count"] == 2 and row["mean"] > 3


def test_bad_tracks_are_named_and_the_others_scored(identity_run, music_folder, tmp_path, capsys):
    folder = tmp_path / "music"
    shutil.copytree(music_folder / "test", folder)
    bad = np.zeros(30000, np.float32)
    bad[20000] = np.nan
    soundfile.write(folder / "odd__bad.wav", bad, 16000, "FLOAT")
    (folder / "odd__text.wav").write_text("no music")
    for degradation in ("gaps:frames", "mp3:32"):
        arguments = ["--metrics", "psnr", "--degradation", degradation, "--jobs", 1]
        assert evaluate(identity_run, folder, *arguments, "--out", tmp_path / "report") == 1
        errors = capsys.readouterr().err.splitlines()
        assert any("left out" in line and "odd__text.wav" in line for line in errors)
        assert any("odd__bad.wav" in line and "1.250 s" in line for line in errors)
        assert errors[-1] == "tfrestore evaluate: 1 recordings could not be scored: odd__bad"
        _, table, _ = read_report(tmp_path / "report")
        assert table["rows"][-1]["tracks"] == 1 and table["split"] == "all"


def test_silence_and_shorter_music_than_a_patch_give_strict_json(identity_run, tmp_path):
    for name, waveform in {"silent": np.zeros(20000), "one": np.array([0.5])}.items():
        soundfile.write(tmp_path / f"{name}.wav", waveform, 16000)
    for degradation in ("gaps:frames", "gaps:waveform"):
        arguments = ["--degradation", degradation, "--jobs", 1, "--out", tmp_path / degradation]
        assert evaluate(identity_run, tmp_path, *arguments) == 0
        read_report(tmp_path / degradation)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--degradation", "gaps:holes"], "no degradation 'gaps:holes'"),
        (["--degradation", "mp3:77"], "77"),
        (["--model", "nothing"], "named 'nothing'"),
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--split", "middle"], "--split"),
        (["--seed", "-1"], "--seed"),
        (["--jobs", "0"], "--jobs"),
        (["--seconds", "-3"], "--seconds"),
        (["--metrics", "stoi"], "no metric 'stoi'"),
        (["--metrics", "snr"], "--metrics"),
        (["--out", "/dev/null/report"], "/dev/null/report"),
        (["--pairs", "a", "b"], "either --model"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(
    identity_run, music_folder, tmp_path, capsys, arguments, said
):
    run = shutil.copytree(identity_run, tmp_path / "run")
    assert evaluate(run, music_folder, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and said in captured.err


def test_an_empty_folder_and_names_that_do_not_match_are_misuse(pairs, capsys):
    (pairs / "empty").mkdir()
    (pairs / "others").mkdir()
    soundfile.write(pairs / "others" / "x.wav", [0.1], 16000)
    for name, said in (("empty", "holds no audio"), ("others", "no file has the name")):
        assert score_pairs(pairs, names=("originals", name)) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_report_lies_in_the_models_folder_unless_told_otherwise(
    identity_run, music_folder, tmp_path
):
    run = shutil.copytree(identity_run, tmp_path / "run")
    assert evaluate(run, music_folder) == 0
    read_report(run / "evaluation-gaps-frames")


def test_an_evaluation_that_was_terminated_goes_on_and_ends_as_if_it_had_not_been(pairs):
    complete = ["--metrics", *CHOICES, "--pictures", 2]
    assert score_pairs(pairs, *complete) == 0
    expected, shown = read_report(pairs / "report"), spectrograms(pairs / "report")
    shutil.rmtree(pairs / "report")
    folders = [str(pairs / name) for name in ("originals", "bad", "ours")]
    command = [sys.executable, "-m", "tfrestore.evaluate", "--pairs", *folders]
    command += ["--jobs", "2", "--out", str(pairs / "report")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    unfinished = pairs / "report" / ".unfinished.jsonl"
    while process.poll() is None:
        if unfinished.exists() and unfinished.read_text().count("\n") > 2:
            process.send_signal(signal.SIGTERM)
            break
        time.sleep(0.02)
    _, errors = process.communicate(timeout=60)
    if process.returncode:
        # Otherwise it was faster than the signal.
        assert process.returncode == 128 + signal.SIGTERM
        assert errors == "tfrestore evaluate: terminated\n"
        assert [path.name for path in (pairs / "report").iterdir()] == [unfinished.name]
    assert score_pairs(pairs, *complete) == 0
    assert_alike(read_report(pairs / "report"), expected)
    assert spectrograms(pairs / "report") == shown and len(shown) == 2
    assert not unfinished.exists()


def test_songs_are_scored_by_content_and_bit_rate_with_the_models_cost(
    identity_run, tmp_path, capsys
):
    out, folder = tmp_path / "report", make_musdb(tmp_path, ["train/A", "test/B"], 0.8)
    rates = ["--degradation", "mp3:32", "mp3:128", *CHEAP]
    arguments = [f"musdb:{folder}", *rates, "--out", out]
    assert evaluate(identity_run, *arguments) == 0
    lines, table, scores = read_report(out)
    assert table["split"] == "test" and len(scores) == 2 * 2 * 5
    found = {row["genre"]: row["tracks"] for row in table["rows"] if row["degradation"] == "mp3:32"}
    assert found == {"mixed content": 2, "single instrument": 2, "vocals": 1, "all": 5}
    pooled = [row for row in lines if row["degradation"] == "mp3" and row["genre"] == "vocals"]
    of_song = [float(s["snr"]) for s in scores if s["genre"] == "vocals"]
    assert len(pooled) == 4 and len(of_song) == 4
    assert float(find(pooled, metric="snr", system="degraded")["mean"]) == pytest.approx(
        np.mean(of_song[::2])
    )
    (cost,) = table["costs"]
    network = Restorer.from_preset(identity_run).network
    trained = sum(weight.numpy().size for weight in network.trainable_weights)
    assert cost["parameters"] == trained and cost["real_time_factor"] > 0
    assert cost["scoring_processes"] == "0" and cost["audio_seconds"] == pytest.approx(9 * 0.8)
    screen, report = capsys.readouterr().out, (out / "report.md").read_text()
    for text in (screen, report):
        assert "By bit rate" in text and "By content, MP3s of 32, 128 kbit/s" in text
        assert f"{trained:,}" in text
    assert "(bit-rates.png)" in report and (out / "bit-rates.png").is_file()

    assert evaluate(identity_run, *arguments, "--genre", "vocals") == 0
    _, table, scores = read_report(out)
    assert {score["genre"] for score in scores} == {"vocals"} and table["genres"] == ["vocals"]
    capsys.readouterr()
    assert evaluate(identity_run, *arguments, "--genre", "jazz") == 2
    assert "mixed content, single instrument, vocals" in capsys.readouterr().err


def test_the_mixture_of_stems_is_scored_where_no_file_has_it(identity_run, tmp_path):
    stems = [("vocals", 1.0, 44100, 2), ("bass", 0.8, 22050, 1)]
    make_moisesdb(tmp_path / "music", {"one": stems})
    arguments = [*CHEAP, "--degradation", "mp3:64", "--seconds", "0.5"]
    out = tmp_path / "report"
    assert evaluate(identity_run, tmp_path / "music", *arguments, "--out", out) == 0
    _, table, scores = read_report(out)
    assert {score["genre"] for score in scores} == {
        "mixed content",
        "single instrument",
        "vocals",
    }
    assert table["split"] == "all" and all(np.isfinite(float(s["snr"])) for s in scores)
