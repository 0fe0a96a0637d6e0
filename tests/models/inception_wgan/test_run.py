"""A run of both stages ends where it should, on examples of recordings and of MIDI files."""

import csv

import keras
import numpy as np
import pytest

from tests.data.midi_maker import write_notes
from tests.stopped_runs import assert_ended_alike, run_until_checkpoint
from tfrestore import metrics
from tfrestore.data.bandwidths import Bandwidths
from tfrestore.data.catalogue import open_catalogue
from tfrestore.errors import UsageError
from tfrestore.models.inception_wgan.network import InceptionGenerator
from tfrestore.models.inception_wgan.recipe import InceptionExamples, InceptionWGANTrainer
from tfrestore.models.inception_wgan.restorer import InceptionRestorer
from tfrestore.models.presets import find_preset, preset_names, read_metadata
from tfrestore.restorer import Restorer
from tfrestore.training.configuration import resolve
from tfrestore.training.loop import TrainingRun

SMALL = [
    *("network.filters=8", "depth=2", "max_doublings=0", "window_samples=768", "kind=bandwidth"),
    *("validation_examples=2", "steps_per_epoch=2", "checkpoint_steps=1"),
    *("frequency_weight=1", "adversarial_weight=0.01", "autoencoder_filters=8"),
    "autoencoder_steps=1",
]


@pytest.fixture(scope="module")
def preset():
    found = find_preset("inception_wgan_autoencoder_tiny")
    return resolve(found, None, SMALL, batch_size=2, steps=3)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Steps are not in a graph, which takes longer to build than these steps do."""
    monkeypatch.setattr(
        TrainingRun,
        "_distributed",
        lambda self, step, average=None: lambda batch: self.strategy.run(step, args=(batch,)),
    )


def make_run(preset, music_folder, folder):
    return TrainingRun(preset, open_catalogue(music_folder), folder, str(music_folder))


@pytest.fixture(scope="module")
def music(music_folder):
    return open_catalogue(music_folder)


def test_a_run_of_both_stages_that_was_stopped_ends_bit_for_bit_where_it_would(
    preset, music_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(TrainingRun, "_illustrate", lambda self: ({}, {}))
    straight = make_run(preset, music_folder, tmp_path / "straight")
    straight.start()
    expected = straight.run()
    # Once in each stage.
    for _ in range(2):
        part = make_run(preset, music_folder, tmp_path / "stopped")
        part.resume() if (tmp_path / "stopped").exists() else part.start()
        run_until_checkpoint(part, monkeypatch)
    last = make_run(preset, music_folder, tmp_path / "stopped")
    last.resume()
    assert last.step_number == 2
    assert {**last.run(), "steps_per_second": 0} == {**expected, "steps_per_second": 0}
    assert_ended_alike(
        last.trainer,
        straight.trainer,
        lambda trainer: trainer.variables,
        lambda trainer: trainer.optimizer.variables,
        lambda trainer: trainer.critic_optimizer.variables,
        lambda trainer: trainer.autoencoder_trainer.optimizer.variables,
    )

    with open(tmp_path / "stopped" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "3"]
    assert {"generator_loss", "critic_loss", "val_snr", "val_input_snr"} <= expected.keys()
    restorer = Restorer.from_preset(tmp_path / "stopped")
    assert isinstance(restorer, InceptionRestorer) and restorer.window_samples == 768
    scores = read_metadata(tmp_path / "stopped")["scores"]
    assert scores["val_snr"] == max(float(row["val_snr"]) for row in rows)
    names = {path.name for path in (tmp_path / "stopped" / "logs").iterdir()}
    assert names == {"train", "validation"}


def test_an_autoencoder_is_trained_by_its_own_preset_and_taken_by_the_generators(
    music_folder, tmp_path
):
    small = [each for each in SMALL if "weight" not in each and "autoencoder" not in each]
    found = resolve(find_preset("inception_autoencoder_tiny"), None, small, batch_size=2, steps=1)
    run = make_run(found, music_folder, tmp_path / "autoencoder")
    run.start()
    assert run.run()["val_loss"] > 0
    network = InceptionGenerator(filters=8, depth=2)
    trainer = InceptionWGANTrainer(
        network,
        InceptionRestorer(network, window_samples=768),
        autoencoder_weight=0.1,
        autoencoder=str(tmp_path / "autoencoder"),
    )
    assert trainer.autoencoder.filters == 8


@pytest.mark.parametrize("kind", ["mp3", "bandwidth"])
def test_examples_are_windows_of_pairs_at_the_restorers_rate(music, kind):
    restorer = InceptionRestorer(InceptionGenerator(filters=8, depth=2), 22050, 4096)
    examples = InceptionExamples(restorer, kind)
    tracks = music.split("train")
    assert examples.count(tracks) == 3 * ((4 * 22050 - 4096) // 2048 + 1)
    degraded, original = next(iter(examples.dataset(tracks, batch_size=3, seed=0)))
    assert degraded.shape == original.shape == (3, 4096)
    assert 0 < metrics.snr(original, degraded).mean() < 60
    pictures, sounds = examples.illustrate(restorer, tracks)
    assert list(sounds) == ["degraded", "original", "restored"]
    assert {sound.shape for sound in sounds.values()} == {(8 * 22050,)}
    assert pictures["spectrogram"].dtype == np.uint8
    masked = InceptionExamples(restorer, kind, mask_above_bandwidth=True)
    *again, bandwidth = next(iter(masked.dataset(tracks, batch_size=3, seed=0)))
    np.testing.assert_array_equal(again, (degraded, original))
    assert set(bandwidth.numpy()) <= {np.float32(Bandwidths().find(track)) for track in tracks}


def test_examples_of_midi_files_are_windows_of_both_instruments(tmp_path):
    write_notes(tmp_path / "scale.mid", [(n, n + 0.9, 60 + n, 90) for n in range(3)])
    restorer = InceptionRestorer(InceptionGenerator(filters=8, depth=2), window_samples=4096)
    tracks = open_catalogue(f"midi:{tmp_path}").split("all")
    examples = InceptionExamples(restorer, "midi", target="Violin", order="file")
    heard, wanted = next(iter(examples.dataset(tracks, batch_size=4, seed=0)))
    assert heard.shape == wanted.shape == (4, 4096)
    assert np.std(heard) > 1e-3 and np.abs(metrics.snr(wanted, heard)).max() < 6
    _, sounds = examples.illustrate(restorer, tracks)
    assert sounds["restored"].shape == (8 * 44100,)


def test_examples_that_cannot_be_are_refused():
    network = InceptionGenerator(filters=8, depth=2)
    with pytest.raises(UsageError, match="data.kind is 'vinyl': choose one of midi, mp3"):
        InceptionExamples(InceptionRestorer(network, window_samples=64), "vinyl")
    with pytest.raises(UsageError, match="restorer.sample_rate is 22050, but instruments are"):
        InceptionExamples(InceptionRestorer(network, 22050, 64))
    with pytest.raises(UsageError, match="mask_above_bandwidth is for recordings"):
        InceptionExamples(InceptionRestorer(network, window_samples=64), mask_above_bandwidth=True)
    with pytest.raises(UsageError, match="128"):
        InceptionExamples(InceptionRestorer(network, window_samples=64), input=128)


def test_a_window_that_does_not_fit_the_network_is_refused_in_a_line(music_folder, tmp_path):
    found = resolve(find_preset("inception_wgan_time_tiny"), None, ["window_samples=8000"])
    with pytest.raises(UsageError, match=r"restorer: .*multiple of 256.*Received: 8000 samples"):
        make_run(found, music_folder, tmp_path)


def test_every_preset_of_the_paper_has_a_tiny_twin():
    names = set(preset_names("inception_wgan")) - {"inception_wgan_small"}
    full = {name for name in names if not name.endswith("_tiny")}
    assert names == full | {f"{name}_tiny" for name in full}
    assert full == {
        *(f"inception_wgan_{loss}" for loss in ("time", "frequency", "autoencoder", "adversarial")),
        "inception_autoencoder",
    }
    with keras.StatelessScope(initialize_variables=False):
        for name in full:
            small, large = (
                find_preset(each).make("network").count_params() for each in (f"{name}_tiny", name)
            )
            assert small < large
