"""Writes short pieces of music as lists of notes: chord progressions, phrases, fills, an ending.

What a style sounds like is data (`tfrestore.data.styles`); this module knows bars, harmony and the
small unevenness of human players. It knows no sound: `tfrestore.data.demo` renders the notes.
Everything is decided by `random.Random.random`, whose stream Python guarantees to keep.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tfrestore.data.styles import DRUM_KEYS, STYLES, Part, Style

Choice = TypeVar("Choice")

STEPS_PER_BAR = 16
BARS_PER_PHRASE = 4

_DEGREES = {"I": 0, "II": 2, "III": 4, "IV": 5, "V": 7, "VI": 9, "VII": 11}
_STROKES = {"X": 112, "x": 84, "o": 48}
_CHORD_TONES = {"1": 0, "3": 1, "5": 2, "7": 3}


@dataclass(frozen=True)
class Note:
    """A note: start and duration in seconds, MIDI pitch and velocity (1 to 127)."""

    start: float
    duration: float
    pitch: int
    velocity: int


@dataclass
class Voice:
    """What one player plays; `pan` is -1 (left) to 1 (right), `level` a linear gain."""

    program: int
    is_drum: bool
    pan: float
    level: float
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True)
class Piece:
    """A finished piece; `duration` in seconds includes the last chord but not its decay."""

    style: Style
    tempo: float
    voices: list[Voice]
    duration: float


def compose(style_name: str, seed: str, seconds: float = 16.0) -> Piece:
    """A piece of about `seconds` (whole phrases of four bars, then one bar to end on).

    Args:
        style_name: A key of `STYLES`.
        seed: Any text; the same style, seed and length give the same notes on every machine.
        seconds: Wished length.
    """
    return _Composer(STYLES[style_name], _Dice(f"{style_name}/{seed}")).piece(seconds)


def chord(symbol: str) -> tuple[int, ...]:
    """Semitones above the key note of a chord's tones, root first: `chord("ii7")` is (2, 5, 9, 12).

    Raises:
        ValueError: Not a chord symbol that this module knows.
    """
    match = re.fullmatch(r"(b?)(VII|VI|V|IV|III|II|I)(maj7|7|9)?", symbol, re.IGNORECASE)
    if match is None or match[2] not in (match[2].upper(), match[2].lower()):
        raise ValueError(f"{symbol!r} is not a chord symbol.")
    root = _DEGREES[match[2].upper()] - len(match[1])
    third = 4 if match[2].isupper() else 3
    above = {None: (), "7": (10,), "9": (10, 14), "maj7": (11,)}[match[3]]
    return tuple(root + interval for interval in (0, third, 7, *above))


class _Dice:
    """Choices made of `random.Random.random` alone: the methods above it may change with Python."""

    def __init__(self, seed: str):
        self._random = random.Random(seed).random

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._random()

    def pick(self, choices: Sequence[Choice]) -> Choice:
        return choices[int(self._random() * len(choices))]

    def bell(self) -> float:
        """Bell-shaped around 0 within -1..1: the mean of three uniform draws."""
        return (self.between(-1, 1) + self.between(-1, 1) + self.between(-1, 1)) / 3


class _Composer:
    """Holds the decisions made once per piece (tempo, key, chords) while its voices are written."""

    def __init__(self, style: Style, dice: _Dice):
        self.style, self.dice = style, dice
        self.tempo = dice.between(*style.tempo)
        self.step_seconds = 60 / self.tempo / 4
        self.key = int(dice.between(0, 12))

    def piece(self, seconds: float) -> Piece:
        phrases = round(seconds / self.step_seconds / STEPS_PER_BAR / BARS_PER_PHRASE)
        self.bars = BARS_PER_PHRASE * max(phrases, 1)
        self.chords = self._harmony()
        voices = [self._drums()]
        for part in self.style.parts:
            voice = Voice(self.dice.pick(part.programs), False, part.pan, part.level)
            enters = int(part.enters * self.bars)
            (self._melody if part.melody else self._accompaniment)(part, voice, enters)
            voices.append(voice)
        return Piece(self.style, self.tempo, voices, self._seconds(self.bars + 1, 0))

    def _harmony(self) -> list[tuple[int, ...]]:
        """Chords by bar: the same progression in both halves or another one, then the tonic."""
        first = self.dice.pick(self.style.progressions).split()
        second = self.dice.pick((first, self.dice.pick(self.style.progressions).split()))
        half = self.bars // 2
        symbols = [(first if bar < half else second)[bar % 4] for bar in range(self.bars)]
        return [chord(symbol) for symbol in [*symbols, first[0]]]

    def _seconds(self, bar: int, step: float) -> float:
        """When a step of a bar falls, with the style's swing inside each beat."""
        beat, within = divmod(bar * STEPS_PER_BAR + step, 4)
        within, swing = within / 4, self.style.swing
        if within < 0.5:
            within *= 2 * swing
        else:
            within = swing + (within - 0.5) * 2 * (1 - swing)
        return (beat + within) * 4 * self.step_seconds

    def _play(self, voice: Voice, bar: int, step: int, steps: int, pitch: int, force: float):
        """Adds one note as a person would: a little early or late, louder late in the phrase."""
        phrase = (bar % BARS_PER_PHRASE) / (BARS_PER_PHRASE - 1)
        section = 0.9 if bar < self.bars // 2 else 1.0
        accent = {0: 1.0, 8: 0.96}.get(step, 0.92 if step % 4 == 0 else 0.85)
        velocity = force * section * accent * (0.9 + 0.1 * phrase) + 7 * self.dice.bell()
        start = max(0.0, self._seconds(bar, step) + 0.012 * self.dice.bell())
        stop = self._seconds(bar, step + steps) - 0.1 * self.step_seconds
        pitch += 12 * ((pitch < 21) - (pitch > 108))
        voice.notes.append(
            Note(start, max(stop - start, 0.03), pitch, max(1, min(127, round(velocity))))
        )

    def _drums(self) -> Voice:
        voice = Voice(0, True, 0.0, self.style.drum_level)
        sections = [self.dice.pick(self.style.grooves) for _ in range(2)]
        for bar in range(self.bars):
            last_of_phrase = bar % BARS_PER_PHRASE == BARS_PER_PHRASE - 1
            groove = sections[2 * bar // self.bars]
            strokes = self.dice.pick(self.style.fills) if last_of_phrase else groove
            for name, pattern in strokes.items():
                for step, stroke in enumerate(pattern.replace(" ", "")):
                    if stroke in _STROKES:
                        self._play(voice, bar, step, 4, DRUM_KEYS[name], _STROKES[stroke])
        for bar in (0, self.bars // 2, self.bars):
            self._play(voice, bar, 0, STEPS_PER_BAR, DRUM_KEYS["crash"], 96)
            self._play(voice, bar, 0, 4, DRUM_KEYS["kick"], 100)
        return voice

    def _accompaniment(self, part: Part, voice: Voice, enters: int):
        sections = [self.dice.pick(part.patterns).replace(" ", "") for _ in range(2)]
        for bar in range(enters, self.bars):
            for step, steps, symbol in _onsets(sections[2 * bar // self.bars]):
                for order, pitch in enumerate(self._pitches(part, bar, symbol)):
                    self._play(voice, bar, step, steps, pitch, 92 - 4 * order)
                    _delay_last(voice, order * part.strum)
        ending = "C" if part.register > 48 else "1"
        for order, pitch in enumerate(self._pitches(part, self.bars, ending)):
            self._play(voice, self.bars, 0, STEPS_PER_BAR, pitch, 96 - 4 * order)
            _delay_last(voice, order * max(part.strum, 0.004))

    def _pitches(self, part: Part, bar: int, symbol: str) -> list[int]:
        """The MIDI pitches that a pattern's symbol means in a bar, ascending."""
        tones = self.chords[bar]
        if symbol == "C":
            return sorted(_nearest_octave(self.key + tone, part.register) for tone in tones)
        root = _nearest_octave(self.key + tones[0], part.register)
        if symbol == "a":
            following = self.chords[min(bar + 1, self.bars)]
            return [_nearest_octave(self.key + following[0], part.register) - 1]
        if symbol == "8" or _CHORD_TONES[symbol] >= len(tones):
            return [root + 12]
        return [root + tones[_CHORD_TONES[symbol]] - tones[0]]

    def _melody(self, part: Part, voice: Voice, enters: int):
        """Phrases of motifs: a b a and a close, each motif with its own rhythm and contour."""
        ladder = [
            pitch
            for pitch in range(part.register - 10, part.register + 12)
            if (pitch - self.key) % 12 in self.style.scale
        ]
        place = len(ladder) // 2
        motifs = [self._motif(part) for _ in range(3)]
        for bar in range(enters, self.bars):
            within = bar % BARS_PER_PHRASE
            onsets, contour = motifs[(0, 1, 0, 2)[within]]
            if within == BARS_PER_PHRASE - 1:
                # A phrase breathes before the next begins.
                onsets = [
                    (step, min(steps, 12 - step), "x") for step, steps, _ in onsets if step < 10
                ]
            for (step, steps, _), move in zip(onsets, contour, strict=False):
                place = max(0, min(len(ladder) - 1, place + move))
                pitch = ladder[place]
                if step % 8 == 0:
                    pitch = self._chord_tone_near(bar, pitch)
                self._play(voice, bar, step, steps, pitch, 100)
            place += (len(ladder) // 2 - place) // 2
        final = self._chord_tone_near(self.bars, ladder[place])
        self._play(voice, self.bars, 0, STEPS_PER_BAR, final, 100)

    def _motif(self, part: Part) -> tuple[list[tuple[int, int, str]], list[int]]:
        onsets = _onsets(self.dice.pick(part.patterns).replace(" ", ""))
        return onsets, [self.dice.pick((-2, -1, -1, 1, 1, 2, 3)) for _ in onsets]

    def _chord_tone_near(self, bar: int, pitch: int) -> int:
        return min(
            (_nearest_octave(self.key + tone, pitch) for tone in self.chords[bar]),
            key=lambda tone: abs(tone - pitch),
        )


def _onsets(pattern: str) -> list[tuple[int, int, str]]:
    """(step, steps it sounds, symbol) of every note of a pattern."""
    return [
        (found.start(), len(found[0]), found[0][0]) for found in re.finditer(r"[^.\-]-*", pattern)
    ]


def _nearest_octave(pitch: int, register: int) -> int:
    """The pitch of the same name within -6..5 semitones of the register."""
    return register - 6 + (pitch - register + 6) % 12


def _delay_last(voice: Voice, seconds: float) -> None:
    """Moves the last note later: a strummed string after the one before it."""
    last = voice.notes[-1]
    voice.notes[-1] = Note(last.start + seconds, last.duration, last.pitch, last.velocity)
