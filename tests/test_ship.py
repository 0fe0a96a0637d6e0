import json
import shutil

import numpy as np
import pytest
import yaml

from tests.recorded_music import make_music
from tfrestore import preset_measurement
from tfrestore.__main__ import main
from tfrestore.models import presets
from tfrestore.preset_card import make_card
from tfrestore.preset_choice import STEREO_CUTOFFS
from tfrestore.preset_measurement import PresetMeasurement
from tfrestore.restorer import Restorer

STATEMENTS = ["--description", "Fills gaps", "--music", "noise", "--hardware", "an abacus"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, random_run):
    """A run folder as train leaves it, its evaluation, and validation music."""
    import soundfile

    folder = tmp_path_factory.mktemp("trained")
    run = shutil.copytree(random_run, folder / "a run")
    network = json.loads((run / "config.json").read_text())["config"]
    config = {
        "preset": "unet_tiny",
        "family": "inpainter",
        "catalogue": str(folder / "secret"),
        "network": {"class_name": "UNet", "filters": network["filters"], "depth": 2},
        "restorer": {"class_name": "InpainterRestorer"},
        "recipe": {"class_name": "InpainterTrainer"},
        "data": {"class_name": "InpainterExamples", "gaps": ["waveform"]},
        "training": {"batch_size": 4, "seed": 7},
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "history.csv").write_text("epoch,step,loss\n1,100,0.5\n2,200,0.4\n")
    for number in range(2):
        path = folder / "music" / f"any__{number}.flac"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, make_music(2.0, 16000, 1, number).T, 16000)
    assert (
        main(
            ["evaluate", "--model", f"mine={run}", "--data", str(folder / "music"), "--jobs", "1"]
            + ["--degradation", "gaps:waveform", "--split", "all", "--seconds", "1.5", "--mono"]
            + ["--metrics", "snr", "lsd", "--pictures", "0", "--out", str(folder / "scores")]
        )
        == 0
    )
    return folder


def ship(trained, *arguments, run="a run", evaluation="scores"):
    paths = [str(trained / run), "--evaluation", str(trained / evaluation)]
    return main(["ship", *paths, *STATEMENTS, *map(str, arguments)])


@pytest.fixture(scope="module")
def shipped(trained):
    assert ship(trained, "--name", "fills", "--out", trained / "out", "--failure", "It hums.") == 0
    return trained / "out"


def test_a_shipped_preset_restores_as_the_run_does(trained, shipped):
    waveform = make_music(1.0, 16000, 1)[:, :12000]
    waveform[0, 5000:5400] = 0
    exact, half = (Restorer.from_preset(folder) for folder in (trained / "a run", shipped))
    difference = exact.restore(waveform, 16000) - half.restore(waveform, 16000)
    assert np.abs(difference).max() < 1e-3
    metadata = presets.read_metadata(shipped)
    assert metadata["weights_dtype"] == "float16"
    assert metadata["weights_bytes"] == (shipped / "model.weights.h5").stat().st_size
    assert max(metadata["float16"].values()) < 0.005


def test_its_metadata_and_card_say_how_it_was_made_and_no_path(trained, shipped):
    metadata = presets.read_metadata(shipped)
    assert metadata["preset"] == "fills" and metadata["license"] == "Apache-2.0"
    training = metadata["training"]
    (stage,) = training["stages"]
    assert stage["steps"] == 200 and training["seed"] == 7 and stage["batch_size"] == 4
    assert stage["hardware"] == "an abacus" and training["data"] == {"gaps": ["waveform"]}
    assert stage["command"] == "tfrestore train --config config.yaml --data MUSIC --out fills"
    assert stage["begins_with"] is None and stage["otherwise"] == {} and stage["minutes"] is None
    scores = metadata["evaluation"]["scores"]["gaps:waveform"]
    table = json.loads((trained / "scores/table.json").read_text())
    for row in table["rows"]:
        if row["metric"] == "snr" and row["genre"] == "all" and row["system"] == "mine":
            assert scores["snr"]["after"]["mean"] == row["mean"]
            assert scores["snr"]["after"]["standard_deviation"] == row["standard_deviation"]
    card = (shipped / "MODEL_CARD.md").read_text()
    for said in ("an abacus", "It hums.", "16000 Hz", "± ", metadata["weights_sha256"], "noise"):
        assert said in card
    assert yaml.safe_load(card.split("---")[1])["pipeline_tag"] == "audio-to-audio"
    for path in shipped.iterdir():
        assert str(trained).encode() not in path.read_bytes(), path
    assert (shipped / "history.csv").read_text() == (trained / "a run/history.csv").read_text()


def test_a_run_that_began_with_another_says_so_and_keeps_that_ones_course(trained, shipped):
    earlier = shutil.copytree(trained / "a run", trained / "earlier")
    config = yaml.safe_load((earlier / "config.yaml").read_text())
    config["training"] |= {"batch_size": 2, "steps": 400}
    (earlier / "config.yaml").write_text(yaml.safe_dump(config))
    use = json.loads((earlier / "restorer.json").read_text())
    (earlier / "restorer.json").write_text(json.dumps({**use, "iterations": 3}))
    (earlier / "history.csv").write_text("epoch,step,steps_per_second\n1,120,1\n2,300,0.5\n")
    out = trained / "staged"
    told = ["--remark", "Its volume was halved.", "--would-help", "More music."]
    assert ship(trained, "--name", "fills", "--out", out, "--earlier", earlier, *told) == 0
    first, last = presets.read_metadata(out)["training"]["stages"]
    assert (first["steps"], first["planned_steps"], first["batch_size"]) == (300, 400, 2)
    assert first["otherwise"] == {
        "restorer.iterations": 3,
        "training.batch_size": 2,
        "training.steps": 400,
    }
    # 120 steps at one a second, and 180 at half of that.
    assert first["minutes"] == pytest.approx((120 + 360) / 60) and first["hardware"] is None
    assert last["begins_with"] == first["name"] == "stage-1" and first["begins_with"] is None
    card = (out / "MODEL_CARD.md").read_text()
    for said in (first["command"], last["command"], "does the last stage only", "not recorded"):
        assert said in card
    for said in ("8.0 minutes", "300 of 2 examples, ended early of 400", *told[1::2]):
        assert said in card
    assert "--preset stage-1" in last["command"]
    assert (out / "stage-1.csv").read_text() == (earlier / "history.csv").read_text()
    written = yaml.safe_load((out / "stage-1.yaml").read_text())
    assert written["preset"] == "unet_tiny" and "catalogue" not in written
    assert written["training"]["batch_size"] == 2


def test_the_card_of_its_export_says_the_same(shipped):
    from tfrestore.model_card import _card

    names = ("restorer", "network", "tfrestore_version", "tensorflow_version", "keras_version")
    facts = {**dict.fromkeys(names, "any"), "parameters": 1, "sample_rate": 16000}
    metadata = presets.read_metadata(shipped)
    card = _card(facts, {}, metadata)
    assert "## The preset fills" in card and "It hums." in card and "an abacus" in card
    assert "## The preset" not in _card(facts, {}, {})


def test_its_configuration_can_be_trained(shipped):
    from tfrestore.training.configuration import read_config

    config = read_config(shipped / "config.yaml")
    # Of a preset that is not one of the package, train knows the architecture's name only.
    assert config["preset"] == "unet_tiny" and "catalogue" not in config
    assert config["data"]["gaps"] == ["waveform"]


def test_what_is_shipped_in_the_package_is_described_in_one_way_and_so_are_the_others(
    trained, monkeypatch, tmp_path
):
    original, room = presets.resources.files, tmp_path / "inpainter"
    shutil.copytree(str(original("tfrestore.models.inpainter") / "presets"), room / "presets")
    monkeypatch.setattr(
        presets.resources,
        "files",
        lambda name: room if name == "tfrestore.models.inpainter" else original(name),
    )
    monkeypatch.setattr(presets, "family_names", lambda: ["inpainter"])
    other = room / "presets/unet_tiny"
    (other / "MODEL_CARD.md").write_text("stale")
    assert ship(trained, "--name", "fills") == 0
    first = (room / "presets/fills.yaml").read_text()
    assert yaml.safe_load(first)["description"] == "Fills gaps"
    assert (other / "MODEL_CARD.md").read_text() == make_card(presets.read_metadata(other))
    architecture = first.replace("network:", "# A comment.\nnetwork:", 1)
    (room / "presets/fills.yaml").write_text(architecture)
    assert ship(trained, "--name", "fills", "--overwrite", "--description", "It: fills") == 0
    again = (room / "presets/fills.yaml").read_text()
    assert again == architecture.replace("Fills gaps", "'It: fills'")
    assert presets.find_preset("fills").metadata["description"] == "It: fills"
    assert "# fills: it: fills" in (room / "presets/fills/MODEL_CARD.md").read_text()


@pytest.mark.parametrize(
    ("run", "evaluation", "arguments", "said"),
    [
        ("a run", "music", [], "no evaluation of models"),
        ("a run", "nowhere", [], "no evaluation of models"),
        ("scores", "scores", [], "holds no config.json"),
        ("other", "scores", [], "not of"),
        ("a run", "scores", ["--out", "out"], "exists already; --overwrite"),
        ("a run", "scores", ["--sources", "nowhere"], "--sources nowhere"),
        (
            "a run",
            "scores",
            ["--name", "unet_tiny"],
            "network.filters is 4, but the preset",
        ),
        ("a run", "scores", ["--name", "apollo_tiny"], "of another family"),
        ("a run", "scores", ["--earlier", "music"], "holds no config.json"),
        ("a run", "scores", ["--earlier-hardware", "a fan"], "of 1 earlier stages is given"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    trained, shipped, capsys, monkeypatch, run, evaluation, arguments, said
):
    monkeypatch.chdir(trained)
    if run == "other":
        shutil.copytree(trained / "a run", trained / "other", dirs_exist_ok=True)
    given = ["--name", "fresh", "--out", "fresh", *arguments]
    if "unet_tiny" in given or "apollo_tiny" in given:
        given += ["--out", "fresh"]
    before = sorted(trained.rglob("*"))
    assert ship(trained, *given, run=run, evaluation=evaluation) == 2
    captured = capsys.readouterr().err
    assert captured.count("\n") == 1 and said in captured
    assert sorted(trained.rglob("*")) == before


def columns(**gains):
    """A measurement of five recordings of an MP3 whose rulers changed by so much."""
    measurement = PresetMeasurement()
    jitter = np.array([-0.01, 0.005, 0.0, -0.005, 0.01])
    for name, gain in gains.items():
        sign = -1 if name in ("lsd", "multi_resolution_stft_error") else 1
        measurement.columns["mp3:64", "degraded", name] = list(3 + jitter)
        measurement.columns["mp3:64", "whole", name] = list(3 + sign * gain - jitter)
    return measurement


GOOD = {"snr": 0.1, "si_sdr": 0.1, "multi_resolution_stft_error": 0.2, "odg": 0.3, "visqol": 0.4}


@pytest.mark.parametrize(
    ("change", "improved"),
    [
        ({}, True),
        ({"multi_resolution_stft_error": -0.1}, False),
        ({"si_sdr": -0.4}, True),
        ({"si_sdr": -0.6}, False),
        # By ViSQOL 0.4 better.
        ({"odg": -0.3}, True),
        ({"odg": -0.5}, False),
        # By ODG 0.3 better.
        ({"visqol": -0.2}, True),
        ({"visqol": -0.4}, False),
        ({"visqol": float("nan")}, True),
    ],
)
def test_the_rule_of_what_is_improved(change, improved):
    gains = columns(**{**GOOD, **change}).improved()
    assert (gains["mp3:64"] is not None) == improved
    if improved and not change:
        assert gains["mp3:64"] == pytest.approx(0.4)


def test_of_bandwidth_si_sdr_is_not_asked():
    measurement = PresetMeasurement()
    for key, values in columns(**GOOD | {"si_sdr": -2.0}).columns.items():
        measurement.columns["bandwidth:2", *key[1:]] = values
        measurement.columns[key] = values
    gains = measurement.improved()
    assert gains["bandwidth:2"] == pytest.approx(0.4) and gains["mp3:64"] is None


def test_a_loss_that_may_be_chance_rules_nothing_out():
    measurement = columns(**GOOD)
    measurement.columns["mp3:64", "whole", "odg"] = [0.0, 6.0, 1.0, 5.0, 0.5]
    assert measurement.improved()["mp3:64"] is not None


def test_what_is_below_the_cutoff_is_kept_unless_the_model_is_better_there():
    measurement = columns(**GOOD)
    assert measurement.improves_below_cutoff()
    for name in GOOD:
        measurement.columns["mp3:64", "above", name] = list(
            measurement.columns["mp3:64", "degraded", name]
        )
    assert measurement.improves_below_cutoff()
    measurement.columns["mp3:64", "above", "si_sdr"] = [9.0] * 5
    assert not measurement.improves_below_cutoff()
    # What counts then is what comes of keeping it.
    assert measurement.improved()["mp3:64"] is None


def test_float16_is_refused_where_a_table_would_show_it():
    measurement = columns(snr=0.0, lsd=0.0)
    for name in ("snr", "lsd"):
        measurement.columns["mp3:64", "float32", name] = list(
            measurement.columns["mp3:64", "whole", name]
        )
    assert measurement.float16_costs_nothing()
    measurement.columns["mp3:64", "float32", "lsd"] = [3.01] * 5
    assert measurement.float16_changes()["lsd"] == pytest.approx(0.01)
    assert not measurement.float16_costs_nothing()


def test_the_versions_are_what_restoring_gives():
    class Doubling:
        accepts_gaps, sample_rate = False, 44100

        def restore(self, waveform, rate, keep_below=None):
            return waveform * 2 if keep_below is None else waveform + keep_below

    music = make_music(2.0, 44100, 1)
    versions = {
        name: (estimate, choices)
        for name, estimate, choices in preset_measurement._versions(
            Doubling(), Doubling(), music, 44100, 0.25
        )
    }
    np.testing.assert_array_equal(versions["degraded"][0], music)
    np.testing.assert_array_equal(versions["whole"][0], 2 * music)
    assert "peaq" not in versions["float32"][1] and "peaq" in versions["whole"][1]
    np.testing.assert_array_equal(versions["above"][0], music + 0.25)
    assert len(list(preset_measurement._versions(Doubling(), Doubling(), music, 44100, None))) == 3


def test_the_cutoff_is_what_is_seen_and_else_what_lame_does():
    from tfrestore.data.degradation import parse_degradation

    music, mp3 = make_music(4.0), parse_degradation("mp3:64")
    seen = preset_measurement._cutoff(mp3.degrade(music, 44100, 0, 0), 44100, mp3)
    assert abs(seen - STEREO_CUTOFFS[64]) < 400
    assert preset_measurement._cutoff(music * 0, 44100, mp3) == STEREO_CUTOFFS[64]
    gaps = parse_degradation("gaps:waveform")
    assert preset_measurement._cutoff(music, 44100, gaps) is None
