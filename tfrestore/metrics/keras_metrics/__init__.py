"""The rulers as Keras metrics for `compile(metrics=[...])`: means over items.

They are those of `tfrestore.metrics`, computed in float32 on any backend and under any precision
policy: equal to 1e-5, but for what a docstring says about where float32 ends. ViSQOL is computed
outside of the graph.
"""

from tfrestore.metrics.keras_metrics.patches import NRMSE, PSNR
from tfrestore.metrics.keras_metrics.short_time import (
    LSD,
    Log10LSD,
    MultiResolutionSTFTError,
    SqrtPowerMSE,
)
from tfrestore.metrics.keras_metrics.visqol import ViSQOL
from tfrestore.metrics.keras_metrics.waveform import SISDR, SNR

__all__ = [
    "LSD",
    "NRMSE",
    "PSNR",
    "SISDR",
    "SNR",
    "Log10LSD",
    "MultiResolutionSTFTError",
    "SqrtPowerMSE",
    "ViSQOL",
]
