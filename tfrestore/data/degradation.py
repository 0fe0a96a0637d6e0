"""The degradations that the commands name, such as `gaps:waveform` or `mp3:64`.

A degradation says how a track of a catalogue becomes a pair of an intact and a degraded recording.
Most do something to a recording; spectrogram gaps exist in a magnitude spectrogram only (`degrade`
makes the ones that a recording can have); and a MIDI file becomes two recordings, by the instrument
that is heard and by the one that shall be. `degrade`, `prepare` and `evaluate` read the same names.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from tfrestore.audio.bandwidth import FACTORS, check_factor, reduce_bandwidth
from tfrestore.audio.mpeg_frames import ALL_BIT_RATES
from tfrestore.data.gaps import GAP_KINDS, waveform_gaps
from tfrestore.data.instrument_swap import InstrumentSwap
from tfrestore.data.midi_files import MIDI_SUFFIXES
from tfrestore.errors import UsageError

if TYPE_CHECKING:
    from tfrestore.data.tracks import Track

#: Least and largest share of a damaged recording that is lost in `gaps:waveform`: less than the
#: paper's patches lose, as much as a scratched disc or a bad connection.
DAMAGED_SHARES = (0.05, 0.15)

#: What can be done to a recording.
OF_RECORDINGS = (
    f"gaps:KIND ({', '.join(GAP_KINDS)}), mp3:KBIT_PER_SECOND or bandwidth:FACTOR "
    f"({', '.join(map(str, FACTORS))})"
)
DESCRIPTION = f"{OF_RECORDINGS}; of MIDI files instruments:INPUT:TARGET"


class Degradation(abc.ABC):
    """A degradation by its name."""

    #: Whether it exists in a magnitude spectrogram only.
    is_spectral = False

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """As the user writes it."""

    def check(self, track: Track) -> None:
        """Refuses a track that cannot have it.

        Raises:
            UsageError: if it is a MIDI file.
        """
        if track.path.suffix.lower() in MIDI_SUFFIXES:
            raise UsageError(
                f"{track.path} is a MIDI file, which {self.name} does nothing to: choose "
                "instruments:INPUT:TARGET, or recordings."
            )

    @abc.abstractmethod
    def degrade(self, waveform: np.ndarray, sample_rate: int, seed: int, index: int) -> np.ndarray:
        """The damaged recording, float32 `(channels, samples)` like the intact one.

        Args:
            waveform: float32 `(channels, samples)`.
            sample_rate: Hz.
            seed: Decides where gaps are.
            index: Number of the recording, so that recordings have different gaps.

        Raises:
            UsageError: if the degradation exists in spectrograms or MIDI files only, or LAME has
                not the bit rate.
        """

    def pair(
        self,
        track: Track,
        sample_rate: int,
        *,
        start: int = 0,
        seconds: float | None = None,
        mono: bool = False,
        seed: int = 0,
        index: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """What becomes of a track, or of a stretch of it.

        Args:
            track: The track.
            sample_rate: Hz that it is brought to before it is degraded.
            start: Second at which the stretch begins.
            seconds: Its length; `None` for everything to the end.
            mono: Whether to mix it to one channel first.
            seed: As for `degrade`.
            index: As for `degrade`.

        Returns:
            `(intact, degraded)`, float32 `(channels, samples)` each.

        Raises:
            AudioFileError: if the file cannot be read.
            UsageError: if it cannot have the degradation.
        """
        from tfrestore.audio.resampling import resample
        from tfrestore.data.excerpts import read_frames

        self.check(track)
        frames = None if seconds is None else max(1, round(seconds * track.sample_rate))
        waveform, own_rate = read_frames(track, start * track.sample_rate, frames)
        if mono:
            waveform = waveform.mean(axis=0, keepdims=True)
        intact = resample(waveform, own_rate, sample_rate)
        return intact, self.degrade(intact, sample_rate, seed, index)


@dataclass(frozen=True)
class Gaps(Degradation):
    """Gaps of a kind.

    Attributes:
        kind: One of `GAP_KINDS`.
    """

    kind: str

    @property
    def is_spectral(self) -> bool:
        """Whether it exists in a magnitude spectrogram only."""
        return self.kind != "waveform"

    @property
    def name(self) -> str:
        """As the user writes it."""
        return f"gaps:{self.kind}"

    def degrade(self, waveform: np.ndarray, sample_rate: int, seed: int, index: int) -> np.ndarray:
        """Silences stretches of 10 to 50 ms; see `Degradation`."""
        if self.is_spectral:
            raise UsageError(
                f"{self.name} exists in a spectrogram only; gaps:waveform is what a recording has."
            )
        degraded = waveform.copy()
        gaps = waveform_gaps(waveform.shape[1], sample_rate, seed, index, shares=DAMAGED_SHARES)
        for start, stop in gaps:
            degraded[:, start:stop] = 0.0
        return degraded


@dataclass(frozen=True)
class Mp3(Degradation):
    """The losses of an MP3.

    Attributes:
        kbit_per_second: Its bit rate.
    """

    kbit_per_second: int

    @property
    def name(self) -> str:
        """As the user writes it."""
        return f"mp3:{self.kbit_per_second}"

    def degrade(self, waveform: np.ndarray, sample_rate: int, seed: int, index: int) -> np.ndarray:
        """Encodes and decodes; see `Degradation`."""
        from tfrestore.audio.mp3 import mp3_round_trip

        return mp3_round_trip(waveform, sample_rate, self.kbit_per_second)


@dataclass(frozen=True)
class Bandwidth(Degradation):
    """A sampling rate divided by a factor, and what was above its half lost.

    Attributes:
        factor: One of `FACTORS`.
    """

    factor: int

    @property
    def name(self) -> str:
        """As the user writes it."""
        return f"bandwidth:{self.factor}"

    def degrade(self, waveform: np.ndarray, sample_rate: int, seed: int, index: int) -> np.ndarray:
        """Downsamples and upsamples; see `Degradation`."""
        return reduce_bandwidth(waveform, self.factor)


@dataclass(frozen=True)
class Instruments(Degradation):
    """Two instruments that play a MIDI file: the intact recording is the target's.

    Attributes:
        swap: The instruments.
    """

    swap: InstrumentSwap

    @property
    def name(self) -> str:
        """As the user writes it."""
        swap, parts = self.swap, ["instruments", str(self.swap.input), str(self.swap.target)]
        for each in fields(swap)[2:]:
            if (value := getattr(swap, each.name)) != each.default:
                parts.append(f"{each.name}={str(value).lower() if value is True else value}")
        return ":".join(parts)

    def check(self, track: Track) -> None:
        """Refuses a track that is no MIDI file.

        Raises:
            UsageError: if it is none.
        """
        if track.path.suffix.lower() not in MIDI_SUFFIXES:
            raise UsageError(
                f"{track.path} is no MIDI file, and {self.name} is for such only: give "
                "--data midi:FOLDER or maestro:FOLDER."
            )

    def degrade(self, waveform: np.ndarray, sample_rate: int, seed: int, index: int) -> np.ndarray:
        """Refuses: a recording has one instrument already; see `Degradation`."""
        raise UsageError(f"{self.name} is for MIDI files; of a recording give {OF_RECORDINGS}.")

    def pair(
        self,
        track: Track,
        sample_rate: int,
        *,
        start: int = 0,
        seconds: float | None = None,
        mono: bool = False,
        seed: int = 0,
        index: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Renders the track twice, in one channel; see `Degradation`."""
        from tfrestore.audio.resampling import resample
        from tfrestore.data.midi_rendering import SYNTHESIZER_RATE, pair_renderer, piece_length

        self.check(track)
        begin = start * SYNTHESIZER_RATE
        samples = max(1, piece_length(track.path) - begin)
        if seconds is not None:
            samples = min(samples, max(1, round(seconds * SYNTHESIZER_RATE)))
        degraded, intact = (
            resample(waveform[None], SYNTHESIZER_RATE, sample_rate)
            for waveform in pair_renderer(self.swap).render(track.path, begin, samples)
        )
        return intact, degraded


def parse_degradation(name: str) -> Degradation:
    """The degradation of a name such as `gaps:frames` or `mp3:32`; `gaps` is `gaps:waveform`.

    Instruments are programs or names of General MIDI, and may be followed by what else
    `InstrumentSwap` takes: `instruments:0:electric piano 1:drums=true:reverb=40`.

    Raises:
        UsageError: if there is none of that name; the message says which there are.
    """
    family, _, detail = name.partition(":")
    if name == "gaps":
        detail = "waveform"
    if family == "gaps" and detail in GAP_KINDS:
        return Gaps(detail)
    if family == "mp3" and detail.isdecimal():
        if int(detail) not in ALL_BIT_RATES:
            rates = ", ".join(map(str, ALL_BIT_RATES))
            raise UsageError(f"{name}: MP3 has no such bit rate; choose one of {rates} kbit/s.")
        return Mp3(int(detail))
    if family == "bandwidth" and detail.isdecimal():
        check_factor(int(detail))
        return Bandwidth(int(detail))
    if family == "instruments" and ":" in detail:
        return Instruments(_parse_swap(name))
    raise UsageError(f"there is no degradation {name!r}; give {DESCRIPTION}.")


def _parse_swap(name: str) -> InstrumentSwap:
    """The swap of `instruments:INPUT:TARGET`, with `:OPTION=VALUE` behind it."""
    _, heard, wanted, *options = name.split(":")
    kinds = {each.name: type(each.default) for each in fields(InstrumentSwap)[2:]}
    values = {}
    for option in options:
        key, _, value = option.partition("=")
        kind = kinds.get(key)
        if kind is None:
            raise UsageError(f"{name}: there is no option {key!r}; options: {', '.join(kinds)}.")
        if kind is bool and value in ("true", "false"):
            values[key] = value == "true"
        elif kind is int and value.isdecimal():
            values[key] = int(value)
        elif kind not in (bool, int) and value:
            values[key] = value
        else:
            wanted_kind = {bool: "true or false", int: "a number"}.get(kind, "a value")
            raise UsageError(f"{name}: {key} is {value!r}; give {wanted_kind}.")
    return InstrumentSwap(heard, wanted, **values)
