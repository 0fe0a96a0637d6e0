"""A trained run and its evaluation as a preset that is shipped: weights, facts, model card."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml

from tfrestore.audio.reading import AudioInfo
from tfrestore.audio.spectral_edges import SpectralEdge
from tfrestore.command_line import available_cores
from tfrestore.complete_files import write_text
from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.degradation import parse_degradation
from tfrestore.errors import InputError, UsageError
from tfrestore.evaluation.rulers import RULERS
from tfrestore.inspection import Inspection
from tfrestore.models import presets
from tfrestore.models.presets import Preset
from tfrestore.output_files import complete_folder
from tfrestore.preset_card import CARD_FILE, make_card
from tfrestore.preset_choice import choose
from tfrestore.preset_measurement import measure_preset, measurement_rate
from tfrestore.preset_stages import describe_stages, write_stages
from tfrestore.restorer import Restorer
from tfrestore.training.configuration import NOTES
from tfrestore.yaml_files import read_yaml

TABLE_FILE = "table.json"


@dataclass(frozen=True)
class Statements:
    """What a maintainer says of a preset that no file does.

    Attributes:
        description: One line: what it is and what for.
        music: What it was trained on, in a phrase.
        sources: Markdown on whose music that is, and under which licences.
        license: Of the weights.
        hardware: What it was trained on; `None` for this machine.
        earlier_hardware: What each of the stages before was trained on, as far as it is known.
        remark: What the configuration does not say of how the weights were made, in sentences.
        failures: Known failures, a sentence each.
        would_help: What it would take to do better, in sentences.
    """

    description: str
    music: str
    sources: str = ""
    license: str = "Apache-2.0"
    hardware: str | None = None
    earlier_hardware: Sequence[str] = ()
    remark: str = ""
    failures: Sequence[str] = ()
    would_help: str = ""


def shipped_folder(family: str, name: str) -> Path:
    """Where a preset's weights lie in the package."""
    return Path(str(resources.files(f"tfrestore.models.{family}"))) / "presets" / name


def ship(
    run: str | os.PathLike,
    evaluation: str | os.PathLike,
    name: str,
    statements: Statements,
    *,
    earlier: Sequence[str | os.PathLike] = (),
    out: str | os.PathLike | None = None,
    data: str | None = None,
    seconds: float | None = None,
    overwrite: bool = False,
    note=lambda done, total, track: None,
) -> Path:
    """Makes a preset folder with facts and model card, complete or not at all.

    Without `out` it becomes part of the package, under its name beside the family's presets. The
    architecture of this name gets its description, and is written where there is none yet; and what
    the cards of the other shipped presets say of when they are chosen is written anew.

    Args:
        run: The folder that train wrote.
        evaluation: A folder that evaluate wrote for that run.
        name: What the preset is to be called.
        statements: What no file says.
        earlier: The runs whose weights this one began with, the first one first.
        out: Another folder to write to.
        data: The evaluation's music, where it is not where it was.
        seconds: How much of each recording is used to measure; by default as in the evaluation.
        overwrite: Whether to replace a preset that is there.
        note: Is told how many recordings are measured, of how many, and the name of one.

    Returns:
        The folder.

    Raises:
        UsageError: if run and evaluation do not belong together, something is missing, or a preset
            of this name is there or has another network.
        InputError: if the folder cannot be written, or the music not read.
    """
    run = Path(run)
    runs = [*map(Path, earlier), run]
    found = presets.find_preset(run)
    table = _read_table(Path(evaluation))
    system = _system_of(run, table, Path(evaluation))
    target = Path(out) if out is not None else shipped_folder(found.family, name)
    if target.exists() and not overwrite:
        raise UsageError(f"{target}: exists already; --overwrite replaces it.")
    architecture = _architecture(found, name, statements, run)
    told = len(statements.earlier_hardware)
    if told >= len(runs):
        raise UsageError(
            f"the hardware of {told} earlier stages is given, but there are {len(runs) - 1}; give "
            "--earlier-hardware once for each --earlier, in the same order."
        )
    before = [*statements.earlier_hardware, *[None] * (len(runs) - 1 - told)]
    stages = describe_stages(runs, name, [*before, statements.hardware or describe_machine()])
    exact = Restorer.from_preset(run)
    with tempfile.TemporaryDirectory() as scratch:
        exact.save_to_preset(scratch, weights_dtype="float16")
        half = Restorer.from_preset(scratch)
    degradations = [parse_degradation(each) for each in table["degradations"]]
    tracks = open_catalogue(data or table["data"]).require(table["split"])
    total = len(tracks) * sum(not each.is_spectral for each in degradations)
    own = None if table["seconds"] == "all" else table["seconds"]
    measurement = measure_preset(
        half,
        exact,
        tracks,
        degradations,
        seconds=own if seconds is None else seconds,
        mono=table["channels"] == "mono",
        seed=table["seed"],
        note=lambda done, track: note(done, total, track),
    )
    improved = measurement.improved()
    scores = read_scores(table, system)
    metadata = {
        "preset": name,
        "description": statements.description,
        "license": statements.license,
        "restores": _restores(improved, table["channels"] == "mono"),
        "improves_below_cutoff": measurement.improves_below_cutoff(),
        "float16": measurement.float16_changes(),
        "measured": measurement.summary(),
        "measured_at": measurement_rate(half),
        "training": {
            "music": statements.music,
            "sources": statements.sources,
            "data": {k: v for k, v in found.config["data"].items() if k != "class_name"},
            "seed": found.config["training"]["seed"],
            "stages": stages,
            "remark": statements.remark,
        },
        "evaluation": {
            "command": _evaluation_command(table, name),
            "sample_rate": table["sample_rate"],
            "versions": table.get("candidates", 1),
            "scores": scores,
            "best": read_scores(table, system, best=True) if "candidates" in table else {},
        },
        "known_failures": [*statements.failures, *_losses(scores)],
        "would_help": statements.would_help,
    }
    if out is None:
        # First, since it is by this that the preset is found.
        _write_architecture(target.with_suffix(".yaml"), architecture)
    with complete_folder(target, replace=overwrite) as beside:
        dtype = "float16" if measurement.float16_costs_nothing() else "float32"
        exact.save_to_preset(beside, weights_dtype=dtype)
        size = (beside / presets.WEIGHTS_FILE).stat().st_size
        metadata = {**presets.read_metadata(beside), **metadata, "weights_bytes": size}
        write_stages(runs, stages, beside, is_shipped=out is None)
        _write_card(Preset(name, found.family, {}, folder=beside), metadata, out is None)
    if out is None:
        for preset in presets.shipped_presets():
            refresh_card(preset)
    return target


def _write_architecture(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror}).") from None


def refresh_card(preset: Preset) -> None:
    """Writes the card of a shipped preset anew, and with it what depends on more than its run.

    That is its description, which its architecture has, and which presets are chosen.
    """
    metadata = {**preset.metadata, "description": preset.description}
    _write_card(preset, metadata, is_shipped=True)


def _write_card(preset: Preset, metadata: dict, is_shipped: bool) -> None:
    # Presets are chosen by what lies in their folders.
    text = json.dumps(metadata, indent=2, allow_nan=False) + "\n"
    write_text(preset.folder / presets.METADATA_FILE, text)
    others = [each for each in presets.shipped_presets() if each.name != preset.name]
    choices = chosen_presets(metadata["restores"], [*others, preset] if is_shipped else others)
    metadata = {**metadata, "chosen": choices}
    text = json.dumps(metadata, indent=2, allow_nan=False) + "\n"
    write_text(preset.folder / presets.METADATA_FILE, text)
    write_text(preset.folder / CARD_FILE, make_card(metadata))


def chosen_presets(restores: dict, candidates: Sequence[Preset]) -> dict[str, str | None]:
    """Which preset `tfrestore restore FILE` chooses for what a preset improves.

    Args:
        restores: What that preset improves, as its metadata says.
        candidates: The presets to choose from.

    Returns:
        The chosen preset's name by degradation, `None` where none is.
    """
    channels = restores.get("channels", 2)
    examples = {
        f"mp3:{rate}": _example(channels, kbit_per_second=int(rate))
        for rate, gain in restores.get("mp3", {}).items()
        if gain is not None
    }
    for kind in restores.get("gaps", {}):
        examples[f"gaps:{kind}"] = _example(channels, gaps=((1.0, 1.02),))
    for factor, gain in restores.get("bandwidth", {}).items():
        if gain is not None:
            examples[f"bandwidth:{factor}"] = _example(channels, end=22050 / int(factor))
    chosen = {name: choose(found, candidates).preset for name, found in examples.items()}
    return {name: preset and preset.name for name, preset in chosen.items()}


def _example(
    channels: int,
    *,
    kbit_per_second: int | None = None,
    gaps: tuple[tuple[float, float], ...] = (),
    end: float | None = None,
) -> Inspection:
    """What would be found in a recording of half a minute that has one kind of harm."""
    is_mp3 = kbit_per_second is not None
    kind = ("MP3", "MPEG_LAYER_III") if is_mp3 else ("WAV", "PCM_16")
    edge = SpectralEdge(end, 0.0 if end is None else 60.0)
    info = AudioInfo(Path("any"), 44100, channels, 30 * 44100, *kind)
    return Inspection(info, kbit_per_second, edge, gaps)


def _read_table(folder: Path) -> dict:
    try:
        table = json.loads((folder / TABLE_FILE).read_text("utf-8"))
        table["models"].items(), table["rows"], table["data"], table["degradations"]  # noqa: B018
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(
            f"{folder}: no evaluation of models ({TABLE_FILE} is missing or of something else); "
            "give the folder that evaluate --model wrote with --out."
        ) from None
    return table


def _system_of(run: Path, table: dict, folder: Path) -> str:
    """What a run is called in a table."""
    for system, model in table["models"].items():
        if Path(model).resolve() == run.resolve():
            return system
    names = ", ".join(table["models"].values())
    raise UsageError(f"{folder}: this evaluation is of {names}, not of {run}.")


def _architecture(found: Preset, name: str, statements: Statements, run: Path) -> str:
    """The YAML file of a preset; of one that is there only the description changes.

    Raises:
        UsageError: if there is one of another network.
    """
    described = yaml.safe_dump(
        {"description": statements.description}, allow_unicode=True, width=1000
    )
    if name not in presets.preset_names():
        sections = {each: values for each, values in found.config.items() if each not in NOTES}
        rest = yaml.safe_dump(sections, sort_keys=False, allow_unicode=True, width=100)
        return described + rest
    file = shipped_folder(found.family, name).with_suffix(".yaml")
    if not file.is_file():
        raise UsageError(f"--name {name}: the preset of this name is of another family.")
    wanted = read_yaml(file)["network"]
    for key, value in wanted.items():
        if found.config["network"].get(key) != value:
            raise UsageError(
                f"{run}: its network.{key} is {found.config['network'].get(key)!r}, but the preset "
                f"{name} has {value!r}; choose another --name, or change {file.name}."
            )
    return re.sub(
        r"^description:.*\n(?:[ \t].*\n)*",
        lambda _: described,
        file.read_text("utf-8"),
        count=1,
        flags=re.MULTILINE,
    )


def _restores(improved: dict[str, float | None], mono: bool) -> dict:
    mp3, gaps, bandwidth = {}, {}, {}
    for name, gain in improved.items():
        family, _, detail = name.partition(":")
        if family == "mp3":
            mp3[detail] = gain
        elif family == "gaps" and gain is not None:
            gaps[detail] = gain
        elif family == "bandwidth":
            bandwidth[detail] = gain
    return {"channels": 1 if mono else 2, "mp3": mp3, "gaps": gaps, "bandwidth": bandwidth}


def _evaluation_command(table: dict, name: str) -> str:
    words = [f"tfrestore evaluate --model {name} --data VALIDATION_MUSIC"]
    words.append(f"--split {table['split']} --degradation")
    words.append(shlex.join(table["degradations"]))
    if table["channels"] == "mono":
        words.append("--mono")
    words.append(f"--sample-rate {table['sample_rate']}")
    if table["seconds"] != "all":
        words.append(f"--seconds {table['seconds']:g}")
    if "candidates" in table:
        words.append(f"--candidates {table['candidates']}")
    return " ".join([*words, f"--seed {table['seed']}"])


def read_scores(table: dict, system: str, best: bool = False) -> dict:
    """Means before and after by degradation and ruler, over all genres.

    Of a stochastic model it is the mean over its versions: nobody has the original to choose by.

    Args:
        table: What evaluate wrote.
        system: The model.
        best: Whether it is to be the best version by each ruler instead.
    """
    found: dict = {}
    rows = [row for row in table["rows"] if row["genre"] == "all" and row["degradation"] != "mp3"]
    for row in rows:
        ruler = RULERS.get(row["metric"])
        is_one = row["versions"] == "one" or row["versions"].startswith("best" if best else "mean")
        if ruler is None or ruler.higher_is_better is None or not is_one:
            continue
        when = {"degraded": "before", system: "after"}.get(row["system"])
        if when:
            scores = found.setdefault(row["degradation"], {}).setdefault(row["metric"], {})
            scores[when] = {k: row[k] for k in ("mean", "standard_deviation", "count")}
            if when == "after":
                scores["gain"] = row["gain"]
    return {
        degradation: {name: each for name, each in scores.items() if "gain" in each}
        for degradation, scores in found.items()
    }


def _losses(scores: dict) -> list[str]:
    """What the evaluation says against a model, a sentence per degradation."""
    lost = []
    for degradation, by_ruler in scores.items():
        worse = [
            f"{RULERS[name].label} by {abs(each['gain']):.{RULERS[name].decimals}f}"
            for name, each in by_ruler.items()
            if each["gain"] is not None and each["gain"] < -0.5 * 10.0 ** -RULERS[name].decimals
        ]
        if worse:
            lost.append(f"{degradation}: worse than what came in are {', '.join(worse)}.")
    return lost


def describe_machine() -> str:
    """Processor and graphics processors of this machine."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return ", ".join([f"{available_cores()} cores of {name}", *gpus])
