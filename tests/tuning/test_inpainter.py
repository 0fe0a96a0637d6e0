import keras_tuner
import numpy as np

from tfrestore.models import UNet
from tuning.inpainter import InpainterHyperModel


def test_the_first_trial_is_the_papers_unet():
    trainer = InpainterHyperModel().build(keras_tuner.HyperParameters())
    assert trainer.network.count_params() == UNet().count_params() == 18_872_545
    assert trainer.learning_rate == 1e-3


def test_a_random_search_over_small_networks_ends_with_a_best_one(tmp_path):
    fixed = keras_tuner.HyperParameters()
    fixed.Fixed("filters", 4)
    fixed.Fixed("depth", 2)
    tuner = keras_tuner.RandomSearch(
        InpainterHyperModel(),
        objective=keras_tuner.Objective("val_psnr", "max"),
        hyperparameters=fixed,
        max_trials=2,
        seed=0,
        directory=tmp_path,
    )
    patches = np.random.default_rng(0).random((4, 16, 16, 1), "float32")
    gapped = patches * (np.arange(16) % 4 > 0)[:, None, None]
    tuner.search(
        gapped, patches, validation_data=(gapped, patches), batch_size=4, epochs=1, verbose=0
    )
    scores = [trial.score for trial in tuner.oracle.get_best_trials(2)]
    assert len(scores) == 2 and scores[0] >= scores[1] > 0
    assert tuner.get_best_hyperparameters()[0].get("filters") == 4
