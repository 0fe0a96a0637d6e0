import logging

import numpy as np
import pytest
import soundfile

from tfrestore.audio.reading import read

tf = pytest.importorskip("tensorflow")

from tfrestore.audio import tf_decoding  # noqa: E402
from tfrestore.audio.tf_decoding import decode_excerpt, tensorflow_io_available  # noqa: E402

LSB = 2.0**-15
needs_tensorflow_io = pytest.mark.skipif(
    not tensorflow_io_available(), reason="tensorflow-io does not load here"
)
DECODERS = [False, pytest.param(True, marks=needs_tensorflow_io)]
KINDS = [
    ("a.wav", "PCM_16", "WAV"),
    ("a.wav", "PCM_24", "WAV"),
    ("a.wav", "PCM_24", "WAVEX"),
    ("a.wav", "PCM_32", "WAV"),
    ("a.wav", "PCM_U8", "WAV"),
    ("a.wav", "FLOAT", "WAV"),
    ("a.wav", "PCM_16", "RF64"),
    ("a.flac", "PCM_16", "FLAC"),
    ("a.flac", "PCM_24", "FLAC"),
    ("a.ogg", "VORBIS", "OGG"),
    ("a.opus", "OPUS", "OGG"),
    ("a.mp3", "MPEG_LAYER_III", "MP3"),
    ("a.aiff", "PCM_16", "AIFF"),
]


def make(path, channels, subtype, container, samples=40_000):
    noise = np.random.default_rng(0).uniform(-0.9, 0.9, (samples, channels))
    soundfile.write(path, noise, 48000, subtype=subtype, format=container)
    return str(path)


@pytest.mark.parametrize("use_tensorflow_io", DECODERS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("name", "subtype", "container"), KINDS)
def test_an_excerpt_in_a_graph_is_the_excerpt_of_the_file(
    tmp_path, name, subtype, container, channels, use_tensorflow_io
):
    path = make(tmp_path / name, channels, subtype, container)
    starts = [0, 1, 12_345, 39_000]
    dataset = tf.data.Dataset.from_tensor_slices(starts).map(
        lambda start: decode_excerpt(path, start, 1000, use_tensorflow_io=use_tensorflow_io)
    )
    for start, waveform in zip(starts, dataset, strict=True):
        assert waveform.dtype == tf.float32
        np.testing.assert_allclose(waveform, read(path, start, 1000)[0], rtol=0, atol=LSB)


@pytest.mark.parametrize("use_tensorflow_io", DECODERS)
def test_an_excerpt_that_reaches_beyond_the_end_is_filled_up_with_silence(
    tmp_path, use_tensorflow_io
):
    path = make(tmp_path / "a.flac", 2, "PCM_16", "FLAC")
    out = decode_excerpt(path, 39_500, 1000, use_tensorflow_io=use_tensorflow_io).numpy()
    assert out.shape == (2, 1000)
    np.testing.assert_array_equal(out[:, :500], read(path, 39_500)[0])
    assert not out[:, 500:].any()


@pytest.mark.parametrize("use_tensorflow_io", DECODERS)
def test_an_excerpt_behind_the_end_is_an_error_and_one_at_the_end_is_silence(
    tmp_path, use_tensorflow_io
):
    path = make(tmp_path / "a.wav", 1, "PCM_16", "WAV")

    def decode(start):
        starts = tf.data.Dataset.from_tensors(start)
        return next(
            iter(starts.map(lambda start: decode_excerpt(path, start, 9, None, use_tensorflow_io)))
        )

    assert not decode(40_000).numpy().any()
    with pytest.raises(tf.errors.OpError, match=r"a\.wav"):
        decode(40_001)


@pytest.mark.parametrize("use_tensorflow_io", DECODERS)
def test_channels_are_mixed_repeated_or_refused_as_asked(tmp_path, use_tensorflow_io):
    stereo = make(tmp_path / "s.wav", 2, "PCM_16", "WAV")
    mono = make(tmp_path / "m.wav", 1, "PCM_16", "WAV")

    def decode(path, channels):
        return decode_excerpt(path, 0, 100, channels, use_tensorflow_io).numpy()

    whole = read(stereo, 0, 100)[0]
    np.testing.assert_allclose(decode(stereo, 1), whole.mean(axis=0, keepdims=True), atol=1e-7)
    np.testing.assert_array_equal(decode(stereo, 2), whole)
    np.testing.assert_array_equal(decode(mono, 2), np.repeat(read(mono, 0, 100)[0], 2, axis=0))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"s\.wav does not have 3 channels"):
        decode(stereo, 3)


@pytest.mark.parametrize("use_tensorflow_io", DECODERS)
def test_the_shape_is_static_where_it_can_be(tmp_path, use_tensorflow_io):
    path = make(tmp_path / "a.wav", 1, "PCM_16", "WAV")
    dataset = tf.data.Dataset.from_tensors((path, 5)).map(
        lambda path, start: decode_excerpt(path, start, 64, 1, use_tensorflow_io)
    )
    assert dataset.element_spec == tf.TensorSpec((1, 64), tf.float32)
    assert next(iter(dataset)).shape == (1, 64)


@pytest.mark.parametrize("use_tensorflow_io", DECODERS)
def test_a_file_that_cannot_be_read_is_named_by_the_error(tmp_path, use_tensorflow_io):
    (tmp_path / "text.wav").write_text("This is not music.")
    for name, message in [("none.wav", "does not exist"), ("text.wav", "is not audio")]:
        dataset = tf.data.Dataset.from_tensors(str(tmp_path / name)).map(
            lambda path: decode_excerpt(path, 0, 10, use_tensorflow_io=use_tensorflow_io)
        )
        with pytest.raises(tf.errors.OpError, match=f"{name} .*{message}"):
            next(iter(dataset))


@pytest.mark.parametrize("use_tensorflow_io", DECODERS)
def test_a_file_that_is_replaced_by_another_kind_is_looked_at_anew(tmp_path, use_tensorflow_io):
    path = make(tmp_path / "a.wav", 1, "PCM_16", "WAV")
    decode_excerpt(path, 0, 100, use_tensorflow_io=use_tensorflow_io)
    make(tmp_path / "a.wav", 1, "PCM_24", "WAV", samples=500)
    out = decode_excerpt(path, 0, 100, use_tensorflow_io=use_tensorflow_io)
    np.testing.assert_allclose(out, read(path, 0, 100)[0], rtol=0, atol=LSB)


def test_the_choice_is_logged_once(caplog):
    tf_decoding._load_tensorflow_io.cache_clear()
    with caplog.at_level(logging.INFO, "tfrestore.audio"):
        assert tensorflow_io_available() == tensorflow_io_available()
    assert len(caplog.records) == 1
    assert "decoding audio with" in caplog.text


def test_a_tensorflow_io_that_does_not_load_is_said_and_soundfile_takes_over(
    tmp_path, caplog, monkeypatch
):
    monkeypatch.setitem(__import__("sys").modules, "tensorflow_io", None)
    tf_decoding._load_tensorflow_io.cache_clear()
    try:
        with caplog.at_level(logging.INFO, "tfrestore.audio"):
            path = make(tmp_path / "a.flac", 1, "PCM_16", "FLAC")
            out = decode_excerpt(path, 100, 50)
    finally:
        tf_decoding._load_tensorflow_io.cache_clear()
    np.testing.assert_array_equal(out, read(path, 100, 50)[0])
    assert "tensorflow-io does not load here (" in caplog.text
    assert "decoding audio with soundfile" in caplog.text


@pytest.mark.parametrize("use_tensorflow_io", DECODERS)
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_calls_that_run_in_parallel_each_read_their_own_file(tmp_path, suffix, use_tensorflow_io):
    # tensorflow-io alone gives another call's file in one of some hundred calls (its issue 1764).
    paths = []
    for number in range(8):
        paths.append(str(tmp_path / f"{number}.{suffix}"))
        soundfile.write(paths[-1], np.full(30_000 + 1000 * number, number / 16), 16000)
    names = tf.constant(paths)

    def decode(name, start):
        return decode_excerpt(name, start, 20_000, 1, use_tensorflow_io)

    count = 1200 if suffix == "wav" else 200
    calls = tf.data.Dataset.range(count)
    calls = calls.map(lambda i: (i % 8, decode(names[i % 8], 3 * i)), num_parallel_calls=8)
    # A second pipeline at the same time, as validation is beside training.
    beside = tf.data.Dataset.range(count)
    beside = beside.map(lambda i: decode(names[7], i), num_parallel_calls=4)
    for (number, waveform), other in tf.data.Dataset.zip(calls, beside):
        np.testing.assert_array_equal(waveform, np.float32(number.numpy() / 16))
        np.testing.assert_array_equal(other, np.float32(7 / 16))


def with_chunk(wav, chunk, first):
    """The RIFF with one more chunk in front of its format or at its end."""
    body = wav[8:12] + chunk + wav[12:] if first else wav[8:] + chunk
    return b"RIFF" + len(body).to_bytes(4, "little") + body


@pytest.mark.parametrize("use_tensorflow_io", DECODERS)
@pytest.mark.parametrize(
    "change",
    [
        lambda wav: wav[:-20_001],
        lambda wav: with_chunk(wav, b"LIST\x05\0\0\0INFOx\0", first=False),
        lambda wav: with_chunk(wav, b"odd \x04\0\0\0abcd", first=True),
        lambda wav: wav + b"more",
    ],
    ids=["cut off", "odd chunk", "another chunk first", "bytes behind the end"],
)
def test_an_unusual_wav_is_read_as_soundfile_reads_it(tmp_path, change, use_tensorflow_io):
    path = tmp_path / "a.wav"
    make(path, 1, "PCM_16", "WAV")
    path.write_bytes(change(path.read_bytes()))
    expected = read(path, 20_000, 1000)[0]
    out = decode_excerpt(str(path), 20_000, 1000, use_tensorflow_io=use_tensorflow_io)
    np.testing.assert_array_equal(out, expected)
