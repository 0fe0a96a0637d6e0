"""Samples as bytes: the encodings of raw streams and WAV, as FFmpeg calls them."""

from __future__ import annotations

import numpy as np

#: Bytes of a sample, by encoding.
ENCODINGS = {"u8": 1, "s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4, "f64le": 8}


def decode(data: bytes, encoding: str, channels: int) -> np.ndarray:
    """Whole frames of interleaved samples as a waveform.

    Args:
        data: The bytes, a multiple of all channels' sample.
        encoding: One of `ENCODINGS`.
        channels: Number of channels.

    Returns:
        float32, shape `(channels, samples)`; integers are divided by their full scale.
    """
    if encoding in ("f32le", "f64le"):
        samples = np.frombuffer(data, f"<f{ENCODINGS[encoding]}")
        # What a float32 cannot hold becomes infinite, and is no finite number then as before.
        with np.errstate(over="ignore"):
            samples = samples.astype(np.float32)
    elif encoding == "u8":
        samples = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    elif encoding == "s24le":
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        samples = padded.view("<i4")[:, 0] / np.float32(2**31)
    else:
        size = ENCODINGS[encoding]
        samples = (np.frombuffer(data, f"<i{size}") / 2.0 ** (8 * size - 1)).astype(np.float32)
    return np.ascontiguousarray(samples.reshape(-1, channels).T, dtype=np.float32)


def encode(waveform: np.ndarray, encoding: str) -> bytes:
    """A waveform as interleaved samples, the inverse of `decode`.

    Args:
        waveform: float32, shape `(channels, samples)`; clipped at full scale for integers.
        encoding: One of `ENCODINGS`.
    """
    frames = waveform.T
    if encoding in ("f32le", "f64le"):
        return np.ascontiguousarray(frames, f"<f{ENCODINGS[encoding]}").tobytes()
    size = ENCODINGS[encoding]
    steps = quantize(frames, 8 * size)
    if encoding == "u8":
        return (steps + 128).astype(np.uint8).tobytes()
    if encoding == "s24le":
        return np.ascontiguousarray(
            steps.astype("<i4")[..., None].view(np.uint8)[..., :3]
        ).tobytes()
    return steps.astype(f"<i{size}").tobytes()


def quantize(samples: np.ndarray, bits: int) -> np.ndarray:
    """Samples as whole numbers of so many bits, int64, rounded to nearest and clipped."""
    scale = 2 ** (bits - 1)
    steps = np.rint(samples.astype(np.float64) * scale)
    return np.clip(steps, -scale, scale - 1).astype(np.int64)
