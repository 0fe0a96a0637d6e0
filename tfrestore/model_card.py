"""What an exported model offers, for people (`MODEL_CARD.md`) and for programs (JSON).

Names, shapes and dtypes are read from the SavedModel itself, so that they are what a server offers.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfrestore.audio.tf_wav import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE, MOST_CHANNELS
from tfrestore.preset_card import training_sections
from tfrestore.served_functions import MOST_SAMPLES, properties
from tfrestore.version import __version__

#: TensorFlow Serving looks for its warm-up requests in this folder and leaves the rest alone.
EXTRA_ASSETS = "assets.extra"

# What the signatures and the tensors are, by name; names in braces are filled in.
_SIGNATURES = {
    "serving_default": "Restores waveforms of any length.",
    "window": "Restores windows of one length, each {context_samples} samples of context, "
    "{chunk_samples} that count and {context_samples} of context: what comes back for the context "
    "is thrown away. Requests fit together in a batch on the server.",
    "window_bytes": "`window` with the memory of its float32 samples as a string: for REST, and "
    "for the shorter windows at a recording's ends.",
    "wav_bytes": "Restores WAV files whole, of {lowest_rate} to {highest_rate} Hz and 1 to "
    "{most_channels} channels, each by itself: 8, 16, 24 or 32-bit integers, 32 or 64-bit floats. "
    "Rate, channels, length and sample format stay (8 bits become 16, 64 become 32). At most "
    "{most_samples} samples a file, at its own rate and at the model's.",
    "properties": "What a client has to know to cut recordings; the same for every query.",
    "spectrogram": "Restores magnitudes of a short-time Fourier transform, without phase.",
    "noise": "Restores waveforms in as many ways as there are noise vectors.",
    "streaming": "Restores a waveform that comes in pieces.",
}
_TENSORS = {
    "waveform": "samples at {sample_rate} Hz, full scale 1, a channel per row",
    "restored": "samples at {sample_rate} Hz, full scale 1",
    "waveform_bytes": "little-endian float32 samples at {sample_rate} Hz, full scale 1",
    "restored_bytes": "as it came in, restored",
    "audio_bytes": "contents of a WAV file",
    "magnitude": "magnitudes, 0 or more, of a transform without normalisation",
    "noise": "values from a standard normal distribution",
    "query": "any number",
    "sample_rate": "hertz that the model works at",
    "chunk_samples": "samples of a window that count",
    "context_samples": "samples on either side of them that do not",
    "grid_samples": "the last window is shorter by a multiple of so many samples",
    "reflects_ends": "1 where a recording goes on as its reflection beyond its ends, 0 where the "
    "windows there are shorter",
    "noise_size": "length of a noise vector, 0 where there is one version only",
    "accepts_gaps": "1 where samples that are NaN are taken for lost, else 0",
}


def read_signatures(folder: str | os.PathLike) -> dict[str, dict]:
    """The signatures of a SavedModel.

    Args:
        folder: The version's folder, which holds `saved_model.pb`.

    Returns:
        By name: `{"inputs": tensors, "outputs": tensors}`, each a dict from names to
        `{"dtype": str, "shape": list}`, `None` for any size.
    """
    contents = (Path(folder) / "saved_model.pb").read_bytes()
    model = saved_model_pb2.SavedModel.FromString(contents).meta_graphs[0]
    return {
        name: {
            "inputs": _tensors(signature.inputs),
            "outputs": _tensors(signature.outputs),
        }
        for name, signature in sorted(model.signature_def.items())
        if not name.startswith("__")
    }


def _tensors(infos) -> dict[str, dict]:
    return {
        name: {
            "dtype": tf.as_dtype(info.dtype).name,
            "shape": tf.TensorShape(info.tensor_shape).as_list(),
        }
        for name, info in sorted(infos.items())
    }


def write_model_card(
    restorer, folder: str | os.PathLike, metadata: dict | None = None
) -> dict[str, dict]:
    """Writes `MODEL_CARD.md` and `assets.extra/signatures.json` into a SavedModel's folder.

    Args:
        restorer: The `Restorer` that was exported.
        folder: The version's folder.
        metadata: Of the preset that was exported; what it says of training and scores becomes part
            of the card.

    Returns:
        The signatures: those of `read_signatures` with `"description"` and units.
    """
    known = {
        **properties(restorer),
        "lowest_rate": LOWEST_SAMPLE_RATE,
        "highest_rate": HIGHEST_SAMPLE_RATE,
        "most_channels": MOST_CHANNELS,
        "most_samples": MOST_SAMPLES,
    }
    signatures = read_signatures(folder)
    for name, signature in signatures.items():
        signature["description"] = _SIGNATURES.get(name, "").format(**known)
        for tensor, form in [*signature["inputs"].items(), *signature["outputs"].items()]:
            form["unit"] = _TENSORS.get(tensor, "").format(**known)
    facts = {
        "restorer": type(restorer).__name__,
        "network": type(restorer.network).__name__,
        "parameters": restorer.network.count_params(),
        **properties(restorer),
        "tfrestore_version": __version__,
        "tensorflow_version": tf.__version__,
        "keras_version": keras.__version__,
    }
    folder = Path(folder)
    (folder / EXTRA_ASSETS).mkdir(exist_ok=True)
    (folder / EXTRA_ASSETS / "signatures.json").write_text(
        json.dumps({**facts, "signatures": signatures}, indent=2) + "\n", "utf-8"
    )
    (folder / "MODEL_CARD.md").write_text(_card(facts, signatures, metadata or {}), "utf-8")
    return signatures


def _card(facts: dict, signatures: dict[str, dict], metadata: dict) -> str:
    lines = [
        f"# {facts['restorer']}: a model that restores music",
        "",
        f"A `{facts['network']}` of {facts['parameters']:,} parameters with the analysis before "
        "and the synthesis behind it: waveform in, waveform out, at "
        f"{facts['sample_rate']} Hz. Written by tfrestore {facts['tfrestore_version']} with "
        f"TensorFlow {facts['tensorflow_version']} and Keras {facts['keras_version']}; it runs in "
        "TensorFlow Serving of that version or a newer one and has core TensorFlow operations "
        "only.",
        "",
        "## Signatures",
    ]
    for name, signature in signatures.items():
        lines += ["", f"### `{name}`", "", signature["description"], ""]
        lines += ["| | tensor | dtype | shape | what it holds |", "|---|---|---|---|---|"]
        for way in ("inputs", "outputs"):
            for tensor, form in signature[way].items():
                lines.append(
                    f"| {way[:-1]} | `{tensor}` | {form['dtype']} | {shape_text(form['shape'])} "
                    f"| {form['unit']} |"
                )
    lines += [
        "",
        "## Recordings of other rates and of any length",
        "",
        "`python -m serving.client restore` cuts recordings as `tfrestore restore` does and gives "
        "the same result. What is resampled is not the recording but the correction, restored "
        "minus input. `wav_bytes` resamples inside the graph, with the response of soxr's VHQ "
        "filter within 0.002: on music the two differ by -68 dB or less.",
    ]
    trained = list(training_sections(metadata))
    if trained:
        lines += ["", f"## The preset {metadata['preset']}", "", *trained]
    return "\n".join(lines) + "\n"


def shape_text(shape: list[int | None]) -> str:
    """`[None, 128]` as "[any, 128]"."""
    return f"[{', '.join('any' if size is None else str(size) for size in shape)}]"
