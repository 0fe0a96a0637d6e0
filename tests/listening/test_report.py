import csv
import json
import math

import numpy as np
import pytest
from listening.answers import BY_HAND, make_key, results_of

from tfrestore.errors import InputError
from tfrestore.listening.report import format_markdown, format_report, make_report, write_report


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def read_back(stem):
    tables = {}
    for kind in ("", ".t-tests", ".ratings"):
        with open(f"{stem}{kind}.csv", newline="") as file:
            tables[kind] = list(csv.DictReader(file))
    with open(f"{stem}.json") as file:
        return tables, json.load(file, parse_constant=refuse)


def test_all_tables_say_the_same(tmp_path):
    report = make_report(results_of(make_key(), BY_HAND))
    paths = write_report(report, str(tmp_path / "new" / "table"))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(
        path.name for path in paths
    )
    tables, record = read_back(tmp_path / "new" / "table")
    for row, line, system in zip(record["systems"], tables[""], ("a", "b"), strict=True):
        assert row["system"] == line["system"] == system
        assert float(line["mean"]) == row["mean"] == BY_HAND[..., "ab".index(system)].mean()
    (test,), (line,) = record["t_tests"], tables[".t-tests"]
    # The differences -2, -3, -2, -1 have mean -2 and variance 2/3.
    assert test["t"] == pytest.approx(-2 / math.sqrt(2 / 3 / 4))
    assert float(line["p"]) == test["p"] and int(line["n"]) == 4
    found = {
        (r["listener"], r["track"], r["system"]): float(r["rating"]) for r in tables[".ratings"]
    }
    assert found["listener 1", "song 0", "b"] == 4 and len(found) == 8
    assert record["listeners"] == ["listener 0", "listener 1"]
    markdown = (tmp_path / "new" / "table.md").read_text()
    assert "| a | 4 | 2.00 | 0.82 |" in markdown and "| a − b | 4 | -2.00 | -4.90 | 3 |" in markdown


def test_the_screen_shows_a_line_per_system_and_per_pair():
    lines = format_report(make_report(results_of(make_key(), BY_HAND))).splitlines()
    assert lines[0] == "Test: MOS, 1 to 5; 2 listeners, 2 excerpts, 8 ratings"
    assert lines[3].split() == "a 4 2.00 0.82 0.70 to 3.30 2.00 1.00".split()
    assert lines[-1].split() == "a - b 4 -2.00 -4.90 0.0163 *".split()


def test_one_listener_with_one_rating_gives_strict_json_and_no_made_up_number(tmp_path):
    table = np.full((1, 2, 2), np.nan)
    table[0, 0, 0] = 4
    report = make_report(results_of(make_key(), table))
    write_report(report, str(tmp_path / "table"))
    tables, record = read_back(tmp_path / "table")
    assert record["systems"][0]["mean"] == 4 and record["systems"][1]["mean"] is None
    assert record["t_tests"][0]["p"] is None and tables[""][1]["mean"] == "nan"
    assert "n/a" in format_report(report)


def test_a_folder_gets_files_named_report(tmp_path):
    paths = write_report(make_report(results_of(make_key(), BY_HAND)), str(tmp_path))
    assert tmp_path / "report.csv" in paths and all(path.exists() for path in paths)


def mushra(table):
    """Systems a, anchor and the hidden reference, in this order."""
    key = make_key(mode="mushra", systems=("a", "anchor", "hidden reference"))
    return results_of(key, table)


def test_listeners_who_miss_the_hidden_reference_are_left_out_and_named(tmp_path):
    good, bad = [[60, 20, 100], [50, 10, 95]], [[90, 80, 70], [100, 90, 60]]
    report = make_report(mushra([good, bad, good]))
    assert report.screened == ("listener 1",) and len(report.listeners) == 2
    assert [row.mean for row in report.summaries] == [55, 15, 97.5]
    assert "post-screening of ITU-R BS.1534-3: listener 1" in format_report(report)
    write_report(report, str(tmp_path / "table"))
    tables, record = read_back(tmp_path / "table")
    assert record["left_out_by_post_screening"] == ["listener 1"]
    assert {row["listener"] for row in tables[".ratings"]} == {"listener 0", "listener 2"}
    with pytest.raises(InputError, match="leaves none of the 1 listeners"):
        make_report(mushra([bad]))


def test_names_with_line_breaks_and_bars_do_not_break_the_tables():
    key = make_key(systems=("a|b", "two\nlines"))
    report = make_report(results_of(key, BY_HAND))
    table = [line for line in format_markdown(report).splitlines() if line.startswith("| ")]
    assert "| a\\|b | 4 |" in table[1] and "| two lines | 4 |" in table[2]
    assert "two lines" in format_report(report)
