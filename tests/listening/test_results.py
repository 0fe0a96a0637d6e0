import base64
import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listening.answers import make_key, make_record

from tfrestore.errors import InputError, UsageError
from tfrestore.listening.key import Key, pack_key, unpack_key
from tfrestore.listening.results import collect_results, find_results, read_results


def put(path, record):
    path.write_text(json.dumps(record))
    return path


def test_a_key_comes_out_as_it_went_in():
    for key in (make_key(), make_key(mode="mushra")):
        word = pack_key(key)
        assert unpack_key(word) == key and word.isascii() and "song" not in word


def test_a_file_is_read_as_it_was_written(tmp_path):
    key = make_key()
    ratings = dict(zip(key.items, (1, 5, 2, 4), strict=True))
    results = read_results(put(tmp_path / "r.json", make_record(key, ratings)))
    assert results.key == key and results.ratings == ratings
    assert (results.session, results.label) == ("s1", "Ann")


def test_a_listener_without_a_name_is_called_by_the_file(tmp_path):
    path = put(tmp_path / "r.json", make_record(make_key(), listener="  "))
    assert read_results(path).label == "r.json"


def broken_key(**changes):
    record = json.loads(zlib.decompress(base64.b64decode(pack_key(make_key()))))
    text = json.dumps(record | changes).encode()
    return base64.b64encode(zlib.compress(text)).decode()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "other"}, "no results file"),
        ({"version": 2}, "of another version"),
        ({"session": ""}, "does not name its session"),
        ({"listener": 7}, "listener is not text"),
        ({"key": None}, "key is missing"),
        ({"key": "?"}, "key is damaged"),
        ({"key": base64.b64encode(b"nothing").decode()}, "key is damaged"),
        ({"key": broken_key(version=9)}, "key is of another version"),
        ({"key": broken_key(mode="other")}, "key is damaged"),
        ({"key": broken_key(items={"x": [0, 2]})}, "key is damaged"),
        ({"key": broken_key(items={"x": [-1, 0]})}, "key is damaged"),
        ({"key": broken_key(items={"x": [0, 0], "y": [0, 0]})}, "key is damaged"),
        ({"key": broken_key(systems=["a", "a"])}, "key is damaged"),
        ({"key": broken_key(excerpts=[["song", float("nan")]])}, "key is damaged"),
        ({"key": broken_key(title="\ud800")}, "key is damaged"),
        ({"key": broken_key(reference=1)}, "key is damaged"),
        ({"page": "p2"}, "key belongs to another page"),
        ({"mode": "mushra"}, "key belongs to another page"),
        ({"ratings": []}, "holds no ratings"),
        ({"ratings": {"p1-0-0": 3}}, "holds no ratings"),
        ({"ratings": [3]}, "something that its page does not have"),
        ({"ratings": [{"item": ["p1-0-0"], "rating": 3}]}, "that its page does not have"),
        ({"ratings": [{"item": "p1-9-9", "rating": 3}]}, "that its page does not have"),
        ({"ratings": [{"item": "p1-0-0", "rating": 6}]}, "not a number from 1 to 5"),
        ({"ratings": [{"item": "p1-0-0", "rating": True}]}, "not a number from 1 to 5"),
        ({"ratings": [{"item": "p1-0-0", "rating": "3"}]}, "not a number from 1 to 5"),
        ({"ratings": [{"item": "p1-0-0", "rating": float("nan")}]}, "not a number from 1 to 5"),
        ({"ratings": [{"item": "p1-0-0", "rating": 2.5}]}, "not one of the five levels"),
        ({"ratings": [{"item": "p1-0-0", "rating": 2}] * 2}, "rates something twice"),
    ],
)
def test_a_file_in_which_something_is_wrong_is_refused_in_one_line(tmp_path, changes, said):
    path = put(tmp_path / "r.json", make_record(make_key(), **changes))
    with pytest.raises(InputError, match=said) as refused:
        read_results(path)
    assert str(refused.value).startswith(f"{path}: ") and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100000, "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b"null", "no results file"),
    ],
)
def test_a_file_that_is_something_else_is_refused(tmp_path, data, said):
    path = tmp_path / "r.json"
    path.write_bytes(data)
    with pytest.raises(InputError, match=said):
        read_results(path)


def test_a_key_that_unpacks_to_gigabytes_is_refused(tmp_path):
    word = base64.b64encode(zlib.compress(b" " * (1 << 26), 9)).decode()
    path = put(tmp_path / "r.json", make_record(make_key(), key=word))
    with pytest.raises(InputError, match="key is damaged"):
        read_results(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
FIELDS = st.sampled_from(sorted(make_record(make_key())))


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_an_input_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "garbage.json"
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_results(path)


@settings(deadline=None, max_examples=150)
@given(FIELDS, JSON)
def test_any_value_in_any_field_is_read_or_an_input_error(tmp_path_factory, field, value):
    path = tmp_path_factory.getbasetemp() / "changed.json"
    put(path, make_record(make_key()) | {field: value})
    try:
        results = read_results(path)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert set(results.ratings) <= set(results.key.items)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(Key.__dataclass_fields__)), JSON)
def test_any_value_in_a_key_is_read_or_an_input_error(tmp_path_factory, field, value):
    path = tmp_path_factory.getbasetemp() / "changed_key.json"
    put(path, make_record(make_key(), key=broken_key(**{field: value})))
    try:
        results = read_results(path)
    except InputError:
        return
    assert results.key.mode == "mos"


def test_of_one_session_the_latest_file_counts_wherever_it_stands(tmp_path, caplog):
    key = make_key()
    old = put(tmp_path / "old.json", make_record(key, finished="2030-01-01T10:00:00Z"))
    new = put(
        tmp_path / "new.json",
        make_record(key, {n: 5 for n in key.items}, finished="2030-01-01T11:00:00+00:00"),
    )
    unfinished = put(tmp_path / "unfinished.json", make_record(key, finished=None))
    for order in ([old, new, unfinished], [new, unfinished, old]):
        caplog.clear()
        (results,), broken = collect_results(order)
        assert results.path == new and not broken and len(caplog.records) == 2


def test_files_of_other_pages_are_left_out_and_named(tmp_path, caplog):
    paths = [
        put(tmp_path / f"{n}.json", make_record(make_key(page), session=str(n)))
        for n, page in enumerate(["p1", "p2", "p2"])
    ]
    results, broken = collect_results(paths)
    assert [each.path for each in results] == paths[1:] and not broken
    (line,) = [record.getMessage() for record in caplog.records]
    assert "0.json belongs to another page" in line


def test_a_key_that_was_tampered_with_does_not_count(tmp_path, caplog):
    honest, swapped = make_key(), make_key(systems=("b", "a"))
    paths = [
        put(tmp_path / f"{n}.json", make_record(key, session=str(n)))
        for n, key in enumerate([honest, honest, swapped])
    ]
    results, _ = collect_results(paths)
    assert len(results) == 2 and "2.json has another key" in caplog.text


def test_broken_files_are_named_and_the_others_count(tmp_path, caplog):
    good = put(tmp_path / "good.json", make_record(make_key()))
    bad = put(tmp_path / "bad.json", {})
    results, broken = collect_results([bad, good])
    assert [each.path for each in results] == [good] and broken == [bad]
    assert "left out: " in caplog.text and "bad.json" in caplog.text
    with pytest.raises(InputError, match="none of the 1 files"):
        collect_results([bad])


def test_files_and_folders_are_found_once_each(tmp_path):
    one, two = (put(tmp_path / f"{n}.json", {}) for n in (1, 2))
    (tmp_path / "notes.txt").write_text("")
    assert find_results([str(two), str(tmp_path)]) == [two, one]
    with pytest.raises(UsageError, match="nowhere.json does not exist"):
        find_results(["nowhere.json"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no .json files"):
        find_results([str(tmp_path / "empty")])
