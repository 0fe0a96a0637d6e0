import logging

import numpy as np
import pytest
import soundfile

from tfrestore.audio.files import read

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
