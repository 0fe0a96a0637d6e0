import csv

from tfrestore.__main__ import main


def test_the_demo_leads_from_training_to_a_restored_file(
    tmp_path, music_folder, monkeypatch, capsys
):
    monkeypatch.setattr("tfrestore.data.demo.demo_folder", lambda: music_folder)
    folder = tmp_path / "demo"
    assert main(["demo", "--out", str(folder), "--steps", "2"]) == 0
    printed = capsys.readouterr().out
    for name in ("original.wav", "degraded.wav", "degraded.restored.wav", "before-after.png"):
        assert (folder / name).stat().st_size > 0
        assert str(folder / name) in printed
    assert (folder / "models/demo/1/saved_model.pb").is_file()
    with open(folder / "run" / "evaluation-gaps-frames" / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[-1]["genre"] == "all" and rows[-1]["degradation"] == "gaps:frames"
    assert main(["demo", "--out", str(folder)]) == 2
    assert "holds a demo already" in capsys.readouterr().err
