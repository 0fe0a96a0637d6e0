"""`python -m tfrestore.demo`: the whole path once, on music rendered on the spot.

Trains a tiny inpainter, evaluates it on tracks it has not seen, exports it, and restores a damaged
recording; prints the scores before and after and where everything lies.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tfrestore.command_line import make_parser, run_command
from tfrestore.errors import UsageError


def make_demo_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = make_parser("demo", __doc__.partition("\n\n")[2].strip())
    parser.add_argument("--out", default="demo", help="folder for all that is made")
    parser.add_argument("--preset", default="unet_tiny", help="preset to train")
    parser.add_argument("--steps", type=int, default=600, help="training steps")
    return parser


def demo(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    from tfrestore.__main__ import main as tfrestore

    folder = Path(options.out)
    run = folder / "run"
    if (run / "config.yaml").exists():
        raise UsageError(f"{folder}: holds a demo already; remove it or choose another --out.")

    def step(heading: str, *arguments: str) -> None:
        print(f"\n== {heading}\n$ tfrestore {' '.join(arguments)}", flush=True)
        code = tfrestore(list(arguments))
        if code:
            raise SystemExit(code)

    step(
        "Training on the demo corpus",
        *("train", "--preset", options.preset, "--data", "demo"),
        *("--steps", str(options.steps), "--out", str(run)),
    )
    for degradation in ("gaps:frames", "gaps:waveform"):
        step(
            "Scores on tracks that were not trained on",
            *("evaluate", "--model", str(run), "--data", "demo", "--degradation", degradation),
            *("--mono", "--metrics", "psnr", "nrmse", "snr", "lsd", "peaq"),
        )
    step(
        "Export for TensorFlow Serving",
        "export",
        "--model",
        str(run),
        "--out",
        f"{folder}/models/demo",
    )

    original, degraded, restored = (
        folder / f"{name}.wav" for name in ("original", "degraded", "degraded.restored")
    )
    seconds = _copy_test_track(original)
    step("A recording with gaps of 10 to 50 ms", "degrade", str(original), "-o", str(degraded))
    step("Restored", "restore", str(degraded), "--preset", str(run), "--overwrite")
    picture = folder / "before-after.png"
    _report(original, degraded, restored, picture, seconds)
    return 0


def _copy_test_track(target: Path) -> float:
    """Writes the first test track of the demo corpus as WAV; returns its length in seconds."""
    from tfrestore.audio.reading import read
    from tfrestore.audio.writing import write
    from tfrestore.data.catalogue import open_catalogue

    track = open_catalogue("demo").require("test")[0]
    waveform, sample_rate = read(track.path)
    write(target, waveform, sample_rate)
    return track.duration


def _report(original: Path, degraded: Path, restored: Path, picture: Path, seconds: float) -> None:
    from tfrestore.audio.reading import read
    from tfrestore.pictures import spectrogram_picture, write_picture

    waveforms = {path.stem: read(path)[0].mean(axis=0) for path in (original, degraded, restored)}
    sample_rate = read(original, frames=1)[1]
    shown = {title: waveform[: 5 * sample_rate] for title, waveform in waveforms.items()}
    write_picture(picture, spectrogram_picture(shown, sample_rate))
    print(f"\n== {seconds:.0f} s of music, before and after")
    for label, path in (
        ("original", original),
        ("before", degraded),
        ("after", restored),
        ("picture", picture),
    ):
        print(f"{label:9s} {path}")


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_demo_parser(), demo, arguments)


if __name__ == "__main__":
    sys.exit(main())
