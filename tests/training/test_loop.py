"""A run: what it keeps, what it shows, and how it ends when something is wrong."""

import csv
import logging
import resource
import shutil
from contextlib import contextmanager

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
import yaml

from tests.stopped_runs import assert_ended_alike, run_until_checkpoint
from tfrestore.data.catalogue import open_catalogue
from tfrestore.models.inpainter import recipe
from tfrestore.models.inpainter.recipe import InpainterTrainer
from tfrestore.models.presets import find_preset, load_network, read_metadata
from tfrestore.restorer import Restorer
from tfrestore.train import main
from tfrestore.training import loop
from tfrestore.training.configuration import resolve
from tfrestore.training.distribution import mirrored_strategy
from tfrestore.training.loop import TrainingRun

SMALL = ["network.filters=2", "network.depth=2", "validation_examples=4", "calibration_batches=2"]
SMALL += ["steps_per_epoch=4", "checkpoint_steps=2"]
OPTIONS = ["--preset", "unet_tiny", "--batch-size", "4", "--steps", "4"]
OPTIONS += [word for assignment in SMALL for word in ("--set", assignment)]


def train(folder, data, *more):
    return main([*OPTIONS, "--data", str(data), "--out", str(folder), *map(str, more)])


def resume(folder, *more):
    return main(["--resume", "--out", str(folder), *map(str, more)])


def rows(folder):
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def checkpoints(folder):
    return sorted(path.stem for path in (folder / "checkpoints").glob("*.index"))


def weights(folder):
    return [np.array(weight) for weight in load_network(folder).weights]


def the_line(capsys):
    """What the command said when it failed: one line, log lines aside."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line[2:3] != ":"]
    assert len(lines) == 1, lines
    assert lines[0].startswith("tfrestore train: ")
    return lines[0].removeprefix("tfrestore train: ")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, music_folder):
    """A run of ten steps in epochs of four."""
    folder = tmp_path_factory.mktemp("finished") / "a run"
    assert train(folder, music_folder, "--steps", 10) == 0
    return folder


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch, finished):
    """All other runs show nothing: that takes them as long as all else."""
    monkeypatch.setattr(TrainingRun, "_illustrate", lambda self: ({}, {}))


@pytest.fixture
def run(tmp_path, finished):
    """A copy of it to go on with."""
    return shutil.copytree(finished, tmp_path / "run")


@contextmanager
def full_disk(file_bytes):
    """No file can grow beyond a size; the system reports that as it reports a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def silence(folder, *names, seconds=4):
    for name in names:
        path = folder / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(round(seconds * 16000)), 16000)
    return folder


# What a run keeps


def test_a_run_folder_holds_a_model_its_history_and_two_checkpoints(finished):
    assert [int(row["step"]) for row in rows(finished)] == [4, 8, 10]
    assert [int(row["epoch"]) for row in rows(finished)] == [1, 2, 3]
    assert checkpoints(finished) == ["ckpt-10", "ckpt-8"]
    assert isinstance(Restorer.from_preset(finished), Restorer)
    assert not list(finished.rglob(".*"))
    losses = [float(row["loss"]) for row in rows(finished)]
    assert losses[-1] < losses[0]


def test_the_model_that_is_kept_is_the_one_with_the_best_validation_score(finished):
    best = max(rows(finished), key=lambda row: float(row["val_psnr"]))
    metadata = read_metadata(finished)
    assert metadata["step"] == int(best["step"])
    assert metadata["scores"]["val_psnr"] == float(best["val_psnr"])


def test_a_run_is_repeated_by_its_own_config_file(tmp_path, finished):
    again = tmp_path / "again"
    assert main(["--config", str(finished / "config.yaml"), "--out", str(again)]) == 0
    assert yaml.safe_load((again / "config.yaml").read_text()) == yaml.safe_load(
        (finished / "config.yaml").read_text()
    )
    for ours, theirs in zip(rows(again), rows(finished), strict=True):
        assert {**ours, "steps_per_second": ""} == {**theirs, "steps_per_second": ""}
    for ours, theirs in zip(weights(again), weights(finished), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_trained_model_is_trained_on_with_other_data(tmp_path, finished, music_folder):
    fine = tmp_path / "fine"
    options = ["--preset", str(finished), "--data", str(music_folder), "--steps", "1"]
    assert main([*options, "--out", str(fine), "--set", "learning_rate=1e-9"]) == 0
    network = load_network(fine)
    for weight, before in zip(
        network.trainable_weights, load_network(finished).trainable_weights, strict=True
    ):
        np.testing.assert_allclose(weight, before, atol=1e-8)


def test_the_network_of_a_trained_model_cannot_be_another(tmp_path, finished, music_folder, capsys):
    options = ["--preset", str(finished), "--data", str(music_folder), "--out", str(tmp_path / "x")]
    assert main([*options, "--set", "filters=3"]) == 2
    assert "network.filters is 3, but the trained network" in the_line(capsys)


# What a run shows


def events(folder, split):
    """What an event file holds: (tag, step) to a number or to encoded bytes."""
    found = {}
    for path in (folder / "logs" / split).iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found[value.tag, event.step] = tf.make_ndarray(value.tensor)
    return found


def test_tensorboard_has_curves(finished):
    found = events(finished, "train")
    assert {step for _, step in found} == {2, 4, 6, 8, 10}
    tags = {tag for tag, _ in found}
    assert tags == {"loss", "psnr", "nrmse", "learning_rate", "steps_per_second"}
    assert found["learning_rate", 4] == pytest.approx(
        resolve(find_preset("unet_tiny")).config["recipe"]["learning_rate"]
    )
    validated = events(finished, "validation")
    for row in rows(finished):
        step = int(row["step"])
        assert found["loss", step] == pytest.approx(float(row["loss"]))
        assert found["steps_per_second", step] > 0
        assert validated["psnr", step] == pytest.approx(float(row["val_psnr"]))


def test_tensorboard_has_a_triptych_and_three_sounds_per_epoch(finished):
    found = events(finished, "validation")
    for step in (4, 8, 10):
        width, height, png = found["spectrogram", step]
        assert tf.io.decode_png(png).shape == (int(height), int(width), 3)
        sounds = {}
        for name in ("degraded", "restored", "original"):
            wav, rate = tf.audio.decode_wav(found[name, step].ravel()[0])
            assert int(rate) == 16000 and wav.shape == (64000, 1)
            sounds[name] = wav.numpy()
        lost = sounds["degraded"] != sounds["original"]
        assert 0.02 < lost.mean() < 0.2
        assert (sounds["degraded"][lost] == 0).all()
        # A few milliseconds beside a gap belong to it.
        near = np.convolve(lost.ravel(), np.ones(161), mode="same") > 0.5
        difference = np.abs(sounds["restored"] - sounds["original"]).ravel()
        assert difference[~near].max() < 1e-3 and difference[near].max() > 0.01


def test_without_a_terminal_a_log_line_tells_of_every_checkpoint_and_nothing_else_does(run, capfd):
    assert resume(run, "--steps", 13) == 0
    out, err = capfd.readouterr()
    assert out.startswith(f"{run}: epoch 4, step 13, loss ") and out.count("\n") == 1
    assert all(line[2] == ":" and line[5] == ":" for line in err.splitlines()), err
    lines = [line.partition(" ")[2] for line in err.splitlines()]
    assert f"resuming {run} at step 10" in lines
    told = [line for line in lines if line.startswith("step ")]
    assert [line.partition(",")[0] for line in told] == ["step 12 of 13", "step 13 of 13"]
    assert all("loss" in line and "left" in line for line in told)
    assert "val_psnr" in told[0]


# Going on


def test_a_finished_run_has_nothing_to_do_until_it_is_given_more_steps(run, capsys):
    assert resume(run) == 0
    assert "already at its last step" in capsys.readouterr().out
    assert resume(run, "--epochs", 3) == 0
    assert [int(row["step"]) for row in rows(run)] == [4, 8, 10, 12]
    assert checkpoints(run) == ["ckpt-10", "ckpt-12"]


class NoisyTrainer(InpainterTrainer):
    """Trains with noise, from Keras's own generator of random numbers."""

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.noise = keras.layers.GaussianNoise(0.1, seed=1)

    def call(self, inputs, training=False):
        return super().call(self.noise(inputs, training=training), training=training)


def test_random_states_loss_scales_and_metrics_go_on_where_they_were(
    tmp_path, music_folder, monkeypatch
):
    preset = resolve(
        find_preset("unet_tiny"), None, SMALL, batch_size=4, steps=4, precision="mixed_float16"
    )
    monkeypatch.setattr(recipe, "InpainterTrainer", NoisyTrainer)

    def run(folder):
        return TrainingRun(preset, open_catalogue(music_folder), tmp_path / folder, "")

    straight, first = run("straight"), run("halved")
    straight.start()
    expected = straight.run()
    first.start()
    run_until_checkpoint(first, monkeypatch)
    second = run("halved")
    second.resume()
    assert second.step_number == 2
    found = second.run()
    assert {**found, "steps_per_second": 0} == {**expected, "steps_per_second": 0}
    assert_ended_alike(second, straight, lambda run: run.trainer.variables)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--seed", 3], "--seed cannot change a run that is resumed"),
        (["--batch-size", 8], "--batch-size cannot change"),
        (["--precision", "float32"], "--precision cannot change"),
        (["--set", "filters=3"], "--set cannot change"),
        (["--config", "x.yaml"], "--config cannot change"),
        (["--preset", "unet"], "this run is of the preset 'unet_tiny', not 'unet'"),
    ],
)
def test_what_would_change_a_run_is_refused_when_it_is_resumed(finished, capsys, more, message):
    assert resume(finished, *more) == 2
    assert message in the_line(capsys)


def test_a_run_that_is_there_and_one_that_is_not_are_told_apart(
    finished, tmp_path, music_folder, capsys
):
    assert train(finished, music_folder) == 2
    assert "holds a run already; add --resume" in the_line(capsys)
    assert resume(tmp_path) == 2
    assert f"{tmp_path}: there is no run here to resume" in the_line(capsys)


def test_a_run_without_a_checkpoint_starts_from_the_first_step(run, capsys, monkeypatch):
    shutil.rmtree(run / "checkpoints")
    monkeypatch.setattr(TrainingRun, "run", lambda self: {"step": self.step_number})
    assert resume(run) == 0
    said = capsys.readouterr()
    assert f"{run} holds no checkpoint; starting from the first step" in said.err
    assert said.out == f"{run}: step 0\n"


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("network", "downsampling", "stride"),
        ("network", "filters", 3),
        # With and without a global residual a U-Net has weights of the same shapes.
        ("network", "global_residual", False),
        ("recipe", "learning_rate", 0.5),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(run, capsys, section, key, value):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config[section][key] = value
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert resume(run) == 2
    assert "ckpt-10: this checkpoint is of another model than" in the_line(capsys)


@pytest.mark.parametrize(
    ("file", "share"), [("ckpt-10.data-00000-of-00001", 0.5), ("ckpt-10.index", 0.0)]
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(
    run, finished, capsys, file, share
):
    damaged = run / "checkpoints" / file
    damaged.write_bytes(damaged.read_bytes()[: int(share * damaged.stat().st_size)])
    assert resume(run) == 0
    said = capsys.readouterr().err
    assert "ckpt-10: this checkpoint cannot be read" in said and f"resuming {run} at step 8" in said
    for ours, theirs in zip(weights(run), weights(finished), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# What can be wrong


def test_a_loss_that_is_no_number_ends_the_run_and_the_last_checkpoint_is_good(
    run, capsys, monkeypatch
):
    steps = []
    original = loop.TrainingRun._distributed

    def poisoned(self, function, average=None):
        step = original(self, function, average)

        def run_step(batch):
            step(batch)
            steps.append(function == self.trainer.train_step)
            if sum(steps) == 4:
                # What a step does whose gradient overflows: its own loss is still a number.
                kernel = self.network.trainable_variables[0]
                kernel.assign(kernel * np.inf)

        return run_step

    monkeypatch.setattr(loop.TrainingRun, "_distributed", poisoned)
    assert resume(run, "--steps", 30) == 1
    line = the_line(capsys)
    assert "no longer a number" in line and "lower recipe.learning_rate" in line
    assert line.endswith(
        "The last good checkpoint is " + str(run / "checkpoints" / "ckpt-12") + "."
    )
    reader = tf.train.load_checkpoint(str(run / "checkpoints"))
    for name in reader.get_variable_to_shape_map():
        value = np.asarray(reader.get_tensor(name))
        assert value.dtype.kind not in "f" or np.isfinite(value[value > -np.inf]).all(), name


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_learning_rate_that_is_far_too_large_is_one_line(
    tmp_path, music_folder, capsys, precision
):
    options = ["--set", "learning_rate=1e30", "--precision", precision]
    assert train(tmp_path / "run", music_folder, *options) == 1
    line = the_line(capsys)
    assert "no longer a number at step 2; lower recipe.learning_rate" in line
    assert ("use --precision float32" in line) == (precision != "float32")
    assert checkpoints(tmp_path / "run") == []


def test_a_model_that_the_disk_has_no_space_for_is_one_line_and_leaves_what_was_there(
    run, capsys, monkeypatch
):
    before = weights(run)
    # A model better than all before, which is to be kept.
    monkeypatch.setattr(TrainingRun, "_validate", lambda self, step: {"psnr": 1000.0})
    monkeypatch.setattr(loop.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 0))
    assert resume(run, "--steps", 12) == 1
    line = the_line(capsys)
    assert f"{run}: the best model cannot be written (No space left on device); free" in line
    assert checkpoints(run) == ["ckpt-10", "ckpt-8"]
    for ours, theirs in zip(weights(run), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_run_that_stopped_at_a_full_disk_goes_on_when_there_is_space(
    tmp_path, music_folder, finished, capsys
):
    folder = tmp_path / "run"
    with full_disk(20_000):
        assert train(folder, music_folder) == 1
    assert "the checkpoint of step 2 cannot be written" in the_line(capsys)
    assert resume(folder, "--steps", 10) == 0
    for ours, theirs in zip(weights(folder), weights(finished), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not list((folder / "checkpoints").glob("*_temp"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", 3], "has to be a multiple of data.patches_per_excerpt, which is 2"),
        (["--set", "order=sideways"], "data.order is 'sideways'"),
        (["--set", "gaps=holes"], "'holes'"),
        (["--set", "network.filters=0"], "network: Argument `filters` must be at least 1"),
        (["--set", "batch_norm=both"], "recipe: Argument `batch_norm` must be one of"),
        (["--set", "phase=none"], "restorer: Argument `phase` must be one of"),
        (["--steps", 0], "training.steps is 0"),
    ],
)
def test_a_configuration_that_cannot_be_is_one_line_and_leaves_no_folder(
    tmp_path, music_folder, capsys, options, message
):
    assert train(tmp_path / "run", music_folder, *options) == 2
    assert message in the_line(capsys)
    assert not (tmp_path / "run").exists()


def test_what_is_missing_on_the_command_line_is_said(tmp_path, music_folder, capsys):
    file = tmp_path / "a.yaml"
    file.write_text("network: {filters: 2}")
    out, data = ["--out", str(tmp_path / "run")], ["--data", str(music_folder)]
    for options, message in (
        (data, "name a model with --preset"),
        (["--preset", "unet_tiny"], "name the music to train on with --data"),
        ([*data, "--config", str(file)], "names no preset"),
        ([*data, "--preset", "unet_tinny"], "Did you mean 'unet_tiny'?"),
        (["--preset", "unet_tiny", "--data", str(tmp_path / "none")], "does not exist"),
    ):
        assert main([*out, *options]) == 2
        assert message in the_line(capsys)
    assert not (tmp_path / "run").exists()


def test_a_place_that_cannot_be_written_to_is_named_before_any_work(tmp_path, music_folder, capsys):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        assert train(out, music_folder) == 2
        assert f"{out}: {tmp_path / 'file'} is not a folder; choose another --out" in the_line(
            capsys
        )


def test_a_folder_that_holds_a_model_is_left_alone(random_run, music_folder, capsys):
    before = sorted(random_run.iterdir())
    assert train(random_run, music_folder) == 2
    assert "holds a model already" in the_line(capsys)
    assert sorted(random_run.iterdir()) == before


def test_too_little_music_to_split_is_said(tmp_path, capsys):
    silence(tmp_path, "validation/only")
    assert train(tmp_path / "run", tmp_path) == 2
    assert "none of them in the train split" in the_line(capsys)


def test_silent_and_very_short_tracks_are_trained_on_without_nan(tmp_path):
    data = silence(tmp_path / "music", "train/a", "train/b", "valid/c")
    silence(data, "train/short", "valid/shorter", seconds=0.01)
    assert train(tmp_path / "run", data) == 0
    for row in rows(tmp_path / "run"):
        assert all(np.isfinite(float(value)) for value in row.values())
    assert all(np.isfinite(weight).all() for weight in weights(tmp_path / "run"))


def test_without_validation_tracks_the_last_model_is_kept_and_that_is_said(tmp_path, capsys):
    data = silence(tmp_path / "music", "train/a")
    assert train(tmp_path / "run", data, "--steps", 6) == 0
    assert "there are no validation tracks" in capsys.readouterr().err
    assert read_metadata(tmp_path / "run")["step"] == 6
    assert not any(name.startswith("val_") for name in rows(tmp_path / "run")[0])


def test_a_damaged_track_is_named_and_training_goes_on(tmp_path, music_folder, caplog):
    data = shutil.copytree(music_folder, tmp_path / "music")
    for path in (data / "train" / "bad.wav", data / "valid" / "a_bad.wav"):
        soundfile.write(path, np.zeros(160000), 16000)
    catalogue = open_catalogue(data)
    for track in catalogue:
        if "bad" in track.track_id:
            track.path.write_bytes(track.path.read_bytes()[:2000])
    preset = resolve(find_preset("unet_tiny"), None, SMALL, batch_size=4, steps=4)
    run = TrainingRun(preset, catalogue, tmp_path / "run", str(data))
    run.start()
    with caplog.at_level(logging.WARNING, "tfrestore"):
        scores = run.run()
    assert np.isfinite(scores["val_loss"])
    messages = [record.getMessage() for record in caplog.records]
    told = [line for line in messages if "bad.wav: an excerpt cannot be decoded" in line]
    # The training tracks are read for training and for calibration.
    assert 1 <= len([line for line in told if "train" in line]) <= 2
    assert len(messages) == len(set(messages)) or len(messages) <= len(set(messages)) + 1


def test_music_that_disappears_is_one_line(tmp_path, music_folder, capsys, monkeypatch):
    data = shutil.copytree(music_folder, tmp_path / "music")
    prepared = TrainingRun.start

    def start(self):
        prepared(self)
        shutil.rmtree(data)

    monkeypatch.setattr(TrainingRun, "start", start)
    assert train(tmp_path / "run", data) == 1
    assert "cannot be decoded, nor could 19 other excerpts" in the_line(capsys)


def test_a_batch_that_does_not_fit_into_memory_is_one_line(run, capsys, monkeypatch):
    def distributed(self, function, average=None):
        def step(batch):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

        return step

    monkeypatch.setattr(TrainingRun, "_distributed", distributed)
    assert resume(run, "--steps", 20) == 1
    assert "a batch of 4 does not fit into memory; choose a smaller" in the_line(capsys)


def test_as_published_a_run_takes_clips_in_file_order_and_leaves_batch_norm_alone(tmp_path):
    data = tmp_path / "music"
    for split, seconds in (("train", 30), ("valid", 30)):
        (data / split).mkdir(parents=True)
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, seconds * 16000)
        soundfile.write(data / split / "clip.wav", noise, 16000)
    options = ["--preset", "res_unet_v2_as_published", "--data", data, "--out", tmp_path / "run"]
    small = ["filters=1", "depth=1", "iterations=2", "validation_examples=58"]
    options += ["--steps", 2, *(word for each in small for word in ("--set", each))]
    assert main(list(map(str, options))) == 0
    layers = [x for x in load_network(tmp_path / "run").layers if hasattr(x, "moving_mean")]
    assert layers
    for layer in layers:
        np.testing.assert_array_equal(layer.moving_mean, 0)
        np.testing.assert_array_equal(layer.moving_variance, 1)


def test_an_epoch_on_two_devices_scores_as_one_on_one_does(tmp_path, finished, music_folder):
    preset = resolve(find_preset("unet_tiny"), None, SMALL, batch_size=4, steps=4)
    strategy = mirrored_strategy("CPU:0", "CPU:1")
    run = TrainingRun(preset, open_catalogue(music_folder), tmp_path, str(music_folder), strategy)
    run.start()
    found = run.run()
    for name in ("loss", "psnr", "nrmse", "val_loss", "val_psnr"):
        assert found[name] == pytest.approx(float(rows(finished)[0][name]), rel=1e-3)


def test_a_batch_that_devices_cannot_share_evenly_is_refused(tmp_path, music_folder):
    preset = resolve(find_preset("unet_tiny"), None, ["data.patches_per_excerpt=1"], batch_size=3)
    with pytest.raises(ValueError, match="2 devices cannot share evenly"):
        TrainingRun(
            preset, open_catalogue(music_folder), tmp_path, "", mirrored_strategy("CPU:0", "CPU:1")
        )


def test_a_training_from_fresh_weights_has_not_the_licence_of_those_that_are_shipped(
    tmp_path, music_folder
):
    preset = resolve(find_preset("unet_tiny"))
    assert preset.metadata["license"]
    run = TrainingRun(preset, open_catalogue(music_folder), tmp_path / "run", str(music_folder))
    assert run.origin == {}
