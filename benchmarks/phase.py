"""`python -m benchmarks.phase`: how the phase of a gap is best found.

Puts gaps of 10 to 50 ms into music, restores it with a trained inpainter in several ways, and
prints the gain in PSNR of the magnitude patches and of the waveform, mean and worst track.
"""

from __future__ import annotations

import argparse

import numpy as np
from keras import ops

from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.degradation import DAMAGED_SHARES
from tfrestore.data.gaps import waveform_gap_mask
from tfrestore.evaluation.spectrogram_gaps import read_mono
from tfrestore.restorer import Restorer

SECONDS = 8


def psnr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """In dB, for values of at most one."""
    return float(-10 * np.log10(np.mean((reference - estimate) ** 2)))


def fill(
    restorer, waveform, lost, continued: bool, coherence: bool, iterations: int, momentum: float
):
    """`InpainterRestorer`'s filling of gaps, with its parts switched."""
    known = np.where(lost, 0, waveform)
    real, imaginary = restorer.stft(known)
    intact = restorer._intact_frames(lost)
    magnitude = ops.sqrt(real**2 + imaginary**2) * ops.cast(intact, "float32")[..., None]
    estimate = restorer.restore_magnitude(magnitude)
    if continued:
        real, imaginary, trusted = restorer.phase_continuation(real, imaginary, intact)
        estimate = estimate * trusted if coherence else estimate
    restorer.griffin_lim.momentum = momentum
    return np.asarray(
        restorer.griffin_lim(
            ops.where(intact[..., None], magnitude, estimate),
            samples=waveform.shape[1],
            iterations=iterations,
            phase=(real, imaginary),
            known=known,
            lost=lost,
        )
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="folder of a trained run")
    parser.add_argument("--data", default="demo", help="folder of music, or demo")
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    restorer = Restorer.from_preset(options.model)
    ways = {
        "Griffin-Lim, 32 iterations": (False, False, 32, 0.0),
        "fast Griffin-Lim, 32 iterations": (False, False, 32, 0.99),
        "continued": (True, False, 0, 0.0),
        "continued, 1 iteration": (True, False, 1, 0.0),
        "continued with coherence": (True, True, 0, 0.0),
        "continued with coherence, 1 iteration (the default)": (True, True, 1, 0.0),
        "continued with coherence, 8 iterations": (True, True, 8, 0.0),
    }
    gains = {way: [] for way in ways}
    for index, track in enumerate(open_catalogue(options.data).require(options.split)):
        waveform = read_mono(track, restorer.sample_rate)[None, : SECONDS * restorer.sample_rate]
        kept = waveform_gap_mask(
            waveform.shape[1], restorer.sample_rate, seed=0, index=index, shares=DAMAGED_SHARES
        )
        lost = ~kept[None]
        degraded = np.where(lost, 0, waveform)

        def magnitude(each):
            return np.asarray(restorer.patch_magnitudes(each, 128)) / restorer.target_scale

        truth, before = magnitude(waveform), magnitude(degraded)
        for way, how in ways.items():
            restored = fill(restorer, waveform, lost, *how)
            gains[way].append(
                (
                    psnr(truth, magnitude(restored)) - psnr(truth, before),
                    psnr(waveform, restored) - psnr(waveform, degraded),
                )
            )
    print("gain in PSNR (dB)                                    magnitude     waveform")
    print("                                                    mean  worst  mean  worst")
    for way, values in gains.items():
        mean, worst = np.mean(values, axis=0), np.min(values, axis=0)
        print(f"{way:50s} {mean[0]:5.2f}  {worst[0]:5.2f} {mean[1]:5.2f}  {worst[1]:5.2f}")


if __name__ == "__main__":
    main()
