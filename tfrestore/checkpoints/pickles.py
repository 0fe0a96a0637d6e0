"""Reads and writes the pickles in PyTorch's checkpoints; runs nothing of them.

A pickle is a program for a small stack machine, two of whose instructions call what the program
names. Here `pickletools`, Python's own disassembler, takes the program apart, and the instructions
that make containers and plain values are carried out; a name is looked up in a short table of what
stands for a tensor or a plain value, and is refused, before anything else happens, if it is not in
it. No module is imported, no class made, no attribute set. The format is the one of protocol 2,
which PyTorch writes, with the equivalents of later protocols.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tfrestore.checkpoints.tensors import (
    DTYPES,
    STORAGES,
    MalformedError,
    Storage,
    StoredTensor,
    view_of_storage,
)

#: Bytes of a pickle; that of a model of 3,000 tensors has 600,000.
LARGEST_PICKLE = 2**23

# Plain values, which stand for themselves wherever they are.
_VALUES = (str, bytes, int, float, bool, type(None))


class ForeignObjectError(ValueError):
    """A pickle asks for something that is no tensor, container or plain value; `name` says what."""

    def __init__(self, name: str):
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Name:
    """A name of the table as a value: what an element type or a storage's class becomes."""

    name: str


def load_pickle(stream: io.BufferedIOBase, find_storage: Callable[[tuple], Storage]) -> object:
    """The value that the next pickle of a stream describes.

    Args:
        stream: Stands at the pickle's first byte, and afterwards behind its last one.
        find_storage: Takes a persistent id of PyTorch, `("storage", dtype, key, location,
            elements)` with the element type `None` where the id has none, and returns what it
            stands for.

    Returns:
        Dictionaries (ordered ones and counters too), lists, tuples, sets, plain values, `Name`
        where a type stands for itself, and `StoredTensor`.

    Raises:
        ForeignObjectError: if the pickle asks for anything else.
        MalformedError: if it is no pickle, or one that PyTorch does not write.
    """
    return _Machine(find_storage).run(stream)


class _Machine:
    """The stack machine."""

    def __init__(self, find_storage: Callable[[tuple], Storage]):
        self._find_storage = find_storage
        self._stack: list = []
        self._marks: list[list] = []
        self._memo: dict[int, object] = {}

    def run(self, stream) -> object:
        try:
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._carry_out(opcode.name, argument)
        except (ForeignObjectError, MalformedError):
            raise
        # What genops raises of bytes that are no pickle, and the stack of a program that is wrong.
        except (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error):
            raise MalformedError("its pickle is damaged") from None
        raise MalformedError("its pickle has no end")

    def _carry_out(self, name: str, argument) -> None:
        stack = self._stack
        if name in _PUSHING:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _TUPLES:
            self._make_tuple(_TUPLES[name])
        elif name == "GLOBAL":
            self._push_name(*argument.split(" ", 1))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            self._push_name(module, attribute)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "MARK":
            self._marks.append(stack)
            self._stack = []
        elif name == "POP":
            stack.pop()
        elif name in _ACTIONS:
            _ACTIONS[name](self)
        elif name == "INST":
            raise ForeignObjectError(argument.replace(" ", "."))
        elif name not in ("PROTO", "FRAME"):
            raise ForeignObjectError(f"the pickle instruction {name}")

    def _push_name(self, module, attribute) -> None:
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise MalformedError("a name in its pickle is no text")
        if not all(part.isidentifier() for part in f"{module}.{attribute}".split(".")):
            raise MalformedError("its pickle is damaged")
        # Protocol 2 calls this module as Python 2 did.
        module = {"__builtin__": "builtins"}.get(module, module)
        name = f"{module}.{attribute}"
        if name not in _CALLS and name not in _TYPES:
            raise ForeignObjectError(name)
        self._stack.append(Name(name))

    def _since_mark(self) -> list:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _make_tuple(self, size: int) -> None:
        items = [self._stack.pop() for _ in range(size)]
        self._stack.append(tuple(items[::-1]))

    def _list(self) -> None:
        items = self._since_mark()
        self._stack.append(items)

    def _tuple(self) -> None:
        items = self._since_mark()
        self._stack.append(tuple(items))

    def _dict(self) -> None:
        items = self._since_mark()
        self._stack.append({})
        self._put(items)

    def _frozenset(self) -> None:
        items = self._since_mark()
        self._stack.append(_as_set(items))

    def _append(self) -> None:
        item = self._stack.pop()
        self._target(list).append(item)

    def _appends(self) -> None:
        items = self._since_mark()
        self._target(list).extend(items)

    def _additems(self) -> None:
        items = self._since_mark()
        self._target(set).update(_as_set(items))

    def _setitem(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._put([key, value])

    def _setitems(self) -> None:
        items = self._since_mark()
        self._put(items)

    def _put(self, items: list) -> None:
        keys = [_as_key(key) for key in items[::2]]
        self._target(dict).update(zip(keys, items[1::2], strict=True))

    def _target(self, kind: type):
        target = self._stack[-1]
        if type(target) is not kind:
            raise MalformedError(
                f"its pickle adds to a {type(target).__name__} as to a {kind.__name__}"
            )
        return target

    def _reduce(self) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
        if not isinstance(called, Name) or called.name not in _CALLS:
            raise MalformedError("its pickle calls what cannot be called")
        if type(arguments) is not tuple:
            raise MalformedError("its pickle calls with no tuple of arguments")
        self._stack.append(_CALLS[called.name](*arguments))

    def _build(self) -> None:
        # The attributes that PyTorch puts on a state dictionary: its `_metadata`, versions only.
        self._stack.pop()
        self._target(dict)

    def _binpersid(self) -> None:
        identity = self._stack.pop()
        if (
            type(identity) is not tuple
            or len(identity) < 5
            or identity[0] not in ("storage", b"storage")
        ):
            raise MalformedError("a persistent id in its pickle is no storage")
        kind = identity[1]
        if not isinstance(kind, Name) or kind.name not in _STORAGE_TYPES:
            raise MalformedError("a storage in its pickle has no type")
        dtype = _STORAGE_TYPES[kind.name]
        self._stack.append(self._find_storage((identity[0], dtype, *identity[2:])))


_ACTIONS = {
    "LIST": _Machine._list,
    "TUPLE": _Machine._tuple,
    "DICT": _Machine._dict,
    "FROZENSET": _Machine._frozenset,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "ADDITEMS": _Machine._additems,
    "SETITEM": _Machine._setitem,
    "SETITEMS": _Machine._setitems,
    "REDUCE": _Machine._reduce,
    # `cls.__new__(cls, *arguments)`, which for the names in the table is a call.
    "NEWOBJ": _Machine._reduce,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._binpersid,
}


def _as_key(key):
    """A dictionary's key or a set's member; hashing anything deeper could be made to last."""
    if type(key) not in _VALUES:
        raise MalformedError(f"a dictionary's key or a set's member is a {type(key).__name__}")
    return key


def _as_set(items=()) -> set:
    if type(items) is not list:
        raise MalformedError("a set of its pickle is made of no list")
    return {_as_key(item) for item in items}


def _as_dict(items=()) -> dict:
    if type(items) is dict:
        return dict(items)
    if type(items) not in (list, tuple) or any(
        type(pair) not in (list, tuple) or len(pair) != 2 for pair in items
    ):
        raise MalformedError("a dictionary of its pickle is made of no pairs")
    return {_as_key(key): value for key, value in items}


def _as_tuple(items=()) -> tuple:
    if type(items) not in (list, tuple):
        raise MalformedError("a tuple of its pickle is made of no list")
    return tuple(items)


def _as_bytes(text="", encoding="latin1") -> bytes:
    if type(text) is not str or encoding != "latin1":
        raise MalformedError("bytes of its pickle are made of no text")
    return text.encode("latin1")


def _as_complex(real, imaginary) -> complex:
    if type(real) is not float or type(imaginary) is not float:
        raise MalformedError("a complex number of its pickle is made of no floats")
    return complex(real, imaginary)


def _as_text(text) -> str:
    if type(text) is not str:
        raise MalformedError("a version in its pickle is no text")
    return text


def _as_device(kind, index=None) -> str:
    if type(kind) is not str or type(index) not in (int, type(None)):
        raise MalformedError("a device in its pickle is none")
    return kind if index is None else f"{kind}:{index}"


def _as_tensor(storage, offset, shape, strides, *rest) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise MalformedError("a tensor of its pickle has no storage")
    return view_of_storage(storage, offset, shape, strides)


def _as_typed_tensor(
    storage, offset, shape, strides, gradient, hooks, dtype, *rest
) -> StoredTensor:
    if not isinstance(storage, Storage) or not isinstance(dtype, Name):
        raise MalformedError("a tensor of its pickle has no storage or no type")
    if dtype.name not in _ELEMENT_TYPES:
        raise MalformedError(f"a tensor of its pickle is of the type {dtype.name}")
    return view_of_storage(storage, offset, shape, strides, _ELEMENT_TYPES[dtype.name])


def _as_parameter(tensor, *rest) -> StoredTensor:
    if not isinstance(tensor, StoredTensor):
        raise MalformedError("a parameter in its pickle is no tensor")
    return tensor


_ELEMENT_TYPES = {f"torch.{name}": dtype for name, dtype in DTYPES.items()}
_STORAGE_TYPES = {
    **{f"torch.{name}": DTYPES[dtype] for name, dtype in STORAGES.items()},
    "torch.storage.UntypedStorage": None,
}

# Names that stand for themselves, and names that may be called: with what is carried out for it.
_TYPES = {*_ELEMENT_TYPES, *_STORAGE_TYPES}
_CALLS = {
    "collections.OrderedDict": _as_dict,
    "collections.Counter": _as_dict,
    "builtins.set": _as_set,
    "builtins.frozenset": _as_set,
    "builtins.complex": _as_complex,
    "_codecs.encode": _as_bytes,
    "builtins.bytes": _as_bytes,
    "torch.Size": _as_tuple,
    "torch.device": _as_device,
    # `torch.__version__`, a str of its own, which the authors of Apollo put into their files.
    "torch.torch_version.TorchVersion": _as_text,
    "torch._utils._rebuild_tensor": _as_tensor,
    "torch._utils._rebuild_tensor_v2": _as_tensor,
    "torch._utils._rebuild_tensor_v3": _as_typed_tensor,
    "torch._utils._rebuild_parameter": _as_parameter,
    "torch._utils._rebuild_parameter_with_state": _as_parameter,
    "torch.nn.parameter.Parameter": _as_parameter,
}

_PUSHING = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_CONSTANTS = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class PickleWriter:
    """Writes a value as a pickle that `torch.load(..., weights_only=True)` reads.

    Takes dictionaries with text as keys, lists, tuples, plain values and NumPy arrays, which become
    tensors.

    Attributes:
        arrays: The arrays that were met, each to be kept as the storage of its number in this list.
    """

    def __init__(self):
        self.arrays: list[np.ndarray] = []
        self._out = io.BytesIO()

    def dumps(self, value) -> bytes:
        """The pickle of a value.

        Raises:
            TypeError: if it holds anything else.
        """
        self._out = io.BytesIO()
        self._out.write(pickle.PROTO + b"\x02")
        self._save(value)
        self._out.write(pickle.STOP)
        return self._out.getvalue()

    def _save(self, value) -> None:
        write = self._out.write
        if isinstance(value, np.ndarray):
            self._save_tensor(value)
        elif isinstance(value, dict):
            write(pickle.EMPTY_DICT + pickle.MARK)
            for key, item in value.items():
                self._save(key)
                self._save(item)
            write(pickle.SETITEMS)
        elif isinstance(value, list):
            write(pickle.EMPTY_LIST + pickle.MARK)
            for item in value:
                self._save(item)
            write(pickle.APPENDS)
        elif isinstance(value, tuple):
            write(pickle.MARK)
            for item in value:
                self._save(item)
            write(pickle.TUPLE)
        elif type(value) in _VALUES:
            # A plain value's pickle, without the first two bytes and the last, is an instruction.
            write(_plain_pickle(value))
        else:
            raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}")

    def _save_tensor(self, array: np.ndarray) -> None:
        key = str(len(self.arrays))
        self.arrays.append(array)
        dtype = next(name for name, dtype in DTYPES.items() if dtype == array.dtype)
        storage = next(name for name, element in STORAGES.items() if element == dtype)
        strides = np.empty(array.shape, np.int8).strides
        write = self._out.write
        write(b"ctorch._utils\n_rebuild_tensor_v2\n" + pickle.MARK)
        write(pickle.MARK)
        self._save("storage")
        write(b"ctorch\n" + storage.encode() + b"\n")
        self._save(key)
        self._save("cpu")
        self._save(array.size)
        write(pickle.TUPLE + pickle.BINPERSID)
        self._save(0)
        self._save(array.shape)
        self._save(strides)
        self._save(False)
        write(b"ccollections\nOrderedDict\n" + pickle.EMPTY_TUPLE + pickle.REDUCE)
        write(pickle.TUPLE + pickle.REDUCE)


def _plain_pickle(value) -> bytes:
    """The instruction that puts a plain value on the stack, without a memo entry."""
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return pickle.BINUNICODE + struct.pack("<I", len(text)) + text
    return pickle.dumps(value, protocol=2)[2:-1]
