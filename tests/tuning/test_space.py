"""What a search varies, and what is said of a space that cannot be used."""

from importlib import resources

import keras_tuner
import pytest
import yaml

from tfrestore.errors import UsageError
from tfrestore.models.presets import find_preset, preset_names
from tfrestore.training.configuration import resolve
from tuning.hypermodel import PresetHyperModel
from tuning.space import Space


def written(tmp_path, text):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return path


def preset(name="unet_tiny"):
    return resolve(find_preset(name))


@pytest.mark.parametrize("name", preset_names())
def test_the_middle_of_every_built_in_space_is_the_preset_itself(name):
    model = PresetHyperModel(name)
    hp = keras_tuner.HyperParameters()
    model.declare_hyperparameters(hp)
    assert model.configure(hp).config == preset(name).config
    assert len(hp.space) >= 4
    model.space.require_any()


@pytest.mark.parametrize(
    "name", ["apollo", "unet", "sr_gan_16k", "inception_wgan_time", "unet_tiny"]
)
def test_every_key_of_a_built_in_space_is_one_of_its_presets(name):
    space = Space.of(preset(name))
    file = resources.files("tuning") / "spaces" / space.source
    assert set(yaml.safe_load(file.read_text())) == set(space.as_data())


def test_a_trial_is_a_configuration_with_lists_nulls_and_switches_as_they_are(tmp_path):
    file = written(
        tmp_path,
        "filters: {choice: [[2, 2, 2], [8, 8, 8]]}\n"
        "training.weight_average: {choice: [null, 0.5]}\n"
        "recipe.equalized_learning_rate: {choice: [true, false]}\n"
        "recipe.learning_rate: {min: 1e-4, max: 1, sampling: log}\n",
    )
    model = PresetHyperModel("sr_gan_tiny", file)
    hp = keras_tuner.HyperParameters()
    model.declare_hyperparameters(hp)
    hp.values["network.filters"] = "[8, 8, 8]"
    hp.values["training.weight_average"] = "null"
    hp.values["recipe.equalized_learning_rate"] = False
    config = model.configure(hp).config
    assert config["network"]["filters"] == [8, 8, 8]
    assert config["training"]["weight_average"] is None
    assert config["recipe"]["equalized_learning_rate"] is False
    own = find_preset("sr_gan_tiny").config["recipe"]["learning_rate"]
    assert config["recipe"]["learning_rate"] == own


def test_a_space_that_leaves_the_preset_out_is_widened_by_it(tmp_path):
    file = written(tmp_path, "filters: {choice: [2, 4]}\nlearning_rate: {min: 0.01, max: 0.1}")
    assert Space.of(preset(), file).as_data() == {
        "network.filters": {"choice": [2, 4, 8]},
        "recipe.learning_rate": {"min": 0.003, "max": 0.1},
    }


def test_a_space_survives_being_written_and_read():
    for name in ("unet_tiny", "sr_gan_tiny"):
        space = Space.of(preset(name))
        again = yaml.safe_load(yaml.safe_dump(space.as_data(), sort_keys=False))
        assert Space.from_data(preset(name), again, space.source) == space


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("network.filtres: {choice: [2, 4]}", "no key network.filtres. Did you mean 'filters'?"),
        ("filtres: {choice: [2, 4]}", "no section has the key 'filtres'"),
        ("netwrok.filters: {choice: [2]}", "netwrok.filters cannot be varied; keys that can"),
        ("data.gaps: {choice: [frames]}", "data.gaps cannot be varied"),
        ("training.epochs: {min: 1, max: 3}", "training.epochs cannot be varied"),
        ("network.class_name: {choice: [UNet]}", "network.class_name cannot be varied"),
        ("network.filters: [2, 4]", "network.filters is [2, 4]; give {choice: [...]}"),
        ("network.filters: {choice: []}", "choice is []; give a list"),
        ("network.filters: {choice: [two]}", "network.filters is 'two'; give a whole number"),
        ("network.filters: {min: 4, max: 4}", "min is 4 and max is 4; give min below max"),
        ("network.filters: {min: 4, max: 8, stride: 2}", "give {choice: [...]}, or {min"),
        ("network.downsampling: {min: 4, max: 8}", "is 4; give a name"),
        ("network.depth: {min: 0, max: 8, sampling: log}", "min is 0; a range of sampling log"),
        ("network.depth: {min: 1, max: 8, sampling: exp}", "sampling is 'exp'; give linear"),
        ("network.depth: {min: 1, max: 8, step: no}", "step is False; give a number"),
        ("training.weight_average: {min: 0.9, max: 0.99}", "None, which no range can hold"),
        (
            "filters: {choice: [2]}\nnetwork.filters: {choice: [4]}",
            "network.filters is there twice",
        ),
        ("[1, 2]", "expected a line per key"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_space_that_cannot_be_used_is_told_in_a_line(tmp_path, text, said):
    file = written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        Space.of(preset(), file)
    assert said in str(error.value)
    assert str(file) in str(error.value) and "\n" not in str(error.value)


def test_a_space_without_a_choice_is_empty(tmp_path):
    for text in ("", "network.filters: {choice: [8]}"):
        space = Space.of(preset(), written(tmp_path, text))
        with pytest.raises(UsageError, match="this space is empty"):
            space.require_any()
    with pytest.raises(UsageError, match="check --space"):
        Space.of(preset(), tmp_path / "none.yaml")
