"""The golden files were written by PyTorch; nothing here needs it."""

import io
import shutil
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tfrestore.checkpoints import StoredTensor, open_checkpoint, write_checkpoint
from tfrestore.checkpoints.pickles import Name
from tfrestore.checkpoints.tensors import DTYPES
from tfrestore.errors import InputError

GOLDEN = Path(__file__).parent / "golden"
NEW, LEGACY = GOLDEN / "torch_2_13.pt", GOLDEN / "torch_2_13_legacy.pt"


def read_all(value):
    """The content with every tensor read."""
    if isinstance(value, StoredTensor):
        array = value.read()
        assert array.shape == value.shape and array.dtype == value.dtype
        assert array.nbytes == value.nbytes
        return array
    if isinstance(value, dict):
        return {key: read_all(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(read_all(item) for item in value)
    return value


def read_checkpoint(path):
    with open_checkpoint(path) as content:
        return read_all(content)


@pytest.mark.parametrize("path", [NEW, LEGACY], ids=["zip", "legacy"])
def test_files_of_pytorch_are_read(path):
    content = read_checkpoint(path)
    base = np.arange(24, dtype=np.float32)
    np.testing.assert_array_equal(content["state_dict"]["weight"], base[:6].reshape(3, 2))
    np.testing.assert_array_equal(content["state_dict"]["bias"], [-1, 0, 0.5])
    views = {
        "rows": base.reshape(4, 6),
        "columns": base.reshape(4, 6).T,
        "every_third": base[1::3],
        "expanded": np.full((2, 3), 5.0),
        "scalar": np.array(7.0),
        "empty": np.zeros((0, 3)),
    }
    assert content["views"].keys() == views.keys()
    for name, view in views.items():
        np.testing.assert_array_equal(content["views"][name], view, strict=False)
        assert content["views"][name].shape == view.shape
        assert content["views"][name].dtype == np.float32
    for name, tensor in content["dtypes"].items():
        expected = np.array([0, 1, 3]).astype(DTYPES[name])
        assert tensor.dtype == expected.dtype
        np.testing.assert_array_equal(tensor, expected)
    unsigned = {"uint16", "uint32", "uint64"} if path == NEW else set()
    assert DTYPES.keys() - content["dtypes"].keys() == {"uint16", "uint32", "uint64"} - unsigned
    np.testing.assert_array_equal(content["parameter"], np.array([2.5], np.float32))
    assert content["plain"] == {
        "version": "2.13.0+cpu",
        "size": (2, 3),
        "device": "cuda:1",
        "type": Name("torch.float16"),
        "set": {1, 2},
        "bytes": b"\x00\xff",
        "tuple": (1, (2.5, None), True),
        "counter": {"a": 2, "b": 1},
        "large": 10**30,
        "negative": -7,
        "complex": 1 + 2j,
        "text": "é",
    }


def rewrite(source, target, change):
    """Copies a zip checkpoint record by record; `change` maps (name, data) to data or None."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for record in old.infolist():
            data = change(record.filename.partition("/")[2], old.read(record))
            if data is not None:
                new.writestr(record.filename, data)
    return target


def test_a_big_endian_file_has_the_same_content(tmp_path):
    expected = read_checkpoint(NEW)["dtypes"]
    with open_checkpoint(NEW) as content:
        sizes = {
            tensor.read().tobytes(): tensor.dtype.itemsize // (2 if tensor.dtype.kind == "c" else 1)
            for tensor in content["dtypes"].values()
        }

    def swap(name, data):
        if name == "byteorder":
            return b"big"
        if name.startswith("data/") and data in sizes:
            return np.frombuffer(data, f"u{sizes[data]}").byteswap().tobytes()
        return data

    content = read_checkpoint(rewrite(NEW, tmp_path / "big.pt", swap))["dtypes"]
    for name, tensor in expected.items():
        np.testing.assert_array_equal(content[name], tensor)


def test_files_from_before_the_byteorder_record_are_read(tmp_path):
    names = ("byteorder", ".format_version", ".storage_alignment", ".data/serialization_id")
    older = rewrite(NEW, tmp_path / "older.pt", lambda name, data: None if name in names else data)
    np.testing.assert_array_equal(
        read_checkpoint(older)["views"]["columns"], read_checkpoint(NEW)["views"]["columns"]
    )


plain_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
)
tensors = st.sampled_from(
    [np.float32, np.float64, np.float16, np.int64, np.uint8, np.bool_, np.complex64]
).flatmap(lambda dtype: arrays(dtype, st.lists(st.integers(0, 4), max_size=4).map(tuple)))
contents = st.dictionaries(
    st.text(),
    st.recursive(
        plain_values | tensors,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=5).map(tuple)
            | st.dictionaries(st.text(), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=5,
)


def assert_same(left, right):
    assert type(left) is type(right)
    if isinstance(left, np.ndarray):
        assert left.dtype == right.dtype and left.shape == right.shape
        assert left.tobytes() == right.tobytes()
    elif isinstance(left, dict):
        assert list(left) == list(right)
        assert_same(list(left.values()), list(right.values()))
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    else:
        assert left == right


@settings(deadline=None, max_examples=60)
@given(content=contents)
def test_what_is_written_is_read_back_bit_for_bit(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "written.pth"
    write_checkpoint(path, content)
    assert_same(content, read_checkpoint(path))


def test_numbers_in_an_archive_are_aligned_for_mapping(tmp_path):
    path = tmp_path / "aligned.bin"
    write_checkpoint(path, {"one": np.ones(3, np.float32), "other": np.ones(5, np.float16)})
    with zipfile.ZipFile(path) as archive:
        for name in ("archive/data/0", "archive/data/1"):
            record = archive.getinfo(name)
            header = path.read_bytes()[record.header_offset :][:30]
            lengths = np.frombuffer(header[26:30], "<u2")
            assert (record.header_offset + 30 + int(lengths.sum())) % 64 == 0


def test_safetensors_are_read_and_written(tmp_path):
    weights = {
        "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "half": np.arange(3, dtype=np.float16),
        "brain": np.arange(3).astype(ml_dtypes.bfloat16),
    }
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, weights)
    with safetensors.safe_open(path, framework="numpy") as file:
        assert set(file.keys()) == set(weights)
        assert file.metadata() == {"format": "pt"}
    content = read_checkpoint(path)
    for name, weight in weights.items():
        assert_same(weight, content[name])


def test_a_checkpoint_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_checkpoint(tmp_path / "taken" / "model.bin", {"a": np.zeros(2)})
    with pytest.raises(TypeError):
        write_checkpoint(tmp_path / "model.bin", {"a": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def described(**changes):
    """A zip checkpoint with one tensor of a storage of four floats, described as told."""
    import pickle

    view = {"offset": 0, "shape": (2, 2), "strides": (2, 1), "elements": 4, **changes}
    numbers = {name: pickle.dumps(value, 2)[2:-1] for name, value in view.items()}
    # The last of each is what the memo instructions leave on the stack.
    program = (
        b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n(("
        b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
        + numbers["elements"]
        + b"tQ"
        + numbers["offset"]
        + numbers["shape"]
        + numbers["strides"]
        + b"\x89}tRs."
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", program)
        archive.writestr("model/data/0", np.arange(4, dtype="<f4").tobytes())
        archive.writestr("model/version", b"3\n")
    return file.getvalue()


def test_a_tensor_may_be_described_freely_within_its_storage(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(described(offset=1, shape=(3, 1), strides=(1, 2**80)))
    np.testing.assert_array_equal(read_checkpoint(path)["a"], [[1], [2], [3]])


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": 1},
        {"offset": -1},
        {"offset": 2**70},
        {"offset": 1.5},
        {"shape": (2, 3)},
        {"shape": (4,)},
        {"shape": (-1, 2)},
        {"shape": (2**62, 2**62), "strides": (0, 0)},
        {"shape": (0, 2**62), "strides": (1, 1)},
        {"shape": (2**40,), "strides": (0,)},
        {"shape": (2**28, 2), "strides": (0, 0)},
        {"shape": [2, 2]},
        {"shape": ("2", 2)},
        {"shape": (1,) * 40, "strides": (1,) * 40},
        {"strides": (-2, 1)},
        {"strides": (3, 1)},
        {"elements": 5},
        {"elements": 3},
        {"elements": -1},
        {"elements": 2**70},
        {"elements": None},
    ],
)
def test_a_tensor_that_reaches_out_of_its_storage_is_refused(changes, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(described(**changes))
    with pytest.raises(InputError, match="no usable checkpoint"):
        read_checkpoint(path)


def test_damaged_and_foreign_files_are_named_in_a_sentence(tmp_path):
    def expect(words, data, name="model.bin"):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(InputError, match=words) as caught:
            read_checkpoint(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    whole = NEW.read_bytes()
    expect("damaged or was cut short", whole[: len(whole) // 2])
    expect("damaged or was cut short", whole.replace(b"\0\0\x80?\0\0\0@", b"\0\0\x80?\0\0\x80@"))
    expect("ends too early", LEGACY.read_bytes()[:-4])
    expect("is empty", b"")
    expect("Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    expect("neither a file of torch.save", b"<!DOCTYPE html><html></html>")
    expect("neither a file of torch.save", b"\x89HDF\r\n\x1a\n")
    expect("header is damaged", b"\x10\0\0\0\0\0\0\0{]", "model.safetensors")
    with pytest.raises(InputError, match="cannot be read"):
        read_checkpoint(tmp_path / "missing.bin")
    with pytest.raises(InputError, match="cannot be read"):
        read_checkpoint(tmp_path)


def test_a_compressed_archive_is_not_blown_up(tmp_path):
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", b"\x80\x02}." + b" " * 10**6)
    with pytest.raises(InputError, match="compressed"):
        read_checkpoint(path)


def test_records_are_found_by_their_place_only(tmp_path):
    def expect(words, change):
        with pytest.raises(InputError, match=words):
            read_checkpoint(rewrite(NEW, tmp_path / "changed.pt", change))

    expect("not one record data.pkl", lambda name, data: None if name == "data.pkl" else data)
    expect("data/3 is missing", lambda name, data: None if name == "data/3" else data)
    expect("byte order", lambda name, data: b"middle" if name == "byteorder" else data)
    expect("bytes, not", lambda name, data: data + b"more" if name == "data/3" else data)
    path = shutil.copy(NEW, tmp_path / "twice.pt")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("torch_2_13/data/0", b"")
    with pytest.raises(InputError, match="twice"):
        read_checkpoint(path)


@settings(deadline=None, max_examples=400)
@given(
    which=st.sampled_from([NEW, LEGACY]),
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 4), st.binary(max_size=4)), min_size=1, max_size=4
    ),
)
def test_a_file_that_was_changed_anywhere_is_read_or_refused(which, edits, tmp_path_factory):
    data = which.read_bytes()
    for place, deleted, inserted in edits:
        start = int(place * len(data))
        data = data[:start] + inserted + data[start + deleted :]
    path = tmp_path_factory.getbasetemp() / "changed.pt"
    path.write_bytes(data)
    try:
        read_checkpoint(path)
    except InputError as error:
        assert "\n" not in str(error)


@settings(deadline=None, max_examples=200)
@given(
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(max_size=3)), min_size=1, max_size=6
    )
)
def test_an_archive_with_a_changed_pickle_is_read_or_refused(edits, tmp_path_factory):
    def change(name, data):
        if name == "data.pkl":
            for place, deleted, inserted in edits:
                start = int(place * len(data))
                data = data[:start] + inserted + data[start + deleted :]
        return data

    path = rewrite(NEW, tmp_path_factory.getbasetemp() / "changed.pt", change)
    try:
        read_checkpoint(path)
    except InputError as error:
        assert "\n" not in str(error)


@settings(deadline=None, max_examples=200)
@given(data=st.binary(max_size=300), start=st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04"]))
def test_any_bytes_are_read_or_refused(data, start, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "bytes.pt"
    path.write_bytes(start + data)
    try:
        read_checkpoint(path)
    except InputError as error:
        assert "\n" not in str(error)
