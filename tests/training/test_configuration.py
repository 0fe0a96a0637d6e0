"""Whatever a user writes into a configuration ends in a complete one or in one clear line."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.errors import UsageError
from tfrestore.models.presets import Preset, find_preset, preset_names
from tfrestore.training.configuration import SECTIONS, TrainingSettings, read_config, resolve

TINY = find_preset("unet_tiny")


def config(*assignments, file=None, **training):
    return resolve(TINY, file, list(assignments), **training).config


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_completed_with_every_default_spelt_out(name):
    preset = resolve(find_preset(name))
    assert tuple(preset.config) == SECTIONS
    assert preset.config["training"].keys() == TrainingSettings.__dataclass_fields__.keys()
    # Keras's default for the inpainters, that of the progressive GANs for the stochastic ones.
    beta_2 = {"sr_gan": 0.99}.get(preset.family, 0.999)
    beta_2 = find_preset(name).config["recipe"].get("beta_2", beta_2)
    assert preset.config["recipe"]["beta_2"] == beta_2
    seconds = {"apollo": 30.0, "inception_wgan": 4.0}.get(preset.family, 8.0)
    assert preset.config["restorer"]["chunk_seconds"] == seconds
    # The paper's GAN would take 1.3 GB; its tests count its parameters without making them.
    if name.startswith("sr_gan_") and not name.startswith(("sr_gan_small", "sr_gan_tiny")):
        return
    network = preset.make("network")
    own = {name: value for name, value in preset.config["network"].items() if name != "class_name"}
    assert own.items() <= network.get_config().items()


def test_a_key_is_set_with_its_section_and_without():
    for key in ("recipe.learning_rate", "learning_rate"):
        assert config(f"{key}=0.5")["recipe"]["learning_rate"] == 0.5
    assert config("network.seed=7")["network"]["seed"] == 7
    assert config("training.seed=7")["training"]["seed"] == 7
    assert config("filters=3", "filters=5")["network"]["filters"] == 5


@pytest.mark.parametrize("text", ["1e-3", "1E-3", ".001", "0.001", "1.0e-3"])
def test_a_number_may_be_written_in_any_way(text):
    assert config(f"learning_rate={text}")["recipe"]["learning_rate"] == 0.001


def test_a_value_takes_the_type_of_its_key():
    found = config("steps=1e3", "share_lost=[0, 1]", "gaps=bands", "iterations=null", "offset=0")
    assert found["training"]["steps"] == 1000 and isinstance(found["training"]["steps"], int)
    assert found["data"]["share_lost"] == [0.0, 1.0] and found["data"]["gaps"] == "bands"
    assert found["restorer"]["iterations"] is None
    assert isinstance(found["restorer"]["offset"], float)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("seed=3", "both network and training have the key 'seed'"),
        ("filter=3", "no section has the key 'filter'. Did you mean 'filters'?"),
        ("network.filter=3", "no key network.filter. Did you mean 'filters'?"),
        ("networks.filters=3", "no section 'networks'. Did you mean 'network'?"),
        ("filters", "write it as section.key=value"),
        ("=3", "write it as section.key=value"),
        ("filters=[", "not valid YAML"),
        ("steps=2020-13-45", "not valid YAML"),
        ("filters=many", "network.filters is 'many'; give a whole number"),
        ("filters=1.5", "network.filters is 1.5; give a whole number"),
        ("filters=true", "network.filters is True; give a whole number"),
        ("filters=null", "network.filters is None; give a whole number"),
        ("steps=.inf", "training.steps is inf; give a whole number"),
        ("learning_rate=.nan", "recipe.learning_rate is nan; give a number"),
        ("learning_rate=[1]", r"recipe.learning_rate is \[1\]; give a number"),
        ("global_residual=1", "network.global_residual is 1; give true or false"),
        ("order=5", "data.order is 5; give a name"),
        ("gaps=5", "data.gaps is 5; give a name or a list of names"),
        ("share_lost=0.5", "data.share_lost is 0.5; give a list of numbers"),
        ("steps=0", "training.steps is 0; give 1 to"),
        ("batch_size=-1", "training.batch_size is -1; give 1 to"),
        ("training.seed=-1", "training.seed is -1; give 0 to"),
        ("precision=float8", "training.precision is 'float8'; choose one of float32"),
        ("recipe.class_name=UNet", "recipe.class_name is 'UNet', which is not unet_tiny's"),
    ],
)
def test_what_cannot_be_set_is_said_in_one_line(assignment, message):
    with pytest.raises(UsageError, match=message) as caught:
        config(assignment)
    assert "\n" not in str(caught.value)


def test_asking_for_epochs_takes_back_steps_and_steps_override_epochs(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("training: {steps: 500}")
    assert config(file=file)["training"]["steps"] == 500
    assert config(file=file, epochs=2)["training"]["steps"] is None
    both = config(file=file, epochs=2, steps=30)["training"]
    assert (both["epochs"], both["steps"]) == (2, 30)


def test_the_command_line_overrides_the_file_and_the_file_the_preset(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("training: {batch_size: 8, seed: 4}\nnetwork: {filters: 3}")
    found = config("network.depth=2", file=file, batch_size=6)
    assert (found["training"]["batch_size"], found["training"]["seed"]) == (6, 4)
    assert (found["network"]["filters"], found["network"]["depth"]) == (3, 2)


def test_a_resolved_configuration_is_taken_back_as_it_is(tmp_path):
    file = tmp_path / "a.yaml"
    found = config("learning_rate=1e-3", "share_lost=[0.2, 0.3]", steps=5)
    notes = {"preset": "unet_tiny", "family": "inpainter", "catalogue": "demo"}
    file.write_text(yaml.safe_dump({**notes, **found}))
    assert config(file=file) == found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected sections"),
        ("- a", "expected sections"),
        ("network: 5", "expected sections"),
        ("network: [1", "not valid YAML"),
        ("a: 2020-13-45", "not valid YAML"),
        ("net: {}", "no section 'net'"),
        ("5: {}", "no section 5"),
        ("network: {5: 6}", "no key network.5"),
        ("preset: 5", "preset is 5; give a name"),
        ("network: {filters: &a [*a]}", r"network.filters is \[\[...\]\]; give a whole number"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, content, message):
    file = tmp_path / "a.yaml"
    file.write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        config(file=file)
    assert str(caught.value).startswith(str(file)) and "\n" not in str(caught.value)


def test_a_file_that_is_missing_a_folder_or_no_text_is_named(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none", tmp_path, tmp_path / "binary"):
        with pytest.raises(UsageError, match=f"^{path}: ") as caught:
            read_config(path)
        assert "\n" not in str(caught.value)


def test_a_preset_that_was_saved_without_its_recipe_cannot_be_trained():
    bare = Preset("folder", "inpainter", {"network": TINY.config["network"]})
    with pytest.raises(UsageError, match="does not say how it is trained"):
        resolve(bare)


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
keys = st.sampled_from(
    sorted({key for section in resolve(TINY).config.values() for key in section})
) | st.text(max_size=8)
trees = st.dictionaries(
    st.sampled_from(SECTIONS) | st.text(max_size=8) | st.integers(),
    st.dictionaries(keys, values, max_size=3) | values,
    max_size=4,
)


@settings(deadline=None, max_examples=150)
@given(tree=trees)
def test_any_yaml_is_a_configuration_or_one_line(tmp_path_factory, tree):
    file = tmp_path_factory.mktemp("any") / "a.yaml"
    file.write_text(yaml.safe_dump(tree, allow_unicode=True), "utf-8")
    try:
        found = config(file=file)
    except UsageError as error:
        assert "\n" not in str(error)
    else:
        assert yaml.safe_load(yaml.safe_dump(found)) == found
        TrainingSettings(**found["training"])


@settings(deadline=None, max_examples=100)
@given(content=st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_a_configuration_or_one_line(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("any") / "a.yaml"
    file.write_bytes(content)
    try:
        config(file=file)
    except UsageError as error:
        assert "\n" not in str(error)


@settings(deadline=None, max_examples=150)
@given(
    assignment=st.tuples(keys, st.sampled_from(["", "=", "."]), st.text(max_size=12)).map("".join)
)
def test_any_assignment_is_a_configuration_or_one_line(assignment):
    try:
        config(assignment)
    except UsageError as error:
        assert "\n" not in str(error)
