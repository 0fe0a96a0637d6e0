"""Requests that TensorFlow Serving runs before it calls a version available.

A signature's first call is many times slower than the next ones; warm-up moves that in front of the
moment at which a server switches over. The file is
`assets.extra/tf_serving_warmup_requests`, TFRecords of `PredictionLog`.
"""

from __future__ import annotations

import io
import logging
import os
import wave
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrestore.audio.tone import tone_with_gap
from tfrestore.model_card import EXTRA_ASSETS

logger = logging.getLogger(__name__)

WARM_UP_FILE = "tf_serving_warmup_requests"


def write_warm_up_requests(
    restorer, folder: str | os.PathLike, name: str, signatures: dict[str, dict]
) -> int:
    """Writes one request for each signature whose inputs are known.

    Without tensorflow-serving-api, which has the messages, nothing is written and a warning says
    so: the model works all the same, and its first requests take longer.

    Args:
        restorer: The `Restorer` that was exported.
        folder: The version's folder.
        name: The model's name on the server.
        signatures: What `read_signatures` returns.

    Returns:
        How many requests were written.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        logger.warning(
            "tensorflow-serving-api is not installed: %s gets no warm-up requests, so a server's "
            "first answers will be slow; pip install 'tfrestore[serving]' and export again.",
            name,
        )
        return 0
    requests = []
    for signature, form in signatures.items():
        values = {
            tensor: _value(restorer, tensor, **_shape_and_dtype(each))
            for tensor, each in form["inputs"].items()
        }
        if any(value is None for value in values.values()):
            continue
        request = predict_pb2.PredictRequest()
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        for tensor, value in values.items():
            request.inputs[tensor].CopyFrom(tf.make_tensor_proto(value))
        requests.append(request)
    extra = Path(folder) / EXTRA_ASSETS
    extra.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(extra / WARM_UP_FILE)) as writer:
        for request in requests:
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())
    return len(requests)


def _shape_and_dtype(form: dict) -> dict:
    return {"shape": form["shape"], "dtype": form["dtype"]}


def _value(restorer, tensor: str, shape: list[int | None], dtype: str):
    """One row for an input; `None` where nothing says what it should look like."""
    rate = restorer.sample_rate
    if tensor == "waveform":
        return tone_with_gap(shape[1] or rate, rate)[np.newaxis]
    if tensor == "waveform_bytes":
        return [tone_with_gap(restorer.chunk_plan.window_samples, rate).tobytes()]
    if tensor == "audio_bytes":
        return [_wav(tone_with_gap(rate, rate), rate)]
    sizes = [1, *shape[1:]]
    if tensor == "magnitude":
        sizes = [size or 128 for size in sizes]
    if None in sizes:
        return None
    return np.zeros(sizes, dtype)


def _wav(sound: np.ndarray, rate: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes((sound * 2**15).astype("<i2").tobytes())
    return file.getvalue()
