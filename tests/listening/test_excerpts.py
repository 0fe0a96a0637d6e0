import numpy as np
import pyloudnorm
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.audio.reading import AudioReader
from tfrestore.errors import AudioFileError, InputError
from tfrestore.listening.excerpts import choose_starts, cut_excerpt, open_recordings


def noise(seconds, sample_rate=16000, amplitude=0.1, seed=0, channels=1):
    samples = round(seconds * sample_rate)
    waveform = np.random.default_rng(seed).standard_normal((samples, channels))
    return amplitude * np.clip(waveform, -4, 4)


def record(folder, **waveforms):
    """A file per system; a value is a waveform, or one with its sample rate."""
    files = {}
    for name, value in waveforms.items():
        waveform, rate = value if isinstance(value, tuple) else (value, 16000)
        files[name] = folder / f"{name}.wav"
        soundfile.write(files[name], waveform, rate, "FLOAT")
    return files


def loudness(waveform, sample_rate):
    return pyloudnorm.Meter(sample_rate).integrated_loudness(waveform.T.astype(np.float64))


def test_all_systems_get_one_loudness(tmp_path):
    quiet, loud = noise(3, amplitude=0.003), noise(3, amplitude=0.2, channels=2, seed=1)
    recordings = open_recordings("song", record(tmp_path, a=quiet, b=loud), 2)
    excerpt = cut_excerpt(recordings, 0.4, 2, target=-23)
    assert excerpt.loudness == -23
    for waveform in excerpt.signals.values():
        assert waveform.shape == (2, 32000)
        assert loudness(waveform, 16000) == pytest.approx(-23, abs=0.05)


def test_the_loudness_is_lowered_for_all_where_one_would_clip(tmp_path, caplog):
    caplog.set_level("INFO")
    spiky = noise(2, amplitude=0.01)
    spiky[16000] = 1.0
    recordings = open_recordings("song", record(tmp_path, a=spiky, b=noise(2)), 2)
    excerpt = cut_excerpt(recordings, 0, 2, target=-10)
    levels = [loudness(waveform, 16000) for waveform in excerpt.signals.values()]
    assert levels == pytest.approx([excerpt.loudness] * 2, abs=0.05) and excerpt.loudness < -10
    peak = max(np.abs(waveform).max() for waveform in excerpt.signals.values())
    assert 0.7 < peak <= 10 ** (-1 / 20) + 1e-4
    assert "louder would clip" in caplog.text


def test_the_stretch_is_the_same_in_every_system_whatever_the_rate(tmp_path):
    def click(rate):
        waveform = noise(4, rate, amplitude=0.001)
        waveform[round(2.6 * rate)] = 0.9
        return waveform, rate

    files = record(tmp_path, a=click(16000), b=click(22050), c=click(44100))
    recordings = open_recordings("song", files, 1)
    excerpt = cut_excerpt(recordings, 2.2, 1, target=-40)
    assert excerpt.sample_rate == 44100
    places = [int(np.abs(waveform[0]).argmax()) for waveform in excerpt.signals.values()]
    assert places == [pytest.approx(0.4 * 44100, abs=1)] * 3
    assert {waveform.shape for waveform in excerpt.signals.values()} == {(2, 44100)}


def test_with_a_reference_its_rate_is_taken(tmp_path):
    files = record(tmp_path, a=noise(2, 44100), reference=noise(2))
    files["a"].rename(tmp_path / "a44.wav")
    soundfile.write(files["a"], noise(2, 44100), 44100)
    assert open_recordings("song", files, 1, reference="reference").sample_rate == 16000
    assert open_recordings("song", files, 1).sample_rate == 44100


def test_both_ends_are_faded_over_5_ms(tmp_path):
    recordings = open_recordings(
        "song", record(tmp_path, a=np.full(32000, 0.5)[:, None] + noise(2)), 2
    )
    (waveform,) = cut_excerpt(recordings, 0, 2, target=-23).signals.values()
    level = np.abs(waveform[0, 1000:-1000]).mean()
    for end in (waveform[0], waveform[0, ::-1]):
        assert abs(end[0]) < 0.01 * level
        # Half of a raised cosine is half of the level.
        assert np.abs(end[36:45]).mean() == pytest.approx(level / 2, rel=0.3)
        assert np.abs(end[80:200]).mean() == pytest.approx(level, rel=0.2)


def test_an_anchor_keeps_its_references_level_and_has_nothing_above_3500_hz(tmp_path):
    recordings = open_recordings("song", record(tmp_path, a=noise(2), original=noise(2)), 2)
    excerpt = cut_excerpt(recordings, 0, 2, -23, "original", {"anchor": 3500})
    spectra = {n: np.abs(np.fft.rfft(w[0])) for n, w in excerpt.signals.items()}
    frequency = np.arange(16001) / 2
    low, high = (frequency > 100) & (frequency < 3400), frequency > 4500
    assert spectra["anchor"][low] == pytest.approx(spectra["original"][low], rel=0.05, abs=1)
    assert spectra["anchor"][high].max() < 0.01 * spectra["original"][high].max()


def test_excerpts_are_of_the_louder_half_and_do_not_overlap(tmp_path):
    waveform = noise(20)
    waveform[: 10 * 16000] *= 0.01
    recordings = open_recordings("song", record(tmp_path, a=waveform), 2)
    starts = choose_starts(recordings, "a", 2, 3, seed=0)
    assert starts == sorted(starts) and len(starts) == 3 and min(starts) >= 8
    assert np.diff(starts).min() >= 2 and max(starts) <= 18


def test_the_seed_and_the_name_decide_which(tmp_path):
    files = record(tmp_path, a=noise(30))
    one, two = (open_recordings(name, files, 1) for name in ("one", "two"))
    chosen = [choose_starts(each, "a", 1, 1, seed) for each in (one, two) for seed in range(4)]
    assert chosen == [choose_starts(e, "a", 1, 1, seed) for e in (one, two) for seed in range(4)]
    assert len({start for (start,) in chosen}) > 4


@pytest.mark.parametrize("seed", range(5))
def test_a_track_that_is_mostly_silent_gives_music(tmp_path, seed):
    waveform = noise(20)
    waveform[: 14 * 16000] *= 1e-6
    recordings = open_recordings("song", record(tmp_path, a=waveform), 2)
    (start,) = choose_starts(recordings, "a", 2, 1, seed)
    assert start > 12


@pytest.mark.parametrize("seed", range(10))
def test_as_many_excerpts_as_fit_are_found(tmp_path, caplog, seed):
    recordings = open_recordings("song", record(tmp_path, a=noise(6.1)), 2)
    starts = choose_starts(recordings, "a", 2, 3, seed)
    assert len(starts) == 3 and np.diff(starts).min() >= 2 and not caplog.records


def test_fewer_excerpts_than_wanted_are_told(tmp_path, caplog):
    recordings = open_recordings("song", record(tmp_path, a=noise(2.5)), 2)
    assert len(choose_starts(recordings, "a", 2, 3, seed=0)) == 1
    assert "song: only 1 of 3 excerpts fit into its 2.5 s." in caplog.text


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.floats(1, 3), st.integers(16000, 70000), st.integers(0, 2**64 - 1))
def test_every_excerpt_lies_within_the_recording(tmp_path_factory, count, seconds, samples, seed):
    if samples / 16000 < seconds:
        return
    files = record(tmp_path_factory.mktemp("track"), a=noise(samples / 16000))
    recordings = open_recordings("song", files, seconds)
    starts = choose_starts(recordings, "a", seconds, count, seed)
    assert 1 <= len(starts) <= count
    for start in starts:
        assert 0 <= start <= samples / 16000 - seconds + 1e-6
        assert start / 0.2 == pytest.approx(round(start / 0.2))
    excerpt = cut_excerpt(recordings, starts[-1], seconds, target=-23)
    assert excerpt.signals["a"].shape == (2, round(seconds * 16000))


def test_lengths_that_differ_are_cut_to_the_shortest_and_told(tmp_path, caplog):
    files = record(tmp_path, long=noise(5), short=noise(3))
    recordings = open_recordings("song", files, 2)
    assert recordings.seconds == 3
    assert "short.wav is 2.0 s shorter than" in caplog.text
    assert max(choose_starts(recordings, "long", 2, 2, seed=1)) <= 1


def test_a_recording_shorter_than_an_excerpt_is_refused(tmp_path):
    files = record(tmp_path, a=noise(5), short=noise(1))
    with pytest.raises(AudioFileError, match=r"short.wav is 1.000 s long, shorter than .* 2 s"):
        open_recordings("song", files, 2)


def test_more_than_two_channels_are_refused(tmp_path):
    files = record(tmp_path, a=noise(2, channels=6))
    with pytest.raises(AudioFileError, match="has 6 channels"):
        open_recordings("song", files, 1)


def test_silence_in_one_system_is_refused(tmp_path):
    files = record(tmp_path, a=noise(2), dead=np.zeros((32000, 1)))
    recordings = open_recordings("song", files, 2)
    with pytest.raises(AudioFileError, match=r"dead.wav is silent from 0 s to 2 s"):
        cut_excerpt(recordings, 0, 2, target=-23)


def test_a_sample_that_is_no_number_is_refused(tmp_path):
    broken = noise(2)
    broken[100] = np.nan
    recordings = open_recordings("song", record(tmp_path, a=noise(2), bad=broken), 2)
    with pytest.raises(AudioFileError, match=r"bad.wav holds a sample that is not a finite"):
        cut_excerpt(recordings, 0, 2, target=-23)


def test_a_rate_too_low_for_the_anchor_is_refused_with_the_files_name(tmp_path):
    files = record(tmp_path, original=(noise(2, 8000), 8000))
    recordings = open_recordings("song", files, 2)
    with pytest.raises(InputError, match=r"original.wav: a sample rate of 8000 Hz is too low"):
        cut_excerpt(recordings, 0, 2, -23, "original", {"anchor": 3500})


def test_clipping_is_told_and_loudness_alone_is_not(tmp_path, caplog):
    clipped = np.clip(noise(2, amplitude=0.8), -1, 1)
    too_loud = noise(2, amplitude=0.8)
    recordings = open_recordings("song", record(tmp_path, clipped=clipped, hot=too_loud), 2)
    cut_excerpt(recordings, 0, 2, target=-23)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1 and "clipped.wav" in told[0] and "are clipped" in told[0]


def test_a_file_that_ends_before_its_header_says_is_refused(tmp_path, monkeypatch):
    recordings = open_recordings("song", record(tmp_path, a=noise(3)), 2)
    monkeypatch.setattr(
        AudioReader, "blocks", lambda self, *_: iter([np.full((1, 100), 0.1, np.float32)])
    )
    with pytest.raises(AudioFileError, match="a.wav ends before 3 s, earlier than its header"):
        cut_excerpt(recordings, 1, 2, target=-23)
