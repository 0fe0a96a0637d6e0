"""How strong a recording is at each frequency, as in Figure 5 of Lattner & Nistal."""

from __future__ import annotations

import numpy as np

from tfrestore.metrics.stft import power, spectra

#: Hz; the bands of a profile lie between 0 and this, whatever a recording's rate.
HIGHEST_FREQUENCY = 24000
BANDS = 240

#: Samples of the frames over which power is averaged; they overlap by half.
FRAME_LENGTH = 2048


def frequency_profile(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """The power of a recording by frequency, averaged over time and channels.

    Args:
        waveform: float `(channels, samples)`, full scale 1.
        sample_rate: Hz.

    Returns:
        dB relative to full scale per Hz, float64 `(BANDS,)`, in bands of equal width from 0 to
        `HIGHEST_FREQUENCY`; NaN above half the sample rate and where there is no power at all.
    """
    frame_length = min(FRAME_LENGTH, waveform.shape[1])
    density = np.zeros(frame_length // 2 + 1)
    frames = 0
    for channel in waveform:
        for block in spectra(channel.astype(np.float64), frame_length, max(1, frame_length // 2)):
            density += power(block).sum(axis=0)
            frames += len(block)
    # A periodic Hann window has the energy 3/8 of its length; half of a spectrum is left out.
    density *= 2 / (frames * 3 / 8 * frame_length * sample_rate)
    frequencies = np.arange(len(density)) * sample_rate / frame_length
    band = (frequencies * BANDS / HIGHEST_FREQUENCY).astype(int)
    inside = band < BANDS
    count, total = (
        np.bincount(band[inside], weights, minlength=BANDS) for weights in (None, density[inside])
    )
    profile = np.full(BANDS, np.nan)
    heard = total > 0
    profile[heard] = 10 * np.log10(total[heard] / count[heard])
    return profile
