"""MIDI files: the notes that others find in them, and one line for what is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.midi_maker import midi_bytes, write_notes
from tfrestore.data.midi_files import LONGEST_NOTE, read_midi
from tfrestore.errors import AudioFileError

mido = pytest.importorskip("mido")
pretty_midi = pytest.importorskip("pretty_midi")

ON, OFF = b"\x90\x3c\x64", b"\x80\x3c\x00"


def read_bytes(folder, data):
    path = folder / "song.mid"
    path.write_bytes(data)
    return read_midi(path)


def rows(notes):
    return [tuple(round(float(value), 6) for value in note) for note in notes]


@settings(deadline=None, max_examples=25)
@given(
    notes=st.lists(
        st.tuples(
            st.integers(0, 15), st.integers(0, 127), st.integers(1, 127), st.integers(1, 4000)
        ),
        min_size=1,
        max_size=12,
    ),
    tempos=st.lists(st.tuples(st.integers(0, 9000), st.integers(10_000, 2_000_000)), max_size=4),
    division=st.sampled_from([24, 96, 480, 1024]),
)
def test_any_file_has_the_notes_that_pretty_midi_finds(tmp_path_factory, notes, tempos, division):
    file, now = mido.MidiFile(ticks_per_beat=division), 0
    tempo_track = mido.MidiTrack()
    for tick, tempo in sorted(tempos):
        tempo_track.append(mido.MetaMessage("set_tempo", tempo=tempo, time=tick - now))
        now = tick
    track = mido.MidiTrack()
    for channel, pitch, velocity, ticks in notes:
        track.append(mido.Message("note_on", channel=channel, note=pitch, velocity=velocity))
        track.append(mido.Message("note_off", channel=channel, note=pitch, time=ticks))
    file.tracks += [tempo_track, track]
    path = tmp_path_factory.mktemp("any") / "song.mid"
    file.save(path)
    expected = sorted(
        (note.start, note.end, note.pitch, note.velocity, instrument.is_drum)
        for instrument in pretty_midi.PrettyMIDI(str(path)).instruments
        for note in instrument.notes
    )
    found = sorted((*tuple(note)[:4], note["kit"] >= 0) for note in read_midi(path))
    expected = [(start, min(end, start + LONGEST_NOTE), *rest) for start, end, *rest in expected]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_running_status_a_velocity_of_0_and_a_tempo_within_a_note(tmp_path):
    track = [
        (0, ON),
        (480, b"\xff\x51\x03\x0f\x42\x40"),  # From here on a second per quarter.
        (480, b"\xf0\x02\x7e\xf7"),
        (0, b"\x90\x3c\x00"),
        (0, b"\x40\x50"),
        (240, b"\x40\x00"),
    ]
    assert rows(read_bytes(tmp_path, midi_bytes(track, midi_format=0))) == [
        (0, 1.5, 60, 100, -1),
        (1.5, 2.0, 64, 80, -1),
    ]


def test_time_may_be_counted_in_frames_of_film(tmp_path):
    notes = read_bytes(tmp_path, midi_bytes([(25, ON), (50, OFF)], division=bytes([256 - 25, 10])))
    assert rows(notes) == [(0.1, 0.3, 60, 100, -1)]
    notes = read_bytes(tmp_path, midi_bytes([(0, ON), (3000, OFF)], division=bytes([227, 100])))
    assert notes["end"] == pytest.approx(1.001)


def test_the_pedal_holds_notes_until_it_comes_up_or_they_are_struck_again(tmp_path):
    path = write_notes(
        tmp_path / "song.mid",
        [(0.0, 0.5, 60, 100), (1.0, 1.25, 60, 90), (0.0, 0.25, 62, 80), (3.0, 3.5, 64, 70)],
        pedal=[(0.125, 127), (2.0, 0), (3.25, 64)],
        drums=[(0.0, 0.5, 36, 60)],
    )
    assert rows(read_midi(path)) == [
        (0, 0.5, 36, 60, 0),
        (0, 1.0, 60, 100, -1),
        (0, 2.0, 62, 80, -1),
        (1.0, 2.0, 60, 90, -1),
        # The pedal does not come up again: the piece ends here.
        (3.0, 3.5, 64, 70, -1),
    ]


def test_a_note_that_never_ends_does_so_with_its_track_or_after_a_minute(tmp_path):
    assert rows(read_bytes(tmp_path, midi_bytes([(0, ON), (960, b"\xb0\x07\x40")])))[0][1] == 1.0
    notes = read_bytes(tmp_path, midi_bytes([(0, ON), (960 * 100, OFF)]))
    assert notes["end"] == LONGEST_NOTE == 60


def test_a_drum_has_the_kit_that_was_chosen_before_it(tmp_path):
    hit = [(0, b"\x99\x24\x64"), (480, b"\x89\x24\x00")]
    kits = read_bytes(tmp_path, midi_bytes([*hit, (0, b"\xc9\x19")], [(960, b"\xc0\x05"), *hit]))
    assert kits["kit"].tolist() == [0, 25]


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "it is empty"),
        (b"I am not music.", "does not begin with MThd"),
        (b"MThd\0\0\0\6\0\0", "does not begin with MThd"),
        (midi_bytes([(0, ON), (9, OFF)], midi_format=2), "its format is 2"),
        (midi_bytes(), "it has no track"),
        (midi_bytes([(0, ON), (9, OFF)])[:-9], "cut off in the track at byte 14"),
        (midi_bytes([(0, ON), (9, b"\x80\x3c\xff")]), "a value above 127"),
        (midi_bytes([(0, b"\x3c\x64")]), "begins within an event"),
        (midi_bytes([(0, b"\xf4")]), "an event 0xf4"),
        (midi_bytes([(0, b"\xff\x01\x7f")]), "ends in an event"),
        (midi_bytes([(0, b"\xff\x01\xff\xff\xff\xff\xff")]), "more than four bytes"),
        (midi_bytes([(0, ON), (9, OFF)], division=0), "its unit of time is 0"),
        (midi_bytes([(0, b"\xff\x03\x00")]), "has no notes"),
        (midi_bytes([(0, ON), (0, OFF)]), "has no notes"),
        (midi_bytes([(0xFFFFFFF, ON), (9, OFF)], division=1), "lasts 37283 hours"),
    ],
)
def test_what_cannot_be_used_is_one_line_that_names_the_file(tmp_path, data, reason):
    with pytest.raises(AudioFileError, match=reason) as caught:
        read_bytes(tmp_path, data)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'song.mid'}: ") and "\n" not in message


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(AudioFileError, match="cannot be read"):
        read_midi(tmp_path / "nowhere.mid")


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damage_anywhere_gives_notes_or_one_line(tmp_path_factory, data):
    track = [(7 * (index % 5), ON[:1] + bytes([40 + index, 64])) for index in range(30)]
    track += [(0, b"\xb0\x40\x7f"), (200, b"\xff\x51\x03\x07\xa1\x20"), (0, b"\xb0\x40\x00")]
    intact = bytearray(midi_bytes(track, [(10, b"\xc9\x08"), (0, b"\x99\x24\x64"), (9, OFF)]))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(intact) - 1))
        intact[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "song.mid"
    path.write_bytes(intact[: data.draw(st.integers(0, 2 * len(intact)))])
    try:
        notes = read_midi(path)
    except AudioFileError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return
    assert len(notes) and (notes["start"] >= 0).all() and notes["pitch"].max() <= 127
    assert (notes["end"] > notes["start"]).all()
    assert (notes["end"] - notes["start"] <= LONGEST_NOTE + 1e-6).all()
