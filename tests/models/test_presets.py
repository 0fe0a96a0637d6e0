import json
import shutil

import h5py
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.errors import UsageError
from tfrestore.models import presets
from tfrestore.models.inpainter.network import UNet
from tfrestore.restorer import Restorer
from tfrestore.training.configuration import resolve


@pytest.fixture
def run(tmp_path, random_run):
    return shutil.copytree(random_run, tmp_path / "run")


def change(path, **entries):
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_matrices_of_16_bits_are_rounded_to_the_nearest_and_vectors_are_not(tmp_path, random_run):
    network = presets.load_network(random_run)
    presets.save_network(network, tmp_path / "half", weights_dtype="float16")
    half = presets.load_network(tmp_path / "half")
    for exact, rounded in zip(network.weights, half.weights, strict=True):
        assert rounded.dtype == "float32"
        expected = np.asarray(exact)
        if expected.ndim > 1:
            expected = expected.astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(np.asarray(rounded), expected)
    with h5py.File(tmp_path / "half" / presets.WEIGHTS_FILE) as file:
        kinds = set()
        file.visititems(
            lambda _, item: (
                kinds.add((item.ndim > 1, item.dtype.name))
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    assert kinds == {(True, "float16"), (False, "float32")}
    assert presets.read_metadata(tmp_path / "half")["weights_dtype"] == "float16"


def test_a_stranger_can_name_no_class_but_the_familys(run):
    file = run / presets.NETWORK_FILE
    config = json.loads(file.read_text())
    for spoiled in (
        {"module": "subprocess", "class_name": "Popen", "registered_name": None},
        {"class_name": "InpainterRestorer"},
        {"class_name": "keras"},
        {"class_name": None},
        {"config": None},
        {"config": {"filters": "many"}},
        {"config": {"unknown": 1}},
    ):
        file.write_text(json.dumps({**config, **spoiled}))
        with pytest.raises(UsageError, match="config.json"):
            presets.load_network(run)


@pytest.mark.parametrize("family", ["inpainter.network", "../apollo", None, 1, ["apollo"]])
def test_a_family_that_is_none_is_refused(run, family):
    change(run / presets.METADATA_FILE, family=family)
    with pytest.raises(UsageError, match="names no family"):
        presets.find_preset(run)


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(["config.json", "restorer.json", "metadata.json", "config.yaml"]),
    content=st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(max_size=5), inner, max_size=3)
            ),
            max_leaves=6,
        ).map(lambda value: json.dumps(value).encode()),
    ),
)
def test_any_damage_to_a_folders_texts_is_told_in_a_line(
    tmp_path_factory, random_run, name, content
):
    folder = tmp_path_factory.getbasetemp() / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(random_run, folder)
    (folder / name).write_bytes(content)
    try:
        Restorer.from_preset(folder, load_weights=False)
    except UsageError as error:
        assert str(folder) in str(error) and "\n" not in str(error)


def shipped(monkeypatch, tmp_path, random_run):
    """A family whose preset `unet_tiny` is shipped with the weights of `random_run`."""
    room = tmp_path / "inpainter"
    shutil.copytree(random_run, room / "presets" / "unet_tiny")
    for file in (presets.resources.files("tfrestore.models.inpainter") / "presets").iterdir():
        if file.name.endswith(".yaml"):
            shutil.copy(str(file), room / "presets" / file.name)
    original = presets.resources.files
    monkeypatch.setattr(
        presets.resources,
        "files",
        lambda name: room if name == "tfrestore.models.inpainter" else original(name),
    )


def test_a_shipped_preset_has_weights_and_its_training_begins_without(
    monkeypatch, tmp_path, random_run
):
    shipped(monkeypatch, tmp_path, random_run)
    found = presets.find_preset("unet_tiny")
    assert found.built_in and found.folder == tmp_path / "inpainter/presets/unet_tiny"
    assert found.initial_weights is None
    assert presets.find_preset(random_run).initial_weights == random_run
    assert "unet_tiny" in [preset.name for preset in presets.shipped_presets()]
    loaded, expected = UNet.from_preset("unet_tiny"), UNet.from_preset(random_run)
    for one, other in zip(loaded.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    waveform = np.random.default_rng(0).normal(size=(1, 4000)).astype(np.float32)
    waveform[0, 2000:2300] = np.nan
    restored = [Restorer.from_preset(name)(waveform) for name in ("unet_tiny", random_run)]
    np.testing.assert_array_equal(*restored)


@pytest.mark.parametrize("name", ["unet_tiny", "inception_wgan_small"])
def test_a_network_that_was_saved_restores_as_the_preset_it_came_from(tmp_path, name):
    network = presets.load_network(name)
    network.save_to_preset(tmp_path / "mine")
    waveform = np.random.default_rng(0).normal(size=(1, 9000)).astype(np.float32)
    waveform[0, 2000:2300] = np.nan
    expected, mine = Restorer.from_preset(name), Restorer.from_preset(tmp_path / "mine")
    assert mine.sample_rate == expected.sample_rate
    np.testing.assert_array_equal(*(each(waveform[:, :8192]) for each in (expected, mine)))
    assert presets.read_metadata(tmp_path / "mine")["license"] == "Apache-2.0"
    # Fresh weights are nobody's.
    presets.load_network(name, load_weights=False).save_to_preset(tmp_path / "fresh")
    assert "license" not in presets.read_metadata(tmp_path / "fresh")


def test_a_network_that_was_made_anew_restores_with_its_familys_only_restorer(tmp_path, random_run):
    from tfrestore.models.apollo.network import Apollo

    for network, wanted in (
        (UNet(filters=4, depth=2), "InpainterRestorer"),
        (Apollo(features=8, depth=1, heads=2), "ApolloRestorer"),
    ):
        network.save_to_preset(tmp_path / wanted)
        assert type(Restorer.from_preset(tmp_path / wanted)).__name__ == wanted
    # What was said there before of another network's use is not left behind.
    folder = shutil.copytree(random_run, tmp_path / "again")
    UNet(filters=4, depth=2).save_to_preset(folder)
    assert not (folder / presets.RESTORER_FILE).exists()


def test_a_discriminator_restores_nothing(tmp_path):
    from tfrestore.models.sr_gan.discriminator import FrequencyAggregationCritic

    FrequencyAggregationCritic(filters=(2, 3, 3), aggregation=64, maps=4).save_to_preset(tmp_path)
    with pytest.raises(UsageError, match="a FrequencyAggregationCritic, which restores nothing"):
        Restorer.from_preset(tmp_path)


@pytest.fixture
def policy_of_the_process():
    import keras

    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("asked", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "name", ["apollo_tiny", "unet_tiny", "inception_wgan_small", "sr_gan_tiny"]
)
def test_the_precision_that_is_asked_for_reaches_every_layer(policy_of_the_process, name, asked):
    from keras.layers import InputLayer

    for general in ("float32", "mixed_bfloat16"):
        policy_of_the_process(general)
        network = presets.load_network(name, load_weights=False, dtype=asked)
        assert network.dtype_policy.name == asked
        assert network.get_config()["dtype"]["config"]["name"] == asked
        found = {
            layer.dtype_policy.name
            for layer in network._flatten_layers(include_self=False)
            if not isinstance(layer, InputLayer)
        }
        # Transforms and what adds to a spectrum stay in float32.
        assert asked in found and found <= {asked, "float32"}


@pytest.mark.parametrize(
    "name", ["apollo_tiny", "unet_tiny", "inception_wgan_small", "sr_gan_small_16k"]
)
def test_a_shipped_preset_restores_alike_in_a_process_of_another_precision(
    policy_of_the_process, name
):
    waveform = np.random.default_rng(0).normal(size=(1, 81920)).astype(np.float32)
    found = []
    for general in ("float32", "mixed_bfloat16"):
        policy_of_the_process(general)
        found.append(np.asarray(Restorer.from_preset(name)(waveform)))
    np.testing.assert_array_equal(*found)


def test_a_network_saved_over_an_older_run_restores_by_itself(tmp_path, random_run):
    folder = shutil.copytree(random_run, tmp_path / "run")
    (folder / "config.yaml").write_text(
        "restorer: {class_name: ApolloRestorer, sample_rate: 48000}"
    )
    UNet(filters=4, depth=2).save_to_preset(folder)
    restorer = Restorer.from_preset(folder)
    assert type(restorer).__name__ == "InpainterRestorer" and restorer.sample_rate == 16000


def test_a_run_beside_a_yaml_file_of_its_name_is_found(tmp_path, random_run):
    run = shutil.copytree(random_run, tmp_path / "run")
    (tmp_path / "run.yaml").write_text("recipe: {}")
    for name in (run, str(run)):
        found = presets.find_preset(name)
        assert not found.built_in and found.folder == run


def test_an_architecture_without_weights_says_so_in_a_line():
    with pytest.raises(UsageError, match="'unet' is an architecture without trained weights") as e:
        Restorer.from_preset("unet")
    assert "\n" not in str(e.value) and "tfrestore train --preset unet" in str(e.value)


@pytest.mark.parametrize("preset", presets.shipped_presets(), ids=lambda preset: preset.name)
def test_what_is_shipped_is_complete_and_fits_its_architecture(preset):
    folder, metadata = preset.folder, preset.metadata
    for name in ("config.json", "restorer.json", "config.yaml", "history.csv", "MODEL_CARD.md"):
        assert (folder / name).is_file(), name
    weights = folder / presets.WEIGHTS_FILE
    assert presets.file_checksum(weights) == metadata["weights_sha256"]
    assert weights.stat().st_size == metadata["weights_bytes"]
    network = json.loads((folder / "config.json").read_text())["config"]
    wanted = yaml.safe_load(folder.with_suffix(".yaml").read_text())["network"]
    assert {k: network[k] for k in wanted if k != "class_name"} == {
        k: v for k, v in wanted.items() if k != "class_name"
    }
    for text in ("config.yaml", "MODEL_CARD.md", "metadata.json"):
        content = (folder / text).read_text()
        assert "/work" not in content and "/tmp" not in content and "/home" not in content
    restorer = Restorer.from_preset(preset.name)
    assert restorer.network.count_params() == metadata["parameter_count"]
    card = (folder / "MODEL_CARD.md").read_text()
    for heading in ("## Scores", "## Known failures", "## How it was trained"):
        assert heading in card
    stages = metadata["training"]["stages"]
    assert len(list(folder.glob("stage-*"))) == 2 * (len(stages) - 1)
    last = resolve(preset, folder / "config.yaml").config
    for stage in stages:
        history = (folder / stage["history"]).read_text().splitlines()
        assert int(history[-1].split(",")[1]) == stage["steps"]
        # As train resolves it, from the architecture that the file names.
        file = folder / stage["configuration"]
        architecture = presets.find_preset(yaml.safe_load(file.read_text())["preset"])
        config = resolve(architecture, file).config
        assert config["training"]["batch_size"] == stage["batch_size"]
        for section, values in last.items():
            expected = {k: stage["otherwise"].get(f"{section}.{k}", v) for k, v in values.items()}
            assert config[section] == expected
