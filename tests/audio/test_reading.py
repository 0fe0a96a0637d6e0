import logging
import os

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfrestore.audio import writing
from tfrestore.audio.library_streams import LibraryStream
from tfrestore.audio.mp3 import encode_mp3
from tfrestore.audio.reading import AUDIO_SUFFIXES, AudioReader, read, read_info
from tfrestore.audio.writing import AudioWriter, writable_subtypes, write
from tfrestore.errors import AudioFileError

few = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LOSSLESS = [
    (".wav", "16"),
    (".wav", "24"),
    (".wav", "32"),
    (".wav", "float"),
    (".flac", "16"),
    (".flac", "24"),
    (".aiff", "16"),
    (".aif", "24"),
    (".aiff", "float"),
]
LOSSY = [(".ogg", "vorbis"), (".oga", "opus"), (".opus", "opus"), (".mp3", "mp3")]


def music(channels, samples, seed=0):
    """Smoothed noise within full scale, so that lossy formats keep its shape."""
    noise = np.random.default_rng(seed).standard_normal((channels, samples + 30))
    smooth = np.stack([np.convolve(row, np.hanning(31), mode="valid") for row in noise])
    return (0.9 * smooth / np.abs(smooth).max()).astype(np.float32)


# ------------------------------------------------------------------ what goes in comes out


@pytest.mark.parametrize(("suffix", "subtype"), LOSSLESS)
@pytest.mark.parametrize(("channels", "samples"), [(1, 1), (2, 70_001), (8, 300)])
@pytest.mark.parametrize("sample_rate", [8000, 44100, 192000])
def test_a_lossless_file_gives_back_the_nearest_step(
    tmp_path, suffix, subtype, channels, samples, sample_rate
):
    waveform = music(channels, samples)
    path = tmp_path / f"a{suffix}"
    assert write(path, waveform, sample_rate, subtype) == 0
    out, rate = read(path)
    assert rate == sample_rate and out.dtype == np.float32 and out.shape == waveform.shape
    scale = 2.0 ** (int(subtype) - 1) if subtype != "float" else None
    expected = waveform if scale is None else np.rint(waveform.astype(float) * scale) / scale
    np.testing.assert_array_equal(out, expected.astype(np.float32))
    info = read_info(path)
    assert (info.sample_rate, info.channels, info.frames) == (sample_rate, channels, samples)
    assert info.duration == samples / sample_rate
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(("suffix", "subtype"), [(".wav", "16"), (".flac", "24"), (".aiff", "16")])
def test_copying_a_file_changes_no_sample(tmp_path, suffix, subtype):
    bits = int(subtype)
    extremes = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 0, 1, -1])
    steps = np.concatenate([extremes, np.arange(-3000, 3000) * 2 ** (bits - 13)])
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    integers = (steps << (32 - bits)).astype(np.int32)
    soundfile.write(first, integers, 44100, subtype=f"PCM_{bits}")
    waveform, sample_rate = read(first)
    write(second, waveform, sample_rate, subtype)
    np.testing.assert_array_equal(soundfile.read(second, dtype="int32")[0], integers)


@pytest.mark.parametrize(("suffix", "subtype"), LOSSY)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [1, 48_001])
def test_a_lossy_file_has_the_length_and_sounds_alike(tmp_path, suffix, subtype, channels, samples):
    waveform = music(channels, samples)
    path = tmp_path / f"a{suffix}"
    write(path, waveform, 48000, subtype)
    out, rate = read(path)
    assert rate == 48000 and out.shape == waveform.shape
    if samples > 1:
        assert np.corrcoef(out.ravel(), waveform.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("sample_rate", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100])
def test_an_mp3_keeps_its_sample_rate(tmp_path, sample_rate):
    write(tmp_path / "a.mp3", music(2, 5000), sample_rate)
    info = read_info(tmp_path / "a.mp3")
    assert (info.sample_rate, info.channels, info.frames) == (sample_rate, 2, 5000)


@pytest.mark.parametrize(("suffix", "subtype"), [(".wav", "24"), (".flac", "16"), *LOSSY])
def test_an_excerpt_is_what_stands_there_in_the_whole(tmp_path, suffix, subtype):
    path = tmp_path / f"a{suffix}"
    write(path, music(2, 150_000), 48000, subtype)
    whole, _ = read(path)
    for start, frames in [(0, 1), (0, 100), (50_000, 4000), (149_999, 1), (149_000, 5000)]:
        out, _ = read(path, start, frames)
        np.testing.assert_allclose(out, whole[:, start : start + frames], atol=2e-6)
    assert read(path, 150_000)[0].shape == (2, 0)


def test_an_excerpt_is_not_reached_by_decoding_what_is_before_it(tmp_path, monkeypatch):
    path = tmp_path / "a.flac"
    write(path, music(1, 200_000), 44100)
    decoded = []
    original = LibraryStream.read

    def counting(self, frames, **arguments):
        decoded.append(frames)
        return original(self, frames, **arguments)

    monkeypatch.setattr(LibraryStream, "read", counting)
    read(path, 180_000, 500)
    assert sum(decoded) == 500


@few
@given(
    block_frames=st.integers(1, 3000),
    start=st.integers(0, 2500),
    frames=st.one_of(st.none(), st.integers(0, 3000)),
)
def test_blocks_joined_are_the_excerpt(tmp_path, block_frames, start, frames):
    path = tmp_path / "a.flac"
    if not path.exists():
        write(path, music(2, 2500), 44100)
    end = None if frames is None else start + frames
    with AudioReader(path) as reader:
        blocks = list(reader.blocks(block_frames, start, frames))
    assert all(block.shape[1] == block_frames for block in blocks[:-1])
    joined = np.concatenate([np.zeros((2, 0), np.float32), *blocks], axis=1)
    np.testing.assert_array_equal(joined, read(path)[0][:, start:end])


def test_a_reader_can_be_asked_for_blocks_twice(tmp_path):
    for suffix in (".ogg", ".mp3", ".flac"):
        write(tmp_path / f"a{suffix}", music(2, 60_000), 44100)
        with AudioReader(tmp_path / f"a{suffix}") as reader:
            first = np.concatenate(list(reader.blocks(1000)), axis=1)
            second = np.concatenate(list(reader.blocks(7777)), axis=1)
            part = np.concatenate(list(reader.blocks(500, 30_000, 2000)), axis=1)
        np.testing.assert_allclose(second, first, atol=2e-6)
        np.testing.assert_allclose(part, first[:, 30_000:32_000], atol=2e-6)


@few
@given(sizes=st.lists(st.integers(0, 500), min_size=1, max_size=6))
def test_the_file_does_not_depend_on_the_blocks_that_are_written(tmp_path, sizes):
    waveform = music(2, sum(sizes))
    path = tmp_path / "a.wav"
    with AudioWriter(path, 44100, 2, "float") as writer:
        position = 0
        for size in sizes:
            writer.write(waveform[:, position : position + size])
            position += size
    if position:
        np.testing.assert_array_equal(read(path)[0], waveform)


def test_every_suffix_that_can_be_written_can_be_read():
    written = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"}
    assert written <= AUDIO_SUFFIXES
    for suffix in written:
        assert writable_subtypes(suffix)


# ------------------------------------------------------------------ files that are not well


def complaint(path):
    with pytest.raises(AudioFileError) as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(AudioFileError):
        read_info(path)
    return str(caught.value)


def test_each_kind_of_unusable_file_has_its_sentence(tmp_path):
    assert "does not exist; check the name" in complaint(tmp_path / "none.wav")
    assert "is a folder; name a file" in complaint(tmp_path)
    for name in ("text.wav", "text.mp3", "text.flac", "text.ogg", "text.raw", "text"):
        (tmp_path / name).write_text("This is not music.\n" * 500)
        assert "is not audio in a format that can be read" in complaint(tmp_path / name)
    (tmp_path / "empty.mp3").write_bytes(b"")
    assert "is empty (0 bytes)" in complaint(tmp_path / "empty.mp3")
    soundfile.write(tmp_path / "nothing.wav", np.zeros((0, 2)), 44100)
    assert "holds no samples" in complaint(tmp_path / "nothing.wav")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.wav")
        assert "is not a regular file" in complaint(tmp_path / "pipe.wav")


def test_a_file_without_read_permission_is_said(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    write(path, music(1, 10), 44100)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    assert "cannot be opened (Permission denied); check its permissions" in complaint(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_a_number_is_said_with_its_time(tmp_path, value):
    waveform = music(2, 44100)
    waveform[1, 11025] = waveform[0, 30_000] = value
    soundfile.write(tmp_path / "a.wav", waveform.T, 44100, subtype="FLOAT")
    for start in (0, 5000):
        with pytest.raises(AudioFileError, match=r"a\.wav holds a sample .* at 0\.250 s"):
            read(tmp_path / "a.wav", start)
    assert read(tmp_path / "a.wav", 0, 11025)[0].shape == (2, 11025)


def test_an_excerpt_behind_the_end_is_said(tmp_path):
    write(tmp_path / "a.wav", music(1, 44100), 44100)
    with pytest.raises(AudioFileError, match=r"ends at 1\.000 s; .* from 2\.000 s on"):
        read(tmp_path / "a.wav", 88200)


@pytest.mark.parametrize(("suffix", "subtype"), [(".wav", "16"), (".aiff", "24"), (".flac", "16")])
def test_a_file_that_is_cut_off_gives_what_decodes_and_a_warning(tmp_path, caplog, suffix, subtype):
    path = tmp_path / f"a{suffix}"
    write(path, music(2, 88_200), 44100, subtype)
    whole, _ = read(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with caplog.at_level(logging.WARNING, "tfrestore.audio"), AudioReader(path) as reader:
        out = np.concatenate(list(reader.blocks(3000)), axis=1)
    assert 30_000 < out.shape[1] < 60_000
    np.testing.assert_array_equal(out, whole[:, : out.shape[1]])
    message = (
        f"{path} is damaged or cut off: {out.shape[1] / 44100:.1f} s of 2.0 s could be decoded."
    )
    assert reader.warnings == [message]
    assert [record.getMessage() for record in caplog.records] == [message]


def test_an_intact_file_has_no_warnings(tmp_path, caplog):
    for suffix in writing._WRITABLE:
        path = tmp_path / f"a{suffix}"
        write(path, music(2, 40_000), 48000)
        with AudioReader(path) as reader:
            assert sum(block.shape[1] for block in reader.blocks(999)) == 40_000
            assert reader.warnings == []
    assert caplog.records == []


def test_a_truncated_mp3_gives_what_decodes_and_says_so(tmp_path, caplog):
    path = tmp_path / "a.mp3"
    write(path, music(2, 88_200), 44100)
    whole, _ = read(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with caplog.at_level(logging.WARNING, "tfrestore.audio"):
        out, _ = read(path)
    assert 40_000 < out.shape[1] < 46_000
    np.testing.assert_allclose(out, whole[:, : out.shape[1]], atol=1e-6)
    assert "is damaged or cut off: 1.0 s of 2.0 s could be decoded" in caplog.text


def test_an_mp3_with_variable_bit_rate_and_without_a_length_tag_is_read_to_its_end(
    tmp_path, caplog
):
    # Loud, then quiet: by its first frame's bit rate the file would seem to be shorter than it is.
    waveform = music(1, 200_000)
    waveform[:, 60_000:] *= 0.001
    data = encode_mp3(waveform, 44100, 128, variable_bit_rate=True)
    tag = data.index(b"\xff\xfb", 4)
    for front in (b"", b"ID3\x03\x00\x00\x00\x00\x01\x00" + bytes(128), bytes(200)):
        path = tmp_path / "a.mp3"
        path.write_bytes(front + data[tag:])
        out, _ = read(path)
        assert read_info(path).frames == out.shape[1] >= 200_000
        # Without the tag the encoder's delay stays.
        np.testing.assert_allclose(out[0, 576 : 576 + 60_000], waveform[0, :60_000], atol=0.1)
        part, _ = read(path, 150_000, 1000)
        np.testing.assert_allclose(part, out[:, 150_000:151_000], atol=1e-6)
    assert caplog.records == []


def whole_or_complaint(path):
    """What a user may see of any file: a waveform or one line; never another exception."""
    try:
        waveform, sample_rate = read(path)
    except AudioFileError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return None
    assert waveform.ndim == 2 and waveform.shape[1] >= 1 and sample_rate >= 1
    assert waveform.dtype == np.float32 and np.isfinite(waveform).all()
    return waveform


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("intact")
    data = {}
    for name, sample_rate in [
        ("a.mp3", 44100),
        ("a.flac", 44100),
        ("a.wav", 44100),
        ("a.ogg", 44100),
        ("a.opus", 48000),
        ("a.aiff", 44100),
    ]:
        write(folder / name, music(2, 30_000), sample_rate)
        data[name] = ((folder / name).read_bytes(), read(folder / name)[0])
    vbr = encode_mp3(music(2, 30_000), 44100, 96, variable_bit_rate=True)
    (folder / "untagged.mp3").write_bytes(vbr[vbr.index(b"\xff\xfb", 4) :])
    data["untagged.mp3"] = (
        (folder / "untagged.mp3").read_bytes(),
        read(folder / "untagged.mp3")[0],
    )
    return data


NAMES = ["a.mp3", "untagged.mp3", "a.flac", "a.wav", "a.ogg", "a.opus", "a.aiff"]


@settings(few, max_examples=150)
@given(name=st.sampled_from(NAMES), position=st.floats(0, 1))
def test_a_file_cut_at_any_byte_gives_its_beginning_or_one_sentence(
    tmp_path, intact, name, position
):
    data, whole = intact[name]
    (tmp_path / name).write_bytes(data[: int(position * len(data))])
    out = whole_or_complaint(tmp_path / name)
    if out is not None:
        assert out.shape[1] <= whole.shape[1]
        # The last block of a lossy format lacks the neighbour that it overlaps with.
        sure = max(0, out.shape[1] - 2304)
        np.testing.assert_allclose(out[:, :sure], whole[:, :sure], atol=1e-6)


@settings(few, max_examples=150)
@given(
    name=st.sampled_from(NAMES),
    position=st.floats(0, 1),
    damage=st.binary(min_size=1, max_size=64),
)
def test_a_damaged_file_gives_a_waveform_or_one_sentence(tmp_path, intact, name, position, damage):
    data = bytearray(intact[name][0])
    start = int(position * (len(data) - 1))
    data[start : start + len(damage)] = damage
    (tmp_path / name).write_bytes(data)
    whole_or_complaint(tmp_path / name)


@settings(few, max_examples=100)
@given(
    name=st.sampled_from(["a.wav", "a.mp3", "a.flac", "a.ogg", "a.aiff", "a.au", "a.xyz", "a.raw"]),
    head=st.sampled_from(
        [b"", b"RIFF\x24\0\0\0WAVEfmt ", b"ID3", b"\xff\xfb\x90\x64", b"fLaC", b"OggS", b"FORM"]
    ),
    data=st.binary(min_size=1, max_size=2000),
)
def test_random_bytes_give_a_waveform_or_one_sentence(tmp_path, name, head, data):
    (tmp_path / name).write_bytes(head + data)
    whole_or_complaint(tmp_path / name)


def test_a_flac_that_does_not_say_its_length_is_read_to_its_end(tmp_path):
    path = tmp_path / "a.flac"
    write(path, music(2, 20_000), 44100)
    whole, _ = read(path)
    data = bytearray(path.read_bytes())
    # STREAMINFO's 36 bits of "total samples", zero for unknown.
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert read_info(path).frames == 20_000
    np.testing.assert_array_equal(read(path)[0], whole)
    np.testing.assert_array_equal(read(path, 15_000, 100)[0], whole[:, 15_000:15_100])


def test_names_that_are_not_ascii_or_not_utf8_work(tmp_path):
    for name in ("Übung ☂.wav", os.fsdecode(b"caf\xe9.flac") if os.name == "posix" else "a.flac"):
        write(tmp_path / name, music(1, 100), 44100)
        assert read(tmp_path / name)[0].shape == (1, 100)
