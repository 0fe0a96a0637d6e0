"""From measurements to the papers' tables: means, standard deviations, gains, and t-tests.

Every line is about one degradation, one genre (or all), one system and one ruler. A value is one
recording's, except for PSNR and NRMSE, whose values are the patches', as in Serra et al. Infinite
values are left out of means and counted, and so are those that a ruler did not give.

Of a stochastic system's versions two lines are made, as in Table 2 of Lattner & Nistal: the best of
each recording's versions, for every ruler the best by that ruler, and the mean over the versions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tfrestore.evaluation.measurement import DEGRADED, Measurement
from tfrestore.evaluation.rulers import RULERS, Ruler
from tfrestore.evaluation.significance import paired_t_test

#: The genre of lines that are over all of them.
ALL = "all"


@dataclass(frozen=True)
class Row:
    """One line.

    Attributes:
        degradation: Such as `mp3:32`.
        kbit_per_second: Of MP3 degradations; `None` of others.
        genre: A genre, or `ALL`.
        system: Whose versions.
        versions: `"one"`, or of a stochastic system `"best of K"` or `"mean of K"`.
        metric: A ruler's name.
        tracks: Recordings.
        count: Finite values; the mean is over these.
        infinite: Values left out because they are infinite: nothing was lost, or all came back.
        undefined: Values left out because the ruler gave none.
        mean: Of the finite values.
        standard_deviation: Of the sample (n - 1).
        gain: Mean of how much better the system's values are than the degraded recordings', over
            those finite in both; positive is better for every ruler.
        gain_standard_deviation: Of the sample.
        gain_count: Pairs of values in the gain.
    """

    degradation: str
    kbit_per_second: int | None
    genre: str
    system: str
    versions: str
    metric: str
    tracks: int
    count: int
    infinite: int
    undefined: int
    mean: float
    standard_deviation: float
    gain: float
    gain_standard_deviation: float
    gain_count: int


@dataclass(frozen=True)
class Comparison:
    """A paired t-test between two systems, over recordings.

    Attributes:
        degradation: Such as `mp3:32`.
        metric: A ruler's name.
        first: A system.
        second: The system it is compared with.
        gain: How much better the second is, mean over recordings.
        count: Recordings that have a finite number of both.
        t: Student's statistic; NaN for fewer than two recordings or where they do not vary.
        p: Two-sided.
    """

    degradation: str
    metric: str
    first: str
    second: str
    gain: float
    count: int
    t: float
    p: float


@dataclass(frozen=True)
class Tables:
    """All tables of an evaluation.

    Attributes:
        rows: By degradation, genre, system and ruler.
        comparisons: By degradation and ruler.
        pooled: Rows over the MP3s of all bit rates, whose `degradation` is `"mp3"`; a recording
            counts once for every bit rate.
        genre_name: What genres are called: `"genre"`, or `"content"`.
    """

    rows: Sequence[Row]
    comparisons: Sequence[Comparison]
    pooled: Sequence[Row] = ()
    genre_name: str = "genre"

    @property
    def every_row(self) -> list[Row]:
        """The rows, and those over several bit rates where there are several."""
        several = len({row.kbit_per_second for row in self.rows} - {None}) > 1
        return [*self.rows, *(self.pooled if several else ())]

    @classmethod
    def of(cls, measurements: Iterable[Measurement], genre_name: str = "genre") -> Tables:
        """The tables of measurements."""
        measurements = list(measurements)
        return cls(
            make_rows(measurements),
            make_comparisons(measurements),
            make_rows(_pooled(measurements)),
            genre_name,
        )


@dataclass(frozen=True)
class _Column:
    """A system's values by one ruler: an array per recording, in the order of the recordings."""

    system: str
    versions: str
    by_track: dict[str, np.ndarray]


def make_rows(measurements: Iterable[Measurement]) -> list[Row]:
    """Lines by degradation, genre, system and ruler, in this order."""
    measurements = list(measurements)
    rows = []
    for degradation, of_degradation in _grouped(measurements, "degradation"):
        genres = sorted({each.subject.genre for each in of_degradation})
        for genre in [*genres, ALL]:
            chosen = [each for each in of_degradation if genre in (ALL, each.subject.genre)]
            for metric, columns in _columns(chosen):
                before = next((c for c in columns if c.system == DEGRADED), None)
                rows += [_row(degradation, genre, metric, column, before) for column in columns]
    order = {system: place for place, system in enumerate(systems_of(measurements))}
    rulers = list(RULERS)

    def place(row: Row) -> tuple:
        return order[row.system], row.versions, rulers.index(row.metric)

    groups = itertools.groupby(rows, lambda row: (row.degradation, row.genre))
    return [row for _, group in groups for row in sorted(group, key=place)]


def make_comparisons(measurements: Iterable[Measurement]) -> list[Comparison]:
    """Paired t-tests between all systems, by degradation and ruler.

    The test is over recordings, since patches of one recording are not independent; of a stochastic
    system each recording has the mean over its versions.
    """
    comparisons = []
    for degradation, of_degradation in _grouped(list(measurements), "degradation"):
        for metric, columns in _columns(of_degradation):
            single = [column for column in columns if not column.versions.startswith("best")]
            for first, second in itertools.combinations(single, 2):
                comparisons.append(_compare(degradation, metric, first, second))
    return comparisons


def _pooled(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Those of MP3s, as if they were all of one degradation."""
    return [
        replace(
            each,
            subject=replace(
                each.subject,
                track=f"{each.subject.track} as {each.subject.degradation}",
                degradation="mp3",
            ),
        )
        for each in measurements
        if each.subject.degradation.startswith("mp3:")
    ]


def in_order(measurements: Iterable[Measurement], systems: Sequence[str]) -> list[Measurement]:
    """By degradation, recording, system and version, however they came from the workers.

    Args:
        measurements: Of whatever.
        systems: Names in the order they shall have.
    """

    def place(measurement: Measurement) -> tuple:
        subject = measurement.subject
        family, _, detail = subject.degradation.partition(":")
        rate = int(detail) if detail.isdecimal() else 0
        degradation = family, rate, detail
        return degradation, subject.track, systems.index(subject.system), subject.sample

    return sorted(measurements, key=place)


def systems_of(measurements: Iterable[Measurement]) -> list[str]:
    """The systems that were measured, the degraded recordings first, otherwise as they came."""
    found = dict.fromkeys(each.subject.system for each in measurements)
    return sorted(found, key=lambda system: system != DEGRADED)


def values_of(measurements: Iterable[Measurement], metric: str) -> dict[tuple[str, str], list]:
    """Finite values of a ruler by (degradation, system), for pictures of their distribution."""
    found: dict[tuple[str, str], list] = {}
    for each in measurements:
        if metric in each.scores:
            values = each.scores[metric].values
            column = found.setdefault((each.subject.degradation, each.subject.system), [])
            column += list(values[np.isfinite(values)])
    return found


def _grouped(
    measurements: list[Measurement], attribute: str
) -> Iterator[tuple[str, list[Measurement]]]:
    names = dict.fromkeys(getattr(each.subject, attribute) for each in measurements)
    for name in names:
        yield name, [each for each in measurements if getattr(each.subject, attribute) == name]


def _columns(measurements: list[Measurement]) -> Iterator[tuple[str, list[_Column]]]:
    """Every ruler with the systems' values."""
    for metric, ruler in RULERS.items():
        columns = []
        for system, of_system in _grouped(measurements, "system"):
            by_track = {
                track: [each.scores[metric] for each in of_track if metric in each.scores]
                for track, of_track in _grouped(of_system, "track")
            }
            by_track = {track: scores for track, scores in by_track.items() if scores}
            if not by_track:
                continue
            versions = max(map(len, by_track.values()))
            if versions == 1:
                single = {track: scores[0].values for track, scores in by_track.items()}
                columns.append(_Column(system, "one", single))
                continue
            mean = {track: _mean_of(scores) for track, scores in by_track.items()}
            columns.append(_Column(system, f"mean of {versions}", mean))
            if ruler.higher_is_better is not None:
                best = {track: _best_of(scores, ruler) for track, scores in by_track.items()}
                columns.append(_Column(system, f"best of {versions}", best))
        if columns:
            columns.sort(key=lambda column: column.system != DEGRADED)
            yield metric, columns


def _best_of(scores, ruler: Ruler) -> np.ndarray:
    """The values of the version whose own number is best."""
    defined = [score for score in scores if not np.isnan(score.summary)] or scores
    choose = max if ruler.higher_is_better else min
    return choose(defined, key=lambda score: score.summary).values


def _mean_of(scores) -> np.ndarray:
    return np.mean([score.values for score in scores], axis=0)


def _row(degradation, genre, metric, column: _Column, before: _Column | None) -> Row:
    values = np.concatenate(list(column.by_track.values()))
    finite = values[np.isfinite(values)]
    gains = np.array([])
    if before is not None and column.system != DEGRADED:
        tracks = [
            track
            for track, values in column.by_track.items()
            if track in before.by_track and len(before.by_track[track]) == len(values)
        ]
        gains = [_gains(metric, before.by_track[t], column.by_track[t]) for t in tracks]
        gains = np.concatenate(gains or [np.array([])])
    family, _, detail = degradation.partition(":")
    return Row(
        degradation=degradation,
        kbit_per_second=int(detail) if family == "mp3" and detail else None,
        genre=genre,
        system=column.system,
        versions=column.versions,
        metric=metric,
        tracks=len(column.by_track),
        count=len(finite),
        infinite=int(np.isinf(values).sum()),
        undefined=int(np.isnan(values).sum()),
        mean=_mean(finite),
        standard_deviation=_standard_deviation(finite),
        gain=_mean(gains),
        gain_standard_deviation=_standard_deviation(gains),
        gain_count=len(gains),
    )


def _gains(metric: str, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    finite = np.isfinite(before) & np.isfinite(after)
    return RULERS[metric].gain(before[finite], after[finite])


def _compare(degradation, metric, first: _Column, second: _Column) -> Comparison:
    pairs = np.array(
        [
            _finite_means(values, second.by_track[track])
            for track, values in first.by_track.items()
            if track in second.by_track and len(second.by_track[track]) == len(values)
        ]
    ).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    gains = RULERS[metric].gain(pairs[:, 0], pairs[:, 1])
    test = paired_t_test(gains, np.zeros_like(gains))
    return Comparison(
        degradation=degradation,
        metric=metric,
        first=first.system,
        second=second.system,
        gain=_mean(gains),
        count=len(pairs),
        t=test.t,
        p=test.p,
    )


def _finite_means(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """A recording's number by either system, over the values that are finite in both."""
    finite = np.isfinite(first) & np.isfinite(second)
    return _mean(first[finite]), _mean(second[finite])


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _standard_deviation(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
