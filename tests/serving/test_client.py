"""The client against the local server: what it gives, and what happens when something does not."""

import base64
import contextlib
import http.server
import io
import json
import signal
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import soundfile
import urllib3
from tensorflow_serving.apis import get_model_status_pb2

from serving.client import main
from serving.remote.restorer import RemoteRestorer
from serving.remote.transports import GrpcTransport, RemoteError, RestTransport, ServedModel
from tests.conftest import synthesize
from tests.serving.conftest import ServerProcess, free_port, running_server
from tfrestore.audio.reading import read
from tfrestore.exporting import export_restorer
from tfrestore.recordings import RestorationAborted
from tfrestore.restorer import Restorer
from tfrestore.served_functions import PROPERTIES

RATE = 16000


@pytest.fixture(scope="module")
def restorers(random_run, stochastic_run):
    return {
        "inpainter": Restorer.from_preset(random_run, chunk_seconds=2.0),
        "gan": Restorer.from_preset(stochastic_run, chunk_seconds=1.0),
    }


@pytest.fixture(scope="module")
def configuration(restorers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    entries = []
    for name, restorer in restorers.items():
        export_restorer(restorer, folder / name)
        entries.append(f'config {{ name: "{name}" base_path: "{folder / name}" }}')
    file = folder / "models.config"
    file.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    return file


@pytest.fixture(scope="module")
def server(configuration):
    with running_server(f"--model_config_file={configuration}") as running:
        yield running


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Eleven seconds of stereo at 44.1 kHz, with gaps, as FLAC."""
    path = tmp_path_factory.mktemp("recordings") / "take.flac"
    stereo = np.stack([synthesize(11.0, 44100, seed) for seed in (0, 1)], axis=1)
    stereo[44100 * 3 : 44100 * 3 + 1200] = 0
    stereo[44100 * 7 : 44100 * 7 + 900, 1] = 0
    soundfile.write(path, stereo, 44100)
    return path


def addresses(server):
    return (
        ["--grpc", f"127.0.0.1:{server.port}"],
        ["--rest", f"http://127.0.0.1:{server.rest_port}"],
    )


@pytest.mark.parametrize("protocol", [0, 1])
@pytest.mark.parametrize("gap", [None, (5.0, 5.03)])
def test_the_result_is_that_of_a_model_here(server, restorers, recording, tmp_path, protocol, gap):
    target = tmp_path / "out.wav"
    options = ["--gap", f"{gap[0]}-{gap[1]}"] if gap else []
    options += ["--model=inpainter", "--subtype=float", "-o", str(target)]
    assert main(["restore", str(recording), *addresses(server)[protocol], *options]) == 0
    waveform, rate = read(recording)
    restored, restored_rate = read(target)
    expected = restorers["inpainter"].restore(waveform, rate, gaps=[gap] if gap else None)
    assert (restored.shape, restored_rate) == (waveform.shape, rate)
    np.testing.assert_allclose(restored, expected, atol=1e-4)
    assert np.abs(restored - waveform).max() > 1e-2


@pytest.mark.parametrize("protocol", [0, 1])
def test_versions_of_a_stochastic_model_are_those_made_here(
    server, restorers, recording, tmp_path, protocol, capsys
):
    command = ["restore", str(recording), *addresses(server)[protocol], "--model=gan", "--seed=7"]
    options = ["--candidates=2", "--subtype=float", f"-o{tmp_path}/"]
    assert main([*command, *options, "--version=1", "--concurrency=3"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition("\t")[2] for line in printed] == [
        "--seed 7 --candidate 1",
        "--seed 7 --candidate 2",
    ]
    waveform, rate = read(recording)
    for candidate in (1, 2):
        restored, _ = read(tmp_path / f"take.restored.{candidate}.wav")
        expected = restorers["gan"].restore(waveform, rate, seed=7, candidate=candidate)
        np.testing.assert_allclose(restored, expected, atol=1e-4)


def test_rest_needs_no_tensorflow(server, recording, tmp_path):
    script = """
import sys
from serving.client import main
code = main(sys.argv[1:])
loaded = {"tensorflow", "keras", "tensorflow_serving", "grpc"} & set(sys.modules)
sys.exit(f"loaded: {loaded}" if loaded else code)
"""
    command = ["restore", str(recording), *addresses(server)[1], "--model=inpainter"]
    done = subprocess.run(
        [sys.executable, "-c", script, *command, f"-o{tmp_path / 'out.flac'}"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "out.flac")), done.stderr


@pytest.mark.parametrize("protocol", [0, 1])
def test_status_metadata_and_benchmark_are_printed(server, protocol, capsys):
    where = [*addresses(server)[protocol], "--model=gan"]
    assert main(["status", *where]) == 0
    assert capsys.readouterr().out == "version 1: AVAILABLE\n"
    assert main(["metadata", *where]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        "noise: noise float32 [any, 8], waveform float32 [any, any] -> restored float32 [any, any]"
    ) in lines
    assert {"sample rate: 44100 Hz", "noise: 8 values"} <= set(lines)
    command = ["benchmark", *where, "--clients", "1", "2", "--requests=4", "--seconds=0.1"]
    assert main(command) == 0
    header, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert [(row[0], row[-1]) for row in rows] == [("1", "0"), ("2", "0")]
    assert all(float(row[1]) > 0 and float(row[3]) <= float(row[5]) for row in rows)


@pytest.mark.parametrize("protocol", [0, 1])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model=who"], "NOT_FOUND: Servable not found for request: Latest(who)"),
        (["--model=gan", "--version=9"], "Specific(gan, 9)"),
        (["--model=gan", "--label=old"], "Unrecognized servable version label: old"),
        (["--model=gan", "--gap=1-2"], "the model gan on the server fills no gaps"),
        (["--model=inpainter", "--seed=1"], "makes one version of a recording only"),
    ],
)
def test_what_the_server_or_the_model_refuses_is_one_line(
    server, recording, tmp_path, protocol, options, said, capsys
):
    where = [*addresses(server)[protocol], f"-o{tmp_path / 'out.wav'}", "--timeout=20"]
    assert main(["restore", str(recording), *where, *options]) in (1, 2)
    captured = capsys.readouterr().err
    assert said in captured and captured.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--grpc=127.0.0.1:{}", "--rest=http://127.0.0.1:{}"])
def test_nobody_at_the_address_is_one_line_when_the_time_is_over(option, capsys):
    where = option.format(free_port())
    began = time.monotonic()
    assert main(["status", where, "--model=x", "--timeout=0.5"]) == 1
    captured = capsys.readouterr().err
    assert "127.0.0.1" in captured and captured.count("\n") == 1
    assert "UNAVAILABLE" in captured or time.monotonic() - began > 0.5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model=x"], "one of the arguments --grpc --rest is required"),
        (["--model=x", "--rest=localhost:8501"], "give an address such as http://localhost:8501"),
        (["--model=x", "--rest=http://[::1"], "give an address such as http://localhost:8501"),
        (["--model=x", "--rest=http://a:99999"], "give an address such as http://localhost:8501"),
        (["--model=x", "--grpc=a:1", "--timeout=0"], "--timeout: 0 is not more than 0"),
        (["--model=x", "--grpc=a:1", "--timeout=nan"], "--timeout: nan is not more than 0"),
        (["--model=x", "--grpc=a:1", f"--version={2**63}"], "not between 0 and 2**63 - 1"),
        (["--model=x", "--rest=http://a", "--token=abc\n"], "not of printable ASCII letters"),
        (["--model=x", "--grpc=a:1", "--token=żó"], "not of printable ASCII letters"),
        (["--model=x", "--grpc=a:1", "--metadata=a b=c"], "no name of letters"),
        (["--model=x", "--grpc=a:1", "--metadata=x-bin=c"], "one in -bin is not for text"),
        (["--model=x", "--grpc=a:1", "--tls-key=k"], "go together"),
        (["--model=x", "--grpc=a:1", "--tls-ca=missing"], "missing: cannot be read"),
        (["--model=x", "--rest=https://a", "--tls-ca=missing"], "missing: cannot be read"),
        (["--model=x", "--rest=https://a", f"--tls-ca={__file__}"], "holds no certificates in PEM"),
        (["--model=x", "--grpc=a:1", f"--tls-ca={__file__}"], "holds no certificates in PEM"),
        (
            ["--model=x", "--grpc=a:1", f"--tls-key={__file__}", f"--tls-certificate={__file__}"],
            "no certificate and its key",
        ),
        (["--model=x", "--grpc="], "give an address such as localhost:8500"),
        (["--model=x", "--grpc=http://a:8500"], "give an address such as localhost:8500"),
        (["--model=x", "--grpc=a", "--timeout=soon"], "--timeout: 'soon' is not a number"),
        (["--model=x", "--grpc=a", "--version=new"], "--version: 'new' is not a whole number"),
        (["--model=x", "--grpc=a"], "give an address such as localhost:8500"),
        (["--model=x", "--grpc=a:1", "--metadata=x"], "not NAME=VALUE"),
        (["--model=x", "--grpc=a:1", "--version=1", "--label=x"], "not allowed with"),
    ],
)
def test_options_that_make_no_sense_are_one_line(options, said, capsys):
    assert main(["status", *options]) == 2
    captured = capsys.readouterr().err
    assert said in captured and captured.count("\n") == 1


# Faults.


def wav(waveform, **options):
    file = io.BytesIO()
    soundfile.write(file, waveform, RATE, format="WAV", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (b"no WAV", "the string is no WAV file"),
        (wav(np.zeros(0)), "the WAV file holds no samples"),
        (wav(np.full(9, np.nan), subtype="FLOAT"), "not a finite number"),
    ],
)
def test_a_file_that_cannot_be_restored_is_the_askers_mistake_over_rest(server, file, said):
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/inpainter:predict"
    good = wav(synthesize(0.5, RATE))

    def post(*files):
        rows = [{"b64": base64.b64encode(each).decode()} for each in files]
        body = json.dumps({"signature_name": "wav_bytes", "instances": rows})
        return urllib3.request("POST", url, body=body)

    answer = post(good, file)
    assert answer.status == 400 and said in answer.json()["error"]
    answer = post(good, good)
    restored = [base64.b64decode(each["b64"]) for each in answer.json()["predictions"]]
    assert answer.status == 200 and restored[0] == restored[1] and len(restored[0]) == len(good)


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_the_client_goes_on_with_a_server_that_was_killed_and_started_again(
    configuration, restorers, recording, tmp_path, protocol
):
    first = ServerProcess(f"--model_config_file={configuration}")
    first.wait_for("ready")
    again = []

    def progress(done):
        if not again and done < 1:
            first.stop(signal.SIGKILL)
            again.append(
                ServerProcess(
                    f"--model_config_file={configuration}",
                    port=first.port,
                    rest_port=first.rest_port,
                )
            )

    model = ServedModel("inpainter")
    if protocol == "grpc":
        transport = GrpcTransport(f"127.0.0.1:{first.port}", model)
    else:
        transport = RestTransport(f"http://127.0.0.1:{first.rest_port}", model)
    with RemoteRestorer(transport, 2, seconds=500) as remote:
        remote.restore_file(recording, tmp_path / "out.wav", subtype="float", progress=progress)
    again[0].stop()
    waveform, rate = read(recording)
    restored, _ = read(tmp_path / "out.wav")
    np.testing.assert_allclose(restored, restorers["inpainter"].restore(waveform, rate), atol=1e-4)


@pytest.mark.parametrize("transport", [GrpcTransport, RestTransport])
def test_a_server_that_stays_away_is_one_line_that_names_the_segment_and_no_file(
    server, recording, tmp_path, transport
):
    live = {GrpcTransport: server.port, RestTransport: server.rest_port}[transport]
    address = f"127.0.0.1:{free_port()}"
    if transport is RestTransport:
        address, live = f"http://{address}", f"http://127.0.0.1:{live}"
    else:
        live = f"127.0.0.1:{live}"
    model = ServedModel("inpainter")
    gone = transport(address, model)
    with RemoteRestorer(transport(live, model), 2) as remote:
        here = remote._transport

        def progress(done):
            remote._transport, remote._seconds = gone, 1.0

        try:
            with pytest.raises(RemoteError) as error:
                remote.restore_file(recording, tmp_path / "out.wav", progress=progress)
        finally:
            here.close()
    said = str(error.value)
    assert said.startswith(f"{recording}: segment ")
    assert "UNAVAILABLE" in said or (transport is GrpcTransport and "no answer within" in said)
    # Two seconds a segment, two channels, two requests at a time: some were sent before.
    number, start = int(said.split("segment ")[1].split(",")[0]), float(said.split(" from ")[1][:3])
    assert 2 <= number <= 5 and start == 2.0 * (number - 1)
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == []


class Moody:
    """A transport that fails as it is told, and then answers."""

    prefers_bytes = False

    def __init__(self, *codes):
        self.codes = list(codes)
        self.calls = 0
        self.left = []

    def predict(self, signature, inputs, seconds):
        self.calls += 1
        self.left.append(seconds)
        if self.codes:
            code = self.codes.pop(0)
            raise RemoteError(f"somewhere: {code}", code)
        if signature == "properties":
            values = (RATE, 1000, 100, 500, 1, 0, 0)
            return {name: np.array([each]) for name, each in zip(PROPERTIES, values, strict=True)}
        if signature == "window_bytes":
            texts = np.empty(1, object)
            texts[0] = (np.frombuffer(inputs["waveform_bytes"][0], "<f4") * 0.5).tobytes()
            return {"restored_bytes": texts}
        return {"restored": inputs["waveform"] * 0.5}

    def close(self):
        pass


def test_what_may_go_away_by_itself_is_tried_again_with_longer_pauses_and_the_rest_is_not():
    moody = Moody("UNAVAILABLE", "RESOURCE_EXHAUSTED", "UNAVAILABLE")
    with RemoteRestorer(moody, seconds=20) as remote:
        assert moody.calls == 4
        pauses = -np.diff(moody.left)
        # At least half of 0.1, 0.2 and 0.4 s, and each attempt has only what is left.
        assert (pauses >= [0.05, 0.1, 0.2]).all() and pauses.sum() < 5
        moody.codes = ["INVALID_ARGUMENT"]
        waveform = np.full((1, 2500), 0.5, np.float32)
        with pytest.raises(RemoteError, match=r"segment \d, .*INVALID_ARGUMENT"):
            remote.restore(waveform, RATE)
        assert np.allclose(remote.restore(waveform, RATE), 0.25)
    with pytest.raises(RemoteError, match="UNAVAILABLE"):
        RemoteRestorer(Moody(*["UNAVAILABLE"] * 1000), seconds=0.5)


def test_progress_may_stop_it_and_nothing_is_written(tmp_path):
    soundfile.write(tmp_path / "in.wav", np.full(20000, 0.1), RATE)
    with RemoteRestorer(Moody()) as remote, pytest.raises(RestorationAborted):
        remote.restore_file(tmp_path / "in.wav", tmp_path / "out.wav", progress=lambda done: False)
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


# Security.

STATUS = get_model_status_pb2.GetModelStatusResponse()
STATUS.model_version_status.add(version=3, state=30)


@contextlib.contextmanager
def one_answer(document):
    """A web server that answers one request with JSON; gives its option and what it was sent."""
    seen, body = [], json.dumps(document).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers)
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.handle_request).start()
        yield f"--rest=http://127.0.0.1:{listening.server_port}", seen


def test_tokens_and_metadata_go_with_every_rest_request(capsys):
    version = {"version": "3", "state": "AVAILABLE", "status": {"error_message": ""}}
    with one_answer({"model_version_status": [version]}) as (where, seen):
        assert main(["status", where, "--model=m", "--token=secret", "--metadata=x-team=a=b"]) == 0
    assert capsys.readouterr().out == "version 3: AVAILABLE\n"
    assert (seen[0]["authorization"], seen[0]["x-team"]) == ("Bearer secret", "a=b")


@pytest.mark.parametrize("command", ["status", "metadata"])
@pytest.mark.parametrize("document", [{"hello": 1}, {"model_version_status": 1, "metadata": [2]}])
def test_json_of_another_service_is_one_line(command, document, capsys):
    with one_answer(document) as (where, _):
        assert main([command, where, "--model=m", "--timeout=5"]) == 1
    captured = capsys.readouterr().err
    assert "none of TensorFlow Serving's REST API" in captured and captured.count("\n") == 1


def test_outputs_of_another_service_are_a_remote_error():
    with one_answer({"predictions": [1]}) as (where, _):
        transport = RestTransport(where.removeprefix("--rest="), ServedModel("m"))
        with pytest.raises(RemoteError, match="none of TensorFlow Serving's REST API"):
            transport.predict("s", {"x": np.ones(1, np.float32)}, 5)


def test_grpc_is_encrypted_with_the_certificates_given_and_carries_the_token(capsys):
    folder, seen = Path(__file__).parent / "golden", []
    key, certificate = ((folder / name).read_bytes() for name in ("localhost.key", "localhost.pem"))

    def answer(request, context):
        seen.append(dict(context.invocation_metadata()))
        return STATUS.SerializeToString()

    server = grpc.server(futures.ThreadPoolExecutor(1))
    handler = grpc.method_handlers_generic_handler(
        "tensorflow.serving.ModelService",
        {"GetModelStatus": grpc.unary_unary_rpc_method_handler(answer)},
    )
    server.add_generic_rpc_handlers([handler])
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    port = server.add_secure_port("localhost:0", credentials)
    server.start()
    try:
        command = ["status", f"--grpc=localhost:{port}", "--model=m", "--token=secret"]
        assert main([*command, f"--tls-ca={folder / 'localhost.pem'}", "--timeout=20"]) == 0
        assert seen[0]["authorization"] == "Bearer secret"
        # Nobody vouches for the server.
        assert main([*command, "--tls", "--timeout=1"]) == 1
    finally:
        server.stop(0)
