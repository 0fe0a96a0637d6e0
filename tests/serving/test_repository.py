"""Versions on the disk, without TensorFlow: a model here is a text."""

import asyncio

import pytest

from serving.model_server.configuration import one_model
from serving.model_server.repository import Repository
from serving.model_server.statuses import Code, StatusError


def load(name, version, folder):
    """A version that needs both of its files."""
    (folder / "saved_model.pb").read_text()
    return (folder / "variables/data").read_text()


def write(folder, text):
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text("graph")
    (folder / "variables/data").write_text(text)
    return folder


def config_of(**folders):
    config = one_model(*next(iter((name, str(path)) for name, path in folders.items())))
    for name, path in list(folders.items())[1:]:
        config.model_config_list.config.add(name=name, base_path=str(path))
    return config


def test_a_version_that_is_copied_file_by_file_is_served_when_it_is_whole(tmp_path):
    write(tmp_path / "1", "old")
    repository = Repository(config_of(m=tmp_path), load)

    async def copy():
        await repository.update()
        (tmp_path / "2").mkdir()
        (tmp_path / "2/saved_model.pb").write_text("graph")
        await repository.update()
        assert repository.find("m") == "old"
        assert repository.models["m"].versions[2].error
        (tmp_path / "2/variables").mkdir()
        (tmp_path / "2/variables/data").write_text("new")
        await repository.update()

    asyncio.run(copy())
    assert repository.find("m") == "new" and repository.models["m"].available() == [2]


def test_a_version_that_failed_is_not_loaded_again_while_it_stays_as_it_is(tmp_path):
    tried = []
    (tmp_path / "1").mkdir()

    def fail(name, version, folder):
        tried.append(folder)
        raise ValueError("no model")

    repository = Repository(config_of(m=tmp_path), fail)

    async def look():
        for _ in range(3):
            await repository.update()

    asyncio.run(look())
    assert tried == [tmp_path / "1"]


def test_while_another_configuration_is_tried_and_when_it_fails_the_one_before_is_served(tmp_path):
    write(tmp_path / "a/1", "a")
    write(tmp_path / "b/1", "b")
    seen = []

    def watched(name, version, folder):
        if name != "a":
            # In the midst of it.
            seen.append(repository.find("a"))
        return load(name, version, folder)

    repository = Repository(config_of(a=tmp_path / "a"), watched)

    async def reload():
        await repository.update()
        with pytest.raises(StatusError) as error:
            await repository.reload(config_of(b=tmp_path / "b", c=tmp_path / "none"))
        assert error.value.code == Code.UNKNOWN and "{name: c}" in error.value.message
        assert repository.find("a") == "a" and list(repository.models) == ["a"]
        await repository.reload(config_of(b=tmp_path / "b"))

    asyncio.run(reload())
    assert seen == ["a", "a"]
    assert repository.find("b") == "b" and list(repository.models) == ["b"]


def test_of_two_folders_with_one_number_one_is_served(tmp_path):
    for name in ("3", "03", "0x4", "-5"):
        write(tmp_path / name, name)
    repository = Repository(config_of(m=tmp_path), load)
    asyncio.run(repository.update())
    assert repository.models["m"].available() == [3] and repository.find("m") in ("3", "03")
