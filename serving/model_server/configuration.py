"""The configuration files of TensorFlow Serving: text of protocol buffers.

tensorflow-serving-api has the message of `models.config` only; those of the other two files are
declared here, field by field as in TensorFlow Serving's session_bundle_config.proto and
monitoring_config.proto.
"""

from __future__ import annotations

import os
from pathlib import Path

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

from tfrestore.errors import UsageError

_BATCHING = {
    "max_batch_size": ("Int64Value", 1),
    "batch_timeout_micros": ("Int64Value", 2),
    "max_enqueued_batches": ("Int64Value", 3),
    "num_batch_threads": ("Int64Value", 4),
    "thread_pool_name": ("StringValue", 5),
    "allowed_batch_sizes": ("int64", 6),
    "pad_variable_length_inputs": ("bool", 7),
    "enable_large_batch_splitting": ("BoolValue", 8),
    "max_execution_batch_size": ("Int64Value", 9),
}


def _declare() -> tuple[type, type]:
    """The messages BatchingParameters and MonitoringConfig."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="tfrestore/serving_configuration.proto",
        package="tfrestore.serving",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    batching = file.message_type.add(name="BatchingParameters")
    for name, (kind, number) in _BATCHING.items():
        field = batching.field.add(name=name, number=number, label=kinds.LABEL_OPTIONAL)
        if kind.endswith("Value"):
            field.type, field.type_name = kinds.TYPE_MESSAGE, f".google.protobuf.{kind}"
        elif kind == "int64":
            field.type, field.label = kinds.TYPE_INT64, kinds.LABEL_REPEATED
        else:
            field.type = kinds.TYPE_BOOL
    prometheus = file.message_type.add(name="PrometheusConfig")
    prometheus.field.add(name="enable", number=1, type=kinds.TYPE_BOOL, label=kinds.LABEL_OPTIONAL)
    prometheus.field.add(name="path", number=2, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    monitoring = file.message_type.add(name="MonitoringConfig")
    monitoring.field.add(
        name="prometheus_config",
        number=1,
        type=kinds.TYPE_MESSAGE,
        type_name=".tfrestore.serving.PrometheusConfig",
        label=kinds.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    pool.Add(file)
    return tuple(
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tfrestore.serving.{name}"))
        for name in ("BatchingParameters", "MonitoringConfig")
    )


BatchingParameters, MonitoringConfig = _declare()


def read_configuration(path: str | os.PathLike, message_class: type):
    """Reads a file of a protocol buffer's text.

    Args:
        path: The file.
        message_class: `BatchingParameters`, `MonitoringConfig` or another message.

    Raises:
        UsageError: if it cannot be read or is none.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"{path}: cannot be read ({reason}).") from None
    try:
        return text_format.Parse(text, message_class())
    except text_format.ParseError as error:
        raise UsageError(
            f"{path}: not the text of a {message_class.DESCRIPTOR.name}: {str(error).rstrip('.')}."
        ) from None


def read_models(path: str | os.PathLike):
    """Reads `--model_config_file`: a `ModelServerConfig`.

    Raises:
        UsageError: if it cannot be read, is none, or has no `model_config_list`.
    """
    from tensorflow_serving.config import model_server_config_pb2

    config = read_configuration(path, model_server_config_pb2.ModelServerConfig)
    if config.WhichOneof("config") != "model_config_list":
        raise UsageError(f"{path}: only a model_config_list can be served.")
    return config


def one_model(name: str, base_path: str):
    """The `ModelServerConfig` of `--model_name` and `--model_base_path`."""
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform="tensorflow")
    return config


def batching_parameters(path: str | os.PathLike | None) -> dict:
    """Reads `--batching_parameters_file`, TensorFlow Serving's defaults where it says nothing.

    Returns:
        The values by name.

    Raises:
        UsageError: if it cannot be read, is none, or makes no sense.
    """
    values = {
        "max_batch_size": 1000,
        "batch_timeout_micros": 0,
        "max_enqueued_batches": 10,
        "num_batch_threads": os.cpu_count() or 1,
    }
    numbers, largest = list(values), "max_batch_size"
    values |= {
        "allowed_batch_sizes": [],
        "pad_variable_length_inputs": False,
        "max_execution_batch_size": None,
    }
    if path is None:
        return values
    message = read_configuration(path, BatchingParameters)
    for name in numbers:
        if message.HasField(name):
            values[name] = getattr(message, name).value
    values["pad_variable_length_inputs"] = message.pad_variable_length_inputs
    if message.enable_large_batch_splitting.value:
        largest = "max_execution_batch_size"
        numbers.append(largest)
        values[largest] = message.max_execution_batch_size.value or values["max_batch_size"]
        if values[largest] > values["max_batch_size"]:
            raise UsageError(
                f"{path}: {largest} is {values[largest]}; it is at most max_batch_size, "
                f"{values['max_batch_size']}."
            )
    sizes = values["allowed_batch_sizes"] = list(message.allowed_batch_sizes)
    if sizes and (sorted(set(sizes)) != sizes or sizes[-1] != values[largest]):
        raise UsageError(
            f"{path}: allowed_batch_sizes have to grow, and the last has to be {largest}, "
            f"{values[largest]}."
        )
    for name in numbers:
        least = 0 if name == "batch_timeout_micros" else 1
        if values[name] < least:
            raise UsageError(f"{path}: {name} is {values[name]}; it is at least {least}.")
    return values
