"""The key of a listening test: which opaque name on the page stands for which system and track.

The page carries it as one word that says nothing to a listener's eyes (base64 of compressed JSON),
and copies it into the results, so that results can be read without the page. It is no secret from
someone who takes the trouble to decode it.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import zlib
from dataclasses import asdict, dataclass

VERSION = 1
MODES = ("mos", "mushra")

# More than a key of a hundred thousand excerpts; bounds what a malicious one can unpack to.
_MOST_BYTES = 1 << 24


@dataclass(frozen=True)
class Key:
    """What a page's opaque names mean.

    Attributes:
        page: The page's identity; pages with the same sounds and settings have the same.
        mode: "mos" or "mushra".
        title: The page's heading.
        systems: Names of all signals that are rated: the systems, and in MUSHRA the hidden
            reference and the anchors behind them.
        excerpts: Track and start in seconds of each.
        items: By opaque name: the number of the excerpt and the number of the system.
        reference: The number of the hidden reference among the systems, in MUSHRA.
        mid_anchor: The number of the 7 kHz anchor, where there is one.
        settings: How the page was made, by name of the option.
    """

    page: str
    mode: str
    title: str
    systems: tuple[str, ...]
    excerpts: tuple[tuple[str, float], ...]
    items: dict[str, tuple[int, int]]
    reference: int | None
    mid_anchor: int | None
    settings: dict[str, str | int | float]


def pack_key(key: Key) -> str:
    """The key as one word."""
    text = json.dumps({"version": VERSION, **asdict(key)}, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode("ascii")


def unpack_key(word: str) -> Key:
    """The key that `pack_key` made a word of.

    Raises:
        ValueError: It is none; the message says what is wrong, in a few lower-case words.
    """
    try:
        inflater = zlib.decompressobj()
        data = inflater.decompress(base64.b64decode(word, validate=True), _MOST_BYTES)
        record = json.loads(data)
    except (binascii.Error, zlib.error, ValueError, RecursionError):
        raise ValueError("its key is damaged") from None
    if not isinstance(record, dict) or record.pop("version", None) != VERSION:
        raise ValueError("its key is of another version of tfrestore")
    try:
        key = Key(
            record["page"],
            record["mode"],
            record["title"],
            tuple(record["systems"]),
            tuple((track, start) for track, start in record["excerpts"]),
            {name: (excerpt, system) for name, (excerpt, system) in record["items"].items()},
            record["reference"],
            record["mid_anchor"],
            dict(record["settings"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError("its key is damaged") from None
    if not _is_sound(key):
        raise ValueError("its key is damaged")
    return key


def _is_sound(key: Key) -> bool:
    numbers = [number for number in (key.reference, key.mid_anchor) if number is not None]
    return (
        key.mode in MODES
        and all(_is_text(text) for text in (key.page, key.title, *key.systems))
        and len(set(key.systems)) == len(key.systems)
        and all(_is_text(track) and _is_number(start) for track, start in key.excerpts)
        and all(
            _is_index(excerpt, len(key.excerpts)) and _is_index(system, len(key.systems))
            for excerpt, system in key.items.values()
        )
        and len(set(key.items.values())) == len(key.items)
        and all(_is_index(number, len(key.systems)) for number in numbers)
        and (key.mode == "mos") == (key.reference is None)
        and all(_is_text(value) or _is_number(value) for value in key.settings.values())
    )


def _is_text(value: object) -> bool:
    # JSON can spell halves of characters, which no file can hold.
    return isinstance(value, str) and value.encode("utf-8", "ignore").decode() == value


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_index(value: object, size: int) -> bool:
    return type(value) is int and 0 <= value < size
