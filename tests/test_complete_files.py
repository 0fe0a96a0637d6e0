import os

import pytest

from tfrestore import complete_files
from tfrestore.complete_files import file_beside, folder_beside, remove_unfinished, write_text


def tree(folder):
    """Every file and folder below one, hidden ones too, with what the files hold."""
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in folder.rglob("*")
    }


class Killed(BaseException):
    """Stands for the end of a process."""


@pytest.fixture
def fail_at(monkeypatch):
    """Lets the renames from one on fail, counted from 0."""

    def fail(first, error, times=1):
        replace, renames = os.replace, []

        def failing(source, target):
            renames.append(target)
            if first <= len(renames) - 1 < first + times:
                raise error
            replace(source, target)

        monkeypatch.setattr(complete_files.os, "replace", failing)

    return fail


def write_file(path, replace=False):
    with file_beside(path) as beside:
        assert beside.name == path.name and beside.parent != path.parent
        beside.write_text("new")


def write_folder(path, replace=False):
    with folder_beside(path, replace) as beside:
        (beside / "a").write_text("new")


WAYS = pytest.mark.parametrize("write", [write_file, write_folder])


def test_a_file_replaces_what_was_there_and_nothing_else_is_left(tmp_path):
    write_file(tmp_path / "a.txt")
    assert tree(tmp_path) == {"a.txt": "new"}
    (tmp_path / "a.txt").write_text("old")
    write_file(tmp_path / "a.txt")
    assert tree(tmp_path) == {"a.txt": "new"}


def test_a_folder_takes_a_free_or_empty_place_and_another_only_to_replace_it(tmp_path):
    write_folder(tmp_path / "free")
    (tmp_path / "empty").mkdir()
    write_folder(tmp_path / "empty")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "b").write_text("old")
    before = tree(tmp_path)
    assert before == {"empty": None, "empty/a": "new", "free": None, "free/a": "new"} | {
        "full": None,
        "full/b": "old",
    }
    with pytest.raises(OSError):
        write_folder(tmp_path / "full")
    assert tree(tmp_path) == before
    write_folder(tmp_path / "full", replace=True)
    write_folder(tmp_path / "other", replace=True)
    assert tree(tmp_path / "full") == tree(tmp_path / "other") == {"a": "new"}
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failure_while_writing_leaves_nothing_and_keeps_the_old(tmp_path, error):
    (tmp_path / "file").write_text("old")
    write_folder(tmp_path / "folder")
    before = tree(tmp_path)
    for path in (tmp_path / "file", tmp_path / "new"):
        with pytest.raises(error), file_beside(path) as beside:
            beside.write_text("half")
            raise error
    for path in (tmp_path / "folder", tmp_path / "new"):
        with pytest.raises(error), folder_beside(path, replace=True) as beside:
            (beside / "a").write_text("half")
            raise error
    assert tree(tmp_path) == before


@WAYS
def test_a_rename_that_fails_leaves_nothing(tmp_path, fail_at, write):
    fail_at(0, OSError("no"))
    with pytest.raises(OSError, match="no"):
        write(tmp_path / "a")
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("rename", [0, 1])
def test_a_folder_that_cannot_be_replaced_is_as_it_was(tmp_path, fail_at, rename):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "b").write_text("old")
    fail_at(rename, OSError("no"))
    with pytest.raises(OSError, match="no"):
        write_folder(tmp_path / "page", replace=True)
    assert tree(tmp_path) == {"page": None, "page/b": "old"}


def test_a_process_killed_between_the_renames_loses_no_folder(tmp_path, fail_at):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "b").write_text("old")
    # Nor is the old one brought back any more.
    fail_at(1, Killed(), times=2)
    with pytest.raises(Killed):
        write_folder(tmp_path / "page", replace=True)
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith(".page.") and kept.name.endswith(".old")
    assert tree(kept) == {"b": "old"}


@WAYS
def test_what_is_written_has_the_permissions_of_any_file_and_folder(tmp_path, write):
    write(tmp_path / "new")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    like = tmp_path / ("file" if write is write_file else "folder")
    assert (tmp_path / "new").stat().st_mode == like.stat().st_mode


@WAYS
def test_a_place_in_no_folder_is_an_operating_systems_error(tmp_path, write):
    (tmp_path / "file").write_text("")
    for parent in ("missing", "file"):
        with pytest.raises(OSError):
            write(tmp_path / parent / "a")


def test_text_keeps_its_line_ends_and_the_bytes_of_file_names(tmp_path):
    write_text(tmp_path / "a.csv", "größe\r\n\udcff\n")
    assert (tmp_path / "a.csv").read_bytes() == "größe\r\n".encode() + b"\xff\n"


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    for name in (".hidden", "a"):
        (tmp_path / name).write_text("")
    before = tree(tmp_path)
    writing = file_beside(tmp_path / "a")
    writing.__enter__().write_text("half")
    assert tree(tmp_path) != before
    remove_unfinished(tmp_path)
    assert tree(tmp_path) == before


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/old").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with folder_beside(tmp_path / "link", replace=True) as beside:
        (beside / "new").write_text("new")
    write_text(tmp_path / "there.txt", "old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "there.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "link.txt").is_symlink()
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["new"]
    assert (tmp_path / "there.txt").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 4
