"""Which files a command line means, and where their results go."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_restore import write_tone
from tfrestore.restoration_jobs import plan_jobs
from tfrestore.restore import make_restore_parser


def plan(*arguments):
    """(source, target) of each job, as text, for command-line arguments."""
    options = make_restore_parser().parse_args(["--preset", "any", *map(str, arguments)])
    return [(str(job.source), str(job.target)) for job in plan_jobs(options)]


def test_a_result_lies_next_to_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tone(tmp_path / "old song.flac")
    assert plan("old song.flac") == [("old song.flac", "old song.restored.wav")]
    assert plan("old song.flac", "--format", "mp3", "--suffix", "_new") == [
        ("old song.flac", "old song_new.mp3")
    ]


def test_versions_are_numbered_before_the_suffix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tone(tmp_path / "a.b.flac")
    assert [target for _, target in plan("a.b.flac", "--candidates", 3)] == [
        "a.b.restored.1.wav",
        "a.b.restored.2.wav",
        "a.b.restored.3.wav",
    ]
    for arguments, target in (
        (["--candidates", 1], "a.b.restored.1.wav"),
        (["--candidate", 3], "a.b.restored.3.wav"),
        (["--candidate", 3, "--format", "mp3", "--suffix", ""], "a.b.3.mp3"),
        (["--candidate", 3, "-o", "new.flac"], "new.flac"),
        (["--candidates", 1, "-o", "new.flac"], "new.1.flac"),
        (["--candidates", 1, "-o", "new"], "new/a.b.restored.1.wav"),
        (["--seed", 7], "a.b.restored.wav"),
        (["--noise", "z.npy"], "a.b.restored.wav"),
    ):
        assert plan("a.b.flac", *arguments) == [("a.b.flac", target)]


def test_numbered_results_are_no_inputs_either(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "a.restored.wav", "a.restored.1.wav", "a.restored.20.wav", "a.2.wav"):
        write_tone(tmp_path / name)
    assert [source for source, _ in plan(".")] == ["a.2.wav", "a.wav"]
    assert [source for source, _ in plan("*.wav")] == ["a.2.wav", "a.wav"]
    named = plan("a.restored.1.wav", "a.restored.20.wav", "a.wav", "--candidates", 20)
    assert {source for source, _ in named} == {"a.wav"}


def test_a_suffix_of_the_output_tells_a_file_from_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tone(tmp_path / "a.wav")
    (tmp_path / "folder.flac").mkdir()
    assert plan("a.wav", "-o", "b.flac") == [("a.wav", "b.flac")]
    assert plan("a.wav", "-o", "out") == [("a.wav", "out/a.restored.wav")]
    assert plan("a.wav", "-o", "out.flac/") == [("a.wav", "out.flac/a.restored.wav")]
    assert plan("a.wav", "-o", "folder.flac") == [("a.wav", "folder.flac/a.restored.wav")]


def test_folders_keep_their_tree_and_results_are_no_inputs(tmp_path):
    for name in ("a.wav", "deep/er/b.FLAC", "deep/c.ogg", "a.restored.wav", ".hidden.wav"):
        write_tone(tmp_path / "in" / name)
    (tmp_path / "in/cover.jpg").write_text("no music")
    jobs = plan(tmp_path / "in", "-o", tmp_path / "out")
    assert [target.removeprefix(f"{tmp_path}/out/") for _, target in jobs] == [
        "a.restored.wav",
        "deep/c.restored.wav",
        "deep/er/b.restored.wav",
    ]


def test_without_a_suffix_every_file_of_a_folder_is_an_input(tmp_path):
    write_tone(tmp_path / "in/a.flac")
    jobs = plan(tmp_path / "in", "-o", tmp_path / "out", "--suffix", "")
    assert jobs == [(f"{tmp_path}/in/a.flac", f"{tmp_path}/out/a.wav")]


def test_globs_match_audio_only_and_names_with_brackets_are_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "b.wav", "b.restored.wav", "take [live].wav", "sub/c.wav"):
        write_tone(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no music")
    sources = [source for source, _ in plan("*")]
    assert sources == ["a.wav", "b.wav", "sub/c.wav", "take [live].wav"]
    assert [source for source, _ in plan("**/c.wav")] == ["sub/c.wav"]
    assert [source for source, _ in plan("take [live].wav")] == ["take [live].wav"]
    assert [source for source, _ in plan("nothing*.wav")] == ["nothing*.wav"]
    assert [source for source, _ in plan("*.restored.wav")] == ["b.restored.wav"]


def test_the_tree_of_a_glob_is_counted_from_where_the_pattern_begins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("tapes/1/a.wav", "tapes/2/a.wav", "tapes/2/deep/b.wav"):
        write_tone(tmp_path / name)
    targets = ["out/1/a.restored.wav", "out/2/a.restored.wav", "out/2/deep/b.restored.wav"]
    assert [target for _, target in plan("tapes/**/*.wav", "-o", "out")] == targets
    assert [target for _, target in plan("tapes/*", "-o", "out")] == targets


def test_a_file_that_is_named_twice_is_restored_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tone(tmp_path / "in/a.wav")
    assert len(plan("in/a.wav", "./in/a.wav", tmp_path / "in/a.wav", "in", "in/*.wav")) == 1


def test_files_that_differ_in_their_suffix_only_get_results_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("song.mp3", "song.wav", "song.mp3.ogg", "other.wav", "sub/song.wav"):
        write_tone(tmp_path / "in" / name, rate=44100)
    results = {
        "in/other.wav": "in/other.restored.wav",
        "in/song.mp3": "in/song.mp3.restored.wav",
        # Its own name would have been that of the result of song.mp3.
        "in/song.mp3.ogg": "in/song.mp3.ogg.restored.wav",
        "in/song.wav": "in/song.wav.restored.wav",
        "in/sub/song.wav": "in/sub/song.restored.wav",
    }
    assert dict(plan("in")) == results
    for target in results.values():
        write_tone(tmp_path / target)
    assert dict(plan("in")) == results
    assert dict(plan("in", "-o", "out")) == {
        source: target.replace("in/", "out/", 1) for source, target in results.items()
    }
    numbered = [target for source, target in plan("in", "--candidates", 1) if "sub" not in source]
    assert "in/song.mp3.restored.1.wav" in numbered and len(set(numbered)) == 4


def test_a_shells_glob_may_name_the_results_of_the_first_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "a.restored.wav", "a.restored.restored.wav"):
        write_tone(tmp_path / name)
    assert plan("a.restored.restored.wav", "a.restored.wav", "a.wav") == [
        ("a.wav", "a.restored.wav")
    ]
    assert plan("a.restored.wav") == [("a.restored.wav", "a.restored.restored.wav")]


def test_names_that_begin_with_a_dash_can_be_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tone(tmp_path / "-a.wav")
    assert plan("--", "-a.wav") == [("-a.wav", "-a.restored.wav")]


@settings(deadline=None, max_examples=30)
@given(
    names=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20)
        .filter(lambda name: name.strip(".") == name and len(name.encode()) < 100)
        .map(lambda name: name + ".wav"),
        unique=True,
        max_size=4,
    )
)
def test_any_file_name_gets_its_own_result(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("names")
    made = []
    for name in names:
        (folder / name).write_text("")
        made.append(folder / name)
    if not made:
        return
    jobs = plan(*made, "-o", folder / "out")
    assert sorted(source for source, _ in jobs) == sorted(map(str, made))
    assert len({target for _, target in jobs}) == len(jobs)
