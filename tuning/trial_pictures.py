"""The pictures of a search: parallel coordinates of its trials, and what hyperparameters matter.

In parallel coordinates (Inselberg, "The plane with parallel coordinates", 1985) every
hyperparameter is a vertical axis and every trial a line across all of them, here to the objective
on the right. The same figure becomes a PNG and the SVG of the page.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfrestore.pictures import make_figure
from tuning.importance import PERCENTILES, Importances, coordinate, tunable
from tuning.labels import format_value, short_names
from tuning.search_results import SearchResults
from tuning.trial_results import DAMAGED, RUNNING, TrialResult

#: What the elements of an SVG are called that belong to a trial, with its name behind it.
LINE = "line-"

#: Those of an axis, with its number behind it.
AXIS_LINE = "axis-line-"

_BEST, _BASELINE, _FAILED = "#d1471f", "#111111", "#8a8a8a"
_MOST_CATEGORIES = 12

# Where trials without a value end, below the axis.
_NO_VALUE = -0.09


@dataclass(frozen=True)
class Axis:
    """A vertical axis.

    Attributes:
        label: What it shows.
        ticks: `(place, text)`, places from 0 at the bottom to 1.
        places: For each trial where it crosses the axis; NaN where it does not.
    """

    label: str
    ticks: tuple[tuple[float, str], ...]
    places: tuple[float, ...]


def shown_trials(results: SearchResults) -> list[TrialResult]:
    """The trials that have hyperparameters to show and have ended."""
    return [trial for trial in results.trials if trial.status not in (DAMAGED, RUNNING)]


def make_axes(results: SearchResults) -> list[Axis]:
    """An axis per hyperparameter, for the steps where they differ, and for the objective."""
    trials = shown_trials(results)
    space = [each for trial in trials for each in trial.space]
    found = tunable(space)
    labels = short_names([each.name for each in found])
    axes = [
        _hyperparameter_axis(each, label, trials) for each, label in zip(found, labels, strict=True)
    ]
    if len(results.steps) > 1:
        axes.append(_steps_axis(results.steps, trials))
    return [*axes, _objective_axis(results, trials)]


def parallel_coordinates(results: SearchResults):
    """The figure: a line per trial, the darker the better it is among those of as many steps.

    The best trial is thick, the preset's own setting dashed, failed and skipped trials dotted and
    grey. Lines that would lie on each other on an axis with few values are spread a little.
    The objective's axis leaves out values that are far worse than the others.

    Returns:
        A Matplotlib figure; `None` where no trial has ended.
    """
    import matplotlib

    trials = shown_trials(results)
    if not trials:
        return None
    axes = make_axes(results)
    figure = make_figure(max(6.0, 1.25 * len(axes) + 1.2), 4.4)
    axis = figure.add_subplot()
    axis.set_xlim(-0.35, len(axes) - 1 + 0.55)
    axis.set_ylim(_NO_VALUE - 0.05, 1.12)
    axis.set_axis_off()
    for place, each in enumerate(axes):
        (line,) = axis.plot([place, place], [0, 1], color="#444444", linewidth=1, zorder=3)
        line.set_gid(f"{AXIS_LINE}{place}")
        axis.text(
            place,
            1.05,
            each.label.replace("_", "_\n"),
            ha="center",
            fontsize="small",
            parse_math=False,
        )
        for height, text in each.ticks:
            axis.plot([place - 0.03, place], [height, height], color="#444444", linewidth=1)
            axis.text(
                place + (0.05 if each is axes[-1] else -0.05),
                height,
                text,
                ha="left" if each is axes[-1] else "right",
                va="center",
                fontsize="x-small",
                parse_math=False,
                bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 0.5},
                zorder=5,
            )
    if any(not trial.is_completed for trial in trials):
        axis.text(len(axes) - 0.95, _NO_VALUE, "no value", va="center", fontsize="x-small")
    colours, qualities = matplotlib.colormaps["viridis"], _qualities(results, trials)
    best = results.best
    for number, trial in enumerate(trials):
        heights = np.array([each.places[number] for each in axes])
        style = {"color": _FAILED, "linestyle": ":", "linewidth": 1, "zorder": 1, "alpha": 0.9}
        if trial.is_completed:
            colour = colours(0.95 * (1 - qualities[trial.name]))
            style = {"color": colour, "linewidth": 1.1, "alpha": 0.75, "zorder": 2}
        if trial is best:
            style |= {"color": _BEST, "linewidth": 2.6, "alpha": 1, "zorder": 4, "label": "best"}
        if results.is_baseline(trial):
            style |= {"linestyle": "--", "alpha": 1, "zorder": 4, "marker": "D", "markersize": 4}
            style |= {"label": "best, and baseline" if trial is best else "baseline"}
            style |= {} if trial is best else {"color": _BASELINE, "linewidth": 1.8}
        known = np.isfinite(heights)
        (line,) = axis.plot(np.flatnonzero(known), heights[known], **style)
        line.set_gid(LINE + trial.name)
    if any(not trial.is_completed for trial in trials):
        axis.plot([], [], color=_FAILED, linestyle=":", linewidth=1, label="failed or skipped")
    handles = {text: handle for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(),
        handles,
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize="small",
    )
    return figure


def _qualities(results: SearchResults, trials: Sequence[TrialResult]) -> dict[str, float]:
    """Where each completed trial stands among those of as many steps: 0 the worst, 1 the best."""
    sign = 1 if results.higher_is_better else -1
    qualities = {}
    for trial in (trial for trial in trials if trial.is_completed):
        scores = [
            sign * each.score for each in trials if each.is_completed and each.steps == trial.steps
        ]
        worse = sum(score < sign * trial.score for score in scores)
        better = sum(score > sign * trial.score for score in scores)
        qualities[trial.name] = worse / (worse + better) if worse + better else 1.0
    return qualities


def importance_bars(importances: Importances):
    """The figure: a bar per hyperparameter, the part that it explains alone darker.

    Whiskers are the 5th to the 95th percentile. The last bar is that of a hyperparameter without
    any effect.
    """
    shares = [*importances.shares, importances.idle]
    figure = make_figure(6.5, 1.5 + 0.32 * len(shares))
    axis = figure.add_subplot()
    places = np.arange(len(shares))
    totals = np.array([share.total for share in shares])
    colours = ["#9db8dd"] * (len(shares) - 1) + ["#d0d0d0"]
    axis.barh(places, totals, color=colours, label="together with others")
    # No more than the whole, which sampling errors may have it exceed.
    alone = [min(share.alone, share.total) for share in shares]
    axis.barh(places, alone, color=["#2b5c9e"] * (len(shares) - 1) + ["#8a8a8a"], label="alone")
    for place, share in zip(places, shares, strict=True):
        axis.plot([share.low, share.high], [place, place], color="#111111", linewidth=1)
        axis.plot(
            [share.low, share.high], [place, place], "|", color="#111111", markersize=6, zorder=3
        )
    axis.set_yticks(places, [share.name for share in shares], parse_math=False, fontsize="small")
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_xlabel(
        f"share of the variance (whiskers: {PERCENTILES[0]} to {PERCENTILES[1]} % of trees)",
        fontsize="small",
    )
    axis.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize="small")
    return figure


def svg_of(figure, prefix: str = "") -> str:
    """A figure as an `<svg>` element whose text is text, the same at every call.

    Args:
        figure: A Matplotlib figure.
        prefix: In front of the ids of its elements, which have to differ within a page.
    """
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tfrestore"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    # Without the declarations that only a file of its own has.
    _, begin, rest = text.getvalue().partition("<svg")
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", begin + rest)


def _hyperparameter_axis(hyperparameter, label: str, trials: Sequence[TrialResult]) -> Axis:
    places = [coordinate(hyperparameter, trial.values.get(hyperparameter.name)) for trial in trials]
    values = _few_values(hyperparameter)
    if values is not None:
        # True and false, which KerasTuner may have as 1 and 0, as the trials have them.
        texts = {
            trial.values[hyperparameter.name]: format_value(trial.settings[hyperparameter.name])
            for trial in trials
            if hyperparameter.name in trial.settings
        }
        ticks = [
            (hyperparameter.value_to_prob(value), texts.get(value, format_value(value)))
            for value in values
        ]
        places = _spread(places, len(values))
    else:
        ticks = _range_ticks(hyperparameter)
    return Axis(
        label,
        tuple(ticks),
        tuple(math.nan if place is None else place for place in places),
    )


def _few_values(hyperparameter) -> list | None:
    """All values, where they are so few that each can have a tick."""
    steps = (np.arange(4 * _MOST_CATEGORIES) + 0.5) / (4 * _MOST_CATEGORIES)
    values = list(dict.fromkeys(hyperparameter.prob_to_value(float(step)) for step in steps))
    return values if len(values) <= _MOST_CATEGORIES else None


def _range_ticks(hyperparameter) -> list[tuple[float, str]]:
    low, high = hyperparameter.min_value, hyperparameter.max_value
    values = [low, high]
    if hyperparameter.sampling == "linear":
        inner = [low + part * (high - low) / 4 for part in (1, 2, 3)]
        values += [type(low)(value) for value in inner]
    else:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        values += [10.0**decade for decade in decades if low * 1.5 < 10.0**decade < high / 1.5]
    ticks = {format_value(value): coordinate(hyperparameter, value) for value in sorted(values)}
    return [(place, text) for text, place in ticks.items() if place is not None]


def _spread(places: Sequence[float | None], count: int) -> list[float | None]:
    """Moves equal places apart, within the middle half of what each value has of the axis."""
    spread = list(places)
    for place in {place for place in places if place is not None}:
        same = [number for number, each in enumerate(places) if each == place]
        for rank, number in enumerate(same):
            spread[number] = place + ((rank + 0.5) / len(same) - 0.5) * 0.5 / count
    return spread


def _steps_axis(steps: Sequence[int], trials: Sequence[TrialResult]) -> Axis:
    low, high = math.log(steps[0]), math.log(steps[-1])
    ticks = tuple(((math.log(each) - low) / (high - low), str(each)) for each in steps)
    place_of = {each: place for each, (place, _) in zip(steps, ticks, strict=True)}
    places = _spread([place_of.get(trial.steps) for trial in trials], 2 * len(steps))
    return Axis("steps", ticks, tuple(math.nan if place is None else place for place in places))


def _objective_axis(results: SearchResults, trials: Sequence[TrialResult]) -> Axis:
    scores = np.array([math.nan if t.score is None else t.score for t in trials], dtype=np.float64)
    finite = np.array([t.score for t in trials if t.is_completed], dtype=np.float64)
    label = f"{results.objective} {'↑' if results.higher_is_better else '↓'}"
    if not finite.size:
        return Axis(label, (), (_NO_VALUE,) * len(trials))
    sign = 1 if results.higher_is_better else -1
    lower, upper = np.percentile(sign * finite, [25, 75])
    worst = max((sign * finite).min(), lower - 3 * (upper - lower))
    span = (sign * finite).max() - worst
    # With one value alone the axis has it on top.
    places = np.maximum((sign * scores - worst) / span, 0) if span else np.ones(len(scores))
    places = [
        float(p) if t.is_completed else _NO_VALUE for p, t in zip(places, trials, strict=True)
    ]
    ticks = [(part, f"{sign * (worst + part * span):.4g}") for part in (0.0, 0.25, 0.5, 0.75, 1.0)]
    if not span:
        ticks = ticks[-1:]
    elif (sign * finite).min() < worst:
        ticks[0] = (0.0, f"{'≤' if sign > 0 else '≥'} {ticks[0][1]}")
    return Axis(label, tuple(ticks), tuple(places))
