"""How strong a recording is at each frequency, as in Figure 5 of Lattner & Nistal."""

from __future__ import annotations

import numpy as np

#: Hz; the bands of a profile lie between 0 and this, whatever a recording's rate.
HIGHEST_FREQUENCY = 24000
BANDS = 240


def frequency_profile(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """The power of a recording by frequency, averaged over time and channels.

    Args:
        waveform: float `(channels, samples)`, full scale 1.
        sample_rate: Hz.

    Returns:
        dB relative to full scale per Hz, float64 `(BANDS,)`, in bands of equal width from 0 to
        `HIGHEST_FREQUENCY`; NaN above half the sample rate and where there is no power at all.
    """
    from scipy.signal import welch

    frequencies, power = welch(waveform, sample_rate, nperseg=min(2048, waveform.shape[1]))
    band = (frequencies * BANDS / HIGHEST_FREQUENCY).astype(int)
    inside = band < BANDS
    count, total = (
        np.bincount(band[inside], weights, minlength=BANDS)
        for weights in (None, power.mean(axis=0)[inside])
    )
    profile = np.full(BANDS, np.nan)
    heard = total > 0
    profile[heard] = 10 * np.log10(total[heard] / count[heard])
    return profile
