"""PEAQ against the values of the reference implementation, and what must hold for any signal."""

import functools
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tfrestore.audio.resampling import resample
from tfrestore.errors import InputError, UndefinedMetricError, UsageError
from tfrestore.metrics.peaq_basic import PeaqScore, peaq, score
from tfrestore.metrics.peaq_basic.neural_network import VARIABLES

pytestmark = pytest.mark.filterwarnings("error")

GOLDEN = Path(__file__).parents[1] / "golden"


def table(path):
    """Column names, and the values of each pair by its name."""
    (_, *columns), *rows = (line.split("\t") for line in path.read_text().splitlines())
    return columns, {name: list(map(float, values)) for name, *values in rows}


COLUMNS, REFERENCE = table(GOLDEN / "peaq_variables.tsv")
# What the reference implementation says after undoing, in its source, each departure from the
# Recommendation that `score` and `temporal_averaging` list.
_, RECOMMENDATION = table(Path(__file__).with_name("recommendation_variables.tsv"))
RATE = 48000


@functools.cache
def golden(name):
    """Reference and test, float64 (channels, samples)."""
    return tuple(
        soundfile.read(GOLDEN / f"{name}.{kind}.flac", always_2d=True)[0].T
        for kind in ("reference", "test")
    )


def music(seconds=1.5, channels=1, seed=0):
    """Decaying tones over a little noise at 48 kHz, (channels, samples)."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    waveform = 0.002 * rng.standard_normal((channels, len(time)))
    for onset in np.arange(0, seconds, 0.2):
        after = np.maximum(time - onset, 0)
        for frequency in rng.uniform(100, 9000, 4):
            waveform += (time >= onset) * np.sin(2 * np.pi * frequency * after) * np.exp(-9 * after)
    return 0.1 * waveform


def noisy(waveform, decibels, seed=1):
    noise = np.random.default_rng(seed).standard_normal(waveform.shape)
    return waveform + 10 ** (decibels / 20) * noise


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("recommendation", [False, True])
def test_variables_index_and_grade_are_those_of_the_reference_implementation(name, recommendation):
    ours = peaq(*golden(name), RATE, recommendation=recommendation)
    assert list(ours.variables) == list(VARIABLES)
    # The reference values have six digits.
    expected = (RECOMMENDATION if recommendation else REFERENCE)[name]
    np.testing.assert_allclose(list(ours.variables.values()), expected[:11], rtol=6e-6, atol=1e-6)
    assert ours.di == pytest.approx(expected[11], abs=1e-5)
    assert ours.odg == pytest.approx(expected[12], abs=1e-5)


def test_the_columns_of_the_reference_values_are_the_variables_of_the_recommendation():
    assert [name.lower() for name in COLUMNS] == [
        name.lower() for name in (*VARIABLES, "DI", "ODG")
    ]


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("recommendation", [False, True])
def test_identical_signals_have_an_index_of_about_5_9_and_a_grade_of_0_21(name, recommendation):
    reference, _ = golden(name)
    ours = peaq(reference, reference, RATE, recommendation=recommendation)
    assert ours.di == pytest.approx(5.9, abs=0.2)
    assert ours.odg == pytest.approx(0.208, abs=0.003)
    for variable in ("ADBB", "EHSB", "MFPDB", "RelDistFramesB", "RmsNoiseLoudB"):
        assert ours.variables[variable] == 0
    for variable in ("WinModDiff1B", "AvgModDiff1B", "AvgModDiff2B"):
        assert ours.variables[variable] == 0
    assert ours.variables["BandwidthRefB"] == ours.variables["BandwidthTestB"]
    assert ours.variables["TotalNMRB"] < -100


@pytest.mark.parametrize("recommendation", [False, True])
@pytest.mark.parametrize("block_frames", [1, 7, 1000])
def test_blocks_of_any_size_give_the_same(monkeypatch, block_frames, recommendation):
    reference, test = (signal[:, 40000:120000] for signal in golden("noise_30db"))
    whole = peaq(reference, test, RATE, recommendation=recommendation)
    monkeypatch.setattr(score, "_BLOCK_FRAMES", block_frames)
    ours = peaq(reference, test, RATE, recommendation=recommendation)
    assert ours.variables == pytest.approx(whole.variables, rel=1e-9, abs=1e-12)


def test_one_channel_may_have_a_channel_axis_and_any_float_type():
    reference = music()
    test = noisy(reference, -60)
    ours = peaq(reference[0], test[0], RATE)
    assert peaq(reference, test, RATE) == ours
    # Both are rounded to 16 bits: what float32 leaves out does not matter.
    single = peaq(reference.astype("float32"), test.astype("float32"), RATE)
    assert single.odg == pytest.approx(ours.odg, abs=1e-4)


def test_the_same_channel_twice_or_thrice_is_that_channel():
    reference = music()
    test = noisy(reference, -60)
    once = peaq(reference, test, RATE, recommendation=True)
    for channels in (2, 3):
        more = peaq(
            reference.repeat(channels, 0), test.repeat(channels, 0), RATE, recommendation=True
        )
        assert more.variables == pytest.approx(once.variables, rel=1e-9, abs=1e-12)
    # The reference implementation's frames begin elsewhere in a stereo file.
    default = peaq(reference.repeat(2, 0), test.repeat(2, 0), RATE)
    assert default.odg == pytest.approx(peaq(reference, test, RATE).odg, abs=0.05)


def test_the_order_of_channels_does_not_matter():
    reference = np.concatenate([music(seed=0), music(seed=1)])
    test = np.stack([noisy(reference[0], -70), noisy(reference[1], -50)])
    ours = peaq(reference, test, RATE, recommendation=True)
    swapped = peaq(reference[::-1], test[::-1], RATE, recommendation=True)
    assert swapped.variables == pytest.approx(ours.variables, rel=1e-9)


@pytest.mark.parametrize("recommendation", [False, True])
def test_more_noise_is_a_worse_grade(recommendation):
    reference = music()
    grades = [
        peaq(reference, noisy(reference, level), RATE, recommendation=recommendation).odg
        for level in (-110, -90, -80, -70, -60, -50, -40)
    ]
    assert (np.diff(grades) < 0).all()
    assert grades[0] > 0 and grades[-1] < -3


@pytest.mark.parametrize("name", ["mp3_32", "mp3_128_stereo", "lowpass_7k"])
@pytest.mark.parametrize("rate", [44100, 96000])
def test_any_sample_rate_gives_the_grade_of_48_khz(name, rate):
    elsewhere = [resample(x.astype("float32"), RATE, rate) for x in golden(name)]
    assert peaq(*elsewhere, rate).odg == pytest.approx(REFERENCE[name][-1], abs=0.001)


def test_samples_are_rounded_and_clipped_to_16_bits():
    reference, test = golden("mp3_32")
    rng = np.random.default_rng(0)
    within = [x + rng.uniform(-0.49, 0.49, x.shape) / 32768 for x in (reference, test)]
    assert peaq(*within, RATE) == peaq(reference, test, RATE)
    loud = 30 * music()
    clipped = np.clip(loud, -1, 32767 / 32768)
    assert np.abs(loud).max() > 1
    assert peaq(loud, noisy(clipped, -60), RATE) == peaq(clipped, noisy(clipped, -60), RATE)


def test_a_longer_silence_at_the_end_changes_little():
    reference = music()
    test = noisy(reference, -60)
    silence = np.zeros((1, RATE // 2))
    longer = peaq(*(np.concatenate([x, silence], axis=1) for x in (reference, test)), RATE)
    assert longer.odg == pytest.approx(peaq(reference, test, RATE).odg, abs=0.3)


def test_by_default_the_first_32_bytes_of_16_bit_sound_do_not_count():
    for channels, lost in ((1, 16), (2, 8)):
        reference = music(channels=channels)
        test = noisy(reference, -60)
        default = peaq(reference, test, RATE)
        recommended = peaq(reference, test, RATE, recommendation=True)
        changed = test.copy()
        changed[:, :lost] = 0.5
        assert peaq(reference, changed, RATE) == default
        assert peaq(reference, changed, RATE, recommendation=True) != recommended
        # The window is 0 at the first sample of a frame.
        changed[:, lost + 1] = 0.5
        assert peaq(reference, changed, RATE) != default


def test_by_default_a_later_channel_does_not_count_where_a_frames_first_sample_is_zero():
    reference = np.concatenate([music(seed=0), music(seed=1)])
    test = np.stack([noisy(reference[0], -75), noisy(reference[1], -40)])
    reference[1, 8::1024] = 0
    # Frames begin at sample 8 of a stereo file and at sample 16 of a mono file.
    alone = [np.pad(x[:1], [(0, 0), (8, 0)]) for x in (reference, test)]
    assert peaq(reference, test, RATE) == peaq(*alone, RATE)
    both = peaq(reference, test, RATE, recommendation=True)
    assert both.odg < peaq(*alone, RATE, recommendation=True).odg - 0.5


def test_the_switch_undoes_the_rounded_frame_rate():
    reference = music(3.0)
    test = noisy(reference, -60)
    # With 16 samples more in front, the default has the frames that the switch has.
    default = peaq(*(np.pad(x, [(0, 0), (16, 0)]) for x in (reference, test)), RATE).variables
    recommended = peaq(reference, test, RATE, recommendation=True).variables
    # Far above the offset of 1, the difference of modulations is relative; near it, absolute.
    ratio = recommended["WinModDiff1B"] / default["WinModDiff1B"]
    assert 1 < ratio < 46.875 / 46
    for variable in ("TotalNMRB", "ADBB", "MFPDB", "RelDistFramesB", "BandwidthRefB"):
        assert recommended[variable] == pytest.approx(default[variable], rel=1e-9)


def test_the_switch_counts_narrow_frames_of_the_test_in_its_bandwidth():
    # In no frame is the test wider than 8.1 kHz: the reference implementation says 0.
    reference, test = golden("mp3_16")
    assert peaq(reference, test, RATE).variables["BandwidthTestB"] == 0
    recommended = peaq(reference, test, RATE, recommendation=True).variables["BandwidthTestB"]
    # LAME keeps sound up to about 5.5 kHz of it: 230 lines of 23.4 Hz.
    assert recommended == pytest.approx(230, abs=5)


def test_the_switch_leaves_out_noise_before_the_reference_is_heard():
    reference = music(3.0)
    reference[:, : 2 * RATE] = 0
    test = noisy(reference, -60)
    quiet_before = test.copy()
    quiet_before[:, : 2 * RATE] = 0
    default, recommended = (
        [
            peaq(reference, x, RATE, recommendation=switch).variables["RmsNoiseLoudB"]
            for x in (test, quiet_before)
        ]
        for switch in (False, True)
    )
    assert default[0] > 1.05 * default[1]
    assert recommended[0] == pytest.approx(recommended[1], rel=0.01)


def test_the_measure_does_not_change_its_input():
    reference = music()
    test = noisy(reference, -60)
    copies = reference.copy(), test.copy()
    peaq(reference, test, RATE)
    np.testing.assert_array_equal(reference, copies[0])
    np.testing.assert_array_equal(test, copies[1])


_GOOD = music()
_SILENCE = np.zeros_like(_GOOD)
_BROKEN = _GOOD.copy()
_BROKEN[0, 999] = np.nan
_INFINITE = _GOOD.copy()
_INFINITE[0, 999] = np.inf


@pytest.mark.parametrize("recommendation", [False, True])
@pytest.mark.parametrize(
    ("reference", "estimate", "reason"),
    [
        (_SILENCE, _GOOD, "the reference is silent"),
        (_GOOD, _SILENCE, "the estimate is silent"),
        (_GOOD, 1e-5 * _GOOD / np.abs(_GOOD).max(), "the estimate is silent"),
        (_BROKEN, _GOOD, "the reference has samples that are not finite"),
        (_GOOD, _INFINITE, "the estimate has samples that are not finite"),
        (_GOOD, 32768 * _GOOD, "the estimate exceeds full scale more than 1000 times"),
        (np.sign(_GOOD) / 32768, np.sign(_GOOD) / 16384, "too quiet to be told from silence"),
        (_GOOD[:, :30000], _GOOD[:, :30000], "shorter than 0.65 s"),
        (_GOOD[:, :1], _GOOD[:, :1], "shorter than 0.65 s"),
        (_GOOD[:, :0], _GOOD[:, :0], "no samples"),
    ],
)
def test_what_has_no_grade_is_told_in_a_few_words(reference, estimate, reason, recommendation):
    with pytest.raises(UndefinedMetricError, match=reason) as told:
        peaq(reference, estimate, RATE, recommendation=recommendation)
    assert str(told.value)[0].islower() and "\n" not in str(told.value)


def test_the_shortest_signals_that_have_a_grade_are_29_frames():
    samples = 2048 + 28 * 1024
    reference, test = _GOOD[:, :samples], noisy(_GOOD, -60)[:, :samples]
    assert -4 < peaq(reference, test, RATE, recommendation=True).odg < 0.3
    for short in (reference[:, 1:], test[:, 1:]):
        with pytest.raises(UndefinedMetricError, match="0.65 s"):
            peaq(short, short, RATE, recommendation=True)


@pytest.mark.parametrize(
    ("reference", "estimate"),
    [
        (_GOOD, _GOOD[:, :-1]),
        (_GOOD, _GOOD[0]),
        (_GOOD, _GOOD.repeat(2, 0)),
        (_GOOD[None], _GOOD[None]),
        (0.5, 0.5),
    ],
)
def test_signals_of_different_or_strange_shapes_are_refused(reference, estimate):
    with pytest.raises(InputError, match="of one length") as told:
        peaq(reference, estimate, RATE)
    assert not isinstance(told.value, UndefinedMetricError)


@pytest.mark.parametrize("kind", ["int16", "complex128", "bool", "U3", object])
def test_samples_that_are_no_floats_are_refused(kind):
    with pytest.raises(InputError, match="floating-point samples of full scale 1"):
        peaq(np.ones(50000, kind), np.ones(50000, kind), RATE)


@pytest.mark.parametrize("rate", [0, -1, 44100.5, math.nan, math.inf, None, "48000", [48000]])
def test_a_rate_that_is_no_positive_whole_number_is_refused(rate):
    with pytest.raises(UsageError, match="positive whole number"):
        peaq(_GOOD, _GOOD, rate)


@st.composite
def any_signals(draw):
    channels = draw(st.integers(1, 3))
    rate = draw(st.sampled_from([8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000]))
    samples = draw(st.integers(2 * rate // 3, rate) | st.integers(0, 2 * rate // 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pair = []
    for _ in range(2):
        level = 10 ** draw(st.floats(-3, 1) | st.floats(-3, 1) | st.floats(-300, 300))
        signal = level * rng.standard_normal((channels, samples))
        kind = draw(
            st.sampled_from(["noise", "constant", "impulse", "gap", "quiet channel", "nan"])
        )
        if kind == "constant":
            signal[:] = level
        elif kind == "impulse":
            signal[:, : samples // 2], signal[:, samples // 2 + 1 :] = 0, 0
        elif kind == "gap":
            signal[:, samples // 4 : samples // 2] = 0
        elif kind == "quiet channel":
            signal[draw(st.integers(0, channels - 1))] = 0
        elif samples and kind == "nan":
            signal[-1, -1] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        if level < 1e30 and draw(st.booleans()):
            signal = signal.astype("float32")
        pair.append(signal)
    if draw(st.booleans()):
        pair[1] = pair[0]
    return *pair, rate


@settings(deadline=None, max_examples=200)
@given(signals=any_signals(), recommendation=st.booleans())
def test_any_pair_has_a_finite_grade_or_a_reason_why_not(signals, recommendation):
    try:
        ours = peaq(*signals, recommendation=recommendation)
    except InputError as error:
        assert "\n" not in str(error)
        return
    event("has a grade")
    assert isinstance(ours, PeaqScore)
    assert -3.98 <= ours.odg <= 0.22
    assert all(math.isfinite(value) for value in (ours.di, *ours.variables.values()))
    for variable in ("MFPDB", "RelDistFramesB"):
        assert 0 <= ours.variables[variable] <= 1 + 1e-12
    for variable in ("BandwidthRefB", "BandwidthTestB"):
        assert ours.variables[variable] == 0 or ours.variables[variable] <= 921
