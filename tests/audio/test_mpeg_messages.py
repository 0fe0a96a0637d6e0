import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from tfrestore.audio import mpeg_messages
from tfrestore.audio.writing import write

needs_stderr = pytest.mark.skipif(
    mpeg_messages._stderr_of_c() is None, reason="C's stderr cannot be replaced here"
)


def run(script):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr


@pytest.fixture
def damaged_mp3(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 60_000)).astype(np.float32)
    path = tmp_path / "a.mp3"
    write(path, noise, 44100)
    data = bytearray(path.read_bytes())
    data[20_000:24_000] = bytes(4000)
    path.write_bytes(data)
    return path


@needs_stderr
def test_a_damaged_mp3_prints_nothing_although_libsndfile_alone_would(damaged_mp3):
    alone = f"""
    import soundfile
    try:
        soundfile.read({str(damaged_mp3)!r})
    except soundfile.SoundFileError:
        pass
    """
    assert "libmpg123" in run(alone)[1]
    script = f"""
    from tfrestore.audio.reading import read
    print(read({str(damaged_mp3)!r})[0].shape[1])
    """
    out, error = run(script)
    assert int(out) > 10_000
    assert "mpg123" not in error and "Note:" not in error
    assert error.count("\n") == 1 and "is damaged or cut off" in error


@needs_stderr
def test_what_python_and_other_libraries_print_meanwhile_is_not_lost():
    script = """
    import ctypes, os, sys
    from tfrestore.audio.mpeg_messages import silenced
    libc = ctypes.CDLL(None)
    with silenced():
        print("from Python", file=sys.stderr, flush=True)
        libc.perror(b"from C")
        os.system("echo from a child >&2")
    libc.perror(b"afterwards")
    """
    error = run(script)[1]
    for text in ("from Python", "from C", "from a child", "afterwards"):
        assert error.count(text) == 1


@needs_stderr
def test_a_child_process_that_is_forked_meanwhile_has_its_stderr():
    script = """
    import ctypes, os
    from tfrestore.audio.mpeg_messages import silenced
    with silenced():
        if os.fork() == 0:
            ctypes.CDLL(None).perror(b"from the child")
            os._exit(0)
        os.wait()
    """
    assert run(script)[1].count("from the child") == 1


@needs_stderr
def test_many_threads_leave_stderr_as_it_was():
    stderr = mpeg_messages._stderr_of_c()
    before = stderr._variable.value

    def use():
        for _ in range(200):
            with mpeg_messages.silenced():
                pass

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stderr._variable.value == before
    assert stderr._holders == 0


def test_only_libmpg123s_lines_are_dropped():
    mine = b"Note: this is mine\nWarning: so is this\nerror: and this\n"
    theirs = (
        b"Note: Illegal Audio-MPEG-Header 0x00000000 at offset 20031.\n"
        b"Note: Trying to resync...\n"
        b"Note: Skipped 1024 bytes in input.\n"
        b"[src/libmpg123/parse.c:wetwork():1349] error: Giving up resync after 1024 bytes.\n"
        b"Warning: Xing stream size off by more than 1%, fuzzy seeking may be even more fuzzy\n"
    )
    assert mpeg_messages._LINE_OF_LIBMPG123.sub(b"", theirs + mine) == mine
