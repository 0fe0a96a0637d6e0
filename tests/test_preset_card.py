import shlex

import pytest

from tfrestore.models.presets import find_preset, shipped_presets
from tfrestore.preset_card import make_card
from tfrestore.preset_choice import STEREO_CUTOFFS
from tfrestore.presets import preset_lines
from tfrestore.shipping import chosen_presets
from tfrestore.train import make_train_parser
from tfrestore.training.configuration import resolve

SHIPPED = pytest.mark.parametrize("preset", shipped_presets(), ids=lambda preset: preset.name)


@SHIPPED
def test_every_shipped_card_is_what_is_made_of_its_metadata(preset):
    assert (preset.folder / "MODEL_CARD.md").read_text("utf-8") == make_card(preset.metadata)


@SHIPPED
def test_list_card_and_architecture_describe_a_preset_alike(preset):
    (line,) = [line for line in preset_lines() if line.name == preset.name]
    assert line.purpose == preset.description == preset.metadata["description"]


@SHIPPED
def test_a_card_says_of_when_a_preset_is_used_what_is_chosen(preset):
    # Stale after another preset was shipped by hand: tfrestore.shipping.refresh_card remakes it.
    chosen = chosen_presets(preset.metadata["restores"], shipped_presets())
    assert preset.metadata["chosen"] == chosen
    card = (preset.folder / "MODEL_CARD.md").read_text("utf-8")
    is_chosen = preset.name in chosen.values()
    assert ("uses it by itself for these only" in card) == is_chosen
    assert (f"ask for it with `--preset {preset.name}`" in card) != is_chosen


@SHIPPED
def test_the_command_of_a_stage_takes_the_network_of_the_one_before(preset):
    stages = preset.metadata["training"]["stages"]
    assert stages[0]["begins_with"] is None
    networks = []
    for stage in stages:
        options = make_train_parser().parse_args(shlex.split(stage["command"])[2:])
        assert options.preset == stage["begins_with"] and options.out == stage["name"]
        # Train refuses another one.
        config = preset.folder / options.config
        networks.append(resolve(preset, config, options.assignments).config["network"])
    assert all(network == networks[0] for network in networks)


def test_which_of_the_shipped_presets_are_ever_chosen():
    chosen = {name for each in shipped_presets() for name in each.metadata["chosen"].values()}
    # Also of what was not measured: other rates, and one channel where two were measured.
    mp3 = dict.fromkeys(STEREO_CUTOFFS, 1.0)
    for channels in (1, 2):
        bandwidth = dict.fromkeys("12346", 1.0)
        restores = {"channels": channels, "mp3": mp3, "gaps": {"any": 1.0}, "bandwidth": bandwidth}
        chosen |= set(chosen_presets(restores, shipped_presets()).values())
    assert chosen == {"apollo_small", "inpainter", "inception_wgan_small", None}


def metadata_with(**entries):
    return {**find_preset("sr_gan_small_16k").metadata, **entries}


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({}, "It improved nothing by our rule.\n`tfrestore restore FILE` never uses it by itself;"),
        ({"mp3:16": None}, "never uses it by itself; ask for it"),
        ({"mp3:16": "b", "gaps:waveform": "b"}, "never uses it by itself: it chooses b there; ask"),
        ({"mp3:16": "a", "mp3:24": "a"}, "MP3s of 16 and 24 kbit/s, mono.\n"),
        ({"mp3:16": "a", "bandwidth:2": "b"}, "by itself for MP3s of 16 kbit/s only; for the oth"),
    ],
)
def test_a_preset_is_said_to_be_used_for_what_it_is_chosen_for(chosen, said):
    assert said in make_card(metadata_with(preset="a", chosen=chosen))


def test_a_stochastic_presets_card_has_the_mean_and_the_best_of_its_versions():
    metadata = find_preset("sr_gan_small_16k").metadata
    card = make_card(metadata)
    for name, rows in (("mean", "scores"), ("best", "best")):
        score = metadata["evaluation"][rows]["mp3:16"]["lsd"]["after"]
        (line,) = [line for line in card.splitlines() if f"mp3:16, {name} of 20" in line]
        assert f"{score['mean']:.2f} ± {score['standard_deviation']:.2f}" in line
    assert "mean of" not in make_card(find_preset("apollo_tiny").metadata)


def test_scores_at_another_rate_than_the_presets_own_are_told_apart():
    said = "This is at 48000 Hz"
    assert said in make_card(find_preset("inpainter").metadata)
    assert said not in make_card(find_preset("unet_tiny").metadata)
