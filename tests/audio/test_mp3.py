import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfrestore.audio import reading
from tfrestore.audio.mp3 import (
    decode_mp3,
    encode_mp3,
    mp3_bit_rates,
    mp3_round_trip,
    mp3_sample_rate,
)
from tfrestore.audio.resampling import resampled_length
from tfrestore.errors import InputError, UsageError

BIT_RATES = (16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 320)


def broadband(channels, samples, seed=0):
    """Pink noise, loudest where LAME keeps the most; the channels have much in common."""
    pink = np.random.default_rng(seed).standard_normal((channels, samples))
    spectrum = np.fft.rfft(pink) / np.sqrt(np.arange(samples // 2 + 1) + 30.0)
    pink = np.fft.irfft(spectrum, samples)
    pink += pink.mean(axis=0)
    return (0.5 * pink / np.abs(pink).max()).astype(np.float32)


def lag(reference, estimate, sample_rate, highest):
    """Delay of the estimate in samples: slope of the cross-spectrum's phase below `highest` Hz."""
    length = 8192
    window = np.hanning(length)
    starts = range(0, len(reference) - length + 1, length // 2)
    cross = sum(
        np.conj(np.fft.rfft(window * reference[i : i + length]))
        * np.fft.rfft(window * estimate[i : i + length])
        for i in starts
    )
    frequency = np.fft.rfftfreq(length)
    band = (frequency * sample_rate > 100) & (frequency * sample_rate < highest)
    weight, phase = np.abs(cross[band]), np.angle(cross[band])
    # A delay of more than half a sample at the upper end would wrap; the caller's bound is tighter.
    slope = np.sum(weight * np.unwrap(phase) * frequency[band])
    return -slope / np.sum(weight * frequency[band] ** 2) / (2 * np.pi)


def test_the_ruler_for_the_lag_measures_a_known_fraction_of_a_sample():
    waveform = broadband(1, 60_000)[0]
    frequency = np.fft.rfftfreq(len(waveform))
    late = np.fft.irfft(np.fft.rfft(waveform) * np.exp(-2j * np.pi * frequency * 0.3))
    assert lag(waveform, late, 44100, 8000) == pytest.approx(0.3, abs=1e-3)


@pytest.mark.parametrize("variable_bit_rate", [False, True])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sample_rate", [44100, 48000, 16000])
def test_the_round_trip_is_aligned_to_a_tenth_of_a_sample_at_every_bit_rate(
    sample_rate, channels, variable_bit_rate
):
    waveform = broadband(channels, 4 * sample_rate)
    for kbit_per_second in BIT_RATES:
        if kbit_per_second not in mp3_bit_rates(sample_rate, channels):
            continue
        out = mp3_round_trip(waveform, sample_rate, kbit_per_second, variable_bit_rate)
        assert out.shape == waveform.shape and out.dtype == np.float32
        highest = 0.2 * mp3_sample_rate(sample_rate, channels, kbit_per_second)
        for reference, estimate in zip(waveform, out, strict=True):
            assert np.corrcoef(reference, estimate)[0, 1] > 0.75
            assert abs(lag(reference, estimate, sample_rate, highest)) < 0.1, kbit_per_second


@settings(deadline=None, max_examples=40)
@given(
    samples=st.one_of(st.integers(0, 5), st.integers(0, 6000)),
    sample_rate=st.sampled_from([8000, 11025, 16000, 37800, 44100, 96000, 192000]),
    channels=st.sampled_from([1, 2]),
    kbit_per_second=st.sampled_from([8, 16, 32, 64]),
    variable_bit_rate=st.booleans(),
)
@example(1, 44100, 1, 64, False)
@example(1, 192000, 2, 8, True)
def test_any_length_and_rate_keeps_its_shape(
    samples, sample_rate, channels, kbit_per_second, variable_bit_rate
):
    waveform = broadband(2, 6001)[:channels, :samples]
    out = mp3_round_trip(waveform, sample_rate, kbit_per_second, variable_bit_rate)
    assert out.shape == waveform.shape
    assert np.isfinite(out).all()


@pytest.mark.parametrize("variable_bit_rate", [False, True])
@pytest.mark.parametrize("kbit_per_second", [16, 64, 320])
def test_the_first_and_the_last_samples_are_there(kbit_per_second, variable_bit_rate):
    time = np.arange(30_000) / 44100
    waveform = 0.5 * np.sin(2 * np.pi * 441 * time)[None].astype(np.float32)
    out = mp3_round_trip(waveform, 44100, kbit_per_second, variable_bit_rate)
    for part in (slice(0, 600), slice(-600, None)):
        assert np.corrcoef(waveform[0, part], out[0, part])[0, 1] > 0.95


def test_a_high_bit_rate_is_close_to_the_original():
    waveform = broadband(1, 44100)
    out = mp3_round_trip(waveform, 44100, 320)
    error = out - waveform
    assert 10 * np.log10(np.mean(waveform**2) / np.mean(error**2)) > 15


def test_a_low_bit_rate_has_nothing_above_half_of_the_mp3s_sample_rate():
    assert mp3_sample_rate(44100, 1, 16) == 16000
    waveform = np.random.default_rng(0).standard_normal((1, 88200)).astype(np.float32) * 0.2
    out = mp3_round_trip(waveform, 44100, 16)
    power = np.abs(np.fft.rfft(out[0] * np.hanning(88200))) ** 2
    above = int(8000 / 44100 * 88200)
    assert power[above:].sum() < 1e-6 * power[:above].sum()


@pytest.mark.parametrize("variable_bit_rate", [False, True])
def test_a_decoded_mp3_has_the_length_of_what_was_encoded(variable_bit_rate):
    # Loud, then silent: a decoder that goes by the first frame's bit rate loses the end.
    waveform = broadband(2, 100_000)
    waveform[:, 30_000:] = 0
    for kbit_per_second in (32, 128):
        data = encode_mp3(waveform, 44100, kbit_per_second, variable_bit_rate)
        decoded, sample_rate = decode_mp3(data)
        assert sample_rate == mp3_sample_rate(44100, 2, kbit_per_second)
        assert decoded.shape == (2, resampled_length(100_000, 44100, sample_rate))


def test_an_encoded_mp3_is_a_file_that_others_read_with_the_same_samples(tmp_path):
    waveform = broadband(2, 50_000)
    data = encode_mp3(waveform, 44100, 128, variable_bit_rate=True)
    (tmp_path / "a.mp3").write_bytes(data)
    read, sample_rate = reading.read(tmp_path / "a.mp3")
    decoded, _ = decode_mp3(data)
    assert sample_rate == 44100
    np.testing.assert_array_equal(read, decoded)


@pytest.mark.parametrize("kbit_per_second", [32, 64, 128])
def test_constant_and_variable_bit_rates_need_about_the_bits_they_name(kbit_per_second):
    waveform = broadband(2, 5 * 44100)
    for variable_bit_rate in (False, True):
        data = encode_mp3(waveform, 44100, kbit_per_second, variable_bit_rate)
        assert len(data) * 8 / 5 / 1000 == pytest.approx(kbit_per_second, rel=0.1)


@pytest.mark.parametrize("amplitude", [1.0, 4.0, 1e30])
def test_over_full_scale_is_clipped_and_does_not_wrap_around(amplitude):
    time = np.arange(44100) / 44100
    sine = np.sin(2 * np.pi * 441 * time)[None].astype(np.float32)
    out = mp3_round_trip(amplitude * sine, 44100, 320)
    clipped = np.clip(amplitude * sine, -1, 1)
    assert np.corrcoef(out[0], clipped[0])[0, 1] > 0.99
    assert np.abs(out).max() < 1.5


def test_silence_stays_silence():
    assert not mp3_round_trip(np.zeros((2, 5000), np.float32), 44100, 64).any()


@pytest.mark.parametrize(
    ("sample_rate", "highest"), [(44100, 320), (48000, 320), (16000, 160), (8000, 64)]
)
def test_the_bit_rates_are_those_of_the_standard(sample_rate, highest):
    # ISO/IEC 11172-3 and 13818-3, and MPEG-2.5: 320, 160 and 64 kbit/s are the most.
    assert mp3_bit_rates(sample_rate, 2)[-1] == highest
    assert {16, 24, 32, 48, 64} <= set(mp3_bit_rates(sample_rate, 2))


@pytest.mark.parametrize("bad", [0, 33, 321, -16])
def test_a_bit_rate_that_does_not_exist_is_refused_with_those_that_do(bad):
    with pytest.raises(UsageError, match=rf"no {bad} kbit/s .* 8, 16, 24, .*, 320\.$"):
        mp3_round_trip(broadband(1, 100), 44100, bad)
    with pytest.raises(UsageError, match=r"no 320 kbit/s .* 144, 160\.$"):
        mp3_round_trip(broadband(1, 100), 16000, 320)


def test_three_channels_and_absurd_rates_are_refused():
    with pytest.raises(UsageError, match="1 or 2 channels, not 3"):
        encode_mp3(broadband(3, 100), 44100, 128)
    with pytest.raises(UsageError, match="not 7999; resample"):
        encode_mp3(broadband(1, 100), 7999, 128)


def test_no_samples_make_no_mp3_and_a_round_trip_of_none():
    nothing = np.zeros((2, 0), np.float32)
    with pytest.raises(InputError, match="without samples"):
        encode_mp3(nothing, 44100, 128)
    assert mp3_round_trip(nothing, 44100, 128).shape == (2, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_numbers_are_refused(value):
    waveform = broadband(1, 100)
    waveform[0, 50] = value
    with pytest.raises(InputError, match="not finite"):
        encode_mp3(waveform, 44100, 128)


@settings(deadline=None, max_examples=60)
@given(data=st.binary(max_size=3000))
def test_bytes_that_are_not_an_mp3_are_refused_or_decoded(data):
    try:
        waveform, sample_rate = decode_mp3(data)
    except InputError:
        return
    assert waveform.ndim == 2 and sample_rate > 0
