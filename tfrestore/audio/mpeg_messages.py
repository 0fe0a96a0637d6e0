"""Keeps libmpg123's notes off the screen.

libsndfile decodes MP3s with libmpg123, which writes to C's `stderr` about every damaged frame, and
offers no way to turn that off. Here C's `stderr` is another stream while an MP3 is being read. File
descriptor 2 stays as it is, so Python's `sys.stderr`, a progress bar on it and child processes
notice nothing; and what another C library writes meanwhile is handed on, only libmpg123's own lines
are dropped.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import re
import tempfile
import threading
from collections.abc import Iterator

_LINE_OF_LIBMPG123 = re.compile(
    rb"^(\[[^\]\n]*libmpg123/[^\n]*"
    rb"|Note: (Illegal Audio-MPEG-Header|Trying to resync|Skipped \d+ bytes|Hit end of)[^\n]*"
    rb"|Warning: (Xing stream size|Encountered more data|Real sample count)[^\n]*)?\n",
    re.MULTILINE,
)


class _StderrOfC:
    """The variable `stderr` of the C library, replaced while at least one thread wants it so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._libc = ctypes.CDLL(None)
        self._libc.fdopen.restype = ctypes.c_void_p
        self._libc.fflush.argtypes = [ctypes.c_void_p]
        name = "__stderrp" if platform.system() == "Darwin" else "stderr"
        self._variable = ctypes.c_void_p.in_dll(self._libc, name)
        self._screen = self._variable.value
        with tempfile.TemporaryFile(mode="ab") as file:
            self._descriptor = os.dup(file.fileno())
        self._replacement = self._libc.fdopen(self._descriptor, b"a")
        os.register_at_fork(after_in_child=self._after_fork)

    def replace(self) -> None:
        with self._lock:
            if self._holders == 0:
                self._screen = self._variable.value
                self._variable.value = self._replacement
            self._holders += 1

    def restore(self) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                self._variable.value = self._screen
            self._hand_on()

    def _hand_on(self) -> None:
        self._libc.fflush(self._replacement)
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        if size:
            text = os.pread(self._descriptor, size, 0)
            os.ftruncate(self._descriptor, 0)
            others = _LINE_OF_LIBMPG123.sub(b"", text)
            if others:
                os.write(2, others)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._variable.value = self._screen


@functools.cache
def _stderr_of_c() -> _StderrOfC | None:
    # Elsewhere (musl, Windows) the variable cannot be written to, and the notes stay visible.
    if platform.system() == "Darwin" or platform.libc_ver()[0] == "glibc":
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return _StderrOfC()
    return None


_first_use = threading.Lock()


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Drops what libmpg123 prints during the `with` block, in any number of threads at once."""
    with _first_use:
        stderr = _stderr_of_c()
    if stderr is None:
        yield
        return
    stderr.replace()
    try:
        yield
    finally:
        stderr.restore()
