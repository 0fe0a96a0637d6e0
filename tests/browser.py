"""Fixtures for pages: a web server and a real headless Chromium. conftest.py files import them."""

import functools
import http.server
import json
import shutil
import threading
from types import SimpleNamespace

import pytest

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and takes what is posted."""

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.headers["Content-Type"], json.loads(body)))
        self.send_response(self.server.answer)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def serve():
    """Serves a folder on this machine: `serve(folder)` has `url`, `posted` and `answer`."""
    servers = []

    def start(folder):
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, directory=folder)
        )
        server.posted, server.answer = [], 200
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium of the system's."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if path is None:
        pytest.skip(f"no Chromium: none of {', '.join(CHROMIUM_NAMES)} is on the PATH")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Opens a page in a window of its own and holds it to what every page has to keep to.

    `open_page(url, **window)` gives the tab; at the end nothing may have been written to the
    console, have failed, or have been asked of another host. What a test provokes on purpose it
    takes out of `tab.complaints`.
    """
    contexts, tabs = [], []

    def open_tab(url, **window):
        window = {"viewport": {"width": 1000, "height": 800}} | window
        context = chromium.new_context(**window)
        tab = context.new_page()
        tab.set_default_timeout(15000)
        tab.complaints, tab.hosts = [], set()
        host = url.split("/")[2]
        tab.on("console", lambda message: tab.complaints.append(message.text))
        tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.on("request", lambda request: tab.hosts.add(request.url))
        tab.goto(url)
        contexts.append(context)
        tabs.append(SimpleNamespace(tab=tab, host=host))
        return tab

    yield open_tab
    complaints = [each.tab.complaints for each in tabs]
    foreign = [
        url
        for each in tabs
        for url in each.tab.hosts
        if url.split(":")[0] in ("http", "https") and url.split("/")[2] != each.host
    ]
    for context in contexts:
        context.close()
    assert not any(complaints), complaints
    assert not foreign, foreign
