"""Small trees of stems in the layouts that people have."""

import json

import numpy as np
import soundfile

from tests.conftest import synthesize

MUSDB = ("vocals", "drums", "bass", "other")


def write(path, waveform, sample_rate=44100):
    """Writes float32 `(samples,)` or `(channels, samples)`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.atleast_2d(waveform).T, sample_rate, subtype="FLOAT")
    return path


def write_sound(path, seconds=1.0, sample_rate=44100, seed=None, scale=0.3, channels=1):
    """Writes music of its own for every path, or for every seed."""
    seed = sum(map(ord, str(path))) if seed is None else seed
    sounds = [scale * synthesize(seconds, sample_rate, seed + number) for number in range(channels)]
    return write(path, np.stack(sounds), sample_rate)


def make_musdb(folder, songs, seconds=1.0):
    """Songs by their path below the folder, `train/Some - Song`, each with the sum as mixture."""
    for song in songs:
        stems = []
        for number, name in enumerate(MUSDB):
            stems.append(0.2 * synthesize(seconds, 44100, sum(map(ord, song)) + number))
            write(folder / song / f"{name}.wav", stems[-1])
        write(folder / song / "mixture.wav", sum(stems))
    return folder


def make_moisesdb(folder, songs):
    """Songs by name, each with its stems: (instrument, seconds, sample rate, channels)."""
    for song, stems in songs.items():
        place = folder / "moisesdb_v0.1" / song
        for number, (instrument, seconds, sample_rate, channels) in enumerate(stems):
            path = place / instrument / f"{number}.wav"
            write_sound(path, seconds, sample_rate, number, channels=channels)
        described = [{"stemName": instrument, "tracks": []} for instrument, *_ in stems]
        (place / "data.json").write_text(json.dumps({"song": song, "stems": described}))
    return folder
