import io
import itertools
import struct

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.audio.tf_wav import decode_wav, encode_wav, raw_bytes

contents = tf.TensorSpec((), tf.string)
decode = tf.function(decode_wav, [contents])
rewrite = tf.function(lambda text: encode_wav(*decode_wav(text)), [contents])

#: What each sample format of libsndfile's is written as again.
WRITTEN = {
    "PCM_U8": "PCM_16",
    "PCM_16": "PCM_16",
    "PCM_24": "PCM_24",
    "PCM_32": "PCM_32",
    "FLOAT": "FLOAT",
    "DOUBLE": "FLOAT",
}


def wav(waveform, rate=44100, **options):
    """A file that libsndfile wrote, of samples (channels, n)."""
    file = io.BytesIO()
    soundfile.write(file, waveform.T, rate, **{"format": "WAV", "subtype": "PCM_16", **options})
    return file.getvalue()


@given(
    st.sampled_from(sorted(WRITTEN)),
    st.sampled_from(["WAV", "WAVEX", "RF64"]),
    st.integers(1, 3),
    st.integers(1, 300),
    st.integers(1000, 192000),
)
@settings(deadline=None, max_examples=60)
def test_every_sample_is_what_libsndfile_reads_and_writes(subtype, container, channels, n, rate):
    waveform = np.random.default_rng(n).uniform(-1, 1, (channels, n))
    file = wav(waveform, rate, format=container, subtype=subtype)
    expected, _ = soundfile.read(io.BytesIO(file), dtype="float32", always_2d=True)
    recording = decode(file)
    np.testing.assert_array_equal(recording.waveform, expected.T)
    assert recording.sample_rate == rate
    written = rewrite(file).numpy()
    again, again_rate = soundfile.read(io.BytesIO(written), dtype="float32", always_2d=True)
    np.testing.assert_array_equal(again, expected)
    assert again_rate == rate
    assert soundfile.info(io.BytesIO(written)).subtype == WRITTEN[subtype]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_integers_are_rounded_and_clipped_at_full_scale(number):
    bits = 8 * (number + 1)
    step = 0.5 ** (bits - 1)
    values = np.array([[0.4 * step, 0.6 * step, -0.6 * step, 0.5, 1.0, 3.0, -1.0, -3.0]], "float32")
    written = encode_wav(tf.constant(values), tf.constant(8000), tf.constant(number)).numpy()
    samples, _ = soundfile.read(io.BytesIO(written), dtype="float64")
    expected = [0, step, -step, 0.5, 1 - step, 1 - step, -1, -1]
    np.testing.assert_array_equal(samples, expected)


def test_chunks_of_other_kinds_odd_sizes_and_a_cut_off_end_are_read_over():
    waveform = np.random.default_rng(0).uniform(-1, 1, (2, 50)).astype("float32")
    plain = wav(waveform)
    odd = plain[:12] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + plain[12:]
    np.testing.assert_array_equal(decode(odd).waveform, decode(plain).waveform)
    # The header goes on promising what is no longer there; half a frame counts for nothing.
    np.testing.assert_array_equal(decode(plain[:-7]).waveform, decode(plain).waveform[:, :-2])
    unknown = plain.replace(b"data\xc8\0\0\0", b"data\xff\xff\xff\xff")
    assert unknown != plain
    np.testing.assert_array_equal(decode(unknown).waveform, decode(plain).waveform)


WAV = wav(np.zeros((1, 4)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "no WAV file"),
        (b"ID3\x04" + bytes(100), "no WAV file"),
        (WAV[:12], "no fmt chunk"),
        (WAV[:36], "no data chunk"),
        (WAV[:44], "holds no samples"),
        (WAV[:20] + struct.pack("<H", 85) + WAV[22:], "neither integers.*85"),
        (WAV[:34] + struct.pack("<H", 12) + WAV[36:], "neither integers.*12"),
        (WAV[:22] + struct.pack("<H", 0) + WAV[24:], "1 to 1024 channels"),
        (WAV[:24] + struct.pack("<I", 0) + WAV[28:], "1000 to 1000000 Hz"),
        (WAV[:24] + struct.pack("<I", 2**32 - 1) + WAV[28:], "1000 to 1000000 Hz"),
        (wav(np.array([[0.0, np.nan]]), subtype="FLOAT"), "not a finite number"),
        (wav(np.array([[0.0, np.inf]]), subtype="DOUBLE"), "not a finite number"),
        (b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 2000, "no fmt chunk"),
    ],
    # Not the bytes: libsndfile writes the time into some, and processes collect at different ones.
    ids=itertools.count(),
)
def test_what_is_no_such_file_is_said_in_a_sentence(text, said):
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        rewrite(text)


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=100)
def test_no_bytes_behind_a_header_do_anything_but_decode_or_be_refused(tail):
    for text in (tail, WAV[:12] + tail, WAV[:20] + tail, WAV[:36] + tail, WAV[:40] + tail):
        try:
            assert tf.reduce_all(tf.math.is_finite(decode(text).waveform))
        except tf.errors.InvalidArgumentError:
            pass


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32"])
@pytest.mark.parametrize("size", [0, 1, 1000])
def test_raw_bytes_are_the_memory_of_the_numbers(dtype, size):
    values = np.random.default_rng(0).integers(0, 100, size).astype(dtype)
    assert raw_bytes(tf.constant(values)).numpy() == values.tobytes()
