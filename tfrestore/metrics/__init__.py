"""The rulers: how far a restored spectrogram or waveform is from the original.

Functions on arrays are `tfrestore.metrics.<name>(reference, estimate, ...)`, in small letters;
Keras metrics for `compile(metrics=[...])` are classes in capital ones. Each module loads on first
use.
"""

from importlib import import_module

_MODULES = {
    "log10_lsd": "short_time",
    "lsd": "short_time",
    "magnitude_patches": "spectral",
    "multi_resolution_stft_error": "short_time",
    "nrmse": "spectral",
    "peaq": "peaq_basic",
    "psnr": "spectral",
    "sdr": "waveform",
    "si_sdr": "waveform",
    "snr": "waveform",
    "sqrt_power_mse": "short_time",
    "visqol": "visqol_audio",
    **dict.fromkeys(
        (
            "LSD",
            "Log10LSD",
            "MultiResolutionSTFTError",
            "NRMSE",
            "PSNR",
            "SISDR",
            "SNR",
            "SqrtPowerMSE",
            "ViSQOL",
        ),
        "keras_metrics",
    ),
}
__all__ = sorted(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
