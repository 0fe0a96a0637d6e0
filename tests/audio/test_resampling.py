import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.audio.resampling import StreamResampler, resample, resampled_length
from tfrestore.errors import UsageError

few = settings(deadline=None, max_examples=40)
rates = st.sampled_from([8000, 11025, 16000, 22050, 37800, 44100, 44101, 48000, 96000, 192000])


def noise(channels, samples):
    return np.random.default_rng(7).standard_normal((channels, samples)).astype(np.float32)


@few
@given(
    sample_rate=rates,
    target=rates,
    samples=st.integers(0, 3000),
    channels=st.sampled_from([1, 2, 8]),
    sizes=st.lists(st.integers(0, 700), min_size=1, max_size=5).filter(any),
)
def test_a_stream_in_any_blocks_gives_what_the_whole_gives(
    sample_rate, target, samples, channels, sizes
):
    waveform = noise(channels, samples)
    resampler = StreamResampler(sample_rate, target, channels)
    pieces, position, turn = [], 0, 0
    while position < samples:
        size = sizes[turn % len(sizes)]
        pieces.append(resampler.process(waveform[:, position : position + size]))
        position += size
        turn += 1
    pieces.append(resampler.finish())
    out = np.concatenate(pieces, axis=1)
    whole = resample(waveform, sample_rate, target)
    assert out.dtype == whole.dtype == np.float32
    assert out.shape == whole.shape == (channels, resampled_length(samples, sample_rate, target))
    np.testing.assert_allclose(out, whole, rtol=0, atol=1e-6)


@few
@given(samples=st.integers(0, 10**7), sample_rate=rates, target=rates)
def test_the_length_is_rounded_up_and_the_way_back_is_never_shorter(samples, sample_rate, target):
    length = resampled_length(samples, sample_rate, target)
    assert (length - 1) * sample_rate < samples * target <= length * sample_rate
    assert resampled_length(length, target, sample_rate) >= samples


@pytest.mark.parametrize("pair", [(44100, 16000), (16000, 44100), (48000, 44100), (8000, 192000)])
def test_the_samples_are_those_of_soxr_and_only_the_rounding_of_the_length_differs(pair):
    waveform = noise(2, 12_345)
    out = resample(waveform, *pair)
    reference = soxr.resample(waveform.T, *pair, quality="VHQ").T
    assert 0 <= out.shape[1] - reference.shape[1] <= 1
    np.testing.assert_allclose(out[:, : reference.shape[1]], reference, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "pair", [(44100, 16000), (16000, 44100), (48000, 44100), (8000, 192000), (192000, 8000)]
)
def test_a_sine_below_the_passband_edge_keeps_its_phase_and_amplitude(pair):
    sample_rate, target = pair
    frequency = 0.4 * min(pair)
    time = np.arange(sample_rate // 2) / sample_rate
    out = resample(np.sin(2 * np.pi * frequency * time)[None].astype(np.float32), *pair)[0]
    expected = np.sin(2 * np.pi * frequency * np.arange(len(out)) / target)
    middle = slice(len(out) // 4, 3 * len(out) // 4)
    np.testing.assert_allclose(out[middle], expected[middle], atol=1.2e-3)


@pytest.mark.parametrize("pair", [(44100, 16000), (16000, 44100), (48000, 44100), (44100, 48000)])
def test_the_result_is_not_delayed(pair):
    # Cross-correlation of band-limited noise that went there and back, its peak to 1/1000 sample.
    spectrum = np.fft.rfft(noise(1, 1 << 14)[0])
    spectrum[int(len(spectrum) * 0.3) :] = 0
    waveform = np.fft.irfft(spectrum)[None].astype(np.float32)
    there = resample(waveform, *pair)
    back = resample(there, pair[1], pair[0])[:, : waveform.shape[1]]
    correlation = np.fft.irfft(np.conj(np.fft.rfft(waveform[0])) * np.fft.rfft(back[0]))
    around = correlation[[-1, 0, 1]]
    assert np.argmax(correlation) == 0
    curvature = around[0] - 2 * around[1] + around[2]
    assert abs(0.5 * (around[0] - around[2]) / curvature) < 1e-3
    # One way: an impulse stays where it is.
    impulse = np.zeros((1, 4001), np.float32)
    impulse[0, 2000] = 1
    out = resample(impulse, *pair)[0].astype(np.float64)
    centre = np.sum(np.arange(len(out)) * out**2) / np.sum(out**2)
    assert abs(centre / pair[1] - 2000 / pair[0]) * min(pair) < 0.01


def test_what_the_lower_rate_cannot_hold_is_removed():
    time = np.arange(44100) / 44100
    out = resample(np.sin(2 * np.pi * 8500 * time)[None].astype(np.float32), 44100, 16000)[0]
    assert np.max(np.abs(out[4000:-4000])) < 1e-6


def test_the_same_rate_changes_nothing():
    waveform = noise(3, 1000)
    np.testing.assert_array_equal(resample(waveform, 44100, 44100), waveform)


def test_channels_do_not_mix():
    waveform = noise(8, 2000)
    together = resample(waveform, 44100, 16000)
    for channel in range(8):
        alone = resample(waveform[channel : channel + 1], 44100, 16000)
        np.testing.assert_allclose(together[channel : channel + 1], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bad", [0, -1, 44100.5])
def test_a_rate_that_is_none_is_refused(bad):
    with pytest.raises(UsageError, match="positive whole number of hertz"):
        resample(noise(1, 10), bad, 16000)
    with pytest.raises(UsageError, match="positive whole number of hertz"):
        resample(noise(1, 10), 16000, bad)


def test_a_block_with_other_channels_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, samples\), received \(1, 10\)"):
        StreamResampler(44100, 16000, 2).process(noise(1, 10))
