"""Answering requests, whichever protocol they came by."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis.predict_pb2 import PredictResponse

from serving.model_server.metrics import Metrics
from serving.model_server.repository import Repository
from serving.model_server.servable import Servable
from serving.model_server.statuses import Code, StatusError, invalid

#: The only metadata there is.
SIGNATURE_DEF = "signature_def"

# By their numbers in messages.
_FIXED_SIZE_DTYPES = {
    number: np.dtype(tf.dtypes.as_dtype(number).as_numpy_dtype)
    for number in types_pb2.DataType.values()
    if types_pb2.DT_INVALID < number < types_pb2.DT_FLOAT_REF
    and number not in (types_pb2.DT_STRING, types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT)
}
_NUMBERS = {dtype: number for number, dtype in _FIXED_SIZE_DTYPES.items()}


class ModelSpec(NamedTuple):
    """Which model a request is for."""

    name: str
    version: int | None = None
    label: str | None = None


class Predictor:
    """Finds the model, checks the request, and has it run.

    Args:
        repository: The models.
        scheduler: A `DirectScheduler` or a `BatchingScheduler`.
        metrics: Where requests are counted.
        most_bytes: Size of a request's tensors at which it is refused.
    """

    def __init__(self, repository: Repository, scheduler, metrics: Metrics, most_bytes: int):
        self.repository = repository
        self.metrics = metrics
        self._scheduler = scheduler
        self.most_bytes = most_bytes

    async def predict(
        self,
        spec: ModelSpec,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: list[str],
        timeout: float | None = None,
        servable: Servable | None = None,
    ) -> tuple[Servable, str, dict[str, np.ndarray]]:
        """Runs a signature.

        Args:
            spec: The model.
            signature: The signature's name; empty for the default one.
            inputs: Arrays by name, those of strings with dtype object.
            output_filter: Names of the outputs wanted; `[]` for all.
            timeout: Seconds after which nobody waits for the answer any more; `None` where that
                is told by a cancellation.
            servable: The model itself, where it has been found already.

        Returns:
            The servable that ran, the signature's name and the outputs.

        Raises:
            StatusError: if that cannot be done.
        """
        servable = servable or self.repository.find(*spec)
        name, outputs = servable.check(signature, inputs, output_filter)
        running = self._scheduler.run(servable, name, inputs, outputs)
        if timeout is None:
            return servable, name, await running
        try:
            async with asyncio.timeout(timeout):
                return servable, name, await running
        except TimeoutError:
            raise StatusError(
                Code.DEADLINE_EXCEEDED, "Run timed out: the answer was not there in time."
            ) from None

    async def predict_message(self, request):
        """Answers a `PredictRequest` with a `PredictResponse`; counts it.

        It is cancelled when its client has gone or does not wait any longer.

        Raises:
            StatusError: see `predict`.
        """
        began, status = time.perf_counter(), Code.OK
        spec = read_model_spec(request.model_spec)
        try:
            inputs = {
                key: array_of(key, value, self.most_bytes) for key, value in request.inputs.items()
            }
            servable, name, outputs = await self.predict(
                spec,
                request.model_spec.signature_name,
                inputs,
                list(request.output_filter),
            )
        except StatusError as error:
            status = error.code
            raise
        except asyncio.CancelledError:
            status = Code.CANCELLED
            raise
        finally:
            self.count(spec, "GRPC", status, began)
        response = PredictResponse()
        response.model_spec.name = servable.name
        response.model_spec.version.value = servable.version
        response.model_spec.signature_name = name
        for key, value in outputs.items():
            fill_message(response.outputs[key], value)
        return response

    def count(self, spec: ModelSpec, entrypoint: str, status: Code, began: float) -> None:
        """Counts an answer; names of models that do not exist are not remembered."""
        if spec.name in self.repository.models:
            self.metrics.count_request(
                spec.name, entrypoint, status.name, time.perf_counter() - began
            )

    def metadata(self, spec: ModelSpec):
        """The `GetModelMetadataResponse` of a model.

        Raises:
            StatusError: if there is no such model.
        """
        from tensorflow_serving.apis import get_model_metadata_pb2

        servable = self.repository.find(*spec)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in servable.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = servable.name
        response.model_spec.version.value = servable.version
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response

    def status(self, spec: ModelSpec):
        """The `GetModelStatusResponse` of a model.

        Raises:
            StatusError: if there is no such model.
        """
        from tensorflow_serving.apis import get_model_status_pb2

        response = get_model_status_pb2.GetModelStatusResponse()
        for number, version in self.repository.versions(*spec):
            response.model_version_status.add(
                version=number,
                state=int(version.state),
                status={
                    "error_code": int(Code.UNKNOWN if version.error else Code.OK),
                    "error_message": version.error,
                },
            )
        return response


def read_model_spec(message) -> ModelSpec:
    """The `ModelSpec` of a message."""
    choice = message.WhichOneof("version_choice")
    return ModelSpec(
        message.name,
        message.version.value if choice == "version" else None,
        message.version_label if choice == "version_label" else None,
    )


def array_of(key: str, message, most_bytes: int) -> np.ndarray:
    """The array of a `TensorProto`; strings with dtype object.

    Raises:
        StatusError: if its contents are not what its shape says, or too much.
    """
    failure = invalid(f"tensor parsing error: {key}")
    dtype = _FIXED_SIZE_DTYPES.get(message.dtype)
    if dtype is not None:
        item = dtype.itemsize
    elif message.dtype == types_pb2.DT_STRING:
        # Each takes a pointer, and the last may stand for the rest.
        item = 8 + (len(message.string_val[-1]) if message.string_val else 0)
    else:
        raise failure
    shape = [dimension.size for dimension in message.tensor_shape.dim]
    if message.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise failure
    # A single value may stand for any number of them.
    if math.prod(shape) * item > most_bytes:
        raise StatusError(
            Code.RESOURCE_EXHAUSTED,
            f"The input {key} has {math.prod(shape)} values; requests are limited to {most_bytes} "
            "bytes.",
        )
    try:
        if dtype is not None and (content := message.tensor_content):
            return np.frombuffer(content, dtype).reshape(shape)
        array = tf.make_ndarray(message)
    except (TypeError, ValueError, IndexError):
        raise failure from None
    if array.shape != tuple(shape):
        raise failure
    return array


def fill_message(message, array: np.ndarray) -> None:
    """Writes an array into a `TensorProto`."""
    if array.dtype == object or array.dtype.kind in "SU":
        message.CopyFrom(tf.make_tensor_proto(array, tf.string))
        return
    message.dtype = _NUMBERS[array.dtype]
    for size in array.shape:
        message.tensor_shape.dim.add(size=size)
    message.tensor_content = array.tobytes()
