"""Pictures of sound: spectrograms above each other, as PNG files and as arrays."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np


def spectrogram_picture(
    waveforms: dict[str, np.ndarray], sample_rate: int, floor_db: float = -90.0
) -> np.ndarray:
    """Log-magnitude spectrograms of waveforms of one length, one above the other with one scale.

    Args:
        waveforms: title to float `(samples,)`.
        sample_rate: Hz.
        floor_db: what is shown as black, relative to a full-scale sine.

    Returns:
        uint8 `(height, width, 3)`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.2 * len(waveforms) + 0.4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(len(waveforms), 1, sharex=True, squeeze=False)[:, 0]
    frame_length = 2 ** round(np.log2(sample_rate * 0.032))
    for axis, (title, waveform) in zip(axes, waveforms.items(), strict=True):
        padded = np.pad(waveform, (0, max(0, frame_length - len(waveform))))
        *_, image = axis.specgram(
            padded + 1e-12,
            NFFT=frame_length,
            noverlap=frame_length * 3 // 4,
            Fs=sample_rate / 1000,
            scale="dB",
            mode="magnitude",
            vmin=floor_db,
            vmax=-10,
            cmap="magma",
        )
        seconds = axis.get_xlim()[1] / 1000
        ticks = np.linspace(0, seconds, 6)
        axis.set_xticks(ticks * 1000, [f"{tick:.1f}" for tick in ticks])
        axis.set_title(title, loc="left", fontsize="medium")
        axis.set_ylabel("kHz")
    axes[-1].set_xlabel("seconds")
    figure.colorbar(image, ax=axes, label="dB")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def write_picture(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Writes uint8 `(height, width, 3)` as PNG, complete or not at all."""
    from matplotlib.image import imsave

    encoded = io.BytesIO()
    imsave(encoded, picture, format="png")
    path = Path(path)
    beside = path.with_name(f".{path.name}.partial")
    beside.write_bytes(encoded.getvalue())
    os.replace(beside, path)
