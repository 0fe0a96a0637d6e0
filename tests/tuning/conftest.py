"""Searches that were made up, and a real browser for their pages."""

import keras_tuner
import pytest
from browser import chromium, open_page  # noqa: F401
from made_searches import MadeSearch, hyperband


def _outcome(number, values):
    if number == 5:
        return "skipped: 30 million parameters are too many."
    if values["recipe.learning_rate"] > 4e-3:
        return "Traceback:\n  x\nFailedTrialError: no number at step 40; lower [b]recipe.x[/b]."
    return None


@pytest.fixture(scope="session")
def random_search(tmp_path_factory):
    """A random search of 20 trials as long as each other, some of them failed, one skipped."""
    folder = tmp_path_factory.mktemp("searches") / "random"
    return MadeSearch(folder, outcome=_outcome).run(20).folder


@pytest.fixture(scope="session")
def hyperband_search(tmp_path_factory):
    """A Hyperband search over 100, 300 and 900 steps, which has come to its end."""
    folder = tmp_path_factory.mktemp("searches") / "hyperband"
    return MadeSearch(folder, hyperband()).run(100).folder


@pytest.fixture(scope="session")
def space():
    """Hyperparameters of every kind, for closed forms."""
    hp = keras_tuner.HyperParameters()
    hp.Float("rate", 1e-4, 1e-2, sampling="log")
    hp.Float("weight", 0.0, 2.0)
    hp.Choice("kind", ["a", "b", "c"])
    hp.Boolean("switch")
    hp.Choice("filters", [4, 8, 16, 32])
    hp.Int("depth", 2, 5)
    hp.Fixed("loss", "mse")
    return hp.space
