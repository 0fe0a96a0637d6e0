"""Tables by bit rate and by content, what systems cost, and the figure of means over bit rates."""

import dataclasses

import numpy as np
import pytest

from tests.evaluation.test_tables import measured
from tfrestore.evaluation.efforts import make_costs, timed
from tfrestore.evaluation.figures import bit_rate_picture
from tfrestore.evaluation.layout import format_markdown, format_screen
from tfrestore.evaluation.measurement import DEGRADED, Effort
from tfrestore.evaluation.overview import make_overviews
from tfrestore.evaluation.tables import Tables
from tfrestore.evaluation.unfinished import UnfinishedEvaluation

BASE = Effort(2.0, 3.0, 4.0, channels=1, cores=2, scoring_processes=0, is_first=False)


def measurements_of(*rates, genres=("vocals", "mixed content"), systems=(DEGRADED, "a")):
    """Every SNR is the bit rate, plus 100 for mixed content, plus 0.5 for a restoration."""
    return [
        measured(
            f"{genre} {number}",
            system,
            genre=genre,
            degradation=f"mp3:{rate}",
            snr=rate + 100 * (genre != "vocals") + 0.5 * (system != DEGRADED),
            BandwidthRefB=1.0,
        )
        for rate in rates
        for genre in genres
        for number in range(2)
        for system in systems
    ]


def test_there_is_a_line_for_every_bit_rate_and_system():
    (by_rate, *_) = make_overviews(Tables.of(measurements_of(24, 128)), [])
    assert by_rate.title == "By bit rate"
    assert by_rate.head == ["kbit/s", "system", "recordings", "SNR (dB) ↑"]
    assert by_rate.body == [
        ["24", DEGRADED, "4", "74.00"],
        ["24", "a", "4", "74.50"],
        ["128", DEGRADED, "4", "178.00"],
        ["128", "a", "4", "178.50"],
    ]


def test_content_is_over_the_mp3s_of_all_bit_rates():
    tables = Tables.of(measurements_of(24, 64, 128), "content")
    by_content = make_overviews(tables, [])[1]
    assert by_content.title == "By content, MP3s of 24, 64, 128 kbit/s"
    assert by_content.head == ["content", "system", "MP3s", "SNR (dB) ↑"]
    assert by_content.body == [
        ["mixed content", DEGRADED, "6", "172.00"],
        ["mixed content", "a", "6", "172.50"],
        ["vocals", DEGRADED, "6", "72.00"],
        ["vocals", "a", "6", "72.50"],
        ["all", DEGRADED, "12", "122.00"],
        ["all", "a", "12", "122.50"],
    ]
    pooled = [row for row in tables.every_row if row.degradation == "mp3"]
    assert {row.kbit_per_second for row in pooled} == {None} and len(pooled) == 12
    assert {row.gain for row in pooled if row.system == "a" and row.metric == "snr"} == {0.5}


def test_one_bit_rate_one_genre_and_other_degradations_have_no_overview_of_them():
    one = Tables.of(measurements_of(24))
    assert [overview.title for overview in make_overviews(one, [])] == [
        "By genre, MP3s of 24 kbit/s"
    ]
    assert all(row.degradation == "mp3:24" for row in one.every_row)
    assert not make_overviews(Tables.of(measurements_of(24, genres=["vocals"])), [])
    gaps = [
        dataclasses.replace(
            each, subject=dataclasses.replace(each.subject, degradation=f"gaps:{number}")
        )
        for number, each in enumerate(measurements_of(24, 32))
    ]
    assert not make_overviews(Tables.of(gaps), [])


def test_a_cost_is_the_median_over_recordings_but_the_first_of_a_process():
    efforts = [
        dataclasses.replace(BASE, seconds=100.0, is_first=True),
        dataclasses.replace(BASE, seconds=2.0),
        dataclasses.replace(BASE, seconds=90.0, cores=4, channels=2),
        dataclasses.replace(BASE, seconds=2.4, scoring_processes=2),
        None,
    ]
    measurements = [
        dataclasses.replace(measured(str(number), "a", snr=1), effort=effort)
        for number, effort in enumerate(efforts)
    ]
    (cost,) = make_costs(measurements, {"a": 1234567}, [DEGRADED, "a", "b"])
    assert (cost.system, cost.parameters) == ("a", 1234567)
    assert cost.real_time_factor == pytest.approx(2.4 / 4)
    assert cost.processor_seconds == pytest.approx(3 / 4) and cost.audio_seconds == 12
    assert (cost.cores, cost.channels, cost.scoring_processes) == ("2-4", "1-2", "0-2")
    (alone,) = make_costs(measurements[:1], {}, ["a"])
    assert alone.real_time_factor == 25 and alone.parameters is None
    (unknown,) = make_costs(measurements[-1:], {"a": 7}, ["a"])
    assert unknown.real_time_factor is None and unknown.parameters == 7


def test_costs_are_on_the_screen_and_in_the_report():
    (cost,) = make_costs(
        [dataclasses.replace(measured("x", "a", snr=1), effort=BASE)], {"a": 16539308}, ["a"]
    )
    tables = Tables.of(measurements_of(24, 32), "content")
    screen, page = format_screen(tables, [cost]), format_markdown({}, tables, [cost])
    for text in (screen, page):
        line = next(line for line in text.splitlines() if "16,539,308" in line)
        assert "0.5" in line and "0.75" in line
        assert "By genre" not in text and "by genre" not in text
        assert text.index("By bit rate") < text.index("By content") < text.index("Parameters")
    for block in page.split("\n\n"):
        cells = {line.count("|") for line in block.splitlines()}
        assert len(cells) == 1 or not block.startswith("|")


def test_time_is_taken_of_what_restores():
    waveform, effort = timed(lambda: np.zeros((2, 8000)), 4000, 3, is_first=True)
    assert waveform.shape == (2, 8000) and 0 < effort.seconds < 1
    assert (effort.audio_seconds, effort.channels, effort.scoring_processes) == (2.0, 2, 3)
    assert effort.is_first and effort.cores >= 1 and effort.processor_seconds >= 0


def test_efforts_survive_an_interruption(tmp_path):
    first = UnfinishedEvaluation(tmp_path, {}, [])
    first.add(dataclasses.replace(measured("x", "a", snr=1), effort=BASE))
    first.add(measured("y", "a", snr=1))
    first.close(finished=False)
    x, y = UnfinishedEvaluation(tmp_path, {}, []).measurements
    assert x.effort == BASE and y.effort is None


def test_the_figure_has_a_panel_for_each_ruler_that_has_two_bit_rates():
    picture = bit_rate_picture(Tables.of(measurements_of(24, 64, 128)).rows)
    assert picture.ndim == 3 and picture.dtype == np.uint8 and np.ptp(picture) == 255
    assert bit_rate_picture(Tables.of(measurements_of(24)).rows) is None
    assert bit_rate_picture([]) is None
