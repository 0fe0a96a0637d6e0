"""Making pairs of music and its MP3 once, into shards: the work of `tfrestore prepare`.

Which excerpts go into which shard follows from the catalogue alone, and a shard's bytes from its
excerpts. So whoever was interrupted goes on with the first shard that is missing, and ends with the
files of somebody who was not. A shard whose music has changed since, that was damaged, or in which
an excerpt is missing because it could not be decoded, is made anew.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from tfrestore.complete_files import remove_unfinished
from tfrestore.data import shards
from tfrestore.data.encoded_pairs import LEAD_SECONDS, TAIL_SECONDS, EncodedPair, encode_pair
from tfrestore.data.mp3_pairs import Mp3Pairs, listening_excerpt
from tfrestore.data.shards import KeptPair, PairSettings
from tfrestore.data.tracks import Catalogue, Track
from tfrestore.errors import AudioFileError, InputError, UsageError
from tfrestore.log_lines import each_line_once

# About 90 MB.
PAIRS_PER_SHARD = 256
# One that can be decoded is enough; the others are in reserve.
LISTENING_TRACKS = 4

_log = logging.getLogger("tfrestore.data")


class Excerpt(NamedTuple):
    """An excerpt to encode, and the number of its track in the manifest."""

    number: int
    track: Track
    begin: int
    samples: int


class Shard(NamedTuple):
    """A shard to be made: its name and what goes into it."""

    name: str
    excerpts: Sequence[Excerpt]
    is_listening: bool


@dataclass
class Outcome:
    """What came of a preparation.

    Attributes:
        pairs: How many pairs there are.
        tracks: Of how many tracks they should be.
        size: Bytes of all shards.
        unreadable: Why tracks could not be read, or not all of them, by path.
    """

    pairs: int = 0
    tracks: int = 0
    size: int = 0
    unreadable: dict[Path, str] = field(default_factory=dict)


def prepare_pairs(
    catalogue: Catalogue,
    splits: Sequence[str],
    pairs: Mp3Pairs,
    folder: Path,
    jobs: int,
    progress: Callable[[int, int, str], None] = lambda done, total, note: None,
) -> Outcome:
    """Makes the pairs of a catalogue, or those that an earlier preparation has not.

    Args:
        catalogue: The music.
        splits: Which splits of it.
        pairs: What the pairs are; its order is of no importance.
        folder: Where the shards go.
        jobs: Excerpts that are encoded at the same time.
        progress: Called with the number of pairs that are done, their total, and what is done now.

    Returns:
        What came of it. Tracks that cannot be read are named in the log, and left out.

    Raises:
        UsageError: if the folder holds something else, or pairs of other settings.
        InputError: if the folder cannot be written to, or no track can be read.
    """
    tracks = [track for split in splits for track in catalogue.split(split)]
    rates = tuple(sorted(pairs.bit_rates))
    settings = PairSettings(pairs.sample_rate, pairs.samples, rates, str(folder))
    _check_folder(folder, settings, tracks)
    plan = _plan(tracks, splits, pairs)
    total, done = sum(len(shard.excerpts) for shard in plan), 0
    outcome = Outcome(tracks=len(tracks))

    def advance(note: str) -> None:
        nonlocal done
        done += 1
        progress(done, total, note)

    with _explained(folder), each_line_once(logging.getLogger("tfrestore.audio")):
        folder.mkdir(parents=True, exist_ok=True)
        to_make = []
        for shard in plan:
            progress(done, total, f"checking {shard.name}")
            key = _key(shard, settings)
            if shards.is_intact(folder / shard.name, key, len(shard.excerpts)):
                done += len(shard.excerpts)
            else:
                to_make.append(shard)
        if 0 < len(to_make) < len(plan):
            there = len(plan) - len(to_make)
            _log.info("going on: %d of %d shards are there already", there, len(plan))
        _check_space(folder, to_make, settings)
        names = [shard.name for shard in plan]
        if to_make:
            shards.write_manifest(folder, settings, tracks, names, is_complete=False)
        for shard in to_make:
            _make(shard, folder, settings, jobs, outcome.unreadable, advance)
        remove_unfinished(folder)
        _measure(outcome, plan, folder)
        if not outcome.pairs:
            raise InputError(f"{catalogue.source}: none of its recordings can be decoded.")
        shards.write_manifest(folder, settings, tracks, names, is_complete=True)
    return outcome


def _check_folder(folder: Path, settings: PairSettings, tracks: Sequence[Track]) -> None:
    """Refuses a folder in which something else is."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: this is a file; choose another --out.")
    manifest = shards.read_manifest(folder)
    if manifest is None:
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"{folder}: this folder is not empty; choose another --out.")
        return
    if manifest.settings != settings:
        raise UsageError(
            f"{folder}: holds pairs of {_in_words(manifest.settings)}, not of "
            f"{_in_words(settings)}; choose another --out."
        )
    for found, wanted in itertools.zip_longest(manifest.tracks, shards.describe(tracks)):
        if found != wanted:
            raise UsageError(
                f"{folder}: holds pairs of other music ({(found or wanted)['track_id']} is "
                "different, for one); choose another --out."
            )


def _in_words(settings: PairSettings) -> str:
    rates = ", ".join(map(str, settings.kbit_per_second))
    return f"{settings.samples} samples at {settings.sample_rate} Hz and {rates} kbit/s"


def _plan(tracks: Sequence[Track], splits: Sequence[str], pairs: Mp3Pairs) -> list[Shard]:
    """The shards of each split, and one of the pairs to listen to."""
    plan, numbered = [], list(enumerate(tracks))
    for split in splits:
        excerpts = [
            Excerpt(number, track, begin, pairs.samples)
            for number, track in numbered
            if track.split == split
            for begin in pairs.begins(track)
        ]
        plan += _cut(split, excerpts)
    for split in ("validation", "test", "train"):
        excerpts = [
            Excerpt(number, track, *listening_excerpt(track, pairs.sample_rate))
            for number, track in numbered
            if track.split == split
        ]
        if excerpts:
            return plan + _cut("listening", excerpts[:LISTENING_TRACKS])
    return plan


def _cut(name: str, excerpts: Sequence[Excerpt]) -> list[Shard]:
    firsts = range(0, len(excerpts), PAIRS_PER_SHARD)
    return [
        Shard(
            f"{name}-{number:05d}-of-{len(firsts):05d}.tfrecord",
            excerpts[first : first + PAIRS_PER_SHARD],
            name == "listening",
        )
        for number, first in enumerate(firsts)
    ]


def _key(shard: Shard, settings: PairSettings) -> str:
    """All that the bytes of a shard depend on, as one word."""
    made_from = [
        [shards.FORMAT, LEAD_SECONDS, TAIL_SECONDS, version("lameenc")],
        [settings.sample_rate, settings.kbit_per_second],
        [[each.number, each.track.track_id, *each[2:]] for each in shard.excerpts],
        [_state(path) for path in _files(shard.excerpts)],
    ]
    return hashlib.blake2b(json.dumps(made_from).encode(), digest_size=16).hexdigest()


def _files(excerpts: Sequence[Excerpt]) -> list[Path]:
    """Every file that is read for excerpts, once."""
    return list(dict.fromkeys(path for each in excerpts for path in each.track.files))


def _state(path: Path) -> list[int]:
    """Size and time of a file, by which a change is noticed."""
    try:
        status = os.stat(path)
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _check_space(folder: Path, plan: Sequence[Shard], settings: PairSettings) -> None:
    """Refuses work for whose results there is no room."""
    mp3_seconds = LEAD_SECONDS + TAIL_SECONDS
    needed = sum(
        2 * each.samples
        + sum(settings.kbit_per_second) * 125 * (each.samples / settings.sample_rate + mp3_seconds)
        for shard in plan
        for each in shard.excerpts
    )
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: about {needed / 1e9:.1f} GB are needed, but only {free / 1e9:.1f} GB are "
            "free; free space, or choose another --out."
        )


def _make(
    shard: Shard,
    folder: Path,
    settings: PairSettings,
    jobs: int,
    unreadable: dict[Path, str],
    advance: Callable[[str], None],
) -> None:
    """Makes a shard of what can be read."""

    def encode(excerpt: Excerpt) -> EncodedPair:
        return encode_pair(
            excerpt.track,
            excerpt.begin,
            excerpt.samples,
            settings.sample_rate,
            settings.kbit_per_second,
        )

    def pairs() -> Iterator[KeptPair]:
        for excerpt, future in _in_order(encode, shard.excerpts, jobs):
            track = excerpt.track
            try:
                yield KeptPair(excerpt.number, track, excerpt.begin, future.result())
            except AudioFileError as error:
                if track.path not in unreadable:
                    unreadable[track.path] = str(error)
                    _log.error("%s", error)
            advance(track.path.name)

    shards.write_shard(
        folder / shard.name, pairs(), _key(shard, settings), listening=shard.is_listening
    )


def _in_order(
    function: Callable[[Excerpt], EncodedPair], excerpts: Sequence[Excerpt], jobs: int
) -> Iterator[tuple[Excerpt, Future[EncodedPair]]]:
    """Calls a function in threads; yields the calls in the order of the excerpts, ended or not.

    LAME, libsndfile and soxr let go of Python's lock.
    """
    pool = ThreadPoolExecutor(jobs)
    waiting: deque[tuple[Excerpt, Future[EncodedPair]]] = deque()
    try:
        for excerpt in excerpts:
            waiting.append((excerpt, pool.submit(function, excerpt)))
            # Some that wait keep the threads busy while one result is slow to come.
            if len(waiting) >= 4 * jobs:
                yield waiting.popleft()
        yield from waiting
    finally:
        pool.shutdown(cancel_futures=True)


def _measure(outcome: Outcome, plan: Sequence[Shard], folder: Path) -> None:
    for shard in plan:
        index = shards.read_index(folder / shard.name)
        outcome.size += index.size
        if not shard.is_listening:
            outcome.pairs += len(index.entries)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turns what the system refuses into a sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{folder}: cannot be written ({reason}); free space or choose another --out, then "
            "give the same command again, which goes on."
        ) from None
