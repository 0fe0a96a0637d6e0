import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.audio import mpeg_frames
from tfrestore.audio.mp3 import encode_mp3
from tfrestore.audio.reading import AudioReader, read

few = settings(deadline=None, max_examples=60)


def frames_of(sample_rate, channels, kbit_per_second, variable=False):
    """LAME's frames without the tag that encode_mp3 puts in front of them."""
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (channels, sample_rate)).astype(np.float32)
    data = encode_mp3(noise, sample_rate, kbit_per_second, variable)
    return data[mpeg_frames.parse_header(data[:4]).size :]


def test_a_header_is_read_as_the_standard_says():
    # MPEG-1 layer III, 128 kbit/s, 44.1 kHz, no padding, joint stereo: 144 * 128000 / 44100 bytes.
    header = mpeg_frames.parse_header(b"\xff\xfb\x90\x64")
    assert (header.kbit_per_second, header.sample_rate, header.channels) == (128, 44100, 2)
    assert (header.samples, header.size) == (1152, 417)
    assert mpeg_frames.parse_header(b"\xff\xfb\x92\x64").size == 418
    # MPEG-2, 16 kbit/s, 16 kHz, mono: 72 * 16000 / 16000 bytes.
    header = mpeg_frames.parse_header(b"\xff\xf3\x28\xc4")
    assert (header.kbit_per_second, header.sample_rate, header.channels) == (16, 16000, 1)
    assert (header.samples, header.size) == (576, 72)


@pytest.mark.parametrize(
    "word",
    [b"", b"\xff\xfb\x90", b"RIFF", b"\xff\xeb\x90\x64", b"\xff\xfd\x90\x64", b"\xff\xfb\x00\x64"]
    + [b"\xff\xfb\xf0\x64", b"\xff\xfb\x9c\x64"],
)
def test_what_is_no_header_is_none(word):
    assert mpeg_frames.parse_header(word) is None


@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize(
    ("sample_rate", "channels", "kbit"), [(44100, 2, 128), (44100, 1, 16), (8000, 1, 8)]
)
def test_the_frames_that_are_counted_are_those_that_decode(sample_rate, channels, kbit, variable):
    frames = frames_of(sample_rate, channels, kbit, variable)
    stream = mpeg_frames.scan(frames)
    tagged = mpeg_frames.length_tag(stream) + frames
    decoded, _ = soundfile.read(io.BytesIO(tagged), always_2d=True)
    # The decoder drops its own 529 samples of delay.
    assert len(decoded) == stream.frames * stream.first.samples - 529
    assert stream.first.channels == decoded.shape[1] == channels
    assert mpeg_frames.scan(tagged).tagged


def test_delay_and_padding_are_removed_by_the_decoder():
    frames = frames_of(44100, 1, 64)
    stream = mpeg_frames.scan(frames)
    plain, _ = soundfile.read(io.BytesIO(mpeg_frames.length_tag(stream) + frames))
    tag = mpeg_frames.length_tag(stream, delay=576, padding=1000)
    exact, _ = soundfile.read(io.BytesIO(tag + frames))
    assert len(exact) == stream.frames * 1152 - 1576
    np.testing.assert_allclose(exact, plain[576 : 576 + len(exact)], atol=1e-7)


@few
@given(front=st.binary(max_size=300), tail=st.binary(max_size=100))
def test_bytes_around_the_stream_do_not_hide_it(front, tail):
    # What may look like a header would make another stream of it.
    front, tail = front.replace(b"\xff", b"\0"), tail.replace(b"\xff", b"\0")
    frames = frames_of(44100, 1, 64)
    count = mpeg_frames.scan(frames).frames
    stream = mpeg_frames.scan(front + frames + tail)
    assert (stream.offset, stream.frames) == (len(front), count)
    half = len(frames) // 2
    assert abs(mpeg_frames.scan(frames[:half] + tail + frames[half:]).frames - count) <= 1


@few
@given(data=st.binary(max_size=2000))
def test_any_bytes_can_be_scanned(data):
    stream = mpeg_frames.scan(data)
    assert stream is None or stream.offset < len(data)


@pytest.mark.parametrize("seconds", [0.3, 4.0])
@pytest.mark.parametrize("tail", [b"", b"APETAGEX" + bytes(200_000), b"no music " * 20_000])
def test_the_bit_rate_is_that_of_the_frames_whatever_stands_around_them(seconds, tail):
    samples = int(44100 * seconds)
    noise = np.random.default_rng(0).normal(0, 0.1, (2, samples)).astype(np.float32)
    for kbit in (8, 64, 320):
        assert mpeg_frames.mean_bit_rate(encode_mp3(noise, 44100, kbit) + tail, seconds) == kbit


def test_the_bit_rate_of_frames_that_differ_is_their_mean():
    frames = [encode_mp3(np.zeros((2, 44100), np.float32), 44100, kbit) for kbit in (128, 320)]
    streams = [data[mpeg_frames.scan(data).first.size :] for data in frames]
    counts = [mpeg_frames.scan(stream).frames for stream in streams]
    assert counts[0] == counts[1]
    assert mpeg_frames.mean_bit_rate(b"".join(streams), 2.0) == 224


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("length", [900, 1500, 5000])
def test_what_stands_behind_damage_is_heard_too(tmp_path, length, tagged):
    path = tmp_path / "a.mp3"
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 3 * 44100)).astype(np.float32)
    data = encode_mp3(noise, 44100, 64)
    if not tagged:
        data = data[mpeg_frames.scan(data).first.size :]
    path.write_bytes(data)
    whole, _ = read(path)
    assert mpeg_frames.readable_stretches(data) == [(0, len(data))]
    begin = len(data) // 3
    damaged = data[:begin] + bytes(length) + data[begin + length :]
    path.write_bytes(damaged)
    stretches = mpeg_frames.readable_stretches(damaged)
    assert len(stretches) == (1 if length < 1000 else 2)
    with AudioReader(path) as reader:
        heard = np.concatenate(list(reader.blocks(1 << 15)), axis=1)
    # An MP3 without a tag is as long as its frames, and what a decoder skips by itself is not told.
    said = (
        f"{path} is damaged or cut off: {heard.shape[1] / 44100:.1f} s of 3.0 s could be decoded."
    )
    assert reader.warnings == ([said] if tagged or len(stretches) == 2 else [])
    # A frame of 64 kbit/s has 208 or 209 bytes; those that are hit in part may be lost too.
    lost = (whole.shape[1] - heard.shape[1]) / 1152
    assert length / 209 - 2 <= lost <= length / 208 + 2
    # What the tag says to cut off at the end, of less than two frames, is not where it counted.
    known, last = whole[0, -20000:-10000], heard[0, -20000 - 2 * 1152 : -10000]
    windows = np.lib.stride_tricks.sliding_window_view(last, len(known))
    assert np.abs(windows - known).max(axis=1).min() < 1e-6
    # What spans the place is read as from any file, by what is in front of it or by seeking.
    middle = heard.shape[1] // 3
    excerpt, _ = read(path, middle, 30000)
    np.testing.assert_allclose(excerpt[:, 5000:], heard[:, middle:][:, 5000:30000], atol=1e-3)


def test_a_file_that_ends_early_is_told_once_however_often_it_is_read(tmp_path, caplog):
    data = encode_mp3(np.zeros((1, 3 * 44100), np.float32), 44100, 64)
    path = tmp_path / "a.mp3"
    path.write_bytes(data[: len(data) // 2])
    for _ in range(2):
        with AudioReader(path) as reader:
            list(reader.blocks(44100))
        assert len(reader.warnings) == 1 and "s of 3.0 s could be decoded" in reader.warnings[0]
    assert caplog.messages == reader.warnings
