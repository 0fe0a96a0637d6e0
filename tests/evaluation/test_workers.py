import multiprocessing

import numpy as np
import pytest

from tests.conftest import synthesize
from tfrestore.evaluation.measurement import Recording, Subject
from tfrestore.evaluation.unfinished import UnfinishedEvaluation
from tfrestore.evaluation.workers import Failure, Task, measure_all

RATE = 16000


def tasks(count=5):
    for number in range(count):
        reference = synthesize(0.2, RATE, number)[None]
        subject = Subject(f"{number}", "rock", "pairs", "a")
        yield Task(subject, Recording(reference, RATE), Recording(reference * 0.5, RATE))


def by_subject(measurements):
    return sorted(measurements, key=lambda each: each.subject.track)


def assert_equal(first, second):
    for one, other in zip(by_subject(first), by_subject(second), strict=True):
        assert one.subject == other.subject and one.notes == other.notes
        assert one.scores.keys() == other.scores.keys()
        for name in one.scores:
            np.testing.assert_array_equal(one.scores[name].values, other.scores[name].values)
            assert one.scores[name].reason == other.scores[name].reason
        np.testing.assert_array_equal(one.profiles, other.profiles)


def test_two_processes_measure_what_one_does_and_end():
    choices = ["snr", "si_sdr", "lsd"]
    before = set(multiprocessing.active_children())
    in_pool = list(measure_all(tasks(), choices, jobs=2))
    assert not set(multiprocessing.active_children()) - before
    assert_equal(in_pool, measure_all(tasks(), choices, jobs=1))
    for each in in_pool:
        assert each.scores["snr"].summary == pytest.approx(20 * np.log10(2), abs=1e-4)


def test_failures_pass_through_and_files_that_are_gone_become_failures(tmp_path):
    told = Failure(Subject("x", "rock", "pairs", "a"), "why")
    gone = Task(
        Subject("y", "rock", "pairs", "a"),
        Recording(path=tmp_path / "gone.wav"),
        Recording(path=tmp_path / "gone.wav"),
    )
    for jobs in (1, 2):
        outcomes = by_subject(measure_all([told, gone], ["snr"], jobs))
        assert outcomes[0] == told and "gone.wav" in outcomes[1].reason


def test_no_more_recordings_are_drawn_than_the_workers_can_use():
    drawn = []

    def counted():
        for task in tasks(12):
            drawn.append(task)
            yield task

    outcomes = measure_all(counted(), ["snr"], jobs=2)
    next(outcomes)
    assert len(drawn) <= 5
    outcomes.close()


def test_leaving_early_ends_the_processes():
    before = set(multiprocessing.active_children())
    outcomes = measure_all(tasks(20), ["snr"], jobs=2)
    next(outcomes)
    outcomes.close()
    for child in set(multiprocessing.active_children()) - before:
        child.join(10)
    assert not set(multiprocessing.active_children()) - before


def test_an_interrupted_evaluation_goes_on_with_what_it_had(tmp_path):
    measured = list(measure_all(tasks(3), ["snr", "lsd"], jobs=1))
    first = UnfinishedEvaluation(tmp_path, {"seed": 1}, [])
    assert not first.measurements and first.lacks(measured[0].subject)
    for each in measured:
        first.add(each)
    first.close(finished=False)
    # As if killed in the middle of a line.
    text = first.path.read_text()
    first.path.write_text(text[:-40])
    second = UnfinishedEvaluation(tmp_path, {"seed": 1}, [])
    assert_equal(second.measurements, measured[:2])
    assert not second.lacks(measured[1].subject) and second.lacks(measured[2].subject)
    second.add(measured[2])
    second.close(finished=False)
    third = UnfinishedEvaluation(tmp_path, {"seed": 1}, [])
    assert_equal(third.measurements, measured)
    third.close(finished=True)
    assert not list(tmp_path.iterdir())


def test_measurements_of_other_settings_or_changed_files_are_not_used(tmp_path):
    file = tmp_path / "song.wav"
    file.write_text("one")
    (measured,) = measure_all(tasks(1), ["snr"], jobs=1)

    def reopened(settings):
        unfinished = UnfinishedEvaluation(tmp_path, settings, [file])
        found = len(unfinished.measurements)
        unfinished.add(measured)
        unfinished.close(finished=False)
        return found

    assert [reopened({"seed": 1}), reopened({"seed": 1}), reopened({"seed": 2})] == [0, 1, 0]
    file.write_text("more")
    assert reopened({"seed": 2}) == 0
    (tmp_path / ".unfinished.jsonl").write_bytes(b"\xff\xfe garbage")
    assert reopened({"seed": 2}) == 0
