"""MIDI files for tests, written byte by byte or with mido."""

import mido


def number(value):
    """A number of variable length."""
    digits = [value & 127]
    while value := value >> 7:
        digits.insert(0, value & 127 | 128)
    return bytes(digits)


def midi_bytes(*tracks, division=480, midi_format=1):
    """A file of tracks, each a list of (delta, event bytes)."""
    head = midi_format.to_bytes(2, "big") + len(tracks).to_bytes(2, "big")
    head += division if isinstance(division, bytes) else division.to_bytes(2, "big")
    data = b"MThd" + (6).to_bytes(4, "big") + head
    for events in tracks:
        content = b"".join(number(delta) + event for delta, event in events)
        content += number(0) + b"\xff\x2f\x00"
        data += b"MTrk" + len(content).to_bytes(4, "big") + content
    return data


def write_notes(path, notes, program=0, pedal=(), drums=()):
    """Writes notes (start, end, pitch, velocity), in seconds of a thousand ticks each.

    Args:
        path: The file.
        notes: Of the first channel.
        program: Its instrument.
        pedal: (second, value) of its sustain pedal.
        drums: Notes of the drum channel.
    """
    file = mido.MidiFile(ticks_per_beat=500)
    events = [(0, 0, mido.Message("program_change", program=program))]
    for channel, some in ((0, notes), (9, drums)):
        for start, end, pitch, velocity in some:
            for second, kind in ((end, "note_off"), (start, "note_on")):
                message = mido.Message(kind, note=pitch, velocity=velocity, channel=channel)
                events.append((round(1000 * second), 1 + (kind == "note_on"), message))
    events += [
        (round(1000 * second), 3, mido.Message("control_change", control=64, value=value))
        for second, value in pedal
    ]
    track, now = mido.MidiTrack(), 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    file.tracks.append(track)
    file.save(path)
    return path
