"""SoundFonts for symusic's synthesizer: checked, and rewritten so that it plays them in tune.

symusic 0.5.8 takes the pitch of a sample from its header only: it does not know the generator
`overridingRootKey` (its issue 55; in TimGM6mb.sf2 the piano's middle C sounds 20 semitones too
high). Here every zone of an instrument gets a sample header of its own with the key that the zone
means, which says the same to a player that knows both. It also takes the times of envelopes for
a thousandth of what they are where a preset says nothing of them (every note of TimGM6mb.sf2 ends
within 10 ms), and lets the amplitude fall in a straight line where the file means the level;
`SoundFont.write_playable` mends the first and allows for the second in a note's release, which is
heard most. And it trusts every number in
the file, and takes the process with it where one is wrong; so `SoundFont` looks at them first.
Record layouts and generators: SoundFont 2.04 specification, sections 7 and 8.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tfrestore.complete_files import file_beside
from tfrestore.data.cache import cache_folder
from tfrestore.errors import UsageError

#: Hz that SoundFonts are played at; the check of their loops is for no lower one.
SYNTHESIZER_RATE = 44100

#: The bank of drum kits.
DRUM_BANK = 128

#: A note's release is cut to so many seconds.
LONGEST_RELEASE = 2.0

_PRESET = np.dtype(
    [
        ("name", "S20"),
        ("program", "<u2"),
        ("bank", "<u2"),
        ("bag", "<u2"),
        ("reserved", "<u4", 3),
    ]
)
_BAG = np.dtype([("generator", "<u2"), ("modulator", "<u2")])
_MODULATOR = np.dtype("S10")
_GENERATOR = np.dtype([("operator", "<u2"), ("amount", "<i2")])
_INSTRUMENT = np.dtype([("name", "S20"), ("bag", "<u2")])
_SAMPLE = np.dtype(
    [
        ("name", "S20"),
        ("positions", "<u4", 4),
        ("sample_rate", "<u4"),
        ("key", "u1"),
        ("cents", "i1"),
        ("link", "<u2"),
        ("type", "<u2"),
    ]
)
_RECORDS = {
    b"phdr": _PRESET,
    b"pbag": _BAG,
    b"pmod": _MODULATOR,
    b"pgen": _GENERATOR,
    b"inst": _INSTRUMENT,
    b"ibag": _BAG,
    b"imod": _MODULATOR,
    b"igen": _GENERATOR,
    b"shdr": _SAMPLE,
}

_RELEASE, _INSTRUMENT_ID, _KEY_RANGE, _SAMPLE_ID, _LOOP_MODE, _OVERRIDING_ROOT_KEY = (
    38,
    41,
    43,
    53,
    54,
    58,
)
# Start, end, start and end of the loop: by samples and by 32768 samples.
_OFFSETS = ((0, 4), (1, 12), (2, 45), (3, 50))
# The last two bits of the loop mode count, and 2 means none, as 0.
_LOOP_MODES = (0, 1, 0, 3)
_UNUSED, _LAST_OPERATOR = 14, 60
# What symusic adds to a time, in the file's unit (1200 log2 of seconds), where a preset does not.
_MISTAKEN = -12000
# 1200 log2(2/9): a ramp of the amplitude is at -20 dB where a ramp of the level, which the file
# means, to -100 dB in 9/2 of the time is.
_RAMP = -2604


def check_midi_packages(purpose: str) -> None:
    """Says what to install where the packages for MIDI are missing.

    Args:
        purpose: What they are needed for, as in `the demo corpus is rendered`.

    Raises:
        UsageError: if one is missing.
    """
    missing = [name for name in ("symusic", "pretty_midi") if not importlib.util.find_spec(name)]
    if missing:
        raise UsageError(
            f"{purpose} with {' and '.join(missing)}, which is not installed: "
            "pip install 'tfrestore[midi]'."
        )


def general_midi_sound_font() -> Path:
    """The path of TimGM6mb.sf2 in pretty_midi's folder, found without importing pretty_midi."""
    package = importlib.util.find_spec("pretty_midi")
    return Path(package.origin).parent / "TimGM6mb.sf2"


class SoundFont:
    """A SoundFont 2 file that was found to be one.

    Args:
        path: The file.

    Raises:
        UsageError: if it cannot be read, is no SoundFont 2 file, is damaged, or is cut off.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        try:
            # Samples are most of it, and are not looked at.
            self._data = np.memmap(self.path, np.uint8, mode="r")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is empty"
            raise UsageError(f"{self.path}: this SoundFont cannot be read ({reason}).") from None
        try:
            self._check()
        except _DamagedError as damage:
            raise UsageError(
                f"{self.path}: not a SoundFont 2 file that can be used ({damage}); give another, "
                "or none for the small one that pretty_midi carries."
            ) from None

    def has_instrument(self, program: int, bank: int = 0) -> bool:
        """Whether it has an instrument for a program; of a drum kit, in `DRUM_BANK`."""
        return (bank, program) in self._releases

    def release(self, program: int, bank: int = 0) -> float:
        """The longest time, in seconds, that a note of a program sounds after its end."""
        return self._releases[bank, program]

    def write_playable(self, target: Path, only_tuned: bool = False) -> None:
        """Writes it as symusic's synthesizer plays it.

        Args:
            target: The file.
            only_tuned: Whether only the pitches shall be mended, and not releases and loops.
        """
        with open(target, "wb") as file:
            lists = [
                (name, _tables(_playable(self._hydra, self._sample_count, only_tuned)))
                if bytes(content[:4]) == b"pdta"
                else (name, content)
                for name, content in self._lists
            ]
            size = 4 + sum(8 + len(content) + len(content) % 2 for _, content in lists)
            file.write(b"RIFF" + size.to_bytes(4, "little") + b"sfbk")
            for name, content in lists:
                file.write(name + len(content).to_bytes(4, "little"))
                file.write(memoryview(content))
                file.write(b"\0" * (len(content) % 2))

    def _check(self) -> None:
        data = self._data
        if bytes(data[:4]) != b"RIFF" or bytes(data[8:12]) != b"sfbk":
            raise _DamagedError("it does not begin as one does")
        self._lists = list(_whole_chunks(data, 12))
        kinds = {bytes(content[:4]): content for name, content in self._lists if name == b"LIST"}
        for kind in (b"INFO", b"sdta", b"pdta"):
            if kind not in kinds:
                raise _DamagedError(f"its part {kind.decode()} is missing")
        version = dict(_whole_chunks(kinds[b"INFO"], 4)).get(b"ifil", b"")
        if len(version) != 4 or int(version[0]) != 2 or int(version[1]):
            raise _DamagedError("its version is not 2")
        self._sample_count = len(dict(_whole_chunks(kinds[b"sdta"], 4)).get(b"smpl", b"")) // 2
        chunks = dict(_whole_chunks(kinds[b"pdta"], 4))
        self._hydra = {}
        for name, record in _RECORDS.items():
            content = chunks.get(name, b"")
            if not len(content) or len(content) % record.itemsize:
                raise _DamagedError(f"its table {name.decode()} is missing or cut off")
            self._hydra[name] = np.frombuffer(bytes(content), record)
        hydra = self._hydra
        for head, bags, generators in (
            (b"phdr", b"pbag", b"pgen"),
            (b"inst", b"ibag", b"igen"),
        ):
            _check_order(hydra[head]["bag"], len(hydra[bags]) - 1, head)
            _check_order(hydra[bags]["generator"], len(hydra[generators]), bags)
        for table, operator, pointed_at in (
            (b"pgen", _INSTRUMENT_ID, b"inst"),
            (b"igen", _SAMPLE_ID, b"shdr"),
        ):
            generators = hydra[table]
            numbers = generators["amount"][generators["operator"] == operator].view("<u2")
            if numbers.size and numbers.max() >= len(hydra[pointed_at]) - 1:
                raise _DamagedError(
                    f"its table {table.decode()} points beyond {pointed_at.decode()}"
                )
        # What would be written is checked with it.
        self._releases = _releases(_playable(hydra, self._sample_count))
        if not self._releases:
            raise _DamagedError("it has no instrument")


class _DamagedError(Exception):
    """What is wrong with a file, in words that go into a sentence."""


def playable_sound_font(path: str | os.PathLike | None) -> tuple[SoundFont, Path]:
    """A SoundFont, and a copy of it in the cache folder that symusic's synthesizer plays.

    Args:
        path: The file; `None` for the one that pretty_midi carries.

    Raises:
        UsageError: if it is no SoundFont 2 file, or the cache folder cannot be written.
    """
    font = SoundFont(general_midi_sound_font() if path is None else path)
    with open(font.path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    # The number is that of the way in which it is rewritten.
    target = cache_folder() / f"sound-font-2-{digest}.sf2"
    if not target.exists():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with file_beside(target) as beside:
                font.write_playable(beside)
        except OSError as error:
            raise UsageError(
                f"the SoundFont cannot be written to {target.parent} ({error.strerror}): set "
                "TFRESTORE_CACHE to a folder with space for it."
            ) from None
    return font, target


def _playable(
    hydra: dict[bytes, np.ndarray], sample_count: int, only_tuned: bool = False
) -> dict[bytes, np.ndarray]:
    """The tables of `pdta` with one sample header per zone of an instrument.

    Raises:
        _DamagedError: if a sample that is used is not there.
    """
    instruments, bags, samples = hydra[b"inst"], hydra[b"ibag"], hydra[b"shdr"]
    generators, of_presets = hydra[b"igen"].copy(), hydra[b"pgen"].copy()
    headers = list(samples[:-1])
    for first, end in zip(instruments["bag"][:-1], instruments["bag"][1:], strict=True):
        of_all_zones: dict[int, int] = {}
        for bag in range(first, end):
            zone = generators[bags["generator"][bag] : bags["generator"][bag + 1]]
            own = dict(zip(zone["operator"].tolist(), zone["amount"].tolist(), strict=True))
            if _SAMPLE_ID not in own:
                of_all_zones = own if bag == first else of_all_zones
                continue
            amounts = of_all_zones | own
            header = samples[amounts[_SAMPLE_ID] & 0xFFFF].copy()
            if 0 <= amounts.get(_OVERRIDING_ROOT_KEY, -1) <= 127:
                header["key"] = amounts[_OVERRIDING_ROOT_KEY]
            positions = _positions(header, amounts, sample_count)
            if not only_tuned:
                header["positions"] = positions
            zone["amount"][zone["operator"] == _SAMPLE_ID] = np.uint16(len(headers)).view(np.int16)
            headers.append(header)
    if len(headers) > 0xFFFF:
        raise _DamagedError("it has more zones than can be numbered")
    if not only_tuned:
        for table in (generators, of_presets):
            moved = np.isin(table["operator"], [each for pair in _OFFSETS for each in pair])
            table["operator"][moved | (table["operator"] > _LAST_OPERATOR)] = _UNUSED
        modes = generators["operator"] == _LOOP_MODE
        generators["amount"][modes] = np.array(_LOOP_MODES)[generators["amount"][modes] & 3]
        of_zones, of_preset = (t["operator"] == _RELEASE for t in (generators, of_presets))
        cents = generators["amount"][of_zones].astype(int) + _RAMP
        longest = round(1200 * np.log2(LONGEST_RELEASE))
        generators["amount"][of_zones] = np.clip(cents, -12000, longest) - _MISTAKEN
        cents = np.clip(of_presets["amount"][of_preset].astype(int), -12000, 1200)
        of_presets["amount"][of_preset] = cents + _MISTAKEN
    return {
        **hydra,
        b"pgen": of_presets,
        b"igen": generators,
        b"shdr": np.array([*headers, samples[-1]], _SAMPLE),
    }


def _positions(header: np.void, amounts: dict[int, int], sample_count: int) -> list[int]:
    """Where a zone's sample begins and ends, and where it is looped.

    Raises:
        _DamagedError: if that is not among the samples, or its rate makes no sense.
    """
    begin, end, loop_begin, loop_end = (
        int(position) + amounts.get(fine, 0) + 32768 * amounts.get(coarse, 0)
        for position, (fine, coarse) in zip(header["positions"], _OFFSETS, strict=True)
    )
    name = header["name"].decode("latin-1")
    if not 0 <= begin < end <= sample_count:
        raise _DamagedError(f"its sample {name!r} is not all there")
    if not 1000 <= header["sample_rate"] <= 400_000 or header["key"] > 127:
        raise _DamagedError(f"its sample {name!r} has no sensible rate or pitch")
    # symusic never leaves a loop that has no sample left at the highest pitch it is played at; its
    # tuning adds two semitones at most.
    highest = amounts.get(_KEY_RANGE, 127 << 8) >> 8 & 0x7F
    shortest = 2 * header["sample_rate"] / SYNTHESIZER_RATE
    shortest *= 2.0 ** ((highest - int(header["key"]) + 2) / 12)
    if not begin <= loop_begin < loop_end - shortest or loop_end > end:
        # A loop that is nowhere would be read from there.
        loop_begin, loop_end = begin, end
    if loop_end - loop_begin < shortest:
        raise _DamagedError(f"its sample {name!r} is too short for the keys it is meant for")
    return [begin, end, loop_begin, loop_end]


def _releases(hydra: dict[bytes, np.ndarray]) -> dict[tuple[int, int], float]:
    """The longest release, in seconds, of each (bank, program) of tables that are to be played."""
    of_instruments = []
    for zones in _zones(hydra, b"inst", b"ibag", b"igen", _SAMPLE_ID):
        releases = [zone.get(_RELEASE, -12000) for zone in zones]
        of_instruments.append(max(releases, default=None))
    found: dict[tuple[int, int], float] = {}
    presets = _zones(hydra, b"phdr", b"pbag", b"pgen", _INSTRUMENT_ID)
    for head, zones in zip(hydra[b"phdr"], presets, strict=False):
        for zone in zones:
            release = of_instruments[zone[_INSTRUMENT_ID] & 0xFFFF]
            if release is not None:
                cents = release + zone.get(_RELEASE, _MISTAKEN)
                key = int(head["bank"]), int(head["program"])
                found[key] = max(found.get(key, 0.0), 2.0 ** (cents / 1200))
    return found


def _zones(hydra, heads: bytes, bags: bytes, generators: bytes, ends_with: int):
    """Of each preset or instrument the zones that sound, amounts by operator."""
    tables = hydra[heads]["bag"], hydra[bags]["generator"], hydra[generators]
    for first, end in zip(tables[0][:-1], tables[0][1:], strict=True):
        of_all_zones, found = {}, []
        for bag in range(first, end):
            zone = tables[2][tables[1][bag] : tables[1][bag + 1]]
            own = dict(zip(zone["operator"].tolist(), zone["amount"].tolist(), strict=True))
            if ends_with in own:
                found.append(of_all_zones | own)
            elif bag == first:
                of_all_zones = own
        yield found


def _check_order(indices: np.ndarray, most: int, name: bytes) -> None:
    """Refuses indices into the next table that go back or beyond it."""
    if indices[-1] > most or (np.diff(indices.astype(int)) < 0).any():
        raise _DamagedError(f"its table {name.decode()} points to what is not there")


def _tables(hydra: dict[bytes, np.ndarray]) -> bytes:
    return b"pdta" + b"".join(_chunk(name, table.tobytes()) for name, table in hydra.items())


def _whole_chunks(data: np.ndarray, start: int) -> Iterator[tuple[bytes, np.ndarray]]:
    """(name, content) of the RIFF chunks in data[start:].

    Raises:
        _DamagedError: if one ends behind the data.
    """
    while start + 8 <= len(data):
        size = int.from_bytes(bytes(data[start + 4 : start + 8]), "little")
        if start + 8 + size > len(data):
            raise _DamagedError("it is cut off")
        yield bytes(data[start : start + 4]), data[start + 8 : start + 8 + size]
        start += 8 + size + size % 2


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)
