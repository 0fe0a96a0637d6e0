"""Which two instruments of General MIDI play a piece, by number or by name, and how."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from tfrestore.data.sound_font import check_midi_packages
from tfrestore.errors import UsageError

#: Which of the synthesizer's two channels is taken.
CHANNELS = ("left", "right", "mean")


@dataclass(frozen=True)
class InstrumentSwap:
    """Two instruments, and how they are played.

    Args:
        input: Program, 0 to 127, or General MIDI name of the instrument that is heard. Defaults to
            `0`, a grand piano.
        target: The same of the one that shall be heard. Defaults to `4`, an electric piano.
        sound_font: Path of a SoundFont 2 file; `None`, the default, for TimGM6mb, which pretty_midi
            carries.
        drums: Whether drums are played, by the same drum kit in both. Defaults to `False`.
        channel: `"left"`, `"right"` or `"mean"`. Defaults to `"left"`.
        volume: 0 to 127, as controller 7: the level is 40 log10(volume / 127) dB. Defaults to `64`,
            -11.9 dB, at which none of 46 pieces of free music reached full scale; beyond it,
            samples are clipped.
        reverb: 0 to 127, as controller 91: how much of a room of 1.2 s is added; at 127 as much as
            the instrument itself. Defaults to `0`.
        chorus: 0 to 127, as controller 93, of three wandering voices. Defaults to `0`.

    Raises:
        UsageError: if there is no such instrument, or another argument is none of those possible.
    """

    input: int | str = 0
    target: int | str = 4
    sound_font: str | None = None
    drums: bool = False
    channel: str = "left"
    volume: int = 64
    reverb: int = 0
    chorus: int = 0

    def __post_init__(self):
        for name in ("input", "target"):
            object.__setattr__(self, name, parse_program(getattr(self, name)))
        if self.channel not in CHANNELS:
            raise UsageError(
                f"the channel is {self.channel!r}: choose one of {', '.join(CHANNELS)}."
            )
        for name in ("volume", "reverb", "chorus"):
            if not 0 <= getattr(self, name) <= 127:
                raise UsageError(f"{name} is {getattr(self, name)}: give a number from 0 to 127.")


def parse_program(instrument: int | str) -> int:
    """The program number of an instrument.

    Args:
        instrument: A number from 0 to 127, or a name of General MIDI such as `electric piano 1`,
            upper or lower case, as pretty_midi spells them.

    Raises:
        UsageError: if there is no such instrument; the message says which are called nearly so.
    """
    text = " ".join(str(instrument).split())
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is not None:
        if not 0 <= number <= 127:
            raise UsageError(f"instrument {number} is out of range: programs are 0 to 127.")
        return number
    check_midi_packages("instruments are named")
    from pretty_midi.constants import INSTRUMENT_MAP

    names = [name.lower() for name in INSTRUMENT_MAP]
    if text.lower() in names:
        return names.index(text.lower())
    close = difflib.get_close_matches(text.lower(), names, n=3)
    close += [name for name in names if text and text.lower() in name and name not in close][:3]
    hint = f"did you mean {', or '.join(close[:4])}?" if close else "electric piano 1 is one."
    raise UsageError(
        f"there is no instrument {text!r}: give a program from 0 to 127 or a name of General MIDI; "
        f"{hint}"
    )
