"""Runs an exported model through TensorFlow's C library: no TensorFlow in Python, no Keras.

Arguments: the model's folder, a folder with `waveform.npy` and `in.wav`, and the names of the
graph's tensors that take and give the waveform and the WAV. Writes `restored.npy` and `out.wav`.
"""

import ctypes
import importlib.util
import sys
from ctypes import Structure, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path

import numpy as np

FLOAT, STRING, STRING_BYTES = 1, 7, 24


class Output(Structure):
    """TF_Output: one output of an operation."""

    _fields_ = [("operation", c_void_p), ("index", c_int)]


def load_library():
    """The library in TensorFlow's wheel, found without importing TensorFlow."""
    folder = Path(importlib.util.find_spec("tensorflow").origin).parent
    library = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"), mode=ctypes.RTLD_GLOBAL)
    pointers = "NewStatus NewGraph NewSessionOptions LoadSessionFromSavedModel AllocateTensor"
    for name in f"{pointers} TensorData GraphOperationByName StringGetDataPointer".split():
        getattr(library, f"TF_{name}").restype = c_void_p
    for name in ("TensorByteSize", "StringGetSize"):
        getattr(library, f"TF_{name}").restype = c_size_t
    library.TF_Message.restype = c_char_p
    library.TF_Dim.restype = c_int64
    return library


library = load_library()
status = c_void_p(library.TF_NewStatus())


def check():
    if library.TF_GetCode(status):
        sys.exit(library.TF_Message(status).decode())


def allocate(dtype, shape, size):
    return c_void_p(
        library.TF_AllocateTensor(dtype, (c_int64 * len(shape))(*shape), len(shape), c_size_t(size))
    )


def data(tensor):
    return c_void_p(library.TF_TensorData(tensor))


def run(session, graph, names, value):
    """Runs the graph from one tensor to another."""
    ends = []
    for name in names:
        operation, index = name.split(":")
        found = library.TF_GraphOperationByName(graph, operation.encode())
        ends.append((Output * 1)(Output(found, int(index))))
    result = (c_void_p * 1)()
    library.TF_SessionRun(
        session, None, ends[0], (c_void_p * 1)(value), 1, ends[1], result, 1, None, 0, None, status
    )
    check()
    return c_void_p(result[0])


def main(model, folder, *names):
    folder = Path(folder)
    graph = c_void_p(library.TF_NewGraph())
    options = c_void_p(library.TF_NewSessionOptions())
    session = c_void_p(
        library.TF_LoadSessionFromSavedModel(
            options, None, model.encode(), (c_char_p * 1)(b"serve"), 1, graph, None, status
        )
    )
    check()

    waveform = np.load(folder / "waveform.npy")
    tensor = allocate(FLOAT, waveform.shape, waveform.nbytes)
    ctypes.memmove(data(tensor), waveform.ctypes.data, waveform.nbytes)
    restored = run(session, graph, names[:2], tensor)
    shape = [library.TF_Dim(restored, axis) for axis in range(library.TF_NumDims(restored))]
    content = ctypes.string_at(data(restored), library.TF_TensorByteSize(restored))
    np.save(folder / "restored.npy", np.frombuffer(content, np.float32).reshape(shape))

    wav = (folder / "in.wav").read_bytes()
    tensor = allocate(STRING, (1,), STRING_BYTES)
    library.TF_StringInit(data(tensor))
    library.TF_StringCopy(data(tensor), c_char_p(wav), c_size_t(len(wav)))
    restored = data(run(session, graph, names[2:], tensor))
    content = c_void_p(library.TF_StringGetDataPointer(restored))
    (folder / "out.wav").write_bytes(ctypes.string_at(content, library.TF_StringGetSize(restored)))
    assert not {"tensorflow", "keras", "tfrestore"} & set(sys.modules)


main(*sys.argv[1:])
