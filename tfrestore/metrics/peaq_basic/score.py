"""PEAQ, basic version: how much worse than the reference a listener finds a signal.

ITU-R BS.1387-1, "Method for objective measurements of perceived audio quality" (2001), Annex 2,
with the readings of P. Kabal, "An examination and interpretation of ITU-R BS.1387" (McGill
University, 2003), where the text is open. By default the values are those of the reference
implementation, G. Gottardi's program `peaqb`, with which Lattner & Nistal measured; the switch
`recommendation` undoes what it does differently. `temporal_averaging` lists that of averaging; the
rest is:

- The first 32 bytes of sound are lost, 16 samples of a mono file and 8 of a stereo file, so that
  all frames begin later. (The program skips its way to the samples of a 16-bit WAV file twice.)
- A channel after the first is not processed in a frame whose first sample is 0 in the reference or
  in the test: its filters do not run, its measures do not count, and the binaural detection goes on
  with the channel's last patterns. (The program tests the sample where it means the pointer to it.
  The last patterns lie in memory that it does not own any more, which may give it other ones.)
- The derivative over frames is multiplied by 46 frames per second instead of 46.875. (An integer
  division.)
- EHSB is the largest value of the cepstrum, not the largest one after its first valley.
- Level and pattern adaptation runs only over the frames whose noise loudness is averaged, so that
  it begins anew more than 0.5 s after the signal's start.

The result is what the program says after the last frame; that it adds a sample of -1 to a mono file
whose last frame is one sample short is left out. Samples are rounded to 16 bits, as in the files
that the measure was made for and the program reads: both bandwidths are found by what stands out of
the test's spectrum above 21.6 kHz, which in 16-bit files is noise at least, and in floats that were
resampled from 44.1 kHz can be nothing (an ODG of -1.9 became -0.5 for it).
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass

import numpy as np

from tfrestore.audio.resampling import resample
from tfrestore.errors import InputError, UndefinedMetricError, UsageError
from tfrestore.metrics.peaq_basic import ear_model, model_output_variables, temporal_averaging
from tfrestore.metrics.peaq_basic.ear_model import (
    BANDS,
    FRAME_LENGTH,
    FULL_SCALE,
    HOP_LENGTH,
    SAMPLE_RATE,
)
from tfrestore.metrics.peaq_basic.neural_network import (
    distortion_index,
    objective_difference_grade,
)
from tfrestore.metrics.peaq_basic.pattern_processing import (
    ExcitationAndModulation,
    LevelAndPatternAdaptation,
    total_loudness,
)

# Frames worked on at once: their spectra fit into a processor's cache.
_BLOCK_FRAMES = 64
# 152 dB: no ear is modelled there, and the samples are no floats of full scale 1.
_LARGEST_SAMPLE = 1000.0
# 32 bytes of 16-bit samples, of all channels together.
_REFERENCE_SAMPLES_LOST = 16


@dataclass(frozen=True)
class PeaqScore:
    """What PEAQ says of a pair of signals.

    Attributes:
        odg: Objective difference grade: 0 imperceptible, -1 perceptible but not annoying, -2
            slightly annoying, -3 annoying, -4 very annoying; between -3.98 and 0.22.
        di: Distortion index, from which the grade is mapped; it tells apart where that saturates.
        variables: The eleven model output variables, by their names in the Recommendation.
    """

    odg: float
    di: float
    variables: dict[str, float]


def peaq(reference, estimate, sample_rate: float, *, recommendation: bool = False) -> PeaqScore:
    """Perceived quality by ITU-R BS.1387-1, basic version, at a listening level of 92 dB.

    Both signals are resampled to 48 kHz, and rounded and clipped to 16 bits. They must be aligned
    in time: a delay between them counts as a distortion. The model output variables are means over
    the channels, and in each band the ear that detects the difference more easily counts; more than
    two channels, of which the Recommendation does not speak, are treated in the same way. Identical
    signals have an ODG of about +0.2 and a DI of about 5.9.

    Args:
        reference: The original: floats of full scale 1, (samples,) or (channels, samples), at least
            0.65 s long.
        estimate: The signal that is judged, as `reference`.
        sample_rate: Rate of both in hertz, a positive integer.
        recommendation: Whether to follow the Recommendation where it and the reference
            implementation differ; see `tfrestore.metrics.peaq_basic.score`.

    Returns:
        The grade, the distortion index, and the variables that they are computed from.

    Raises:
        InputError: The shapes differ or are of another kind, or the samples are no floats.
        UndefinedMetricError: A signal is too short, silent, not finite or far beyond full scale.
        UsageError: `sample_rate` is not a positive integer.

    Source:
        ITU-R BS.1387-1 (2001), Annex 2.
    """
    reference, estimate = _checked(reference, estimate, sample_rate)
    if sample_rate != SAMPLE_RATE:
        reference, estimate = (
            resample(signal.astype(np.float32), int(sample_rate), SAMPLE_RATE)
            for signal in (reference, estimate)
        )
    if not recommendation:
        lost = _REFERENCE_SAMPLES_LOST // len(reference)
        reference, estimate = reference[:, lost:], estimate[:, lost:]
    frames = (reference.shape[1] - FRAME_LENGTH) // HOP_LENGTH + 1
    if frames < temporal_averaging.LEAST_FRAMES:
        raise UndefinedMetricError(
            "the signals are shorter than 0.65 s, of which the first 0.5 s do not count"
        )
    variables = _variables(reference, estimate, frames, recommendation)
    index = distortion_index(variables)
    return PeaqScore(objective_difference_grade(index), index, variables)


def _checked(reference, estimate, sample_rate) -> tuple[np.ndarray, np.ndarray]:
    if not (
        isinstance(sample_rate, numbers.Real)
        and math.isfinite(sample_rate)
        and sample_rate >= 1
        and sample_rate == int(sample_rate)
    ):
        raise UsageError(f"A sample rate is a positive whole number of hertz, not {sample_rate!r}.")
    reference, estimate = np.asarray(reference), np.asarray(estimate)
    for signal in (reference, estimate):
        if signal.dtype.kind != "f":
            raise InputError(
                f"PEAQ takes floating-point samples of full scale 1, received {signal.dtype}."
            )
    if reference.shape != estimate.shape or reference.ndim not in (1, 2):
        raise InputError(
            f"The reference has shape {reference.shape} and the estimate {estimate.shape}: "
            "both must be (samples,) or (channels, samples), of one length."
        )
    if not reference.size:
        raise UndefinedMetricError("the signals have no samples")
    reference, estimate = np.atleast_2d(reference), np.atleast_2d(estimate)
    for name, signal in (("reference", reference), ("estimate", estimate)):
        largest = max(float(signal.max()), -float(signal.min()))
        if not math.isfinite(largest):
            raise UndefinedMetricError(f"the {name} has samples that are not finite")
        if largest * FULL_SCALE <= 0.5:
            raise UndefinedMetricError(f"the {name} is silent")
        if largest > _LARGEST_SAMPLE:
            raise UndefinedMetricError(
                f"the {name} exceeds full scale more than {_LARGEST_SAMPLE:.0f} times"
            )
    return reference, estimate


def _variables(
    reference: np.ndarray, estimate: np.ndarray, frames: int, recommendation: bool
) -> dict[str, float]:
    channels = [
        _Channel(always=recommendation or number == 0, recommendation=recommendation)
        for number in range(len(reference))
    ]
    exceeds_boundary = np.zeros((2, frames), bool)
    detection = np.zeros((2, frames))
    for start in range(0, frames, _BLOCK_FRAMES):
        block = slice(start, min(start + _BLOCK_FRAMES, frames))
        loudest_ear = np.zeros((2, block.stop - start, BANDS))
        for number, channel in enumerate(channels):
            pair = [_frames(signal[number], block) for signal in (reference, estimate)]
            for signal, signal_frames in enumerate(pair):
                exceeds_boundary[signal, block] |= model_output_variables.exceeds_data_boundary(
                    signal_frames
                )
            np.maximum(loudest_ear, channel.process(*pair, start), out=loudest_ear)
        detection[:, block] = loudest_ear.sum(axis=-1)
    if not (exceeds_boundary[0] if recommendation else exceeds_boundary).any():
        who = "reference is" if recommendation else "signals are"
        raise UndefinedMetricError(f"the {who} too quiet to be told from silence")
    measures = [channel.measures() for channel in channels if channel.was_processed]
    return temporal_averaging.average(measures, exceeds_boundary, *detection, recommendation)


def _frames(signal: np.ndarray, block: slice) -> np.ndarray:
    last = (block.stop - 1) * HOP_LENGTH + FRAME_LENGTH
    samples = np.rint(signal[block.start * HOP_LENGTH : last].astype(np.float64) * FULL_SCALE)
    samples = np.clip(samples, -FULL_SCALE, FULL_SCALE - 1) / FULL_SCALE
    return np.lib.stride_tricks.sliding_window_view(samples, FRAME_LENGTH)[::HOP_LENGTH]


class _Channel:
    """One channel of both signals, block by block of frames."""

    def __init__(self, always: bool, recommendation: bool) -> None:
        self._always = always
        self._recommendation = recommendation
        frames_per_second = SAMPLE_RATE / HOP_LENGTH
        self._excitation_and_modulation = ExcitationAndModulation(
            frames_per_second if recommendation else math.floor(frames_per_second)
        )
        self._adaptation = LevelAndPatternAdaptation()
        self._onset = None
        self._skipped = 0
        self._last_detection = np.zeros((2, 1, BANDS))
        self._blocks = []

    def process(self, reference: np.ndarray, test: np.ndarray, first: int) -> np.ndarray:
        """Takes the next frames, (frames, FRAME_LENGTH) each, of which one has the number `first`.

        Returns:
            Exponent and steps of `model_output_variables.detection`, (2, frames, bands).
        """
        used = np.ones(len(reference), bool)
        if not self._always:
            used = (reference[:, 0] != 0) & (test[:, 0] != 0)
            reference, test = reference[used], test[used]
        if used.any():
            detection = self._measure(reference, test, first + np.flatnonzero(used))
        else:
            detection = np.zeros((2, 0, BANDS))
        detection = np.concatenate([self._last_detection, detection], axis=1)
        self._last_detection = detection[:, -1:]
        return detection[:, np.cumsum(used)]

    @property
    def was_processed(self) -> bool:
        """Whether any frame was."""
        return bool(self._blocks)

    def measures(self) -> temporal_averaging.ChannelMeasures:
        """What was measured in all frames."""
        joined = {
            name: np.concatenate([block[name] for block in self._blocks], axis=-1)
            for name in self._blocks[0]
        }
        return temporal_averaging.ChannelMeasures(**joined, onset=self._onset)

    def _measure(self, reference: np.ndarray, test: np.ndarray, number: np.ndarray) -> np.ndarray:
        powers = ear_model.power_spectra(reference), ear_model.power_spectra(test)
        unspread = [ear_model.spread(ear_model.pitch_patterns(power)) for power in powers]
        excitation, modulation, loudness = self._excitation_and_modulation.process(
            np.stack(unspread, axis=1)
        )
        noise = ear_model.noise_patterns(*powers)
        has_energy = model_output_variables.exceeds_energy_threshold(reference)
        has_energy |= model_output_variables.exceeds_energy_threshold(test)
        harmonics = np.full(len(number), np.nan)
        harmonics[has_energy] = model_output_variables.error_harmonic_structure(
            *(power[has_energy] for power in powers), after_first_valley=self._recommendation
        )
        adapted = self._adapted_frames(excitation, number)
        noise_loudness = np.full(len(number), np.nan)
        if adapted.any():
            noise_loudness[adapted] = model_output_variables.noise_loudness(
                modulation[adapted], self._adaptation.process(excitation[adapted])
            )
        self._blocks.append(
            {
                "frame": number,
                "bandwidths": np.stack(model_output_variables.bandwidths(*powers)),
                "noise_to_mask": np.stack(
                    model_output_variables.noise_to_mask_ratios(noise, excitation[:, 0])
                ),
                "has_energy": has_energy,
                "harmonics": harmonics,
                "modulation": np.stack(
                    model_output_variables.modulation_differences(modulation, loudness[:, 0])
                ),
                "noise_loudness": noise_loudness,
            }
        )
        return np.stack(model_output_variables.detection(excitation))

    def _adapted_frames(self, excitation: np.ndarray, number: np.ndarray) -> np.ndarray:
        """Which frames the adaptation runs over, by the loudness threshold; notes its opening."""
        delayed = number >= temporal_averaging.DELAY_FRAMES
        looked_at = np.ones_like(delayed) if self._recommendation else delayed
        if self._onset is None and looked_at.any():
            loud = total_loudness(excitation) > temporal_averaging.LEAST_LOUDNESS
            loud = loud.all(axis=1) if self._recommendation else loud.any(axis=1)
            opening = np.flatnonzero(loud & looked_at)
            self._onset = int(number[opening[0]]) if opening.size else None
        if self._recommendation:
            return np.ones_like(delayed)
        if self._onset is None:
            return delayed
        after = np.flatnonzero(number >= self._onset)
        skipped = after[: temporal_averaging.REFERENCE_FRAMES_SKIPPED - self._skipped]
        self._skipped += len(skipped)
        delayed[skipped] = False
        return delayed
