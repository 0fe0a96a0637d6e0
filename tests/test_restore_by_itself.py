"""`tfrestore restore FILE` without a preset, and how much of a restoration is used."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import tfrestore
from tests.recorded_music import make_music
from tfrestore import preset_choice
from tfrestore.__main__ import main
from tfrestore.audio.mp3 import encode_mp3
from tfrestore.audio.resampling import resample
from tfrestore.errors import UsageError
from tfrestore.models.presets import Preset, find_preset
from tfrestore.recordings import RecordingRestorer

RATE = 16000


class Brightener(RecordingRestorer):
    """Adds a tone of 6 kHz to all it is given, and half of what there is."""

    sample_rate = 44100
    chunk_seconds = 0.5
    context_samples = 0

    def restore_window(self, waveform):
        time = np.arange(waveform.shape[1]) / self.sample_rate
        tone = np.float32(0.1) * np.sin(2 * np.pi * 6000 * time).astype(np.float32)
        return waveform * np.float32(1.5) + tone


def ship_alone(monkeypatch, run, folder, **restores):
    """Makes a copy of a run the one preset that is shipped, and says what it restores."""
    shutil.copytree(run, folder)
    metadata = json.loads((folder / "metadata.json").read_text())
    metadata["restores"] = {"channels": 1, "mp3": {}, "gaps": {}, **restores}
    (folder / "metadata.json").write_text(json.dumps(metadata))
    found = find_preset(folder)
    assert isinstance(found, Preset)
    monkeypatch.setattr(preset_choice, "shipped_presets", lambda: [found])
    return found


@pytest.fixture
def filler(tmp_path, monkeypatch, random_run):
    """The one preset that is shipped, which is said to fill gaps."""
    folder = tmp_path / "presets" / "filler"
    return ship_alone(monkeypatch, random_run, folder, gaps={"waveform": 0.1})


@pytest.fixture
def widener(tmp_path, monkeypatch, stochastic_run):
    """The one preset that is shipped, of 44.1 kHz, which is said to improve MP3s of 8 kbit/s."""
    folder = tmp_path / "presets" / "widener"
    return ship_alone(monkeypatch, stochastic_run, folder, mp3={"8": 1.0})


def write(path, waveform):
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, waveform.T, RATE)
    return path


def gapped():
    waveform = make_music(2.0, RATE, 1)
    waveform[:, 19300:19700] = 0
    return waveform


def test_where_there_is_nothing_to_restore_nothing_is_written(tmp_path, capsys, filler):
    source = write(tmp_path / "in" / "a.flac", make_music(2.0, RATE, 1))
    assert main(["restore", str(source), "--pictures"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1 and str(source) in captured.err
    assert captured.err.endswith(
        ": FLAC, a sample rate of 16000 Hz: nothing that the presets restore was found (silent "
        "gaps of up to 0.4 s), so nothing is written; --preset NAME restores it all the same\n"
    )
    assert list((tmp_path / "in").iterdir()) == [source]


def test_gaps_are_found_and_filled_and_a_line_says_so(tmp_path, capsys, filler):
    waveform = gapped()
    source = write(tmp_path / "in" / "a.flac", waveform)
    intact = write(tmp_path / "in" / "b.flac", make_music(1.5, RATE, 1, seed=1))
    assert main(["restore", str(tmp_path / "in"), "--subtype", "float"]) == 0
    captured = capsys.readouterr()
    target = tmp_path / "in" / "a.restored.wav"
    assert captured.out == f"{target}\n"
    assert "1 silent gap" in captured.err and f"filled with {filler.name}" in captured.err
    assert f"{intact}: FLAC, a sample rate of 16000 Hz: nothing that" in captured.err
    restored = soundfile.read(target, dtype="float32")[0]
    lost = slice(19240, 19760)
    expected = soundfile.read(source, dtype="float32")[0]
    np.testing.assert_array_equal(
        np.delete(restored, np.r_[lost]), np.delete(expected, np.r_[lost])
    )
    assert np.abs(restored[19300:19700]).max() > 1e-4


def test_what_no_preset_improves_is_left_alone(tmp_path, capsys, filler):
    source = tmp_path / "a.mp3"
    source.write_bytes(encode_mp3(make_music(2.0), 44100, 64))
    assert main(["restore", str(source)]) == 0
    captured = capsys.readouterr()
    assert "MP3 of 64 kbit/s" in captured.err and "nothing is written" in captured.err
    assert sorted(path.name for path in tmp_path.glob("a*")) == ["a.mp3"]


def test_a_preset_overrides_the_choice(tmp_path, filler, stochastic_run):
    source = write(tmp_path / "a.flac", make_music(1.0, RATE, 1))
    assert main(["restore", str(source), "--preset", str(stochastic_run)]) == 0
    assert (tmp_path / "a.restored.wav").is_file()


def test_what_cannot_be_used_is_told_in_a_line(tmp_path, capsys, filler):
    (tmp_path / "broken.mp3").write_bytes(b"no music")
    assert main(["restore", str(tmp_path / "broken.mp3")]) == 1
    source = write(tmp_path / "a.wav", gapped())
    capsys.readouterr()
    for arguments, said in (
        (["--stream"], "--stream: name the model with --preset"),
        ([str(source), "--preset", "unet"], "'unet' is an architecture without trained weights"),
        ([str(source), "--candidates", "2"], "makes one version of a recording only"),
        ([str(source), "--strength", "1.5"], "'1.5' is no number from 0 to 1"),
        ([str(source), "--strength", "nan"], "'nan' is no number from 0 to 1"),
    ):
        assert main(["restore", *arguments]) == 2
        captured = capsys.readouterr().err.splitlines()
        assert said in captured[-1] and len(captured) <= 2
    assert sorted(path.name for path in tmp_path.glob("a*")) == ["a.wav"]


def test_an_mp3_of_a_low_rate_is_written_at_the_presets_unless_another_is_asked_for(
    tmp_path, capsys, caplog, widener
):
    source, target = tmp_path / "a.mp3", tmp_path / "a.restored.wav"
    source.write_bytes(encode_mp3(make_music(1.0, channels=1), 44100, 8))
    assert soundfile.info(source).samplerate == 8000
    assert main(["restore", str(source), "--subtype", "float"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    said = ", at 44100 Hz: its own 8000 Hz have no room above 4 kHz"
    assert line.endswith(f"with {widener.name}{said}")
    restored, rate = soundfile.read(target, dtype="float32")
    assert (rate, len(restored)) == (44100, 44100)
    spectrum = np.abs(np.fft.rfft(restored * np.hanning(44100))) ** 2
    assert spectrum[5000:].sum() > 1e-4 * spectrum.sum()

    assert main(["restore", str(source), "--output-rate", "8000", "--overwrite"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("; 8000 Hz have no room above 4 kHz, 44100 Hz have for all")
    assert soundfile.info(target).samplerate == 8000

    rates = [({}, 44100), ({"sample_rate": None}, 44100), ({"sample_rate": 8000}, 8000)]
    for options, expected in rates:
        with caplog.at_level("INFO", "tfrestore"):
            assert tfrestore.restore_file(source, target, **options) is True
        assert soundfile.info(target).samplerate == expected
        assert "no room above 4 kHz" in caplog.text
        caplog.clear()


def test_a_waveform_keeps_its_rate_and_what_that_costs_is_logged(
    tmp_path, monkeypatch, caplog, stochastic_run
):
    ship_alone(monkeypatch, stochastic_run, tmp_path / "extender", bandwidth={"4": 1.0})
    # It ends within its rate, so that the preset has something to add there too.
    waveform = resample(resample(make_music(1.0, channels=1), 44100, 11025), 11025, 22050)
    with caplog.at_level("INFO", "tfrestore"):
        restored = tfrestore.restore(waveform, 22050)
    assert restored.shape == waveform.shape and np.abs(restored - waveform).max() > 1e-3
    assert "22050 Hz have no room above 11.025 kHz, 44100 Hz have for all" in caplog.text


def test_from_python_too(tmp_path, filler):
    waveform = make_music(1.5, RATE, 1)
    same = tfrestore.restore(waveform, RATE)
    np.testing.assert_array_equal(same, waveform)
    assert not np.shares_memory(same, waveform)
    assert tfrestore.restore(gapped(), RATE)[0, 19300:19700].any()
    source = write(tmp_path / "a.wav", waveform)
    assert tfrestore.restore_file(source, tmp_path / "b.wav") is False
    assert not (tmp_path / "b.wav").exists()
    assert tfrestore.restore_file(write(source, gapped()), tmp_path / "b.wav") is True
    assert (tmp_path / "b.wav").exists()


@pytest.mark.parametrize(
    ("waveform", "sample_rate", "said"),
    [
        (np.zeros(100, np.int16), RATE, "floats with full scale 1"),
        (np.full((1, 100), np.nan), RATE, "NaN or infinite"),
        (np.zeros((2, 1, 100)), RATE, "must have the shape"),
        (np.zeros((0, 100)), RATE, "must have the shape"),
        (np.zeros(100), 0, "positive whole number of hertz, not 0"),
        (np.zeros(100), "fast", "positive whole number of hertz, not fast"),
    ],
)
def test_what_is_no_recording_is_refused_before_a_preset_is_chosen(waveform, sample_rate, said):
    with pytest.raises((ValueError, UsageError), match=said):
        tfrestore.restore(waveform, sample_rate)


@settings(deadline=None, max_examples=20)
@given(strength=st.floats(0, 1))
def test_strength_mixes_in_proportion(strength):
    waveform = make_music(0.5, 44100, 2)
    whole = Brightener().restore(waveform, 44100)
    mixed = Brightener().restore(waveform, 44100, strength=strength)
    np.testing.assert_allclose(mixed, (1 - strength) * waveform + strength * whole, atol=1e-5)
    np.testing.assert_array_equal(Brightener().restore(waveform, 44100, strength=0.0), waveform)


@pytest.mark.parametrize("rate", [44100, 48000])
def test_what_is_below_a_frequency_can_be_kept(rate):
    waveform = make_music(1.0, rate, 1)
    kept = Brightener().restore(waveform, rate, keep_below=5000.0)
    assert kept.shape == waveform.shape
    change = np.abs(np.fft.rfft((kept - waveform)[0] * np.hanning(kept.shape[1])))
    hertz = np.fft.rfftfreq(kept.shape[1], 1 / rate)
    assert change[hertz < 4900].max() < 1e-3 * change.max()
    assert abs(hertz[change.argmax()] - 6000) < 5


@pytest.mark.parametrize(
    "options", [{"strength": -0.1}, {"strength": 1.1}, {"strength": float("nan")}]
    + [{"keep_below": 0.0}, {"keep_below": float("nan")}],
)  # fmt: skip
def test_what_cannot_be_mixed_is_refused(options):
    with pytest.raises(UsageError, match="give 0 to 1|more than 0"):
        Brightener().restore(np.zeros(100, np.float32), 44100, **options)
