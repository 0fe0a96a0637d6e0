"""The network that turns model output variables into one number (BS.1387-1, Annex 2, section 6).

Eleven inputs scaled to their ranges in training, three hidden sigmoid units, one linear output: the
distortion index. A last sigmoid maps it to the objective difference grade, from 0 (imperceptible)
down to -4 (very annoying); the constants are those of the basic version.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

# Name, smallest and largest value in training, weights to the three hidden units.
_INPUTS = (
    ("BandwidthRefB", 393.916656, 921.0, (-0.502657, 0.436333, 1.219602)),
    ("BandwidthTestB", 361.965332, 881.131226, (4.307481, 3.246017, 1.123743)),
    ("TotalNMRB", -24.045116, 16.212030, (4.984241, -2.211189, -0.192096)),
    ("WinModDiff1B", 1.110661, 107.137772, (0.051056, -1.762424, 4.331315)),
    ("ADBB", -0.206623, 2.886017, (2.321580, 1.789971, -0.754560)),
    ("EHSB", 0.074318, 13.933351, (-5.303901, -3.452257, -10.814982)),
    ("AvgModDiff1B", 1.113683, 63.257874, (2.730991, -6.111805, 1.519223)),
    ("AvgModDiff2B", 0.950345, 1145.018555, (0.624950, -1.331523, -5.955151)),
    ("RmsNoiseLoudB", 0.029985, 14.819740, (3.102889, 0.871260, -5.922878)),
    ("MFPDB", 0.000101, 1.0, (-1.051468, -0.939882, -0.142913)),
    ("RelDistFramesB", 0.0, 1.0, (-1.804679, -0.503610, -0.620456)),
)
_HIDDEN_BIAS = np.array([-2.518254, 0.654841, -2.207228])
_OUTPUT_WEIGHTS = np.array([-3.817048, 4.107138, 4.629582])
_OUTPUT_BIAS = -0.307594
_LOWEST_GRADE, _HIGHEST_GRADE = -3.98, 0.22

VARIABLES = tuple(name for name, *_ in _INPUTS)
_SMALLEST, _LARGEST = np.array([row[1:3] for row in _INPUTS]).T
_HIDDEN_WEIGHTS = np.array([row[3] for row in _INPUTS])


def distortion_index(variables: dict[str, float]) -> float:
    """The network's output for the eleven variables.

    The Recommendation does not clip variables beyond their range in training, and neither is it
    done here.

    Args:
        variables: A value for each name of `VARIABLES`.

    Returns:
        The distortion index (DI), larger for better quality.
    """
    values = np.array([variables[name] for name in VARIABLES])
    scaled = (values - _SMALLEST) / (_LARGEST - _SMALLEST)
    hidden = expit(_HIDDEN_BIAS + scaled @ _HIDDEN_WEIGHTS)
    return float(_OUTPUT_BIAS + hidden @ _OUTPUT_WEIGHTS)


def objective_difference_grade(index: float) -> float:
    """The grade that a distortion index stands for.

    Args:
        index: Of `distortion_index`.

    Returns:
        The objective difference grade (ODG), between -3.98 and 0.22.
    """
    return float(_LOWEST_GRADE + (_HIGHEST_GRADE - _LOWEST_GRADE) * expit(index))
