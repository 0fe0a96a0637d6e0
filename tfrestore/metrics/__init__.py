"""The rulers: how far a restored spectrogram or waveform is from the original.

`tfrestore.metrics.<name>(reference, estimate, ...)`; each module loads on first use.
"""

from importlib import import_module

_MODULES = {"psnr": "spectral", "nrmse": "spectral"}
__all__ = sorted(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
