"""Which of a stochastic model's versions of a recording is meant: noise vectors and their names.

A version is decided by one vector of standard normal values for the whole recording (Lattner &
Nistal 2021, 4.1.1, so that its character is the same from beginning to end). It is named by a seed
and the number of the candidate, or given by hand.
"""

from __future__ import annotations

import os
from statistics import NormalDist

import numpy as np

from tfrestore.errors import UsageError

#: The version that is made where none is asked for.
DEFAULT_SEED, DEFAULT_CANDIDATE = 0, 1


def candidate_noise(seed: int, candidate: int, size: int) -> np.ndarray:
    """The noise vector of a candidate, the same on every machine and with every NumPy.

    Raw 64-bit words of the counter-based Philox generator with the key (seed, candidate) (Salmon et
    al. 2011) become fractions between 0 and 1 by their upper 52 bits, and these normal values by
    the inverse of the distribution function.

    Args:
        seed: 0 to 2**64 - 1.
        candidate: 1 to 2**64 - 1.
        size: Length of the vector.

    Returns:
        float32 `(size,)`.

    Raises:
        UsageError: if one of the numbers is out of range.
    """
    for name, number, least in (("seed", seed, 0), ("candidate", candidate, 1)):
        if not least <= number < 2**64:
            raise UsageError(
                f"{name} {number} is out of range: give an integer from {least} to 2**64 - 1."
            )
    words = np.random.Philox(key=np.array([seed, candidate], np.uint64)).random_raw(size)
    # With half a step added, no fraction is 0 or 1, where the inverse is infinite.
    fractions = ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return np.array([NormalDist().inv_cdf(each) for each in fractions], np.float32)


def checked_noise(noise, size: int | None = None) -> np.ndarray:
    """A noise vector that was given by hand, as the models take it.

    Args:
        noise: float array `(size,)`.
        size: The length it must have; `None` for any.

    Returns:
        float32 `(size,)`.

    Raises:
        UsageError: if it is of another shape or dtype, or a value is not finite in float32.
    """
    noise = np.asarray(noise)
    wanted = "one vector of floats" if size is None else f"{size} floats, shape ({size},)"
    if noise.ndim != 1 or not len(noise) or len(noise) != (size or len(noise)):
        raise UsageError(f"noise of the shape {noise.shape} cannot be used: give {wanted}.")
    if not np.issubdtype(noise.dtype, np.floating):
        raise UsageError(f"noise of the dtype {noise.dtype} cannot be used: give {wanted}.")
    with np.errstate(over="ignore"):
        noise = noise.astype(np.float32)
    if not np.isfinite(noise).all():
        raise UsageError(
            "noise with values that are NaN, infinite or beyond float32 cannot be used: give "
            "finite ones; standard normal values are usual."
        )
    return noise


def read_noise(path: str | os.PathLike) -> np.ndarray:
    """A noise vector that `numpy.save` wrote.

    Returns:
        float32 `(values,)`.

    Raises:
        UsageError: if the file cannot be read, is not one array, or the array is no noise vector.
    """
    try:
        # Mapped, so that a header that promises more than memory holds is found out.
        noise = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}).") from None
    except Exception:
        # NumPy's parser of headers fails in many ways on what is no header.
        noise = None
    if not isinstance(noise, np.ndarray):
        raise UsageError(f"{path}: not one array of numbers in NumPy's format; use numpy.save.")
    try:
        return checked_noise(noise)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
