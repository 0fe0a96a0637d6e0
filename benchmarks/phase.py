"""`python -m benchmarks.phase`: how the phase of a gap is best found.

Puts gaps of 10 to 50 ms into music, restores it with a trained inpainter in several ways, and
prints the gain in PSNR of the magnitude patches and of the waveform, mean and worst track.
"""

from __future__ import annotations

import functools

import numpy as np
from keras import ops

from benchmarks.parser import make_parser
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
    restorer, continued: bool, coherence: bool, iterations: int, momentum: float, waveform, lost
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


def predict(restorer):
    """`InpainterRestorer`'s prediction with the network, of exactly what is marked."""

    def restore(waveform, lost):
        restorer.griffin_lim.momentum = 0.0
        return restorer._predict(waveform, lost)

    return restore


def main() -> None:
    """Prints the table."""
    parser = make_parser(__spec__.name, __doc__)
    parser.add_argument("--model", required=True, help="folder of a trained run")
    parser.add_argument("--data", default="demo", help="folder of music, or demo")
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    rate = Restorer.from_preset(options.model).spectrogram_rate
    # At the network's rate, so that every way has the same samples to find.
    restorer = Restorer.from_preset(
        options.model, sample_rate=rate, spectrogram_rate=rate, phase="predict"
    )
    switches = {
        "Griffin-Lim, 32 iterations": (False, False, 32, 0.0),
        "fast Griffin-Lim, 32 iterations": (False, False, 32, 0.99),
        "continued": (True, False, 0, 0.0),
        "continued, 1 iteration": (True, False, 1, 0.0),
        "continued with coherence": (True, True, 0, 0.0),
        "continued with coherence, 1 iteration (phase=keep)": (True, True, 1, 0.0),
        "continued with coherence, 8 iterations": (True, True, 8, 0.0),
    }
    ways = {way: functools.partial(fill, restorer, *each) for way, each in switches.items()}
    ways["linear prediction, without the network"] = restorer.linear_prediction
    ways["linear prediction with it (phase=predict)"] = predict(restorer)
    gains = {way: [] for way in ways}
    for index, track in enumerate(open_catalogue(options.data).require(options.split)):
        waveform = read_mono(track, rate)[None, : SECONDS * rate]
        kept = waveform_gap_mask(
            waveform.shape[1], rate, seed=0, index=index, shares=DAMAGED_SHARES
        )
        lost = ~kept[None]
        degraded = np.where(lost, 0, waveform)

        def magnitude(each):
            return np.asarray(restorer.patch_magnitudes(each, 128)) / restorer.target_scale

        truth, before = magnitude(waveform), magnitude(degraded)
        for way, fill_gaps in ways.items():
            restored = np.asarray(fill_gaps(degraded, lost))
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
