"""A trained run and its evaluation as a preset that is shipped: weights, facts, model card."""

from __future__ import annotations

import csv
import json
import os
import platform
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml

from tfrestore.command_line import available_cores
from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.degradation import parse_degradation
from tfrestore.errors import UsageError
from tfrestore.evaluation.rulers import RULERS
from tfrestore.models import presets
from tfrestore.output_files import complete_folder
from tfrestore.preset_card import CARD_FILE, make_card
from tfrestore.preset_measurement import measure_preset
from tfrestore.restorer import Restorer
from tfrestore.training.configuration import NOTES
from tfrestore.training.run_folder import HISTORY_FILE
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
        failures: Known failures, a sentence each.
    """

    description: str
    music: str
    sources: str = ""
    license: str = "Apache-2.0"
    hardware: str | None = None
    failures: Sequence[str] = ()


def shipped_folder(family: str, name: str) -> Path:
    """Where a preset's weights lie in the package."""
    return Path(str(resources.files(f"tfrestore.models.{family}"))) / "presets" / name


def ship(
    run: str | os.PathLike,
    evaluation: str | os.PathLike,
    name: str,
    statements: Statements,
    *,
    out: str | os.PathLike | None = None,
    data: str | None = None,
    seconds: float | None = None,
    overwrite: bool = False,
    note=lambda done, total, track: None,
) -> Path:
    """Makes a preset folder with facts and model card, complete or not at all.

    Without `out` it becomes part of the package, under its name beside the family's presets; where
    no architecture of this name is there, that is written too.

    Args:
        run: The folder that train wrote.
        evaluation: A folder that evaluate wrote for that run.
        name: What the preset is to be called.
        statements: What no file says.
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
    found = presets.find_preset(run)
    table = _read_table(Path(evaluation))
    system = _system_of(run, table, Path(evaluation))
    target = Path(out) if out is not None else shipped_folder(found.family, name)
    if target.exists() and not overwrite:
        raise UsageError(f"{target}: exists already; --overwrite replaces it.")
    architecture = _architecture(found, name, statements, run)
    history = _read_history(run)
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
    scores = _scores(table, system)
    metadata = {
        "preset": name,
        "description": statements.description,
        "license": statements.license,
        "restores": _restores(improved, table["channels"] == "mono"),
        "improves_below_cutoff": measurement.improves_below_cutoff(),
        "float16": measurement.float16_changes(),
        "measured": measurement.summary(),
        "training": {
            "command": f"tfrestore train --config config.yaml --data MUSIC --out {name}",
            "music": statements.music,
            "sources": statements.sources,
            "data": {k: v for k, v in found.config["data"].items() if k != "class_name"},
            "steps": int(history[-1]["step"]),
            "kept_step": found.metadata.get("step"),
            "batch_size": found.config["training"]["batch_size"],
            "seed": found.config["training"]["seed"],
            "hardware": statements.hardware or describe_machine(),
        },
        "evaluation": {"command": _evaluation_command(table, name), "scores": scores},
        "known_failures": [*statements.failures, *_losses(scores)],
    }
    with complete_folder(target, replace=overwrite) as beside:
        dtype = "float16" if measurement.float16_costs_nothing() else "float32"
        exact.save_to_preset(beside, weights_dtype=dtype)
        size = (beside / presets.WEIGHTS_FILE).stat().st_size
        metadata = {**presets.read_metadata(beside), **metadata, "weights_bytes": size}
        presets.write_text(beside / presets.TRAINING_FILE, _configuration(found, name))
        shutil.copyfile(run / HISTORY_FILE, beside / HISTORY_FILE)
        presets.write_text(beside / CARD_FILE, make_card(metadata))
        text = json.dumps(metadata, indent=2, allow_nan=False) + "\n"
        presets.write_text(beside / presets.METADATA_FILE, text)
    if out is None and architecture:
        presets.write_text(target.with_suffix(".yaml"), architecture)
    return target


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


def _read_history(run: Path) -> list[dict]:
    try:
        with open(run / HISTORY_FILE, newline="", encoding="utf-8") as file:
            history = list(csv.DictReader(file))
    except OSError:
        history = []
    if not history or not presets.find_preset(run).config.get("training"):
        raise UsageError(f"{run}: no finished training run; give the folder that train wrote.")
    return history


def _architecture(
    found: presets.Preset, name: str, statements: Statements, run: Path
) -> str | None:
    """The YAML file of a preset that has none yet.

    Raises:
        UsageError: if there is one of another network.
    """
    if name not in presets.preset_names():
        content = {"description": statements.description, **_sections(found)}
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
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
    return None


def _configuration(found: presets.Preset, name: str) -> str:
    """The run's configuration without what only the machine knows that it was made on."""
    content = {"preset": name, "family": found.family, **_sections(found)}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _sections(found: presets.Preset) -> dict:
    """A run's configuration without what it says of itself and of its machine."""
    return {name: values for name, values in found.config.items() if name not in NOTES}


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


def _scores(table: dict, system: str) -> dict:
    """Means before and after by degradation and ruler, over all genres.

    Of a stochastic model it is the mean over its versions: nobody has the original to choose by.
    """
    found: dict = {}
    rows = [row for row in table["rows"] if row["genre"] == "all" and row["degradation"] != "mp3"]
    for row in rows:
        ruler = RULERS.get(row["metric"])
        is_one = row["versions"] == "one" or row["versions"].startswith("mean")
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
