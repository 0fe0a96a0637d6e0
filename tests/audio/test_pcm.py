import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrestore.audio.pcm import ENCODINGS, decode, encode

EXACT = {"u8": 8, "s16le": 16, "s24le": 24}


@pytest.mark.parametrize("encoding", EXACT)
@given(data=st.data())
def test_every_integer_comes_back(encoding, data):
    scale = 2 ** (EXACT[encoding] - 1)
    steps = data.draw(st.lists(st.integers(-scale, scale - 1), min_size=1, max_size=20))
    waveform = (np.array([steps, steps[::-1]]) / scale).astype(np.float32)
    written = encode(waveform, encoding)
    assert len(written) == 2 * len(steps) * ENCODINGS[encoding]
    np.testing.assert_array_equal(decode(written, encoding, 2), waveform)


def test_bytes_are_little_endian_and_interleaved():
    assert encode(np.array([[0.5, -1], [0, 2**-15]], np.float32), "s16le") == bytes.fromhex(
        "00400000 00800100"
    )
    assert encode(np.array([[0.5, -(2**-23)]], np.float32), "s24le") == bytes.fromhex(
        "000040 ffffff"
    )
    np.testing.assert_array_equal(decode(bytes([0, 128, 255]), "u8", 1), [[-1, 0, 127 / 128]])
    np.testing.assert_array_equal(decode(b"\0\0\0\xc0", "s32le", 1), [[-0.5]])


def test_what_is_beyond_full_scale_is_clipped_in_integers_and_kept_in_floats():
    loud = np.array([[1.5, -1.5, 1.0]], np.float32)
    np.testing.assert_array_equal(
        decode(encode(loud, "s16le"), "s16le", 1), [[1 - 2**-15, -1, 1 - 2**-15]]
    )
    for encoding in ("f32le", "f64le"):
        np.testing.assert_array_equal(decode(encode(loud, encoding), encoding, 1), loud)
    assert not np.isfinite(decode(np.array([1e300]).tobytes(), "f64le", 1)).any()
