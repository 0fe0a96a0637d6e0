import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.audio.test_reading import few, music
from tfrestore.audio import writing
from tfrestore.audio.reading import read, read_info
from tfrestore.audio.writing import AudioWriter, writable_subtypes, write
from tfrestore.errors import AudioFileError, UsageError


def hidden(folder):
    return [name for name in os.listdir(folder) if name.startswith(".")]


# ------------------------------------------------------------------ clipping


@pytest.mark.parametrize(
    ("suffix", "subtype"), [(".wav", "16"), (".wav", "32"), (".flac", "24"), (".mp3", "mp3")]
)
def test_beyond_full_scale_is_clipped_and_counted(tmp_path, suffix, subtype):
    waveform = music(2, 5000)
    waveform[0, 100:103] = [1.5, -3.0, 1e30]
    waveform[1, 7] = -1.0
    with AudioWriter(tmp_path / f"a{suffix}", 44100, 2, subtype) as writer:
        writer.write(waveform)
    assert writer.clipped_samples == 3
    if suffix != ".mp3":
        out, _ = read(tmp_path / f"a{suffix}")
        np.testing.assert_allclose(out[0, 100:103], [1, -1, 1], atol=2.0**-15)
        assert out[1, 7] == -1


def test_a_file_of_floats_keeps_what_is_beyond_full_scale(tmp_path):
    waveform = np.array([[0.5, 2.5, -7.0]], np.float32)
    assert write(tmp_path / "a.wav", waveform, 44100, "float") == 0
    np.testing.assert_array_equal(read(tmp_path / "a.wav")[0], waveform)


# ------------------------------------------------------------------ complete or not at all


def test_nothing_appears_before_the_end_and_the_old_file_stays_until_then(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    with AudioWriter(path, 44100, 1) as writer:
        writer.write(music(1, 1000))
        assert path.read_bytes() == b"old"
        assert len(hidden(tmp_path)) == 1
    assert read_info(path).frames == 1000
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_file_leaves_nothing(tmp_path, error):
    with pytest.raises(error), AudioWriter(tmp_path / "a.flac", 44100, 1) as writer:
        writer.write(music(1, 1000))
        raise error
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_a_number_is_not_written(tmp_path, value):
    waveform = music(2, 44100)
    waveform[1, 22050] = value
    with pytest.raises(
        AudioFileError, match=r"a\.wav is not written: .* at 0\.500 s is not a finite"
    ):
        write(tmp_path / "a.wav", waveform, 44100)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_missing_or_in_the_way_is_said(tmp_path):
    with pytest.raises(AudioFileError, match="could not be written .No such file"):
        write(tmp_path / "none" / "a.wav", music(1, 10), 44100)
    (tmp_path / "b.wav").mkdir()
    with pytest.raises(AudioFileError, match="is a folder; name the file"):
        write(tmp_path / "b.wav", music(1, 10), 44100)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, suffix):
    # A limit on the size of files stands for the full disk: writes fail the same way.
    script = f"""
    import resource, signal
    import numpy as np
    from tfrestore.audio.writing import write
    from tfrestore.errors import AudioFileError
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 96000)).astype(np.float32)
    for limit in (0, 100, 9000, 20000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            write({str(tmp_path / ("a" + suffix))!r}, noise, 48000)
        except AudioFileError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stdout + done.stderr
    assert all("could not be written (" in line and f"a{suffix}" in line for line in lines)
    assert os.listdir(tmp_path) == []


def test_a_new_file_has_the_permissions_that_new_files_have(tmp_path):
    write(tmp_path / "a.wav", music(1, 10), 44100)
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a.wav").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("subtype", ["16", "float"])
@pytest.mark.parametrize("announced", [False, True])
def test_a_wav_that_outgrows_its_size_field_becomes_an_rf64(
    tmp_path, monkeypatch, subtype, announced
):
    monkeypatch.setattr(writing, "_LARGEST_32_BIT_FILE", 50_000)
    waveform = music(2, 30_000)
    path = tmp_path / "a.wav"
    with AudioWriter(path, 44100, 2, subtype, frames=30_000 if announced else None) as writer:
        for start in range(0, 30_000, 1000):
            writer.write(waveform[:, start : start + 1000])
            assert len(hidden(tmp_path)) == 1
    assert path.read_bytes()[:4] == b"RF64"
    assert os.listdir(tmp_path) == ["a.wav"]
    np.testing.assert_allclose(read(path)[0], waveform, atol=2.0**-16)
    assert read_info(path).format == "WAV"
    with pytest.raises(AudioFileError, match="AIFF ends at 4 GiB"):
        write(tmp_path / "a.aiff", waveform, 44100, subtype)
    write(path, waveform[:, :1000], 44100, subtype)
    assert path.read_bytes()[:4] == b"RIFF"


# ------------------------------------------------------------------ what a format cannot hold


@pytest.mark.parametrize(
    ("name", "sample_rate", "channels", "subtype", "message"),
    [
        ("a.flac", 44100, 2, "float", r"as 'float': \.flac holds 24, 16\."),
        ("a.wav", 44100, 2, "vorbis", r"\.wav holds 24, 16, 32, float\."),
        ("a.xyz", 44100, 2, None, r"one of \.wav, \.flac, "),
        ("a", 44100, 2, None, r"one of \.wav, \.flac, "),
        ("a.opus", 44100, 2, None, r"8000, 12000, 16000, 24000, 48000 Hz; resample"),
        ("a.mp3", 96000, 2, None, r"with 96000 Hz: .* 44100, 48000 Hz; resample"),
        ("a.mp3", 44100, 3, None, r"3 channels: \.mp3 holds 1 to 2; choose WAV"),
        ("a.flac", 44100, 9, None, r"9 channels: \.flac holds 1 to 8"),
        ("a.ogg", 384000, 2, None, r"holds 8000 to 192000 Hz"),
        ("a.flac", 65_536, 2, None, r"1 to 65535, 65540 to 655350 in steps of 10 Hz; resample"),
        ("a.wav", 0, 2, None, "with 0 Hz"),
        ("a.wav", 44100, 0, None, "with 0 channels"),
    ],
)
def test_what_a_format_cannot_hold_is_said_before_anything_is_written(
    tmp_path, name, sample_rate, channels, subtype, message
):
    with pytest.raises(UsageError, match=message) as caught:
        AudioWriter(tmp_path / name, sample_rate, channels, subtype)
    assert name in str(caught.value) and "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


@few
@given(
    suffix=st.sampled_from(sorted(writing._WRITABLE)),
    sample_rate=st.integers(1, 700_000) | st.sampled_from([8000, 44100, 48000, 96000, 192000]),
    channels=st.integers(1, 12),
)
def test_what_the_checks_let_through_can_be_written(tmp_path, suffix, sample_rate, channels):
    path = tmp_path / f"a{suffix}"
    for subtype in writable_subtypes(path):
        try:
            AudioWriter(path, sample_rate, channels, subtype)
        except UsageError:
            continue
        write(path, music(channels, 100), sample_rate, subtype)
        info = read_info(path)
        assert (info.sample_rate, info.channels, info.frames) == (sample_rate, channels, 100)


def test_the_writer_refuses_other_channels(tmp_path):
    with pytest.raises(ValueError, match=r"shape \(2, samples\), received \(1, 10\)"):
        with AudioWriter(tmp_path / "a.wav", 44100, 2) as writer:
            writer.write(music(1, 10))
    assert os.listdir(tmp_path) == []
