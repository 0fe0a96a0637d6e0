import numpy as np
import pytest
from scipy import stats

from tfrestore.evaluation.layout import format_markdown, format_p, format_screen, left_out
from tfrestore.evaluation.measurement import DEGRADED, Measurement, Subject
from tfrestore.evaluation.scoring import Score
from tfrestore.evaluation.tables import Tables, in_order, make_comparisons, make_rows


def measured(track, system, sample=1, genre="rock", degradation="mp3:32", **values):
    scores = {name: Score(np.atleast_1d(np.float64(value))) for name, value in values.items()}
    return Measurement(Subject(track, genre, degradation, system, sample), scores)


def find(rows, **wanted):
    (row,) = [row for row in rows if all(getattr(row, k) == v for k, v in wanted.items())]
    return row


def test_means_deviations_and_gains_are_numpys():
    before, after = [10.0, 12.0, 17.0], [11.0, 15.0, 16.0]
    measurements = [measured(str(i), DEGRADED, snr=value) for i, value in enumerate(before)]
    measurements += [measured(str(i), "a", snr=value) for i, value in enumerate(after)]
    rows = make_rows(measurements)
    degraded = find(rows, system=DEGRADED, genre="all")
    assert (degraded.tracks, degraded.count, degraded.gain_count) == (3, 3, 0)
    assert degraded.mean == pytest.approx(13.0) and np.isnan(degraded.gain)
    restored = find(rows, system="a", genre="all")
    assert restored.standard_deviation == pytest.approx(np.std(after, ddof=1))
    difference = np.subtract(after, before)
    assert restored.gain == pytest.approx(difference.mean())
    assert restored.gain_standard_deviation == pytest.approx(np.std(difference, ddof=1))
    assert restored.kbit_per_second == 32 and restored.versions == "one"


def test_values_of_patches_are_pooled_and_infinite_ones_left_out_of_both_sides():
    before = measured("x", DEGRADED, psnr=[40.0, np.inf, 50.0, 60.0])
    after = measured("x", "a", psnr=[45.0, 70.0, np.inf, 61.0])
    row = find(make_rows([before, after]), system="a", genre="all")
    assert (row.count, row.infinite, row.undefined, row.gain_count) == (3, 1, 0, 2)
    assert row.mean == pytest.approx((45 + 70 + 61) / 3) and row.gain == pytest.approx(3.0)
    assert left_out([row]) == ["PSNR (dB) of a: 1 infinite of 4 values left out."]


def test_the_best_of_k_is_the_best_by_each_ruler_and_the_mean_is_over_all():
    measurements = [measured("x", DEGRADED, snr=10, lsd=8), measured("y", DEGRADED, snr=10, lsd=8)]
    for sample, (snr, lsd) in enumerate([(11, 5), (14, 7), (12, 3)], start=1):
        measurements += [measured("x", "gan", sample, snr=snr, lsd=lsd)]
        measurements += [measured("y", "gan", sample, snr=snr + 1, lsd=lsd + 1)]
    rows = make_rows(measurements)
    best = {m: find(rows, versions="best of 3", genre="all", metric=m) for m in ("snr", "lsd")}
    mean = {m: find(rows, versions="mean of 3", genre="all", metric=m) for m in ("snr", "lsd")}
    assert best["snr"].mean == 14.5 and best["lsd"].mean == 3.5
    assert mean["snr"].mean == pytest.approx(37 / 3 + 0.5) and mean["lsd"].mean == 5.5
    assert best["lsd"].gain == 4.5 and best["lsd"].count == 2


def test_the_best_of_k_leaves_out_versions_without_a_number():
    versions = [measured("x", "gan", k, snr=v) for k, v in enumerate([np.nan, 3.0, 2.0], start=1)]
    row = find(make_rows(versions), versions="best of 3", genre="all")
    assert row.mean == 3.0 and row.undefined == 0


def test_the_best_patches_are_those_of_one_version():
    first = measured("x", "gan", 1, psnr=[50.0, 40.0])
    second = measured("x", "gan", 2, psnr=[44.0, 44.0])
    row = find(make_rows([first, second]), versions="best of 2", genre="all")
    assert row.mean == 45.0 and row.count == 2


def test_variables_of_peaq_have_no_best():
    versions = [measured("x", "gan", k, ADBB=k) for k in (1, 2)]
    assert {row.versions for row in make_rows(versions)} == {"mean of 2"}


def test_genres_and_degradations_have_lines_of_their_own():
    measurements = [
        measured(track, DEGRADED, genre=genre, degradation=degradation, snr=value)
        for track, genre, degradation, value in [
            ("a", "rock", "mp3:16", 1),
            ("b", "folk", "mp3:16", 2),
            ("a", "rock", "mp3:128", 5),
            ("b", "folk", "mp3:128", 7),
        ]
    ]
    measurements = in_order(measurements[::-1], [DEGRADED])
    rows = make_rows(measurements)
    assert [(row.degradation, row.genre, row.mean) for row in rows] == [
        ("mp3:16", "folk", 2),
        ("mp3:16", "rock", 1),
        ("mp3:16", "all", 1.5),
        ("mp3:128", "folk", 7),
        ("mp3:128", "rock", 5),
        ("mp3:128", "all", 6),
    ]


def test_t_tests_are_scipys_over_recordings_with_the_sign_of_the_gain():
    rng = np.random.default_rng(0)
    before, after = rng.normal(8, 1, 12), rng.normal(5, 1, 12)
    measurements = [measured(f"{i:02}", DEGRADED, lsd=value) for i, value in enumerate(before)]
    measurements += [measured(f"{i:02}", "a", lsd=value) for i, value in enumerate(after)]
    (comparison,) = make_comparisons(measurements)
    expected = stats.ttest_rel(before, after)
    assert (comparison.first, comparison.second, comparison.count) == (DEGRADED, "a", 12)
    assert comparison.t == pytest.approx(expected.statistic) and comparison.t > 0
    assert comparison.p == pytest.approx(expected.pvalue)
    assert comparison.gain == pytest.approx(np.mean(before - after))


def test_patches_of_one_recording_are_one_observation():
    measurements = [
        measured(track, system, psnr=np.array([40.0, 50.0, np.inf]) + offset + len(system))
        for track, offset in (("a", 0), ("b", 3), ("c", 9))
        for system in (DEGRADED, "somewhat better")
    ]
    (comparison,) = make_comparisons(measurements)
    assert comparison.count == 3 and comparison.gain == pytest.approx(7)


def test_a_system_that_lacks_recordings_is_compared_over_those_it_has():
    measurements = [measured(str(i), DEGRADED, snr=i) for i in range(5)]
    measurements += [measured(str(i), "a", snr=i * i) for i in (1, 2, 3)]
    (comparison,) = make_comparisons(measurements)
    assert comparison.count == 3 and comparison.gain == pytest.approx((0 + 2 + 6) / 3)
    assert find(make_rows(measurements), system="a", genre="all").gain_count == 3


def test_the_screen_and_the_page_show_every_mean_and_what_is_left_out():
    measurements = [measured(str(i), DEGRADED, snr=i, lsd=9.0) for i in range(3)]
    measurements += [measured(str(i), "a|b", snr=v, lsd=4.5) for i, v in enumerate([2, np.inf, 4])]
    tables = Tables.of(measurements)
    screen = format_screen(tables)
    assert "1.00 ± 1.00" in screen and "3.00 ± 1.41" in screen and "+4.50 ± 0.00" in screen
    assert "SNR (dB) of a|b: 1 infinite of 3 values left out." in screen
    page = format_markdown({"data": "x"}, tables, pictures=["violins.png"])
    assert "| a\\|b |" in page and "**4.50 ± 0.00**" in page and "![violins](violins.png)" in page
    # Every line of a table has as many cells as its head.
    for block in page.split("\n\n"):
        cells = {line.replace("\\|", "").count("|") for line in block.splitlines()}
        assert len(cells) == 1 or not block.startswith("|")


@pytest.mark.parametrize(
    ("p", "shown"), [(0.0004, "< 0.001"), (0.04321, "0.043"), (float("nan"), "-")]
)
def test_p_values_are_shown_as_papers_do(p, shown):
    assert format_p(p) == shown
