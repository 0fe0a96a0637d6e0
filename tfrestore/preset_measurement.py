"""What a trained model is good for, measured on validation music before it is shipped.

Every recording is degraded as the evaluation did, and restored with the model as it was trained,
with its weights in float16, and in a third way that keeps the recording up to the frequency at
which the encoder cut it off. What comes of it decides three things of a preset: whether float16
costs nothing, whether the model improves what is below the cut-off, and which degradations it
improves at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tfrestore.data.degradation import Degradation, Mp3
from tfrestore.data.tracks import Track
from tfrestore.evaluation.measurement import Excerpt
from tfrestore.evaluation.rulers import RULERS
from tfrestore.evaluation.scoring import score_waveforms
from tfrestore.evaluation.significance import paired_t_test
from tfrestore.inspection import inspect_waveform
from tfrestore.preset_choice import usual_cutoff

#: What is laid on every version; of float32 only what compares samples and spectra.
CHOICES = ("snr", "si_sdr", "lsd", "multi_resolution_stft_error", "peaq", "visqol")
_CHEAP = CHOICES[:4]

#: dB of SI-SDR that the mean may fall before a significant loss rules out a preset.
TOLERANCE = 0.5

#: The rulers that say what is heard, each on a scale of four grades; their gains are added up.
HEARD = ("odg", "visqol")

_SIGNIFICANT = 0.05

# SI-SDR that a model may lose below the cut-off and still be said to improve it, dB.
_LEVEL = 0.05


@dataclass
class PresetMeasurement:
    """Scores by (degradation, version, ruler), a number per recording.

    Versions are `degraded`; `whole`, restored with the weights as they would be shipped; `above`,
    the same with the recording kept below the cut-off; and `float32`.
    """

    columns: dict[tuple[str, str, str], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(
        self, degradation: str, version: str, intact, estimate, sample_rate: int, choices
    ) -> None:
        """Lays rulers on a version of a recording, float32 `(channels, samples)`."""
        for name, score in score_waveforms(intact, estimate, sample_rate, choices).items():
            if RULERS[name].higher_is_better is not None:
                self.columns[degradation, version, name].append(score.summary)

    @property
    def degradations(self) -> list[str]:
        """Their names, as they came."""
        return list(dict.fromkeys(degradation for degradation, *_ in self.columns))

    def float16_changes(self) -> dict[str, float]:
        """By ruler, the most that a mean changes by weights of 16 bits."""
        changes: dict[str, float] = {}
        for degradation, version, name in list(self.columns):
            if version == "float32":
                exact, half = self._pairs(degradation, name, "float32", "whole")
                change = abs(_mean(half) - _mean(exact)) if len(exact) else 0.0
                changes[name] = max(changes.get(name, 0.0), change)
        return changes

    def float16_costs_nothing(self) -> bool:
        """Whether no mean changes by so much that a table would show it."""
        return all(
            change < 0.5 * 10.0 ** -RULERS[name].decimals
            for name, change in self.float16_changes().items()
        )

    def improves_below_cutoff(self) -> bool:
        """Whether the model is better than the recording below the cut-off, over all degradations.

        Its spectra have to be, and its samples may not be worse. Where no recording was cut off
        there is nothing to keep.
        """
        cut = [name for name in self.degradations if (name, "above", "snr") in self.columns]
        if not cut:
            return True
        spectra, samples = (
            np.mean([self._gain(name, ruler, "above", "whole") for name in cut])
            for ruler in ("multi_resolution_stft_error", "si_sdr")
        )
        return bool(spectra > 0 and samples > -_LEVEL)

    def improved(self) -> dict[str, float | None]:
        """By degradation, the gain of ViSQOL; `None` where it is not improved, by the rule.

        It is 0 where ViSQOL has no value.

        The multi-resolution STFT error has to get better, of gaps SNR too; and neither may SI-SDR
        get significantly worse by more than `TOLERANCE`, nor what is heard significantly worse at
        all. The rulers of hearing contradict each other where much is lost, so it is their sum.

        Of bandwidth SI-SDR is not asked: a treble at the right level whose phases cannot be known
        is twice as far from the original as no treble, in power, which is 3 dB.
        """
        version = "whole" if self.improves_below_cutoff() else "above"
        gains: dict[str, float | None] = {}
        for name in self.degradations:
            used = version if (name, version, "snr") in self.columns else "whole"
            better = self._gain(name, "multi_resolution_stft_error", "degraded", used) > 0
            if name.startswith("gaps"):
                better &= self._gain(name, "snr", "degraded", used) > 0
            if not name.startswith("bandwidth"):
                better &= not _is_loss(self._gains(name, ("si_sdr",), used), TOLERANCE)
            better &= not _is_loss(self._gains(name, HEARD, used))
            gain = self._gain(name, "visqol", "degraded", used)
            gains[name] = float(np.nan_to_num(gain)) if better else None
        return gains

    def _gains(self, degradation: str, rulers: Sequence[str], version: str) -> np.ndarray:
        """The gain of every recording, of several rulers their sum; without what is not finite."""
        gains = [
            RULERS[name].gain(
                *(np.array(self.columns[degradation, v, name]) for v in ("degraded", version))
            )
            for name in rulers
        ]
        total = np.sum(gains, axis=0)
        return total[np.isfinite(total)]

    def _gain(self, degradation: str, ruler: str, first: str, second: str) -> float:
        return _mean(RULERS[ruler].gain(*self._pairs(degradation, ruler, first, second)))

    def _pairs(self, degradation: str, ruler: str, first: str, second: str):
        before, after = (
            np.array(self.columns[degradation, version, ruler]) for version in (first, second)
        )
        finite = np.isfinite(before) & np.isfinite(after)
        return before[finite], after[finite]

    def summary(self) -> dict:
        """Means and standard deviations by degradation, version and ruler, for JSON."""
        found: dict = {}
        for (degradation, version, ruler), values in self.columns.items():
            if version == "float32":
                continue
            finite = np.array(values)[np.isfinite(values)]
            found.setdefault(degradation, {}).setdefault(version, {})[ruler] = {
                "mean": _mean(finite) if len(finite) else None,
                "standard_deviation": float(finite.std(ddof=1)) if len(finite) > 1 else None,
                "count": len(finite),
            }
        return found


def measure_preset(
    restorer,
    exact,
    tracks: Sequence[Track],
    degradations: Sequence[Degradation],
    *,
    seconds: float | None = None,
    mono: bool = False,
    seed: int = 0,
    note: Callable[[int, str], None] = lambda done, name: None,
) -> PresetMeasurement:
    """Measures a model on every recording with every degradation.

    Args:
        restorer: The `Restorer` with the weights that would be shipped.
        exact: The same with its weights in float32.
        tracks: Validation music.
        degradations: What to do to it; those that exist in spectrograms only are left out.
        seconds: How much of each recording's middle; `None` for all.
        mono: Whether to mix it to one channel first.
        seed: Decides gaps.
        note: Is told how many versions of recordings are done, and the recording's name.

    Raises:
        AudioFileError: if a recording cannot be read.
    """
    measurement, done = PresetMeasurement(), 0
    rate = measurement_rate(restorer)
    for degradation in degradations:
        if degradation.is_spectral:
            continue
        for index, track in enumerate(tracks):
            note(done, track.track_id)
            excerpt = Excerpt.middle(track.duration, seconds)
            intact, degraded = degradation.pair(
                track,
                rate,
                start=excerpt.start,
                seconds=excerpt.seconds,
                mono=mono,
                seed=seed,
                index=index,
            )
            cutoff = _cutoff(degraded, rate, degradation)
            for version, estimate, choices in _versions(restorer, exact, degraded, rate, cutoff):
                measurement.add(degradation.name, version, intact, estimate, rate, choices)
            done += 1
    return measurement


def measurement_rate(restorer) -> int:
    """The sample rate in Hz at which a model is measured: its own, but no less than a CD's."""
    return max(restorer.sample_rate, 44100)


def _cutoff(degraded: np.ndarray, rate: int, degradation: Degradation) -> float | None:
    """Where the encoder cut a recording off, as `restore` would see it; `None` for other harm."""
    if not isinstance(degradation, Mp3):
        return None
    usual = usual_cutoff(degradation.kbit_per_second, len(degraded))
    return inspect_waveform(degraded, rate).cutoff or usual


def _versions(
    restorer, exact, degraded: np.ndarray, rate: int, cutoff: float | None
) -> Iterator[tuple[str, np.ndarray, Sequence[str]]]:
    yield "degraded", degraded, CHOICES
    yield "whole", restorer.restore(degraded, rate), CHOICES
    yield "float32", exact.restore(degraded, rate), _CHEAP
    if cutoff is not None:
        yield "above", restorer.restore(degraded, rate, keep_below=cutoff), CHOICES


def _is_loss(gains: np.ndarray, tolerance: float = 0.0) -> bool:
    """Whether gains are significantly negative, by more than a tolerance in the mean."""
    if not len(gains) or np.mean(gains) >= -tolerance:
        return False
    test = paired_t_test(gains, np.zeros_like(gains))
    # One recording proves nothing, and so it does not acquit either.
    return not test.p >= _SIGNIFICANT


def _mean(values) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
