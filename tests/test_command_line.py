import logging
import subprocess
import sys
import warnings

import pytest

from tfrestore import __version__
from tfrestore.__main__ import COMMANDS, main
from tfrestore.command_line import make_parser, run_command
from tfrestore.errors import AudioFileError, UsageError

HEAVY = {"tensorflow", "keras", "soundfile", "soxr", "lameenc", "matplotlib", "rich"}


def run(command, *arguments):
    parser = make_parser("try", "Tries.")
    parser.add_argument("--number", type=int)
    return run_command(parser, command, list(arguments))


def raising(error):
    def command(options):
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("--x: no."), 2, "tfrestore try: --x: no."),
        (AudioFileError("a.wav is bad."), 1, "tfrestore try: a.wav is bad."),
        (KeyboardInterrupt(), 130, "tfrestore try: interrupted"),
        (
            OSError(28, "No space left on device", "logs/x"),
            1,
            "tfrestore try: logs/x: No space left on device; free space, or choose another place.",
        ),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_an_exit_code(capsys, error, code, line):
    assert run(raising(error)) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", line + "\n")


def test_what_is_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run(raising(ZeroDivisionError()))


def test_the_commands_own_code_is_returned():
    assert run(lambda options: options.number, "--number", "7") == 7


def test_options_that_do_not_exist_are_one_line_and_code_2(capsys):
    assert run(lambda options: 0, "--nombre", "7") == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert "--nombre" in captured.err and "tfrestore try --help" in captured.err


def test_logging_is_shown_while_a_command_runs_and_as_before_afterwards(capsys):
    logger = logging.getLogger("tfrestore.somewhere")
    root = logging.getLogger("tfrestore")
    before = (list(root.handlers), root.level, root.propagate)

    def inner(options):
        logger.info("working")
        return 0

    # A command that runs another shows its lines once.
    assert run(lambda options: run(inner)) == 0
    shown = capsys.readouterr().err
    assert shown.count("working") == 1 and shown.endswith(" working\n")
    assert (root.handlers, root.level, root.propagate) == before


def test_warnings_of_libraries_are_not_shown_and_come_back_afterwards(capsys):
    def command(options):
        warnings.warn("for programmers", stacklevel=1)
        logging.getLogger("tensorflow").warning("for programmers")
        return 0

    filters = list(warnings.filters)
    assert run(command) == 0
    assert "programmers" not in capsys.readouterr().err
    assert warnings.filters == filters


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_the_list_of_commands(capsys, arguments):
    assert main(arguments) == (0 if arguments else 2)
    shown = capsys.readouterr().out
    for name, purpose in COMMANDS.items():
        assert name in shown and purpose in shown


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tfrestore {__version__}\n"


def test_a_command_that_does_not_exist_is_told_with_those_that_do(capsys):
    assert main(["repair", "a.wav"]) == 2
    captured = capsys.readouterr()
    assert "'repair'" in captured.err and "restore" in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_each_help_says_what_the_command_does_and_what_every_option_means(
    capsys, monkeypatch, command
):
    monkeypatch.setenv("COLUMNS", "100")
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: tfrestore {command}")
    assert max(map(len, shown.splitlines())) <= 100
    assert "examples:" in shown or command == "demo"
    options = shown[shown.index("options:") :].split("\nexamples:")[0].splitlines()[1:]
    for number, line in enumerate(options):
        if line.startswith("  -"):
            explained = line[2:].split("  ")[1:] or options[number + 1].strip()
            assert explained, line


def test_help_loads_no_heavy_library():
    script = (
        "import sys\n"
        "from tfrestore.__main__ import COMMANDS, main\n"
        "for command in COMMANDS:\n"
        "    assert main([command, '--help']) == 0\n"
        f"print(sorted(set(sys.modules) & {HEAVY!r}), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr == "[]\n"


def test_every_command_is_a_module_that_can_be_run():
    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", f"tfrestore.{command}", "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith(f"usage: tfrestore {command}")
        assert done.stderr == ""


def test_presets_are_listed_with_family_and_description(capsys):
    assert main(["presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split("\t")[0] for line in lines]
    assert {"unet", "unet_v2", "res_unet", "res_unet_v2", "unet_tiny"} <= set(names)
    assert all(line.count("\t") == 5 for line in lines)


@pytest.mark.parametrize("text", ["-1", str(2**64), "1.5", "many"])
def test_a_seed_that_is_none_is_refused(text, capsys):
    assert main(["degrade", "a.wav", "-o", "b.wav", f"--seed={text}"]) == 2
    assert "--seed" in capsys.readouterr().err


def test_a_closed_pipe_ends_quietly(tmp_path):
    # `tfrestore ... | true`: what is printed finds no reader.
    script = (
        "import sys\n"
        "from tfrestore.command_line import make_parser, run_command\n"
        "def command(options):\n"
        "    for number in range(100000):\n"
        "        print(number)\n"
        "    return 0\n"
        "sys.exit(run_command(make_parser('try', ''), command, []))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    assert error == ""


def test_a_parser_of_ours_never_prints_its_usage_for_a_mistake(capsys):
    parser = make_parser("try", "")
    with pytest.raises(SystemExit) as end:
        parser.error("something is wrong")
    assert end.value.code == 2
    assert "usage" not in capsys.readouterr().err


# Training has tests of its own; these are the ways in which its options can be wrong.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "unet_v3"], "'unet_v3'. Did you mean 'unet_v2'?"),
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--data", "empty"], "empty has no audio files"),
        (["--set", "recipe.learnig_rate=1"], "'learning_rate'"),
        (["--set", "filters"], "--set filters: write it as section.key=value"),
        (["--config", "missing.yaml"], "missing.yaml: cannot be read"),
        (["--config", "key.yaml"], "key.yaml: there is no key network.filtres"),
        (["--config", "section.yaml"], "section.yaml: there is no section 'netwrok'"),
        (["--config", "broken.yaml"], "broken.yaml: not valid YAML"),
        (["--steps", "0"], "steps is 0"),
        (["--precision", "float8"], "--precision"),
        (["--resume"], "there is no run here to resume"),
    ],
)
def test_training_refuses_what_does_not_exist(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "key.yaml").write_text("network:\n  filtres: 3\n")
    (tmp_path / "section.yaml").write_text("netwrok:\n  filters: 3\n")
    (tmp_path / "broken.yaml").write_text("network: [")
    given = {"--preset": "unet_tiny", "--data": "empty", "--out": "run"}
    given |= dict([arguments]) if len(arguments) == 2 else {}
    words = [word for option in given.items() for word in option]
    assert main(["train", *words, *(arguments if len(arguments) == 1 else [])]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and said in captured.err
    assert not (tmp_path / "run").exists()
