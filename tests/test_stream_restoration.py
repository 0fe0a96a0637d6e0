"""restore --stream, as it is used in pipes."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tfrestore.models import Apollo
from tfrestore.models.apollo.restorer import ApolloRestorer
from tfrestore.restore import main
from tfrestore.restorer import Restorer

RATE = 44100


@pytest.fixture(scope="module")
def causal_run(tmp_path_factory):
    """A preset folder with a small causal network."""
    folder = tmp_path_factory.mktemp("runs") / "causal"
    network = Apollo(features=8, depth=1, heads=2, bands=20, causal=True)
    ApolloRestorer(network).save_to_preset(folder)
    return folder


@pytest.fixture(scope="module")
def song():
    """Half a second of stereo, as 16-bit samples hold it."""
    rng = np.random.default_rng(0)
    return np.round(rng.uniform(-0.5, 0.5, (2, RATE // 2)) * 2**15).astype(np.float32) / 2**15


@pytest.fixture(scope="module")
def expected(causal_run, song):
    return Restorer.from_preset(causal_run).restore(song, RATE)


def wav(waveform, subtype="PCM_16", sample_rate=RATE):
    file = io.BytesIO()
    soundfile.write(file, waveform.T, sample_rate, subtype, format="WAV")
    return file.getvalue()


@pytest.fixture
def run(monkeypatch, capfd):
    """Runs the command with bytes on standard input; gives code, output and messages."""

    def run(data, *arguments, sink=None):
        # A buffered reader of bytes gives all of them at once, as a fast program does.
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        output = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", sink or io.TextIOWrapper(output))
        code = main(["--stream", *map(str, arguments)])
        return code, output.getvalue(), capfd.readouterr().err

    return run


def test_a_wav_comes_out_as_a_wav_like_the_one_that_went_in(run, song, expected, causal_run):
    code, output, messages = run(wav(song), "--preset", causal_run)
    assert code == 0
    assert "2 channels at 44100 Hz, 20 ms behind" in messages
    assert "ended after 0.50 s" in messages
    restored, sample_rate = soundfile.read(io.BytesIO(output))
    assert sample_rate == RATE
    np.testing.assert_allclose(restored.T, expected, atol=2**-15)
    assert soundfile.info(io.BytesIO(output)).subtype == "PCM_16"


def test_raw_samples_come_out_as_raw_samples(run, song, expected, causal_run):
    raw = song.T.astype("<f4").tobytes()
    options = ["--raw", "f32le", "--sample-rate", RATE, "--channels", 2, "--preset", causal_run]
    code, output, _ = run(raw, *options)
    assert code == 0
    restored = np.frombuffer(output, "<f4").reshape(-1, 2).T
    np.testing.assert_allclose(restored, expected, atol=1e-6)
    _, output, _ = run(raw, *options, "--subtype", "16", "-")
    assert len(output) == len(raw) // 2


def test_input_that_ends_midway_is_finished_and_said(run, song, causal_run):
    whole = wav(song)
    code, output, messages = run(whole[: 44 + 4 * 5000 + 3], "--preset", causal_run)
    assert code == 0
    assert "ended after 0.11 of 0.50 s; all of that is restored" in messages
    assert len(output) >= 44 + 4 * 5000
    restored = Restorer.from_preset(causal_run).restore(song[:, :5000], RATE)
    steps = np.frombuffer(output[44 : 44 + 4 * 5000], "<i2").reshape(-1, 2).T
    np.testing.assert_allclose(steps / 2**15, restored, atol=2**-15)
    code, output, messages = run(b"", *raw_options("s16le"), "--preset", causal_run)
    assert (code, output) == (0, b"") and "ended after 0.00 s" in messages


def raw_options(encoding):
    return ["--raw", encoding, "--sample-rate", RATE, "--channels", 1]


def test_any_rate_and_any_model_stream(run, song, causal_run, identity_run):
    code, output, messages = run(wav(song, sample_rate=32000), "--preset", causal_run)
    assert code == 0 and " 90 ms behind" in messages
    assert len(output) == len(wav(song))
    chunks = ["--chunk-seconds", "600"]
    code, output, messages = run(wav(song), "--preset", identity_run, *chunks)
    assert code == 0 and " s behind (a causal model" in messages
    np.testing.assert_allclose(soundfile.read(io.BytesIO(output))[0].T, song, atol=1e-3)


def test_samples_that_are_no_numbers_are_taken_for_silence(run, causal_run):
    samples = np.full(2000, 0.1, "<f4")
    samples[500:510] = np.nan
    code, output, messages = run(samples.tobytes(), *raw_options("f32le"), "--preset", causal_run)
    assert code == 0 and "10 samples were no finite numbers" in messages
    samples[500:510] = 0
    restored = Restorer.from_preset(causal_run).restore(samples, RATE)
    np.testing.assert_allclose(np.frombuffer(output, "<f4"), restored, atol=1e-6)


def test_a_file_gets_a_header_that_is_true(run, song, causal_run, tmp_path):
    unknown = bytearray(wav(song))
    unknown[40:44] = b"\xff\xff\xff\xff"
    path = tmp_path / "restored.wav"
    with open(path, "w") as sink:
        assert run(bytes(unknown), "--preset", causal_run, sink=sink)[0] == 0
    assert path.stat().st_size == len(unknown)
    assert path.read_bytes()[40:44] == wav(song)[40:44]


def test_a_reader_that_has_gone_ends_it_quietly(run, song, causal_run):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as sink:
        code, _, messages = run(wav(song), "--preset", causal_run, sink=sink)
    assert code == 1
    assert "Traceback" not in messages and "Broken" not in messages


def test_misuse_is_told_in_a_line(run, causal_run, capfd, tmp_path):
    def expect(code, words, *arguments, data=b""):
        result, output, messages = run(data, "--preset", causal_run, *arguments)
        assert (result, output) == (code, b"")
        assert words in messages and len(messages.strip().splitlines()) == 1

    expect(1, "no WAV; say what raw samples are")
    expect(1, "no WAV", data=b"ID3 is no WAV")
    expect(2, "leave out song.mp3", "song.mp3")
    expect(2, "--output: is for files", "-o", "a.wav")
    expect(2, "--candidates: is for files", "--candidates", "3")
    expect(2, "--raw: raw samples do not say what they are; give --sample-rate", "--raw", "s16le")
    expect(2, "--channels: a WAV says that itself", "--channels", "2")
    expect(2, "'1e9' is no number of seconds up to 600", "--chunk-seconds", "1e9")
    expect(2, "fills no gaps", "--gap", "0.1-0.2", data=wav(np.zeros((1, 100))))
    assert main(["a.wav", "--preset", str(causal_run), "--raw", "s16le"]) == 2
    assert "add --stream" in capfd.readouterr().err
    assert main(["--preset", str(causal_run)]) == 2
    assert "name the files to restore" in capfd.readouterr().err


def test_sound_comes_out_while_it_goes_in(song, expected, causal_run):
    command = [sys.executable, "-m", "tfrestore.restore", "--stream", "--preset", str(causal_run)]
    raw = ["--raw", "f32le", "--sample-rate", str(RATE), "--channels", "2"]
    with subprocess.Popen(
        command + raw, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        frames = song.T.astype("<f4")
        process.stdin.write(frames[:10000].tobytes())
        process.stdin.flush()
        # All but a window; the input stays open.
        early = process.stdout.read((10000 - 882) // 441 * 441 * 8)
        np.testing.assert_allclose(
            np.frombuffer(early, "<f4").reshape(-1, 2).T, expected[:, : len(early) // 8], atol=1e-6
        )
        process.stdin.write(frames[10000:].tobytes())
        process.stdin.close()
        late = process.stdout.read()
        assert process.wait() == 0
    assert len(early) + len(late) == frames.nbytes
