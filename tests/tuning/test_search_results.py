import json
import shutil

import keras_tuner
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_searches import MadeSearch, declare, full_score, hyperband

from tfrestore.errors import UsageError
from tuning.search_results import SearchResults, read_search
from tuning.trial_pictures import make_axes
from tuning.trial_results import TrialResult
from tuning.trial_table import as_cells, format_csv, make_lines

BASELINE = 31.0  # What `full_score` is of unet_tiny's own setting.


@pytest.fixture
def copy(random_search, tmp_path):
    """A search of its own, to be damaged."""
    shutil.copytree(random_search, tmp_path / "search")
    return tmp_path / "search"


def test_trials_are_read_as_they_ended(random_search):
    results = read_search(random_search)
    assert (results.preset, results.tuner, results.data) == ("unet_tiny", "random", "demo")
    assert [trial.name for trial in results.trials] == [f"{n:04d}" for n in range(20)]
    assert results.trials[5].status == "skipped"
    assert results.trials[5].message == "skipped: 30 million parameters are too many."
    failed = [trial for trial in results.trials if trial.status == "failed"]
    assert failed
    for trial in failed:
        assert trial.message == "no number at step 40; lower [b]recipe.x[/b]."
        assert trial.values["recipe.learning_rate"] > 4e-3
    for trial in results.completed:
        expected = full_score(trial.values)
        assert trial.curve == ((100, expected - 4), (200, expected - 2), (300, expected - 4 / 3))
        assert trial.score == expected - 4 / 3 and trial.steps == trial.steps_made == 300


def test_the_best_has_the_best_value_and_the_first_is_the_baseline(random_search):
    results = read_search(random_search)
    assert results.best.score == max(trial.score for trial in results.completed)
    assert results.baseline is results.trials[0]
    assert results.baseline.score == BASELINE - 4 / 3
    for trial in results.completed:
        gain, steps = results.gain_over_baseline(trial)
        assert gain == pytest.approx(full_score(trial.values) - BASELINE) and steps == 300


def test_trials_of_hyperband_are_compared_after_as_many_steps(hyperband_search):
    results = read_search(hyperband_search)
    assert results.steps == [100, 300, 900]
    assert results.best.steps == 900 and results.best.score > 31
    for trial in results.completed:
        gain, steps = results.gain_over_baseline(trial)
        # Every curve has the same shape, so that this holds for equal steps only.
        assert gain == pytest.approx(full_score(trial.values) - BASELINE)
        assert steps == trial.steps


def test_a_shorter_trial_that_was_ahead_of_the_best_is_named(tmp_path):
    # The baseline alone has all the epochs; after the first one, wider networks are better.
    search = MadeSearch(tmp_path / "a", hyperband()).run(8)
    results = read_search(search.folder)
    assert results.best is results.baseline and results.best.steps == 900
    expected = [
        (trial, pytest.approx(full_score(trial.values) - BASELINE))
        for trial in results.completed
        if full_score(trial.values) > BASELINE
    ]
    ahead = results.ahead_of_best()
    assert sorted(ahead, key=lambda each: each[0].name) == expected and expected
    assert [lead for _, lead in ahead] == sorted((lead for _, lead in ahead), reverse=True)


def test_a_configuration_that_hyperband_goes_on_with_counts_once(hyperband_search):
    results = read_search(hyperband_search)
    steps, compared = results.after_equal_steps()
    roots = [trial for trial in results.completed if trial.predecessor is None]
    assert steps == 100 and [trial for trial, _ in compared] == roots
    for trial, value in compared:
        assert value == pytest.approx(full_score(trial.values) - 4)
    gone_on = [trial for trial in results.completed if trial.predecessor]
    for trial in gone_on:
        before = results.lineage(trial)[0]
        assert before.values == trial.values and before.predecessor is None
        assert len(results.curve(trial)) == trial.steps / 100


def test_where_less_is_better_the_least_is_best(tmp_path):
    search = MadeSearch(tmp_path / "a", direction="min").run(10)
    results = read_search(search.folder)
    assert not results.higher_is_better
    assert results.best.score == min(trial.score for trial in results.completed)
    for trial in results.completed:
        assert results.gain_over_baseline(trial)[0] == pytest.approx(
            BASELINE - full_score(trial.values)
        )


def test_a_ruler_may_get_worse_while_training_goes_on(tmp_path):
    def trial(name, steps, score, predecessor=None):
        curve = ((steps, score),)
        return TrialResult(
            name, tmp_path, "completed", "", score, steps, steps, curve, predecessor=predecessor
        )

    trials = (
        trial("0000", 12, 4.98),
        trial("0001", 4, 4.80),
        trial("0002", 12, 4.89, predecessor="0001"),
    )
    results = SearchResults(tmp_path, "a", "b", "lsd", False, "hyperband", "demo", trials)
    assert results.gain_over_baseline(trials[2]) == (pytest.approx(0.09), 12)
    # The ruler was not laid on the baseline after 4 steps.
    assert results.gain_over_baseline(trials[1]) is None
    assert results.value_at(trials[2], 4) == 4.80 and results.best is trials[1]


def test_a_search_that_goes_on_is_read_as_far_as_it_is(tmp_path):
    search = MadeSearch(tmp_path / "a").run(3)
    search.begin()
    results = read_search(search.folder)
    assert [trial.status for trial in results.trials] == ["completed"] * 3 + ["running"]
    # KerasTuner makes the folder first.
    (tmp_path / "a" / "trials" / "trial_0004").mkdir()
    assert [t.status for t in read_search(search.folder).trials][3:] == ["running", "damaged"]


def test_a_file_half_written_takes_one_trial_away(copy):
    file = copy / "trials" / "trial_0003" / "trial.json"
    text = file.read_text()
    file.write_text(text[: len(text) // 2])
    results = read_search(copy)
    assert [trial.name for trial in results.trials if trial.status == "damaged"] == ["0003"]
    assert "trial.json cannot be read" in results.trials[3].message
    assert len(results.completed) >= 15


def test_a_damaged_first_trial_is_no_baseline(copy):
    (copy / "trials" / "trial_0000" / "trial.json").write_text("{}")
    results = read_search(copy)
    assert results.baseline is None
    assert results.gain_over_baseline(results.best) is None
    assert not any(line.is_baseline for line in make_lines(results))


def test_a_trial_without_its_run_has_its_score_and_no_steps(copy):
    for name in ("run/history.csv", "config.yaml"):
        (copy / "trials" / "trial_0000" / name).unlink()
    trial = read_search(copy).trials[0]
    assert trial.is_completed and trial.score == full_score(trial.values) - 4 / 3
    assert trial.steps is None and trial.curve == ()


def test_epochs_are_steps_by_the_history(copy):
    folder = copy / "trials" / "trial_0000"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["training"] |= {"steps": None, "steps_per_epoch": None, "epochs": 5}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    trial = read_search(copy).trials[0]
    # Training ended early, for want of patience.
    assert (trial.steps, trial.steps_made, len(trial.curve)) == (500, 300, 3)


def test_what_is_no_search_is_refused_in_one_line(tmp_path):
    with pytest.raises(UsageError, match="there is no search here"):
        read_search(tmp_path)
    with pytest.raises(UsageError, match="there is no search here"):
        read_search(tmp_path / "nowhere")
    for text, reason in (
        ("[1", "not valid YAML"),
        ("hello", "holds no search"),
        ("preset: a", "family"),
        ("{preset: a, family: b, tuner: c, data: d}", "objective"),
        ("{preset: a, family: b, tuner: c, data: d, objective: {name: e}}", "objective"),
    ):
        (tmp_path / "search.yaml").write_text(text)
        with pytest.raises(UsageError, match=reason) as caught:
            read_search(tmp_path)
        assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def three_trials(tmp_path_factory):
    return MadeSearch(tmp_path_factory.mktemp("search") / "a").run(3).folder


def use(folder):
    """Everything that the report does with trials but drawing them."""
    results = read_search(folder)
    assert len(results.trials) == 3
    assert results.trials[0].is_completed and results.trials[2].is_completed
    lines = make_lines(results)
    assert len(format_csv(results, lines).splitlines()) == 4
    head, body = as_cells(results, lines)
    assert all(len(cells) == len(head) for cells in body)
    assert all("\n" not in cell for cells in body for cell in cells)
    results.after_equal_steps()
    make_axes(results)
    return results.trials[1]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=200))
def test_any_bytes_as_a_trial_harm_no_other(three_trials, monkeypatch, content):
    monkeypatch.setattr("tuning.trial_results._SECONDS_BETWEEN", 0)
    file = three_trials / "trials" / "trial_0001" / "trial.json"
    before = file.read_bytes()
    try:
        file.write_bytes(content)
        assert use(three_trials).status == "damaged"
    finally:
        file.write_bytes(before)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


def places_in(tree, place=()):
    yield place
    is_list = isinstance(tree, list)
    items = tree.items() if isinstance(tree, dict) else enumerate(tree if is_list else ())
    for key, value in items:
        yield from places_in(value, (*place, key))


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), value=JSON)
def test_a_trial_with_anything_in_one_place_harms_no_other(three_trials, monkeypatch, data, value):
    monkeypatch.setattr("tuning.trial_results._SECONDS_BETWEEN", 0)
    file = three_trials / "trials" / "trial_0001" / "trial.json"
    before = file.read_text()
    tree = json.loads(before)
    place = data.draw(st.sampled_from(list(places_in(tree))))
    if place:
        inner = tree
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
    else:
        tree = value
    try:
        file.write_text(json.dumps(tree))
        use(three_trials)
    finally:
        file.write_text(before)


def test_the_made_baseline_is_the_presets_own():
    # What the closed forms of these tests rest on.
    assert full_score(declare(keras_tuner.HyperParameters()).values) == BASELINE
