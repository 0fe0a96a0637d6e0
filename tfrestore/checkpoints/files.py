"""Opens a checkpoint of whichever format and writes one; says of a file that it cannot use why."""

from __future__ import annotations

import functools
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import safetensors
import safetensors.numpy

from tfrestore.checkpoints import torch_files
from tfrestore.checkpoints.pickles import ForeignObjectError
from tfrestore.checkpoints.tensors import DTYPES, MalformedError, StoredTensor
from tfrestore.complete_files import file_beside
from tfrestore.errors import InputError

_SAFETENSORS_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}

# A model's tensors may share numbers, but what they come to is not many times the file.
_MOST_BYTES_PER_BYTE = 8
_SMALL = 2**26


@contextmanager
def open_checkpoint(path: str | os.PathLike) -> Iterator[object]:
    """The content of a checkpoint: nested dictionaries and lists with `StoredTensor`s in them.

    Nothing that the file asks for is run, and a tensor's numbers are read when it is. The format is
    found by what the file holds, not by its name.

    Args:
        path: A file of `torch.save` (a zip archive, or the format before PyTorch 1.6) or of
            safetensors.

    Raises:
        InputError: if the file cannot be read, is no checkpoint, is damaged, or asks for anything
            but tensors, containers and plain values; then by name.
    """
    with ExitStack() as stack:
        with _saying(path):
            content = _open(Path(path), stack)
            described = sum(tensor.nbytes for tensor in _tensors(content))
            if described > _SMALL + _MOST_BYTES_PER_BYTE * os.path.getsize(path):
                raise MalformedError(
                    f"its tensors come to {described} bytes, more than it can hold"
                )
        yield content


def write_checkpoint(path: str | os.PathLike, content: dict) -> None:
    """Writes a checkpoint, complete or not at all.

    Args:
        path: Where to. A name that ends in `.safetensors` gets that format, any other PyTorch's.
        content: Dictionaries with text as keys, lists, plain values and NumPy arrays; for
            safetensors one dictionary of arrays.

    Raises:
        InputError: if the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_beside(path) as beside:
            if path.suffix == ".safetensors":
                beside.write_bytes(safetensors.numpy.save(content, metadata={"format": "pt"}))
            else:
                torch_files.write_archive(beside, content)
    except (OSError, safetensors.SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: cannot be written ({reason}); free space, or choose another --out."
        ) from None


@contextmanager
def _saying(path) -> Iterator[None]:
    """Turns what is wrong with a file into a sentence."""
    try:
        yield
    except InputError:
        raise
    except ForeignObjectError as error:
        raise InputError(
            f"{path}: asks for {_printable(error.name)}, which is no tensor and no plain "
            "container; nothing of it was run. If you trust who made it, open it with PyTorch and "
            "save its state_dict alone."
        ) from None
    except MalformedError as error:
        raise InputError(
            f"{path}: no usable checkpoint: {_printable(str(error))}; download or save it again."
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from None
    # What zipfile raises of archives that are damaged in one place or another.
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError):
        raise InputError(
            f"{path}: the file is damaged or was cut short; download or save it again."
        ) from None


def _printable(text: str) -> str:
    """A text of a stranger's, as something that a terminal can be sent."""
    text = text if len(text) < 200 else f"{text[:200]}..."
    return text if text.isprintable() else ascii(text)


def _open(path: Path, stack: ExitStack) -> object:
    size = os.path.getsize(path)
    reading = functools.partial(_saying, path)
    stream = stack.enter_context(open(path, "rb"))
    beginning = stream.read(2**12)
    stream.seek(0)
    if beginning.startswith(b"PK\x03\x04"):
        archive = stack.enter_context(zipfile.ZipFile(stream))
        return torch_files.read_archive(archive, reading)
    if torch_files.is_legacy(beginning):
        return torch_files.read_legacy(stream, size, reading)
    # A length of 8 bytes, and then a JSON object.
    if beginning[8:9] == b"{":
        return _open_safetensors(path, stack)
    if beginning.startswith(b"version https://git-lfs"):
        raise InputError(
            f"{path}: a pointer of Git LFS and not the file itself; fetch it with git lfs pull."
        )
    if not beginning:
        raise InputError(f"{path}: the file is empty; download or save it again.")
    raise InputError(
        f"{path}: neither a file of torch.save nor one of safetensors; give a .bin, .ckpt, .pth or "
        ".safetensors file."
    )


def _open_safetensors(path: Path, stack: ExitStack) -> dict[str, StoredTensor]:
    try:
        file = stack.enter_context(safetensors.safe_open(path, framework="numpy"))
        content = {}
        for name in file.keys():
            part = file.get_slice(name)
            kind = part.get_dtype()
            if kind not in _SAFETENSORS_TYPES:
                raise MalformedError(f"its tensor {name} is of the type {kind}")
            dtype = DTYPES[_SAFETENSORS_TYPES[kind]]
            content[name] = StoredTensor(
                tuple(part.get_shape()), dtype, lambda name=name: file.get_tensor(name)
            )
        return content
    except safetensors.SafetensorError as error:
        raise MalformedError(f"its header is damaged ({error})") from None


def _tensors(content) -> Iterator[StoredTensor]:
    """Every tensor, those that have two places once; no recursion, however deep they lie."""
    seen, waiting = set(), [content]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, StoredTensor):
            yield value
        elif isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
