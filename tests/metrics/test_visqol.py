import csv
import itertools
import json
import multiprocessing
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.audio.mp3 import mp3_round_trip
from tfrestore.audio.resampling import resample
from tfrestore.errors import InputError, UndefinedMetricError, UsageError
from tfrestore.metrics.visqol_audio import (
    alignment,
    gammatone,
    matching,
    patches,
    similarity,
    visqol,
)

GOLDEN = Path(__file__).parent / "golden"
with open(GOLDEN / "scores.tsv") as table:
    ROWS = csv.DictReader(table, dialect="excel-tab")
    SCORES = {row["pair"]: float(row["visqol_moslqo"]) for row in ROWS}
RATE = 48000
SHORTEST = 46080


def read(pair, what):
    return soundfile.read(GOLDEN / f"{pair}.{what}.flac", always_2d=True)[0].T


def music(seconds=2.0, pair="mp3_64_stereo"):
    return read(pair, "reference").mean(axis=0)[: int(seconds * RATE)]


def with_noise(waveform, decibels, seed=0):
    noise = np.random.default_rng(seed).standard_normal(waveform.shape)
    return waveform + noise * waveform.std() * 10 ** (-decibels / 20)


@pytest.mark.parametrize("pair", SCORES)
def test_the_scores_are_the_reference_implementations(pair):
    # The table has five decimals.
    score = visqol(read(pair, "reference"), read(pair, "test"), RATE)
    assert score == pytest.approx(SCORES[pair], abs=6e-6)


# Google's implementation scores a recording beside itself with 4.7321.
@pytest.mark.parametrize("seconds", [0.96, 2.0])
def test_a_recording_beside_itself_has_the_highest_score(seconds):
    waveform = music(seconds)
    assert visqol(waveform, waveform, RATE) == pytest.approx(4.7321, abs=1e-4)
    assert visqol(waveform, with_noise(waveform, 60), RATE) < 4.7321


PACKAGE = """
import json, sys
sys.modules["numba"] = None  # the package's own results without it are the same, and start sooner
import numpy as np
from visqol import VisqolApi
api = VisqolApi()
api.create(mode="audio")
signals = np.load(sys.argv[1])
count = len(signals.files) // 2
print(json.dumps([
    api.measure_from_arrays(signals[f"reference{i}"], signals[f"estimate{i}"], 48000).moslqo
    for i in range(count)
]))
"""


def degradations():
    """Pairs that exercise every step: lags, lost sound, other levels, odd and prime lengths."""
    rng = np.random.default_rng(1)
    waveform = music(1.6)
    samples = len(waveform)
    yield "MP3", waveform, mp3_round_trip(waveform[None].astype("float32"), RATE, 32)[0]
    yield "late", waveform, np.concatenate([np.zeros(1234), waveform])[:samples]
    lost = waveform.copy()
    lost[30000:60000] = 0
    yield "silent inside", lost, waveform
    yield "another level", waveform[:60013], 3e-3 * with_noise(waveform, 25)[:60013]
    yield "offset", waveform[:50001], waveform[:50001] - 0.4
    yield "something else", waveform[:60000], music(2, "noise_30db")[:60000]
    yield "much cut off", waveform, np.concatenate([waveform[30000:], np.zeros(30000)])
    yield "noise", rng.standard_normal(SHORTEST), rng.standard_normal(SHORTEST)


def test_the_scores_equal_the_packages(tmp_path):
    names, references, estimates = zip(*degradations(), strict=True)
    signals = {}
    for number, (reference, estimate) in enumerate(zip(references, estimates, strict=True)):
        signals |= {f"reference{number}": reference, f"estimate{number}": estimate}
    np.savez(tmp_path / "signals.npz", **signals)
    # In a process of its own: what the package does with libsvm's threads stays out of this one.
    command = [sys.executable, "-c", PACKAGE, str(tmp_path / "signals.npz")]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300)
    ours = [visqol(*pair, RATE) for pair in zip(references, estimates, strict=True)]
    assert dict(zip(names, ours, strict=True)) == pytest.approx(
        dict(zip(names, json.loads(done.stdout), strict=True)), abs=1e-6
    )


def test_more_noise_never_sounds_better():
    waveform = music()
    scores = [visqol(waveform, with_noise(waveform, level), RATE) for level in range(60, 0, -10)]
    assert sorted(scores, reverse=True) == scores
    assert scores[0] > 4.7 and scores[-1] < 2


def test_channels_are_averaged():
    reference, estimate = read("mp3_64_stereo", "reference"), read("mp3_64_stereo", "test")
    reference, estimate = reference[:, :60000], estimate[:, :60000]
    score = visqol(reference, estimate, RATE)
    assert score == visqol(reference.mean(axis=0), estimate.mean(axis=0), RATE)
    assert score == pytest.approx(visqol(reference[::-1], estimate[::-1], RATE), abs=1e-9)
    mono = reference.mean(axis=0)
    assert visqol(mono, with_noise(mono, 20), RATE) == pytest.approx(
        visqol(np.stack([mono] * 4), np.stack([with_noise(mono, 20)] * 4), RATE), abs=1e-9
    )


# 44.1 kHz loses what is above 22.05 kHz, which only the highest of 32 bands hears.
@pytest.mark.parametrize("sample_rate", [44100, 96000])
@pytest.mark.parametrize("pair", ["mp3_16", "noise_30db", "mp3_128_stereo"])
def test_the_sample_rate_moves_the_score_by_less_than_5_thousandths(pair, sample_rate):
    signals = [read(pair, what).astype("float32") for what in ("reference", "test")]
    signals = [resample(each, RATE, sample_rate) for each in signals]
    assert visqol(*signals, sample_rate) == pytest.approx(SCORES[pair], abs=5e-3)


def test_level_sign_and_delay_of_the_estimate_do_not_count():
    waveform = music()
    noisy = with_noise(waveform, 20)
    score = visqol(waveform, noisy, RATE)
    for other in (noisy * 1e-6, noisy * 30, -noisy):
        assert visqol(waveform, other, RATE) == pytest.approx(score, abs=1e-9)
    # Where the sound begins and ends in silence, a delay loses nothing of it.
    fade = np.minimum(np.minimum(np.arange(len(waveform)), np.arange(len(waveform))[::-1]), 9600)
    framed = [np.pad(each * fade / 9600, 9600) for each in (waveform, noisy)]
    moved = [np.roll(framed[1], lag) for lag in (-5000, 5000)]
    score = visqol(*framed, RATE)
    assert [visqol(framed[0], each, RATE) for each in moved] == pytest.approx([score] * 2, abs=0.05)


def test_integers_and_single_precision_are_taken_as_they_are():
    waveform = np.round(music(1) * 2**15)
    noisy = np.round(with_noise(waveform, 20))
    score = visqol(waveform, noisy, RATE)
    assert visqol(waveform.astype("int32"), noisy.astype("int32"), RATE) == score
    assert visqol(waveform.astype("float32"), noisy.astype("float32"), RATE) == score
    assert visqol(waveform.tolist(), noisy.tolist(), float(RATE)) == score


def test_a_spawned_pool_gives_the_same_scores():
    waveform = music(1.5)
    pairs = [(waveform, with_noise(waveform, level)) for level in (10, 20, 30, 40)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        futures = [pool.submit(visqol, *pair, RATE) for pair in pairs]
        scores = [future.result(timeout=120) for future in futures]
    assert scores == pytest.approx([visqol(*pair, RATE) for pair in pairs], abs=1e-9)


FORKED = """
import multiprocessing, sys
import numpy as np
from concurrent.futures import ProcessPoolExecutor
from tfrestore.metrics.visqol_audio import visqol
reference, estimate = np.load(sys.argv[1])
before = visqol(reference, estimate, 48000)
with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
    futures = [pool.submit(visqol, reference, estimate, 48000) for _ in range(4)]
    print(max(abs(future.result() - before) for future in futures))
print([name for name in ("numba", "libsvm", "visqol", "tensorflow") if name in sys.modules])
"""


def test_a_process_forked_after_a_measurement_measures_too(tmp_path):
    # In visqol-python, it waits for ever for threads that the fork has not taken along.
    waveform = music(1)
    np.save(tmp_path / "pair.npy", [waveform, with_noise(waveform, 20)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKED, str(tmp_path / "pair.npy")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    difference, imported = done.stdout.splitlines()
    assert float(difference) < 1e-9
    assert imported == "[]"
    assert done.stderr == ""


@pytest.mark.filterwarnings("error")
def test_silence_has_no_score():
    waveform, silence = music(1), np.zeros(RATE)
    for quiet in (silence, silence + 0.0, waveform * 1e-200, waveform / 1e7):
        with pytest.raises(UndefinedMetricError, match="^the reference is silent$"):
            visqol(quiet, waveform, RATE)
    with pytest.raises(UndefinedMetricError, match="^the estimate is silent$"):
        visqol(waveform, silence, RATE)
    with pytest.raises(UndefinedMetricError, match="^the reference is silent$"):
        visqol(np.stack([waveform, -waveform]), np.stack([waveform, waveform]), RATE)
    # A click where the first frame's window is zero, and a recording that is silent elsewhere.
    click = np.eye(1, RATE)[0]
    with pytest.raises(UndefinedMetricError, match="^the reference is silent$"):
        visqol(click, waveform, RATE)
    assert visqol(np.roll(click, RATE // 2), np.roll(click, RATE // 2), RATE) > 4.7


@pytest.mark.filterwarnings("error")
def test_the_shortest_recording_lasts_45_frames():
    # 44 hops of 20 ms and a window of 80 ms.
    assert patches.LEAST_SAMPLES == SHORTEST == 44 * 960 + 3840
    waveform = music(2)
    assert visqol(waveform[:SHORTEST], waveform[:SHORTEST], RATE) > 4.7
    assert visqol(waveform[:42336], waveform[:42336], 44100) > 4.7
    for samples, rate in ((SHORTEST - 1, RATE), (42335, 44100), (1, RATE), (0, RATE), (1, 44100)):
        with pytest.raises(UndefinedMetricError, match=r"^shorter than 0\.96 s$"):
            visqol(waveform[:samples], waveform[:samples], rate)


@pytest.mark.filterwarnings("error")
def test_samples_that_are_not_finite_or_overflow_have_no_score():
    waveform = music(1)
    for value in (np.nan, np.inf, -np.inf):
        broken = waveform.copy()
        broken[777] = value
        for pair in ((broken, waveform), (waveform, broken)):
            with pytest.raises(UndefinedMetricError, match="^a sample is not a finite number$"):
                visqol(*pair, RATE)
    with pytest.raises(UndefinedMetricError, match="not a finite number"):
        visqol(waveform * 1e39, waveform, 44100)
    for gain in (1e153, 1e300):
        with pytest.raises(UndefinedMetricError, match="too large"):
            visqol(waveform * gain, waveform, RATE)
    with pytest.raises(UndefinedMetricError, match="too large"):
        visqol(waveform, waveform * 1e300, RATE)


def test_what_cannot_be_compared_is_refused_in_one_line():
    waveform = music(1)
    for reference, estimate in (
        (waveform, waveform[:-1]),
        (waveform, waveform[None]),
        (waveform[None, None], waveform[None, None]),
        (np.zeros((0, RATE)), np.zeros((0, RATE))),
        (0.5, 0.5),
    ):
        with pytest.raises(InputError, match="samples") as caught:
            visqol(reference, estimate, RATE)
        assert not isinstance(caught.value, UndefinedMetricError)
        assert "\n" not in str(caught.value)
    for rate in (0, -48000, 44100.5):
        with pytest.raises(UsageError, match="sample rate"):
            visqol(waveform, waveform, rate)


samples = st.floats(width=64) | st.sampled_from([0.0, 1.0, -1.0, 1e-5, 1e-160, 1e160])


@settings(deadline=None, max_examples=40)
@given(
    st.lists(samples, min_size=1, max_size=6),
    st.lists(samples, min_size=1, max_size=6),
    st.integers(1, 2),
    st.integers(SHORTEST - 2, SHORTEST + 2000),
    st.sampled_from([RATE, 44100, 8000]),
    st.booleans(),
)
def test_garbage_has_a_score_on_the_scale_or_a_reason(
    reference, estimate, channels, length, rate, steady
):
    fill = np.repeat if steady else np.tile
    pair = [
        fill(each, -(-length * channels // len(each)))[: length * channels].reshape(channels, -1)
        for each in map(np.array, (reference, estimate))
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            score = visqol(*pair, rate)
        except UndefinedMetricError as error:
            assert str(error) and "\n" not in str(error)
        else:
            assert 1 <= score < 4.7322


def test_nothing_is_printed(capfd):
    # The package warns of dropped patches where an alignment leaves little of the estimate.
    waveform = music(2)
    visqol(waveform, np.concatenate([waveform[40000:], np.zeros(40000)]), RATE)
    assert capfd.readouterr() == ("", "")


def test_the_spectrogram_is_that_of_the_filters_output():
    waveform = with_noise(music(1), 40)[: 3840 + 3 * 960]
    waveform[5000:] *= 1e-3
    frames = np.stack([waveform[i * 960 :][:3840] * np.hanning(3840) for i in range(4)])
    spectrogram = gammatone.spectrogram(waveform)
    frequencies = gammatone._centre_frequencies()
    assert frequencies[0] == pytest.approx(50) and len(frequencies) == 32
    assert frequencies[-1] < 24000
    # Steps on the ERB scale are equal.
    np.testing.assert_allclose(np.diff(np.log(frequencies + 24.7 * 9.26449), 2), 0, atol=1e-12)
    for band, frequency in enumerate(frequencies):
        output = scipy.signal.sosfilt(gammatone._sections(frequency), frames)
        level = np.sqrt(np.mean(output**2, axis=1))
        np.testing.assert_allclose(spectrogram[band], level, rtol=1e-6)


@pytest.mark.parametrize("band", [16, 20, 24, 31])
def test_the_filters_are_slaneys(band):
    # SciPy's are too, as one polynomial, which low bands are too narrow for.
    frequency = gammatone._centre_frequencies()[band]
    expected = scipy.signal.gammatone(frequency, "iir", fs=RATE)
    points = np.linspace(0.01, 3, 500)
    ours = scipy.signal.sosfreqz(gammatone._sections(frequency), points)[1]
    theirs = scipy.signal.freqz(*expected, points)[1]
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), rtol=1e-4, atol=1e-9)


def direct_nsim(reference, estimate):
    """The similarity of every cell, from its equation."""
    kernel = similarity.WEIGHTS.reshape(3, 3)

    def blurred(cells):
        return scipy.ndimage.correlate(cells, kernel, mode="nearest")

    means = blurred(reference), blurred(estimate)
    variances = [
        np.maximum(blurred(each**2) - mean**2, 0)
        for each, mean in zip((reference, estimate), means, strict=True)
    ]
    covariance = blurred(reference * estimate) - means[0] * means[1]
    intensity = (2 * means[0] * means[1] + 1e-4) / (means[0] ** 2 + means[1] ** 2 + 1e-4)
    return intensity * (covariance + 4.5e-4) / (np.sqrt(variances[0] * variances[1]) + 4.5e-4)


def test_nsim_is_its_equation():
    rng = np.random.default_rng(0)
    reference, estimate = rng.uniform(0, 60, (2, 32, 27))
    bands = similarity.band_similarities(reference, estimate)
    np.testing.assert_allclose(bands, direct_nsim(reference, estimate).mean(axis=1), atol=1e-9)
    np.testing.assert_allclose(similarity.band_similarities(reference, reference), 1, rtol=1e-12)
    floor = np.zeros((32, 30))
    assert (similarity.band_similarities(floor, floor) == 1).all()


def test_the_search_compares_whole_patches():
    rng = np.random.default_rng(0)
    reference, estimate = rng.uniform(0, 60, (2, 32, 90))
    starts, windows = np.array([14, 44]), [range(0, 90), range(30, 75)]
    found = similarity.search_similarities(reference, starts, estimate, windows)
    beyond = np.pad(estimate, ((0, 0), (0, 30)))
    for start, window, similarities in zip(starts, windows, found, strict=True):
        patch = reference[:, start : start + 30]
        expected = [direct_nsim(patch, beyond[:, i : i + 30]).mean() for i in window]
        np.testing.assert_allclose(similarities, expected, atol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_the_matches_are_the_best_of_all_in_order(monkeypatch, seed):
    rng = np.random.default_rng(seed)
    frames, starts = 6, np.array([0, 1, 3])
    monkeypatch.setattr(matching, "_SEARCH_FRAMES", 3)
    windows = [range(0, 4), range(0, 5), range(0, 6)]
    table = [rng.uniform(-1, 1 - seed / 10, len(window)) for window in windows]

    def search(reference, given_starts, estimate, given_windows):
        assert given_windows == windows
        return table

    monkeypatch.setattr(matching, "search_similarities", search)

    def total(choice):
        kept = [(patch, frame) for patch, frame in enumerate(choice) if frame is not None]
        ordered = all(a[1] < b[1] for a, b in itertools.pairwise(kept))
        inside = all(frame in windows[patch] for patch, frame in kept)
        if not (ordered and inside and choice[0] is not None):
            return -np.inf
        return sum(table[patch][frame] for patch, frame in kept)

    found = matching.match_patches(np.zeros((32, 40)), starts, np.zeros((32, frames)))
    best = max(map(total, itertools.product([None, *range(frames)], repeat=3)))
    assert total(found) == pytest.approx(best)


@pytest.mark.parametrize("samples", [1000, 997, 998, 1001, 3])
def test_the_hilbert_transform_is_scipys_at_any_length(samples):
    waveform = np.random.default_rng(0).standard_normal(samples)
    np.testing.assert_allclose(
        alignment._hilbert_transform(waveform), scipy.signal.hilbert(waveform).imag, atol=1e-12
    )


@settings(deadline=None, max_examples=20)
@given(st.integers(-400, 400), st.integers(0, 50))
def test_the_lag_is_found_and_undone(lag, extra):
    burst = np.random.default_rng(0).standard_normal(300) * np.hanning(300)
    reference, estimate = np.zeros(1500), np.zeros(1500 + extra)
    reference[600:900] = burst
    estimate[600 - lag : 900 - lag] = burst
    assert alignment.best_lag(reference, estimate) == lag
    shifted = alignment.shifted(estimate, lag)
    assert len(shifted) == len(estimate) + lag
    np.testing.assert_array_equal(shifted[600:900], burst)


def test_a_lag_of_more_than_half_of_the_recording_is_not_believed():
    reference, estimate = np.zeros((2, 1000))
    reference[990], estimate[10] = 1, 1
    assert alignment.best_lag(reference, estimate) == 0
