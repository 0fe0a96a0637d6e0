import numpy as np
import pytest

from tfrestore.errors import UndefinedMetricError
from tfrestore.metrics.peaq_basic.temporal_averaging import ChannelMeasures, average

pytestmark = pytest.mark.filterwarnings("error")

FRAMES = 40


def measures(frames=FRAMES, onset=24, **changes):
    """A channel in which every measure is 1 in every frame, but for the changes."""
    frame = np.arange(FRAMES) if np.isscalar(frames) else np.asarray(frames)
    values = {
        "frame": frame,
        "bandwidths": np.full((2, len(frame)), 500),
        "noise_to_mask": np.ones((2, len(frame))),
        "has_energy": np.ones(len(frame), bool),
        "harmonics": np.ones(len(frame)),
        "modulation": np.ones((3, len(frame))),
        "noise_loudness": np.ones(len(frame)),
        "onset": onset,
    }
    return ChannelMeasures(**(values | changes))


def averaged(*channels, recommendation=False, data=None, exponent=None, steps=None):
    data = np.ones((2, FRAMES), bool) if data is None else data
    exponent = np.zeros(FRAMES) if exponent is None else exponent
    steps = np.zeros(FRAMES) if steps is None else steps
    return average(list(channels), data, exponent, steps, recommendation)


both = pytest.mark.parametrize("recommendation", [False, True])


@both
def test_constant_measures_are_their_own_average(recommendation):
    values = averaged(measures(), measures(), recommendation=recommendation)
    assert values == pytest.approx(
        {
            "BandwidthRefB": 500,
            "BandwidthTestB": 500,
            "TotalNMRB": 0,
            "WinModDiff1B": 1,
            "ADBB": 0,
            "EHSB": 1,
            "AvgModDiff1B": 1,
            "AvgModDiff2B": 1,
            "RmsNoiseLoudB": 1,
            "MFPDB": 0,
            "RelDistFramesB": 0,
        }
    )


@both
def test_channels_are_averaged_after_the_logarithm(recommendation):
    louder = measures(noise_to_mask=np.full((2, FRAMES), 100.0))
    values = averaged(measures(), louder, recommendation=recommendation)
    assert values["TotalNMRB"] == pytest.approx(10)
    assert values["RelDistFramesB"] == 0.5


@both
def test_the_first_half_second_does_not_count_for_modulation_and_noise_loudness(recommendation):
    modulation = np.ones((3, FRAMES))
    modulation[:, :24] = 100
    noise_loudness = np.where(np.arange(FRAMES) < 24, 100.0, 1.0)
    channel = measures(modulation=modulation, noise_loudness=noise_loudness)
    values = averaged(channel, recommendation=recommendation)
    for name in ("WinModDiff1B", "AvgModDiff1B", "AvgModDiff2B", "RmsNoiseLoudB"):
        assert values[name] == pytest.approx(1)


@both
def test_modulation_is_weighted_and_windowed(recommendation):
    rng = np.random.default_rng(0)
    modulation = rng.random((3, FRAMES))
    values = averaged(measures(modulation=modulation), recommendation=recommendation)
    first, second, weight = modulation[:, 24:]
    assert values["AvgModDiff1B"] == pytest.approx((first * weight).sum() / weight.sum())
    assert values["AvgModDiff2B"] == pytest.approx((second * weight).sum() / weight.sum())
    windows = [np.mean(np.sqrt(first[end - 4 : end])) ** 4 for end in range(4, len(first) + 1)]
    assert values["WinModDiff1B"] == pytest.approx(np.sqrt(np.mean(windows)))


@both
def test_detection_is_filtered_and_its_steps_averaged_over_distorted_frames(recommendation):
    exponent = np.zeros(FRAMES)
    exponent[5] = 1e9
    exponent[6] = 0.5
    steps = np.zeros(FRAMES)
    steps[5], steps[6] = 1000, 77
    values = averaged(measures(), recommendation=recommendation, exponent=exponent, steps=steps)
    assert values["ADBB"] == pytest.approx(3)
    assert values["MFPDB"] == pytest.approx(0.1 * 0.9 + 0.1 * (1 - 0.5**0.5))
    values = averaged(measures(), recommendation=recommendation, exponent=exponent)
    assert values["ADBB"] == -0.5


def test_bandwidths_are_averaged_over_wide_frames_of_each_signal_or_of_the_reference():
    bandwidths = np.full((2, FRAMES), 500)
    bandwidths[1, ::2] = 346
    bandwidths[:, 0] = 100
    channel = measures(bandwidths=bandwidths)
    assert averaged(channel)["BandwidthRefB"] == 500
    assert averaged(channel)["BandwidthTestB"] == 500
    values = averaged(channel, recommendation=True)
    assert values["BandwidthRefB"] == 500
    assert values["BandwidthTestB"] == pytest.approx((20 * 500 + 19 * 346) / 39)


@both
def test_no_wide_frame_is_a_bandwidth_of_zero(recommendation):
    channel = measures(bandwidths=np.full((2, FRAMES), 346))
    values = averaged(channel, recommendation=recommendation)
    assert values["BandwidthRefB"] == values["BandwidthTestB"] == 0


def test_data_boundaries_are_per_frame_or_from_the_first_to_the_last_of_the_reference():
    data = np.zeros((2, FRAMES), bool)
    data[0, [10, 30]] = True
    data[1, 39] = True
    ratios = np.tile(np.arange(FRAMES) + 1.0, (2, 1))
    channel = measures(noise_to_mask=ratios)
    assert averaged(channel, data=data)["TotalNMRB"] == pytest.approx(
        10 * np.log10((11 + 31 + 40) / 3)
    )
    assert averaged(channel, data=data, recommendation=True)["TotalNMRB"] == pytest.approx(
        10 * np.log10(np.arange(11, 32).mean())
    )


def test_noise_loudness_begins_three_frames_after_the_onset_in_either_channel():
    noise_loudness = np.full(FRAMES, 2.0)
    noise_loudness[:33] = 100
    noise_loudness[33] = 4
    channels = (
        measures(onset=None, noise_loudness=noise_loudness),
        measures(onset=30, noise_loudness=2 * noise_loudness),
    )
    root_mean_square = np.sqrt((4**2 + 6 * 2**2) / 7)
    assert averaged(*channels, recommendation=True)["RmsNoiseLoudB"] == pytest.approx(
        1.5 * root_mean_square
    )


def test_the_reference_leaves_unmeasured_frames_out_and_counts_those_before_the_onset():
    noise_loudness = np.full(FRAMES, 4.0)
    noise_loudness[:30] = 0
    noise_loudness[30:34] = np.nan
    values = averaged(measures(noise_loudness=noise_loudness))
    assert values["RmsNoiseLoudB"] == pytest.approx(np.sqrt(6 * 16 / 12))


@pytest.mark.parametrize("onset", [None, 37])
def test_a_pair_that_is_never_loud_for_long_has_no_noise_loudness(onset):
    with pytest.raises(UndefinedMetricError, match="louder than 0.1 sone"):
        averaged(measures(onset=onset), recommendation=True)


def test_harmonics_fade_in_the_reference_when_the_first_channel_falls_silent():
    energy = np.ones(FRAMES, bool)
    energy[-3:] = False
    first = measures(has_energy=energy, harmonics=np.full(FRAMES, 16.0))
    second = measures(harmonics=np.zeros(FRAMES))
    # (16 + 0) / 2, then three times halved towards the second channel's 0.
    assert averaged(first, second)["EHSB"] == pytest.approx(8 / 2**3)
    assert averaged(first, second, recommendation=True)["EHSB"] == pytest.approx(8)


def test_undefined_harmonics_count_as_none_but_in_the_references_last_frame_as_zero():
    harmonics = np.full(FRAMES, 5.0)
    harmonics[::2] = np.nan
    values = [averaged(measures(harmonics=harmonics), recommendation=r) for r in (False, True)]
    assert [value["EHSB"] for value in values] == [5, 5]
    harmonics[-1] = np.nan
    values = [averaged(measures(harmonics=harmonics), recommendation=r) for r in (False, True)]
    assert [value["EHSB"] for value in values] == [0, 5]


def test_the_reference_drops_a_channel_that_is_left_out_of_the_last_frame():
    partial = {
        "bandwidths": np.full((2, FRAMES - 1), 900),
        "noise_to_mask": np.full((2, FRAMES - 1), 1000.0),
        "modulation": np.full((3, FRAMES - 1), 9.0),
    }
    values = averaged(measures(), measures(frames=np.arange(FRAMES - 1), **partial))
    assert values["BandwidthRefB"] == 500
    assert values["TotalNMRB"] == pytest.approx(0)
    assert values["AvgModDiff1B"] == pytest.approx(1)
    # In the last frame but one, or any other, it does not.
    values = averaged(measures(), measures(frames=np.delete(np.arange(FRAMES), 5), **partial))
    assert values["BandwidthRefB"] == 700
    assert values["TotalNMRB"] == pytest.approx(15)
    assert values["AvgModDiff1B"] == pytest.approx(5)


def test_three_channels_have_the_mean_of_three():
    channels = [measures(harmonics=np.full(FRAMES, float(value))) for value in (1, 2, 6)]
    for recommendation in (False, True):
        assert averaged(*channels, recommendation=recommendation)["EHSB"] == pytest.approx(3)
