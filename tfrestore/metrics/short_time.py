"""Rulers for waveforms on short-time spectra, in NumPy: LSD twice, MSE, multi-resolution error.

Lower is better for all four, and 0 is best. P(t, k) and Q(t, k) are the power spectra |STFT|^2 of
the reference and of the estimate in frame t and bin k, not scaled, of samples with full scale 1.

**Two published definitions of the log-spectral distance bear the same name.** They differ by a
factor of ten, in the STFT and in the floor, so that neither can be computed from the other:

|            | `lsd`                            | `log10_lsd`                        |
|------------|----------------------------------|------------------------------------|
| from       | Lattner & Nistal 2021, eq. 5     | Sifringer et al. 2020, eq. 25      |
| unit       | decibels: 10 log10(P / Q)        | decades: log10(P / Q)              |
| frame, hop | 2048, 512                        | 512, 128                           |
| framing    | whole frames only                | centred, ends reflected            |
| floor      | 1e-8                             | none                               |

Both are governed by what is nearly empty: between two signals that sound the same but for a band
that is empty in one, they say how empty, which is the floor's doing. Compare numbers of one
definition, one floor and one sample format only.
"""

from __future__ import annotations

import functools

import numpy as np

from tfrestore.errors import UsageError
from tfrestore.metrics.items import score_items
from tfrestore.metrics.stft import power, spectra

#: The STFTs: frame length, hop length and padding of each ruler.
LSD_STFT = (2048, 512, "valid")
LOG10_LSD_STFT = (512, 128, "center")
MULTI_RESOLUTION_WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)
MULTI_RESOLUTION_STFTS = tuple(
    (window, window // 2, "center") for window in MULTI_RESOLUTION_WINDOWS
)

#: Added to the mean magnitude that the multi-resolution error divides by.
MULTI_RESOLUTION_EPSILON = float(np.finfo("float32").eps)


def lsd(reference, estimate, floor: float = 1e-8) -> np.ndarray:
    """Log-spectral distance in decibels; see the module for the other one, `log10_lsd`.

    Mean over t of sqrt(mean over k of (10 log10(P(t, k) / Q(t, k)))^2), with P and Q raised to
    `floor` where they are below it: Lattner & Nistal, "Stochastic restoration of heavily compressed
    musical audio using generative adversarial networks" (Electronics 2021, 10(11), 1349), eq. 5.
    The paper gives the equation and the STFT's 2048 and 512 samples. The periodic Hann window, no
    padding (a last piece shorter than a frame is not heard), the scale and the floor are ours.

    About the floor: rounding to 16 bits adds noise of variance q^2 / 12, q = 2^-15, to each sample,
    so (q^2 / 12) (3/8 2048) = 6.0e-8 to each P. The default, 1e-8, is 7.8 dB below: a 16-bit
    reference does not notice it, while bands that a codec left empty count as being there, not as
    minus infinity. An empty band against music at P = 1 is 80 dB; a floor ten times higher takes
    10 dB off. If the estimate was written to 16 bits too, its empty bands hold that noise instead.

    Args:
        reference: (..., samples), full scale 1.
        estimate: As `reference`.
        floor: The smallest power that counts, 0 or more; with 0, a bin that is empty in both counts
            as equal and one that is empty in only one makes the result infinite.

    Returns:
        Decibels, 0 or more, lower is better, float64 (...): one value per leading index. 0 where
        both are equal, silence included; a silent signal is `floor` in every bin. NaN where the
        signals have less than 2048 samples or are not finite.

    Raises:
        InputError: if the shapes differ.
        UsageError: if `floor` is negative or not finite.
    """
    return _log_spectral_distance(reference, estimate, LSD_STFT, 10.0, floor)


def log10_lsd(reference, estimate, floor: float = 0.0) -> np.ndarray:
    """Log-spectral distance in decades of power; see the module for the other one, `lsd`.

    Mean over t of sqrt(mean over k of (log10(P(t, k) / Q(t, k)))^2): Sifringer, Stegmüller &
    Alahi, "Audio enhancing with Wasserstein GANs" (2020), eq. 25. The STFT of 512 and 128 samples
    and the missing floor are those of the authors' code, as are the periodic Hann window and the
    centred frames with reflected ends (the defaults of torchaudio's spectrogram, with which it
    works). How empty bins count is ours.

    Args:
        reference: (..., samples).
        estimate: As `reference`.
        floor: The smallest power that counts, 0 or more. With 0, as published, a bin that is empty
            in both counts as equal and one that is empty in only one makes the result infinite.

    Returns:
        Decades (one is 10 dB), 0 or more, lower is better, float64 (...): one value per leading
        index. 0 where both are equal, silence included; infinite where, with a floor of 0, one has
        a stretch of digital silence and the other has not; NaN where the signals have 256 samples
        or less or are not finite.

    Raises:
        InputError: if the shapes differ.
        UsageError: if `floor` is negative or not finite.
    """
    return _log_spectral_distance(reference, estimate, LOG10_LSD_STFT, 1.0, floor)


def sqrt_power_mse(reference, estimate) -> np.ndarray:
    """Mean squared error of the square roots of the power spectra, the "MSE" of Lattner & Nistal.

    Mean over t and k of (sqrt(P(t, k)) - sqrt(Q(t, k)))^2: Lattner & Nistal 2021, eq. 6, with their
    STFT of 2048 and 512 samples. The rest of the STFT is ours and that of `lsd`; with an STFT
    scaled otherwise, the numbers scale with its square.

    Args:
        reference: (..., samples), full scale 1.
        estimate: As `reference`.

    Returns:
        A power, 0 or more, lower is better, float64 (...): one value per leading index. 0 where
        both are equal; the reference's mean power for a silent estimate; NaN where the signals have
        less than 2048 samples or are not finite.

    Raises:
        InputError: if the shapes differ.
    """
    return score_items(_sqrt_power_mse, reference, estimate, ("samples",))


def multi_resolution_stft_error(reference, estimate, joint_channels: bool = False) -> np.ndarray:
    """Relative error of STFT magnitudes, the mean over seven resolutions.

    Mean over the windows 32, 64 ... 2048 of mean | |S_est| - |S_ref| | / (mean |S_ref| + e), means
    over frames and bins, e = 2^-23: Li & Luo, "Apollo: Band-sequence modeling for high-quality
    audio restoration" (ICASSP 2025), eq. 4, as their code has it: hops of half a window, periodic
    Hann, centred frames with reflected ends, not scaled. Their training loss takes the means over
    the channels of an item together, as `joint_channels` does.

    Args:
        reference: (..., samples), or (..., channels, samples) with `joint_channels`.
        estimate: As `reference`.
        joint_channels: Whether the means go over all channels of an item.

    Returns:
        A ratio, 0 or more, lower is better, float64 (...): one value per leading index. 0 where
        both are equal, 1 for a silent estimate; NaN where the reference is silent, or the signals
        have 1024 samples or less or are not finite.

    Raises:
        InputError: if the shapes differ.
    """
    axes = ("channels", "samples") if joint_channels else ("samples",)
    return score_items(_multi_resolution_stft_error, reference, estimate, axes)


def _log_spectral_distance(reference, estimate, stft, per_decade: float, floor: float):
    if not 0 <= floor < np.inf:
        raise UsageError(f"floor is {floor}: it must be a power, 0 or more.")
    score = functools.partial(_distance, stft=stft, per_decade=per_decade, floor=floor)
    return score_items(score, reference, estimate, ("samples",))


def _distance(reference, estimate, stft, per_decade: float, floor: float) -> float:
    total, frames = 0.0, 0
    for pair in _spectra_of_both(reference, estimate, stft):
        ours, theirs = (np.maximum(power(spectrum), floor) for spectrum in pair)
        ratio = np.divide(ours, theirs, out=np.ones_like(ours), where=ours != theirs)
        total += np.sqrt(np.mean((per_decade * np.log10(ratio)) ** 2, axis=1)).sum()
        frames += len(ratio)
    return total / frames if frames else np.nan


def _sqrt_power_mse(reference, estimate) -> float:
    total, count = 0.0, 0
    for pair in _spectra_of_both(reference, estimate, LSD_STFT):
        ours, theirs = (np.sqrt(power(spectrum)) for spectrum in pair)
        total += np.sum((ours - theirs) ** 2)
        count += ours.size
    return total / count if count else np.nan


def _multi_resolution_stft_error(reference, estimate) -> float:
    if not reference.any():
        return np.nan
    channels = list(zip(np.atleast_2d(reference), np.atleast_2d(estimate), strict=True))
    ratios = []
    for stft in MULTI_RESOLUTION_STFTS:
        error, size, count = 0.0, 0.0, 0
        for waveforms in channels:
            for pair in _spectra_of_both(*waveforms, stft):
                ours, theirs = (np.sqrt(power(spectrum)) for spectrum in pair)
                size += ours.sum()
                error += np.abs(theirs - ours).sum()
                count += ours.size
        # Without a frame there is no mean: 0 / 0, which is NaN here.
        ratios.append(np.divide(error, size + MULTI_RESOLUTION_EPSILON * count))
    return np.mean(ratios)


def _spectra_of_both(reference, estimate, stft):
    frame_length, hop_length, padding = stft
    return zip(
        *(
            spectra(waveform, frame_length, hop_length, padding=padding)
            for waveform in (reference, estimate)
        ),
        strict=True,
    )
