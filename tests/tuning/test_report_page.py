"""The page as a person meets it, in a real headless Chromium, without any network."""

import re

import pytest

from tuning.report import main
from tuning.search_results import read_search


@pytest.fixture(scope="module")
def pages(random_search, hyperband_search, tmp_path_factory):
    found = {}
    for name, search in (("random", random_search), ("hyperband", hyperband_search)):
        folder = tmp_path_factory.mktemp(name)
        assert main([str(search), "--out", str(folder)]) == 0
        found[name] = folder / "report.html"
    return found


def shown(tab):
    return tab.eval_on_selector_all(
        "#trials tbody tr:not(.left-out)", "rows => rows.map(r => r.dataset.trial)"
    )


def test_the_page_is_one_file_that_asks_for_nothing(pages):
    for page in pages.values():
        text = page.read_text()
        assert "Content-Security-Policy" in text and "default-src 'none'" in text
        addresses = re.findall(r"(?:src|href)\s*=\s*[\"']([^\"']+)", text)
        assert all(address.startswith(("data:", "#")) for address in addresses)
        assert "@import" not in text and not re.search(r"url\((?!#)", text)


def test_every_trial_has_a_row_and_a_line(pages, random_search, open_page):
    tab = open_page(pages["random"].as_uri())
    names = [trial.name for trial in read_search(random_search).trials]
    assert sorted(shown(tab)) == names
    for name in names:
        assert tab.locator(f"[id='line-{name}']").count() == 1
    # Markup in a failed trial's message is text.
    assert "lower [b]recipe.x[/b]" in tab.inner_text("#trials tbody")
    best = read_search(random_search).best
    assert tab.get_attribute("tr.best", "data-trial") == best.name
    assert "best" in tab.inner_text("tr.best")
    assert "baseline" in tab.inner_text("tr[data-trial='0000']")


def test_a_click_on_a_heading_sorts_by_value(pages, hyperband_search, open_page):
    tab = open_page(pages["hyperband"].as_uri())
    trials = {trial.name: trial for trial in read_search(hyperband_search).trials}
    tab.click("thead th:has-text('learning_rate') button")
    rates = [trials[name].values["recipe.learning_rate"] for name in shown(tab)]
    assert [f"{rate:.3g}" for rate in rates] == [f"{rate:.3g}" for rate in sorted(rates)]
    tab.focus("thead th:has-text('val_psnr') button")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Enter")
    assert tab.get_attribute("thead th:has-text('val_psnr')", "aria-sort") == "descending"
    scores = [trials[name].score for name in shown(tab)]
    assert scores == sorted(scores, reverse=True)


def test_a_row_marks_its_line_by_keyboard_and_a_line_its_row(pages, open_page):
    tab = open_page(pages["random"].as_uri())
    tab.focus("tr[data-trial='0003'] button")
    assert tab.locator("[id='line-0003'].marked").count() == 1
    tab.keyboard.press("Enter")
    assert tab.get_attribute("tr[data-trial='0003'] button", "aria-pressed") == "true"
    tab.focus("#reset")
    assert tab.locator(".marked[id^='line-']").count() == 1
    tab.dispatch_event("[id='line-0004']", "pointerenter")
    assert tab.locator("tr[data-trial='0004'].marked").count() == 1


def test_dragging_along_an_axis_keeps_the_trials_that_cross_it(pages, random_search, open_page):
    tab = open_page(pages["random"].as_uri())
    box = tab.locator("[id='axis-line-0']").bounding_box()
    middle = box["x"] + box["width"] / 2
    # The upper third of the filters' axis: those with 16.
    tab.mouse.move(middle, box["y"] - 5)
    tab.mouse.down()
    tab.mouse.move(middle, box["y"] + box["height"] / 3, steps=4)
    tab.mouse.up()
    results = read_search(random_search)
    wide = [t.name for t in results.trials if t.values["network.filters"] == 16]
    assert sorted(shown(tab)) == wide and 0 < len(wide) < len(results.trials)
    assert tab.inner_text("#shown") == f"{len(wide)} of {len(results.trials)} trials shown."
    tab.click("#reset")
    assert len(shown(tab)) == len(results.trials)


def test_without_its_script_the_page_shows_everything(pages, open_page):
    tab = open_page(pages["hyperband"].as_uri(), java_script_enabled=False)
    assert tab.locator("#trials tbody tr").count() > 10
    assert tab.is_visible("#coordinates svg") and tab.is_visible("#importance svg")
    assert not tab.is_visible("#tools")


def test_on_a_narrow_and_dark_screen_nothing_spills_over(pages, open_page):
    for page in pages.values():
        tab = open_page(page.as_uri(), viewport={"width": 360, "height": 640}, color_scheme="dark")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_pictures_and_controls_have_names(pages, open_page):
    tab = open_page(pages["random"].as_uri())
    assert tab.get_attribute("html", "lang") == "en"
    for picture in tab.locator("[role=img]").all():
        assert "same values" in picture.get_attribute("aria-label")
    for button in tab.locator("button").all():
        assert (button.get_attribute("aria-label") or button.inner_text()).strip()
    assert tab.locator("h1").count() == 1
    ids = tab.eval_on_selector_all("[id]", "all => all.map(each => each.id)")
    assert len(ids) == len(set(ids))
