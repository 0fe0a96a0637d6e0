"""Lost bandwidth: what is left of a recording that was kept at a fraction of its sampling rate.

Super-resolution of audio is trained and scored on such recordings (Kim & Sathe, "Bandwidth
extension on raw audio via generative adversarial networks", 2018, whose factors are 2, 4 and 6;
Sifringer et al. 2020 build on it). The filter in front of the decimation is soxr's: linear phase,
so that nothing is shifted, flat within 0.01 dB to 92 % of the new Nyquist frequency and below
-150 dB from that frequency on.
"""

from __future__ import annotations

import numpy as np

from tfrestore.errors import UsageError

#: The papers' factors, and 3 in between for what is trained on several, which the commands take.
FACTORS = (2, 3, 4, 6)

#: Samples on both sides, times the factor, that decide what is left of a stretch.
MARGIN = 320


def check_factor(factor: int) -> None:
    """Refuses a factor that is none of `FACTORS`.

    Raises:
        UsageError: if it is none.
    """
    if factor not in FACTORS:
        raise UsageError(
            f"a bandwidth cannot be divided by {factor} here: choose one of "
            f"{', '.join(map(str, FACTORS))}."
        )


def reduce_bandwidth(waveform: np.ndarray, factor: int) -> np.ndarray:
    """Downsamples by a factor behind an anti-alias filter, and upsamples back.

    Args:
        waveform: float32 `(channels, samples)`.
        factor: 2, 3, 4 or 6; of a rate of 44.1 kHz, 22.05, 14.7, 11.025 or 7.35 kHz are left, and
            with them what is below 11.0, 7.35, 5.5 or 3.7 kHz.

    Returns:
        float32 `(channels, samples)`, sample-aligned.

    Raises:
        UsageError: if the factor is another.
    """
    # Commands that only name the factors need not wait for soxr.
    from tfrestore.audio.resampling import resample

    check_factor(factor)
    # To soxr only the ratio of rates matters, and a rate itself need not be divisible.
    narrow = resample(waveform, factor, 1)
    return resample(narrow, 1, factor)[:, : waveform.shape[1]]
