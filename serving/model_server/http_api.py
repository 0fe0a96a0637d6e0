"""TensorFlow Serving's REST API as an ASGI application.

https://www.tensorflow.org/tfx/serving/api_rest, and Prometheus' page. It is a single application
without a framework: TensorFlow Serving tells requests apart by two patterns, and so does this.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import time
import zlib
from urllib.parse import unquote

from google.protobuf import json_format

from serving.model_server.json_tensors import read_predict_body, write_error, write_predict_answer
from serving.model_server.predictor import SIGNATURE_DEF, ModelSpec, Predictor
from serving.model_server.statuses import HTTP_STATUS, Code, StatusError, invalid

_MODEL = r"/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_PREDICTION = re.compile(rf"(?i:{_MODEL}):(classify|regress|predict)")
_STATUS = re.compile(
    r"(?i:/v1/models)(?:/([^/:]+))?(?i:/versions/([0-9]+)|/labels/([^/:]+))?"
    r"(?:/(metadata))?"
)
_API = re.compile(r"(?i:/v1/.*)", re.DOTALL)

# Longer JSON is read and written in a thread, so that the others' requests go on meanwhile.
_LONG_BODY = 1 << 15

JSON, TEXT = b"application/json", b"text/plain"


class _ClientGone(Exception):
    """The client has closed the connection."""


class HttpApi:
    """The application.

    Args:
        predictor: What answers.
        timeout: Seconds for running a model, and for the next piece of a body to come.
        metrics_path: Where Prometheus' page is; `None` for nowhere.
    """

    def __init__(self, predictor: Predictor, timeout: float, metrics_path: str | None):
        self._predictor = predictor
        self._timeout = timeout
        self._metrics_path = metrics_path

    async def __call__(self, scope, receive, send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        path = scope.get("raw_path", scope["path"].encode()).partition(b"?")[0].decode("latin-1")
        kind = JSON
        try:
            body = await self._read(scope, receive)
            if path == self._metrics_path:
                status, kind, answer = 200, TEXT, self._predictor.metrics.page().encode()
            elif not _API.fullmatch(path):
                status, answer = 404, write_error(f"Not found: {path}")
            else:
                status, answer = (
                    200,
                    await self._until_gone(self._answer(scope["method"], path, body), receive),
                )
        except StatusError as error:
            status, answer = HTTP_STATUS[error.code], write_error(error.message)
        except _BodyError as error:
            status, answer = error.status, write_error(str(error))
        except _ClientGone:
            return
        headers = [(b"content-type", kind), (b"content-length", str(len(answer)).encode())]
        if status in (408, 413):
            # What is left of the body is not read.
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _read(self, scope, receive) -> bytes:
        most = self._predictor.most_bytes
        headers = dict(scope["headers"])
        promised = headers.get(b"content-length", b"0")
        if int(promised) > most:
            raise _BodyError(413, f"The body has {int(promised)} bytes; at most {most} are read.")
        parts, size = [], 0
        while True:
            try:
                message = await asyncio.wait_for(receive(), self._timeout)
            except TimeoutError:
                raise _BodyError(
                    408, f"Nothing more of the body has come for {self._timeout:g} s."
                ) from None
            if message["type"] == "http.disconnect":
                raise _ClientGone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise _BodyError(413, f"The body has more than {most} bytes.")
            if not message.get("more_body"):
                break
        body = b"".join(parts)
        if body and b"gzip" in headers.get(b"content-encoding", b"").lower():
            # A short one may become very long.
            return await asyncio.to_thread(_unzip, body, most)
        return body

    @staticmethod
    async def _until_gone(answering, receive) -> bytes:
        """The answer, unless the client leaves before it is there."""
        answer = asyncio.ensure_future(answering)
        gone = asyncio.ensure_future(receive())
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise _ClientGone
            return answer.result()
        finally:
            answer.cancel()
            gone.cancel()

    async def _answer(self, method: str, path: str, body: bytes) -> bytes:
        if method == "POST" and (found := _PREDICTION.fullmatch(path)):
            *spec, verb = found.groups()
            spec = _model_spec(*spec)
            if verb == "predict":
                return await self._predict(spec, body)
            if verb in ("classify", "regress"):
                self._refuse(spec, verb)
        if method == "GET" and (found := _STATUS.fullmatch(path)):
            *spec, resource = found.groups()
            if not spec[0]:
                raise invalid("Missing model name in request.")
            spec = _model_spec(*spec)
            if resource:
                return _json(_metadata(self._predictor.metadata(spec)))
            return _json(_as_dict(self._predictor.status(spec)))
        raise invalid(f"Malformed request: {method} {path}")

    def _refuse(self, spec: ModelSpec, verb: str) -> None:
        self._predictor.repository.find(*spec)
        kind = {"classify": "classification", "regress": "regression"}[verb]
        raise invalid(
            f"Expected {kind} signature method_name to be tensorflow/serving/{verb}. Was: "
            "tensorflow/serving/predict"
        )

    async def _predict(self, spec: ModelSpec, body: bytes) -> bytes:
        began, status = time.perf_counter(), Code.OK
        try:
            servable = None

            def find_inputs(signature: str):
                # What is wrong with the body itself is told first.
                nonlocal servable
                servable = self._predictor.repository.find(*spec)
                return servable.inputs(signature)

            request = await _in_thread_if(
                len(body) > _LONG_BODY, read_predict_body, body, find_inputs
            )
            # The version that the body was read for, whatever is the latest by now.
            _, _, outputs = await self._predictor.predict(
                spec, request.signature, request.inputs, [], self._timeout, servable
            )
            size = sum(value.size for value in outputs.values())
            return await _in_thread_if(
                size > _LONG_BODY // 8, write_predict_answer, outputs, request.in_rows
            )
        except StatusError as error:
            status = error.code
            raise
        finally:
            self._predictor.count(spec, "REST", status, began)


class _BodyError(Exception):
    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def _unzip(body: bytes, most: int) -> bytes:
    unzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        text = unzip.decompress(body, most + 1)
    except zlib.error as error:
        raise _BodyError(400, f"The body is not what gzip makes: {error}") from None
    if len(text) > most:
        raise _BodyError(413, f"The body has more than {most} bytes when it is decompressed.")
    if not unzip.eof:
        raise _BodyError(400, "The body is not what gzip makes: its end is missing.")
    return text


async def _in_thread_if(condition: bool, function, *arguments):
    if condition:
        return await asyncio.to_thread(function, *arguments)
    return function(*arguments)


def _model_spec(name: str, version: str | None, label: str | None) -> ModelSpec:
    if version and int(version) >= 2**63:
        raise invalid(f"Failed to convert version: {version} to numeric.")
    return ModelSpec(unquote(name), int(version) if version else None, label and unquote(label))


def _as_dict(message) -> dict:
    """Every field under its own name, also one that has its default value."""
    printing_all = "always_print_fields_with_no_presence"
    if printing_all not in inspect.signature(json_format.MessageToDict).parameters:
        # Until protobuf 5.26.
        printing_all = "including_default_value_fields"
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, **{printing_all: True}
    )


def _json(document: dict) -> bytes:
    return f"{json.dumps(document, indent=1)}\n".encode()


def _metadata(message) -> dict:
    """`GetModelMetadataResponse` with its signatures unpacked."""
    from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap

    signatures = SignatureDefMap()
    message.metadata[SIGNATURE_DEF].Unpack(signatures)
    return {
        "model_spec": _as_dict(message.model_spec),
        "metadata": {SIGNATURE_DEF: _as_dict(signatures)},
    }
