"""A sound to try models with: nothing of it depends on files, and every model has work to do."""

from __future__ import annotations

import numpy as np


def tone_with_gap(samples: int, sample_rate: int) -> np.ndarray:
    """A tone of 440 Hz with 20 ms of silence in its middle, so that a gap can be filled.

    Args:
        samples: How many.
        sample_rate: Hz.

    Returns:
        float32 `(samples,)`, at most 0.3.
    """
    tone = 0.3 * np.sin(2 * np.pi * 440 / sample_rate * np.arange(samples))
    tone[samples // 2 : samples // 2 + sample_rate // 50] = 0
    return tone.astype(np.float32)
