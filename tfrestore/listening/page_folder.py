"""Writes a listening test as a folder that any static host can serve.

The folder holds `index.html` with the test's configuration in it, `style.css`, `test.js`, and the
excerpts as 16-bit FLAC under opaque names in `audio/`. Nothing is fetched from elsewhere, and the
page also works when `index.html` is opened as a file. The folder appears when it is complete.
"""

from __future__ import annotations

import hashlib
import html
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from tfrestore.audio.writing import write
from tfrestore.complete_files import folder_beside
from tfrestore.errors import InputError, UsageError
from tfrestore.listening.anchor import LOW_ANCHOR_HZ, MID_ANCHOR_HZ
from tfrestore.listening.excerpts import Excerpt, choose_starts, cut_excerpt, open_recordings
from tfrestore.listening.key import Key, pack_key
from tfrestore.listening.loudness import TARGET_LUFS
from tfrestore.version import __version__

HIDDEN_REFERENCE = "hidden reference"
LOW_ANCHOR = "anchor 3.5 kHz"
MID_ANCHOR = "anchor 7 kHz"
#: Names that no system can have.
RESERVED_NAMES = (HIDDEN_REFERENCE, LOW_ANCHOR, MID_ANCHOR)

#: The five levels of the MOS scale, worst first. The ends are those of Lattner & Nistal
#: (Electronics 2021, 10(11), 1349); the three between are the words of ITU-T P.800.
MOS_LEVELS = ("very bad", "poor", "fair", "good", "excellent")
#: The bands of 20 points of the continuous quality scale, ITU-R BS.1534-3, figure 1.
MUSHRA_BANDS = ("bad", "poor", "fair", "good", "excellent")

#: More signals at once are against ITU-R BS.1534-3, section 5.3.
MOST_MUSHRA_SIGNALS = 12

_MARK = '<meta name="generator" content="tfrestore listening test">'
_PAGE_FILES = ("index.html", "style.css", "test.js")
_AUDIO_FOLDER = "audio"
_AUDIO_SUFFIX = ".flac"

_log = logging.getLogger("tfrestore.listening")


@dataclass(frozen=True)
class ListeningTest:
    """What is to be listened to, and how.

    Attributes:
        tracks: By the track's name and the system's: the file. In MUSHRA the reference is one more
            system, `HIDDEN_REFERENCE`.
        systems: The systems' names in the tables' order, `HIDDEN_REFERENCE` among them.
        mushra: Whether it is a MUSHRA test; else it is a MOS test.
        mid_anchor: Whether MUSHRA gets the anchor of 7 kHz beside that of 3.5 kHz.
        seconds: Length of an excerpt.
        excerpts_per_track: How many of each track.
        seed: Decides which stretches are taken.
        loudness: LUFS wanted.
        title: The page's heading.
        post_url: Where the page sends results; `None` for nowhere.
    """

    tracks: dict[str, dict[str, Path]]
    systems: tuple[str, ...]
    mushra: bool = False
    mid_anchor: bool = False
    seconds: float = 8.0
    excerpts_per_track: int = 1
    seed: int = 0
    loudness: float = TARGET_LUFS
    title: str = "Listening test"
    post_url: str | None = None

    @property
    def anchors(self) -> dict[str, float]:
        """The anchors' names and cut-off frequencies in Hz."""
        anchors = {LOW_ANCHOR: LOW_ANCHOR_HZ} if self.mushra else {}
        return anchors | ({MID_ANCHOR: MID_ANCHOR_HZ} if self.mushra and self.mid_anchor else {})

    @property
    def reference(self) -> str | None:
        """The reference's name among the systems; `None` in a MOS test."""
        return HIDDEN_REFERENCE if self.mushra else None


@dataclass
class PageSummary:
    """What has been written.

    Attributes:
        excerpts: How many stretches of tracks.
        signals: How many signals a listener rates.
        seconds: How long they are together.
        failed: Names of tracks that could not be used, wholly or in part.
    """

    excerpts: int = 0
    signals: int = 0
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)


def check_target(folder: Path, overwrite: bool) -> None:
    """Refuses to write over anything but one of our pages, and over one of ours unless told to.

    Raises:
        UsageError: Something else is there, or `overwrite` is needed.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise UsageError(f"--out {folder}: this is a file; name a folder.")
    if not any(folder.iterdir()):
        return
    if not _is_page(folder):
        raise UsageError(f"--out {folder}: this folder holds other things; name a new one.")
    held = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    foreign = [name for name in held if not _is_ours(name)]
    if foreign:
        raise UsageError(
            f"--out {folder}: {foreign[0]} is no part of the page there; move it elsewhere."
        )
    if not overwrite:
        raise UsageError(f"--out {folder}: there is a page already; --overwrite replaces it.")


def write_page(
    test: ListeningTest,
    folder: Path,
    overwrite: bool = False,
    progress: Callable[[int, str], None] | None = None,
) -> PageSummary:
    """Cuts the excerpts and writes the page.

    A track that cannot be used is a line in the log `tfrestore.listening`, and the others go on.

    Args:
        test: What is to be listened to.
        folder: The page's folder.
        overwrite: Whether a page of ours that is there may be replaced.
        progress: Called with the number of tracks done and the next one's name.

    Raises:
        UsageError: The folder cannot be used.
        InputError: No track could be used; nothing is written.
    """
    folder = Path(os.path.realpath(folder))
    check_target(folder, overwrite)
    with ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            beside = stack.enter_context(folder_beside(folder, replace=overwrite))
            (beside / _AUDIO_FOLDER).mkdir()
        except OSError as error:
            raise UsageError(f"--out {folder}: cannot be made ({error.strerror}).") from None
        summary, excerpts = _write_excerpts(test, beside / _AUDIO_FOLDER, progress)
        if not excerpts:
            raise InputError(f"none of the {len(test.tracks)} tracks could be used.")
        _write_page_files(test, beside, excerpts)
        check_target(folder, overwrite)
    return summary


@dataclass(frozen=True)
class _WrittenExcerpt:
    """An excerpt whose signals lie in files, by the signals' names."""

    track: str
    start: float
    loudness: float
    files: dict[str, Path]


def _write_excerpts(
    test: ListeningTest, folder: Path, progress: Callable[[int, str], None] | None
) -> tuple[PageSummary, list[_WrittenExcerpt]]:
    summary, written = PageSummary(), []
    for number, (track, files) in enumerate(test.tracks.items()):
        if progress:
            progress(number, track)
        try:
            recordings = open_recordings(track, files, test.seconds, test.reference)
            guide = test.reference or test.systems[0]
            starts = choose_starts(
                recordings, guide, test.seconds, test.excerpts_per_track, test.seed
            )
            for start in starts:
                excerpt = cut_excerpt(
                    recordings, start, test.seconds, test.loudness, test.reference, test.anchors
                )
                written.append(_write_signals(excerpt, folder))
                summary.excerpts += 1
                summary.signals += len(excerpt.signals)
                summary.seconds += test.seconds * len(excerpt.signals)
        except UsageError:
            # A missing library is no fault of the track.
            raise
        except InputError as error:
            _log.error("left out: %s", error)
            summary.failed.append(track)
    if progress:
        progress(len(test.tracks), "")
    return summary, written


def _write_signals(excerpt: Excerpt, folder: Path) -> _WrittenExcerpt:
    files = {}
    for name, waveform in excerpt.signals.items():
        files[name] = folder / f"{secrets.token_hex(8)}{_AUDIO_SUFFIX}"
        write(files[name], waveform, excerpt.sample_rate, subtype="16")
    return _WrittenExcerpt(excerpt.track, excerpt.start, excerpt.loudness, files)


def _write_page_files(test: ListeningTest, folder: Path, excerpts: list[_WrittenExcerpt]) -> None:
    """Gives the audio its opaque names and writes what shows it."""
    signals = (*test.systems, *test.anchors)
    page = _digest(
        json.dumps(
            [
                signals,
                [
                    [e.track, e.start, [_digest(e.files[s].read_bytes()) for s in signals]]
                    for e in excerpts
                ],
            ]
        ).encode()
    )
    items, trials = {}, []
    for number, excerpt in enumerate(excerpts):
        names = [_digest(f"{page} {number} {place}".encode()) for place in range(len(signals))]
        trial = {"id": _digest(f"{page} {number}".encode()), "signals": sorted(names)}
        if test.mushra:
            # A file of its own, so that the hidden reference cannot be told by its name.
            trial["reference"] = _digest(f"{page} {number} reference".encode())
            shutil.copyfile(
                excerpt.files[HIDDEN_REFERENCE], _audio_path(folder, trial["reference"])
            )
        for place, (name, signal) in enumerate(zip(names, signals, strict=True)):
            os.replace(excerpt.files[signal], _audio_path(folder, name))
            items[name] = (number, place)
        trials.append(trial)
    key = Key(
        page=page,
        mode="mushra" if test.mushra else "mos",
        title=_readable(test.title),
        systems=tuple(map(_readable, signals)),
        excerpts=tuple((_readable(excerpt.track), excerpt.start) for excerpt in excerpts),
        items=items,
        reference=signals.index(HIDDEN_REFERENCE) if test.mushra else None,
        mid_anchor=signals.index(MID_ANCHOR) if MID_ANCHOR in test.anchors else None,
        settings={
            "seconds": test.seconds,
            "seed": test.seed,
            "loudness": test.loudness,
            "version": __version__,
        },
    )
    configuration = {
        "page": page,
        "mode": key.mode,
        "title": key.title,
        "seconds": test.seconds,
        "scale": MUSHRA_BANDS if test.mushra else MOS_LEVELS,
        "post_url": test.post_url,
        "volume_check": trials[0]["reference"] if test.mushra else min(items),
        "trials": sorted(trials, key=lambda trial: trial["id"]),
        "key": pack_key(key),
    }
    for name in _PAGE_FILES:
        text = resources.files(__package__).joinpath("page", name).read_text("utf-8")
        if name == "index.html":
            # Markup in the configuration would end the element that holds it.
            embedded = json.dumps(configuration).replace("<", "\\u003c")
            values = {"{{title}}": html.escape(key.title), "{{configuration}}": embedded}
            text = re.sub(r"\{\{\w+\}\}", lambda found, values=values: values[found[0]], text)
        (folder / name).write_text(text, "utf-8")


def _audio_path(folder: Path, name: str) -> Path:
    return folder / _AUDIO_FOLDER / f"{name}{_AUDIO_SUFFIX}"


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _readable(text: str) -> str:
    """Text that JSON and every file can hold: a file's name need not be valid in any encoding."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _is_page(folder: Path) -> bool:
    try:
        return _MARK in (folder / "index.html").read_text("utf-8", "replace")
    except OSError:
        return False


def _is_ours(name: str) -> bool:
    parent, _, file = name.rpartition("/")
    if not parent:
        return file in (*_PAGE_FILES, _AUDIO_FOLDER)
    return parent == _AUDIO_FOLDER and file.endswith(_AUDIO_SUFFIX)
