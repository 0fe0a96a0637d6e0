"""The short-time Fourier transform of the rulers, in NumPy and double precision.

It is that of `tfrestore.layers.STFT` with a periodic Hann window and without scaling; its paddings
"valid" (whole frames only) and "center" (half a frame reflected at both ends, as `torch.stft` and
`torchaudio` do) mean the same. It comes in blocks of frames, so that memory does not grow with the
length of a recording.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.fft

# Samples of one block of frames: 1 MiB in double precision, which stays in the processor's cache
# through window, transform and square.
_BLOCK_SAMPLES = 1 << 17


def spectra(
    waveform: np.ndarray,
    frame_length: int,
    hop_length: int,
    fft_length: int | None = None,
    padding: str = "valid",
) -> Iterator[np.ndarray]:
    """Transforms a waveform, block by block.

    Args:
        waveform: float64 (samples,).
        frame_length: Samples per frame.
        hop_length: Samples between the starts of neighbouring frames.
        fft_length: Points of the transform, `frame_length` by default; a shorter one keeps the
            windowed frame's first `fft_length` samples.
        padding: "valid" or "center".

    Yields:
        complex128 (frames, fft_length // 2 + 1), in order. "valid" has 1 + (samples -
        frame_length) // hop_length frames in all, "center" 1 + (samples - frame_length % 2) //
        hop_length. Nothing of a waveform that is too short: of less than a frame for "valid", of
        half a frame or less for "center".
    """
    if padding == "center":
        half = frame_length // 2
        if len(waveform) <= half:
            return
        waveform = np.pad(waveform, half, mode="reflect")
    if len(waveform) < frame_length:
        return
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame_length) / frame_length)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, frame_length)[::hop_length]
    block = max(1, _BLOCK_SAMPLES // frame_length)
    for start in range(0, len(frames), block):
        yield scipy.fft.rfft(frames[start : start + block] * hann, fft_length)


def power(spectrum: np.ndarray) -> np.ndarray:
    """The squared magnitude of a complex spectrum, without the root that `abs` takes."""
    return spectrum.real**2 + spectrum.imag**2
