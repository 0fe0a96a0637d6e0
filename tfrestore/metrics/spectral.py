"""Rulers for magnitude spectrograms, in NumPy.

`psnr` and `nrmse` are eqs. 1 to 3 of Serra et al. (the inpainter), on patches of 128 x 128
magnitudes scaled to a maximum of 1; they equal scikit-image's `peak_signal_noise_ratio` and
`normalized_root_mse` with its Euclidean default. `spectral_convergence` is the ruler of the
Griffin-Lim literature (Sturmel & Daudet 2011).
"""

from __future__ import annotations

import numpy as np

from tfrestore.errors import InputError


def psnr(reference, estimate, data_range: float = 1.0) -> np.ndarray:
    """Peak signal-to-noise ratio: 10 log10(data_range^2 / mean squared error).

    Args:
        reference: (..., frames, bins).
        estimate: As `reference`.
        data_range: The largest value that a magnitude can have.

    Returns:
        Decibels, float64 (...): one value per leading index, infinite where both are equal.

    Raises:
        InputError: if the shapes differ.
    """
    reference, estimate = _pair(reference, estimate)
    squared_error = np.mean((estimate - reference) ** 2, axis=(-2, -1))
    with np.errstate(divide="ignore"):
        return 10 * np.log10(data_range**2 / squared_error)


def nrmse(reference, estimate) -> np.ndarray:
    """Normalised root mean squared error: ||estimate - reference|| / ||reference||.

    Args:
        reference: (..., frames, bins).
        estimate: As `reference`.

    Returns:
        A ratio, float64 (...): one value per leading index, NaN where the reference is all zero.

    Raises:
        InputError: if the shapes differ.
    """
    reference, estimate = _pair(reference, estimate)
    size = np.linalg.norm(reference, axis=(-2, -1))
    return np.linalg.norm(estimate - reference, axis=(-2, -1)) / np.where(size > 0, size, np.nan)


def spectral_convergence(magnitude, estimate) -> np.ndarray:
    """How far magnitudes are from those asked for: || |estimate| - magnitude || / ||magnitude||.

    Args:
        magnitude: The magnitudes asked for, (..., frames, bins).
        estimate: The waveform's spectrum, complex, or its magnitudes, as `magnitude`.

    Returns:
        A ratio, float64 (...), 0 at best; NaN where `magnitude` is all zero.

    Raises:
        InputError: if the shapes differ.
    """
    return nrmse(magnitude, np.abs(estimate))


def mean_without_infinities(values) -> tuple[float, float, int, int]:
    """Mean of the finite values: Serra et al. leave patches of infinite PSNR out of the mean.

    Args:
        values: Any shape; infinite and undefined (NaN) values are left out.

    Returns:
        (mean, standard deviation, number of values in them, number left out); the first two are NaN
        where no value is finite.
    """
    values = np.asarray(values, "float64").ravel()
    finite = values[np.isfinite(values)]
    mean, deviation = (finite.mean(), finite.std()) if finite.size else (np.nan, np.nan)
    return float(mean), float(deviation), finite.size, values.size - finite.size


def _pair(reference, estimate) -> tuple[np.ndarray, np.ndarray]:
    reference, estimate = np.asarray(reference, "float64"), np.asarray(estimate, "float64")
    if reference.shape != estimate.shape or reference.ndim < 2:
        raise InputError(
            f"The reference has shape {reference.shape} and the estimate {estimate.shape}: "
            "both must be (..., frames, bins)."
        )
    return reference, estimate
