"""A search that is killed at any moment, and gone on with, has the table of one that never was."""

import json
import threading

import keras_tuner
import pytest
from keras_tuner.engine.trial import Trial, TrialStatus

from tfrestore.errors import DivergedError, UsageError
from tfrestore.models.presets import find_preset
from tfrestore.progress import progress_bars
from tfrestore.training.configuration import resolve
from tuning import chief, oracles, tuner
from tuning.hypermodel import PresetHyperModel
from tuning.limits import Limits
from tuning.oracles import make_oracle
from tuning.space import Space
from tuning.tuner import TRIALS, TrainingTuner, TrialRequest
from tuning.workers import free_address

TRIALS_MADE = 6


class Killed(BaseException):
    """As kill -9 would end a process, at a moment that a test chooses."""


@pytest.fixture(autouse=True)
def no_rest(monkeypatch):
    """Trials that take no time need no pause between two questions to the oracle."""
    monkeypatch.setattr(tuner, "_IDLE_SECONDS", 0.01)


@pytest.fixture(scope="module")
def hypermodel():
    preset = resolve(find_preset("unet_tiny"), epochs=3)
    data = {"network.filters": {"choice": [2, 4, 8]}, "recipe.learning_rate": {"min": 0, "max": 1}}
    return PresetHyperModel(preset, Space.from_data(preset, data, "a test"))


class FakeTuner(TrainingTuner):
    """Trains nothing: a trial's score follows from its values, and some diverge."""

    def _train(self, preset, folder, trial):
        rate = preset.config["recipe"]["learning_rate"]
        if rate > 0.6:
            raise DivergedError("the loss is no longer a number at step 3.")
        epochs = preset.config["training"]["epochs"]
        return {"val_psnr": epochs - rate, "step": epochs, "parameters": 1, "seconds": 1}


def made_oracle(name, hypermodel, most=TRIALS_MADE):
    hp = keras_tuner.HyperParameters()
    hypermodel.declare_hyperparameters(hp)
    oracle = make_oracle(name, keras_tuner.Objective("val_psnr", "max"), hp, epochs=3, seed=1)
    oracle.most_trials = most
    return oracle


@pytest.mark.parametrize("seed", [0, 2**32 - 2, 2**32 - 1, 2**64 - 1])
def test_every_seed_that_the_command_takes_is_one_for_every_oracle(hypermodel, seed):
    hp = keras_tuner.HyperParameters()
    hypermodel.declare_hyperparameters(hp)
    for name in ("hyperband", "bayesian", "random"):
        oracle = make_oracle(name, keras_tuner.Objective("val_psnr", "max"), hp, 3, seed)
        assert 0 < oracle.seed < 2**32


def search(name, folder, hypermodel, most=TRIALS_MADE):
    oracle = made_oracle(name, hypermodel, most)
    oracle.open(folder, TRIALS)
    FakeTuner(oracle, hypermodel, TrialRequest(None, "music", Limits()), folder).search()
    return oracle


def table(oracle):
    return {
        name: (trial.hyperparameters.values, trial.score, trial.status, trial.message)
        for name, trial in oracle.trials.items()
    }


@pytest.mark.parametrize("name", ["hyperband", "random"])
def test_a_search_killed_at_any_write_goes_on_to_the_same_table(
    tmp_path, monkeypatch, hypermodel, name
):
    writes = []
    write = oracles.write_text
    monkeypatch.setattr(oracles, "write_text", lambda *a: (writes.append(a), write(*a)))
    expected = table(search(name, tmp_path / "whole", hypermodel))
    statuses = {status for _, _, status, _ in expected.values()}
    assert statuses == {TrialStatus.COMPLETED, TrialStatus.FAILED} and len(expected) == TRIALS_MADE

    for number in range(len(writes)):
        left = [number]

        def killing(path, text, left=left):
            if left[0] == 0:
                raise Killed
            write(path, text)
            left[0] -= 1

        folder = tmp_path / str(number)
        with monkeypatch.context() as patch:
            patch.setattr(oracles, "write_text", killing)
            with pytest.raises(Killed):
                search(name, folder, hypermodel)
        assert table(search(name, folder, hypermodel)) == expected, number


def test_the_first_trial_is_the_preset_and_hyperband_trains_it_as_long_as_any(tmp_path, hypermodel):
    for name in ("random", "bayesian", "hyperband"):
        oracle = search(name, tmp_path / name, hypermodel)
        values = oracle.trials["0000"].hyperparameters.values
        assert (values["network.filters"], values["recipe.learning_rate"]) == (8, 0.003)
        assert values.get("tuner/epochs") == (3 if name == "hyperband" else None)


def test_hyperband_goes_on_with_the_best_of_a_round_though_some_of_it_failed(tmp_path, hypermodel):
    trials = search("hyperband", tmp_path, hypermodel, most=9).trials
    promoted = next(t for t in trials.values() if "tuner/trial_id" in t.hyperparameters.values)
    values = promoted.hyperparameters.values
    before = trials[values["tuner/trial_id"]]
    assert (values["tuner/initial_epoch"], values["tuner/epochs"]) == (1, 3)
    rivals = [
        trial
        for trial in list(trials.values())[1 : int(promoted.trial_id)]
        if trial.hyperparameters.values["tuner/bracket"] == 1
    ]
    scores = [trial.score for trial in rivals if trial.score is not None]
    # Three that did not fail make a round.
    assert len(scores) == 3 < len(rivals)
    assert before.score == max(scores)
    for key in ("network.filters", "recipe.learning_rate"):
        assert values[key] == before.hyperparameters.values[key]


def test_a_trial_that_fails_late_takes_those_before_it_out_of_its_bracket():
    rounds = [
        [{"past_id": None, "id": name} for name in "abc"],
        [{"past_id": "a", "id": "d"}],
    ]
    trials = {name: Trial(None, name, TrialStatus.COMPLETED) for name in "abcd"}
    trials["d"].status = TrialStatus.FAILED
    oracles._drop_failed(rounds, trials)
    assert [[entry["id"] for entry in entries] for entries in rounds] == [["b", "c"], []]


def test_a_failed_trial_says_why_in_its_file(tmp_path, hypermodel):
    search("random", tmp_path, hypermodel)
    found = [json.loads(path.read_text()) for path in tmp_path.glob("trials/trial_*/trial.json")]
    failed = [each for each in found if each["status"] == "FAILED"]
    assert failed
    assert {each["message"] for each in failed} == {"the loss is no longer a number at step 3."}


def test_a_limit_can_be_raised_later(tmp_path, hypermodel):
    few = table(search("random", tmp_path, hypermodel, most=4))
    more = table(search("random", tmp_path, hypermodel, most=6))
    assert len(few) == 4 and len(more) == 6
    assert {name: more[name] for name in few} == few


def test_a_trial_whose_worker_died_is_begun_twice_and_then_failed(tmp_path, hypermodel):
    oracle = made_oracle("random", hypermodel)
    oracle.open(tmp_path, TRIALS)
    first = oracle.create_trial("worker0")
    other = oracle.create_trial("worker1")
    assert oracle.abandon("worker0", "SIGKILL") == first.trial_id
    assert oracle.create_trial("worker2").trial_id == first.trial_id
    assert oracle.abandon("worker2", "SIGKILL") == first.trial_id
    assert oracle.trials[first.trial_id].status == TrialStatus.FAILED
    assert "died twice (SIGKILL)" in oracle.trials[first.trial_id].message
    assert list(oracle.ongoing_trials.values()) == [oracle.trials[other.trial_id]]
    assert oracle.abandon("nobody", "SIGKILL") is None


def test_a_worker_elsewhere_that_knows_the_chiefs_address_makes_the_same_table(
    tmp_path, monkeypatch, hypermodel
):
    expected = table(search("hyperband", tmp_path / "alone", hypermodel))
    folder = tmp_path / "shared"
    chiefs = made_oracle("hyperband", hypermodel)
    chiefs.open(folder, TRIALS)
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(free_address()[1]))
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker1")
    with progress_bars() as bars:
        serving = threading.Thread(
            target=chief.serve_workers, args=(chiefs, bars, [], None), daemon=True
        )
        serving.start()
        own = made_oracle("hyperband", hypermodel)
        FakeTuner(own, hypermodel, TrialRequest(None, "music", Limits()), folder).search()
        serving.join(timeout=300)
    assert not serving.is_alive()
    assert table(chiefs) == expected


def test_half_an_address_of_a_chief_is_told(monkeypatch):
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    with pytest.raises(UsageError, match="set KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT"):
        chief.address_of_environment()
