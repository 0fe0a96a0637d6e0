"""The demo corpus: in tune, full-band, the same bytes again, and safe in its cache."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from tfrestore.data import demo
from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.composer import Note, Piece, Voice, compose
from tfrestore.data.demo import SAMPLE_RATE, demo_folder, render
from tfrestore.data.sound_font import SoundFont, general_midi_sound_font
from tfrestore.data.styles import STYLES
from tfrestore.errors import UsageError

pytest.importorskip("symusic")
pytest.importorskip("pretty_midi")


@pytest.fixture(scope="module")
def sound_font(tmp_path_factory):
    path = tmp_path_factory.mktemp("font") / "tuned.sf2"
    SoundFont(general_midi_sound_font()).write_playable(path, only_tuned=True)
    return path


@pytest.fixture
def small_corpus(monkeypatch, tmp_path):
    """A corpus of one short style in an empty cache."""
    monkeypatch.setenv("TFRESTORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(demo, "STYLES", {"rock": STYLES["rock"]})
    monkeypatch.setattr(demo, "TRACKS_PER_STYLE", {"train": 1, "test": 1})
    return tmp_path / "cache"


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def fundamental(wave):
    """Hz of the first peak of the autocorrelation that is nearly as high as the highest."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 2 * len(wave))) ** 2
    window = np.abs(np.fft.rfft(np.hanning(len(wave)), 2 * len(wave))) ** 2
    lags = len(wave) // 2
    curve = np.fft.irfft(spectrum)[:lags] / np.fft.irfft(window)[:lags]
    peaks = np.flatnonzero((curve[1:-1] > curve[:-2]) & (curve[1:-1] >= curve[2:])) + 1
    return SAMPLE_RATE / peaks[curve[peaks] > 0.9 * curve[20:].max()][0]


@pytest.mark.parametrize("program", [0, 11, 24, 25, 30, 33, 40, 48, 56, 61, 65, 73, 81, 105])
@pytest.mark.parametrize("pitch", [52, 60, 67])
def test_instruments_sound_at_the_pitch_of_equal_temperament(sound_font, program, pitch):
    voice = Voice(program, False, 0.0, 1.0, [Note(0.0, 1.0, pitch, 100)])
    sound = render(Piece(STYLES["rock"], 120.0, [voice], 1.0), sound_font)
    found = fundamental(sound.mean(axis=0)[4000:20_000])
    cents = 1200 * np.log2(found / (440 * 2 ** ((pitch - 69) / 12)))
    # symusic cuts loops to whole samples, which detunes the shortest ones by up to a quarter tone.
    assert abs(cents) < 50


@pytest.mark.parametrize("name", STYLES)
def test_every_style_fills_the_band_and_never_stops_or_clips(sound_font, name):
    sound = render(compose(name, "0/train/1"), sound_font)
    assert sound.dtype == np.float32 and sound.shape[0] == 2
    level = 20 * np.log10(np.abs(sound).max())
    assert level == pytest.approx(STYLES[name].peak_decibels, abs=0.01) and level <= -1.0
    mono = sound.mean(axis=0)
    power = np.abs(np.fft.rfft(mono)) ** 2
    hertz = np.fft.rfftfreq(len(mono), 1 / SAMPLE_RATE)
    assert power[hertz > 12_000].sum() > 1e-4 * power.sum()
    assert power[hertz > 16_000].sum() > 1e-5 * power.sum()
    # Many tones, not one: the strongest hertz holds a small part of the power.
    strongest = np.abs(hertz - hertz[power.argmax()]) < 0.5
    assert power[strongest].sum() < 0.3 * power.sum()
    halves = mono[: len(mono) // 22_050 * 22_050].reshape(-1, 22_050)
    assert (20 * np.log10(halves[:-1].std(axis=1)) > -50).all()
    assert not np.allclose(sound[0], sound[1], atol=1e-3)


def test_the_corpus_has_every_style_in_every_split(tmp_path, monkeypatch):
    monkeypatch.setenv("TFRESTORE_CACHE", str(tmp_path))
    catalogue = open_catalogue("demo")
    assert len(catalogue) == len(STYLES) * sum(demo.TRACKS_PER_STYLE.values())
    for split in ("train", "validation", "test"):
        assert catalogue.require(split).genres == tuple(sorted(STYLES))
    assert {(track.sample_rate, track.channels) for track in catalogue} == {(44_100, 2)}
    assert all(10 < track.duration < 30 for track in catalogue)
    assert catalogue.total_duration > 180


def test_two_renders_give_the_same_bytes_and_another_seed_other_ones(small_corpus, monkeypatch):
    first = demo_folder()
    monkeypatch.setenv("TFRESTORE_CACHE", str(small_corpus / "again"))
    assert contents(demo_folder()) == contents(first)
    name = "train/rock/rock-train-1.flac"
    assert (demo_folder(1) / name).read_bytes() != (first / name).read_bytes()


def test_an_intact_corpus_is_not_rendered_again(small_corpus, monkeypatch):
    folder = demo_folder()
    monkeypatch.setattr(demo, "render", None)
    assert demo_folder() == folder
    assert sorted(path.name for path in small_corpus.iterdir()) == [folder.name]


@pytest.mark.parametrize("damage", ["cut", "missing", "changed", "no list", "list of nonsense"])
def test_a_damaged_corpus_is_rendered_again(small_corpus, damage):
    folder = demo_folder()
    before = contents(folder)
    victim = folder / "test/rock/rock-test-1.flac"
    if damage == "cut":
        victim.write_bytes(victim.read_bytes()[:-100])
    elif damage == "changed":
        victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    elif damage == "missing":
        victim.unlink()
    elif damage == "no list":
        (folder / "contents.json").unlink()
    else:
        (folder / "contents.json").write_text("[1, 2]")
    assert contents(demo_folder()) == before
    assert sorted(path.name for path in small_corpus.iterdir()) == [folder.name]


def test_a_render_that_fails_leaves_nothing_behind(small_corpus, monkeypatch):
    def fail(*_):
        raise RuntimeError("no")

    monkeypatch.setattr(demo, "render", fail)
    with pytest.raises(RuntimeError):
        demo_folder()
    assert list(small_corpus.iterdir()) == []


def test_two_processes_may_render_at_once(small_corpus):
    program = (
        "from tfrestore.data import demo; from tfrestore.data.styles import STYLES; "
        "demo.STYLES = {'rock': STYLES['rock']}; demo.TRACKS_PER_STYLE = {'train': 1, 'test': 1}; "
        "print(demo.demo_folder())"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert printed == {str(demo_folder())}
    assert len(list(small_corpus.iterdir())) == 1


def test_the_cache_lies_where_the_environment_says(monkeypatch, tmp_path):
    places = []
    monkeypatch.setattr(demo, "_is_intact", lambda folder: places.append(folder) or True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TFRESTORE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    demo_folder(7)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    demo_folder(7)
    monkeypatch.setenv("TFRESTORE_CACHE", str(tmp_path / "own"))
    demo_folder(7)
    name = f"demo-{demo.CORPUS_VERSION}-7"
    assert places == [
        tmp_path / ".cache" / "tfrestore" / name,
        tmp_path / "xdg" / "tfrestore" / name,
        tmp_path / "own" / name,
    ]


def test_a_cache_that_cannot_be_written_is_named_with_a_way_out(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TFRESTORE_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="file .*set TFRESTORE_CACHE"):
        demo_folder()


def test_without_the_packages_that_render_it_the_extra_is_named(small_corpus, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "symusic" else find(name)
    )
    with pytest.raises(UsageError, match=r"symusic.*pip install 'tfrestore\[midi\]'"):
        demo_folder()
