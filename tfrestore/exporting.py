"""Writing a restorer as a SavedModel for TensorFlow Serving."""

from __future__ import annotations

import os
from pathlib import Path

import keras
import tensorflow as tf

from tfrestore.complete_files import folder_beside
from tfrestore.errors import InputError, UsageError
from tfrestore.model_card import write_model_card
from tfrestore.restorer import Endpoint, Restorer
from tfrestore.served_functions import served_functions
from tfrestore.warm_up import write_warm_up_requests


def export_restorer(
    restorer: Restorer,
    repository: str | os.PathLike,
    version: int | None = None,
    metadata: dict | None = None,
) -> Path:
    """Writes `repository/VERSION/`, complete or not at all.

    The signatures are the restorer's `endpoints`, float32 in and out and of any batch and length,
    and those of `tfrestore.served_functions`, all with core TensorFlow operations only. Beside the
    model lie `MODEL_CARD.md`, which describes them, and in `assets.extra` the same for programs and
    the requests that warm a server up.

    Args:
        restorer: what to export.
        repository: the model's folder in TensorFlow Serving's layout, `models/NAME`.
        version: positive integer; by default the next one that is free.
        metadata: of the preset that it is, for the model card.

    Returns:
        The folder that was written.

    Raises:
        UsageError: if the version is there already or is not positive.
        InputError: if the folder cannot be written.
    """
    repository = Path(repository)
    if version is not None and version < 1:
        raise UsageError(f"version {version} is not positive; leave it out to take the next one.")
    try:
        repository.mkdir(parents=True, exist_ok=True)
        versions = [int(path.name) for path in repository.iterdir() if path.name.isdecimal()]
        version = max(versions, default=0) + 1 if version is None else version
        target = repository / str(version)
        if target.exists():
            raise UsageError(
                f"{target}: this version exists already; leave out --version to take the next one."
            )
        with folder_beside(target) as beside:
            _write_model(restorer, beside)
            signatures = write_model_card(restorer, beside, metadata)
            write_warm_up_requests(restorer, beside, repository.absolute().name, signatures)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or str(error).rpartition("; ")[2]
        raise InputError(
            f"{repository}: cannot be written ({reason}); free space, or choose another --out."
        ) from None
    return target


def _write_model(restorer: Restorer, folder: Path) -> None:
    archive = keras.export.ExportArchive()
    exported = restorer.for_inference()
    archive.track(exported)
    for name, endpoint in exported.endpoints().items():
        signature = [
            tf.TensorSpec(shape, tf.float32, name=each) for each, shape in endpoint.inputs.items()
        ]
        archive.add_endpoint(name, _named(endpoint), input_signature=signature)
    for name, served in served_functions(exported).items():
        archive.add_endpoint(name, served.function, input_signature=served.inputs)
    # A server takes no gradients, and those of some layers are compiled functions.
    without_gradients = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    archive.write_out(str(folder), options=without_gradients, verbose=False)


def _named(endpoint: Endpoint):
    def function(*values):
        results = endpoint.function(*values)
        names = (endpoint.output, *endpoint.state)
        return dict(zip(names, results if endpoint.state else (results,), strict=True))

    return function
