import numpy as np
import pytest
import soundfile

from tfrestore.audio.mp3 import encode_mp3
from tfrestore.errors import UsageError
from tfrestore.evaluation.measurement import DEGRADED
from tfrestore.evaluation.pairs import PairsEvaluation, find_pairings
from tfrestore.evaluation.spectrograms import Spectrograms
from tfrestore.evaluation.workers import Failure

RATE = 16000


def write(path, waveform=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(RATE // 10, 0.1) if waveform is None else waveform, RATE)
    return path


@pytest.fixture
def folders(tmp_path):
    for name in ("rock/one.flac", "two.wav"):
        write(tmp_path / "originals" / name)
    return tmp_path


def test_files_of_one_name_belong_together_whatever_their_suffix(folders):
    first = write(folders / "bad" / "rock" / "one.wav")
    second = write(folders / "bad" / "two.flac")
    one, two = find_pairings(str(folders / "originals"), {DEGRADED: folders / "bad"})
    assert one.versions == {DEGRADED: [first]} and one.track.genre == "rock"
    assert two.versions == {DEGRADED: [second]} and not one.missing and not two.missing


def test_what_a_tool_put_behind_a_name_does_not_hide_it_and_several_are_versions(folders):
    results = [write(folders / "ours" / f"two.candidate-{k}.wav") for k in (1, 2, 3)]
    single = write(folders / "ours" / "rock" / "one.restored.wav")
    one, two = find_pairings(str(folders / "originals"), {"ours": folders / "ours"})
    assert two.versions == {"ours": results} and one.versions == {"ours": [single]}


def test_a_reference_whose_name_has_dots_is_found_by_its_whole_name(folders):
    write(folders / "originals" / "two.live.wav")
    live = write(folders / "ours" / "two.live.restored.wav")
    plain = write(folders / "ours" / "two.restored.wav")
    found = find_pairings(str(folders / "originals"), {"ours": folders / "ours"})
    versions = {pairing.track.track_id: pairing.versions.get("ours") for pairing in found}
    assert versions == {"rock/one": None, "two": [plain], "two.live": [live]}


def test_what_is_missing_twice_there_or_belongs_to_nothing_is_named(folders, caplog):
    write(folders / "ours" / "two.wav"), write(folders / "ours" / "two.flac")
    write(folders / "ours" / "rock" / "one.wav")
    write(folders / "ours" / "three.wav")
    caplog.set_level("WARNING", "tfrestore")
    one, two = find_pairings(str(folders / "originals"), {"ours": folders / "ours"})
    assert "three.wav" in caplog.text and "no reference named three" in caplog.text
    assert "both belong to two" in two.missing["ours"] and not two.versions
    evaluation = PairsEvaluation([str(folders / f) for f in ("originals", "ours")], ["snr"], None)
    assert evaluation.count == 1 and len(evaluation.failures) == 1


@pytest.mark.parametrize(
    ("second", "said"),
    [("nowhere", "nowhere does not exist"), ("empty", "holds no audio"), ("others", "no file has")],
)
def test_folders_that_cannot_be_used_are_refused(folders, second, said):
    (folders / "empty").mkdir()
    write(folders / "others" / "something else.wav")
    with pytest.raises(UsageError, match=said):
        PairsEvaluation([str(folders / f) for f in ("originals", second)], ["snr"], None)


def test_one_folder_alone_is_nothing_to_compare(folders):
    with pytest.raises(UsageError, match="--pairs"):
        PairsEvaluation([str(folders / "originals")], ["snr"], None)


def test_systems_are_called_by_their_folder_or_by_a_name_of_their_own(folders):
    for name in ("bad", "a/out", "b/out"):
        write(folders / name / "two.wav")
    originals, bad = str(folders / "originals"), str(folders / "bad")
    named = [originals, bad, f"{folders}/a/out", f"b={folders}/b/out"]
    assert list(PairsEvaluation(named, ["snr"], None).systems) == [DEGRADED, "out", "b"]
    with pytest.raises(UsageError, match="'out' is taken"):
        PairsEvaluation([originals, bad, f"{folders}/a/out", f"{folders}/b/out"], ["snr"], None)
    with pytest.raises(UsageError, match="'degraded' is taken"):
        PairsEvaluation([originals, bad, f"degraded={folders}/b/out"], ["snr"], None)


@pytest.mark.parametrize("kbit_per_second", [16, 64, 128])
def test_the_bit_rate_of_an_mp3_is_its_degradation(folders, kbit_per_second):
    waveform = np.float32(0.1 * np.random.default_rng(0).standard_normal((1, RATE * 3)))
    (folders / "bad").mkdir()
    (folders / "bad" / "two.mp3").write_bytes(encode_mp3(waveform, RATE, kbit_per_second))
    write(folders / "originals" / "two.wav", waveform[0])
    _, two = find_pairings(str(folders / "originals"), {DEGRADED: folders / "bad"})
    assert two.degradation == f"mp3:{kbit_per_second}"


def test_every_version_is_measured_and_a_broken_file_named(folders):
    write(folders / "bad" / "two.wav", np.full(RATE // 10, 0.05))
    (folders / "bad" / "rock").mkdir()
    (folders / "bad" / "rock" / "one.mp3").write_bytes(b"this is no music" * 100)
    evaluation = PairsEvaluation([str(folders / f) for f in ("originals", "bad")], ["snr"], None)

    def outcomes_of(lacks):
        return list(evaluation.outcomes(1, lacks, Spectrograms(0, lacks).watch))

    outcomes = outcomes_of(lambda subject: True)
    failed, measured = sorted(outcomes, key=lambda each: each.subject.track)
    assert isinstance(failed, Failure) and "one.mp3" in failed.reason
    assert measured.scores["snr"].summary == pytest.approx(20 * np.log10(2), abs=0.01)
    # What was measured before is not measured again.
    assert not outcomes_of(lambda subject: subject not in (measured.subject, failed.subject))
