from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from tests.conftest import synthesize
from tfrestore.data.degradation import parse_degradation
from tfrestore.data.tracks import open_folder
from tfrestore.errors import UsageError
from tfrestore.evaluation.measurement import DEGRADED
from tfrestore.evaluation.restorations import Restorations
from tfrestore.evaluation.spectrogram_gaps import measure_gapped_patches
from tfrestore.evaluation.tables import make_rows
from tfrestore.evaluation.workers import Failure, measure_all

RATE = 16000


@pytest.fixture
def tracks(tmp_path):
    for number in range(2):
        stereo = np.stack([synthesize(1.5, RATE, number), synthesize(1.5, RATE, 9)], axis=1)
        soundfile.write(tmp_path / f"{number}.wav", stereo, RATE, "FLOAT")
    return open_folder(tmp_path)


def stochastic(sample_rate=RATE):
    """A system whose candidate k is its input at k/10 of the level."""

    def restore(waveform, sample_rate, seed, candidate):
        return waveform * np.float32(candidate / 10 + seed)

    return SimpleNamespace(restore=restore, is_stochastic=True, sample_rate=sample_rate)


def unchanging(sample_rate=RATE):
    def restore(waveform, sample_rate):
        return waveform.copy()

    return SimpleNamespace(restore=restore, is_stochastic=False, sample_rate=sample_rate)


def test_a_stochastic_model_makes_k_candidates_and_others_one(tracks):
    models = {"gan": stochastic(), "same": unchanging()}
    tasks = list(Restorations(models, candidates=3).tasks(tracks[0], parse_degradation("gaps"), 0))
    made = [(task.subject.system, task.subject.sample) for task in tasks]
    assert made == [(DEGRADED, 1), ("gan", 1), ("gan", 2), ("gan", 3), ("same", 1)]
    degraded = tasks[0].estimate.waveform
    np.testing.assert_allclose(tasks[2].estimate.waveform, degraded * 0.2, rtol=1e-6)
    np.testing.assert_array_equal(tasks[4].estimate.waveform, degraded)
    assert 0.05 <= np.mean(degraded == 0) <= 0.16


def test_the_best_of_k_and_the_mean_are_those_of_the_candidates(tracks):
    # A recording at a gain g of itself has an SNR of -20 log10(1 - g); gaps:waveform of seed 0 are
    # left out of the comparison by using MP3-free input: the degraded one is the reference here.
    tasks = Restorations({"gan": stochastic()}, candidates=9, mono=True).all_tasks(
        tracks, parse_degradation("gaps")
    )
    tasks = [task for task in tasks if task.subject.system == "gan"]
    intact = [task.__class__(task.subject, task.reference, task.reference) for task in tasks]
    scaled = [
        task.__class__(
            task.subject,
            task.reference,
            task.reference.__class__(task.reference.waveform * task.subject.sample / 10, RATE),
        )
        for task in intact
    ]
    rows = make_rows(measure_all(scaled, ["snr"], jobs=1))
    found = {row.versions: row.mean for row in rows if row.genre == "all"}
    expected = [-20 * np.log10(1 - k / 10) for k in range(1, 10)]
    assert found["best of 9"] == pytest.approx(max(expected), abs=1e-4)
    assert found["mean of 9"] == pytest.approx(np.mean(expected), abs=1e-4)


def test_recordings_are_brought_to_the_highest_rate_of_the_models(tracks):
    models = {"low": unchanging(8000), "high": unchanging(22050)}
    for wanted, rate in ((None, 22050), (12000, 12000)):
        restorations = Restorations(models, sample_rate=wanted, mono=True, seconds=0.5)
        for task in restorations.tasks(tracks[0], parse_degradation("gaps"), 0):
            for recording in (task.reference, task.estimate):
                assert recording.sample_rate == rate
                assert recording.waveform.shape == (1, rate // 2)


def test_a_recording_that_cannot_be_degraded_does_not_stop_the_others(tmp_path):
    soundfile.write(tmp_path / "three channels.wav", np.zeros((9000, 3)) + 0.1, RATE)
    soundfile.write(tmp_path / "two.wav", np.zeros((9000, 2)) + 0.1, RATE)
    found = Restorations({"same": unchanging()}).all_tasks(
        open_folder(tmp_path), parse_degradation("mp3:32")
    )
    failure, *tasks = found
    assert isinstance(failure, Failure) and "three channels.wav" in failure.reason
    assert [task.subject.track for task in tasks] == ["two", "two"]


def test_only_what_is_wanted_is_made(tracks):
    restorations = Restorations({"same": unchanging()})
    degradation = parse_degradation("gaps")
    everything = [task.subject for task in restorations.all_tasks(tracks, degradation)]
    rest = restorations.all_tasks(tracks, degradation, lambda s: s != everything[1])
    assert [task.subject for task in rest] == [everything[0], *everything[2:]]
    assert not list(restorations.all_tasks(tracks, degradation, lambda subject: False))


def test_spectrogram_gaps_need_a_model_and_a_metric_of_spectrograms(tracks):
    restorations = Restorations({"same": unchanging()})
    for choices, said in ((["snr"], "--metrics"), (["psnr"], "same does not work on magnitude")):
        with pytest.raises(UsageError, match=said):
            list(
                measure_gapped_patches(
                    restorations, tracks, parse_degradation("gaps:frames"), choices
                )
            )
