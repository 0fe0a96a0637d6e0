"""Spectrogram pictures: right values at the right place, and silence without complaints."""

import warnings

import numpy as np
import pytest

from tfrestore.pictures import (
    FLOOR_DB,
    MOST_COLUMNS,
    spectrogram_db,
    spectrogram_picture,
    write_picture,
)


def sine(frequency, sample_rate, seconds=1.0, amplitude=1.0):
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return amplitude * np.sin(2 * np.pi * frequency * time)


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100])
def test_a_sine_of_full_scale_has_0_db_at_its_frequency(sample_rate):
    found = spectrogram_db(sine(1000, sample_rate), sample_rate)
    bins = 2 * (found.shape[1] - 1)
    assert bins / sample_rate == pytest.approx(0.032, rel=0.42)
    peak = found.mean(axis=0).argmax()
    assert abs(peak * sample_rate / bins - 1000) <= sample_rate / bins
    assert -1.5 < found.max() <= 0.01
    quiet = spectrogram_db(sine(1000, sample_rate, amplitude=0.1), sample_rate)
    assert found.max() - quiet.max() == pytest.approx(20, abs=0.01)


def test_silence_has_the_floor_and_no_warning_is_given():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (spectrogram_db(np.zeros(5000), 16000) == FLOOR_DB).all()
        spectrogram_picture({"silence": np.zeros(8000, np.float32)}, 16000)


@pytest.mark.parametrize("samples", [1, 100, 512])
def test_a_waveform_shorter_than_a_frame_has_a_column(samples):
    assert spectrogram_db(np.ones(samples), 16000).shape == (1, 257)


def test_an_hour_has_no_more_columns_than_are_seen():
    assert spectrogram_db(np.zeros(3600 * 1000), 1000).shape[0] <= MOST_COLUMNS


def test_a_picture_has_a_panel_per_waveform_dark_where_there_is_silence():
    half = sine(2000, 16000, 2.0)
    half[16000:] = 0
    one = spectrogram_picture({"a": half}, 16000)
    two = spectrogram_picture({"a": half, "b_$x$": half}, 16000)
    assert one.dtype == np.uint8 and one.shape[1:] == two.shape[1:] == (900, 3)
    assert two.shape[0] > one.shape[0]
    # The rows around 2 kHz, a quarter up the panel, left and right of the middle.
    panel = one.astype(int).sum(axis=2)
    left, right = panel[60:-60, 120:380], panel[60:-60, 460:700]
    assert left.max() > 500 and right.max() < 10


def test_a_picture_is_written_whole_and_read_back_the_same(tmp_path):
    from matplotlib.image import imread

    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    write_picture(tmp_path / "a.png", picture)
    found = (imread(tmp_path / "a.png")[..., :3] * 255).round().astype(np.uint8)
    np.testing.assert_array_equal(found, picture)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
