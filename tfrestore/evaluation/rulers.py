"""The rulers that `evaluate` has: how each is called, shown and read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfrestore.errors import UsageError


@dataclass(frozen=True)
class Ruler:
    """How one number is shown and read.

    Attributes:
        label: For headings, with the unit.
        higher_is_better: `None` for a number that is neither, such as a variable of PEAQ's.
        decimals: How many of them mean something.
    """

    label: str
    higher_is_better: bool | None
    decimals: int = 2

    @property
    def arrow(self) -> str:
        """Which direction is better."""
        return {True: "↑", False: "↓", None: ""}[self.higher_is_better]

    def gain(self, before, after):
        """How much better `after` is than `before`: positive is better, for every ruler."""
        return before - after if self.higher_is_better is False else after - before


#: The eleven variables that PEAQ's network reads, by the Recommendation's names.
PEAQ_VARIABLES = (
    "BandwidthRefB",
    "BandwidthTestB",
    "TotalNMRB",
    "WinModDiff1B",
    "ADBB",
    "EHSB",
    "AvgModDiff1B",
    "AvgModDiff2B",
    "RmsNoiseLoudB",
    "MFPDB",
    "RelDistFramesB",
)

RULERS = {
    "psnr": Ruler("PSNR (dB)", True),
    "nrmse": Ruler("NRMSE", False, 3),
    "snr": Ruler("SNR (dB)", True),
    "si_sdr": Ruler("SI-SDR (dB)", True),
    "sdr": Ruler("SDR (dB)", True),
    "lsd": Ruler("LSD (dB)", False),
    "log10_lsd": Ruler("LSD, log10", False, 3),
    "sqrt_power_mse": Ruler("MSE", False, 3),
    "multi_resolution_stft_error": Ruler("MR-STFT error", False, 3),
    "odg": Ruler("PEAQ ODG", True),
    "di": Ruler("PEAQ DI", True),
    "visqol": Ruler("ViSQOL", True),
    **{name: Ruler(name, None) for name in PEAQ_VARIABLES},
}

#: What a user can ask for, and the rulers that each of them gives.
CHOICES = {
    **{name: (name,) for name in list(RULERS)[:9]},
    "peaq": ("odg", "di", *PEAQ_VARIABLES),
    "visqol": ("visqol",),
}


def parse_choices(names: Sequence[str] | None) -> tuple[str, ...]:
    """The choices that a user named; all of them for `None`.

    Raises:
        UsageError: if there is none of a name.
    """
    for name in names or ():
        if name not in CHOICES:
            raise UsageError(f"there is no metric {name!r}; choose from {', '.join(CHOICES)}.")
    return tuple(name for name in CHOICES if names is None or name in names)
