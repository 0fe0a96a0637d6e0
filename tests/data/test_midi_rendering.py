"""Rendering: two instruments in step, each note at its sample, blocks that cannot be heard."""

import numpy as np
import pytest
from scipy.signal import fftconvolve

from tests.data.midi_maker import write_notes
from tests.data.test_demo import fundamental
from tests.data.test_sound_font import save, small_font
from tfrestore.audio.effects import room_response
from tfrestore.data import midi_rendering
from tfrestore.data.instrument_swap import InstrumentSwap
from tfrestore.data.midi_rendering import PairRenderer, piece_length
from tfrestore.errors import AudioFileError, UsageError

pytest.importorskip("symusic")
pytest.importorskip("pretty_midi")

RATE = 44100
STEP = 1 / 32768


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFRESTORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """Three seconds with drums, chords and a note that is held all the time."""
    rng = np.random.default_rng(0)
    notes = [(start, start + 0.4, int(rng.integers(50, 80)), 80) for start in np.arange(0, 3, 0.2)]
    notes += [(0.0, 3.0, 40, 100), (1.0, 1.5, 64, 90), (1.0, 1.5, 67, 90)]
    drums = [(start, start + 0.1, 38, 100) for start in np.arange(0, 3, 0.5)]
    path = tmp_path_factory.mktemp("songs") / "song.mid"
    return write_notes(path, notes, program=40, drums=drums)


def whole(song, **options):
    return PairRenderer(InstrumentSwap(**options)).render(song, 0, piece_length(song))


def test_a_note_sounds_the_same_at_its_sample_however_late_it_is(tmp_path):
    starts = [0.0, 1.123, 7.001, 7.5, 100.333, 1000.777]
    song = write_notes(tmp_path / "song.mid", [(start, start + 0.05, 60, 99) for start in starts])
    renderer = PairRenderer(InstrumentSwap())
    first = [sound[:4000] for sound in renderer.render(song, 0, 4000)]
    assert np.abs(first).max() > 0.05
    for start in starts[1:]:
        begin = round(start * RATE)
        for sound, expected in zip(renderer.render(song, begin - 9, 4009), first, strict=True):
            np.testing.assert_array_equal(sound, np.pad(expected, (9, 0)))


def test_both_instruments_are_in_tune_and_end_together(tmp_path):
    song = write_notes(tmp_path / "one.mid", [(0.123, 1.0, 69, 100)])
    assert piece_length(song) == 2 * RATE
    for sound in whole(song, input=0, target=4):
        assert sound.dtype == np.float32 and len(sound) == 2 * RATE
        assert not sound[: round(0.123 * RATE)].any() and sound[round(0.13 * RATE)]
        found = fundamental(sound[round(0.2 * RATE) :][:16000])
        assert abs(1200 * np.log2(found / 440)) < 20
        # Half a second after its end there is silence.
        assert not sound[round(1.5 * RATE) :].any()


def test_notes_add_up(tmp_path):
    notes = [(0.1, 0.6, 60, 100), (0.3, 0.8, 64, 70), (0.3, 0.9, 67, 90)]
    parts = [
        whole(write_notes(tmp_path / f"{number}.mid", [note])) for number, note in enumerate(notes)
    ]
    for number, sound in enumerate(whole(write_notes(tmp_path / "all.mid", notes))):
        total = np.zeros(len(sound), np.float32)
        for part in parts:
            total[: len(part[number])] += part[number]
        np.testing.assert_allclose(sound, total, atol=2 * STEP)


@pytest.mark.parametrize("effects", [{}, {"reverb": 60, "chorus": 50}])
def test_blocks_are_not_heard(song, effects, monkeypatch):
    expected = whole(song, drums=True, **effects)
    monkeypatch.setattr(midi_rendering, "BLOCK_SAMPLES", 10_007)
    for sound, other in zip(expected, whole(song, drums=True, **effects), strict=True):
        np.testing.assert_allclose(sound, other, atol=1.01 * STEP)


def test_a_window_is_that_stretch_of_the_whole_and_silent_beyond_it(song):
    renderer, length = PairRenderer(InstrumentSwap()), piece_length(song)
    expected = renderer.render(song, 0, length)
    for begin in (0, 12_345, length - 5000):
        for sound, other in zip(expected, renderer.render(song, begin, 8192), strict=True):
            padded = np.pad(sound, (0, 8192))[begin : begin + 8192]
            np.testing.assert_array_equal(padded, other)


def test_equal_instruments_give_equal_sounds_and_the_files_own_is_not_heard(song):
    one, other = whole(song, input=25, target="acoustic guitar (steel)")
    np.testing.assert_array_equal(one, other)
    assert np.abs(one).max() > 0.05


def test_drums_are_left_out_or_are_the_same_in_both(song, tmp_path):
    without, with_drums = whole(song, drums=False), whole(song, drums=True)
    drums = [sound - other for sound, other in zip(with_drums, without, strict=True)]
    assert np.abs(drums[0]).max() > 0.01
    np.testing.assert_allclose(*drums, atol=2.01 * STEP)
    only = write_notes(tmp_path / "only.mid", [], drums=[(0, 1, 38, 90)])
    with pytest.raises(AudioFileError, match="only.mid: this MIDI file has drums only"):
        whole(only)
    np.testing.assert_array_equal(*whole(only, drums=True))


def test_the_volume_is_that_of_general_midi(song):
    quiet, loud = (whole(song, volume=volume)[0] for volume in (32, 64))
    np.testing.assert_allclose(4 * quiet, loud, atol=3 * STEP)
    assert not whole(song, volume=0)[0].any()
    assert np.abs(whole(song, volume=127)[1]).max() <= 1


def test_the_left_channel_the_right_one_or_their_mean_is_taken(song):
    left, right, mean = (
        whole(song, input=48, channel=channel)[0] for channel in ("left", "right", "mean")
    )
    np.testing.assert_allclose((left + right) / 2, mean, atol=1.01 * STEP)
    assert np.abs(left - right).max() > 0.01


def test_reverberation_is_a_room_s_response_to_the_dry_sound(song):
    dry, wet = (whole(song, reverb=reverb)[0] for reverb in (0, 127))
    expected = dry + fftconvolve(dry, room_response(RATE, 1)[0])[: len(dry)]
    np.testing.assert_allclose(wet, expected, atol=4 * STEP)


def test_a_chorus_adds_voices_of_about_the_same_loudness(song):
    dry, wet = (whole(song, chorus=chorus)[0] for chorus in (0, 127))
    added = wet - dry
    assert not added[: round(0.011 * RATE)].any()
    assert 0.2 < np.sqrt(np.mean(added**2) / np.mean(dry**2)) < 1


def test_instruments_have_the_names_of_general_midi():
    assert InstrumentSwap("Acoustic Grand  Piano", "electric piano 1") == InstrumentSwap(0, "4")
    assert InstrumentSwap("gunshot", 0).input == 127


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"input": 128}, "instrument 128 is out of range: programs are 0 to 127"),
        ({"target": "-1"}, "instrument -1 is out of range"),
        ({"input": "electric pino 1"}, "no instrument 'electric pino 1'.* electric piano 1"),
        ({"input": "rhodes"}, "no instrument 'rhodes'"),
        ({"input": ""}, "no instrument ''"),
        ({"channel": "middle"}, "choose one of left, right, mean"),
        ({"volume": 128}, "volume is 128: give a number from 0 to 127"),
        ({"reverb": -1}, "reverb is -1"),
        ({"chorus": 200}, "chorus is 200"),
    ],
)
def test_a_swap_that_cannot_be_is_one_line(arguments, message):
    with pytest.raises(UsageError, match=message) as caught:
        InstrumentSwap(**arguments)
    assert "\n" not in str(caught.value)


def test_a_sound_font_without_the_instrument_is_told_of(tmp_path):
    path = str(save(tmp_path, small_font()))
    assert whole(write_notes(tmp_path / "a.mid", [(0, 1, 60, 90)]), target=0, sound_font=path)
    with pytest.raises(UsageError, match="font.sf2: this SoundFont has no instrument 4"):
        PairRenderer(InstrumentSwap(sound_font=path))
    with pytest.raises(UsageError, match="has no drums"):
        PairRenderer(InstrumentSwap(target=0, sound_font=path, drums=True))
    with pytest.raises(UsageError, match="nowhere.sf2: this SoundFont cannot be read"):
        PairRenderer(InstrumentSwap(sound_font=str(tmp_path / "nowhere.sf2")))


def test_without_the_packages_one_line_says_what_to_install(monkeypatch):
    find = midi_rendering.check_midi_packages.__globals__["importlib"].util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "symusic" else find(name)
    )
    with pytest.raises(UsageError, match=r"symusic, which is not installed: pip install"):
        PairRenderer(InstrumentSwap())
