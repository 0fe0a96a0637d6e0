import asyncio
import threading
import time

import numpy as np
import pytest

from serving.model_server.scheduling import BatchingScheduler, DirectScheduler
from serving.model_server.statuses import Code, StatusError


class Recorder:
    """A servable that doubles, remembers the sizes of its batches, and does not like 13."""

    def __init__(self, seconds=0.0):
        self.sizes = []
        self.seconds = seconds
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def run(self, signature, inputs, outputs):
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.sizes.append(len(inputs["x"]))
        time.sleep(self.seconds)
        with self._lock:
            self.at_once -= 1
        if (inputs["x"] == 13).any():
            raise StatusError(Code.INVALID_ARGUMENT, "13")
        if signature == "wrong":
            return {"y": inputs["x"][:1]}
        return {"y": 2 * inputs["x"]}


def batching(**parameters):
    return BatchingScheduler(
        **{
            "max_batch_size": 4,
            "batch_timeout_micros": 50_000,
            "max_enqueued_batches": 100,
            "num_batch_threads": 1,
            "allowed_batch_sizes": [],
            **parameters,
        }
    )


def run_all(scheduler, servable, requests, signature="s"):
    """Runs requests at the same time; returns answers or errors."""

    async def run():
        return await asyncio.gather(
            *[scheduler.run(servable, signature, {"x": x}, ["y"]) for x in requests],
            return_exceptions=True,
        )

    return asyncio.run(run())


def test_requests_that_fit_run_together_and_each_gets_its_own_rows():
    recorder = Recorder()
    requests = [np.array([[k, k + 1.0]]) for k in range(8)]
    answers = run_all(batching(), recorder, requests)
    for request, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], 2 * request)
    assert recorder.sizes == [4, 4]


def test_a_request_does_not_wait_longer_than_the_window():
    recorder = Recorder()
    began = time.monotonic()
    (answer,) = run_all(batching(batch_timeout_micros=100_000), recorder, [np.ones((1, 2))])
    assert 0.09 < time.monotonic() - began
    assert recorder.sizes == [1] and answer["y"].shape == (1, 2)


def test_other_shapes_dtypes_and_signatures_do_not_mix():
    recorder = Recorder()
    requests = [np.ones((1, 2)), np.ones((1, 3)), np.ones((1, 2), "float32"), np.ones((1, 2))]
    answers = run_all(batching(), recorder, requests)
    assert [answer["y"].dtype for answer in answers] == [each.dtype for each in requests]
    assert sorted(recorder.sizes) == [1, 1, 2]


def test_batches_are_filled_up_to_an_allowed_size():
    recorder = Recorder()
    answers = run_all(
        batching(max_batch_size=8, allowed_batch_sizes=[4, 8]), recorder, [np.ones((1, 1))] * 3
    )
    assert recorder.sizes == [4]
    assert [answer["y"].shape for answer in answers] == [(1, 1)] * 3


def test_rows_of_one_request_stay_together_and_too_many_are_refused():
    recorder = Recorder()
    sizes = (3, 3, 4, 5)
    *answers, refused = run_all(batching(), recorder, [np.ones((n, 1)) for n in sizes])
    assert [len(answer["y"]) for answer in answers] == [3, 3, 4]
    assert sorted(recorder.sizes) == [3, 3, 4]
    assert refused.code == Code.INVALID_ARGUMENT
    assert refused.message == "Task size 5 is larger than maximum input batch size 4"


def test_scalars_and_rows_that_do_not_match_are_refused():
    (scalar,) = run_all(batching(), Recorder(), [np.array(1.0)])

    async def run():
        await batching().run(Recorder(), "s", {"x": np.ones(2), "z": np.ones(3)}, ["y"])

    with pytest.raises(StatusError, match="equal 0th-dimension size") as unequal:
        asyncio.run(run())
    assert "at least one dimension" in scalar.message
    assert unequal.value.code == Code.INVALID_ARGUMENT


def test_one_clients_mistake_is_not_the_others():
    recorder = Recorder()
    answers = run_all(batching(), recorder, [np.array([[value]]) for value in (1, 13, 2)])
    assert answers[0]["y"] == 2 and answers[2]["y"] == 4
    assert answers[1].message == "13"
    assert recorder.sizes == [3, 1, 1, 1]


def test_outputs_that_are_no_rows_are_an_error_and_not_somebody_elses():
    answers = run_all(batching(), Recorder(), [np.ones((2, 1))] * 2, "wrong")
    assert {answer.code for answer in answers} == {Code.FAILED_PRECONDITION}


def test_too_many_batches_are_refused_and_the_rest_is_answered():
    recorder = Recorder(seconds=0.02)
    scheduler = batching(max_batch_size=1, max_enqueued_batches=3, batch_timeout_micros=0)
    answers = run_all(scheduler, recorder, [np.ones((1, 1))] * 10)
    refused = [answer for answer in answers if isinstance(answer, StatusError)]
    assert {error.code for error in refused} == {Code.UNAVAILABLE}
    assert len(refused) + len(recorder.sizes) == 10 and 3 <= len(recorder.sizes) < 10


def test_who_has_gone_is_not_run():
    async def run():
        recorder = Recorder(seconds=0.1)
        scheduler = batching(max_batch_size=1, batch_timeout_micros=0)
        tasks = [
            asyncio.ensure_future(scheduler.run(recorder, "s", {"x": np.ones((1, 1))}, ["y"]))
            for _ in range(3)
        ]
        await asyncio.sleep(0.05)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return recorder.sizes

    assert asyncio.run(run()) == [1, 1]


def test_without_batching_so_many_run_and_wait_and_no_more():
    recorder = Recorder(seconds=0.05)
    answers = run_all(DirectScheduler(2, 3), recorder, [np.ones((1, 1))] * 9)
    refused = [answer for answer in answers if isinstance(answer, StatusError)]
    assert len(refused) == 4 and {error.code for error in refused} == {Code.RESOURCE_EXHAUSTED}
    assert recorder.sizes == [1] * 5 and recorder.most_at_once == 2


def test_inputs_of_other_lengths_run_together_where_each_is_padded_with_its_first_element():
    recorder = Recorder()
    requests = [np.array([[1.0, 2.0]]), np.array([[3.0, 4.0, 5.0]]), np.array([[6.0], [7.0]])]
    first, second, third = run_all(
        batching(pad_variable_length_inputs=True, max_batch_size=8, allowed_batch_sizes=[8]),
        recorder,
        requests,
    )
    assert recorder.sizes == [8]
    assert first["y"].tolist() == [[2, 4, 2]]
    assert second["y"].tolist() == [[6, 8, 10]]
    assert third["y"].tolist() == [[12, 12, 12], [14, 12, 12]]


def test_an_input_without_an_element_is_not_padded_and_runs_alone():
    recorder = Recorder()
    answers = run_all(
        batching(pad_variable_length_inputs=True), recorder, [np.zeros((1, 0)), np.ones((1, 2))]
    )
    assert [answer["y"].shape for answer in answers] == [(1, 0), (1, 2)]
    assert recorder.sizes == [1, 1]


def test_large_requests_are_divided_and_what_comes_back_is_whole():
    recorder = Recorder()
    scheduler = batching(max_batch_size=10, max_execution_batch_size=4, allowed_batch_sizes=[2, 4])
    requests = [np.arange(n, dtype=float)[:, None] + 100 * n for n in (3, 6, 11)]
    small, large, refused = run_all(scheduler, recorder, requests)
    np.testing.assert_array_equal(small["y"], 2 * requests[0])
    np.testing.assert_array_equal(large["y"], 2 * requests[1])
    # The second one first fills the batch that the first one began.
    assert recorder.sizes == [4, 4, 2]
    assert refused.message == "Task size 11 is larger than maximum input batch size 10"


def test_a_part_that_fails_is_the_requests_failure_and_too_many_parts_are_refused():
    scheduler = batching(max_batch_size=12, max_execution_batch_size=4, max_enqueued_batches=2)
    values = np.arange(8, dtype=float)[:, None]
    good, bad, refused = run_all(scheduler, Recorder(), [values, values + 10, np.ones((12, 1))])
    np.testing.assert_array_equal(good["y"], 2 * values)
    assert bad.code in (Code.INVALID_ARGUMENT, Code.UNAVAILABLE)
    assert refused.code == Code.UNAVAILABLE


def test_after_a_request_of_too_many_parts_the_others_are_answered():
    scheduler = batching(max_batch_size=12, max_execution_batch_size=1, max_enqueued_batches=2)

    async def run():
        with pytest.raises(StatusError, match="full"):
            await scheduler.run(Recorder(), "s", {"x": np.ones((12, 1))}, ["y"])
        return await scheduler.run(Recorder(), "s", {"x": np.ones((1, 2))}, ["y"])

    np.testing.assert_array_equal(asyncio.run(run())["y"], [[2, 2]])
