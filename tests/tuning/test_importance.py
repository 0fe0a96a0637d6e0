import math

import keras_tuner
import numpy as np
import pytest

from tfrestore.errors import InputError
from tuning import importance
from tuning.importance import IDLE, coordinate, measure_importance, tunable


def draw(space, count, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {each.name: each.prob_to_value(rng.random()) for each in tunable(space)}
        for _ in range(count)
    ]


def shares(space, function, count, seed=0):
    values = draw(space, count, seed)
    found = measure_importance(space, values, [function(each) for each in values])
    return {share.name: share for share in (*found.shares, found.idle)}, found


def test_indices_of_ishigamis_function_are_those_of_the_literature():
    class Ishigami:
        def predict(self, points):
            x, y, z = np.pi * (2 * points.T - 1)
            return np.sin(x) + 7 * np.sin(y) ** 2 + 0.1 * z**4 * np.sin(x)

    total, alone = importance._sobol_indices(Ishigami(), importance._even_points(3))
    # Ishigami & Homma (1990), a = 7, b = 0.1.
    np.testing.assert_allclose(total, [0.5576, 0.4424, 0.2437], atol=0.03)
    np.testing.assert_allclose(alone, [0.3139, 0.4424, 0.0], atol=0.03)


def test_an_additive_score_is_shared_out_by_variance(space):
    # Variances: (3^2) / 12 of the logarithm's place, and 1/3 * 2/3 of the kind.
    whole = 9 / 12 + 2 / 9
    found, fit = shares(
        space, lambda v: 3 * math.log(v["rate"] / 1e-4, 100) + (v["kind"] == "b"), 300
    )
    assert found["rate"].total == pytest.approx(0.75 / whole, abs=0.05)
    assert found["kind"].total == pytest.approx(2 / 9 / whole, abs=0.05)
    assert found["rate"].low - 0.02 < 0.75 / whole < found["rate"].high
    for name in ("weight", "switch", "filters", "depth", IDLE):
        assert found[name].total < 0.03
    assert fit.r_squared > 0.9 and fit.configurations == 300
    assert [share.name for share in fit.shares[:2]] == ["rate", "kind"]


def test_what_matters_together_is_told_from_what_matters_alone(space):
    found, _ = shares(space, lambda v: v["switch"] * v["weight"], 300)
    # Of s w, s being 0 or 1 and w uniform over 0 to 2, the variance is 5/12: 1/4 of s alone, 1/12
    # of w alone, 1/12 of both together.
    assert found["switch"].alone == pytest.approx(0.6, abs=0.06)
    assert found["switch"].total == pytest.approx(0.8, abs=0.06)
    assert found["weight"].alone == pytest.approx(0.2, abs=0.06)
    assert found["weight"].total == pytest.approx(0.4, abs=0.06)


def test_a_logarithmic_and_a_linear_range_count_alike(space):
    found, _ = shares(space, lambda v: math.log(v["rate"] / 1e-4, 100) + v["weight"] / 2, 400)
    assert found["rate"].total == pytest.approx(0.5, abs=0.07)
    assert found["weight"].total == pytest.approx(0.5, abs=0.07)


def test_of_chance_nothing_is_explained(space):
    chance = np.random.default_rng(3)
    found, fit = shares(space, lambda v: chance.normal(), 30)
    assert fit.r_squared < 0.1
    assert not [s for s in fit.shares if s.low > fit.idle.total]


def test_few_trials_have_a_wide_spread(space):
    few, _ = shares(space, lambda v: v["weight"] + 0.3 * v["switch"], 9)
    many, _ = shares(space, lambda v: v["weight"] + 0.3 * v["switch"], 200)
    spread = {n: each["weight"].high - each["weight"].low for n, each in ((9, few), (200, many))}
    assert spread[9] > 3 * spread[200]


def test_a_trial_that_went_wrong_is_not_all_that_is_explained(space):
    values = draw(space, 40)
    scores = [v["weight"] for v in values]
    scores[7] = -1e9
    found = measure_importance(space, values, scores)
    assert found.shares[0].name == "weight" and found.shares[0].total > 0.5


def test_the_same_trials_have_the_same_importances(space):
    assert (
        shares(space, lambda v: v["weight"], 20)[1] == shares(space, lambda v: v["weight"], 20)[1]
    )


def test_an_inactive_hyperparameter_has_its_default():
    hp = keras_tuner.HyperParameters()
    hp.Boolean("switch")
    with hp.conditional_scope("switch", [True]):
        hp.Float("weight", 0.0, 1.0, default=0.5)
    rng = np.random.default_rng(0)
    values = [
        {"switch": True, "weight": rng.random()} if number % 2 else {"switch": False}
        for number in range(60)
    ]
    scores = [v.get("weight", 0.5) for v in values]
    found = measure_importance(hp.space, values, scores)
    assert found.shares[0].name == "weight" and found.shares[0].total > 0.95


def test_too_few_equal_or_fixed_trials_are_refused_with_the_reason(space):
    values = draw(space, 7)
    with pytest.raises(InputError, match="need 8 configurations .* there are 7"):
        measure_importance(space, values, list(range(7)))
    values = draw(space, 8)
    with pytest.raises(InputError, match="the same score"):
        measure_importance(space, values, [1.0] * 8)
    with pytest.raises(InputError, match="more than one value"):
        measure_importance([space[-1]], values, list(range(8)))
    # A value that the space does not have is nowhere.
    assert coordinate(space[2], "d") is None
    values[0]["kind"] = "d"
    with pytest.raises(InputError, match="there are 7"):
        measure_importance(space, values, list(range(8)))
