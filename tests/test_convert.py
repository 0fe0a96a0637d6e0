"""The command, as its user types it."""

import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import yaml

from tfrestore.checkpoints import open_checkpoint, write_checkpoint
from tfrestore.convert import main
from tfrestore.data.catalogue import open_catalogue
from tfrestore.models import Apollo
from tfrestore.models.apollo.torch_weights import rotary_tables, torch_weights
from tfrestore.models.presets import find_preset, preset_names
from tfrestore.restorer import Restorer
from tfrestore.training.configuration import resolve
from tfrestore.training.loop import TrainingRun


@pytest.fixture(scope="module")
def network():
    return Apollo(features=8, depth=2, heads=2, bands=80, causal=False, seed=7)


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    """A checkpoint as Lightning keeps them, its rotary tables rounded otherwise than ours."""
    tensors = torch_weights(network)
    for name in rotary_tables(network.depth, 4):
        tensors[name] = np.nextafter(tensors[name], np.float32(2))
    state = {f"audio_model.{name}": tensor for name, tensor in tensors.items()}
    state["discriminator.weight"] = np.zeros(3, np.float32)
    path = tmp_path_factory.mktemp("published") / "epoch=3.ckpt"
    write_checkpoint(path, {"epoch": 3, "state_dict": state})
    return path


@pytest.fixture(scope="module")
def converted(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted") / "apollo_official"
    assert main(["apollo", str(checkpoint), "--out", str(folder)]) == 0
    return folder


def test_a_converted_folder_restores_as_the_network_does(converted, network):
    restorer = Restorer.from_preset(converted)
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 5000)).astype(np.float32)
    np.testing.assert_array_equal(restorer(waveform), network(waveform))
    assert restorer.sample_rate == 44100


def test_the_metadata_says_where_weights_come_from_and_their_licence(converted, checkpoint):
    metadata = json.loads((converted / "metadata.json").read_text())
    assert metadata["license"] == "CC-BY-SA-4.0"
    assert metadata["converted_from"]["file"] == "epoch=3.ckpt"
    assert len(metadata["converted_from"]["sha256"]) == 64
    assert "epoch=3.ckpt" in find_preset(converted).description


def test_what_was_ignored_is_said(checkpoint, tmp_path, capsys):
    assert main(["apollo", str(checkpoint), "--out", str(tmp_path / "a"), "--license", "MIT"]) == 0
    output = capsys.readouterr()
    assert "ignored 1 tensors of 'discriminator'" in output.err
    assert output.out.splitlines()[0] == str(tmp_path / "a")
    assert json.loads((tmp_path / "a" / "metadata.json").read_text())["license"] == "MIT"


def test_a_converted_folder_can_be_fine_tuned_as_its_preset_is_trained(converted):
    tree = yaml.safe_load((converted / "config.yaml").read_text())
    assert tree["network"]["features"] == 8
    built_in = find_preset("apollo")
    if "recipe" in built_in.config:
        resolved = resolve(find_preset(converted))
        assert resolved.config["recipe"] == resolve(built_in).config["recipe"]


def test_what_is_fine_tuned_starts_with_the_weights_and_keeps_their_licence(
    converted, music_folder, network, tmp_path
):
    settings = ["adversarial_weight=0", "feature_matching_weight=0", "samples=2112"]
    preset = resolve(find_preset(converted), None, settings, batch_size=1, steps=1)
    catalogue = open_catalogue(music_folder)
    run = TrainingRun(preset, catalogue, tmp_path / "run", str(music_folder))
    for ours, theirs in zip(run.network.weights, network.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    run.start()
    run._keep_best({}, step=1)
    metadata, source = (
        json.loads((each / "metadata.json").read_text()) for each in (tmp_path / "run", converted)
    )
    for name in ("license", "converted_from"):
        assert metadata[name] == source[name]
    again = TrainingRun(preset, catalogue, tmp_path / "run", str(music_folder))
    assert again.origin == run.origin
    target = tmp_path / "tuned.bin"
    assert main(["apollo", str(tmp_path / "run"), "--to", "torch", "--out", str(target)]) == 0


@pytest.mark.parametrize("name", ["back.bin", "back.safetensors"])
def test_there_and_back_is_the_same_to_the_last_bit(name, converted, checkpoint, tmp_path):
    target = tmp_path / name
    assert main(["apollo", str(converted), "--to", "torch", "--out", str(target)]) == 0
    with open_checkpoint(checkpoint) as source, open_checkpoint(target) as back:
        back = back.get("state_dict", back)
        names = {f"audio_model.{name}" for name in back} | {"discriminator.weight"}
        assert names == set(source["state_dict"])
        for name, tensor in back.items():
            expected = source["state_dict"][f"audio_model.{name}"].read()
            assert tensor.read().tobytes() == expected.tobytes()
            assert (tensor.shape, tensor.dtype) == (expected.shape, expected.dtype)
    again = tmp_path / "again"
    assert main(["apollo", str(target), "--out", str(again)]) == 0
    first, second = (
        json.loads((each / "config.json").read_text())["config"] for each in (converted, again)
    )
    assert first | {"name": ""} == second | {"name": ""}


def expect(capsys, code, words, *arguments):
    assert main(list(map(str, arguments))) == code
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1


def test_a_malicious_checkpoint_makes_no_folder_and_runs_nothing(tmp_path, capsys):
    class Touch:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'marker'}",)

    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({"state_dict": Touch()}, 2))
        archive.writestr("model/version", "3\n")
    expect(capsys, 1, f"{os.name}.system", "apollo", path, "--out", tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["pytorch_model.bin"]


def test_mistakes_are_told_in_a_line(checkpoint, converted, tmp_path, capsys):
    out = tmp_path / "out"
    with open_checkpoint(checkpoint) as content:
        state = {name: tensor.read() for name, tensor in content["state_dict"].items()}
    gone = "net.1.seq_net.blocks.2.conv.4.weight"
    state.pop(f"audio_model.{gone}")
    holed = tmp_path / "holed.pth"
    write_checkpoint(holed, state)
    expect(capsys, 1, f"{holed}: the tensor {gone} is missing", "apollo", holed, "--out", out)
    write_checkpoint(holed, {"a\x1b[31m\nb": np.zeros(2, np.float32)})
    expect(capsys, 1, r"its tensors are named a\x1b[31m\nb", "apollo", holed, "--out", out)
    expect(capsys, 1, "missing.bin: cannot be read", "apollo", "missing.bin", "--out", out)
    expect(capsys, 2, "exists already", "apollo", checkpoint, "--out", converted)
    expect(capsys, 2, "exists already", "apollo", converted, "--to", "torch", "--out", checkpoint)
    expect(capsys, 2, "has to end in", "apollo", converted, "--to", "torch", "--out", "model.onnx")
    torch = ["--to", "torch", "--out", tmp_path / "a.bin"]
    expect(capsys, 2, "--sample-rate", "apollo", converted, *torch, "--sample-rate", "44100")
    expect(capsys, 2, "without trained weights", "apollo", "apollo", *torch)
    other = next(name for name in preset_names() if find_preset(name).family != "apollo")
    expect(capsys, 2, "not of apollo", "apollo", other, *torch)
    expect(capsys, 2, "invalid choice", "sr_gan", checkpoint, "--out", out)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["holed.pth"]
