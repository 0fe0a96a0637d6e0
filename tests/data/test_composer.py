"""The composer: its harmony, its bars, and that it is the same everywhere."""

import pytest

from tfrestore.data.composer import chord, compose
from tfrestore.data.styles import DRUM_KEYS, STYLES


@pytest.mark.parametrize(
    "symbol, tones",
    [
        ("I", (0, 4, 7)),
        ("ii7", (2, 5, 9, 12)),
        ("V9", (7, 11, 14, 17, 21)),
        ("Imaj7", (0, 4, 7, 11)),
        ("bVII", (10, 14, 17)),
        ("vi", (9, 12, 16)),
    ],
)
def test_roman_numerals_mean_the_chords_of_the_textbook(symbol, tones):
    assert chord(symbol) == tones


@pytest.mark.parametrize("symbol", ["", "H", "Iv", "VIII", "I13", "##I"])
def test_what_is_no_chord_is_refused(symbol):
    with pytest.raises(ValueError, match="not a chord symbol"):
        chord(symbol)


@pytest.mark.parametrize("name", STYLES)
def test_every_pattern_of_a_style_is_one_bar_of_known_signs(name):
    style = STYLES[name]
    for progression in style.progressions:
        assert len([chord(symbol) for symbol in progression.split()]) == 4
    for drums in (*style.grooves, *style.fills):
        assert drums.keys() <= DRUM_KEYS.keys()
        assert all(len(bar.replace(" ", "")) <= 16 for bar in drums.values())
        assert set("".join(drums.values())) <= set("Xxo. ")
    for part in style.parts:
        assert all(len(bar.replace(" ", "")) == 16 for bar in part.patterns)
        assert set("".join(part.patterns)) <= set("x-. " if part.melody else "C13578a-. ")


@pytest.mark.parametrize("name", STYLES)
def test_a_piece_has_drums_bass_chords_and_melody_that_play_to_its_end(name):
    piece = compose(name, "0")
    assert STYLES[name].tempo[0] <= piece.tempo <= STYLES[name].tempo[1]
    assert 10 < piece.duration < 30
    assert [voice.is_drum for voice in piece.voices] == [True] + [False] * (len(piece.voices) - 1)
    assert len(piece.voices) >= 4
    bar = 240 / piece.tempo
    for voice in piece.voices:
        assert len({note.pitch for note in voice.notes}) >= 2
        assert len({note.velocity for note in voice.notes}) >= 4
        assert max(note.start for note in voice.notes) >= piece.duration - 1.1 * bar
        for note in voice.notes:
            assert 0 <= note.start and 0 < note.duration
            assert note.start + note.duration < piece.duration + 0.1
            assert 21 <= note.pitch <= 108 and 1 <= note.velocity <= 127


@pytest.mark.parametrize("name", STYLES)
def test_the_last_chord_is_the_first_one(name):
    piece = compose(name, "1")
    bar = 240 / piece.tempo
    bass = piece.voices[1].notes
    roots = {note.pitch % 12 for note in bass if note.start > piece.duration - 1.1 * bar}
    assert bass[0].pitch % 12 in roots


def test_the_same_seed_gives_the_same_notes_and_another_seed_others():
    for name in STYLES:
        assert compose(name, "0/train/1") == compose(name, "0/train/1")
        pieces = [compose(name, f"{n}") for n in range(4)]
        assert len({piece.tempo for piece in pieces}) == 4


def test_a_piece_is_the_one_it_was_when_these_numbers_were_written_down():
    notes = compose("rock", "0/train/1").voices[1].notes
    assert [(round(note.start, 4), note.pitch, note.velocity) for note in notes[:4]] == [
        (0.0, 33, 76),
        (0.7031, 33, 63),
        (0.9415, 33, 70),
        (1.6474, 32, 65),
    ]


def test_longer_pieces_have_more_bars():
    short, long = compose("jazz", "0", 12.0), compose("jazz", "0", 60.0)
    assert short.duration < 20 < 50 < long.duration < 70
