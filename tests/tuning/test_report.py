import csv
import os
import subprocess
import sys

import pytest
from made_searches import MadeSearch, full_score, random_oracle
from PIL import Image

from tuning.report import main
from tuning.search_results import read_search


def complaint(capsys):
    """The one line on standard error."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture(scope="module")
def reported(hyperband_search, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports") / "hyperband"
    assert main([str(hyperband_search), "--out", str(folder)]) == 0
    return folder


def test_every_file_is_there(reported):
    assert sorted(path.name for path in reported.iterdir()) == [
        "best.yaml",
        "importance.png",
        "parallel-coordinates.png",
        "report.html",
        "report.md",
        "table.csv",
    ]
    for path in reported.glob("*.png"):
        with Image.open(path) as picture:
            assert picture.width > 400 and len(picture.convert("RGB").getcolors(10**6)) > 20


def test_the_table_has_every_trial_and_equally_long_ones_by_value(reported, hyperband_search):
    trials = {trial.name: trial for trial in read_search(hyperband_search).trials}
    with open(reported / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["trial"] for row in rows} == set(trials)
    order = [(-int(row["steps"]), -float(row["val_psnr"])) for row in rows]
    assert order == sorted(order)
    for row in rows:
        trial = trials[row["trial"]]
        assert float(row["val_psnr"]) == trial.score
        assert float(row["gain"]) == pytest.approx(full_score(trial.values) - 31)
        assert row["compared_at_steps"] == row["steps"] == str(trial.steps)
        assert float(row["recipe.learning_rate"]) == trial.values["recipe.learning_rate"]
        assert row["predecessor"] == (trial.predecessor or "")
        # Of a hyperparameter that is fixed there is nothing to say.
        assert "recipe.loss" not in row
    assert [row["trial"] for row in rows if row["best"] == "1"] == [rows[0]["trial"]]
    assert [row["trial"] for row in rows if row["baseline"] == "1"] == ["0000"]


def test_the_markdown_names_the_best_and_shows_the_pictures(reported, hyperband_search):
    text = (reported / "report.md").read_text()
    best = read_search(hyperband_search).best
    assert f"Best: trial {best.name}, val_psnr {best.score:.5g} after 900 steps" in text
    assert "not to be compared" in text and "(100, 300, 900)" in text
    assert f"| **{best.name}** |" in text
    for name in ("parallel-coordinates.png", "importance.png"):
        assert f"]({name})" in text and (reported / name).is_file()
    assert "all after 100 steps" in text


def test_what_is_printed_is_the_table(random_search, tmp_path, capsys):
    assert main([str(random_search), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for trial in read_search(random_search).trials:
        (line,) = [line for line in printed.splitlines() if line.startswith(trial.name)]
        assert trial.message in line and (not trial.is_completed or f"{trial.score:.5g}" in line)
    assert "baseline" in printed and "best" in printed


def test_the_report_of_one_trial_says_what_cannot_be_said(tmp_path, capsys):
    search = MadeSearch(tmp_path / "a").run(1).folder
    assert main([str(search)]) == 0
    printed = capsys.readouterr().out
    assert "which is the preset's own setting" in printed
    assert "importances need 8 configurations" in printed
    assert not (search / "importance.png").exists()
    for name in ("report.html", "report.md", "table.csv", "best.yaml", "parallel-coordinates.png"):
        assert (search / name).is_file()


def test_the_report_grows_with_a_search_that_goes_on(tmp_path):
    search = MadeSearch(tmp_path / "a").run(2)
    running = search.begin()
    assert main([str(search.folder)]) == 0
    assert "running" in (search.folder / "table.csv").read_text()
    search.end(running)
    search.run(7)
    assert main([str(search.folder)]) == 0
    assert "running" not in (search.folder / "table.csv").read_text()
    assert (search.folder / "importance.png").is_file()


def test_best_yaml_may_be_of_another_trial(hyperband_search, tmp_path, capsys):
    assert main([str(hyperband_search), "--out", str(tmp_path), "--trial", "1"]) == 0
    text = (tmp_path / "best.yaml").read_text()
    assert "# Trial 0001: val_psnr" in text and "# A trial of a search" in text
    assert f"--config {tmp_path}/best.yaml --out" in text
    assert "steps: 100\n" in text
    capsys.readouterr()
    assert main([str(hyperband_search), "--out", str(tmp_path), "--trial", "77"]) == 2
    assert "--trial 77: no such trial has been completed; there are 0000," in complaint(capsys)


def test_a_search_without_a_completed_trial_has_no_report(tmp_path, capsys):
    search = MadeSearch(tmp_path / "a", outcome=lambda number, values: "no number at step 3.")
    assert main([str(search.folder)]) == 1
    assert "no trial has been completed yet (none begun)" in complaint(capsys)
    search.run(2).begin()
    assert main([str(search.folder)]) == 1
    line = complaint(capsys)
    assert "(2 failed, 1 running)" in line and "no number at step 3." in line
    assert not list(search.folder.glob("*.png"))


def test_a_folder_that_is_no_search_and_wrong_options_are_one_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "there is no search here" in complaint(capsys)
    assert main([]) == 2
    assert "FOLDER" in complaint(capsys)


def test_a_damaged_trial_is_in_the_table_with_the_reason(tmp_path, capsys):
    search = MadeSearch(tmp_path / "a").run(3).folder
    (search / "trials" / "trial_0001" / "trial.json").write_bytes(b"{\xff")
    assert main([str(search)]) == 0
    (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith("0001")]
    assert "damaged" in line and "trial.json cannot be read" in line


def test_a_best_trial_without_its_configuration_has_all_but_best_yaml(tmp_path, capsys):
    search = MadeSearch(tmp_path / "a").run(3).folder
    best = read_search(search).best
    best.config_file.unlink()
    assert main([str(search)]) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert "best.yaml is not written" in line and f"{best.config_file} is missing" in line
    assert not (search / "best.yaml").exists()
    assert (search / "report.html").is_file() and best.name in captured.out


def test_names_that_are_markup_stay_text(tmp_path):
    search = MadeSearch(tmp_path / "<b> & [red]", random_oracle()).run(2).folder
    assert main([str(search)]) == 0
    page = (search / "report.html").read_text()
    assert "<b>" not in page and "&lt;b&gt; &amp; [red]" in page


def test_help_needs_no_tensorflow():
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    code = (
        "import sys; from tuning.report import main; "
        "assert main(['--help']) == 0; assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True)
