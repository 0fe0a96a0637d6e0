import numpy as np
import pytest
import soundfile
from conftest import synthesize
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.audio.bandwidth import reduce_bandwidth
from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.degradation import DAMAGED_SHARES, parse_degradation
from tfrestore.data.instrument_swap import InstrumentSwap
from tfrestore.data.midi_rendering import PairRenderer
from tfrestore.data.tracks import open_folder
from tfrestore.errors import UsageError

RATE = 16000


@pytest.mark.parametrize(
    "name",
    [
        "gaps:frames",
        "gaps:window",
        "gaps:bands",
        "gaps:waveform",
        "mp3:64",
        "bandwidth:2",
        "bandwidth:4",
        "bandwidth:6",
        "instruments:0:4",
        "instruments:19:127:sound_font=a b/c.sf2:drums=true:volume=100",
    ],
)
def test_a_name_is_read_and_given_back(name):
    assert parse_degradation(name).name == name


@settings(deadline=None)
@given(st.text())
def test_any_other_name_is_refused_with_those_there_are(name):
    try:
        assert parse_degradation(name).name == name
    except UsageError as error:
        assert "gaps:KIND" in str(error) and "mp3:" in str(error)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 100))
def test_waveform_gaps_silence_the_share_that_a_damaged_recording_loses(seed, index):
    stereo = np.stack([synthesize(1.0, RATE), -synthesize(1.0, RATE, 1)]) + 1
    degraded = parse_degradation("gaps:waveform").degrade(stereo, RATE, seed, index)
    lost = degraded == 0
    np.testing.assert_array_equal(lost[0], lost[1])
    np.testing.assert_array_equal(degraded[~lost], stereo[~lost])
    assert DAMAGED_SHARES[0] <= lost.mean() <= DAMAGED_SHARES[1]
    again = parse_degradation("gaps:waveform").degrade(stereo, RATE, seed, index)
    np.testing.assert_array_equal(again, degraded)


def test_an_mp3_keeps_the_length_and_loses_the_upper_band():
    waveform = synthesize(2.0, 44100)[None]
    degraded = parse_degradation("mp3:16").degrade(waveform, 44100, 0, 0)
    assert degraded.shape == waveform.shape
    power = [np.abs(np.fft.rfft(each[0])) ** 2 for each in (waveform, degraded)]
    upper = len(power[0]) * 3 // 4
    assert power[1][upper:].sum() < 0.01 * power[0][upper:].sum()


def test_a_spectrogram_gap_is_refused_in_a_waveform():
    with pytest.raises(UsageError, match="gaps:waveform"):
        parse_degradation("gaps:frames").degrade(np.zeros((1, 100), "float32"), RATE, 0, 0)


@pytest.mark.parametrize(
    "name, message",
    [
        ("bandwidth:5", "choose one of 2, 3, 4, 6"),
        ("bandwidth", "there is no degradation"),
        ("instruments:0", "there is no degradation"),
        ("instruments:0:128", "instrument 128 is out of range"),
        ("instruments:0:electric pino", "did you mean electric piano"),
        ("instruments:0:4:wah=1", "no option 'wah'; options: sound_font, drums"),
        ("instruments:0:4:drums=1", "drums is '1'; give true or false"),
        ("instruments:0:4:volume=loud", "volume is 'loud'; give a number"),
        ("instruments:0:4:volume=128", "volume is 128"),
        ("instruments:0:4:sound_font=", "give a value"),
    ],
)
def test_a_name_that_is_nearly_right_is_refused_with_what_is_wrong(name, message):
    with pytest.raises(UsageError, match=message):
        parse_degradation(name)


def test_instruments_may_be_named():
    named = parse_degradation("instruments:Acoustic Grand Piano:electric piano 1:reverb=40")
    assert named.name == "instruments:0:4:reverb=40"
    with pytest.raises(UsageError, match="is for MIDI files; of a recording give gaps:KIND"):
        named.degrade(np.zeros((1, 10), "float32"), RATE, 0, 0)


def test_bandwidth_is_lost_in_every_channel_at_any_rate():
    stereo = np.stack([synthesize(1.0, 22051, seed) for seed in (0, 1)])
    degraded = parse_degradation("bandwidth:4").degrade(stereo, 22051, 0, 0)
    np.testing.assert_array_equal(degraded, reduce_bandwidth(stereo, 4))
    power = np.abs(np.fft.rfft(degraded * np.hanning(22051))) ** 2
    assert power[:, 22051 // 8 + 50 :].sum() < 1e-6 * power.sum()


def test_a_stretch_of_a_recording_is_brought_to_a_rate_and_degraded(tmp_path):
    stereo = np.stack([synthesize(3.0, RATE, seed) for seed in (0, 1)], axis=1)
    soundfile.write(tmp_path / "song.wav", stereo, RATE, "FLOAT")
    (track,) = open_folder(tmp_path)
    degradation = parse_degradation("bandwidth:2")
    intact, degraded = degradation.pair(track, RATE, start=1, seconds=0.5)
    np.testing.assert_array_equal(intact, stereo[RATE : RATE * 3 // 2].T)
    np.testing.assert_array_equal(degraded, reduce_bandwidth(intact, 2))
    intact, degraded = degradation.pair(track, 8000, mono=True)
    assert intact.shape == degraded.shape == (1, 24000)
    with pytest.raises(UsageError, match="song.wav is no MIDI file"):
        parse_degradation("instruments:0:4").pair(track, RATE)


def test_a_midi_file_becomes_what_the_target_and_the_input_play(tmp_path, monkeypatch):
    pytest.importorskip("symusic")
    from tests.data.midi_maker import write_notes

    monkeypatch.setenv("TFRESTORE_CACHE", str(tmp_path / "cache"))
    path = write_notes(tmp_path / "song.mid", [(0.0, 1.0, 60, 90), (1.0, 2.0, 64, 90)])
    (track,) = open_catalogue(f"midi:{tmp_path}")
    degradation = parse_degradation("instruments:0:4")
    intact, degraded = degradation.pair(track, 44100)
    played = PairRenderer(InstrumentSwap(0, 4)).render(path, 0, 3 * 44100)
    np.testing.assert_array_equal(np.stack([degraded, intact])[:, 0], played)
    stretch = degradation.pair(track, 44100, start=1, seconds=0.5)
    np.testing.assert_array_equal(stretch[0], intact[:, 44100:66150])
    intact, degraded = degradation.pair(track, 16000)
    assert intact.shape == degraded.shape == (1, 48000)
    with pytest.raises(UsageError, match="song.mid is a MIDI file.* instruments:INPUT:TARGET"):
        parse_degradation("mp3:64").pair(track, 44100)
