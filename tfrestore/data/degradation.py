"""The degradations that the commands name, such as `gaps:waveform` or `mp3:64`.

Spectrogram gaps exist in a magnitude spectrogram only; `degrade` makes the ones that a recording
can have. Both `degrade` and `evaluate` read the same names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfrestore.audio.mpeg_frames import ALL_BIT_RATES
from tfrestore.data.gaps import GAP_KINDS, waveform_gaps
from tfrestore.errors import UsageError

#: Least and largest share of a damaged recording that is lost in `gaps:waveform`: less than the
#: paper's patches lose, as much as a scratched disc or a bad connection.
DAMAGED_SHARES = (0.05, 0.15)

DESCRIPTION = "gaps:KIND (" + ", ".join(GAP_KINDS) + ") or mp3:KBIT_PER_SECOND"


@dataclass(frozen=True)
class Degradation:
    """A degradation by its name.

    Attributes:
        family: `"gaps"` or `"mp3"`.
        kind: A gap kind; empty for MP3.
        kbit_per_second: The bit rate; 0 for gaps.
    """

    family: str
    kind: str = ""
    kbit_per_second: int = 0

    @property
    def is_spectral(self) -> bool:
        """Whether it exists in a magnitude spectrogram only."""
        return self.family == "gaps" and self.kind != "waveform"

    @property
    def name(self) -> str:
        """As the user writes it."""
        return f"{self.family}:{self.kind or self.kbit_per_second}"

    def degrade(self, waveform: np.ndarray, sample_rate: int, seed: int, index: int) -> np.ndarray:
        """The damaged recording, float32 `(channels, samples)` like the intact one.

        Args:
            waveform: float32 `(channels, samples)`.
            sample_rate: Hz.
            seed: Decides where gaps are.
            index: Number of the recording, so that recordings have different gaps.

        Raises:
            UsageError: if the degradation exists in spectrograms only, or LAME has not the bit
            rate.
        """
        if self.family == "mp3":
            from tfrestore.audio.mp3 import mp3_round_trip

            return mp3_round_trip(waveform, sample_rate, self.kbit_per_second)
        if self.is_spectral:
            raise UsageError(
                f"{self.name} exists in a spectrogram only; gaps:waveform is what a recording has."
            )
        degraded = waveform.copy()
        gaps = waveform_gaps(waveform.shape[1], sample_rate, seed, index, shares=DAMAGED_SHARES)
        for start, stop in gaps:
            degraded[:, start:stop] = 0.0
        return degraded


def parse_degradation(name: str) -> Degradation:
    """The degradation of a name such as `gaps:frames` or `mp3:32`; `gaps` is `gaps:waveform`.

    Raises:
        UsageError: if there is none of that name; the message says which there are.
    """
    family, _, detail = name.partition(":")
    if name == "gaps":
        detail = "waveform"
    if family == "gaps" and detail in GAP_KINDS:
        return Degradation("gaps", kind=detail)
    if family == "mp3" and detail.isdecimal():
        if int(detail) not in ALL_BIT_RATES:
            rates = ", ".join(map(str, ALL_BIT_RATES))
            raise UsageError(f"{name}: MP3 has no such bit rate; choose one of {rates} kbit/s.")
        return Degradation("mp3", kbit_per_second=int(detail))
    raise UsageError(f"there is no degradation {name!r}; give {DESCRIPTION}.")
