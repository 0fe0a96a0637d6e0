"""A run of the GAN keeps, shows and resumes what it should, on examples of an MP3 and its music."""

import csv

import numpy as np
import pytest
import tensorflow as tf

from tests.stopped_runs import assert_ended_alike, run_until_checkpoint
from tfrestore.data.catalogue import open_catalogue
from tfrestore.errors import InputError, UsageError
from tfrestore.models.presets import find_preset, read_metadata
from tfrestore.models.sr_gan.network import FrequencyAggregationGenerator
from tfrestore.models.sr_gan.recipe import SRGANExamples
from tfrestore.models.sr_gan.restorer import SRGANRestorer
from tfrestore.restorer import Restorer
from tfrestore.training.configuration import resolve
from tfrestore.training.loop import TrainingRun

NOISE_SIZE, WINDOW, HOP = 3, 64, 16
SAMPLES = WINDOW + 129 * HOP


def noise():
    return np.random.default_rng(0).normal(0, 0.3, (4, SAMPLES)).astype(np.float32)


def make_restorer(noise_size=NOISE_SIZE):
    network = FrequencyAggregationGenerator(
        bins=WINDOW // 2, filters=(2, 3, 3), aggregation=16, maps=4, noise_size=noise_size
    )
    return SRGANRestorer(network, frame_length=WINDOW, hop_length=HOP)


SMALL = [
    *("network.bins=32", "filters=[2, 3, 3]", "aggregation=16", "maps=4", "noise_size=3"),
    *("frame_length=64", "hop_length=16", f"samples={SAMPLES}", "validation_examples=2"),
    *("steps_per_epoch=3", "checkpoint_steps=2"),
]


@pytest.fixture(scope="module")
def preset():
    return resolve(find_preset("sr_gan_tiny"), None, SMALL, batch_size=2, steps=3)


def make_run(preset, music_folder, folder):
    return TrainingRun(preset, open_catalogue(music_folder), folder, str(music_folder))


@pytest.fixture(scope="module")
def finished(preset, music_folder, tmp_path_factory):
    """A run of three steps: its folder and its last scores."""
    folder = tmp_path_factory.mktemp("sr_gan") / "run"
    run = make_run(preset, music_folder, folder)
    run.start()
    return folder, run.run()


def test_a_run_keeps_a_generator_that_the_restorer_loads(finished):
    folder, scores = finished
    with open(folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["3"]
    assert read_metadata(folder)["scores"]["val_lsd"] == float(rows[0]["val_lsd"])
    assert {"wasserstein_estimate", "val_lsd", "val_mp3_lsd", "val_rhythm_spread"} <= scores.keys()
    # Each kind of step has its own metrics.
    assert not {"lsd", "val_critic_loss", "val_wasserstein_estimate"} & scores.keys()
    restorer = Restorer.from_preset(folder)
    assert isinstance(restorer, SRGANRestorer) and restorer.hop_length == 16
    assert restorer.restore(noise(), 44100).shape == (4, SAMPLES)


def test_tensorboard_has_the_curves_a_picture_and_five_sounds(finished):
    folder, _ = finished
    found = {}
    for split in ("train", "validation"):
        for path in (folder / "logs" / split).iterdir():
            for event in tf.compat.v1.train.summary_iterator(str(path)):
                found |= {(split, value.tag): event.step for value in event.summary.value}
    curves = {
        *("wasserstein_estimate", "critic_loss", "generator_loss", "gradient_penalty"),
        *("drift_penalty", "frequency_profile_loss", "rhythm_profile_loss"),
        *("critic_gradient_norm", "generator_gradient_norm", "frequency_spread", "rhythm_spread"),
        *("learning_rate", "steps_per_second"),
    }
    assert {tag for split, tag in found if split == "train"} == curves
    assert {tag for split, tag in found if split == "validation"} == {
        *("lsd", "mp3_lsd", "snr", "frequency_spread", "rhythm_spread"),
        *("spectrogram", "mp3", "original", "restored_1", "restored_2", "restored_3"),
    }


@pytest.mark.parametrize(("noise_size", "versions"), [(NOISE_SIZE, 3), (0, 1)])
def test_the_middle_of_a_track_is_shown_as_mp3_original_and_restored(
    music_folder, noise_size, versions
):
    restorer = make_restorer(noise_size)
    tracks = open_catalogue(music_folder).split("validation")
    examples = SRGANExamples(restorer, 32, SAMPLES)
    pictures, sounds = examples.illustrate(restorer, tracks)
    assert len(sounds) == 2 + versions and list(sounds)[:2] == ["mp3", "original"]
    for name, sound in sounds.items():
        assert sound.shape == (8 * 44100,) and sound.dtype == np.float32, name
    # The track is half as long.
    assert sounds["original"][: 4 * 44100].std() > 0.01
    assert not sounds["original"][-4 * 44100 :].any()
    different = {sound.tobytes() for sound in sounds.values()}
    assert len(different) == 2 + versions
    assert pictures["spectrogram"].dtype == np.uint8


def test_a_run_that_was_stopped_ends_bit_for_bit_where_it_would(
    preset, music_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(TrainingRun, "_illustrate", lambda self: ({}, {}))

    # Not in a graph, which takes longer to build than these steps do.
    def distributed(self, function, average=None):
        def step(batch):
            self.strategy.run(function, args=(batch,))
            if average is not None:
                average.update()

        return step

    monkeypatch.setattr(TrainingRun, "_distributed", distributed)
    straight, first = (
        make_run(preset, music_folder, tmp_path / name) for name in ("straight", "stopped")
    )
    straight.start()
    expected = straight.run()
    first.start()
    run_until_checkpoint(first, monkeypatch)
    second = make_run(preset, music_folder, tmp_path / "stopped")
    second.resume()
    assert second.step_number == 2
    # Means over all three steps.
    assert {**second.run(), "steps_per_second": 0} == {**expected, "steps_per_second": 0}
    assert_ended_alike(
        second.trainer,
        straight.trainer,
        lambda trainer: trainer.variables,
        lambda trainer: trainer.optimizer.variables,
        lambda trainer: trainer.critic_optimizer.variables,
    )


def test_the_generator_that_is_kept_is_the_one_with_the_smallest_distance(
    preset, music_folder, tmp_path
):
    run = make_run(preset, music_folder, tmp_path)
    for step, distance in ((1, 9.0), (2, 4.0), (3, 5.0), (4, 3.0), (5, 30.0)):
        run._keep_best({"lsd": distance, "snr": 0.0}, step)
        assert read_metadata(tmp_path)["step"] == (1, 2, 2, 4, 4)[step - 1]


@pytest.mark.parametrize("broken", ["network", "critic"])
def test_weights_that_are_no_numbers_are_not_kept(preset, music_folder, tmp_path, broken):
    run = make_run(preset, music_folder, tmp_path)
    run.start()
    getattr(run.trainer, broken).weights[0].assign(
        np.full_like(getattr(run.trainer, broken).weights[0], np.nan)
    )
    with pytest.raises(InputError, match="a weight is no longer a number at step 0"):
        run._check_weights()
    for name in ("critic_loss", "frequency_profile_loss"):
        with pytest.raises(InputError, match=f"the {name.replace('_', ' ')} is no longer"):
            run._check_finite({"wasserstein_estimate": 1.0, name: np.nan})


def test_examples_are_pairs_at_the_restorers_rate(music_folder):
    restorer = make_restorer()
    examples = SRGANExamples(restorer, kbit_per_second=32, samples=SAMPLES)
    tracks = open_catalogue(music_folder).split("train")
    # 4 s at 44.1 kHz, of which every half excerpt begins one.
    assert examples.count(tracks) == 3 * ((4 * 44100 - SAMPLES) // (SAMPLES // 2) + 1)
    degraded, original = next(iter(examples.dataset(tracks, batch_size=3, seed=0)))
    assert degraded.shape == original.shape == (3, SAMPLES)
    assert degraded.dtype == original.dtype == tf.float32
    assert not np.allclose(degraded, original, atol=1e-3)
    masked = SRGANExamples(restorer, 32, SAMPLES, mask_above_bandwidth=True)
    *pair, bandwidth = next(iter(masked.dataset(tracks, batch_size=3, seed=0)))
    np.testing.assert_array_equal(pair, [degraded, original])
    assert bandwidth.shape == (3,)
    assert 0 < np.min(bandwidth) <= np.max(bandwidth) <= 11025


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 64 + 124 * 16 - 1}, "data.samples is 2047, but of less than 2048 samples"),
        ({"kbit_per_second": 17}, "17"),
    ],
)
def test_examples_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        SRGANExamples(make_restorer(), **arguments)
