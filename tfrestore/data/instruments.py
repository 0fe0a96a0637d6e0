"""The instruments of General MIDI, by number or by name."""

from __future__ import annotations

import difflib

from tfrestore.data.sound_font import check_midi_packages
from tfrestore.errors import UsageError


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
