import http.server
import json
import shutil
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.__main__ import main
from tfrestore.errors import InputError, UsageError
from tfrestore.models import hub, presets
from tfrestore.models.inpainter.network import UNet

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as fetching a public repository takes."""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.asked.append(self.path)
        folder, prefix = self.server.folder, f"/{self.server.repository}/resolve/{COMMIT}/"
        if self.path.startswith(f"/api/models/{self.server.repository}/revision/"):
            if not self.path.split("?")[0].endswith(("/main", COMMIT)):
                return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            files = [{"rfilename": path.name} for path in folder.iterdir()]
            content = {"id": self.server.repository, "sha": COMMIT, "siblings": files}
            return self.answer(200, json.dumps(content).encode())
        path = folder / self.path.removeprefix(prefix).split("?")[0]
        if self.path.startswith(prefix) and path.is_file():
            tag = f'"{presets.file_checksum(path)[:40]}"'
            return self.answer(200, path.read_bytes(), {"ETag": tag, "X-Repo-Commit": COMMIT})
        return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def served(tmp_path, monkeypatch, random_run):
    """A hub of our own that has the preset someone/restores, and an empty cache."""
    constants = pytest.importorskip("huggingface_hub.constants")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.folder = shutil.copytree(random_run, tmp_path / "repository")
    (server.folder / "huge.bin").write_bytes(b"not a part of a preset")
    server.repository, server.asked = "someone/restores", []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # As HF_ENDPOINT does it in a process in which the library has not been loaded.
    endpoint = f"http://127.0.0.1:{server.server_port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, endpoint)
    for module in ("constants", "file_download"):
        name = f"huggingface_hub.{module}.HUGGINGFACE_CO_URL_TEMPLATE"
        monkeypatch.setattr(name, template, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "huggingface_hub.file_download.HUGGINGFACE_CO_URL_HOME", None, raising=False
    )
    yield server
    server.shutdown()
    server.server_close()


def test_a_preset_of_the_hub_is_fetched_once_and_is_the_folders(served, random_run):
    loaded, expected = UNet.from_preset("hf://someone/restores"), UNet.from_preset(random_run)
    for one, other in zip(loaded.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    assert not any("huge.bin" in path for path in served.asked)
    fetched = len([path for path in served.asked if "/resolve/" in path])
    found = presets.find_preset("hf://someone/restores@main")
    assert found.name == "hf://someone/restores@main" and not found.built_in
    assert found.initial_weights == found.folder
    assert len([path for path in served.asked if "/resolve/" in path]) == fetched


def test_what_was_fetched_is_used_without_a_network(served):
    presets.find_preset("hf://someone/restores")
    served.shutdown()
    served.server_close()
    assert presets.find_preset("hf://someone/restores").family == "inpainter"


def test_weights_that_were_changed_on_the_way_are_refused(served):
    weights = served.folder / presets.WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(UsageError, match="checksum differs"):
        UNet.from_preset("hf://someone/restores")


def test_what_is_not_there_is_told_in_a_line(served, capsys, tmp_path):
    for address, said in (
        ("hf://someone/else", "has no such preset"),
        ("hf://someone/restores@v9", "no revision 'v9'"),
        ("hf://someone", "give hf://USER/NAME"),
        ("hf://", "give hf://USER/NAME"),
    ):
        (tmp_path / "a.wav").touch()
        assert main(["restore", str(tmp_path / "a.wav"), "--preset", address]) == 2
        captured = capsys.readouterr().err
        assert captured.count("\n") == 1 and said in captured and address in captured


def test_no_network_and_no_extra_are_told_in_a_line(served, monkeypatch):
    served.shutdown()
    served.server_close()
    with pytest.raises(InputError, match="not in the cache, and the hub cannot be reached") as e:
        hub.fetch("hf://someone/restores")
    assert "\n" not in str(e.value)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"pip install 'tfrestore\[hub\]'"):
        hub.fetch("hf://someone/restores")


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_address_is_parsed_or_refused_before_the_network(text):
    from unittest import mock

    library = mock.MagicMock()
    library.snapshot_download.return_value = "."
    with mock.patch.dict(sys.modules, {"huggingface_hub": library}):
        try:
            hub.fetch(f"hf://{text}")
        except UsageError:
            return
    repository = library.snapshot_download.call_args.args[0]
    assert repository.count("/") == 1 and repository.isprintable()
