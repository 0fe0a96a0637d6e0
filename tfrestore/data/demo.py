"""The demo corpus (`--data demo`): varied music made on the spot from pip packages alone.

Notes come from `tfrestore.data.composer`; symusic's synthesizer plays them with the SoundFont that
pretty_midi carries; here they are mixed, given a room and kept as FLAC in the user's cache folder
as train/, validation/ and test/, one folder per style in each. The same seed gives the same music.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from tfrestore.audio.effects import room_response
from tfrestore.audio.writing import write
from tfrestore.data.cache import cache_folder
from tfrestore.data.composer import Piece, Voice, compose
from tfrestore.data.sound_font import SoundFont, check_midi_packages, general_midi_sound_font
from tfrestore.data.styles import STYLES
from tfrestore.errors import UsageError

SAMPLE_RATE = 44100

# Part of the cache folder's name: a change of the music must raise it.
CORPUS_VERSION = 1

TRACKS_PER_STYLE = {"train": 3, "validation": 1, "test": 1}

_CONTENTS = "contents.json"
_FADE_SECONDS = 0.8
_DECAY_SECONDS = 0.8

_log = logging.getLogger("tfrestore.data")


def demo_folder(seed: int = 0) -> Path:
    """The folder of the demo corpus, rendered first when it is missing or damaged.

    It lies in `$TFRESTORE_CACHE`, else `$XDG_CACHE_HOME/tfrestore`, else `~/.cache/tfrestore`. It
    is rendered beside its place and then renamed, so several processes may ask for it at once.

    Args:
        seed: Another seed is other music of the same styles.

    Raises:
        UsageError: The packages that render it are missing, or the cache folder cannot be written.
    """
    folder = cache_folder() / f"demo-{CORPUS_VERSION}-{seed}"
    if _is_intact(folder):
        return folder
    check_midi_packages("the demo corpus is rendered")
    _log.info("rendering the demo corpus into %s (once)", folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            _render_corpus(staging, seed)
            _put_in_place(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise UsageError(
            f"the demo corpus cannot be written to {folder.parent} ({error.strerror or error}): "
            "set TFRESTORE_CACHE to a folder with 100 MB of space."
        ) from error
    return folder


def render(piece: Piece, sound_font: Path) -> np.ndarray:
    """The piece as sound: float32 (2, samples) at `SAMPLE_RATE`, peak at the style's level.

    Args:
        piece: What to play.
        sound_font: A General MIDI SoundFont that `SoundFont.write_playable` wrote.
    """
    length = round((piece.duration + _DECAY_SECONDS) * SAMPLE_RATE)
    mix = np.zeros((2, length))
    for voice in piece.voices:
        if voice.notes:
            sound = _play(voice, sound_font)[:, :length]
            mix[:, : sound.shape[1]] += sound
    mix += piece.style.room * _reverberated(mix)
    fade = round(_FADE_SECONDS * SAMPLE_RATE)
    mix[:, -fade:] *= np.cos(np.linspace(0, np.pi / 2, fade)) ** 2
    mix *= 10 ** (piece.style.peak_decibels / 20) / np.abs(mix).max()
    return mix.astype(np.float32)


def _play(voice: Voice, sound_font: Path) -> np.ndarray:
    """One voice, float64 (2, samples), at its place and its level in the mix."""
    import symusic

    score = symusic.Score.from_tpq(480, "second")
    track = symusic.Track("", voice.program, voice.is_drum, ttype="second")
    for note in voice.notes:
        track.notes.append(
            symusic.Note(note.start, note.duration, note.pitch, note.velocity, ttype="second")
        )
    score.tracks.append(track)
    # A synthesizer keeps resampled samples by pitch and sample, not by program, so that programs
    # which tune one sample differently would get each other's: every voice has its own. 4 is the
    # finest interpolation.
    synthesizer = symusic.Synthesizer(str(sound_font), SAMPLE_RATE, 4)
    left, right = np.asarray(synthesizer.render(score, True), np.float64)
    # The SoundFont puts each drum hard to one side; half that width is a drum kit in a room.
    middle, side = (left + right) / 2, (left - right) / 4
    angle = (voice.pan + 1) * np.pi / 4
    sound = np.stack([np.cos(angle) * (middle + side), np.sin(angle) * (middle - side)])
    # Instruments of the SoundFont differ by 20 dB: each is brought to one loudness before the mix.
    return voice.level * sound / np.sqrt(np.mean(middle**2))


def _reverberated(mix: np.ndarray) -> np.ndarray:
    """The mix convolved with noise, another on each side, that decays by 60 dB in 1.2 s."""
    response = room_response(SAMPLE_RATE, channels=2)
    size = 1 << (mix.shape[1] + response.shape[1] - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(mix, size) * np.fft.rfft(response, size), size)
    return wet[:, : mix.shape[1]]


def _render_corpus(folder: Path, seed: int) -> None:
    contents = {}
    sound_font = folder / "tuned.sf2"
    SoundFont(general_midi_sound_font()).write_playable(sound_font, only_tuned=True)
    for split, count in TRACKS_PER_STYLE.items():
        for style in STYLES:
            for number in range(1, count + 1):
                name = f"{split}/{style}/{style}-{split}-{number}.flac"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                piece = compose(style, f"{seed}/{split}/{number}")
                write(folder / name, render(piece, sound_font), SAMPLE_RATE, subtype="16")
                contents[name] = _digest(folder / name)
    sound_font.unlink()
    (folder / _CONTENTS).write_text(json.dumps(contents, indent=1), encoding="utf-8")


def _put_in_place(staging: Path, folder: Path) -> None:
    """Renames `staging` to `folder` unless another process has put an intact one there."""
    while True:
        try:
            os.rename(staging, folder)
            return
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            if _is_intact(folder):
                return
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as away:
            # Another process may have moved it away at the same moment.
            with contextlib.suppress(FileNotFoundError):
                os.rename(folder, Path(away, "damaged"))


def _is_intact(folder: Path) -> bool:
    """Whether every file that was rendered is there, bit by bit."""
    try:
        contents = json.loads((folder / _CONTENTS).read_text(encoding="utf-8"))
        return bool(contents) and all(
            _digest(folder / name) == digest for name, digest in contents.items()
        )
    except (OSError, ValueError, AttributeError):
        return False


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
