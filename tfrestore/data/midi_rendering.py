"""Sound of MIDI files: any stretch of one, played by two instruments in step to the sample.

Sifringer, Stegmueller & Alahi ("Audio Enhancing with Wasserstein GANs", 2020) learn to turn one
instrument into another from MIDI files that a synthesizer plays twice, at 44.1 kHz and 16 bits, of
which they take the left channel. Here that is symusic's synthesizer. A note begins at a whole
sample and its sound depends on nothing else, so that a stretch can be made of the notes that sound
in it. Pieces are rendered in blocks of 6 s on a grid, and the last ones are kept, so that memory is
constant and a window of a piece is the same whoever asks for it.

symusic 0.5.8 plays notes only and ignores every controller. So the sustain pedal is in the notes
(see `tfrestore.data.midi_files`); what controllers 7 (volume), 91 (reverb) and 93 (chorus) would do
is done here to what it plays, for a whole piece.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from tfrestore.audio.effects import (
    CHORUS_SECONDS,
    REVERBERATION_SECONDS,
    chorus,
    reverberation,
)
from tfrestore.data.instrument_swap import InstrumentSwap
from tfrestore.data.midi_files import LONGEST_NOTE, read_midi
from tfrestore.data.sound_font import (
    DRUM_BANK,
    SYNTHESIZER_RATE,
    SoundFont,
    check_midi_packages,
    playable_sound_font,
)
from tfrestore.errors import AudioFileError, UsageError

#: The sound goes on for so many seconds after the last note has ended; there both instruments are
#: cut off, whose releases differ.
TAIL_SECONDS = 1.0

BLOCK_SAMPLES = 2**18
# 512 MiB: 51 minutes at 44.1 kHz.
_KEPT_BLOCKS = 512

# libsamplerate's converter for samples of another rate than the synthesizer's, by symusic's number.
_QUALITY = 4


class PairRenderer:
    """Plays stretches of MIDI files with both instruments.

    Args:
        swap: The instruments.
        kept_blocks: How many blocks are kept, of 1 MiB each.

    Raises:
        UsageError: if the packages are missing, the SoundFont is none, or it has not the
            instruments.
    """

    def __init__(self, swap: InstrumentSwap, kept_blocks: int = _KEPT_BLOCKS):
        check_midi_packages("MIDI files are rendered")
        self.swap = swap
        self._block = functools.lru_cache(kept_blocks)(self._render_block)
        self._font, self._font_path = _font(swap.sound_font)
        for program in (swap.input, swap.target):
            if not self._font.has_instrument(program):
                raise UsageError(
                    f"{self._font.path}: this SoundFont has no instrument {program}; choose "
                    "another instrument or SoundFont."
                )
        if swap.drums and not self._font.has_instrument(0, DRUM_BANK):
            raise UsageError(f"{self._font.path}: this SoundFont has no drums; leave drums out.")

    def render(self, path: Path, begin: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
        """A stretch of a piece, played by both instruments.

        Args:
            path: The MIDI file.
            begin: Number of its first sample, from 0.
            samples: Its length; beyond the end of the piece is silence.

        Returns:
            `(input, target)`, float32 `(samples,)` each, steps of 16 bits between -1 and 1.

        Raises:
            AudioFileError: if the file cannot be used, or nothing in it is to be played.
        """
        state = _state(path)
        numbers = range(begin // BLOCK_SAMPLES, (begin + samples - 1) // BLOCK_SAMPLES + 1)
        blocks = np.concatenate([self._block(path, state, each) for each in numbers], axis=1)
        offset = begin - numbers.start * BLOCK_SAMPLES
        stretch = blocks[:, offset : offset + samples]
        return tuple(stretch.astype(np.float32) / np.float32(32768.0))

    def _render_block(self, path: Path, state: tuple[int, int] | None, number: int) -> np.ndarray:
        """Both sounds of a block, int16 `(2, BLOCK_SAMPLES)`."""
        notes = _piece(path, state)
        if not self.swap.drums:
            notes = notes[notes["kit"] < 0]
            if not len(notes):
                raise AudioFileError(
                    f"{path}: this MIDI file has drums only, and drums are left out; leave it out, "
                    "or keep drums."
                )
        begin = number * BLOCK_SAMPLES
        lead = min(begin, self._lead())
        block = np.zeros((2, BLOCK_SAMPLES), np.int16)
        end = min(BLOCK_SAMPLES, piece_length(path) - begin)
        if end > 0:
            for row, program in zip(block, (self.swap.input, self.swap.target), strict=True):
                sound = self._play(notes, program, begin - lead, lead + end)
                sound = self._with_effects(sound, begin - lead)[lead:]
                row[:end] = np.clip(np.rint(sound * 32768.0), -32768, 32767)
        return block

    def _lead(self) -> int:
        """Samples in front of a stretch that its effects need."""
        seconds = REVERBERATION_SECONDS * (self.swap.reverb > 0)
        seconds += CHORUS_SECONDS * (self.swap.chorus > 0)
        return int(np.ceil(seconds * SYNTHESIZER_RATE))

    def _play(self, notes: np.ndarray, program: int, begin: int, samples: int) -> np.ndarray:
        """The stretch without effects, float32 `(samples,)`."""
        sound = np.zeros(samples, np.float32)
        for kit in np.unique(notes["kit"]):
            voice = notes[notes["kit"] == kit]
            if kit < 0:
                sound += self._play_voice(voice, program, False, begin, samples)
            else:
                kit = int(kit) if self._font.has_instrument(int(kit), DRUM_BANK) else 0
                sound += self._play_voice(voice, kit, True, begin, samples)
        return sound

    def _play_voice(
        self, notes: np.ndarray, program: int, is_drum: bool, begin: int, samples: int
    ) -> np.ndarray:
        import symusic

        rate, end = SYNTHESIZER_RATE, begin + samples
        release = self._font.release(program, DRUM_BANK if is_drum else 0)
        after = int(np.ceil((release + 0.01) * rate))
        longest = int(np.ceil(LONGEST_NOTE * rate)) + 1 + after
        # Notes are in the order of their starts.
        some = slice(*np.searchsorted(notes["start"], [begin - longest, end]))
        notes = notes[some][notes["end"][some] + after > begin]
        sound = np.zeros(samples, np.float32)
        if not len(notes):
            return sound
        # Seconds are float32 in symusic: counted from here they are exact enough, and in the middle
        # of a sample they cannot fall into another.
        origin = min(begin, int(notes["start"][0]))
        starts = (notes["start"] - origin + 0.5) / rate
        # What a note does long after the stretch need not be played.
        durations = (np.minimum(notes["end"], end + after) - notes["start"] + 0.5) / rate
        score = symusic.Score.from_tpq(480, "second")
        track = symusic.Track("", program, is_drum, ttype="second")
        track.notes = symusic.Note.from_numpy(
            starts.astype(np.float32),
            durations.astype(np.float32),
            notes["pitch"].astype(np.int8),
            notes["velocity"].astype(np.int8),
            ttype="second",
        )
        score.tracks.append(track)
        synthesizer = _synthesizer(self._font_path, program, is_drum)
        left, right = np.asarray(synthesizer.render(score, True))
        channels = {"left": left, "right": right, "mean": (left + right) / 2}
        played = channels[self.swap.channel][begin - origin :][:samples]
        sound[: len(played)] = played
        return sound

    def _with_effects(self, sound: np.ndarray, first: int) -> np.ndarray:
        swap = self.swap
        if swap.chorus:
            sound = sound + swap.chorus / 127 * chorus(sound, SYNTHESIZER_RATE, first)
        if swap.reverb:
            sound = sound + swap.reverb / 127 * reverberation(sound, SYNTHESIZER_RATE)
        return sound * np.float32((swap.volume / 127) ** 2)


def piece_length(path: Path) -> int:
    """Samples of a piece, with its tail, at `SYNTHESIZER_RATE`.

    Raises:
        AudioFileError: if the file cannot be used.
    """
    last = int(_piece(path, _state(path))["end"].max())
    return last + round(TAIL_SECONDS * SYNTHESIZER_RATE)


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of a file, by which a change is noticed; whoever reads it says it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


# MAESTRO has 1276 pieces with 7 million notes, 22 bytes each.
@functools.lru_cache(maxsize=2048)
def _piece(path: Path, state: tuple[int, int] | None) -> np.ndarray:
    """The notes of a file in this state, whose starts and ends are samples."""
    notes = read_midi(path)
    in_samples = np.empty(
        len(notes),
        [("start", "i8"), ("end", "i8"), ("pitch", "u1"), ("velocity", "u1"), ("kit", "i2")],
    )
    for name in ("pitch", "velocity", "kit"):
        in_samples[name] = notes[name]
    in_samples["start"] = np.rint(notes["start"] * SYNTHESIZER_RATE)
    in_samples["end"] = np.maximum(
        np.rint(notes["end"] * SYNTHESIZER_RATE), in_samples["start"] + 1
    )
    return in_samples


@functools.lru_cache(maxsize=2)
def pair_renderer(swap: InstrumentSwap, kept_blocks: int = _KEPT_BLOCKS) -> PairRenderer:
    """A renderer, with the blocks that it has rendered lately."""
    return PairRenderer(swap, kept_blocks)


@functools.lru_cache(maxsize=4)
def _font(path: str | None) -> tuple[SoundFont, Path]:
    return playable_sound_font(path)


@functools.lru_cache(maxsize=32)
def _synthesizer(font: Path, program: int, is_drum: bool):
    """A synthesizer of its own for each instrument.

    One keeps resampled samples by pitch and sample, not by program, so that programs which tune one
    sample differently would get each other's.
    """
    import symusic

    return symusic.Synthesizer(str(font), SYNTHESIZER_RATE, _QUALITY)
