import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tests.recorded_music import make_music
from tfrestore.audio.mp3 import mp3_round_trip
from tfrestore.audio.reading import AudioInfo
from tfrestore.audio.spectral_edges import SpectralEdge
from tfrestore.inspection import Inspection, inspect_waveform
from tfrestore.models.presets import Preset
from tfrestore.preset_choice import STEREO_CUTOFFS, choose, estimated_bit_rate


def preset(
    folder, name, mp3=None, gaps=None, channels=1, improves_below_cutoff=True, bandwidth=None
):
    metadata = {
        "family": "apollo",
        "sample_rate": 44100,
        "restores": {
            "channels": channels,
            "mp3": mp3 or {},
            "gaps": gaps or {},
            "bandwidth": bandwidth or {},
        },
        "improves_below_cutoff": improves_below_cutoff,
    }
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "metadata.json").write_text(json.dumps(metadata))
    return Preset(name, "apollo", {}, folder=folder / name, built_in=True)


@pytest.fixture
def presets(tmp_path):
    return [
        preset(tmp_path, "low", mp3={"16": 0.9}, improves_below_cutoff=False),
        preset(tmp_path, "wide", mp3={"16": 0.2, "32": 0.5, "64": 0.1, "128": None}),
        preset(tmp_path, "gaps", gaps={"waveform": 0.02}),
    ]


def mp3(rate, channels=1, cutoff=11000.0, sample_rate=44100):
    info = AudioInfo(Path("a.mp3"), sample_rate, channels, 44100, "MP3", "MPEG_LAYER_III")
    return Inspection(info, rate, SpectralEdge(cutoff, 60.0, 0.01, 0.01))


def copied(cutoff, holes=0.02, channels=2, subtype="PCM_16", sample_rate=44100):
    info = AudioInfo(Path("a.wav"), sample_rate, channels, 44100, "WAV", subtype)
    return Inspection(info, None, SpectralEdge(cutoff, 60.0, holes, holes))


@pytest.mark.parametrize(
    ("rate", "channels", "name"),
    [
        (16, 1, "low"),
        (32, 2, "wide"),
        (8, 1, "low"),
        (32, 1, "wide"),
        (64, 2, "wide"),
        (64, 1, "wide"),
        (128, 2, "wide"),
        (128, 1, None),
        (160, 2, None),
        (320, 2, None),
    ],
)
def test_the_preset_is_used_that_improved_such_mp3s_most(presets, rate, channels, name):
    choice = choose(mp3(rate, channels, 11000.0 if rate <= 128 else 18000.0), presets)
    assert (choice.preset.name if choice.preset else None) == name
    assert f"MP3 of {rate} kbit/s" in choice.reason and "\n" not in choice.reason
    assert ("nothing is written" in choice.reason) == (name is None)


@pytest.mark.parametrize(
    ("rate", "name"), [(24, "stereo"), (64, "stereo"), (96, None), (128, None)]
)
def test_one_channel_has_the_bits_of_two_and_is_left_alone_beyond_what_was_measured(
    tmp_path, rate, name
):
    stereo = preset(tmp_path, "stereo", mp3={"48": 1.4, "128": 0.1}, channels=2)
    choice = choose(mp3(rate, channels=1, cutoff=16000.0), [stereo])
    assert (choice.preset.name if choice.preset else None) == name
    said = f"one channel has the bits of stereo of {2 * rate} kbit/s"
    assert (said in choice.reason) == (name is None)


def test_what_is_below_the_cutoff_is_kept_where_the_preset_does_not_improve_it(presets):
    assert choose(mp3(16, cutoff=5500.0), presets).keep_below == 5500.0
    assert "keeping all below 5.5 kHz" in choose(mp3(16, cutoff=5500.0), presets).reason
    assert choose(mp3(32), presets).keep_below is None
    dull = dataclasses.replace(mp3(16), edge=SpectralEdge(5500.0, 12.0))
    # Where no end was seen, it is where LAME puts it.
    assert choose(dull, presets).keep_below == STEREO_CUTOFFS[32]


def test_a_copied_mp3_is_restored_as_what_it_was(presets):
    choice = choose(copied(STEREO_CUTOFFS[64]), presets)
    assert choice.preset.name == "wide" and "an MP3 of about 64 kbit/s" in choice.reason
    # An MP3 of many bits that was made of one of few.
    transcoded = mp3(320, 2, STEREO_CUTOFFS[64])
    assert choose(transcoded, presets).preset.name == "wide"


@pytest.mark.parametrize(
    "found",
    [
        copied(11000.0, holes=0.0),
        copied(20000.0),
        copied(None),
        copied(11000.0, subtype="VORBIS"),
        copied(11000.0, subtype="OPUS"),
    ],
)
def test_what_is_not_known_to_be_an_mp3_is_left_alone(presets, found):
    choice = choose(found, presets)
    assert choice.preset is None and "nothing is written" in choice.reason


def test_gaps_come_first(presets):
    gapped = dataclasses.replace(mp3(32), gaps=((1.0, 1.02),))
    choice = choose(gapped, presets)
    assert choice.preset.name == "gaps" and choice.keep_below is None
    assert "1 silent gap (20 ms in all)" in choice.reason
    then = choose(mp3(32), presets).preset.name
    assert f"restore the result with --preset {then}" in choice.reason
    assert choose(copied(None), presets, with_gaps=True).preset.name == "gaps"
    assert choose(gapped, presets[:2]).preset is None


@pytest.fixture
def with_bands(tmp_path, presets):
    """The presets, and two that were measured on a half and a quarter of the band."""
    return [
        *presets,
        preset(tmp_path, "narrow", bandwidth={"2": None, "4": 0.9}),
        preset(tmp_path, "both", bandwidth={"2": 0.5, "4": 0.3}),
    ]


@pytest.mark.parametrize(
    ("cutoff", "name"),
    [
        (4900.0, None),
        (5500.0, "narrow"),
        (8000.0, "narrow"),
        (9500.0, "both"),
        (11000.0, "both"),
        (12100.0, "both"),
        (12200.0, None),
        (None, None),
    ],
)
def test_a_band_that_ends_early_is_extended_as_those_that_were_measured(with_bands, cutoff, name):
    choice = choose(copied(cutoff, holes=0.0), with_bands)
    assert (choice.preset.name if choice.preset else None) == name and choice.keep_below is None
    if name:
        assert f"nothing above {cutoff / 1000:.1f} kHz: what is above" in choice.reason
    else:
        assert "nothing that the presets restore was found" in choice.reason
    # Of holes an MP3 was made, and what names its codec was encoded by that.
    assert choose(copied(5500.0), with_bands).preset.name == "wide"
    assert choose(copied(11000.0, subtype="VORBIS"), with_bands).preset is None


@pytest.mark.parametrize(
    ("rate", "output_rate", "name", "chosen", "said"),
    [
        (22050, None, "both", 44100, "a sample rate of 22050 Hz: what is above 11.0 kHz is made"),
        (22050, 44100, "both", None, "a sample rate of 22050 Hz: what is above 11.0 kHz is made"),
        (22050, 22050, None, None, "22050 Hz have no room above 11.025 kHz, 44100 Hz have for all"),
        (22050, 24000, None, None, "24000 Hz have no room above 12 kHz, 44100 Hz have for all"),
        (11025, 22050, "narrow", None, "22050 Hz have no room above 11.025 kHz"),
        (11025, None, "narrow", 44100, "its own 11025 Hz have no room above 5.5125 kHz"),
        (32000, None, None, None, "nothing that the presets restore was found"),
        (8000, None, None, None, "nothing that the presets restore was found"),
        (44100, 88200, None, None, "nothing that the presets restore was found"),
    ],
)
def test_a_low_sample_rate_is_made_up_for_at_the_presets(
    with_bands, rate, output_rate, name, chosen, said
):
    found = copied(None, sample_rate=rate)
    choice = choose(found, with_bands, output_rate=output_rate)
    assert (choice.preset.name if choice.preset else None) == name
    assert choice.output_rate == chosen and (", at 44100 Hz" in choice.reason) == bool(chosen)
    assert said in choice.reason and ("nothing is written" in choice.reason) == (name is None)
    assert choice.is_final != ("at a higher rate only" in choice.reason)


def test_what_is_left_alone_is_told_with_what_was_found_and_what_the_presets_cover(with_bands):
    covered = (
        "MP3s of up to 64 kbit/s and copies of them, bands that end at 5 to 12 kHz, silent gaps of "
        "up to 0.4 s"
    )
    rest = f"nothing that the presets restore was found ({covered}), so nothing is written"
    for found, said in (
        (copied(4300.0, holes=0.0), "WAV, nothing above 4.3 kHz"),
        (copied(None, sample_rate=8000), "WAV, a sample rate of 8000 Hz"),
        (copied(None), "WAV"),
    ):
        assert choose(found, with_bands).reason == f"{said}: {rest}"
    assert choose(copied(None), []).reason == "WAV: no preset is shipped, so nothing is written"
    # A half of the band was not improved by this one, which covers a quarter.
    assert "(bands that end at 5 to 6 kHz)" in choose(copied(None), with_bands[-2:-1]).reason


def test_a_band_that_ends_within_a_low_rate_is_extended_at_any(with_bands):
    found = copied(5500.0, 0.0, sample_rate=22050)
    for output_rate, chosen in ((None, 44100), (22050, None)):
        choice = choose(found, with_bands, output_rate=output_rate)
        assert choice.preset.name == "narrow" and choice.output_rate == chosen


@pytest.mark.parametrize(
    ("own_rate", "output_rate", "chosen", "said"),
    [
        (8000, None, 44100, ", at 44100 Hz: its own 8000 Hz have no room above 4 kHz"),
        (24000, None, 44100, ", at 44100 Hz: its own 24000 Hz have no room above 12 kHz"),
        (8000, 44100, None, ""),
        (8000, 8000, None, "; 8000 Hz have no room above 4 kHz, 44100 Hz have for all"),
        (44100, None, None, ""),
        (44100, 22050, None, "; 22050 Hz have no room above 11.025 kHz, 44100 Hz have for all"),
        (48000, None, None, ""),
    ],
)
def test_an_mp3_of_a_low_sample_rate_is_written_at_the_presets(
    presets, own_rate, output_rate, chosen, said
):
    found = mp3(32, channels=2, cutoff=3900.0, sample_rate=own_rate)
    choice = choose(found, presets, output_rate=output_rate)
    assert choice.preset.name == "wide" and choice.output_rate == chosen
    assert choice.reason.endswith(f"restored with wide{said}")


def test_gaps_are_filled_at_the_recordings_own_rate(presets):
    gapped = dataclasses.replace(mp3(32, sample_rate=8000), gaps=((1.0, 1.02),))
    choice = choose(gapped, presets)
    assert choice.preset.name == "gaps" and choice.output_rate is None


def test_without_presets_nothing_is_restored():
    for found in (mp3(16), copied(11000.0), copied(None)):
        assert choose(found, []).preset is None


def test_the_table_is_what_lame_does():
    """Noise through LAME ends where the table says, of one channel at half the bit rate."""
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.normal(size=(2, 2 * 44100))).astype(np.float32)
    for rate in (32, 64, 96, 128):
        found = inspect_waveform(mp3_round_trip(noise, 44100, rate), 44100)
        assert abs(found.cutoff - STEREO_CUTOFFS[rate]) < 400
        # At 96 and 112 kbit/s LAME cuts off within 0.3 kHz.
        assert rate <= estimated_bit_rate(found) <= 1.2 * rate
    found = inspect_waveform(mp3_round_trip(noise[:1], 44100, 64), 44100)
    assert estimated_bit_rate(found) == 64


def test_a_waveform_is_chosen_for_as_a_file_is(monkeypatch, presets):
    from tfrestore import preset_choice

    monkeypatch.setattr(preset_choice, "shipped_presets", lambda: presets)
    music = make_music()
    assert preset_choice.choose_for_waveform(music, 44100).preset is None
    transcoded = mp3_round_trip(music, 44100, 64)
    assert preset_choice.choose_for_waveform(transcoded, 44100).preset.name == "wide"
    low = preset_choice.choose_for_waveform(make_music(rate=22050), 22050)
    assert low.output_rate is None
