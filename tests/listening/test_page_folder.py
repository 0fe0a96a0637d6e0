import json
import re
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile

from tfrestore.errors import InputError, UsageError
from tfrestore.listening import page_folder
from tfrestore.listening.key import unpack_key
from tfrestore.listening.page_folder import HIDDEN_REFERENCE, ListeningTest, write_page


@pytest.fixture
def test_of(tmp_path, write_systems):
    """`test_of(mushra=False, **options)`: a listening test of two tracks."""

    def make(mushra=False, **options):
        names = ("low", "mid") + (("reference",) if mushra else ("high",))
        folder = tmp_path / "systems"
        if not folder.exists():
            write_systems(folder, names)
        systems = tuple(HIDDEN_REFERENCE if name == "reference" else name for name in names)
        tracks = {
            f"song {track}": {
                system: folder / name / f"song {track}.wav"
                for system, name in zip(systems, names, strict=True)
            }
            for track in range(2)
        }
        return ListeningTest(tracks, systems, mushra, seconds=1, **options)

    return make


def configuration(folder):
    text = (folder / "index.html").read_text()
    return json.loads(re.search(r'type="application/json">(.*?)</script>', text, re.S)[1])


def tree(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_the_key_says_truly_which_file_is_which(tmp_path, test_of, identify):
    summary = write_page(test_of(), tmp_path / "page")
    assert (summary.excerpts, summary.signals, summary.seconds) == (2, 6, 6)
    key = unpack_key(configuration(tmp_path / "page")["key"])
    assert key.mode == "mos" and len(key.items) == 6
    for name, (excerpt, system) in key.items.items():
        found = identify(tmp_path / "page" / "audio" / f"{name}.flac")
        assert found == (key.systems[system], int(key.excerpts[excerpt][0][-1]))


def test_all_written_files_have_one_loudness_and_format(tmp_path, test_of):
    write_page(test_of(), tmp_path / "page")
    files = sorted((tmp_path / "page" / "audio").iterdir())
    assert len(files) == 6
    for path in files:
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.channels) == ("FLAC", "PCM_16", 2)
        waveform, rate = soundfile.read(path)
        loudness = pyloudnorm.Meter(rate).integrated_loudness(waveform)
        assert loudness == pytest.approx(-23, abs=0.1) and len(waveform) == rate


def test_nothing_on_the_page_names_a_system_or_a_track(tmp_path, test_of):
    write_page(test_of(title="Music"), tmp_path / "page")
    for path in (tmp_path / "page").rglob("*"):
        seen = path.relative_to(tmp_path / "page").as_posix().encode()
        seen += path.read_bytes() if path.is_file() else b""
        if path.suffix not in (".css", ".js"):
            assert not re.search(rb"song|\bmid\b|\bhigh\b", seen), path


def test_the_page_asks_for_nothing_beside_its_own_files(tmp_path, test_of):
    write_page(test_of(), tmp_path / "page")
    html = (tmp_path / "page" / "index.html").read_text()
    asked = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert [each for each in asked if not each.startswith("data:")] == ["style.css", "test.js"]
    for name in ("style.css", "test.js"):
        text = (tmp_path / "page" / name).read_text()
        assert "://" not in text and "@import" not in text and "url(" not in text
    assert "{{" not in html


def test_mushra_has_a_labelled_and_a_hidden_reference_and_an_anchor(tmp_path, test_of, identify):
    write_page(test_of(mushra=True), tmp_path / "page")
    made = configuration(tmp_path / "page")
    key = unpack_key(made["key"])
    assert key.systems == ("low", "mid", "hidden reference", "anchor 3.5 kHz")
    assert key.systems[key.reference] == "hidden reference" and key.mid_anchor is None
    for trial in made["trials"]:
        audio = tmp_path / "page" / "audio"
        found = [identify(audio / f"{name}.flac")[0] for name in trial["signals"]]
        assert sorted(found) == ["anchor", "low", "mid", "reference"]
        assert trial["reference"] not in trial["signals"] and trial["reference"] not in key.items
        hidden = trial["signals"][found.index("reference")]
        labelled = (audio / f"{trial['reference']}.flac").read_bytes()
        assert labelled == (audio / f"{hidden}.flac").read_bytes()


def test_the_mid_anchor_keeps_what_the_low_one_loses(tmp_path, test_of):
    write_page(test_of(mushra=True, mid_anchor=True), tmp_path / "page")
    key = unpack_key(configuration(tmp_path / "page")["key"])
    assert key.systems[key.mid_anchor] == "anchor 7 kHz"
    levels = {}
    for name, (_, system) in key.items.items():
        waveform, _ = soundfile.read(tmp_path / "page" / "audio" / f"{name}.flac")
        levels[key.systems[system]] = np.abs(np.fft.rfft(waveform[:, 0]))[6000]
    assert levels["anchor 7 kHz"] == pytest.approx(levels["hidden reference"], rel=0.02)
    assert levels["anchor 3.5 kHz"] < 0.01 * levels["hidden reference"]


def test_the_same_sounds_make_the_same_page_and_others_another(tmp_path, test_of):
    for name in ("a", "b"):
        write_page(test_of(title=name), tmp_path / name)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert configuration(tmp_path / "a")["page"] == configuration(tmp_path / "b")["page"]
    write_page(test_of(loudness=-30.0), tmp_path / "c")
    assert configuration(tmp_path / "c")["page"] != configuration(tmp_path / "a")["page"]


def test_a_title_cannot_break_the_page(tmp_path, test_of):
    title = "</script><script>alert(1)</script> {{configuration}} & \u2028"
    write_page(test_of(title=title), tmp_path / "page")
    assert configuration(tmp_path / "page")["title"] == title
    html = (tmp_path / "page" / "index.html").read_text()
    assert html.count("<script") == 2 and "<title>&lt;/script&gt;" in html


def test_a_page_is_replaced_only_when_told_to(tmp_path, test_of):
    write_page(test_of(), tmp_path / "page")
    before = tree(tmp_path / "page")
    with pytest.raises(UsageError, match="--overwrite replaces it"):
        write_page(test_of(loudness=-30.0), tmp_path / "page")
    assert tree(tmp_path / "page") == before
    write_page(test_of(loudness=-30.0), tmp_path / "page", overwrite=True)
    assert len(tree(tmp_path / "page")) == len(before) and tree(tmp_path / "page") != before
    assert tree(tmp_path) == {f"page/{n}" for n in tree(tmp_path / "page")} | {"page"} | {
        name for name in tree(tmp_path) if name.startswith("systems")
    }


@pytest.mark.parametrize("name", ["notes.txt", "results/ann.json", "audio/mine.wav"])
def test_a_folder_with_other_things_in_it_is_never_replaced(tmp_path, test_of, name):
    page = tmp_path / "page"
    mine = page / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(UsageError, match="holds other things"):
        write_page(test_of(), page, overwrite=True)
    assert mine.read_text() == "mine"
    write_page(test_of(), tmp_path / "other")
    mine = tmp_path / "other" / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(UsageError, match="is no part of the page"):
        write_page(test_of(), tmp_path / "other", overwrite=True)
    assert mine.read_text() == "mine"


def test_a_file_in_the_way_is_refused(tmp_path, test_of):
    (tmp_path / "page").write_text("mine")
    with pytest.raises(UsageError, match="this is a file"):
        write_page(test_of(), tmp_path / "page")
    with pytest.raises(UsageError, match="cannot be made"):
        write_page(test_of(), tmp_path / "page" / "below")


def test_an_empty_folder_is_used_and_missing_ones_above_are_made(tmp_path, test_of):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "new" / "page"):
        write_page(test_of(), folder)
        assert (folder / "index.html").is_file()


@pytest.mark.parametrize("moment", ["_write_signals", "_write_page_files"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interruption_leaves_the_old_page_and_nothing_else(
    tmp_path, test_of, monkeypatch, moment, error
):
    write_page(test_of(), tmp_path / "page")
    before = tree(tmp_path)

    def interrupted(*_):
        raise error

    monkeypatch.setattr(page_folder, moment, interrupted)
    with pytest.raises(error):
        write_page(test_of(loudness=-30.0), tmp_path / "page", overwrite=True)
    assert tree(tmp_path) == before


def test_tracks_that_cannot_be_used_are_named_and_the_others_go_on(tmp_path, test_of, caplog):
    test = test_of()
    soundfile.write(test.tracks["song 0"]["mid"], np.zeros(33075), 22050)
    summary = write_page(test, tmp_path / "page")
    assert summary.failed == ["song 0"] and summary.excerpts == 1
    assert "left out: " in caplog.text and "is silent" in caplog.text
    Path(test.tracks["song 1"]["mid"]).write_text("no music")
    with pytest.raises(InputError, match="none of the 2 tracks could be used"):
        write_page(test, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_progress_counts_the_tracks(tmp_path, test_of):
    seen = []
    write_page(test_of(), tmp_path / "page", progress=lambda *state: seen.append(state))
    assert seen == [(0, "song 0"), (1, "song 1"), (2, "")]
