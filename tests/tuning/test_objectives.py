"""What can be looked for, and how a ruler is laid on what a trial restores."""

import keras
import numpy as np
import pytest

from tfrestore import metrics
from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.degradation import parse_degradation
from tfrestore.errors import UsageError
from tfrestore.models.presets import find_preset
from tfrestore.restorer import Restorer
from tfrestore.training.configuration import resolve
from tuning.footprint import symbolic_trainer
from tuning.objectives import RecordingsScore, find_objective, objectives_of

SMALL = {
    "unet_tiny": ["network.filters=2", "network.depth=2"],
    "sr_gan_tiny": ["filters=[2, 2, 2]", "aggregation=4", "maps=2", "noise_size=2"],
    "apollo_tiny": ["features=8", "network.depth=1", "heads=2"],
    "inception_wgan_adversarial_tiny": ["filters=16", "network.depth=2"],
}


@pytest.fixture(scope="module")
def trainers():
    return {
        name: symbolic_trainer(resolve(find_preset(name), assignments=assignments))
        for name, assignments in SMALL.items()
    }


def test_every_family_is_searched_by_what_matters_on_validation_music(trainers):
    own = {
        name: {key: way for key, way in objectives_of(trainer).items() if key.startswith("val_")}
        for name, trainer in trainers.items()
    }
    assert own == {
        "unet_tiny": {"val_loss": "min", "val_psnr": "max", "val_nrmse": "min"},
        "sr_gan_tiny": {"val_lsd": "min", "val_snr": "max"},
        "apollo_tiny": own["apollo_tiny"],
        "inception_wgan_adversarial_tiny": {"val_snr": "max", "val_log10_lsd": "min"},
    }
    assert {"val_si_snr": "max", "val_lsd": "min"}.items() <= own["apollo_tiny"].items()
    for trainer in trainers.values():
        assert objectives_of(trainer)["odg"] == objectives_of(trainer)["visqol"] == "max"
        assert not [name for name in objectives_of(trainer) if "adversarial" in name]


def test_a_search_looks_for_what_train_keeps_and_for_the_best_of_several_versions(trainers):
    chosen = {name: find_objective(None, trainer).name for name, trainer in trainers.items()}
    assert chosen == {
        "unet_tiny": "val_psnr",
        "sr_gan_tiny": "lsd",
        "apollo_tiny": "val_si_snr",
        "inception_wgan_adversarial_tiny": "val_snr",
    }


def test_an_objective_that_a_family_does_not_have_is_told_with_those_it_has(trainers):
    with pytest.raises(UsageError, match="val_generator_loss: this family .* val_lsd, val_snr"):
        find_objective("val_generator_loss", trainers["sr_gan_tiny"])


def test_of_a_stochastic_model_the_best_of_its_versions_counts(stochastic_run, music_folder):
    catalogue = open_catalogue(music_folder)
    preset = find_preset("sr_gan_tiny")
    score = RecordingsScore.make("lsd", preset, None, candidates=3, seconds=1.0)
    assert score.degradation == "mp3:16"
    restorer = Restorer.from_preset(stochastic_run)
    best = []
    for index, track in enumerate(catalogue.split("validation")):
        intact, degraded = parse_degradation("mp3:16").pair(
            track, restorer.sample_rate, start=1, seconds=1.0, mono=True, seed=0, index=index
        )
        versions = [
            restorer.restore(degraded, restorer.sample_rate, seed=0, candidate=number)
            for number in (1, 2, 3)
        ]
        each = [metrics.lsd(intact[0], version[0]) for version in versions]
        assert len(set(each)) == 3
        best.append(min(each))
    assert len(best) == 2
    np.testing.assert_allclose(score.of(stochastic_run, catalogue), np.mean(best), rtol=1e-5)
    keras.backend.clear_session()
