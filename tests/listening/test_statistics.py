import math

import numpy as np
import pytest
from listening.answers import BY_HAND, make_key, results_of
from scipy import stats

from tfrestore.listening.statistics import (
    compare,
    interquartile_range,
    is_reliable,
    rating_table,
    summarize,
)


def test_a_table_made_by_hand_gives_what_scipy_says():
    key = make_key()
    table = rating_table(results_of(key, BY_HAND))
    np.testing.assert_array_equal(table, BY_HAND)
    a, b = [1, 2, 2, 3], [3, 5, 4, 4]
    row = summarize("a", table[..., 0])
    assert (row.ratings, row.listeners, row.mean, row.median) == (4, 2, 2, 2)
    assert row.standard_deviation == pytest.approx(math.sqrt(2 / 3))
    expected = stats.t.interval(0.95, 3, 2, stats.sem(a))
    assert (row.interval_low, row.interval_high) == pytest.approx(expected)
    (comparison,) = compare(table, key.systems)
    assert (comparison.first, comparison.second) == ("a", "b")
    expected = stats.ttest_rel(a, b)
    assert comparison.test.t == pytest.approx(expected.statistic)
    assert comparison.test.p == pytest.approx(expected.pvalue)
    assert (comparison.test.n, comparison.test.degrees_of_freedom) == (4, 3)


def test_ratings_that_are_missing_leave_their_pair_out():
    key = make_key()
    table = BY_HAND.astype(float)
    table[0, 0, 0] = np.nan
    table = rating_table(results_of(key, table))
    assert summarize("a", table[..., 0]).ratings == 3
    assert summarize("b", table[..., 1]).ratings == 4
    (comparison,) = compare(table, key.systems)
    assert comparison.test.n == 3
    assert comparison.test.mean_difference == pytest.approx(np.mean([2 - 5, 2 - 4, 3 - 4]))


def test_a_system_that_nobody_rated_has_no_numbers():
    row = summarize("a", np.full((2, 3), np.nan))
    assert (row.ratings, row.listeners) == (0, 0) and math.isnan(row.mean)
    assert summarize("a", [[4.0]]).mean == 4 and math.isnan(summarize("a", [[4.0]]).interval_low)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([5], 0), ([1, 3], 2), ([1, 2, 3], 1), ([1, 2, 3, 4], 2), ([9, 1, 5, 3, 7], 4)],
)
def test_quartiles_are_the_medians_of_the_halves(values, expected):
    assert interquartile_range(values) == expected


def test_a_listener_who_misses_the_reference_in_more_than_15_percent_is_left_out():
    grades = np.full((4, 20), 100.0)
    grades[1, :3] = 89
    grades[2, :4] = 89
    grades[3, :] = 90
    assert is_reliable(grades).tolist() == [True, True, False, True]


def test_items_that_were_not_rated_do_not_count_for_the_screening():
    grades = np.full((2, 20), 100.0)
    grades[:, 10:] = np.nan
    grades[1, :2] = 10
    assert is_reliable(grades).tolist() == [True, False]
    assert is_reliable(np.full((1, 3), np.nan)).tolist() == [True]


def test_a_listener_who_overlooks_the_mid_anchor_is_left_out_unless_many_do():
    reference = np.full((8, 10), 100.0)
    anchor = np.full((8, 10), 40.0)
    anchor[0, :2] = 95
    anchor[1, 0] = 95
    assert is_reliable(reference, anchor).tolist() == [False] + [True] * 7
    # More than a quarter of the listeners overlook the first item: it is the item's fault.
    anchor[2, 0] = 95
    assert is_reliable(reference, anchor).all()
