"""`python -m tfrestore.embedding`: draws how a model's embedding sees degraded and intact music."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path

from tfrestore.command_line import (
    make_parser,
    positive_integer,
    positive_number,
    run_command,
    seed,
)
from tfrestore.errors import UsageError

EXAMPLES = """\
  tfrestore embedding --model runs/autoencoder --data midi:~/midi --degradation instruments:0:4
  tfrestore embedding --model runs/autoencoder --data ~/music --degradation bandwidth:4 \\
      --out bandwidth.png"""


def make_embedding_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    from tfrestore.data.degradation import DESCRIPTION

    parser = make_parser(
        "embedding",
        "Draw a map (t-SNE) of what a model with an embedding, such as the inception autoencoder,\n"
        "makes of windows of degraded music and of the same windows of the intact: Figure 6 of\n"
        "Sifringer et al. Numbers that say how far the two can be told apart are printed; the\n"
        "points are kept beside the picture, as CSV.",
        EXAMPLES,
    )
    parser.add_argument("--model", required=True, metavar="FOLDER", help="a trained autoencoder")
    parser.add_argument(
        "--data", required=True, help="folder of music, midi:FOLDER, maestro:FOLDER, or demo"
    )
    parser.add_argument("--degradation", required=True, metavar="KIND", help=DESCRIPTION)
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test", "all"),
        help="tracks to draw windows from; by default as for tfrestore evaluate",
    )
    parser.add_argument(
        "--windows", type=positive_integer, default=500, help="how many, of either kind"
    )
    parser.add_argument(
        "--samples",
        type=positive_integer,
        metavar="N",
        help="length of a window; by default the model's",
    )
    parser.add_argument(
        "--perplexity",
        type=positive_number,
        default=30.0,
        help="of t-SNE: about how many neighbours a point has",
    )
    parser.add_argument("--seed", type=seed, default=0, help="decides the windows and the map")
    parser.add_argument("--out", default="embedding.png", metavar="FILE", help="the picture, a PNG")
    return parser


def embedding(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    from tfrestore.data.catalogue import open_catalogue
    from tfrestore.data.degradation import parse_degradation
    from tfrestore.evaluation import embeddings
    from tfrestore.evaluation.models import default_split
    from tfrestore.models.presets import find_preset
    from tfrestore.pictures import write_picture
    from tfrestore.progress import progress_bars

    embeddings.check_packages()
    out = Path(options.out)
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: the picture is a PNG; give a name that ends in .png.")
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}.")
    if options.windows < 2 or options.perplexity >= 2 * options.windows:
        raise UsageError(
            f"--perplexity {options.perplexity:g} with --windows {options.windows}: the map needs "
            "more than half as many windows, and two at least."
        )
    degradation = parse_degradation(options.degradation)
    find_preset(options.model)
    catalogue = open_catalogue(options.data)
    split = options.split or default_split(catalogue, options.data, options.model)
    tracks = catalogue.require(split)
    restorer, embed, samples = _load(options)
    with progress_bars() as bars:
        bar = bars.add_task("windows", total=options.windows, note="")
        windows = embeddings.draw_windows(
            tracks,
            degradation,
            options.windows,
            samples,
            restorer.sample_rate,
            options.seed,
            lambda done: bars.update(bar, completed=done),
        )
    # Seeds of scikit-learn have 32 bits.
    map_seed = options.seed % 2**32
    points, variance = embeddings.principal_components(
        embeddings.embed_windows(embed, [*windows.degraded, *windows.intact]), map_seed
    )
    found = embeddings.measure_separability(
        points[: options.windows], points[options.windows :], variance
    )
    positions = embeddings.map_points(points, options.perplexity, map_seed)
    names = f"input, {degradation.name}", "target"
    title = f"{options.model}: {options.windows} windows of {options.data}, {split}"
    write_picture(out, embeddings.map_picture(positions, names, title, str(found)))
    table = _write_points(out.with_suffix(".csv"), positions, windows.places)
    print(found)
    print(f"written to {out} and {table}")
    return 0


def _load(options: argparse.Namespace):
    """The restorer, what embeds, and how many samples a window has."""
    import numpy as np

    from tfrestore.restorer import Restorer

    restorer = Restorer.from_preset(options.model)
    embed = getattr(restorer.network, "embed", None)
    if embed is None:
        raise UsageError(
            f"--model {options.model}: {type(restorer.network).__name__} has no embedding; give a "
            "run of an autoencoder."
        )
    samples = options.samples or getattr(restorer, "window_samples", 8192)
    try:
        embed(np.zeros((1, samples), np.float32))
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"--samples {samples}: the model takes no such window ({reason})"
        ) from None
    return restorer, embed, samples


def _write_points(path: Path, positions, places) -> Path:
    """The points of the map and where they are from, as CSV, complete or not at all."""
    from tfrestore.complete_files import write_text

    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(["kind", "track", "second", "x", "y"])
    kinds = [kind for kind in ("input", "target") for _ in places]
    for kind, (track, second), (x, y) in zip(kinds, places * 2, positions, strict=True):
        lines.writerow([kind, track, f"{second:.3f}", f"{x:.4f}", f"{y:.4f}"])
    write_text(path, text.getvalue())
    return path


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_embedding_parser(), embedding, arguments)


if __name__ == "__main__":
    sys.exit(main())
