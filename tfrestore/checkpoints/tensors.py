"""The tensors of a checkpoint: what a file says of them, checked before a byte of them is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np

#: PyTorch's names of the element types that are read, as NumPy has them.
DTYPES = {
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "int8": np.dtype(np.int8),
    "int16": np.dtype(np.int16),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "uint8": np.dtype(np.uint8),
    "uint16": np.dtype(np.uint16),
    "uint32": np.dtype(np.uint32),
    "uint64": np.dtype(np.uint64),
    "bool": np.dtype(np.bool_),
    "complex64": np.dtype(np.complex64),
    "complex128": np.dtype(np.complex128),
}

#: PyTorch's classes of storages, by the element type they hold.
STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}

# NumPy's own limit on axes; PyTorch's is 64.
_MOST_AXES = 32

# More than any file holds, and little enough for NumPy to count bytes with.
_MOST_ELEMENTS = 2**48


class MalformedError(ValueError):
    """A checkpoint contradicts itself or its format; the message says how, without the file."""


@dataclass(frozen=True)
class Storage:
    """A stretch of numbers in a file, which tensors are views of.

    Attributes:
        dtype: The element type; `None` where the file leaves it to the tensors.
        size: Bytes.
        read: Returns the bytes, in the byte order of this machine for elements of the given type.
    """

    dtype: np.dtype | None
    size: int
    read: Callable[[np.dtype], bytes]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that lies in an open checkpoint.

    Attributes:
        shape: Its shape.
        dtype: Its NumPy element type; `ml_dtypes.bfloat16` for bfloat16.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    _read: Callable[[], np.ndarray]

    @property
    def nbytes(self) -> int:
        """Bytes that the tensor has when it is read."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> np.ndarray:
        """The numbers, a contiguous array of its own; the checkpoint has to be open still.

        Raises:
            InputError: if they are damaged.
        """
        return self._read()


def view_of_storage(
    storage: Storage, offset: int, shape: tuple, strides: tuple, dtype: np.dtype | None = None
) -> StoredTensor:
    """The tensor that a checkpoint describes as a view of a storage.

    Args:
        storage: The numbers.
        offset: The first element's place in the storage, in elements.
        shape: The tensor's shape.
        strides: Elements from one index to the next, for each axis.
        dtype: The element type where the storage has none.

    Raises:
        MalformedError: if the view is none, or reaches out of the storage.
    """
    dtype = storage.dtype or dtype
    if dtype is None:
        raise MalformedError("a tensor without an element type")
    for sizes in (shape, strides):
        if not isinstance(sizes, tuple) or any(type(size) is not int or size < 0 for size in sizes):
            raise MalformedError("a tensor whose shape or strides are no natural numbers")
    if type(offset) is not int or offset < 0 or not len(shape) == len(strides) <= _MOST_AXES:
        raise MalformedError("a tensor whose offset, shape and strides do not belong together")
    if math.prod(max(size, 1) for size in shape) > _MOST_ELEMENTS:
        raise MalformedError(f"a tensor of the shape {shape}")
    elements = storage.size // dtype.itemsize
    if 0 not in shape:
        last = offset + sum(
            (size - 1) * stride for size, stride in zip(shape, strides, strict=True)
        )
        if last >= elements:
            raise MalformedError(
                f"a tensor that reaches to element {last} of a storage of {elements}"
            )

    def read() -> np.ndarray:
        if 0 in shape:
            return np.zeros(shape, dtype)
        values = np.frombuffer(storage.read(dtype), dtype, count=elements)
        steps = [
            stride * dtype.itemsize if size > 1 else 0
            for size, stride in zip(shape, strides, strict=True)
        ]
        view = np.lib.stride_tricks.as_strided(values[offset:], shape, steps, writeable=False)
        return np.array(view, order="C")

    return StoredTensor(shape, dtype, read)


def in_native_order(data: bytes, dtype: np.dtype, byte_order: str) -> bytes:
    """The bytes of elements that were written in "little" or "big" order, as this machine's.

    The parts of a complex number are swapped one by one.
    """
    unit = dtype.itemsize // (2 if dtype.kind == "c" else 1)
    stored = np.dtype(f"u{unit}").newbyteorder("<" if byte_order == "little" else ">")
    if stored.isnative:
        return data
    whole = len(data) // unit * unit
    return np.frombuffer(data[:whole], stored).astype(stored.newbyteorder("=")).tobytes()
