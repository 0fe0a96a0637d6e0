"""How a served model is asked: over gRPC with TensorFlow Serving's stubs, or over its REST API.

Both answer the same questions and fail with the same `RemoteError`. REST needs no TensorFlow.
"""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from urllib.parse import quote, urlsplit

import numpy as np

from tfrestore.errors import InputError, UsageError

Arrays = Mapping[str, np.ndarray]

#: gRPC's names of what may go away by itself.
RETRIED = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")

# What gRPC calls the answers that TensorFlow Serving gives over HTTP.
_HTTP_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

# Of an answer's message that a person is shown.
_MOST_SHOWN = 300


class RemoteError(InputError):
    """The server did not do what it was asked.

    Attributes:
        code: gRPC's name of the reason.
    """

    def __init__(self, message: str, code: str):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class ServedModel:
    """Which model is asked, and what is said besides.

    Attributes:
        name: Its name on the server.
        version: A number; `None` for the latest.
        label: A version's label, in place of the number.
        headers: Names and values that go with every request, such as an authorization.
        certificates: Files for TLS, by `"ca"`, `"certificate"` and `"key"`; `None` for no TLS (a
            REST address says by itself whether it is encrypted).
    """

    name: str
    version: int | None = None
    label: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    certificates: Mapping[str, str | None] | None = None


class VersionState(NamedTuple):
    """A version of the model, its state (`"AVAILABLE"` if it is served) and what is wrong."""

    version: int
    state: str
    error: str


class Transport(Protocol):
    """A connection to a served model, for many threads at once."""

    #: Whether numbers travel better as the bytes that they are.
    prefers_bytes: bool

    def predict(self, signature: str, inputs: Arrays, seconds: float) -> Arrays:
        """Runs a signature; arrays of strings have dtype object. Raises `RemoteError`.

        A single output comes under any name.
        """

    def status(self, seconds: float) -> list[VersionState]:
        """The versions that the server knows. Raises `RemoteError`."""

    def signatures(self, seconds: float) -> dict[str, dict]:
        """Signatures by name, as `tfrestore.model_card.read_signatures` has them."""

    def close(self) -> None:
        """Ends the connection and whatever is under way."""


class GrpcTransport:
    """gRPC, with the messages and stubs of tensorflow-serving-api.

    Args:
        address: `"host:port"`.
        model: The model.

    Raises:
        UsageError: if the address is none, tensorflow-serving-api is missing, or a file for TLS
            cannot be used.
    """

    prefers_bytes = False

    def __init__(self, address: str, model: ServedModel):
        if not _GRPC_ADDRESS.fullmatch(address):
            raise UsageError(f"--grpc {address}: give an address such as localhost:8500.")
        # gRPC's newer engine hands what comes in from thread to thread until it is where the call
        # waits; without it the call's own thread reads.
        os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client")
        try:
            import grpc
            from tensorflow_serving.apis import (
                model_service_pb2_grpc,
                prediction_service_pb2_grpc,
            )
            from tensorflow_serving.apis.predict_pb2 import PredictRequest
        except ImportError as error:
            raise UsageError(
                f"--grpc needs {error.name}; install it with pip install 'tfrestore[serving]', or "
                "use --rest."
            ) from None
        options = [
            # What an answer needs is known to the server alone; 4 MiB, the default, is less.
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # A server that has been restarted is found again soon.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        if model.certificates is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            _check_certificates(model.certificates)
            files = [_read(model.certificates.get(name)) for name in ("ca", "key", "certificate")]
            self._channel = grpc.secure_channel(
                address, grpc.ssl_channel_credentials(*files), options
            )
        self._grpc = grpc
        self._predict_request = PredictRequest
        self._address = address
        self._model = model
        self._metadata = [(name.lower(), value) for name, value in model.headers.items()]
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def _call(self, method, request, seconds: float):
        spec = request.model_spec
        spec.name = self._model.name
        if self._model.version is not None:
            spec.version.value = self._model.version
        if self._model.label is not None:
            spec.version_label = self._model.label
        try:
            return method(request, timeout=seconds, metadata=self._metadata)
        except self._grpc.RpcError as error:
            raise _remote_error(self._address, error.code().name, error.details() or "") from None
        except ValueError:
            # The channel was closed by another thread.
            raise RemoteError(f"{self._address}: closed", "CANCELLED") from None

    def predict(self, signature: str, inputs: Arrays, seconds: float) -> Arrays:
        """See `Transport`."""
        request = self._predict_request()
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            tensor = request.inputs[name]
            for size in value.shape:
                tensor.tensor_shape.dim.add(size=size)
            if value.dtype == object:
                tensor.dtype = _GRPC_STRING
                tensor.string_val.extend(value.reshape(-1))
            else:
                tensor.dtype = _GRPC_DTYPES[value.dtype]
                tensor.tensor_content = value.tobytes()
        answer = self._call(self._prediction.Predict, request, seconds)
        return {name: _array_of(tensor) for name, tensor in answer.outputs.items()}

    def status(self, seconds: float) -> list[VersionState]:
        """See `Transport`."""
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        answer = self._call(self._models.GetModelStatus, request, seconds)
        names = get_model_status_pb2.ModelVersionStatus.State
        return [
            VersionState(each.version, names.Name(each.state), each.status.error_message)
            for each in answer.model_version_status
        ]

    def signatures(self, seconds: float) -> dict[str, dict]:
        """See `Transport`."""
        from tensorflow.core.framework import types_pb2
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        answer = self._call(self._prediction.GetModelMetadata, request, seconds)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)

        def form(tensors):
            return {
                name: _form(types_pb2.DataType.Name(each.dtype), each.tensor_shape.dim)
                for name, each in sorted(tensors.items())
            }

        return {
            name: {"inputs": form(each.inputs), "outputs": form(each.outputs)}
            for name, each in sorted(signatures.signature_def.items())
            if not name.startswith("__")
        }

    def close(self) -> None:
        """See `Transport`."""
        self._channel.close()


# A name, an IPv4 address or an IPv6 one in brackets, and a port; or one of gRPC's own schemes.
_GRPC_ADDRESS = re.compile(
    r"(dns|ipv4|ipv6|unix|unix-abstract|xds):.+|(\[[^\]\s]+\]|[^\s:/\[\]]+):[0-9]{1,5}"
)

# The numbers that dtypes have in messages.
_GRPC_STRING = 7
_GRPC_DTYPES = {
    np.dtype("float32"): 1,
    np.dtype("float64"): 2,
    np.dtype("int32"): 3,
    np.dtype("int64"): 9,
}
_NUMPY_DTYPES = {number: dtype for dtype, number in _GRPC_DTYPES.items()}


def _array_of(tensor) -> np.ndarray:
    """The array of a `TensorProto`, however its values are written."""
    dtype = _NUMPY_DTYPES.get(tensor.dtype)
    if dtype is not None and (content := tensor.tensor_content):
        return np.frombuffer(content, dtype).reshape(
            [each.size for each in tensor.tensor_shape.dim]
        )
    import tensorflow as tf

    return tf.make_ndarray(tensor)


class RestTransport:
    """TensorFlow Serving's REST API, with urllib3.

    Args:
        url: `"http://host:port"` or `"https://..."`, with what comes before `/v1` if anything.
        model: The model.

    Raises:
        UsageError: if the address is none, or a file for TLS cannot be used.
    """

    prefers_bytes = True

    def __init__(self, url: str, model: ServedModel):
        import urllib3

        try:
            parts = urlsplit(url)
            is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address:
            raise UsageError(f"--rest {url}: give an address such as http://localhost:8501.")
        certificates = model.certificates or {}
        _check_certificates(certificates)
        self._pool = urllib3.PoolManager(
            maxsize=64,
            retries=False,
            ca_certs=certificates.get("ca"),
            cert_file=certificates.get("certificate"),
            key_file=certificates.get("key"),
        )
        self._address = url
        self._headers = {**model.headers, "content-type": "application/json"}
        self._url = f"{url.rstrip('/')}/v1/models/{quote(model.name, safe='')}"
        if model.version is not None:
            self._url += f"/versions/{model.version}"
        elif model.label is not None:
            self._url += f"/labels/{quote(model.label, safe='')}"

    def _call(self, method: str, path: str, seconds: float, document: dict | None = None) -> dict:
        import urllib3

        body = None if document is None else json.dumps(document)
        try:
            answer = self._pool.request(
                method, self._url + path, body=body, headers=self._headers, timeout=seconds
            )
        except (
            # Refused; urllib3 counts it among what took too long.
            urllib3.exceptions.NewConnectionError,
            urllib3.exceptions.ConnectTimeoutError,
        ) as error:
            raise _remote_error(self._address, "UNAVAILABLE", str(error)) from None
        except urllib3.exceptions.TimeoutError:
            raise RemoteError(
                f"{self._address}: no answer within {seconds:.0f} s", "DEADLINE_EXCEEDED"
            ) from None
        except urllib3.exceptions.SSLError as error:
            raise _remote_error(self._address, "UNAUTHENTICATED", str(error)) from None
        except urllib3.exceptions.HTTPError as error:
            raise _remote_error(self._address, "UNAVAILABLE", str(error)) from None
        try:
            found = json.loads(answer.data)
            if not isinstance(found, dict):
                raise ValueError
        except ValueError:
            found = {}
        if answer.status != 200 or not found:
            code = _HTTP_CODES.get(answer.status, "UNKNOWN")
            said = found.get("error") or f"the answer is HTTP status {answer.status}"
            raise _remote_error(self._address, code, str(said))
        return found

    def predict(self, signature: str, inputs: Arrays, seconds: float) -> Arrays:
        """See `Transport`."""
        values = {
            name: [{"b64": base64.b64encode(each).decode()} for each in value]
            if value.dtype == object
            else value.tolist()
            for name, value in inputs.items()
        }
        document = {"signature_name": signature, "inputs": values}
        answer = self._call("POST", ":predict", seconds, document)
        with self._understood():
            outputs = answer["outputs"]
            if not isinstance(outputs, dict):
                # A single output comes without its name.
                outputs = {"": outputs}
            return {name: _array_of_json(value) for name, value in outputs.items()}

    def status(self, seconds: float) -> list[VersionState]:
        """See `Transport`."""
        answer = self._call("GET", "", seconds)
        with self._understood():
            return [
                VersionState(int(each["version"]), each["state"], each["status"]["error_message"])
                for each in answer["model_version_status"]
            ]

    def signatures(self, seconds: float) -> dict[str, dict]:
        """See `Transport`."""
        answer = self._call("GET", "/metadata", seconds)

        def form(tensors):
            return {
                name: _form(each["dtype"], each["tensor_shape"].get("dim", []))
                for name, each in sorted(tensors.items())
            }

        with self._understood():
            signatures = answer["metadata"]["signature_def"]["signature_def"]
            return {
                name: {"inputs": form(each["inputs"]), "outputs": form(each["outputs"])}
                for name, each in sorted(signatures.items())
                if not name.startswith("__")
            }

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Says so where an answer is JSON, but none of a model server."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError):
            raise RemoteError(
                f"{self._address}: the answer is none of TensorFlow Serving's REST API; name the "
                "address of the server itself.",
                "UNKNOWN",
            ) from None

    def close(self) -> None:
        """See `Transport`."""
        self._pool.clear()


def _array_of_json(value) -> np.ndarray:
    texts = isinstance(value, list) and value and isinstance(value[0], dict)
    if not texts:
        return np.array(value)
    array = np.empty(len(value), object)
    array[:] = [base64.b64decode(each["b64"]) for each in value]
    return array


def _form(dtype: str, dimensions) -> dict:
    sizes = [int(each["size"] if isinstance(each, dict) else each.size) for each in dimensions]
    name = dtype.removeprefix("DT_").lower()
    return {
        "dtype": {"float": "float32", "double": "float64"}.get(name, name),
        "shape": [None if size < 0 else size for size in sizes],
    }


def _remote_error(address: str, code: str, message: str) -> RemoteError:
    line = " ".join(message.split())
    if len(line) > _MOST_SHOWN:
        line = f"{line[:_MOST_SHOWN]}..."
    return RemoteError(f"{address}: {code}: {line}", code)


def _check_certificates(files: Mapping[str, str | None]) -> None:
    """Refuses files for TLS that cannot be used, by their names.

    Raises:
        UsageError: if that is so.
    """
    authority, certificate, key = (files.get(name) for name in ("ca", "certificate", "key"))
    for path in (authority, certificate, key):
        _read(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if authority:
            context.load_verify_locations(authority)
    except ssl.SSLError:
        raise UsageError(f"{authority}: holds no certificates in PEM.") from None
    try:
        if certificate:
            # A password is not asked for in the midst of a command.
            context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError:
        raise UsageError(
            f"{certificate} and {key}: are no certificate and its key in PEM, without a password."
        ) from None


def _read(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}).") from None
