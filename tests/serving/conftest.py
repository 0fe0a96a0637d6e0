"""A small model of every kind of tensor, the API on it, and servers as processes."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import tensorflow as tf

from serving.model_server.configuration import one_model
from serving.model_server.http_api import HttpApi
from serving.model_server.metrics import Metrics
from serving.model_server.predictor import Predictor
from serving.model_server.repository import Repository
from serving.model_server.scheduling import DirectScheduler
from serving.model_server.servable import Servable

MOST_BYTES = 1 << 20


class Toy(tf.Module):
    """`half_plus_three` of TensorFlow Serving's documentation, and signatures of other dtypes.

    `offset` is what is added, so that one version can be told from another.
    """

    def __init__(self, offset=3.0):
        super().__init__()
        self.offset = tf.Variable(offset)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def half_plus(self, x):
        return {"y": x / 2 + self.offset}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, "a"),
            tf.TensorSpec([None], tf.int32, "b"),
        ]
    )
    def named(self, a, b):
        return {"total": tf.reduce_sum(a, 1) + tf.cast(b, tf.float32), "double": 2 * b}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def strings(self, text):
        return {"same": text, "same_bytes": text}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "s")])
    def scalar(self, s):
        return {"out": s + 1}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float64, "d")])
    def doubles(self, d):
        return {"out": d}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.int64, "i")])
    def integers(self, i):
        return {"out": i}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.uint8, "u")])
    def small(self, u):
        return {"out": u}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.bool, "f")])
    def flags(self, f):
        return {"out": tf.logical_not(f)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def unequal(self, x):
        return {"all": x, "first": x[:1]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def picky(self, x):
        tf.debugging.Assert(tf.reduce_all(x >= 0), ["x must not be negative"])
        return {"root": tf.sqrt(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def slow(self, x):
        loops = tf.cast(x[0], tf.int32)
        matrix = tf.while_loop(
            lambda i, _: i < loops,
            lambda i, m: (i + 1, tf.linalg.matmul(m, m) / 300),
            (0, tf.ones((300, 300))),
        )[1]
        return {"y": x + 0 * matrix[0, 0]}


NAMES = "named strings scalar doubles integers small flags unequal picky slow".split()


def save_toy(folder, offset=3.0, names=()):
    """Writes the model as a version's folder, with its default signature and those named."""
    toy = Toy(offset)
    signatures = {name: getattr(toy, name) for name in names}
    tf.saved_model.save(toy, str(folder), {"serving_default": toy.half_plus, **signatures})
    return folder


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """The folder of a model with one version."""
    folder = tmp_path_factory.mktemp("toys") / "toy"
    save_toy(folder / "1", names=NAMES)
    return folder


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class InProcess:
    """The REST API without a network."""

    def __init__(self, folder):
        self.loop = asyncio.new_event_loop()
        config = one_model("toy", str(folder))
        entry = config.model_config_list.config[0]
        entry.version_labels["stable"] = 1
        self.repository = Repository(config, Servable)
        self.loop.run_until_complete(self.repository.update())
        scheduler = DirectScheduler(2, 100)
        predictor = Predictor(self.repository, scheduler, Metrics(), MOST_BYTES)
        self.app = HttpApi(predictor, 20, "/monitoring/prometheus/metrics")

    def request(self, method, path, body=b"", messages=None, headers=()):
        """Sends a request; `messages` are what comes in place of a body."""
        incoming = messages or [{"type": "http.request", "body": body, "more_body": False}]
        incoming = iter(incoming)
        sent = []

        async def receive():
            for message in incoming:
                return message
            await asyncio.sleep(3600)

        async def send(message):
            sent.append(message)

        raw = path if isinstance(path, bytes) else path.encode("latin-1")
        scope = {
            "type": "http",
            "method": method,
            "path": raw.decode("latin-1"),
            "raw_path": raw,
            "headers": [(b"content-length", str(len(body)).encode()), *headers],
        }
        self.loop.run_until_complete(self.app(scope, receive, send))
        if not sent:
            return None
        return Answer(sent[0]["status"], sent[1]["body"])

    def predict(self, body, path="/v1/models/toy:predict"):
        """POSTs JSON, given as an object or as text."""
        if not isinstance(body, bytes):
            body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        return self.request("POST", path, body)


@pytest.fixture(scope="session")
def api(toy):
    return InProcess(toy)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ServerProcess:
    """`python -m serving.server` on a free pair of ports."""

    def __init__(self, *options, port=None, rest_port=None):
        self.port = free_port() if port is None else port
        self.rest_port = free_port() if rest_port is None else rest_port
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "serving.server", f"--port={self.port}"),
                *(f"--rest_api_port={self.rest_port}", "--file_system_poll_wait_seconds=0.2"),
                *map(str, options),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.rstrip())
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, text, seconds=500):
        """Returns the line of the log that has the text, when it is there."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: any(text in line for line in self.lines) or not self._reader.is_alive(),
                seconds,
            )
            assert found, self.lines
            return next((line for line in self.lines if text in line), None)

    def stop(self, number=signal.SIGTERM):
        """Ends the process; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def running_server(*options, **ports):
    server = ServerProcess(*options, **ports)
    try:
        assert server.wait_for("ready"), server.lines
        yield server
    finally:
        server.stop(signal.SIGKILL)
