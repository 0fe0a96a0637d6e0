"""One version of a model in memory: what it takes, and running it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from serving.model_server.statuses import Code, StatusError, invalid

WARM_UP_FILE = Path("assets.extra", "tf_serving_warmup_requests")

_DEFAULT_SIGNATURE = "serving_default"
_NAMES = {"float32": "float", "float64": "double"}
# What a call as an operation adds to a model's own message, in front and at the end.
_CALLED_AS = re.compile(r"^{{function_node __wrapped__[^}]*}} | \[Op:\w+\] name: $")


class _Input:
    """What a signature says of one of its inputs."""

    def __init__(self, info):
        self.dtype = tf.as_dtype(info.dtype)
        self.shape = tf.TensorShape(info.tensor_shape)
        self._numpy = np.dtype(self.dtype.as_numpy_dtype)

    def check(self, position: int, key: str, value: np.ndarray) -> None:
        """Compares a value with it; raises `StatusError` if it does not fit."""
        if value.dtype != self._numpy:
            given = tf.string if value.dtype == object else tf.as_dtype(value.dtype)
            names = [_NAMES.get(each.name, each.name) for each in (self.dtype, given)]
            raise invalid(f"Expects arg[{position}] to be {names[0]} but {names[1]} is provided")
        if not self.shape.is_compatible_with(value.shape):
            raise invalid(
                f"The input {key} has the shape {list(value.shape)}, which is not compatible with "
                f"{self.shape.as_list()} (None stands for any size)."
            )


def _as_operation(
    function, inputs: Mapping[str, _Input], outputs: list[str]
) -> Callable[[list[tf.Tensor]], list[tf.Tensor]]:
    """A signature as a function of its inputs in their order that gives its outputs in theirs.

    TensorFlow sorts the arguments of a signature and looks its variables up in Python, call by
    call. As an operation it is one step into C++.
    """

    @tf.function(
        input_signature=[tf.TensorSpec(each.shape, each.dtype) for each in inputs.values()],
        autograph=False,
    )
    def in_order(*tensors):
        results = function(**dict(zip(inputs, tensors, strict=True)))
        return [results[name] for name in outputs]

    concrete = in_order.get_concrete_function()
    variables = list(concrete.captured_inputs)
    dtypes = [tensor.dtype for tensor in concrete.outputs]
    return lambda tensors: tf.raw_ops.StatefulPartitionedCall(
        args=tensors + variables, Tout=dtypes, f=concrete
    )


class Servable:
    """A loaded SavedModel.

    Attributes:
        name: The model's.
        version: Its number.
        signatures: `SignatureDef` by name, as the file has them.

    Args:
        name: The model's name.
        version: Its number.
        path: The version's folder.

    Raises:
        Exception: whatever TensorFlow says of a folder that holds no model.
    """

    def __init__(self, name: str, version: int, path: str | os.PathLike):
        self.name = name
        self.version = version
        contents = (Path(path) / "saved_model.pb").read_bytes()
        model = saved_model_pb2.SavedModel.FromString(contents).meta_graphs[0]
        self.signatures = dict(model.signature_def)
        # Looked up for every request, so that they are made once.
        self._inputs = {
            name: {key: _Input(info) for key, info in sorted(signature.inputs.items())}
            for name, signature in self.signatures.items()
        }
        self._outputs = {name: sorted(each.outputs) for name, each in self.signatures.items()}
        # The functions need what the loaded object holds, their variables.
        self._loaded = tf.saved_model.load(str(path))
        self._functions = {
            name: _as_operation(function, self._inputs[name], self._outputs[name])
            for name, function in self._loaded.signatures.items()
        }
        self._warm_up(Path(path) / WARM_UP_FILE)

    def _warm_up(self, file: Path) -> None:
        from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

        if not file.is_file():
            return
        for record in tf.data.TFRecordDataset(str(file)):
            request = PredictionLog.FromString(record.numpy()).predict_log.request
            inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
            self.run(request.model_spec.signature_name or _DEFAULT_SIGNATURE, inputs)

    def inputs(self, signature: str) -> dict[str, tf.DType]:
        """The dtypes of a signature's inputs, for requests in JSON.

        Raises:
            StatusError: if there is no such signature.
        """
        name = signature or _DEFAULT_SIGNATURE
        if name not in self._functions:
            raise invalid(f'Serving signature name: "{name}" not found in signature def')
        return {key: expected.dtype for key, expected in self._inputs[name].items()}

    def check(
        self, signature: str, inputs: Mapping[str, np.ndarray], output_filter: list[str]
    ) -> tuple[str, list[str]]:
        """Compares a request with the signature.

        Returns:
            The signature's name and the outputs' names.

        Raises:
            StatusError: if they do not fit.
        """
        name = signature or _DEFAULT_SIGNATURE
        if name not in self._functions:
            raise StatusError(
                Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
            )
        expected, offered = self._inputs[name], self._outputs[name]
        if len(inputs) != len(expected):
            extra, missing = set(inputs) - set(expected), set(expected) - set(inputs)
            raise invalid(
                f"input size does not match signature: {len(inputs)}!={len(expected)} "
                f"len({{{','.join(sorted(inputs))}}}) != len({{{','.join(expected)}}}). "
                f"Sent extra: {{{','.join(sorted(extra))}}}. "
                f"Missing but required: {{{','.join(sorted(missing))}}}."
            )
        for position, key in enumerate(sorted(inputs)):
            if key not in expected:
                raise invalid(
                    f"input tensor alias not found in signature: {key}. Inputs expected to be in "
                    f"the set {{{','.join(expected)}}}."
                )
            expected[key].check(position, key, inputs[key])
        for key in output_filter:
            if key not in offered:
                raise invalid(
                    f"output tensor alias not found in signature: {key} Outputs expected to be in "
                    f"the set {{{','.join(offered)}}}."
                )
        if len(set(output_filter)) != len(output_filter):
            double = next(key for key in output_filter if output_filter.count(key) > 1)
            raise invalid(f"duplicate output tensor alias: {double}")
        return name, output_filter or offered

    def run(
        self, signature: str, inputs: Mapping[str, np.ndarray], outputs: list[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Runs a signature; returns the named outputs, by default all.

        Raises:
            StatusError: what TensorFlow says of it.
        """
        try:
            tensors = [
                tf.constant(inputs[name], expected.dtype)
                for name, expected in self._inputs[signature].items()
            ]
            results = dict(
                zip(self._outputs[signature], self._functions[signature](tensors), strict=True)
            )
            return {name: results[name].numpy() for name in outputs or results}
        except tf.errors.OpError as error:
            message = _CALLED_AS.sub("", error.message)
            raise StatusError(Code(error.error_code), message) from None
