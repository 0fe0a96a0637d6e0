"""The page as a listener meets it, in a real headless Chromium."""

import json
import math
import re
import socket

import pytest

from tfrestore.listening_test import main

#: What every listener of these tests thinks, by the system and the track measured.
MOS = {("low", 0): 1, ("high", 0): 5, ("low", 1): 2, ("high", 1): 4}
MUSHRA = {
    ("low", 0): 35,
    ("reference", 0): 100,
    ("anchor", 0): 0,
    ("low", 1): 62,
    ("reference", 1): 97,
    ("anchor", 1): 12,
}

PLAYING = "() => [...document.querySelectorAll('audio')].find((each) => !each.paused && each.src)"
CURRENT_TIME = f"() => (({PLAYING})() || {{}}).currentTime || 0"


@pytest.fixture(scope="session")
def mos_page(tmp_path_factory, write_systems):
    folder = tmp_path_factory.mktemp("mos")
    systems = [f"{name}={folder / name}" for name in ("low", "high")]
    write_systems(folder, ("low", "high"))
    assert main(["make", "--systems", *systems, "--seconds", "1", "--out", f"{folder}/page"]) == 0
    return folder / "page"


@pytest.fixture(scope="session")
def mushra_page(tmp_path_factory, write_systems):
    folder = tmp_path_factory.mktemp("mushra")
    write_systems(folder, ("low", "reference"))
    arguments = ["--mushra", "--reference", f"{folder}/reference", "--systems", f"low={folder}/low"]
    assert main(["make", *arguments, "--seconds", "1.2", "--out", f"{folder}/page"]) == 0
    return folder / "page"


@pytest.fixture
def tiny_page(tmp_path, write_systems):
    """`tiny_page(*options)`: a MOS page with one thing to rate."""

    def make(*options):
        write_systems(tmp_path / "in", ("low",), tracks=1)
        arguments = ["--systems", f"low={tmp_path}/in/low", "--seconds", "1", *options]
        assert main(["make", *arguments, "--out", f"{tmp_path}/page"]) == 0
        return tmp_path / "page"

    return make


def playing_file(tab, folder):
    """The file that is being heard, whose time does advance."""
    tab.wait_for_function(f"({CURRENT_TIME})() > 0.05")
    before = tab.evaluate(CURRENT_TIME)
    tab.wait_for_function(f"(before) => ({CURRENT_TIME})() > before", arg=before)
    source = tab.evaluate(f"({PLAYING})().src")
    return folder / "audio" / source.rpartition("/")[2]


def begin(tab, press=None):
    """From the first screen through the volume check to the first piece."""
    press = press or (lambda selector: tab.click(selector))
    press("#listener-form button")
    press("#volume-play")
    tab.wait_for_function(f"({CURRENT_TIME})() > 0.05")
    press("#volume-next")


def answerable(tab):
    tab.wait_for_selector(".level[aria-disabled=false]")


def download(tab, folder, press=None):
    with tab.expect_download() as started:
        (press or tab.click)("#download")
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def ratings_reported(path, stem, capsys):
    """What the report reads out of a file: ratings by system and track."""
    capsys.readouterr()
    assert main(["report", str(path), "--out", str(stem)]) == 0
    table = json.loads(stem.with_suffix(".json").read_text())
    return {(row["system"], int(row["track"][-1])): row["rating"] for row in table["ratings"]}


def test_a_mos_test_by_keyboard_with_a_reload_in_the_middle(
    mos_page, open_page, serve, identify, tmp_path, capsys
):
    tab = open_page(f"{serve(mos_page).url}/?listener=P07")
    assert tab.input_value("#listener") == "P07"
    tab.focus("#listener")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Space")
    tab.wait_for_function(f"({CURRENT_TIME})() > 0.05")
    tab.focus("#volume-next")
    tab.keyboard.press("Enter")
    heard = []
    for number in range(1, 5):
        tab.wait_for_selector(f"text=Piece {number} of 4")
        assert tab.evaluate("document.activeElement.id") == "mos-heading"
        heard.append(identify(playing_file(tab, mos_page)))
        # Before the end there is no answer, and no way on.
        tab.keyboard.press("4")
        assert "listen to the end" in tab.inner_text("#mos-status")
        tab.keyboard.press("ArrowRight")
        assert tab.inner_text("#mos-heading") == f"Piece {number} of 4"
        answerable(tab)
        tab.keyboard.press(str(MOS[heard[-1]]))
        assert tab.inner_text(".level[aria-pressed=true] b") == str(MOS[heard[-1]])
        assert tab.inner_text("#progress-text") == f"{number} of 4 answered"
        if number == 3:
            tab.reload()
            assert tab.inner_text("#mos-heading") == "Piece 3 of 4"
            assert "where you left off" in tab.inner_text("#mos-status")
            assert tab.inner_text(".level[aria-pressed=true] b") == str(MOS[heard[-1]])
            # A piece can be heard again, and the way back is open.
            tab.keyboard.press("Space")
            assert identify(playing_file(tab, mos_page)) == heard[-1]
            tab.keyboard.press("ArrowLeft")
            assert tab.inner_text("#mos-heading") == "Piece 2 of 4"
            tab.keyboard.press("ArrowRight")
            assert tab.inner_text("#mos-heading") == "Piece 3 of 4"
        tab.keyboard.press("ArrowRight")
    assert sorted(heard) == sorted(MOS)
    tab.wait_for_selector("text=That was all")
    path = download(tab, tmp_path)
    assert ratings_reported(path, tmp_path / "table", capsys) == MOS
    record = json.loads(path.read_text())
    assert record["listener"] == "P07" and "Chrome" in record["user_agent"]
    assert [entry["item"] for entry in record["ratings"]] == record["order"]
    assert all(0.5 < entry["seconds"] < 30 and entry["time"] for entry in record["ratings"])
    # The finished test, too, is there after a reload.
    tab.reload()
    assert tab.is_visible("#download")


def test_a_mos_test_by_touch_on_a_small_phone(
    mos_page, open_page, serve, identify, tmp_path, capsys
):
    tab = open_page(
        serve(mos_page).url, viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True
    )

    def tap(selector):
        fits()
        box = tab.locator(selector).bounding_box()
        assert box["height"] >= 44 and box["width"] >= 44
        tab.tap(selector)

    def fits():
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360

    begin(tab, tap)
    for _ in range(4):
        rating = MOS[identify(playing_file(tab, mos_page))]
        answerable(tab)
        tap(f".level:nth-child({rating})")
        tap("#mos-next")
    fits()
    path = download(tab, tmp_path, tap)
    assert ratings_reported(path, tmp_path / "table", capsys) == MOS


def test_listeners_get_orders_of_their_own(mos_page, open_page, serve):
    url = serve(mos_page).url
    orders = set()
    for _ in range(3):
        tab = open_page(url)
        tab.click("#listener-form button")
        state = tab.evaluate("JSON.parse(Object.values(localStorage)[0])")
        orders.add((state["session"], state["seed"]))
    assert len({session for session, _ in orders}) == len({seed for _, seed in orders}) == 3


#: Notes what is started and how loud it is, at the border between the page and the browser.
WIRETAP = """
window.started = []; window.gains = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...when) {
  window.started.push({ when, loop: this.loop, buffer: this.buffer });
  return start.apply(this, when);
};
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (this instanceof GainNode) window.gains.push(this);
  return connect.call(this, target, ...rest);
};
window.fades = [];
const fade = AudioParam.prototype.setValueCurveAtTime;
AudioParam.prototype.setValueCurveAtTime = function (curve, time, duration) {
  window.fades.push({ time, duration, curve: [...curve] });
  return fade.call(this, curve, time, duration);
};
window.levels = (frequencies) => {
  const place = window.gains.slice(-4).findIndex((each) => each.gain.value === 1);
  const buffer = window.started.slice(-4)[place].buffer;
  const samples = buffer.getChannelData(0);
  return frequencies.map((frequency) => {
    let real = 0, imaginary = 0;
    samples.forEach((sample, n) => {
      real += sample * Math.cos((2 * Math.PI * frequency * n) / buffer.sampleRate);
      imaginary += sample * Math.sin((2 * Math.PI * frequency * n) / buffer.sampleRate);
    });
    return Math.hypot(real, imaginary) / samples.length;
  });
};
"""
GAINS = "() => window.gains.slice(-4).map((each) => each.gain.value)"
STARTED = """() => window.started.slice(-4).map(
    ({ when, loop, buffer }) => ({ when, loop, duration: buffer.duration }))"""


def heard_now(tab):
    """Which system and track the one signal is that is let through, by its spectrum."""
    low, treble, first, second = tab.evaluate("window.levels([700, 6000, 300, 350])")
    least = 0.1 * max(first, second)
    system = "low" if low > least else "reference" if treble > least else "anchor"
    return system, int(second > first)


def test_a_mushra_test_with_a_reload_in_the_middle(mushra_page, open_page, serve, tmp_path, capsys):
    tab = open_page(serve(mushra_page).url)
    tab.add_init_script(WIRETAP)
    tab.reload()
    begin(tab)
    for number in (1, 2):
        assert tab.inner_text("#mushra-heading") == f"Piece {number} of 2"
        rate_mushra_page(tab)
        if number == 1:
            before = tab.locator(".row output").all_inner_texts()
            tab.reload()
            assert tab.inner_text("#mushra-heading") == "Piece 1 of 2"
            assert tab.locator(".row output").all_inner_texts() == before
        tab.keyboard.press("ArrowRight")
    tab.wait_for_selector("text=That was all")
    path = download(tab, tmp_path)
    names = {"hidden reference": "reference", "anchor 3.5 kHz": "anchor"}
    reported = ratings_reported(path, tmp_path / "table", capsys)
    assert {(names.get(s, s), t): rating for (s, t), rating in reported.items()} == MUSHRA
    assert "hidden reference" in (tmp_path / "table.md").read_text()


def rate_mushra_page(tab):
    """Listens to all signals of a page, in every way there is, and rates them."""
    rows = tab.locator(".row")
    assert rows.count() == tab.locator(".row input:disabled").count() == 3
    tab.keyboard.press("ArrowRight")
    assert "Please listen to: Reference, A, B, C." in tab.inner_text("#mushra-status")
    already = tab.evaluate("window.started.length")
    tab.keyboard.press("Space")
    tab.wait_for_selector("#reference.heard[aria-pressed=true]")
    # All signals run in step, in loops, and the reference alone is let through.
    started = tab.evaluate(STARTED)
    assert len({json.dumps(each["when"]) for each in started}) == 1
    assert all(each["loop"] and abs(each["duration"] - 1.2) < 0.01 for each in started)
    assert tab.evaluate(GAINS) == [1, 0, 0, 0] and heard_now(tab)[0] == "reference"
    for place in range(3):
        row = rows.nth(place)
        # By the letter's button, by a number, and by a press beside the slider.
        if place == 1:
            tab.keyboard.press("2")
        else:
            row.locator("button" if place == 0 else "output").click()
        tab.wait_for_selector(f".row:nth-child({place + 1}).current .heard")
        assert tab.evaluate(GAINS) == [0] + [float(each == place) for each in range(3)]
        assert tab.locator(".row input:enabled").count() == 1
        rating = MUSHRA[heard_now(tab)]
        if place == 0:
            press_on_slider(row.locator("input"), rating)
            assert int(row.locator("output").inner_text()) == pytest.approx(rating, abs=1)
        set_by_keys(tab, row, rating)
        band = ("bad", "poor", "fair", "good", "excellent")[min(4, rating // 20)]
        assert row.locator("input").get_attribute("aria-valuetext") == f"{rating}, {band}"
    # Switching has started nothing anew: the signals have run in step all the time.
    assert tab.evaluate(STARTED) == started
    assert "All done here" in tab.inner_text("#mushra-status")
    tab.keyboard.press("Space")
    assert tab.inner_text("#mushra-play .label") == "Play"
    tab.keyboard.press("Space")
    tab.wait_for_function("(count) => window.started.length === count", arg=already + 8)
    offsets = {each["when"][1] for each in tab.evaluate(STARTED)}
    assert len(offsets) == 1 and 0 < offsets.pop() < 1.2
    tab.keyboard.press("Space")
    check_fades(tab)


def check_fades(tab):
    """Every switch is a fade out and then a fade in, of 5 ms and raised cosines, never across."""
    fades = tab.evaluate("window.fades")
    rises = [fade["curve"][-1] > fade["curve"][0] for fade in fades]
    # In; three switches; out for the pause; in; out.
    assert rises == [True] + [False, True] * 4 + [False]
    for fade in fades:
        curve = fade["curve"] if fade["curve"][0] == 0 else fade["curve"][::-1]
        phase = [math.pi * n / (len(curve) - 1) for n in range(len(curve))]
        assert curve == pytest.approx([(1 - math.cos(each)) / 2 for each in phase], abs=1e-6)
        assert fade["duration"] == 0.005
    for fall, rise in zip(fades[1:7:2], fades[2:8:2], strict=True):
        assert 0.005 <= rise["time"] - fall["time"] < 0.02


def press_on_slider(slider, rating):
    box = slider.bounding_box()
    thumb = 28
    x = thumb / 2 + rating / 100 * (box["width"] - thumb)
    slider.click(position={"x": x, "y": box["height"] / 2})


def set_by_keys(tab, row, rating):
    tab.keyboard.press("ArrowUp")
    while (now := int(row.locator("output").inner_text())) != rating:
        step = "Page" if abs(rating - now) >= 10 else "Arrow"
        tab.keyboard.press(step + ("Up" if rating > now else "Down"))
    assert row.locator("output").inner_text() == str(rating)


def test_answers_are_posted_and_the_listener_is_told(tiny_page, open_page, serve, tmp_path):
    server = serve(tiny_page("--post-url", "/collect"))
    tab = open_page(server.url)
    assert "this page sends your answers" in tab.inner_text("#privacy")
    begin(tab)
    answerable(tab)
    tab.click(".level:nth-child(4)")
    tab.click("#mos-next")
    tab.wait_for_selector("text=Your answers have been sent.")
    ((kind, record),) = server.posted
    assert kind == "application/json" and record["ratings"][0]["rating"] == 4
    (tmp_path / "posted.json").write_text(json.dumps(record))
    assert main(["report", str(tmp_path / "posted.json")]) == 0
    # What has been sent is not sent once more.
    tab.reload()
    tab.wait_for_selector("text=Your answers have been sent.")
    assert len(server.posted) == 1


def test_a_post_that_fails_is_told_and_the_download_offered(
    tiny_page, open_page, serve, tmp_path, capsys
):
    server = serve(tiny_page("--post-url", "/collect"))
    server.answer = 500
    tab = open_page(server.url)
    begin(tab)
    answerable(tab)
    tab.click(".level:nth-child(2)")
    tab.click("#mos-next")
    tab.wait_for_selector("text=could not be sent (the server answered 500)")
    path = download(tab, tmp_path)
    assert ratings_reported(path, tmp_path / "table", capsys) == {("low", 0): 2}
    server.answer = 200
    tab.click("#send")
    tab.wait_for_selector("text=Your answers have been sent.")
    assert len(server.posted) == 2 and not tab.is_visible("#send")
    assert len(tab.complaints) == 1 and "500" in tab.complaints.pop()


def test_a_server_that_is_not_there_is_told(tiny_page, open_page, serve):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/collect"
    tab = open_page(serve(tiny_page("--post-url", address)).url)
    begin(tab)
    answerable(tab)
    tab.keyboard.press("5")
    tab.keyboard.press("ArrowRight")
    tab.wait_for_selector("text=could not be sent (no connection)")
    assert tab.is_visible("#download") and tab.is_visible("#send")
    assert address in tab.hosts
    tab.hosts.remove(address)
    tab.complaints.clear()


def test_a_piece_that_cannot_be_loaded_is_told_and_can_be_tried_again(
    tiny_page, open_page, serve, mushra_page
):
    for folder in (tiny_page(), mushra_page):
        tab = open_page(serve(folder).url)
        begin(tab)
        tab.route("**/*.flac", lambda route: route.abort())
        tab.reload()
        tab.keyboard.press("Space")
        tab.wait_for_selector("text=This piece could not be loaded")
        tab.unroute("**/*.flac")
        tab.keyboard.press("Space")
        tab.wait_for_selector("#problem", state="hidden")
        tab.wait_for_selector(".play.playing:visible")
        tab.complaints.clear()


@pytest.mark.parametrize("mode", ["mos", "mushra"])
def test_a_page_opened_from_the_disk_works(mode, mos_page, mushra_page, open_page, identify):
    folder = mos_page if mode == "mos" else mushra_page
    tab = open_page((folder / "index.html").as_uri())
    begin(tab)
    if mode == "mos":
        first = playing_file(tab, folder)
        answerable(tab)
        tab.keyboard.press("3")
        tab.keyboard.press("ArrowRight")
        tab.wait_for_selector("text=Piece 2 of 4")
        assert playing_file(tab, folder) != first
        return
    tab.keyboard.press("0")
    assert identify(playing_file(tab, folder))[0] == "reference"
    tab.wait_for_function(f"({CURRENT_TIME})() > 0.5")
    heard = set()
    for letter in "ABC":
        before = tab.evaluate(CURRENT_TIME)
        tab.keyboard.press(letter)
        tab.wait_for_selector(f".row.current >> text={letter}")
        heard.add(identify(playing_file(tab, folder))[0])
        # It goes on where the one before was, or has begun anew by now.
        after = tab.evaluate(CURRENT_TIME)
        assert after > before - 0.1 or after < 1
    assert heard == {"reference", "low", "anchor"}


def test_everything_has_a_name_and_focus_goes_along(mushra_page, mos_page, open_page, serve):
    unnamed = """() => [...document.querySelectorAll('button, input, progress')]
        .filter((each) => each.offsetParent)
        .filter((each) => !(each.getAttribute('aria-label') || each.labels?.length
            || each.getAttribute('aria-labelledby') || each.innerText.trim()))
        .map((each) => each.outerHTML)"""
    for folder in (mos_page, mushra_page):
        tab = open_page(serve(folder).url)
        for press in ("#listener-form button", "#volume-next", None):
            assert tab.evaluate(unnamed) == []
            assert tab.locator("h1:visible").count() == 1
            if press:
                tab.click(press)
                focused = tab.evaluate("document.activeElement.id")
                assert focused == tab.locator("h1:visible").get_attribute("id")
        assert tab.locator("html").get_attribute("lang") == "en"


def test_another_listener_begins_anew_on_the_same_device(tiny_page, open_page, serve, tmp_path):
    tab = open_page(serve(tiny_page()).url)
    sessions = set()
    for _ in range(2):
        tab.fill("#listener", "Ann")
        begin(tab)
        answerable(tab)
        tab.keyboard.press("3")
        tab.keyboard.press("ArrowRight")
        sessions.add(json.loads(download(tab, tmp_path).read_text())["session"])
        tab.on("dialog", lambda dialog: dialog.accept())
        tab.click("#restart")
        assert tab.input_value("#listener") == ""
    assert len(sessions) == 2


def test_without_storage_the_test_works_all_the_same(tiny_page, open_page, serve, tmp_path):
    tab = open_page(serve(tiny_page()).url)
    tab.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied'); } })"
    )
    tab.reload()
    begin(tab)
    answerable(tab)
    tab.keyboard.press("1")
    tab.keyboard.press("ArrowRight")
    assert json.loads(download(tab, tmp_path).read_text())["ratings"][0]["rating"] == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_in_light_and_dark(mos_page, open_page, serve, scheme):
    tab = open_page(serve(mos_page).url, color_scheme=scheme)

    def luminance(color):
        channels = [int(each) / 255 for each in re.findall(r"\d+", color)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def contrast(selector, ground):
        one, two = (
            luminance(tab.locator(where).first.evaluate(f"(e) => getComputedStyle(e).{what}"))
            for where, what in ((selector, "color"), (ground, "backgroundColor"))
        )
        return (max(one, two) + 0.05) / (min(one, two) + 0.05)

    # WCAG 2.2, 1.4.3: at least 4.5 to 1.
    for selector, ground in [
        ("#start p", "#start"),
        ("#start .soft", "#start"),
        ("#listener-form button", "#listener-form button"),
        (".brand", "body"),
    ]:
        assert contrast(selector, ground) >= 4.5
