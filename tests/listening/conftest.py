"""Small listening tests whose signals can be told apart by measuring them."""

import numpy as np
import pytest
import soundfile
from browser import chromium, open_page, serve  # noqa: F401

RATE = 22050
#: What tells the systems apart: a tone of their own beside the music's.
TONES = {"low": 700, "mid": 1100, "high": 1500}
#: The reference has this one, which no anchor of 3.5 kHz keeps.
TREBLE = 6000


def tones(frequencies, seconds, seed):
    time = np.arange(round(seconds * RATE)) / RATE
    waveform = sum(np.sin(2 * np.pi * frequency * time) for frequency in frequencies)
    return 0.1 * waveform + 0.002 * np.random.default_rng(seed).standard_normal(len(time))


@pytest.fixture(scope="session")
def write_systems():
    """Writes folders of recordings: `write_systems(folder, systems, tracks, seconds)`."""

    def write(folder, systems=tuple(TONES), tracks=2, seconds=1.5):
        for system in systems:
            (folder / system).mkdir(parents=True)
            for track in range(tracks):
                own = TREBLE if system == "reference" else TONES[system]
                waveform = tones([300 + 50 * track, own], seconds, track)
                level = 10 ** (-len(system) / 20)
                soundfile.write(folder / system / f"song {track}.wav", level * waveform, RATE)
        return folder

    return write


@pytest.fixture(scope="session")
def identify():
    """Says which system an audio file is of, and of which track, by measuring its spectrum."""

    def measure(path):
        waveform, rate = soundfile.read(path)
        spectrum = np.abs(np.fft.rfft(waveform[:, 0]))

        def level(frequency):
            return spectrum[round(frequency * len(waveform) / rate)]

        candidates = {**TONES, "reference": TREBLE}
        system = max(candidates, key=lambda name: level(candidates[name]))
        if level(candidates[system]) < 0.1 * spectrum.max():
            system = "anchor"
        return system, int(level(350) > level(300))

    return measure
