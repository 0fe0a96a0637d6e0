"""Music-like sound of full bandwidth, for tests that need what encoders do to it."""

import numpy as np


def make_music(seconds=8.0, rate=44100, channels=2, seed=0):
    """Float32 `(channels, samples)`, peak 0.7: hits of noise and tones that die away, over hiss."""
    rng = np.random.default_rng(seed)
    samples = int(seconds * rate)
    music = 0.002 * rng.normal(size=(channels, samples))
    for onset in np.arange(0, seconds, 0.17):
        start = int(onset * rate)
        time = np.arange(min(samples - start, rate)) / rate
        decay = np.exp(-time * rng.uniform(4, 40))
        hit = rng.normal(size=(channels, len(time))) * rng.uniform(0.02, 0.3)
        for _ in range(4):
            tone = np.sin(2 * np.pi * rng.uniform(80, 6000) * time + rng.uniform(0, 6))
            hit += tone * rng.uniform(0.05, 0.4) * rng.uniform(0.5, 1, (channels, 1))
        music[:, start : start + len(time)] += decay * hit
    return (0.7 * music / np.abs(music).max()).astype(np.float32)
