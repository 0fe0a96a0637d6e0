"""Keras layers that several model families share: STFT, Griffin-Lim, signed square root.

The names load Keras on first use, so that importing this package costs nothing.
"""

from importlib import import_module

_MODULES = {
    "STFT": "stft",
    "InverseSTFT": "stft",
    "GriffinLim": "griffin_lim",
    "DilatedConv2D": "dilated_convolution",
    "Decimation": "rate_division",
    "Interpolation": "rate_division",
    "LinearPrediction": "linear_prediction",
    "Inception1D": "inception",
    "LongConv1D": "long_convolution",
    "MapNormalization": "map_normalization",
    "MapwisePReLU": "self_gating",
    "SelfGating": "self_gating",
    "SpectralNormalizedConv2D": "spectral_normalization",
    "SignedSquareRoot": "signed_square_root",
    "SignedSquare": "signed_square_root",
    "Subpixel1D": "subpixel",
    "Superpixel1D": "subpixel",
}
__all__ = sorted(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
