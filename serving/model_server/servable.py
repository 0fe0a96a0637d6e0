"""One version of a model in memory: what it takes, and running it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from serving.model_server.statuses import Code, StatusError, invalid

WARM_UP_FILE = Path("assets.extra", "tf_serving_warmup_requests")

_DEFAULT_SIGNATURE = "serving_default"
_NAMES = {"float32": "float", "float64": "double"}


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
            name: {
                key: (tf.as_dtype(info.dtype), tf.TensorShape(info.tensor_shape))
                for key, info in sorted(signature.inputs.items())
            }
            for name, signature in self.signatures.items()
        }
        self._outputs = {name: sorted(each.outputs) for name, each in self.signatures.items()}
        # The functions need what the loaded object holds, their variables.
        self._loaded = tf.saved_model.load(str(path))
        self._functions = dict(self._loaded.signatures)
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
        return {key: dtype for key, (dtype, _) in self._inputs[name].items()}

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
            self._check_input(position, key, inputs[key], *expected[key])
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

    @staticmethod
    def _check_input(
        position: int, key: str, value: np.ndarray, dtype: tf.DType, shape: tf.TensorShape
    ) -> None:
        given = tf.string if value.dtype == object else tf.as_dtype(value.dtype)
        if given != dtype:
            names = [_NAMES.get(each.name, each.name) for each in (dtype, given)]
            raise invalid(f"Expects arg[{position}] to be {names[0]} but {names[1]} is provided")
        if not shape.is_compatible_with(value.shape):
            raise invalid(
                f"The input {key} has the shape {list(value.shape)}, which is not compatible with "
                f"{shape.as_list()} (None stands for any size)."
            )

    def run(
        self, signature: str, inputs: Mapping[str, np.ndarray], outputs: list[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Runs a signature; returns the named outputs, by default all.

        Raises:
            StatusError: what TensorFlow says of it.
        """
        try:
            tensors = {
                name: tf.constant(value, tf.string if value.dtype == object else value.dtype)
                for name, value in inputs.items()
            }
            results = self._functions[signature](**tensors)
            return {name: results[name].numpy() for name in outputs or results}
        except tf.errors.OpError as error:
            raise StatusError(Code(error.error_code), error.message) from None
