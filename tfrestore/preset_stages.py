"""The stages a preset was trained in: a run of train each, and each begun from the one before.

What a stage is follows from the folders that train wrote: its configuration with every default
spelt out, and its course. They are kept beside the weights, the last stage's as `config.yaml` and
`history.csv`, and those before as `stage-1.yaml`, `stage-1.csv` and so on.
"""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import yaml

from tfrestore.complete_files import write_text
from tfrestore.errors import UsageError
from tfrestore.models import presets
from tfrestore.training.configuration import SECTIONS, resolve
from tfrestore.training.run_folder import HISTORY_FILE


def describe_stages(runs: Sequence[Path], name: str, hardware: Sequence[str | None]) -> list[dict]:
    """What the metadata of a preset says of the stages it was trained in, the first one first.

    Args:
        runs: Folders that train wrote, each begun from the weights of the one before; the last is
            the preset's own.
        name: What the preset is called.
        hardware: What each ran on; `None` where that was not recorded.

    Returns:
        For each its `name`; the stage it `begins_with`, `None` for fresh weights; its `steps`, the
        `planned_steps` it would have ended after, `None` where that was a number of epochs, and the
        `kept_step` of its weights; its `batch_size`; the `minutes` on the clock of its steps by its
        history, `None` where that does not say; `hardware`; the files `configuration` and
        `history`; what of the configuration is `otherwise` than the last stage's, by key; and the
        `command` that would train it.

    Raises:
        UsageError: if one is no finished run, is of another family than the last, or has what this
            version does not know.
    """
    found = [presets.find_preset(run) for run in runs]
    for run, preset in zip(runs, found, strict=True):
        if preset.family != found[-1].family:
            raise UsageError(
                f"{run}: is of the family {preset.family}, but {runs[-1]} is of "
                f"{found[-1].family}, which cannot have begun with its weights."
            )
    configurations = [resolve(preset).config for preset in found]
    stages: list[dict] = []
    for number, (run, where) in enumerate(zip(runs, hardware, strict=True), 1):
        is_last = number == len(runs)
        history, config = read_history(run), configurations[number - 1]
        stage = {
            "name": name if is_last else f"stage-{number}",
            "begins_with": stages[-1]["name"] if stages else None,
            "steps": int(history[-1]["step"]),
            "planned_steps": config["training"]["steps"],
            "kept_step": presets.read_metadata(run).get("step"),
            "batch_size": config["training"]["batch_size"],
            "minutes": _minutes(history),
            "hardware": where,
            "configuration": presets.TRAINING_FILE if is_last else f"stage-{number}.yaml",
            "history": HISTORY_FILE if is_last else f"stage-{number}.csv",
            "otherwise": _differences(config, configurations[-1]),
        }
        before = configurations[number - 2]["network"] if stages else None
        stages.append({**stage, "command": _command(stage, config["network"], before)})
    return stages


def write_stages(
    runs: Sequence[Path], stages: Sequence[dict], folder: Path, is_shipped: bool
) -> None:
    """Writes every stage's configuration and course into a preset folder.

    The configurations are without what only the machine knows that they were made on.

    Args:
        runs: The stages' run folders.
        stages: What `describe_stages` says of them.
        folder: Where to.
        is_shipped: Whether the preset will be one of the package, whose name `train` knows then.
    """
    for run, stage in zip(runs, stages, strict=True):
        found = presets.find_preset(run)
        architecture = found.config.get("preset")
        if is_shipped and (stage is stages[-1] or architecture not in presets.preset_names()):
            architecture = stages[-1]["name"]
        # With what the run had by default: the architecture may say otherwise.
        config = resolve(found).config
        sections = {each: config[each] for each in SECTIONS}
        content = {"preset": architecture, "family": found.family, **sections}
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        write_text(folder / stage["configuration"], text)
        shutil.copyfile(run / HISTORY_FILE, folder / stage["history"])


def read_history(run: Path) -> list[dict]:
    """The course of a finished run, a row per epoch.

    Raises:
        UsageError: if it is none.
    """
    try:
        with open(run / HISTORY_FILE, newline="", encoding="utf-8") as file:
            history = list(csv.DictReader(file))
    except OSError:
        history = []
    if not history or not presets.find_preset(run).config.get("training"):
        raise UsageError(f"{run}: no finished training run; give the folder that train wrote.")
    return history


def _minutes(history: Sequence[dict]) -> float | None:
    """How long the steps took; a history says so by their rate in each epoch."""
    rates = [float(row.get("steps_per_second") or 0) for row in history]
    if not all(rates):
        return None
    ends = [int(row["step"]) for row in history]
    seconds = [
        (end - begin) / rate for begin, end, rate in zip([0, *ends[:-1]], ends, rates, strict=True)
    ]
    return sum(seconds) / 60


def _differences(config: dict, last: dict) -> dict:
    return {
        f"{section}.{key}": value
        for section in SECTIONS
        for key, value in config[section].items()
        if value != last[section].get(key)
    }


def _command(stage: dict, network: dict, before: dict | None) -> str:
    words = ["tfrestore train"]
    if stage["begins_with"]:
        words.append(f"--preset {stage['begins_with']}")
    words.append(f"--config {stage['configuration']}")
    # Train refuses to begin with the weights of a network that its configuration makes another of,
    # as where what a network says was turned down after its training.
    for key, value in network.items():
        if before is not None and before.get(key, value) != value:
            words.append(shlex.join(["--set", f"network.{key}={json.dumps(before[key])}"]))
    return " ".join([*words, f"--data MUSIC --out {stage['name']}"])
