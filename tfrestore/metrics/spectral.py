"""Rulers for magnitude spectrograms, in NumPy.

`psnr` and `nrmse` are eqs. 1 to 3 of Serra et al. (the inpainter), on patches of 128 x 128
magnitudes scaled to a maximum of 1; they equal scikit-image's `peak_signal_noise_ratio` and
`normalized_root_mse` with its Euclidean default; `magnitude_patches` makes such patches of a
waveform. `spectral_convergence` is the ruler of the Griffin-Lim literature (Sturmel & Daudet 2011).
"""

from __future__ import annotations

import numpy as np

from tfrestore.metrics.items import pair
from tfrestore.metrics.stft import power, spectra

# Serra et al.'s analysis at 16 kHz: patches are 128 frames, 512 ms, by 128 bins, 62.7 Hz apart. A
# transform of 255 points, one less than a frame has, gives exactly 128 bins.
_FRAME_LENGTH, _HOP_LENGTH, _FFT_LENGTH = 256, 64, 255
_PATCH_FRAMES = 128
_PATCH_BINS = _FFT_LENGTH // 2 + 1


def magnitude_patches(waveform, scale: float = 128.0, offset: float = 0.001) -> np.ndarray:
    """The patches on which Serra et al. take PSNR and NRMSE: magnitudes / scale + offset.

    Magnitudes of an STFT with frames of 256 samples, a hop of 64, a periodic Hann window and 255
    points, whole frames only, cut into patches of 128 frames. A last piece shorter than a patch is
    left out, as in the paper. They are those that the inpainter is scored on, so
    `psnr(magnitude_patches(a), magnitude_patches(b))` is that paper's score for any tool's output.

    The paper scales to a maximum of 1. Its authors' code divides by the largest magnitude of their
    training set, 127.99, and adds 0.001; the default, 128, is the largest magnitude that a waveform
    within full scale can have, the sum of the window. So the patches lie between 0.001 and 1.001.

    Args:
        waveform: (..., samples), mono at 16 kHz, full scale 1.
        scale: What magnitudes are divided by.
        offset: What is added then.

    Returns:
        float64 (..., patches, 128, 128), frames by bins: one patch for every 8192 samples, 512 ms,
        the first of which takes 8384; none for a recording shorter than that.
    """
    waveform = np.asarray(waveform, "float64")
    *leading, samples = waveform.shape
    patches = max(0, 1 + (samples - _FRAME_LENGTH) // _HOP_LENGTH) // _PATCH_FRAMES
    magnitudes = np.empty((*leading, patches * _PATCH_FRAMES, _PATCH_BINS))
    kept = waveform[..., : (patches * _PATCH_FRAMES - 1) * _HOP_LENGTH + _FRAME_LENGTH]
    for index in np.ndindex(*leading):
        start = 0
        for spectrum in spectra(kept[index], _FRAME_LENGTH, _HOP_LENGTH, _FFT_LENGTH):
            stop = start + len(spectrum)
            magnitudes[index][start:stop] = np.sqrt(power(spectrum)) / scale + offset
            start = stop
    return magnitudes.reshape(*leading, patches, _PATCH_FRAMES, _PATCH_BINS)


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
    reference, estimate = _patches(reference, estimate)
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
    reference, estimate = _patches(reference, estimate)
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


def _patches(reference, estimate) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.asarray(x, "float64") for x in pair(reference, estimate, ("frames", "bins")))
