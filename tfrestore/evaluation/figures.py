"""The pictures of an evaluation: means over bit rates, violins, and frequency profiles.

Means over bit rates are Figure 2 of Li & Luo's Apollo paper, violins of every ruler Figure 4 of
Lattner & Nistal, frequency profiles their Figure 5.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from tfrestore.evaluation.frequency_profile import BANDS, HIGHEST_FREQUENCY
from tfrestore.evaluation.measurement import DEGRADED, Measurement
from tfrestore.evaluation.rulers import PEAQ_VARIABLES, RULERS
from tfrestore.evaluation.tables import ALL, Row, systems_of, values_of
from tfrestore.pictures import figure_picture, make_figure

_COLOURS = ("#8a8a8a", "#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280", "#975a16")


def violin_picture(measurements: Sequence[Measurement]) -> np.ndarray | None:
    """How the values of every ruler are distributed, by system and degradation.

    A bar in a violin is the mean; fewer than three values are drawn as points.

    Returns:
        uint8 `(height, width, 3)`; `None` where no ruler gave a finite value.
    """
    rulers = [name for name in RULERS if name not in PEAQ_VARIABLES]
    drawn = {name: values_of(measurements, name) for name in rulers}
    drawn = {name: groups for name, groups in drawn.items() if any(groups.values())}
    if not drawn:
        return None
    systems = systems_of(measurements)
    columns = min(4, len(drawn))
    lines = math.ceil(len(drawn) / columns)
    degradations = list(dict.fromkeys(degradation for degradation, _ in next(iter(drawn.values()))))
    width = 2.2 + 0.35 * len(systems) * len(degradations)
    figure = make_figure(columns * width, lines * 2.8 + 0.5, layout=None)
    for place, (name, groups) in enumerate(drawn.items(), start=1):
        axis = figure.add_subplot(lines, columns, place)
        ruler = RULERS[name]
        axis.set_title(f"{ruler.label} {ruler.arrow}", loc="left", fontsize="medium")
        centres = []
        for block, degradation in enumerate(degradations):
            start = block * (len(systems) + 1)
            centres.append(start + (len(systems) - 1) / 2)
            for offset, system in enumerate(systems):
                values = groups.get((degradation, system), [])
                _violin(axis, values, start + offset, _colour(offset))
        axis.set_xticks(centres, degradations if len(degradations) > 1 else [degradations[0]])
        axis.grid(axis="y", alpha=0.3)
    _legend(figure, systems)
    # Much faster than finding out how much room every label needs.
    height = lines * 2.8 + 0.5
    figure.subplots_adjust(
        left=0.5 / (columns * width),
        right=1 - 0.1 / (columns * width),
        bottom=0.35 / height,
        top=1 - 0.6 / height,
        hspace=0.35,
        wspace=0.25,
    )
    return figure_picture(figure)


def bit_rate_picture(rows: Sequence[Row]) -> np.ndarray | None:
    """The mean by every ruler over the MP3's bit rate, a line for each system.

    This is Figure 2 of Li & Luo's Apollo paper. Of a stochastic system's versions the mean is
    drawn.

    Returns:
        uint8 `(height, width, 3)`; `None` where there are not two bit rates.
    """
    rows = [
        row
        for row in rows
        if row.kbit_per_second is not None
        and row.genre == ALL
        and row.metric not in PEAQ_VARIABLES
        and not row.versions.startswith("best")
        and math.isfinite(row.mean)
    ]
    rates = sorted({row.kbit_per_second for row in rows})
    if len(rates) < 2:
        return None
    metrics = [name for name in RULERS if any(row.metric == name for row in rows)]
    systems = list(dict.fromkeys(row.system for row in rows))
    columns = min(4, len(metrics))
    lines = math.ceil(len(metrics) / columns)
    figure = make_figure(columns * 2.8, lines * 2.4 + 0.4)
    for place, metric in enumerate(metrics, start=1):
        axis = figure.add_subplot(lines, columns, place)
        ruler = RULERS[metric]
        axis.set_title(f"{ruler.label} {ruler.arrow}", loc="left", fontsize="medium")
        for offset, system in enumerate(systems):
            found = sorted(
                (row.kbit_per_second, row.mean)
                for row in rows
                if row.metric == metric and row.system == system
            )
            axis.plot(*zip(*found, strict=True), "o-", color=_colour(offset), markersize=4)
        # Bit rates are as far apart as their ratios.
        axis.set_xscale("log", base=2)
        axis.set_xticks(rates, list(map(str, rates)))
        axis.minorticks_off()
        axis.set_xlabel("kbit/s", fontsize="small")
        axis.grid(alpha=0.3)
    _legend(figure, [name if name != DEGRADED else "MP3" for name in systems])
    return figure_picture(figure)


def profile_picture(measurements: Sequence[Measurement]) -> np.ndarray | None:
    """Mean power by frequency of the originals and of every system's versions.

    Returns:
        uint8 `(height, width, 3)`; `None` where no waveform was measured.
    """
    degradations = list(dict.fromkeys(each.subject.degradation for each in measurements))
    panels = {}
    for degradation in degradations:
        chosen = [m for m in measurements if m.subject.degradation == degradation and m.profiles]
        if chosen:
            panels[degradation] = chosen
    if not panels:
        return None
    systems = systems_of(measurements)
    figure = make_figure(8, 3.2 * len(panels) + 0.4)
    kilohertz = (np.arange(BANDS) + 0.5) * HIGHEST_FREQUENCY / BANDS / 1000
    for place, (degradation, chosen) in enumerate(panels.items(), start=1):
        axis = figure.add_subplot(len(panels), 1, place)
        originals = {each.subject.track: each.profiles[0] for each in chosen}
        axis.plot(kilohertz, _mean_profile(originals.values()), color="black", linewidth=1.2)
        for offset, system in enumerate(systems):
            profiles = [each.profiles[1] for each in chosen if each.subject.system == system]
            if profiles:
                axis.plot(kilohertz, _mean_profile(profiles), color=_colour(offset), linewidth=1.2)
        axis.set_title(degradation, loc="left", fontsize="medium", parse_math=False)
        axis.set_ylabel("dB per Hz")
        axis.set_xlim(0, HIGHEST_FREQUENCY / 1000)
        axis.grid(alpha=0.3)
    axis.set_xlabel("kHz")
    _legend(figure, ["original", *systems], ["black", *map(_colour, range(len(systems)))])
    return figure_picture(figure)


def _violin(axis, values, position: float, colour: str) -> None:
    if len(values) > 2 and np.ptp(values) > 0:
        parts = axis.violinplot([values], [position], widths=0.85, showmeans=True)
        for body in parts["bodies"]:
            body.set_facecolor(colour)
            body.set_alpha(0.5)
        for name in ("cmeans", "cmins", "cmaxes", "cbars"):
            parts[name].set_color(colour)
            parts[name].set_linewidth(1)
    else:
        axis.plot([position] * len(values), values, "o", color=colour, markersize=4)


def _mean_profile(profiles) -> np.ndarray:
    with warnings.catch_warnings():
        # A band in which no recording has power stays empty.
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(list(profiles), axis=0)


def _legend(figure, names, colours=None) -> None:
    from matplotlib.lines import Line2D

    colours = colours or [_colour(place) for place in range(len(names))]
    # An underscore in front would hide a name from the legend.
    figure.legend(
        [Line2D([], [], color=colour, linewidth=3) for colour in colours],
        [str(name) for name in names],
        loc="upper right" if figure.get_layout_engine() is None else "outside upper right",
        ncols=len(names),
        frameon=False,
        fontsize="small",
    )


def _colour(place: int) -> str:
    return _COLOURS[place % len(_COLOURS)]
