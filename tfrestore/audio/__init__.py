"""What sound is: files in and out, resampling, the MP3 round trip, framing.

Waveforms are float32 NumPy arrays of shape `(channels, samples)`. Nothing here knows a model. The
names below are loaded when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib

_MODULES = {
    "framing": ("ChunkPlan", "process_in_chunks"),
    "mp3": (
        "decode_mp3",
        "encode_mp3",
        "mp3_bit_rates",
        "mp3_round_trip",
        "mp3_sample_rate",
    ),
    "reading": ("AUDIO_SUFFIXES", "AudioInfo", "AudioReader", "read", "read_info"),
    "resampling": ("StreamResampler", "resample", "resampled_length"),
    "tf_decoding": ("decode_excerpt", "tensorflow_io_available"),
    "writing": ("AudioWriter", "writable_subtypes", "write"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
