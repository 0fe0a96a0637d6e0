"""A search by its command: what it keeps, what it skips, and what it says of bad requests."""

import csv
import json
import os
import signal
import time

import numpy as np
import pytest
import soundfile
import yaml
from tensorflow.python.summary.summary_iterator import summary_iterator

from tfrestore import train
from tuning import chief
from tuning.search import main

SPACE = """
network.filters: {choice: [2, 3, 400]}
network.depth: {min: 1, max: 2}
recipe.learning_rate: {choice: [0.001, 0.003, 1.0e+30]}
"""
SETTINGS = ["filters=2", "depth=2", "steps_per_epoch=2", "validation_examples=4"]
SETTINGS += ["calibration_batches=1"]
OPTIONS = ["--preset", "unet_tiny", "--batch-size", "2", "--epochs", "3"]
OPTIONS += [word for setting in SETTINGS for word in ("--set", setting)]


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    path = tmp_path_factory.mktemp("spaces") / "space.yaml"
    path.write_text(SPACE)
    return path


def search(folder, *more):
    return main([*OPTIONS, "--out", str(folder), *map(str, more)])


def trials(folder):
    found = {}
    for path in sorted(folder.glob("trials/trial_*/trial.json")):
        found[path.parent.name] = json.loads(path.read_text())
    return found


def rows(file):
    with open(file, newline="") as opened:
        return [{**row, "steps_per_second": ""} for row in csv.DictReader(opened)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, music_folder, space):
    """A Hyperband search of seven trials, some too large and some that diverge."""
    folder = tmp_path_factory.mktemp("searches") / "a"
    words = ["--space", space, "--data", music_folder, "--max-parameters", 1e5, "--seed", 1]
    assert search(folder, *words, "--max-trials", 7) == 0
    return folder


def test_the_folder_says_what_was_searched(finished, music_folder):
    content = yaml.safe_load((finished / "search.yaml").read_text())
    assert content["preset"] == "unet_tiny" and content["family"] == "inpainter"
    assert content["objective"] == {"name": "val_psnr", "direction": "max"}
    assert content["data"] == str(music_folder) and content["max_trials"] == 7
    assert list(content["space"]) == ["network.filters", "network.depth", "recipe.learning_rate"]
    assert content["base"]["network"]["filters"] == 2
    assert content["base"]["training"]["epochs"] == 3


def test_failed_and_skipped_trials_are_kept_with_their_reason_and_the_search_goes_on(finished):
    found = trials(finished)
    assert len(found) == 7
    messages = [each["message"] for each in found.values() if each["status"] == "FAILED"]
    assert any("is no longer a number" in message for message in messages)
    assert any(message.startswith("skipped: ") for message in messages)
    scores = [each["score"] for each in found.values() if each["status"] == "COMPLETED"]
    assert len(scores) + len(messages) == 7 and len(scores) >= 3
    assert np.isfinite(scores).all()


def test_the_score_of_a_trial_is_its_best_epochs(finished):
    for name, trial in trials(finished).items():
        if trial["status"] == "COMPLETED":
            history = rows(finished / "trials" / name / "run" / "history.csv")
            assert trial["score"] == max(float(row["val_psnr"]) for row in history)
            assert len(history) == trial["hyperparameters"]["values"]["tuner/epochs"]


def test_a_trial_that_hyperband_went_on_with_is_what_train_makes_of_its_configuration(
    finished, tmp_path
):
    (name,) = [
        name
        for name, trial in trials(finished).items()
        if "tuner/trial_id" in trial["hyperparameters"]["values"] and trial["status"] == "COMPLETED"
    ][:1]
    folder = finished / "trials" / name
    again = tmp_path / "again"
    assert train.main(["--config", str(folder / "config.yaml"), "--out", str(again)]) == 0
    assert rows(again / "history.csv") == rows(folder / "run" / "history.csv")
    assert (again / "config.yaml").read_text() == (folder / "config.yaml").read_text()


def test_tensorboard_gets_the_values_and_scores_of_a_trial(finished):
    folder = finished / "trials" / "trial_0000" / "run" / "logs"
    tags = {
        value.tag
        for path in folder.glob("events*")
        for event in summary_iterator(str(path))
        for value in event.summary.value
    }
    assert {"_hparams_/session_start_info", "val_psnr", "val_nrmse"} <= tags
    assert list((finished / "trials").glob("events*"))


def test_a_search_that_is_over_is_gone_on_with_by_its_folder_alone(finished, capsys, monkeypatch):
    before = trials(finished)
    assert main(["--out", str(finished), "--max-trials", "7"]) == 0
    assert trials(finished) == before
    best = max(
        (trial["score"], name) for name, trial in before.items() if trial["score"] is not None
    )
    shown = capsys.readouterr().out
    assert f"val_psnr {best[0]:.5g}, trial {best[1].removeprefix('trial_')}" in shown
    assert f"trials/{best[1]}/config.yaml" in shown


def the_line(capsys):
    lines = [line for line in capsys.readouterr().err.splitlines() if line[2:3] != ":"]
    assert len(lines) == 1, lines
    assert lines[0].startswith("python -m tuning.search: ")
    return lines[0].removeprefix("python -m tuning.search: ")


def test_a_search_is_refused_where_another_was_begun(finished, music_folder, space, capsys):
    same = ["--space", space, "--data", music_folder, "--seed", 1]
    for words, said in [
        (["--tuner", "random"], "tuner 'hyperband', not 'random'"),
        (["--objective", "val_nrmse"], "objective.name 'val_psnr', not 'val_nrmse'"),
        (["--fix", "depth=1"], "space.network.depth.min 1, not None"),
        (["--set", "beta_1=0.5"], "base.recipe.beta_1 0.9, not 0.5"),
    ]:
        assert search(finished, *same, *words) == 2
        assert said in the_line(capsys)
    other = ["--preset", "sr_gan_tiny", "--data", str(music_folder), "--objective", "val_lsd"]
    assert main([*other, "--out", str(finished)]) == 2
    assert "family 'inpainter', not 'sr_gan'" in the_line(capsys)
    assert main(["--out", str(finished), "--objective", "val_nrmse"]) == 2
    assert "--objective cannot change a search that goes on" in the_line(capsys)


def test_what_cannot_be_searched_is_told_in_a_line(tmp_path, music_folder, space, capsys):
    few = tmp_path / "few" / "train" / "one.wav"
    few.parent.mkdir(parents=True)
    soundfile.write(few, np.zeros(16000), 16000)
    something = tmp_path / "something"
    something.mkdir()
    (something / "file").touch()
    music = ["--data", str(music_folder)]
    for words, said in [
        ([*music, "--objective", "val_lsd"], "it has val_loss, val_psnr, val_nrmse, psnr"),
        ([*music, "--objective", "odg"], "gaps:frames leaves no recording to lay this ruler on"),
        ([*music, "--space", str(space), *_fixed_all()], "this space is empty"),
        ([*music, "--fix", "filtres=2"], "no section has the key 'filtres'. Did you mean"),
        ([*music, "--fix", "filters"], "write it as KEY=VALUE"),
        ([], "name the music to search on with --data"),
        (["--data", str(tmp_path / "few")], "too few files for a search: 1 in all, and none to"),
        (["--data", str(tmp_path / "none")], "none"),
        ([*music, "--out", str(something)], "this holds something else than a search"),
        ([*music, "--out", "/proc/none"], "cannot be written to"),
    ]:
        assert search(tmp_path / "out", *words) == 2, words
        assert said in the_line(capsys)
    assert main(["--out", str(tmp_path / "nowhere")]) == 2
    assert "name a model with --preset" in the_line(capsys)


def _fixed_all():
    values = ("filters=2", "depth=2", "learning_rate=0.001")
    return [word for value in values for word in ("--fix", value)]


def test_a_worker_that_is_killed_loses_nothing_and_the_table_is_the_same(
    tmp_path, music_folder, space, monkeypatch
):
    """Trials are pure functions of their configuration, and are drawn in one order."""
    words = ["--space", space, "--data", music_folder, "--tuner", "random", "--max-trials", 4]
    words += [
        "--fix",
        "learning_rate=0.001",
        "--max-parameters",
        1e5,
        "--set",
        "checkpoint_steps=1",
    ]
    killed = []
    look_after = chief._look_after

    def kill_once(worker, oracle):
        folder = tmp_path / "many" / "trials"
        begun = oracle.ongoing_trials.get(worker.name)
        if begun and not killed:
            checkpoints = folder / f"trial_{begun.trial_id}" / "run" / "checkpoints"
            if list(checkpoints.glob("ckpt-1.index")):
                os.kill(worker.process.pid, signal.SIGKILL)
                worker.process.wait()
                killed.append(begun.trial_id)
        look_after(worker, oracle)

    monkeypatch.setattr(chief, "_look_after", kill_once)
    monkeypatch.setattr(chief, "_PERIOD", 0.02)
    assert search(tmp_path / "many", *words, "--workers", 2) == 0
    assert killed
    assert search(tmp_path / "one", *words) == 0
    many, one = trials(tmp_path / "many"), trials(tmp_path / "one")
    assert len(one) == 4
    for name, trial in one.items():
        assert many[name]["status"] == trial["status"]
        assert many[name]["message"] == trial["message"]
        assert many[name]["hyperparameters"]["values"] == trial["hyperparameters"]["values"]
        if trial["score"] is not None:
            np.testing.assert_allclose(many[name]["score"], trial["score"], atol=1e-4)


def test_a_search_ends_when_its_time_is_up_and_goes_on_with_the_trial(
    tmp_path, music_folder, space, monkeypatch
):
    words = ["--space", space, "--data", music_folder, "--tuner", "random", "--max-trials", 1]
    words += ["--set", "checkpoint_steps=1"]
    clock = time.time
    skew = [0.0]
    monkeypatch.setattr(time, "time", lambda: clock() + skew[0])
    folder = tmp_path / "timed"
    from tfrestore.training.loop import TrainingRun

    run = TrainingRun.run

    def run_until_step_three(self, bars=None, watch=None):
        def watching():
            if self.step_number == 3:
                skew[0] += 3600
            watch()

        return run(self, bars, watching)

    monkeypatch.setattr(TrainingRun, "run", run_until_step_three)
    assert search(folder, *words, "--max-minutes", 30) == 1
    assert trials(folder)["trial_0000"]["status"] == "RUNNING"
    assert list(folder.glob("trials/trial_0000/run/checkpoints/ckpt-3.index"))
    monkeypatch.setattr(TrainingRun, "run", run)
    assert search(folder, *words, "--max-minutes", 30) == 0
    assert trials(folder)["trial_0000"]["status"] == "COMPLETED"
    assert [row["step"] for row in rows(folder / "trials/trial_0000/run/history.csv")] == [
        "2",
        "4",
        "6",
    ]
