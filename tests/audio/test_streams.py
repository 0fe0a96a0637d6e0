import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.audio.streams import (
    StreamFormat,
    StreamWriter,
    read_blocks,
    read_wav_header,
    wav_header,
)
from tfrestore.errors import AudioFileError


def wav_of(subtype, form="WAV", channels=2, samples=1000):
    """A WAV as libsndfile writes it, and its samples."""
    waveform = np.random.default_rng(0).uniform(-0.9, 0.9, (samples, channels))
    file = io.BytesIO()
    soundfile.write(file, waveform, 22050, subtype, format=form)
    return file.getvalue(), soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")[0].T


def read_all(data):
    stream = io.BufferedReader(io.BytesIO(data))
    form = read_wav_header(stream)
    blocks = list(read_blocks(stream, form))
    return form, np.concatenate([np.zeros((form.channels, 0), np.float32), *blocks], axis=1)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64"])
def test_a_wav_is_read_as_libsndfile_reads_it(subtype, kind):
    data, expected = wav_of(subtype, kind)
    form, waveform = read_all(data)
    assert (form.sample_rate, form.channels, form.frames) == (22050, 2, 1000)
    np.testing.assert_allclose(waveform, expected, atol=1e-7)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000])
def test_a_size_that_was_not_known_is_read_to_the_end(size):
    data, expected = wav_of("PCM_16")
    place = data.index(b"data") + 4
    form, waveform = read_all(data[:place] + struct.pack("<I", size) + data[place + 4 :])
    assert form.frames is None
    np.testing.assert_array_equal(waveform, expected)


def test_chunks_around_the_samples_are_none_of_them():
    data, expected = wav_of("PCM_16")
    place = data.index(b"data")
    noted = data[:place] + b"LIST" + struct.pack("<I", 5) + b"abcde\0" + data[place:]
    form, waveform = read_all(noted + b"id3 " + struct.pack("<I", 4) + b"abcd")
    np.testing.assert_array_equal(waveform, expected)


@settings(deadline=None)
@given(st.data())
def test_any_beginning_of_a_wav_is_read_or_refused_in_a_sentence(data):
    whole, expected = wav_of("PCM_24", samples=20)
    cut = data.draw(st.integers(0, len(whole)))
    for place in data.draw(st.lists(st.integers(0, 43), max_size=3)):
        changed = bytes([data.draw(st.integers(0, 255))])
        whole = whole[:place] + changed + whole[place + 1 :]
    try:
        read_all(whole[:cut])
    except AudioFileError as error:
        assert str(error).startswith("standard input: ")


def test_what_is_no_wav_is_refused():
    def expect(words, data):
        with pytest.raises(AudioFileError, match=words):
            read_all(data)

    expect("--raw", b"")
    expect("--raw", b"fLaC" + bytes(100))
    expect("--raw", b"RIFX" + bytes(4) + b"WAVE")
    expect("cut short", wav_of("PCM_16")[0][:30])
    expect("format 7", wav_of("ULAW")[0])
    expect("contradicts", wav_of("PCM_16")[0].replace(b"\x04\0\x10\0data", b"\x05\0\x10\0data"))


class Pipe(io.RawIOBase):
    """Gives what a slow program writes: so many bytes at a time."""

    def __init__(self, data, size):
        self._data, self._size = io.BytesIO(data), size

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self._data.read(min(len(buffer), self._size))
        buffer[: len(data)] = data
        return len(data)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_samples_are_given_as_soon_as_they_come(size):
    data, expected = wav_of("PCM_24", samples=50)
    stream = io.BufferedReader(Pipe(data, size))
    form = read_wav_header(stream)
    blocks = list(read_blocks(stream, form))
    assert len(blocks) >= min(50, 300 // size - 8)
    np.testing.assert_allclose(np.concatenate(blocks, axis=1), expected, atol=1e-7)


def test_a_stream_that_ends_within_a_sample_ends_before_it():
    form = StreamFormat(8000, 2, "s16le")
    (block,) = read_blocks(io.BufferedReader(io.BytesIO(bytes(4 * 5 + 3))), form)
    assert block.shape == (2, 5)


@pytest.mark.parametrize("encoding", ["s16le", "s24le", "f32le", "f64le"])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("can_correct", [True, False])
def test_a_wav_that_was_streamed_is_read_by_libsndfile(encoding, known, can_correct):
    waveform = np.random.default_rng(0).uniform(-0.9, 0.9, (1, 333)).astype(np.float32)
    file = io.BytesIO(b"before")
    file.seek(6)
    form = StreamFormat(48000, 1, encoding, is_wav=True, frames=333 if known else None)
    writer = StreamWriter(file, form, can_correct)
    writer.write(waveform[:, :100])
    writer.write(waveform[:, 100:])
    writer.finish()
    data = file.getvalue()[6:]
    read, sample_rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert sample_rate == 48000
    np.testing.assert_allclose(read, waveform[0], atol=2**-15)
    if known or can_correct:
        assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
        assert read_wav_header(io.BytesIO(data)).frames == 333
    else:
        assert read_wav_header(io.BytesIO(data)).frames is None


def test_raw_samples_have_nothing_around_them():
    file = io.BytesIO()
    writer = StreamWriter(file, StreamFormat(48000, 1, "s16le"), can_correct=True)
    writer.write(np.array([[0.5, 2.0]], np.float32))
    writer.finish()
    assert file.getvalue() == b"\x00\x40\xff\x7f"
    assert (writer.frames, writer.clipped_samples) == (2, 1)
    with pytest.raises(AudioFileError, match="no number"):
        writer.write(np.array([[np.nan]], np.float32))


def test_a_wav_too_long_for_its_header_says_so():
    form = StreamFormat(48000, 2, "s16le", is_wav=True, frames=2**31)
    assert read_wav_header(io.BytesIO(wav_header(form))).frames is None
