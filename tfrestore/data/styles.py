"""The musical styles of the demo corpus, as data for `tfrestore.data.composer`.

A pattern is one bar, one character per sixteenth note (spaces are only for the reader). In every
pattern `.` is silence and `-` holds what sounds. For drums `X` is an accent, `x` a stroke, `o` a
ghost note. For instruments `C` is the whole chord, `1 3 5 7` are the chord's tones from the root
up, `8` is the root an octave higher and `a` a semitone below the next chord's root. For melodies
`x` is a note whose pitch the composer finds. Chords are Roman numerals over the major scale (upper
case major, lower case minor, `b` a semitone lower); programs are those of General MIDI, counted
from 0.
"""

from __future__ import annotations

from dataclasses import dataclass

DRUM_KEYS = {
    "kick": 36,
    "rim": 37,
    "snare": 38,
    "clap": 39,
    "hat": 42,
    "pedal": 44,
    "open": 46,
    "low tom": 45,
    "mid tom": 47,
    "high tom": 50,
    "crash": 49,
    "ride": 51,
    "tambourine": 54,
    "cowbell": 56,
    "high conga": 62,
    "low conga": 64,
    "timbale": 65,
    "cabasa": 69,
    "maracas": 70,
    "claves": 75,
    "triangle": 81,
}


@dataclass(frozen=True)
class Part:
    """One instrument: what it may be, what it may play, and its place in the mix.

    Attributes:
        programs: General MIDI programs to choose from, once per piece.
        patterns: Bars to choose from, once per section.
        register: MIDI pitch around which it plays.
        level: Linear gain in the mix.
        pan: -1 (left) to 1 (right).
        melody: Whether patterns are rhythms of a melody.
        enters: Share of the piece after which it begins to play.
        strum: Seconds between the notes of one chord.
    """

    programs: tuple[int, ...]
    patterns: tuple[str, ...]
    register: int
    level: float
    pan: float = 0.0
    melody: bool = False
    enters: float = 0.0
    strum: float = 0.0


@dataclass(frozen=True)
class Style:
    """A style: its tempi (beats per minute), harmony, drums and instruments.

    Attributes:
        tempo: Least and largest number of quarter notes per minute.
        scale: Semitones of the melody's scale above the key note.
        progressions: Chords, one per bar, to choose from.
        grooves: Drum patterns by name in `DRUM_KEYS`, one choice per section.
        fills: Drum patterns for the last bar of a phrase.
        parts: The instruments beside the drums.
        drum_level: Linear gain of the drums in the mix.
        swing: Where in the beat its second eighth note falls; 0.5 is straight, 2/3 a triplet.
        peak_decibels: Peak of the finished piece, dB relative to full scale.
        room: Linear gain of the reverberation.
    """

    tempo: tuple[float, float]
    scale: tuple[int, ...]
    progressions: tuple[str, ...]
    grooves: tuple[dict[str, str], ...]
    fills: tuple[dict[str, str], ...]
    parts: tuple[Part, ...]
    drum_level: float = 1.0
    swing: float = 0.5
    peak_decibels: float = -1.0
    room: float = 0.15


MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)
DORIAN = (0, 2, 3, 5, 7, 9, 10)
MIXOLYDIAN = (0, 2, 4, 5, 7, 9, 10)
PENTATONIC = (0, 3, 5, 7, 10)

ROCK = Style(
    tempo=(112, 148),
    scale=PENTATONIC,
    progressions=("i bVII bVI bVII", "i bIII bVII iv", "i i bVI bVII", "i iv bVI V"),
    grooves=(
        {
            "kick": "X... ..x. X.x. ....",
            "snare": ".... X... .... X..o",
            "hat": "X.x. x.x. X.x. x.x.",
        },
        {
            "kick": "X..x ..x. ..X. ..x.",
            "snare": ".... X... .... X...",
            "ride": "X.x. x.x. X.x. x.x.",
        },
        {
            "kick": "X.x. .... X.x. ..x.",
            "snare": ".... X..o .o.. X...",
            "open": "X... x... X... x...",
        },
    ),
    fills=(
        {
            "kick": "X... ..x. X...",
            "snare": ".... X... XxXx ....",
            "low tom": ".... .... .... XxXX",
        },
        {"kick": "X... X... X...", "high tom": ".... .... XxX.", "mid tom": ".... .... ...X Xx.."},
    ),
    parts=(
        Part((33, 34), ("1.1. 1.1. 1.1. 1.8.", "1--- ..1. 1--- ..a-"), 36, 0.95),
        Part(
            (29, 30), ("C-.C C-.. C-.C C-..", "C--- ---- C-C- C---"), 52, 0.42, -0.65, strum=0.006
        ),
        Part((27, 28), ("1.5. 8.5. 3.5. 8.5.", "..C. ..C. ..C. ..CC"), 60, 0.4, 0.65, enters=0.2),
        Part((29, 81), ("x--- x-x- x--- ..x-", "x-x- x--- x-x- xx--"), 72, 0.5, 0.1, True, 0.25),
    ),
    room=0.1,
)

JAZZ = Style(
    tempo=(120, 168),
    scale=MAJOR,
    progressions=(
        "ii7 V9 Imaj7 vi7",
        "Imaj7 VI7 ii7 V7",
        "iii7 VI7 ii7 V9",
        "Imaj7 IVmaj7 iii7 VI7",
    ),
    grooves=(
        {
            "ride": "X... x.x. X... x.x.",
            "pedal": ".... x... .... x...",
            "kick": "o... .... ..o. ....",
        },
        {
            "ride": "X... x.x. x... X.x.",
            "pedal": ".... x... .... x...",
            "rim": ".... .... .... x...",
        },
    ),
    fills=(
        {"ride": "X... x.x. X...", "snare": "..o. o.x. .oX. x.Xo", "kick": "x... .... x... ..X."},
    ),
    parts=(
        Part((32,), ("1--- 3--- 5--- a---", "1--- 5--- 7--- a---"), 38, 1.0, 0.1),
        Part(
            (0, 4, 26), ("..C- .... ...C ----", "C-.. ..C- .... C-.."), 60, 0.6, -0.4, strum=0.004
        ),
        Part(
            (56, 65, 66, 11),
            ("x-x- x-x- x--- ..x-", "..x- x-x- x-x- x---", "x--- ---- ..x- x-x-"),
            70,
            0.6,
            0.3,
            True,
            0.12,
        ),
    ),
    drum_level=0.9,
    swing=0.64,
    peak_decibels=-4.0,
    room=0.2,
)

ELECTRONIC = Style(
    tempo=(118, 136),
    scale=MINOR,
    progressions=("i bVI bIII bVII", "i i iv bVI", "i bVII iv bVI", "i bIII bVII iv"),
    grooves=(
        {
            "kick": "X... X... X... X...",
            "open": "..x. ..x. ..x. ..x.",
            "clap": ".... X... .... X...",
            "hat": "xoxo xoxo xoxo xoxo",
        },
        {
            "kick": "X... X... X... X..x",
            "open": "..X. ..X. ..X. ..X.",
            "cabasa": "xoxo xoxo xoxo xoxo",
            "snare": ".... X... .... X...",
        },
    ),
    fills=({"kick": "X... X...", "snare": "x.x. x.x. xxxx XXXX", "crash": ".... .... .... ...."},),
    parts=(
        Part((38, 39), ("..1. ..1. ..1. ..1.", "1.11 8.11 1.11 8.1a"), 38, 0.8),
        Part((88, 89, 90), ("C--- ---- ---- ----",), 58, 0.45, -0.2),
        Part((81, 80), ("1 5 8 5 3 5 8 5 1 5 8 5 3 5 8 3", "8.5. 3.8. 5.3. 8.53"), 66, 0.3, 0.6),
        Part((81, 62), ("C..C ..C. .C.. C...", "..C. ..C. ..C. ..C."), 62, 0.35, -0.6, enters=0.3),
        Part((80, 84), ("x-.x -.x- .x-. x---", "x--- ..x- x--- ----"), 76, 0.3, 0.2, True, 0.4),
    ),
    room=0.18,
)

ORCHESTRAL = Style(
    tempo=(84, 112),
    scale=MAJOR,
    progressions=("I V vi IV", "I iii IV V", "vi IV I V", "I IV ii V"),
    grooves=(
        {
            "triangle": "x... .... x... ....",
            "kick": "o... .... .... ....",
            "maracas": "..o. ..o. ..o. ..o.",
        },
        {
            "snare": "x..o oo.. x..o oooo",
            "kick": "x... .... x... ....",
            "ride": "x... x... x... x...",
        },
    ),
    fills=(
        {
            "snare": "oooo oooo xxxx xxXX",
            "crash": ".... .... .... ..o.",
            "kick": "x... .... .... x.x.",
        },
    ),
    parts=(
        Part((43, 42), ("1--- ---- 5--- ----", "1--- 1--- 5--- a---"), 43, 0.9, 0.5),
        Part((48, 49), ("C--- ---- ---- ----", "C--- ---- C--- ----"), 60, 0.7, -0.3),
        Part((46, 45), ("1.3. 5.8. 5.3. 5.3.", "1 3 5 8 5 3 1 3 5 8 5 3 1 3 5 8"), 64, 0.5, -0.6),
        Part((61, 60), ("C--- ---- C--- C---", "C--- ..C- C--- ----"), 55, 0.55, 0.4, enters=0.5),
        Part((47,), ("1... .... 1... ..11",), 41, 0.6, 0.1, enters=0.5),
        Part((73, 68, 40), ("x--- x-x- x--- ----", "x-x- x-x- x--- x---"), 76, 0.65, 0.0, True),
    ),
    drum_level=0.7,
    peak_decibels=-6.0,
    room=0.4,
)

FOLK = Style(
    tempo=(92, 128),
    scale=MAJOR,
    progressions=("I IV I V", "I V vi IV", "vi IV I V", "I bVII IV I"),
    grooves=(
        {"tambourine": "o.x. X.x. o.x. X.x.", "kick": "x... .... x.x. ...."},
        {
            "maracas": "xoxo Xoxo xoxo Xoxo",
            "rim": ".... x... .... x...",
            "kick": "x... ..x. x... ....",
        },
    ),
    fills=({"tambourine": "X.x. X.x. XxXx XxXx", "kick": "x... x... x.x. x.x."},),
    parts=(
        Part((32, 33), ("1--- .... 5--- ....", "1--- ..1- 5--- ..a-"), 38, 0.85),
        Part((25, 24), ("C-C- C-CC .CC- C-CC", "C--- C-C- C--- C-CC"), 55, 0.6, -0.5, strum=0.012),
        Part(
            (105, 24, 15), ("1 5 3 8 5 3 1 5 3 8 5 3 1 5 8 5", "1.5. 3.8. 1.5. 3.8."), 64, 0.5, 0.55
        ),
        Part(
            (40, 110, 22, 73),
            ("x-x- x--- x-x- x---", "x--- x-x- xxx- x-x-"),
            74,
            0.5,
            0.1,
            True,
            0.2,
        ),
    ),
    drum_level=0.75,
    peak_decibels=-3.0,
    room=0.15,
)

LATIN = Style(
    tempo=(96, 124),
    scale=DORIAN,
    progressions=("i7 IV7 i7 IV7", "i7 iv7 bVII7 i7", "i bVII bVI V7", "i7 iv7 V7 i7"),
    grooves=(
        {
            "claves": "x..x ..x. ..x. x...",
            "maracas": "x.xo x.xo x.xo x.xo",
            "high conga": "..x. ..X. ..x. ..o.",
            "low conga": ".... .... .... ..xX",
            "kick": "x..x x..x x..x x..x",
        },
        {
            "cowbell": "X.x. x.x. X.x. x.x.",
            "cabasa": "xoxo xoxo xoxo xoxo",
            "high conga": "..xX ..o. ..xX ..o.",
            "low conga": ".... ..xx .... ..xX",
            "hat": "x.x. x.x. x.x. x.x.",
        },
    ),
    fills=({"timbale": "X..X ..X. XxX. XxXx", "cabasa": "xoxo xoxo", "kick": "x... x... x..."},),
    parts=(
        Part((32, 33), ("1--. ..5- --.. 8-a-", "1-.5 --8- 1-.5 --a-"), 38, 0.95),
        Part((0, 1), ("C.8. C.8C .C.8 C.C.", "8C.8 C.8. C8.C 8.C."), 67, 0.5, -0.4),
        Part((24, 25), ("..C- C... ..C- C-C-", "C--. C-C- ..C- ..C-"), 57, 0.5, 0.5, strum=0.008),
        Part((61, 56), ("..C. ..C. .... C---", "C... .... ..C. C-.."), 66, 0.45, 0.3, enters=0.45),
        Part((56, 73, 11), ("x-x- .x-x -.x- x---", "..x- x-x- x--- ..x-"), 74, 0.5, 0.0, True, 0.2),
    ),
    peak_decibels=-2.0,
)

FUNK = Style(
    tempo=(94, 116),
    scale=MIXOLYDIAN,
    progressions=("I9 I9 IV9 I9", "I7 bVII I7 IV7", "ii7 ii7 v7 IV9", "I9 IV9 bVII IV9"),
    grooves=(
        {
            "kick": "X..x ..x. ..X. .x..",
            "snare": "...o X..o .o.o X..o",
            "hat": "xxxx xxxx xxxx xxx.",
        },
        {
            "kick": "X.x. ...x ..x. x...",
            "snare": ".o.. X..o .o.. X.o.",
            "hat": "Xoxo Xoxo Xoxo Xo..",
            "open": ".... .... .... ..x.",
        },
    ),
    fills=({"kick": "X... ..x. X... ..X.", "snare": ".x.x X.xx .xXx XxX.", "hat": "x.x. x.x."},),
    parts=(
        Part((36, 33), ("1..1 ..8. .1.5 7.8.", "1.8. .1.1 ..5. 7.a."), 37, 0.95),
        Part((28, 27), (".CC. .C.C .CC. C.C.", "..CC .C.. ..CC .CC."), 60, 0.5, 0.6, strum=0.003),
        Part((7, 4, 16), ("C-.. ..C. .C.. C...", "..C- --.. ..C- C..."), 58, 0.5, -0.5),
        Part((61, 62), (".... ..C. C... ....", "C.C. .... .... ..C-"), 67, 0.5, -0.2, enters=0.3),
        Part((65, 66, 56), ("x.x- .xx. x--- ..xx", "..x- x.x. .xx- x---"), 70, 0.5, 0.2, True, 0.3),
    ),
    swing=0.53,
)

STYLES = {
    "electronic": ELECTRONIC,
    "folk": FOLK,
    "funk": FUNK,
    "jazz": JAZZ,
    "latin": LATIN,
    "orchestral": ORCHESTRAL,
    "rock": ROCK,
}
