import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tfrestore.evaluation.significance import confidence_interval, paired_t_test

SCORES = st.lists(st.tuples(*[st.floats(-100, 100)] * 2), min_size=2, max_size=20)


def test_three_pairs_give_what_the_closed_form_for_two_degrees_of_freedom_says():
    test = paired_t_test([3, 5, 8], [2, 3, 5])
    # The differences 1, 2, 3 have mean 2 and standard deviation 1.
    t = 2 * math.sqrt(3)
    assert test.t == pytest.approx(t)
    assert test.p == pytest.approx(1 - t / math.sqrt(t**2 + 2))
    assert (test.degrees_of_freedom, test.n, test.mean_difference) == (2, 3, 2)


@settings(deadline=None, max_examples=50)
@given(SCORES)
def test_it_is_the_one_sample_test_of_the_differences(pairs):
    a, b = np.array(pairs).T
    test = paired_t_test(a, b)
    differences = a - b
    if np.ptp(differences) < 1e-9:
        return
    expected = stats.ttest_1samp(differences, 0)
    assert test.t == pytest.approx(expected.statistic, rel=1e-6)
    assert test.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    turned = paired_t_test(b, a)
    assert turned.t == pytest.approx(-test.t) and turned.p == pytest.approx(test.p)


@pytest.mark.parametrize(
    ("a", "b", "n"),
    [
        ([], [], 0),
        ([1], [2], 1),
        ([1, 2, 3], [1, 2, 3], 3),
        ([2, 3, 4], [1, 2, 3], 3),
        # Differences that are the same but for rounding have no variance, either.
        ([0.1 + 0.3, 0.2 + 0.3, 0.7 + 0.3], [0.1, 0.2, 0.7], 3),
    ],
)
def test_without_variance_there_is_no_t_and_no_p(a, b, n):
    test = paired_t_test(a, b)
    assert math.isnan(test.t) and math.isnan(test.p)
    assert test.n == n and test.degrees_of_freedom == max(0, n - 1)
    assert math.isnan(test.mean_difference) == (n == 0)


def test_pairs_with_a_score_that_is_not_finite_do_not_count():
    a = [3, 5, 8, math.nan, 1, math.inf]
    b = [2, 3, 5, 1, math.nan, 1]
    assert paired_t_test(a, b) == paired_t_test(a[:3], b[:3])


@pytest.mark.parametrize(("a", "b"), [([1, 2], [1, 2, 3]), ([[1, 2]], [[1, 2]])])
def test_arrays_that_are_no_pairs_are_refused(a, b):
    with pytest.raises(ValueError, match="pairs"):
        paired_t_test(a, b)


def test_two_scores_give_the_interval_of_the_cauchy_distribution():
    # With one degree of freedom, t is Cauchy's: its 97.5 % quantile is tan(0.475 pi).
    low, high = confidence_interval([0, 2])
    assert (low, high) == pytest.approx(
        (1 - math.tan(0.475 * math.pi), 1 + math.tan(0.475 * math.pi))
    )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20), st.floats(0.5, 0.999))
def test_the_interval_is_scipys(values, confidence):
    if np.ptp(values) < 1e-6:
        return
    error = stats.sem(values)
    expected = stats.t.interval(confidence, len(values) - 1, np.mean(values), error)
    assert confidence_interval(values, confidence) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_nineteen_of_twenty_intervals_hold_the_true_mean():
    generator = np.random.default_rng(3)
    samples = generator.normal(4, 2, (2000, 6))
    held = [low <= 4 <= high for low, high in map(confidence_interval, samples)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("values", [[], [4], [4, math.nan], [math.inf, 4]])
def test_fewer_than_two_scores_have_no_interval(values):
    assert all(map(math.isnan, confidence_interval(values)))


def test_equal_scores_have_an_interval_without_width():
    assert confidence_interval([4, 4, 4]) == (4, 4)


@pytest.mark.parametrize(("values", "confidence"), [([1, 2], 1), ([1, 2], 0), ([[1, 2]], 0.95)])
def test_what_is_no_sample_or_no_confidence_is_refused(values, confidence):
    with pytest.raises(ValueError, match="confidence"):
        confidence_interval(values, confidence)


def test_tensorflow_is_not_loaded():
    script = "import sys, tfrestore.evaluation.significance; print('tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
