"""Reading MIDI files: which notes there are, when they sound, and on which drum kit.

Standard MIDI Files 1.0, formats 0 and 1. They are read here and not with a library for what was
measured of the two that are installed with the extra `midi`: symusic 0.5.8 writes beyond its memory
on some damaged files and takes the process with it (2 of 19,000 randomly damaged ones); mido 1.3.3
takes 0.15 s for a file as large as MAESTRO's and refuses files over things that are not heard, such
as a key signature that does not exist (2 of 277 files of free music).

A synthesizer that knows nothing but notes plays what is read: the sustain pedal is in the ends of
the notes. Pitch bends and other controllers are not heard.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tfrestore.errors import AudioFileError

MIDI_SUFFIXES = frozenset({".mid", ".midi"})

#: One note: seconds; MIDI numbers; the program of the drum kit, or -1 where it is no drum.
NOTE = np.dtype(
    [("start", "f8"), ("end", "f8"), ("pitch", "u1"), ("velocity", "u1"), ("kit", "i2")]
)

#: Longer notes end after so many seconds: none is meant, but a damaged file may end none.
LONGEST_NOTE = 60.0

_DRUM_CHANNEL = 9
_SUSTAIN = 64
_MICROSECONDS_PER_QUARTER = 500_000
_LONGEST_HOURS = 24
_LARGEST_BYTES = 64 * 2**20


class _DamagedError(Exception):
    """What is wrong with a file, in words that go into a sentence."""


@dataclass
class _Events:
    """What the tracks of a file say; times are ticks.

    Attributes:
        notes: (start, end, channel, pitch, velocity).
        tempos: (tick, microseconds per quarter).
        pedals: (tick, whether it is down) by channel.
        kits: (tick, program) of the drum channel.
        last: The latest tick.
    """

    notes: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    tempos: list[tuple[int, int]] = field(default_factory=list)
    pedals: dict[int, list[tuple[int, bool]]] = field(default_factory=lambda: defaultdict(list))
    kits: list[tuple[int, int]] = field(default_factory=list)
    last: int = 0


def read_midi(path: str | os.PathLike) -> np.ndarray:
    """The notes of a MIDI file, by their start, then their pitch.

    A note that is held by the sustain pedal ends when the pedal comes up, or when its pitch is
    struck again.

    Args:
        path: The file.

    Returns:
        `NOTE` `(notes,)`, at least one; every one is longer than 0 and at most `LONGEST_NOTE`.

    Raises:
        AudioFileError: if it cannot be read, is damaged, or has no notes.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be read ({error.strerror}).") from None
    try:
        notes = _parse(data)
    except _DamagedError as damage:
        raise AudioFileError(
            f"{path}: not a MIDI file that can be used ({damage}); replace it by an intact one."
        ) from None
    if not len(notes):
        raise AudioFileError(f"{path}: this MIDI file has no notes; leave it out.")
    if (hours := notes["end"].max() / 3600) > _LONGEST_HOURS:
        raise AudioFileError(f"{path}: this MIDI file lasts {hours:.0f} hours; leave it out.")
    return notes


def _parse(data: bytes) -> np.ndarray:
    if len(data) > _LARGEST_BYTES:
        raise _DamagedError(f"it has more than {_LARGEST_BYTES >> 20} MB")
    if data[:4] != b"MThd" or len(data) < 14:
        raise _DamagedError("it does not begin with MThd" if data else "it is empty")
    header_size, midi_format = _integer(data[4:8]), _integer(data[8:10])
    if header_size < 6 or midi_format > 1:
        raise _DamagedError(f"its format is {midi_format}, and 0 and 1 are known")
    events, position, found = _Events(), 8 + header_size, False
    while position + 8 <= len(data):
        name, size = data[position : position + 4], _integer(data[position + 4 : position + 8])
        content = data[position + 8 : position + 8 + size]
        if name == b"MTrk":
            if len(content) < size:
                raise _DamagedError(f"it is cut off in the track at byte {position}")
            found = True
            try:
                _read_track(content, events)
            except _DamagedError as damage:
                raise _DamagedError(f"the track at byte {position} {damage}") from None
            except IndexError:
                raise _DamagedError(f"the track at byte {position} ends in an event") from None
        position += 8 + size
    if not found:
        raise _DamagedError("it has no track")
    return _notes(events, data[12:14])


def _integer(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _length(data: bytes, position: int) -> tuple[int, int]:
    """A number of variable length, and the position behind it."""
    value = 0
    for place in range(position, position + 4):
        value = value << 7 | data[place] & 127
        if data[place] < 128:
            return value, place + 1
    raise _DamagedError("has a number of more than four bytes")


def _read_track(data: bytes, events: _Events) -> None:
    """Adds what a track says.

    Raises:
        _DamagedError: if it says nothing sensible.
        IndexError: if it ends within an event.
    """
    sounding: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)

    def end_note(channel: int, pitch: int) -> None:
        start, velocity = sounding[channel, pitch].pop(0)
        events.notes.append((start, tick, channel, pitch, velocity))

    position = tick = status = 0
    while position < len(data):
        delta, position = _length(data, position)
        tick += delta
        byte = data[position]
        if byte >= 0xF0:
            kind = data[position + 1] if byte == 0xFF else None
            if byte not in (0xF0, 0xF7, 0xFF):
                raise _DamagedError(f"has an event {byte:#x}")
            size, begin = _length(data, position + (2 if byte == 0xFF else 1))
            position = begin + size
            if position > len(data):
                raise IndexError
            if kind == 0x2F:
                break
            if kind == 0x51 and size == 3:
                events.tempos.append((tick, _integer(data[begin:position])))
            continue
        if byte >= 0x80:
            status = byte
            position += 1
        elif not status:
            raise _DamagedError("begins within an event")
        kind, channel = status & 0xF0, status & 0x0F
        first = data[position]
        second = 0 if kind in (0xC0, 0xD0) else data[position + 1]
        position += 1 if kind in (0xC0, 0xD0) else 2
        if first > 127 or second > 127:
            raise _DamagedError("has a value above 127")
        if kind == 0x90 and second:
            sounding[channel, first].append((tick, second))
        elif kind in (0x80, 0x90):
            if sounding[channel, first]:
                end_note(channel, first)
        elif kind == 0xB0 and first == _SUSTAIN:
            events.pedals[channel].append((tick, second >= 64))
        elif kind == 0xC0 and channel == _DRUM_CHANNEL:
            events.kits.append((tick, first))
    for (channel, pitch), notes in sounding.items():
        while notes:
            end_note(channel, pitch)
    events.last = max(events.last, tick)


def _notes(events: _Events, division: bytes) -> np.ndarray:
    """The notes in seconds."""
    if not events.notes:
        return np.empty(0, NOTE)
    start, end, channel, pitch, velocity = np.array(events.notes, np.int64).T
    end = _held_by_pedal(start, end, channel, pitch, events)
    notes = np.empty(len(start), NOTE)
    notes["start"], notes["end"] = (
        _seconds(start, events, division),
        _seconds(end, events, division),
    )
    notes["end"] = np.minimum(notes["end"], notes["start"] + LONGEST_NOTE)
    notes["pitch"], notes["velocity"], notes["kit"] = pitch, velocity, -1
    drums = channel == _DRUM_CHANNEL
    ticks, programs = _sorted([(0, 0), *events.kits])
    notes["kit"][drums] = programs[np.searchsorted(ticks, start[drums], side="right") - 1]
    notes = notes[notes["end"] > notes["start"]]
    return notes[np.lexsort((notes["end"], notes["kit"], notes["pitch"], notes["start"]))]


def _held_by_pedal(start, end, channel, pitch, events: _Events) -> np.ndarray:
    """The ends of the notes, in ticks, with the sustain pedal heard."""
    held = end.copy()
    for number, changes in events.pedals.items():
        if number == _DRUM_CHANNEL:
            continue
        ticks, down = _sorted(changes)
        # The tick at which the pedal is up again, from each change on.
        up = np.where(down == 0, ticks, events.last)
        up = np.minimum.accumulate(up[::-1])[::-1]
        here = np.flatnonzero(channel == number)
        change = np.searchsorted(ticks, end[here], side="right") - 1
        is_down = (change >= 0) & (down[change] == 1)
        held[here[is_down]] = np.maximum(end[here], up[change])[is_down]
    # Which note has the same channel and pitch as the one before it, in order.
    order = np.lexsort((start, pitch, channel))
    same = (np.diff(channel[order]) == 0) & (np.diff(pitch[order]) == 0)
    struck_again = np.full(len(start), np.iinfo(np.int64).max)
    struck_again[order[:-1][same]] = start[order[1:][same]]
    return np.minimum(held, np.maximum(end, struck_again))


def _seconds(ticks: np.ndarray, events: _Events, division: bytes) -> np.ndarray:
    """Ticks as seconds, float64."""
    per_quarter = _integer(division)
    if division[0] >= 128:
        # SMPTE: frames per second, negative, and ticks per frame; 29 stands for 29.97.
        rate = (256 - division[0]) * division[1]
        rate *= 1000 / 1001 * 30 / 29 if division[0] == 256 - 29 else 1
        if not rate:
            raise _DamagedError("its unit of time is 0")
        return ticks / rate
    if not per_quarter:
        raise _DamagedError("its unit of time is 0")
    changes, tempos = _sorted([(0, _MICROSECONDS_PER_QUARTER), *events.tempos])
    per_tick = tempos / per_quarter * 1e-6
    at_changes = np.concatenate([[0.0], np.cumsum(np.diff(changes) * per_tick[:-1])])
    part = np.searchsorted(changes, ticks, side="right") - 1
    return at_changes[part] + (ticks - changes[part]) * per_tick[part]


def _sorted(changes: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Ticks and values of changes, by tick; of one tick the later counts, as it comes later."""
    ticks, values = np.array(changes, np.int64).T
    order = np.argsort(ticks, kind="stable")
    return ticks[order], values[order]
