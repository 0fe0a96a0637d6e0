"""The files that `torch.save` writes: a zip archive (since PyTorch 1.6), or pickles one by one.

A zip archive `NAME.pt` holds, uncompressed and each under one folder, `data.pkl` (the pickle),
`data/0`, `data/1`, ... (the numbers, "storages"), `byteorder` ("little" or "big", since 2.1) and
`version`. The older format is five pickles (a magic number, a version, the machine's type sizes,
the content, the keys of the storages), and then for each storage its number of elements, 8 bytes,
and the elements.
"""

from __future__ import annotations

import functools
import io
import os
import struct
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np

from tfrestore.checkpoints.pickles import LARGEST_PICKLE, PickleWriter, load_pickle
from tfrestore.checkpoints.tensors import MalformedError, Storage, in_native_order

#: The first pickle of the older format.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

# Bytes to which PyTorch aligns the numbers in an archive, for files that are mapped into memory.
_ALIGNMENT = 64

_LOCAL_HEADER = 30

Reading = Callable[[], AbstractContextManager]


def read_archive(archive: zipfile.ZipFile, reading: Reading) -> object:
    """The content of a zip checkpoint; its tensors are read from the archive when asked for.

    Args:
        archive: The archive, which has to stay open for that.
        reading: Makes a context in which the numbers of a tensor are read.

    Raises:
        ForeignObjectError: if it asks for more than tensors, containers and plain values.
        MalformedError: if records are missing, compressed, or do not fit what is said of them.
    """
    records = {}
    for record in archive.infolist():
        if record.compress_type != zipfile.ZIP_STORED or record.compress_size != record.file_size:
            raise MalformedError(f"its record {record.filename!r} is compressed")
        if record.flag_bits & 1:
            raise MalformedError(f"its record {record.filename!r} is encrypted")
        if records.setdefault(record.filename, record) is not record:
            raise MalformedError(f"it has the record {record.filename!r} twice")
    folders = [name.removesuffix("data.pkl") for name in records if name.endswith("/data.pkl")]
    if len(folders) != 1:
        raise MalformedError("it has not one record data.pkl")
    folder = folders[0]
    order = "little"
    if f"{folder}byteorder" in records:
        order = _read(archive, records[f"{folder}byteorder"], 8).decode("ascii", "replace")
    if order not in ("little", "big"):
        raise MalformedError(f"its byte order is {order!r}")
    read_latest = functools.lru_cache(maxsize=1)(archive.read)

    def find_storage(identity: tuple) -> Storage:
        _, dtype, key, _, elements = identity[:5]
        record = records.get(f"{folder}data/{key}")
        if record is None:
            raise MalformedError(f"its record data/{key} is missing")
        if type(elements) is not int or elements < 0:
            raise MalformedError(f"its record data/{key} has no number of elements")
        size = elements * (1 if dtype is None else dtype.itemsize)
        if size != record.file_size:
            raise MalformedError(f"its record data/{key} has {record.file_size} bytes, not {size}")

        def read(element_type: np.dtype) -> bytes:
            with reading():
                return in_native_order(read_latest(record), element_type, order)

        return Storage(dtype, size, read)

    pickle = _read(archive, records[f"{folder}data.pkl"], LARGEST_PICKLE)
    return load_pickle(io.BytesIO(pickle), find_storage)


def _read(archive: zipfile.ZipFile, record: zipfile.ZipInfo, limit: int) -> bytes:
    if record.file_size > limit:
        raise MalformedError(f"its record {record.filename!r} has {record.file_size} bytes")
    return archive.read(record)


def write_archive(path: str | os.PathLike, content) -> None:
    """Writes a zip checkpoint, as `PickleWriter` takes it, that PyTorch 1.6 and later read."""
    writer = PickleWriter()
    pickle = writer.dumps(content)
    records = [("data.pkl", pickle), ("byteorder", b"little")]
    records += [(f"data/{key}", _little(array)) for key, array in enumerate(writer.arrays)]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in [*records, ("version", b"3\n")]:
            record = zipfile.ZipInfo(f"archive/{name}")
            start = archive.fp.tell() + _LOCAL_HEADER + len(record.filename)
            # An extra field is two bytes of type, two of length, and what it holds.
            padding = -(start + 4) % _ALIGNMENT
            record.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
            archive.writestr(record, data)


def _little(array: np.ndarray) -> bytes:
    return in_native_order(np.ascontiguousarray(array).tobytes(), array.dtype, "little")


def is_legacy(beginning: bytes) -> bool:
    """Whether a file that begins so is of the older format.

    Raises:
        ForeignObjectError: if it is a pickle that asks for something right at its beginning.
    """
    try:
        return load_pickle(io.BytesIO(beginning), _no_storage) == LEGACY_MAGIC
    except MalformedError:
        return False


def read_legacy(stream: io.BufferedIOBase, size: int, reading: Reading) -> object:
    """The content of a checkpoint of the older format.

    Args:
        stream: The file, which has to stay open for the tensors' numbers.
        size: Its bytes.
        reading: Makes a context in which the numbers of a tensor are read.

    Raises:
        ForeignObjectError: if it asks for more than tensors, containers and plain values.
        MalformedError: if it contradicts itself or ends too early.
    """
    pickles = io.BytesIO(stream.read(LARGEST_PICKLE))
    load = functools.partial(load_pickle, pickles)
    load(_no_storage), load(_no_storage)
    machine = load(_no_storage)
    if not isinstance(machine, dict):
        raise MalformedError("it does not say which machine wrote it")
    order = "little" if machine.get("little_endian", True) else "big"
    places: dict[str, int] = {}
    sizes: dict[str, tuple] = {}

    def find_storage(identity: tuple) -> Storage:
        _, dtype, key, _, elements = identity[:5]
        if dtype is None or not isinstance(key, str) or type(elements) is not int or elements < 0:
            raise MalformedError("a storage in its pickle is none")
        if identity[5:] not in ((), (None,)):
            raise MalformedError("a storage in its pickle is a view of another")
        if sizes.setdefault(key, (dtype, elements)) != (dtype, elements):
            raise MalformedError(f"its storage {key} has two sizes")

        def read(element_type: np.dtype) -> bytes:
            with reading():
                stream.seek(places[key])
                data = stream.read(elements * dtype.itemsize)
                return in_native_order(data, element_type, order)

        return Storage(dtype, elements * dtype.itemsize, read)

    content = load(find_storage)
    keys = load(_no_storage)
    if not isinstance(keys, list) or {key for key in keys if isinstance(key, str)} != set(sizes):
        raise MalformedError("its storages are not those that its tensors lie in")
    place = pickles.tell()
    for key in keys:
        dtype, elements = sizes[key]
        stream.seek(place)
        if stream.read(8) != struct.pack("<q" if order == "little" else ">q", elements):
            raise MalformedError(f"its storage {key} is damaged")
        places[key] = place + 8
        place += 8 + elements * dtype.itemsize
    if place > size:
        raise MalformedError("it ends too early")
    return content


def _no_storage(identity: tuple) -> Storage:
    raise MalformedError("a tensor where there is none")
