"""The quality that listeners gave to sounds so similar: ViSQOL's support vector regression.

Chinen et al., "ViSQOL v3" (QoMEX 2020): a nu-SVR with a radial kernel on the NSIM of the bands,
trained by its authors on listening tests with music. `model/libsvm_nu_svr_model.txt` is the file of
Google's ViSQOL 3.3 (Apache-2.0, see the NOTICE beside it), in libsvm's format. It is evaluated here
and not by libsvm, whose threads (GNU's OpenMP) are lost in a fork, so that a process forked after a
first evaluation waits for them for ever in its own.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import NamedTuple

import numpy as np

_MODEL = "model", "libsvm_nu_svr_model.txt"
_WORST, _BEST = 1.0, 5.0
# Mean similarity below which the quality is the worst, whatever the regression says.
_LEAST_SIMILARITY = 0.15


class QualityRegression(NamedTuple):
    """Support vectors, (vectors, bands), their weights, (vectors,), and the kernel's numbers."""

    vectors: np.ndarray
    weights: np.ndarray
    gamma: float
    rho: float

    def mean_opinion_score(self, band_similarities: np.ndarray) -> float:
        """The mean opinion score to be expected of listeners (MOS-LQO).

        Args:
            band_similarities: float64 (bands,), NSIM of the bands from low to high.

        Returns:
            1 (bad) to 5 (excellent); 4.732 where all similarities are 1, the highest.
        """
        if band_similarities.mean() < _LEAST_SIMILARITY:
            return _WORST
        distances = ((self.vectors - band_similarities) ** 2).sum(axis=1)
        score = self.weights @ np.exp(-self.gamma * distances) - self.rho
        return float(np.clip(score, _WORST, _BEST))


@functools.lru_cache(maxsize=1)
def trained_regression() -> QualityRegression:
    """The regression that the authors trained, read once in a process."""
    text = resources.files(__package__).joinpath(*_MODEL).read_text("ascii")
    header, _, rows = text.partition("\nSV\n")
    numbers = dict(line.split(maxsplit=1) for line in header.splitlines())
    # Each row is a weight and, as band:value, a vector.
    table = np.array(
        [[entry.rpartition(":")[2] for entry in row.split()] for row in rows.splitlines()],
        "float64",
    )
    return QualityRegression(
        table[:, 1:], table[:, 0], float(numbers["gamma"]), float(numbers["rho"])
    )
