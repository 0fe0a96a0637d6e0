import csv
import shutil

import pytest
import yaml
from made_searches import MadeSearch

from tfrestore.errors import UsageError
from tfrestore.models.presets import find_preset
from tfrestore.train import main as train
from tfrestore.training.configuration import resolve
from tuning.best_configuration import write_best
from tuning.report import main
from tuning.search_results import read_search
from tuning.trial_table import make_lines


def test_train_takes_it_as_it_is_and_every_value_is_the_trials(hyperband_search, tmp_path):
    results = read_search(hyperband_search)
    line = next(line for line in make_lines(results) if line.is_best)
    write_best(results, line, tmp_path / "best.yaml")
    config = resolve(find_preset("unet_tiny"), tmp_path / "best.yaml").config
    assert config["training"]["steps"] == 900
    for name, value in results.best.values.items():
        section, key = name.split(".")
        assert config[section][key] == value
    # Complete: what a later version of this package has as default does not change it.
    written = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert {key: written[key] for key in config} == config
    assert (written["preset"], written["family"], written["catalogue"]) == (
        "unet_tiny",
        "inpainter",
        "demo",
    )


def test_its_first_lines_say_where_it_is_from(hyperband_search, tmp_path):
    results = read_search(hyperband_search)
    line = next(line for line in make_lines(results) if line.is_best)
    write_best(results, line, tmp_path / "best.yaml")
    first, second, third, *_ = (tmp_path / "best.yaml").read_text().splitlines()
    assert first == f"# The best trial of a search: preset unet_tiny, hyperband, {results.folder}."
    assert second == (
        f"# Trial {results.best.name}: val_psnr {results.best.score:.5g} (higher is better), the "
        "best within 900 steps."
    )
    assert third.startswith("# That is +") and "after 900 steps" in third


def test_it_says_what_it_cannot_be_made_of(tmp_path):
    search = MadeSearch(tmp_path / "a").run(1).folder
    results = read_search(search)
    (line,) = make_lines(results)
    file = results.best.config_file
    config = yaml.safe_load(file.read_text())
    for change, reason in (
        (lambda c: c["network"].update(filters=-1.5), "network.filters"),
        (lambda c: c["network"].update(colour="red"), "network.colour"),
        (lambda c: c.pop("recipe"), "no section 'recipe'"),
        (lambda c: c.update(preset="nothing"), "nothing"),
    ):
        damaged = yaml.safe_load(yaml.safe_dump(config))
        change(damaged)
        file.write_text(yaml.safe_dump(damaged))
        with pytest.raises(UsageError, match=reason):
            write_best(results, line, tmp_path / "best.yaml")
    assert not (tmp_path / "best.yaml").exists()


def test_training_by_it_gives_the_trials_validation_figure(tmp_path, music_folder):
    changes = ["network.filters=2", "network.depth=2", "training.steps_per_epoch=2"]
    changes += ["training.validation_examples=4", "training.calibration_batches=2"]
    search = MadeSearch(tmp_path / "search", data=str(music_folder))
    trial = search.begin()
    folder = search.folder / "trials" / f"trial_{trial.trial_id}"
    options = [word for change in changes for word in ("--set", change)]
    data = ["--preset", "unet_tiny", "--data", str(music_folder), "--batch-size", "4"]
    assert train([*data, *options, "--steps", "4", "--out", f"{folder}/run"]) == 0
    shutil.copy(folder / "run" / "config.yaml", folder)
    with open(folder / "run" / "history.csv", newline="") as file:
        scores = {int(row["step"]): float(row["val_psnr"]) for row in csv.DictReader(file)}
    for epoch, score in enumerate(scores.values(), start=1):
        search.oracle.update_trial(trial.trial_id, {"val_psnr": score}, step=epoch)
    trial.status = "COMPLETED"
    search.oracle.end_trial(trial)

    assert main([str(search.folder)]) == 0
    best = read_search(search.folder).best
    assert best.steps == 4 and best.score == max(scores.values())
    # The music is named in it, too.
    assert train(["--config", f"{search.folder}/best.yaml", "--out", f"{tmp_path}/again"]) == 0
    with open(tmp_path / "again" / "history.csv", newline="") as file:
        again = {int(row["step"]): float(row["val_psnr"]) for row in csv.DictReader(file)}
    assert again.keys() == scores.keys()
    for step, score in scores.items():
        assert again[step] == pytest.approx(score, abs=1e-3)
