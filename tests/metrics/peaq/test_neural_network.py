import math
from pathlib import Path

import pytest

from tfrestore.metrics.peaq_basic.neural_network import (
    VARIABLES,
    distortion_index,
    objective_difference_grade,
)

GOLDEN = Path(__file__).parents[1] / "golden"


def test_the_network_gives_the_reference_values_for_the_reference_variables():
    rows = (GOLDEN / "peaq_variables.tsv").read_text().splitlines()[1:]
    assert len(rows) == 6
    for row in rows:
        *variables, index, grade = map(float, row.split("\t")[1:])
        ours = distortion_index(dict(zip(VARIABLES, variables, strict=True)))
        # The variables have six digits.
        assert ours == pytest.approx(index, abs=2e-5)
        assert objective_difference_grade(ours) == pytest.approx(grade, abs=2e-5)


def test_at_the_lower_ends_of_all_ranges_only_the_biases_are_left():
    smallest = (
        *(393.916656, 361.965332, -24.045116, 1.110661, -0.206623),
        *(0.074318, 1.113683, 0.950345, 0.029985, 0.000101, 0.0),
    )

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    expected = -0.307594 + (
        -3.817048 * sigmoid(-2.518254)
        + 4.107138 * sigmoid(0.654841)
        + 4.629582 * sigmoid(-2.207228)
    )
    assert distortion_index(dict(zip(VARIABLES, smallest, strict=True))) == pytest.approx(expected)


def test_variables_of_a_published_test_item_give_about_its_published_index():
    # gcodcla of the Recommendation's conformance items has a DI of 1.781; these are variables that
    # the author of the reference implementation found for it.
    variables = (
        *(834.117, 647.095, -14.6048, 6.89483, 0.432969),
        *(0.503605, 7.14863, 24.9353, 0.124738, 0.968876, 0.0485208),
    )
    index = distortion_index(dict(zip(VARIABLES, variables, strict=True)))
    assert index == pytest.approx(1.781, abs=0.02)


def test_the_grade_rises_with_the_index_from_minus_3_98_to_0_22():
    assert objective_difference_grade(-1000) == pytest.approx(-3.98)
    assert objective_difference_grade(1000) == pytest.approx(0.22)
    assert objective_difference_grade(0) == pytest.approx((-3.98 + 0.22) / 2)
    grades = [objective_difference_grade(index / 4) for index in range(-20, 20)]
    assert grades == sorted(grades)
