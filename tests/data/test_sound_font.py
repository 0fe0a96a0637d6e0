"""SoundFonts: checked before native code reads them, in tune, with their releases."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.data.sound_font import (
    DRUM_BANK,
    SoundFont,
    general_midi_sound_font,
    playable_sound_font,
)
from tfrestore.errors import UsageError

symusic = pytest.importorskip("symusic")
pytest.importorskip("pretty_midi")


def chunk(name, content):
    return name + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)


def record(*numbers):
    return b"".join(number.to_bytes(size, "little", signed=number < 0) for number, size in numbers)


def small_font(**changes):
    """A SoundFont of one preset with one looped sample; tables and chunks may be replaced."""
    end = (0, 4), (0, 4), (0, 4)
    tables = {
        "phdr": b"Piano".ljust(20, b"\0")
        + record((0, 2), (0, 2), (0, 2), *end)
        + b"EOP".ljust(20, b"\0")
        + record((0, 2), (0, 2), (1, 2), *end),
        "pbag": record((0, 2), (0, 2), (1, 2), (0, 2)),
        "pmod": bytes(10),
        "pgen": record((41, 2), (0, 2), (0, 4)),
        "inst": b"Piano".ljust(20, b"\0")
        + record((0, 2))
        + b"EOI".ljust(20, b"\0")
        + record((1, 2)),
        "ibag": record((0, 2), (0, 2), (3, 2), (0, 2)),
        "imod": bytes(10),
        "igen": record((38, 2), (-1200, 2), (54, 2), (1, 2), (53, 2), (0, 2), (0, 4)),
        "shdr": b"Tone".ljust(20, b"\0")
        + record((0, 4), (1000, 4), (100, 4), (900, 4), (44100, 4), (60, 1), (0, 1), (0, 2), (1, 2))
        + bytes(46),
    }
    chunks = {"ifil": b"\2\0\1\0", "smpl": np.full(1046, 9000, "<i2").tobytes()}
    tables |= {name: value for name, value in changes.items() if name in tables}
    chunks |= {name: value for name, value in changes.items() if name in chunks}
    body = b"sfbk"
    for kind, names in (("INFO", ["ifil"]), ("sdta", ["smpl"]), ("pdta", tables)):
        some = (chunk(name.encode(), (chunks | tables)[name]) for name in names)
        body += chunk(b"LIST", kind.encode() + b"".join(some))
    return chunk(b"RIFF", body)


def save(folder, data):
    path = folder / "font.sf2"
    path.write_bytes(data)
    return path


def play(font, duration, program=0, pitch=60):
    score = symusic.Score.from_tpq(480, "second")
    track = symusic.Track("", program, False, ttype="second")
    track.notes.append(symusic.Note(0, duration, pitch, 100, ttype="second"))
    score.tracks.append(track)
    return np.asarray(symusic.Synthesizer(str(font), 44100, 4).render(score, True))[0]


def test_what_the_demo_is_played_with_is_what_it_has_always_been(tmp_path):
    SoundFont(general_midi_sound_font()).write_playable(tmp_path / "tuned.sf2", only_tuned=True)
    digest = hashlib.sha256((tmp_path / "tuned.sf2").read_bytes()).hexdigest()
    assert digest == "23d74763d64033d175e3ff28cca7f105cc0713a522153dba39912db9568fb6bc"


def test_a_note_sounds_on_for_its_release(tmp_path):
    # The file means half a second to -100 dB; a ramp of the amplitude takes 2/9 of that.
    font = SoundFont(save(tmp_path, small_font()))
    assert font.release(0) == pytest.approx(0.5 * 2 / 9, rel=1e-3)
    font.write_playable(tmp_path / "playable.sf2")
    sound = play(tmp_path / "playable.sf2", 0.25)
    assert len(sound) == pytest.approx((0.25 + font.release(0)) * 44100, rel=2e-3)
    ramp = sound[round(0.25 * 44100) :]
    np.testing.assert_allclose(ramp / ramp[0], np.linspace(1, 0, len(ramp)), atol=2e-3)


@pytest.mark.parametrize("program", [0, 4, 19, 48])
def test_no_note_of_the_carried_font_sounds_longer_than_is_said(program, tmp_path, monkeypatch):
    monkeypatch.setenv("TFRESTORE_CACHE", str(tmp_path))
    font, playable = playable_sound_font(None)
    tails = [len(play(playable, 0.5, program, pitch)) / 44100 - 0.5 for pitch in (30, 60, 90)]
    assert max(tails) <= font.release(program) + 0.01
    assert max(tails) > 0.05


def test_the_playable_copy_is_made_once_and_is_a_sound_font_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("TFRESTORE_CACHE", str(tmp_path / "cache"))
    path = save(tmp_path, small_font())
    font, playable = playable_sound_font(path)
    before = playable.stat().st_mtime_ns
    assert playable_sound_font(path)[1].stat().st_mtime_ns == before
    assert SoundFont(playable).has_instrument(0) and list(playable.parent.iterdir()) == [playable]
    assert not font.has_instrument(1) and not font.has_instrument(0, DRUM_BANK)
    monkeypatch.setenv("TFRESTORE_CACHE", str(path))
    with pytest.raises(UsageError, match="set TFRESTORE_CACHE"):
        playable_sound_font(path)


def test_a_loop_that_is_nowhere_becomes_the_whole_sample(tmp_path):
    header = b"Tone".ljust(20, b"\0") + record((0, 4), (1000, 4), (900, 4), (900, 4))
    header += record((44100, 4), (60, 1), (0, 1), (0, 2), (1, 2)) + bytes(46)
    font = SoundFont(save(tmp_path, small_font(shdr=header)))
    font.write_playable(tmp_path / "playable.sf2")
    assert len(play(tmp_path / "playable.sf2", 0.25)) > 0.25 * 44100


def sample(**changes):
    fields = {"begin": 0, "end": 1000, "rate": 44100, "key": 60} | changes
    return (
        b"Tone".ljust(20, b"\0")
        + record((fields["begin"], 4), (fields["end"], 4), (100, 4), (900, 4))
        + record((fields["rate"], 4), (fields["key"], 1), (0, 1), (0, 2), (1, 2))
        + bytes(46)
    )


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"I am a file of text, not a SoundFont.", "does not begin as one does"),
        (b"RIFF\4\0\0\0WAVE", "does not begin as one does"),
        (small_font()[:-200], "cut off"),
        (small_font()[:60], "cut off"),
        (b"RIFF\4\0\0\0sfbk", "part INFO is missing"),
        (small_font(ifil=b"\3\0\1\0"), "version is not 2"),
        (small_font(igen=b""), "table igen is missing"),
        (small_font(shdr=bytes(45)), "table shdr is missing or cut off"),
        (small_font(pgen=record((41, 2), (1, 2), (0, 4))), "pgen points beyond inst"),
        (small_font(ibag=record((0, 2), (0, 2), (9, 2), (0, 2))), "ibag points to"),
        (small_font(ibag=record((3, 2), (0, 2), (0, 2), (0, 2))), "ibag points to"),
        (small_font(pgen=record((17, 2), (0, 2), (0, 4))), "it has no instrument"),
        (small_font(shdr=sample(end=2000)), "'Tone' is not all there"),
        (small_font(shdr=sample(begin=1000)), "'Tone' is not all there"),
        (small_font(shdr=sample(rate=0)), "no sensible rate"),
        (small_font(shdr=sample(key=255)), "no sensible rate or pitch"),
        (small_font(shdr=sample(end=47)), "'Tone' is too short"),
        (b"", "cannot be read"),
    ],
)
def test_what_is_no_sound_font_is_one_line_that_names_it(tmp_path, data, reason):
    path = save(tmp_path, data)
    with pytest.raises(UsageError, match=reason) as caught:
        SoundFont(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        SoundFont(tmp_path / "nowhere.sf2")


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damage_anywhere_gives_a_font_or_one_line(tmp_path_factory, data):
    damaged = bytearray(small_font())
    tables = damaged.index(b"pdta")
    for _ in range(data.draw(st.integers(1, 4))):
        least = data.draw(st.sampled_from([0, tables]))
        place = data.draw(st.integers(least, len(damaged) - 1))
        damaged[place] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))
    folder = tmp_path_factory.mktemp("damaged")
    try:
        font = SoundFont(save(folder, damaged))
    except UsageError as error:
        assert "\n" not in str(error)
        return
    # Played they are by a script of their own, which a crash may end: 0 of 2000 did.
    font.write_playable(folder / "playable.sf2")
    assert SoundFont(folder / "playable.sf2").has_instrument(0) == font.has_instrument(0)
