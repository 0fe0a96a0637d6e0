"""The SoundFont that pretty_midi carries, rewritten so that symusic's synthesizer plays it in tune.

symusic 0.5.8 takes the pitch of a sample from its header only: it does not know the generator
`overridingRootKey` (its issue 55; in TimGM6mb.sf2 the piano's middle C sounds 20 semitones too
high). Here every zone of an instrument gets a sample header of its own with the key that the zone
means, which says the same to a player that knows both. Record layouts: SoundFont 2.04
specification, section 7.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

_BAG = np.dtype([("generator", "<u2"), ("modulator", "<u2")])
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

_SAMPLE_ID, _OVERRIDING_ROOT_KEY = 53, 58


def general_midi_sound_font() -> Path:
    """The path of TimGM6mb.sf2 in pretty_midi's folder, found without importing pretty_midi."""
    package = importlib.util.find_spec("pretty_midi")
    return Path(package.origin).parent / "TimGM6mb.sf2"


def write_tuned(source: Path, target: Path) -> None:
    """Writes the SoundFont `source` to `target` with each zone's root key in its sample's header.

    Raises:
        ValueError: `source` is not a SoundFont 2 file.
    """
    data = source.read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"sfbk":
        raise ValueError(f"{source} is not a SoundFont 2 file.")
    lists = list(_chunks(data, 12, len(data)))
    body = b"sfbk"
    for name, content in lists:
        if content[:4] == b"pdta":
            content = b"pdta" + _tuned(dict(_chunks(content, 4, len(content))))
        body += _chunk(name, content)
    target.write_bytes(_chunk(b"RIFF", body))


def _tuned(hydra: dict[bytes, bytes]) -> bytes:
    """The chunks of `pdta` with one sample header per zone of an instrument."""
    instruments = np.frombuffer(hydra[b"inst"], _INSTRUMENT)
    bags = np.frombuffer(hydra[b"ibag"], _BAG)
    generators = np.frombuffer(hydra[b"igen"], _GENERATOR).copy()
    samples = np.frombuffer(hydra[b"shdr"], _SAMPLE)
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
            header = samples[amounts[_SAMPLE_ID]].copy()
            if 0 <= amounts.get(_OVERRIDING_ROOT_KEY, -1) <= 127:
                header["key"] = amounts[_OVERRIDING_ROOT_KEY]
            zone["amount"][zone["operator"] == _SAMPLE_ID] = len(headers)
            headers.append(header)
    hydra[b"igen"] = generators.tobytes()
    hydra[b"shdr"] = np.array([*headers, samples[-1]], _SAMPLE).tobytes()
    return b"".join(_chunk(name, content) for name, content in hydra.items())


def _chunks(data: bytes, start: int, end: int):
    """(name, content) of the RIFF chunks in data[start:end]."""
    while start + 8 <= end:
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        yield data[start : start + 4], data[start + 8 : start + 8 + size]
        start += 8 + size + size % 2


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)
