"""The local server as a process, over its ports."""

import asyncio
import http.client
import json
import os
import shutil
import signal
import socket
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
import urllib3
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.model_server.configuration import one_model
from serving.model_server.grpc_api import make_grpc_server
from serving.model_server.metrics import Metrics
from serving.model_server.predictor import Predictor
from serving.model_server.repository import Repository
from serving.model_server.servable import Servable
from serving.server import main
from tests.serving.conftest import free_port, running_server, save_toy


class Client:
    """TensorFlow Serving's own stubs."""

    def __init__(self, server):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, signature="", outputs=(), model="toy", version=None, label=None, **inputs):
        request = predict_pb2.PredictRequest(output_filter=outputs)
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        if version is not None:
            request.model_spec.version.value = version
        if label is not None:
            request.model_spec.version_label = label
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(
                value
                if isinstance(value, tf.make_tensor_proto(0).__class__)
                else tf.make_tensor_proto(value)
            )
        return self.prediction.Predict(request, timeout=60)

    def half_plus(self, **spec):
        answer = self.predict(x=np.float32([1]), **spec)
        return tf.make_ndarray(answer.outputs["y"]).tolist(), answer.model_spec.version.value


@pytest.fixture(scope="module")
def repository(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository") / "toy"
    shutil.copytree(toy, folder)
    return folder


@pytest.fixture(scope="module")
def server(repository):
    with running_server("--model_name=toy", f"--model_base_path={repository}") as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    return Client(server)


def rest(server, path, body=None, method=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    connection.request(method or ("POST" if body else "GET"), path, body)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_predict_answers_every_dtype_and_names_who_answered(client):
    answer = client.predict("named", a=np.float32([[1, 2], [3, 4]]), b=np.int32([5, 6]))
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("toy", 1, "named")
    assert tf.make_ndarray(answer.outputs["total"]).tolist() == [8, 13]
    assert tf.make_ndarray(answer.outputs["double"]).dtype == np.int32
    texts = client.predict("strings", text=[b"\0\xff", b""]).outputs["same_bytes"]
    assert tf.make_ndarray(texts).tolist() == [b"\0\xff", b""]
    (only,) = client.predict("strings", ["same"], text=[b"x"]).outputs
    assert only == "same"
    # The form in which other languages write: values one by one, one for all of them.
    typed = tf.make_tensor_proto(0.0)
    typed.tensor_shape.dim.add(size=3)
    typed.ClearField("tensor_content")
    typed.float_val[:] = [4.0]
    assert tf.make_ndarray(client.predict(x=typed).outputs["y"]).tolist() == [5, 5, 5]


def claims_a_gibibyte():
    proto = tf.make_tensor_proto(np.float32([1]))
    proto.ClearField("tensor_content")
    proto.float_val[:] = [1.0]
    proto.tensor_shape.dim[0].size = 2**28
    return proto


def strings_of_a_gibibyte():
    proto = tf.make_tensor_proto([b"x" * 1000])
    proto.tensor_shape.dim[0].size = 2**20
    return proto


def cut_off():
    proto = tf.make_tensor_proto(np.float32([1, 2]))
    proto.tensor_content = proto.tensor_content[:7]
    return proto


def of_shape(size):
    proto = tf.make_tensor_proto(np.float32([1, 2]))
    proto.tensor_shape.dim[0].size = size
    return proto


X = np.float32([1])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ({"model": "who", "x": X}, "NOT_FOUND", "Servable not found for request: Latest(who)"),
        ({"version": 7, "x": X}, "NOT_FOUND", "Servable not found for request: Specific(toy, 7)"),
        ({"label": "no", "x": X}, "INVALID_ARGUMENT", "Unrecognized servable version label: no"),
        ({"model": "", "x": X}, "INVALID_ARGUMENT", "no name"),
        ({"signature": "no", "x": X}, "FAILED_PRECONDITION", 'signature key "no" not found.'),
        ({"z": X}, "INVALID_ARGUMENT", "input tensor alias not found in signature: z."),
        ({}, "INVALID_ARGUMENT", "input size does not match signature: 0!=1"),
        ({"x": X, "z": X}, "INVALID_ARGUMENT", "Sent extra: {z}"),
        ({"x": [1]}, "INVALID_ARGUMENT", "Expects arg[0] to be float but int32 is provided"),
        ({"x": X[None]}, "INVALID_ARGUMENT", "not compatible with [None]"),
        ({"x": X, "outputs": ["z"]}, "INVALID_ARGUMENT", "output tensor alias not found"),
        ({"x": X, "outputs": ["y", "y"]}, "INVALID_ARGUMENT", "duplicate output tensor alias: y"),
        ({"signature": "picky", "x": -X}, "INVALID_ARGUMENT", "x must not be negative"),
        ({"x": claims_a_gibibyte()}, "RESOURCE_EXHAUSTED", "requests are limited to"),
        ({"x": strings_of_a_gibibyte()}, "RESOURCE_EXHAUSTED", "requests are limited to"),
        ({"x": cut_off()}, "INVALID_ARGUMENT", "tensor parsing error: x"),
        ({"x": of_shape(-1)}, "INVALID_ARGUMENT", "tensor parsing error: x"),
        ({"x": of_shape(3)}, "INVALID_ARGUMENT", "tensor parsing error: x"),
    ],
)
def test_what_cannot_be_answered_has_tensorflow_servings_code_and_words(
    client, arguments, code, said
):
    with pytest.raises(grpc.RpcError) as error:
        client.predict(**arguments)
    assert error.value.code().name == code
    assert said in error.value.details()


def test_status_and_metadata_over_grpc(client):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "toy"
    (status,) = client.models.GetModelStatus(request).model_version_status
    assert (status.version, status.state, status.status.error_code) == (1, 30, 0)
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "toy"
    signatures = get_model_metadata_pb2.SignatureDefMap()
    client.prediction.GetModelMetadata(request).metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def["named"].inputs) == {"a", "b"}
    for wrong in ({"metadata_field": ["weights"]}, {}):
        request = get_model_metadata_pb2.GetModelMetadataRequest(**wrong)
        request.model_spec.name = "toy"
        with pytest.raises(grpc.RpcError) as error:
            client.prediction.GetModelMetadata(request)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_garbage_on_either_port_harms_nobody(client, server):
    call = client.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    for garbage in (b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", os.urandom(1000)):
        with pytest.raises(grpc.RpcError):
            call(garbage, timeout=30)
    for text in (b"\0" * 100, b"POST /v1/models/toy:predict HTTP/1.1\r\n", b"\x16\x03\x01"):
        with socket.create_connection(("127.0.0.1", server.rest_port)) as connection:
            connection.sendall(text)
    assert client.half_plus()[0] == [3.5]


@pytest.mark.parametrize("offered", ["h2c", "websocket"])
def test_an_offer_to_speak_something_else_is_passed_over(server, offered):
    headers = {"Connection": "Upgrade", "Upgrade": offered, "Sec-WebSocket-Version": "13"}
    answer = urllib3.request(
        "POST",
        f"http://127.0.0.1:{server.rest_port}/v1/models/toy:predict",
        body=b'{"inputs": [1]}',
        headers=headers,
    )
    assert (answer.status, answer.json()) == (200, {"outputs": [3.5]})


def test_methods_that_are_not_served_say_so(client):
    request = classification_pb2.ClassificationRequest()
    with pytest.raises(grpc.RpcError) as error:
        client.prediction.Classify(request)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "implements Predict and GetModelMetadata" in error.value.details()


def test_a_client_that_hangs_leaves_or_promises_a_gibibyte_keeps_nobody_waiting(client, server):
    head = b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.rest_port)) as hanging:
        hanging.sendall(head % 100 + b'{"inputs"')
        with socket.create_connection(("127.0.0.1", server.rest_port)) as leaving:
            leaving.sendall(head % 16 + b'{"inputs"')
        with socket.create_connection(("127.0.0.1", server.rest_port)) as greedy:
            greedy.sendall(head % 2**30)
            assert b" 413 " in greedy.recv(100)
        assert rest(server, "/v1/models/toy:predict", '{"inputs": [1]}') == (
            200,
            {"outputs": [3.5]},
        )
        assert client.half_plus()[0] == [3.5]


def test_a_deadline_is_kept(client):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "toy", "slow"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32([300])))
    with pytest.raises(grpc.RpcError) as error:
        client.prediction.Predict(request, timeout=0.05)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_what_nobody_waits_for_any_longer_is_cancelled_and_counted_so(toy):
    class Waiting:
        async def run(self, *_):
            try:
                await asyncio.sleep(600)
            finally:
                self.ended.set()

    async def ask():
        scheduler, metrics = Waiting(), Metrics()
        scheduler.ended = asyncio.Event()
        repository = Repository(one_model("toy", str(toy)), Servable)
        await repository.update()
        server = make_grpc_server(Predictor(repository, scheduler, metrics, 2**20), 4)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "toy"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32([1])))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
                await stub.Predict(request, timeout=0.3)
        await asyncio.wait_for(scheduler.ended.wait(), 30)
        await server.stop(0)
        return metrics.page()

    assert 'status="CANCELLED"} 1' in asyncio.run(ask())


def test_versions_change_without_a_request_being_dropped_and_garbage_changes_nothing(
    repository, server, client
):
    answers, failures, stopped = [], [], threading.Event()

    def ask():
        mine = Client(server)
        while not stopped.is_set():
            try:
                answers.append(mine.half_plus())
                status, document = rest(server, "/v1/models/toy:predict", '{"inputs": [1]}')
                assert (status, *document) == (200, "outputs")
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        beside = save_toy(repository / ".partial", 10.0)
        # TensorFlow Serving takes zeros in front, too.
        os.replace(beside, repository / "0002")
        server.wait_for("version 1 of toy is no longer served")
        (repository / "3").mkdir()
        (repository / "3/saved_model.pb").write_bytes(b"no model")
        server.wait_for("version 3 of toy cannot be loaded")
        # The folder of what is served is replaced, and then all of them are gone.
        (repository / "0002/saved_model.pb").write_bytes(b"no model either")
        shutil.rmtree(repository / "3")
        server.wait_for("version 2 of toy has changed on the disk")
        shutil.rmtree(repository)
        server.wait_for("no version of toy found")
        time.sleep(0.3)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert {version for _, version in answers} == {1, 2}
    assert {tuple(value) for value, _ in answers} == {(3.5,), (10.5,)}
    assert client.half_plus() == ([10.5], 2)
    status, document = rest(server, "/v1/models/toy")
    states = {each["version"]: each["state"] for each in document["model_version_status"]}
    assert states["2"] == "AVAILABLE" and states["1"] == states["3"] == "END"
    assert "served on" in server.wait_for("no version of toy found")


def test_another_configuration_brings_models_policies_and_labels(toy, tmp_path, server, client):
    other = save_toy(tmp_path / "other/4", 7.0).parent
    save_toy(other / "5", 8.0)
    request = model_management_pb2.ReloadConfigRequest()
    first = request.config.model_config_list.config.add(name="other", base_path=str(other))
    first.model_version_policy.specific.versions.extend([4, 5])
    first.version_labels["canary"] = 5
    request.config.model_config_list.config.add(name="toy", base_path=str(toy))
    assert client.models.HandleReloadConfigRequest(request).status.error_code == 0
    assert client.half_plus(model="other", label="canary") == ([8.5], 5)
    assert client.half_plus(model="other", version=4) == ([7.5], 4)
    # What cannot be served is refused, and the rest goes on.
    wrong = model_management_pb2.ReloadConfigRequest()
    wrong.config.model_config_list.config.add(name="no", base_path=str(tmp_path / "nothing"))
    with pytest.raises(grpc.RpcError) as error:
        client.models.HandleReloadConfigRequest(wrong)
    assert "did not become available" in error.value.details()
    first.version_labels["next"] = 6
    with pytest.raises(grpc.RpcError) as error:
        client.models.HandleReloadConfigRequest(request)
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert client.half_plus(model="other", version=4) == ([7.5], 4)
    with pytest.raises(grpc.RpcError):
        client.models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest())


def test_asked_to_end_it_finishes_what_runs_and_leaves_with_zero(server):
    # The last test of the module's server.
    client, answers = Client(server), []
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "toy", "slow"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32([6000])))
    slow = json.dumps({"signature_name": "slow", "inputs": [6000]})

    def ask_rest():
        answers.append(rest(server, "/v1/models/toy:predict", slow))

    threads = [
        threading.Thread(target=lambda: answers.append(client.prediction.Predict(request))),
        threading.Thread(target=ask_rest),
    ]
    for thread in threads:
        thread.start()
    time.sleep(1)
    server.process.send_signal(signal.SIGTERM)
    server.wait_for("new ones are refused")
    # Neither protocol waits with that until the other has ended.
    until = time.monotonic() + 60
    with pytest.raises(grpc.RpcError) as error:
        while time.monotonic() < until:
            Client(server).half_plus()
    assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    with pytest.raises(OSError):
        while time.monotonic() < until:
            rest(server, "/v1/models/toy")
    assert not answers
    for thread in threads:
        thread.join()
    assert server.process.wait(60) == 0
    answers.sort(key=lambda each: isinstance(each, tuple))
    assert tf.make_ndarray(answers[0].outputs["y"]).tolist() == [6000]
    assert answers[1] == (200, {"outputs": [6000.0]})
    assert not [line for line in server.lines if "Traceback" in line]


def test_a_file_of_models_that_changes_is_served_anew(toy, tmp_path):
    file = tmp_path / "models.config"
    entry = 'model_config_list {{ config {{ name: "{}" base_path: "{}" }} }}'
    file.write_text(entry.format("first", toy))
    options = [f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=1"]
    with running_server(*options) as server:
        assert rest(server, "/v1/models/first:predict", '{"inputs": [1]}')[0] == 200
        file.write_text("model_config_list { nonsense")
        server.wait_for("what was served before is served on")
        assert rest(server, "/v1/models/first:predict", '{"inputs": [1]}')[0] == 200
        # Nor is one of which a model is not there yet; it is tried again.
        later = tmp_path / "later"
        file.write_text(entry.format("later", later))
        server.wait_for("did not become available")
        assert rest(server, "/v1/models/first:predict", '{"inputs": [1]}')[0] == 200
        shutil.copytree(toy, later)
        server.wait_for("version 1 of later is served")
        server.wait_for("its models are served")
        server.lines.clear()
        file.write_text(entry.format("second", toy))
        server.wait_for("its models are served")
        assert rest(server, "/v1/models/second:predict", '{"inputs": [1]}')[0] == 200
        assert rest(server, "/v1/models/first:predict", '{"inputs": [1]}')[0] == 404


# What keeps it from starting.


@pytest.mark.parametrize("which", ["--port", "--rest_api_port"])
def test_a_port_in_use_is_one_line(toy, which, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = {"--port": 0, "--rest_api_port": 0, which: taken.getsockname()[1]}
        options = [f"{name}={number}" for name, number in ports.items()]
        assert main([*options, f"--model_base_path={toy}"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"{which}: 127.0.0.1:{ports[which]} cannot be listened at" in said


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ([], 2, "give --model_base_path or --model_config_file"),
        (["--model_base_path=x", "--model_config_file=y"], 2, "and not both"),
        (["--model_config_file=missing"], 2, "missing: cannot be read"),
        (["--model_base_path=x", "--port=0", "--rest_api_port=0"], 2, "nobody could ask"),
        (["--model_base_path=x", "--port=81", "--rest_api_port=81"], 2, "are both 81"),
        (["--model_base_path=x", "--tensorflow_session_parallelism=-1"], 2, "-1 is less than 0"),
        (["--model_base_path=x", "--max_request_bytes=0"], 2, "0 is not at least 1"),
        (["--model_base_path=x", "--batching_parameters_file=y"], 2, "without --enable_batching"),
        (["--model_base_path=x", "--port=70000"], 2, "not a port"),
        (["--model_base_path=x", "--enable_batching=maybe"], 2, "neither true nor false"),
        (["--model_base_path=x", "--model_name="], 2, "needs a name"),
    ],
)
def test_options_that_make_no_sense_are_one_line(options, code, said, capsys):
    assert main(options) == code
    captured = capsys.readouterr().err
    assert said in captured and captured.count("\n") == 1


def test_a_model_that_cannot_be_loaded_at_the_start_is_one_line(tmp_path, capsys):
    (tmp_path / "1").mkdir()
    ports = [f"--port={free_port()}", f"--rest_api_port={free_port()}"]
    assert main([f"--model_base_path={tmp_path}", *ports]) == 1
    assert "failed to start: default: " in capsys.readouterr().err
