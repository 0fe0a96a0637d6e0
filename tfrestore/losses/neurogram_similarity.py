"""The neurogram similarity as a loss: what rises and falls is to rise and fall as it did.

Hines & Harte, "Speech intelligibility prediction using a neurogram similarity index measure"
(Speech Communation 54(2), 2012), on the spectrogram of ViSQOL's audio mode (Chinen et al., "ViSQOL
v3", QoMEX 2020): levels of 32 gammatone bands in frames of 80 ms, every 20 ms, compared in the
3 x 3 cells around every cell. A network that is to have the right levels (`log_spectrum`) fills the
pauses of an original's treble too; here what is steady where the original was not costs much.

Departures from ViSQOL, which `tfrestore.metrics.visqol` follows: all frames count and are compared
where they are, the last ones with zeros behind the end, nothing is aligned or matched, and what a
filter rings on after a frame is its frame's. There is no regression to an opinion score.
"""

from __future__ import annotations

import functools

import numpy as np
from keras import ops

from tfrestore.layers.stft import STFT
from tfrestore.losses.wasserstein import mean_value
from tfrestore.metrics.visqol_audio.gammatone import FRAME_SECONDS, HOP_SECONDS, power_gains
from tfrestore.metrics.visqol_audio.patches import NOISE_FLOOR, RANGE_BELOW_PEAK
from tfrestore.metrics.visqol_audio.similarity import C1, C3, WEIGHTS

# Under the root, whose slope at zero is infinite; far below the square of C3.
_TINY = 1e-12


def neurogram_similarity_loss(reference, estimate, sample_rate: int = 44100):
    """How unlike the rise and fall of the levels of estimates and references is, per example.

    The estimate's loudness does not count.

    Args:
        reference: float32 (batch, samples), at least one sample, full scale 1.
        estimate: As `reference`.
        sample_rate: Of both, in hertz. Defaults to `44100`.

    Returns:
        float32 (batch,): 1 less the mean similarity over bands and frames; 0 for equal waveforms,
        2 at most.
    """
    powers = [_band_powers(waveform, sample_rate) for waveform in (reference, estimate)]
    sizes = [ops.sum(ops.square(waveform), axis=1) for waveform in (reference, estimate)]
    loudness = sizes[0] / ops.maximum(sizes[1], _TINY)
    powers[1] = powers[1] * loudness[:, None, None]
    # ViSQOL's decibels are of amplitudes, half of the usual ones.
    floor = 10.0 ** (NOISE_FLOOR / 5)
    peak = ops.max(ops.maximum(*powers), axis=2, keepdims=True)
    floor = ops.stop_gradient(ops.maximum(peak * 10.0 ** (-RANGE_BELOW_PEAK / 5), floor))
    levels = [5.0 * ops.log10(ops.maximum(power, floor)) for power in powers]
    lowest = ops.stop_gradient(ops.min(ops.minimum(*levels), axis=(1, 2), keepdims=True))
    return 1.0 - mean_value(similarities(*(level - lowest for level in levels)))


def similarities(reference, estimate):
    """NSIM of every cell.

    Args:
        reference: float32 (batch, frames, bands), levels in decibels above the floor.
        estimate: As `reference`.

    Returns:
        float32, the same shape.
    """
    reference, estimate = (_neighbours(levels) for levels in (reference, estimate))
    means = [ops.sum(ops.multiply(cells, _CELL_WEIGHTS), axis=3) for cells in (reference, estimate)]
    ours, theirs = (
        cells - mean[..., None] for cells, mean in zip((reference, estimate), means, strict=True)
    )
    spread, other, common = (
        ops.sum(ops.multiply(product, _CELL_WEIGHTS), axis=3)
        for product in (ops.square(ours), ops.square(theirs), ours * theirs)
    )
    luminance = (2.0 * means[0] * means[1] + C1) / (
        ops.square(means[0]) + ops.square(means[1]) + C1
    )
    return luminance * (common + C3) / (ops.sqrt(spread * other + _TINY) + C3)


_CELL_WEIGHTS = WEIGHTS.reshape(9).astype("float32")


def _neighbours(levels):
    """(batch, frames, bands) to (batch, frames, bands, 9); beyond an end is its outermost again."""
    frames, bands = ops.shape(levels)[1], levels.shape[2]
    levels = ops.concatenate([levels[:, :, :1], levels, levels[:, :, -1:]], axis=2)
    levels = ops.concatenate([levels[:, :1], levels, levels[:, -1:]], axis=1)
    return ops.stack(
        [
            levels[:, frame : frame + frames, band : band + bands]
            for band in range(3)
            for frame in range(3)
        ],
        axis=3,
    )


def _band_powers(waveform, sample_rate: int):
    """Mean squares of every band's output: (batch, samples) to (batch, frames, bands)."""
    stft, gains = _analysis(sample_rate)
    real, imaginary = stft(waveform)
    return ops.matmul(ops.square(real) + ops.square(imaginary), gains)


@functools.cache
def _analysis(sample_rate: int) -> tuple[STFT, np.ndarray]:
    frame, hop = (round(seconds * sample_rate) for seconds in (FRAME_SECONDS, HOP_SECONDS))
    frame += frame % 2
    frequencies = np.arange(frame // 2 + 1) * sample_rate / frame
    # Parseval: each bin but the outermost stands for two.
    gains = power_gains(frequencies) * 2.0 / frame**2
    return STFT(frame, hop, padding="end"), gains.astype("float32")
