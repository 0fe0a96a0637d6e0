import numpy as np
import pytest
import soundfile

from tfrestore.errors import AudioFileError
from tfrestore.restoration_pictures import (
    MOST_VERSIONS,
    SECONDS,
    frequency_profiles,
    read_excerpts,
    spectrograms,
)

RATE = 8000


def write_ramp(path, seconds, gain=1.0, channels=1):
    """A file whose samples rise evenly from 0 to `gain` / 2."""
    ramp = gain * np.linspace(0, 0.5, round(seconds * RATE))
    soundfile.write(path, np.tile(ramp[:, None], (1, channels)), RATE, "FLOAT")
    return path


def test_the_same_middle_of_all_that_there_is_is_read(tmp_path):
    source = write_ramp(tmp_path / "a.wav", 60, channels=2)
    versions = {
        "first": write_ramp(tmp_path / "1.wav", 60, gain=0.5, channels=2),
        "missing": tmp_path / "2.wav",
        "shorter": write_ramp(tmp_path / "3.wav", 40),
    }
    waveforms, rate = read_excerpts(source, versions)
    assert rate == RATE and list(waveforms) == ["a.wav (input)", "first", "shorter"]
    # The middle of the 40 seconds that all have begins at 12.5 s, in whole seconds at 12.
    start, count = 12 * RATE, SECONDS * RATE
    for name, channels, gain, seconds in (
        ("a.wav (input)", 2, 1.0, 60),
        ("first", 2, 0.5, 60),
        ("shorter", 1, 1.0, 40),
    ):
        assert waveforms[name].shape == (channels, count)
        ramp = gain * np.linspace(0, 0.5, seconds * RATE)[start : start + count]
        np.testing.assert_allclose(waveforms[name], np.tile(ramp, (channels, 1)), atol=1e-6)


def test_no_more_versions_are_shown_than_can_be_told_apart(tmp_path):
    source = write_ramp(tmp_path / "a.wav", 0.1)
    versions = {str(number): source for number in range(1, 30)}
    shown = list(read_excerpts(source, versions)[0])
    assert shown[1:] == [str(number) for number in range(1, MOST_VERSIONS + 1)]


def test_a_version_that_is_no_sound_is_named(tmp_path):
    source = write_ramp(tmp_path / "a.wav", 0.1)
    (tmp_path / "b.wav").write_text("text")
    with pytest.raises(AudioFileError, match="b.wav"):
        read_excerpts(source, {"b": tmp_path / "b.wav"})


@pytest.mark.parametrize("draw", [frequency_profiles, spectrograms])
@pytest.mark.parametrize("samples", [1, 100, 20000])
def test_any_sound_can_be_drawn_under_any_name(draw, samples):
    time = np.arange(samples) / RATE
    tone = np.stack([0.3 * np.sin(2 * np.pi * 1000 * time)] * 2).astype(np.float32)
    titles = ["$a_b^", "_hidden", "[c] <d>\n"]
    pictures = [
        draw(dict(zip(titles, (tone, level * tone, 0 * tone), strict=True)), RATE)
        for level in (1, 0.1)
    ]
    assert pictures[0].dtype == np.uint8 and pictures[0].shape[2] == 3
    if samples > 100:
        assert not np.array_equal(*pictures)


def test_every_line_of_a_profile_is_named():
    tone = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 5000)).astype(np.float32)
    named, hidden = (frequency_profiles({title: tone}, RATE) for title in ("version", "_version"))
    # Both legends are there and differ in an underscore only.
    changed = np.argwhere((named != hidden).any(axis=2))
    assert 0 < len(changed) < 2000
