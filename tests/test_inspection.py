from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.recorded_music import make_music
from tfrestore.audio.mp3 import decode_mp3, encode_mp3, mp3_round_trip
from tfrestore.audio.reading import AudioInfo
from tfrestore.audio.resampling import resample
from tfrestore.audio.spectral_edges import SpectralEdge
from tfrestore.errors import AudioFileError
from tfrestore.inspection import Inspection, inspect_file, inspect_waveform
from tfrestore.preset_choice import STEREO_CUTOFFS, estimated_bit_rate

RATE = 44100


@pytest.fixture(scope="module")
def music():
    return make_music()


def in_16_bits(waveform):
    return (np.round(waveform * 32768) / 32768).astype(np.float32)


@pytest.mark.parametrize("rate", [16, 32, 64, 96, 128, 192, 320])
def test_an_mp3_says_its_bit_rate_and_is_cut_off_where_lame_does_it(tmp_path, music, rate):
    path = tmp_path / "a.mp3"
    path.write_bytes(encode_mp3(music, RATE, rate))
    found = inspect_file(path)
    assert found.codec == "MP3" and found.kbit_per_second == rate and not found.gaps
    assert found.info.channels == 2
    if found.info.sample_rate == RATE and rate <= 128:
        assert abs(found.cutoff - STEREO_CUTOFFS[rate]) < 400
    assert f"MP3 of {rate} kbit/s" in str(found)


@pytest.mark.parametrize("rate", [32, 64, 96])
@pytest.mark.parametrize("kind", ["wav", "flac", "aiff"])
def test_an_mp3_that_was_copied_is_found(tmp_path, music, rate, kind):
    path = tmp_path / f"a.{kind}"
    soundfile.write(path, mp3_round_trip(music, RATE, rate).T, RATE, subtype="PCM_16")
    found = inspect_file(path)
    assert found.was_mp3 and found.codec is None and found.kbit_per_second is None
    assert abs(np.log2(estimated_bit_rate(found) / rate)) < 0.6
    assert "as in an MP3" in str(found)


@pytest.mark.parametrize(("rate", "own"), [(32, 16000), (48, 22050), (64, 24000), (96, 32000)])
def test_an_mp3_that_was_copied_at_its_own_low_rate_is_found(music, rate, own):
    decoded, sample_rate = decode_mp3(encode_mp3(music, RATE, rate))
    assert sample_rate == own
    found = inspect_waveform(in_16_bits(decoded), own)
    assert found.was_mp3 and estimated_bit_rate(found) == rate
    assert not inspect_waveform(in_16_bits(resample(music, RATE, own)), own).was_mp3


@pytest.mark.parametrize(
    ("edge", "cutoff"),
    [
        (SpectralEdge(10875.0, 17.0, 0.01, 0.01), 10875.0),
        (SpectralEdge(10875.0, 14.0, 0.01, 0.01), None),
        (SpectralEdge(10875.0, 17.0, 0.001, 0.01), None),
        (SpectralEdge(10875.0, 17.0, 0.01, 0.001), None),
        (SpectralEdge(10000.0, 17.0, 0.01, 0.01), None),
        (SpectralEdge(10875.0, 31.0), 10875.0),
        (SpectralEdge(None), None),
    ],
)
def test_less_of_a_fall_tells_where_there_is_little_room_above_it_and_holes(edge, cutoff):
    assert Inspection(AudioInfo(Path(), 24000, 2, 1, "WAV", "PCM_16"), None, edge).cutoff == cutoff
    # At a usual rate there is room.
    if edge.fall < 30:
        info = AudioInfo(Path(), 44100, 2, 1, "WAV", "PCM_16")
        assert Inspection(info, None, edge).cutoff is None


@pytest.mark.parametrize("rate", [160, 192, 256, 320])
def test_mp3s_of_more_are_not_taken_for_such(music, rate):
    assert not inspect_waveform(in_16_bits(mp3_round_trip(music, RATE, rate)), RATE).was_mp3


def test_originals_are_not_taken_for_such(tmp_path, music):
    assert not inspect_waveform(music, RATE).was_mp3
    soundfile.write(tmp_path / "a.ogg", music.T, RATE)
    found = inspect_file(tmp_path / "a.ogg")
    assert found.codec == "Vorbis" and not found.was_mp3


@pytest.mark.parametrize("rate", [16000, 22050, 32000])
def test_a_low_bandwidth_without_holes_is_not_taken_for_such(music, rate):
    narrow = in_16_bits(resample(resample(music, RATE, rate), rate, RATE))
    found = inspect_waveform(narrow, RATE)
    assert abs(found.cutoff - rate / 2) < 700
    assert not found.was_mp3


def test_music_that_dies_away_upwards_is_not_taken_for_such(music):
    hertz = np.fft.rfftfreq(music.shape[1], 1 / RATE)
    dull = np.fft.irfft(np.fft.rfft(music) * 10 ** (-hertz / 150 / 20), music.shape[1])
    found = inspect_waveform(in_16_bits(dull), RATE)
    assert found.cutoff is None and not found.was_mp3


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_gaps_are_found_at_their_places(channels, rate):
    waveform = make_music(4.0, rate, channels, seed=3)
    waveform += 0.1 * np.random.default_rng(0).uniform(-1, 1, waveform.shape).astype(np.float32)
    places = [(1.205, 1.235), (2.4, 2.45), (3.075, 3.086)]
    for start, stop in places:
        waveform[-1, round(start * rate) : round(stop * rate)] = 0
    gaps = inspect_waveform(waveform, rate).gaps
    assert len(gaps) == 3
    # The detection reaches up to four milliseconds beyond, where a resampler would ring.
    for (start, stop), (found_start, found_stop) in zip(places, gaps, strict=True):
        assert start - 0.005 <= found_start <= start + 1e-3
        assert stop - 1e-3 <= found_stop <= stop + 0.005


def test_silence_at_the_ends_and_rests_are_no_gaps():
    waveform = make_music(4.0, 22050, 1)
    waveform[:, :2000] = 0
    waveform[:, -2000:] = 0
    waveform[:, 30000:60000] = 0
    assert inspect_waveform(waveform, 22050).gaps == ()


def test_a_gap_is_found_wherever_the_pieces_are_cut(monkeypatch):
    waveform = make_music(3.0, 22050, 1, seed=5)
    waveform[0, 33000:33600] = 0
    expected = inspect_waveform(waveform, 22050).gaps
    assert len(expected) == 1
    monkeypatch.setattr("tfrestore.inspection._PIECE_SECONDS", 33300 / 22050 / 3)
    # The millisecond that the detection counts in begins with a piece.
    (found,) = inspect_waveform(waveform, 22050).gaps
    assert found == pytest.approx(expected[0], abs=1.1e-3)


@pytest.mark.parametrize("rate", [999, 8000, 44100, 48000])
def test_what_is_known_of_the_detection_without_loading_it_is_true(rate):
    from tfrestore.inspection import _Detection
    from tfrestore.layers.gap_detection import GapDetection

    layer = GapDetection(rate)
    assert _Detection(rate).context_samples >= layer.context_samples
    assert _Detection._SILENCE_DB == layer.silence_db
    assert _Detection(rate).shortest <= max(1, layer.shortest * rate / layer.block)


def test_intact_music_needs_no_keras(tmp_path):
    import subprocess
    import sys

    soundfile.write(tmp_path / "a.wav", make_music(3.0).T, RATE)
    script = (
        "import sys\n"
        "from tfrestore.inspection import inspect_file\n"
        "print(inspect_file(sys.argv[1]).gaps)\n"
        "assert 'keras' not in sys.modules and 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "a.wav"], check=True)


@settings(deadline=None, max_examples=60)
@given(data=st.binary(max_size=2000), suffix=st.sampled_from(["wav", "mp3", "flac", "ogg"]))
def test_any_bytes_are_inspected_or_refused_in_a_line(tmp_path_factory, data, suffix):
    path = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    path.write_bytes(data)
    try:
        inspect_file(path)
    except AudioFileError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)


@settings(deadline=None, max_examples=25)
@given(
    rate=st.sampled_from([8000, 11025, 44100, 96000]),
    channels=st.integers(1, 3),
    samples=st.integers(1, 30000),
    kind=st.sampled_from(["zeros", "noise", "click", "constant"]),
)
def test_any_wav_is_inspected(tmp_path_factory, rate, channels, samples, kind):
    waveform = np.zeros((samples, channels))
    if kind == "noise":
        waveform = np.random.default_rng(samples).uniform(-1, 1, waveform.shape)
    elif kind == "click":
        waveform[samples // 2] = 1
    elif kind == "constant":
        waveform[:] = 0.5
    path = tmp_path_factory.getbasetemp() / "any.wav"
    soundfile.write(path, waveform, rate)
    found = inspect_file(path)
    assert (found.info.sample_rate, found.info.channels) == (rate, channels)
    assert all(0 <= start < stop <= samples / rate for start, stop in found.gaps)
    assert str(found)
