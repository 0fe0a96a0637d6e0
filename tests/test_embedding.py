"""The embedding command: a picture, its points, numbers, and one line for a mistake."""

import csv
import importlib.util

import numpy as np
import pytest
from matplotlib.image import imread

from tfrestore.embedding import main

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    """A run folder of an autoencoder of windows of 512 samples that has not been trained."""
    from tfrestore.models.inception_wgan.network import InceptionAutoencoder
    from tfrestore.models.inception_wgan.restorer import InceptionRestorer

    folder = tmp_path_factory.mktemp("runs") / "autoencoder"
    network = InceptionAutoencoder(filters=8, depth=2)
    InceptionRestorer(network, window_samples=512).save_to_preset(folder)
    return folder


def run(autoencoder, music_folder, out, *more):
    return main(
        [
            *("--model", str(autoencoder), "--data", str(music_folder), "--out", str(out)),
            *("--degradation", "bandwidth:6", "--windows", "12", "--perplexity", "5", *more),
        ]
    )


def test_a_picture_and_its_points_are_drawn_the_same_again(
    autoencoder, music_folder, tmp_path, capsys
):
    for name in ("one.png", "two.png"):
        assert run(autoencoder, music_folder, tmp_path / name) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == said[2] and said[0].startswith("silhouette ")
    assert said[1] == f"written to {tmp_path / 'one.png'} and {tmp_path / 'one.csv'}"
    pictures = [imread(tmp_path / name) for name in ("one.png", "two.png")]
    np.testing.assert_array_equal(*pictures)
    assert pictures[0].std() > 0.05
    with open(tmp_path / "one.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == ["input"] * 12 + ["target"] * 12
    assert [row["track"] for row in rows[:12]] == [row["track"] for row in rows[12:]]
    # The folder has splits, so windows are those of its one track for the test.
    assert {row["track"] for row in rows} == {"test/odd__5"}


@pytest.mark.parametrize(
    "more, code, said",
    [
        (["--degradation", "gaps:frames"], 2, "gaps:frames exists in a spectrogram only"),
        (["--degradation", "instruments:0:4"], 2, "is no MIDI file"),
        (["--out", "map.jpg"], 2, "--out map.jpg: the picture is a PNG"),
        (["--out", "nowhere/map.png"], 2, "there is no folder nowhere"),
        (["--perplexity", "24"], 2, "--perplexity 24 with --windows 12"),
        (["--perplexity", "-1"], 2, "-1 is not more than 0"),
        (["--samples", "511"], 2, "--samples 511: the model takes no such window"),
        (["--data", "nowhere"], 2, "nowhere does not exist"),
        (["--model", "nowhere"], 2, "nowhere"),
    ],
)
def test_a_mistake_is_one_line(
    autoencoder, music_folder, tmp_path, monkeypatch, capsys, more, code, said
):
    monkeypatch.chdir(tmp_path)
    assert run(autoencoder, music_folder, "map.png", *more) == code
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and said in captured.err
    assert not list(tmp_path.iterdir())


def test_a_model_without_an_embedding_and_a_missing_package_are_told_of(
    random_run, autoencoder, music_folder, tmp_path, monkeypatch, capsys
):
    assert run(random_run, music_folder, tmp_path / "map.png") == 2
    assert "UNet has no embedding; give a run of an autoencoder" in capsys.readouterr().err
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "sklearn" else find(name)
    )
    assert run(autoencoder, music_folder, tmp_path / "map.png") == 2
    assert "pip install 'tfrestore[embedding]'" in capsys.readouterr().err
