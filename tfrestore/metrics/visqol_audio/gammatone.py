"""ViSQOL's spectrogram: the level of 32 gammatone bands in frames of 80 ms, every 20 ms.

The filters are those of Slaney, "An Efficient Implementation of the Patterson-Holdsworth Auditory
Filter Bank" (Apple technical report 35, 1993): four sections of two poles and one zero each, unit
gain at the centre frequency. In ViSQOL every frame is weighted with a Hann window and filtered from
rest, and the level is that of the filter's output while the frame lasts.

Filtering every frame through every section would take most of a measurement's time, so the energy
of that output is had without the output: it is the energy of the whole, endless response, which
Parseval's theorem gives from the frame's power spectrum, less the energy of the response's tail
after the frame. A filter with eight poles rings on in eight ways only, so that projections of the
frame onto eight waveforms a band give the tail's energy. Both steps are exact, and both are matrix
products for many frames at once.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.signal

SAMPLE_RATE = 48000
FRAME_LENGTH = 3840
HOP_LENGTH = 960
BANDS = 32
FRAME_SECONDS = FRAME_LENGTH / SAMPLE_RATE
HOP_SECONDS = HOP_LENGTH / SAMPLE_RATE

_LOWEST_FREQUENCY = 50.0
# Glasberg and Moore: a filter at f Hz is as wide as a rectangle of f / 9.26449 + 24.7 Hz.
_EAR_QUALITY = 9.26449
_LEAST_BANDWIDTH = 24.7
# Time constants after which a filter's response is below 1e-20 of its peak.
_TIME_CONSTANTS = 64
_POLES = 8
# Frames per matrix product: enough for it to be efficient, few enough for the processor's cache.
_BLOCK = 64


def spectrogram(waveform: np.ndarray) -> np.ndarray:
    """Root mean square of every band's output in every frame.

    Args:
        waveform: float64 (samples,) at 48 kHz, more than 3840 samples; what is left over behind the
            last whole frame is not used.

    Returns:
        float64 (bands, frames), bands from low to high; frames = 1 + (samples - 3840) // 960.
    """
    bank = _filter_bank()
    frames = np.lib.stride_tricks.sliding_window_view(waveform, FRAME_LENGTH)[::HOP_LENGTH]
    energies = np.empty((len(frames), BANDS))
    for first in range(0, len(frames), _BLOCK):
        block = frames[first : first + _BLOCK] * bank.window
        spectrum = scipy.fft.rfft(block, 2 * FRAME_LENGTH)
        whole = (spectrum.real**2 + spectrum.imag**2) @ bank.power_response
        tail = (block @ bank.tails) ** 2
        tail = tail.reshape(len(block), BANDS, _POLES).sum(axis=2)
        energies[first : first + _BLOCK] = whole - tail
    # Rounding may leave a hair less than nothing of a silent band.
    return np.sqrt(np.maximum(energies, 0).T / FRAME_LENGTH)


def power_gains(frequencies: np.ndarray) -> np.ndarray:
    """What every filter makes of the power of a sine.

    Args:
        frequencies: float64 (frequencies,), hertz, at most 24000.

    Returns:
        float64 (frequencies, bands), 1 at a band's centre frequency.
    """
    points = 2 * np.pi * np.asarray(frequencies) / SAMPLE_RATE
    responses = [
        scipy.signal.sosfreqz(_sections(frequency), points)[1]
        for frequency in _centre_frequencies()
    ]
    return np.abs(np.stack(responses, axis=-1)) ** 2


class _FilterBank(NamedTuple):
    window: np.ndarray  # (samples,)
    power_response: np.ndarray  # (bins, bands)
    tails: np.ndarray  # (samples, bands * poles)


def _centre_frequencies() -> np.ndarray:
    """Equally spaced on the scale of equivalent rectangular bandwidths, the lowest first."""
    offset = _EAR_QUALITY * _LEAST_BANDWIDTH
    highest, lowest = SAMPLE_RATE / 2 + offset, _LOWEST_FREQUENCY + offset
    steps = np.arange(BANDS, 0, -1) / BANDS
    return highest * np.exp(steps * np.log(lowest / highest)) - offset


def _pole(frequency: float) -> complex:
    bandwidth = 1.019 * (frequency / _EAR_QUALITY + _LEAST_BANDWIDTH)
    return np.exp(2 * np.pi * (1j * frequency - bandwidth) / SAMPLE_RATE)


def _sections(frequency: float) -> np.ndarray:
    """A filter as second-order sections, (4, 6), for `scipy.signal.sosfilt`."""
    pole = _pole(frequency)
    angle = np.angle(pole)
    offsets = np.array([np.sqrt(2) + 1, -np.sqrt(2) - 1, np.sqrt(2) - 1, 1 - np.sqrt(2)])
    sections = np.zeros((4, 6))
    sections[:, 0] = sections[:, 3] = 1
    sections[:, 1] = -np.abs(pole) * (np.cos(angle) + offsets * np.sin(angle))
    sections[:, 4] = -2 * pole.real
    sections[:, 5] = np.abs(pole) ** 2
    centre = pole / np.abs(pole)
    gain = np.prod(centre + sections[:, 1]) / ((centre - pole) * (centre - pole.conj())) ** 4
    sections[0, :3] /= np.abs(gain)
    return sections


@functools.lru_cache(maxsize=1)
def _filter_bank() -> _FilterBank:
    power_response = np.empty((FRAME_LENGTH + 1, BANDS))
    tails = np.empty((FRAME_LENGTH, BANDS, _POLES))
    for band, frequency in enumerate(_centre_frequencies()):
        pole = _pole(frequency)
        length = int(max(FRAME_LENGTH + 1, -_TIME_CONSTANTS / np.log(np.abs(pole))))
        impulse = np.eye(1, length)[0]
        response = scipy.signal.sosfilt(_sections(frequency), impulse)
        power_response[:, band] = _power_response(response)
        tails[:, band] = _tails(response, pole)
    return _FilterBank(
        np.hanning(FRAME_LENGTH), power_response, tails.reshape(FRAME_LENGTH, BANDS * _POLES)
    )


def _power_response(response: np.ndarray) -> np.ndarray:
    """Weights of a frame's power spectrum in the energy of the filter's whole response to it.

    That energy is the sum of the frame's autocorrelation times the filter's, of which only the lags
    shorter than the frame count; cut to these it fits the frame's zero-padded spectrum, and nothing
    of the response, however long it is, folds over.
    """
    points = scipy.fft.next_fast_len(2 * len(response), real=True)
    spectrum = scipy.fft.rfft(response, points)
    autocorrelation = scipy.fft.irfft(np.abs(spectrum) ** 2, points)[:FRAME_LENGTH]
    weights = 2 * scipy.fft.rfft(autocorrelation, 2 * FRAME_LENGTH).real - autocorrelation[0]
    # Every bin but the first and the last stands for two of the whole spectrum.
    weights[1:-1] *= 2
    return weights / (2 * FRAME_LENGTH)


def _tails(response: np.ndarray, pole: complex) -> np.ndarray:
    """What each sample of a frame adds to the coordinates of the response's tail after the frame.

    With four equal pairs of poles the tail is a sum of n^i |p|^n cos and sin of n arg p, i = 0 to
    3; in an orthonormal basis of these its energy is the sum of its squared coordinates.
    """
    samples = np.arange(len(response))
    ringing = np.exp(samples * np.log(pole))
    powers = (-np.log(np.abs(pole)) * samples) ** np.arange(_POLES // 2)[:, None]
    basis, _ = np.linalg.qr(np.concatenate([powers * ringing.real, powers * ringing.imag]).T)
    # A sample d before the frame's end adds the response from d on.
    coordinates = [scipy.signal.correlate(response, each, "full") for each in basis.T]
    first = len(response) - 1
    return np.stack(coordinates, axis=1)[first + FRAME_LENGTH : first : -1]
