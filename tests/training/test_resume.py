"""A run that is killed again and again ends exactly where one that is left alone ends."""

import csv
import json
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tfrestore.models.presets import load_network
from tfrestore.train import main

STEPS = 24
OPTIONS = ["--preset", "unet_tiny", "--batch-size", "4", "--steps", str(STEPS)]
OPTIONS += [
    word
    for key in (
        *("network.filters=2", "network.depth=2", "steps_per_epoch=9", "checkpoint_steps=2"),
        *("validation_examples=4", "calibration_batches=2"),
    )
    for word in ("--set", key)
]

# The command, in a process that sends itself a signal once the checkpoint of a step is on the disk,
# before it is said to be the latest, or some seconds later.
SIGNALLED_WHILE_SAVING = """
import json, os, signal, sys, threading
step, number, wait, arguments = json.loads(sys.argv[1])
# What a shell starts in the background is born deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
from tensorflow.python.checkpoint import checkpoint_management
from tfrestore.train import main

update = checkpoint_management.update_checkpoint_state_internal

def signalled_update(save_dir, model_checkpoint_path, **state):
    if model_checkpoint_path.endswith(f"ckpt-{step}"):
        if wait:
            threading.Timer(wait, os.kill, (os.getpid(), number)).start()
        else:
            os.kill(os.getpid(), number)
    return update(save_dir, model_checkpoint_path, **state)

checkpoint_management.update_checkpoint_state_internal = signalled_update
sys.exit(main(arguments))
"""


def run_until_signal(step, number, *arguments, wait=0.0):
    """Runs the command, which sends itself a signal; returns its exit status and its messages."""
    request = json.dumps([step, number, wait, arguments])
    command = [sys.executable, "-c", SIGNALLED_WHILE_SAVING, request]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    return process.returncode, process.stderr


def latest(folder):
    found = [int(p.stem[5:]) for p in (folder / "checkpoints").glob("ckpt-*.index")]
    return max(found, default=0)


def history(folder):
    with open(folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{**row, "steps_per_second": None} for row in rows]


def checkpoint_tensors(folder):
    """All that the latest checkpoint holds, but for the names of Python's objects."""
    reader = tf.train.load_checkpoint(str(folder / "checkpoints"))
    names = set(reader.get_variable_to_shape_map()) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    return {name: np.asarray(reader.get_tensor(name)) for name in names}


@pytest.fixture(scope="module")
def data(music_folder):
    return ["--data", str(music_folder)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert main([*OPTIONS, *data, "--out", str(folder)]) == 0
    return folder


def test_killed_at_random_while_saving_and_by_ctrl_c_a_run_ends_bit_for_bit_where_it_would(
    uninterrupted, tmp_path, data
):
    folder = tmp_path / "run"
    out, going_on = ["--out", str(folder)], ["--resume", "--out", str(folder)]

    # At any moment.
    wait = random.uniform(0.001, 0.1)
    status, err = run_until_signal(2, signal.SIGKILL, *OPTIONS, *data, *out, wait=wait)
    assert status == -signal.SIGKILL, err
    reached = latest(folder)
    assert 2 <= reached < 18

    # With half of a checkpoint written, and with all of it, before it counts.
    prefix = folder / "checkpoints" / f"ckpt-{reached + 2}"
    # Where the kill came while that one was written, its folder is there.
    (folder / "checkpoints" / f"{prefix.name}_temp").mkdir(exist_ok=True)
    for suffix in ("_temp/part-00000-of-00001.tempstate", ".data-00000-of-00001"):
        (folder / "checkpoints" / (prefix.name + suffix)).write_bytes(b"half of it")
    status, err = run_until_signal(18, signal.SIGKILL, *going_on)
    assert status == -signal.SIGKILL, err
    assert (folder / "checkpoints" / "checkpoint").exists()

    # By Ctrl-C: one line that says how to go on.
    status, err = run_until_signal(20, signal.SIGINT, *going_on)
    assert status == 130, err
    last = err.splitlines()[-1]
    assert last.startswith("tfrestore train: interrupted at step ")
    step = int(last.split("from step ")[1].rstrip("."))
    assert f"tfrestore train --resume --out {folder} goes on from step {step}." in last
    assert 18 <= step <= 22 and "Traceback" not in err

    assert main(going_on) == 0
    assert history(folder) == history(uninterrupted)
    assert [row["step"] for row in history(folder)] == ["9", "18", "24"]
    for ours, theirs in zip(
        load_network(folder).weights, load_network(uninterrupted).weights, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    # The weights behind the last step, the optimizer's moments, the metrics and the best score.
    found, expected = checkpoint_tensors(folder), checkpoint_tensors(uninterrupted)
    assert found.keys() == expected.keys() and len(found) > 90
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_what_is_kept_at_any_time_is_whole(uninterrupted):
    names = {path.name for path in uninterrupted.iterdir()}
    assert names == {
        *("config.json", "config.yaml", "metadata.json", "model.weights.h5", "restorer.json"),
        *("history.csv", "checkpoints", "logs"),
    }
    assert set(os.listdir(uninterrupted / "checkpoints")) == {
        "checkpoint",
        *(f"ckpt-{step}.{part}" for step in (22, 24) for part in ("data-00000-of-00001", "index")),
    }
