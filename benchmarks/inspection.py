"""How often a look at a file is right about it, and how long it takes.

Every recording of a folder is written as it is (FLAC), as MP3s of LAME, as those MP3s decoded into
FLAC (also at the low rate that LAME gave them), through lower sample rates, and with a silent gap;
`tfrestore.preset_choice` chooses a preset for each. Prints how many of each kind are restored as
MP3s, extended, filled, or left alone; and the seconds that a look at four minutes of stereo takes.

    python -m benchmarks.inspection --data FOLDER
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.parser import make_parser
from tfrestore.command_line import positive_number, run_command

BIT_RATES = (16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 320)
LOW_RATES = (22050, 32000)

#: What is decided, as it is called in the table, by the chosen preset's family.
DECISIONS = {
    "apollo": "restored",
    "sr_gan": "restored",
    "inception_wgan": "extended",
    "inpainter": "filled",
    None: "left alone",
}


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = make_parser(__spec__.name, __doc__)
    parser.add_argument("--data", required=True, help="folder of intact music")
    parser.add_argument(
        "--seconds", type=positive_number, default=10.0, help="of each recording's beginning"
    )
    parser.add_argument("--mono", action="store_true", help="mix to one channel first")
    return run_command(parser, benchmark, arguments)


def benchmark(options: argparse.Namespace) -> int:
    """Measures and prints; returns the exit code."""
    from tfrestore.audio.reading import read
    from tfrestore.data.tracks import audio_files
    from tfrestore.preset_choice import choose_for_file

    columns = list(dict.fromkeys(DECISIONS.values()))
    counts: dict[str, Counter] = defaultdict(Counter)
    with tempfile.TemporaryDirectory() as scratch:
        for path in audio_files(Path(options.data)):
            waveform, rate = read(path)
            waveform = waveform[:, : round(options.seconds * rate)]
            if options.mono:
                waveform = waveform.mean(axis=0, keepdims=True)
            for kind, file in _versions(waveform, rate, Path(scratch)):
                choice = choose_for_file(file)
                decision = DECISIONS[choice.preset and choice.preset.family]
                counts[kind][decision] += 1
                if (kind == "original") != (decision == "left alone") and "gap" not in kind:
                    print(f"{path.name} as {kind}: {choice.reason}")
        print(f"{'':24s}" + "".join(f"{name:>12s}" for name in columns))
        for kind, found in counts.items():
            print(f"{kind:24s}" + "".join(f"{found[name]:12d}" for name in columns))
        _print_time(waveform, rate, Path(scratch))
    return 0


def _versions(waveform: np.ndarray, rate: int, folder: Path) -> Iterator[tuple[str, Path]]:
    from tfrestore.audio.mp3 import decode_mp3, encode_mp3, mp3_round_trip
    from tfrestore.audio.resampling import resample
    from tfrestore.audio.writing import write

    flac, mp3 = folder / "a.flac", folder / "a.mp3"

    def as_flac(samples: np.ndarray, sample_rate: int = rate) -> Path:
        write(flac, samples, sample_rate, "16")
        return flac

    yield "original", as_flac(waveform)
    gapped = waveform.copy()
    gapped[:, rate * 2 : rate * 2 + rate // 33] = 0
    yield "gap of 30 ms", as_flac(gapped)
    for low in LOW_RATES:
        yield f"through {low} Hz", as_flac(resample(resample(waveform, rate, low), low, rate))
    for kbit in BIT_RATES:
        mp3.write_bytes(encode_mp3(waveform, rate, kbit))
        yield f"MP3 {kbit}", mp3
        yield f"MP3 {kbit} in FLAC", as_flac(mp3_round_trip(waveform, rate, kbit))
        decoded, low = decode_mp3(mp3.read_bytes())
        if low != rate:
            yield f"MP3 {kbit} in FLAC, {low} Hz", as_flac(decoded, low)


def _print_time(waveform: np.ndarray, rate: int, folder: Path) -> None:
    from tfrestore.audio.writing import write
    from tfrestore.inspection import inspect_file

    stereo = np.broadcast_to(waveform, (2, waveform.shape[1]))
    song = np.tile(stereo, (1, -(-240 * rate // stereo.shape[1])))[:, : 240 * rate]
    for name in ("song.flac", "song.mp3"):
        write(folder / name, np.ascontiguousarray(song), rate)
        begun = time.perf_counter(), time.process_time()
        inspect_file(folder / name)
        wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
        print(f"{name} of 4 minutes: {wall:.1f} s, {cpu:.1f} s of one core")


if __name__ == "__main__":
    raise SystemExit(main())
