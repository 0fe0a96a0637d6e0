"""A run's folder: whether a new run may have it, and what a run needs to be gone on with."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import yaml

from tfrestore.complete_files import write_text
from tfrestore.errors import UsageError
from tfrestore.models.presets import NETWORK_FILE, TRAINING_FILE, Preset, find_preset
from tfrestore.training.configuration import read_config

#: The scores of each epoch.
HISTORY_FILE = "history.csv"


def check_free(folder: Path) -> None:
    """Refuses a folder for a new run before any work is done.

    Raises:
        UsageError: if it holds a run or a model, or cannot be made.
    """
    if (folder / TRAINING_FILE).exists():
        raise UsageError(
            f"{folder}: this folder holds a run already; add --resume to go on with it, or choose "
            "another --out."
        )
    if (folder / NETWORK_FILE).exists():
        raise UsageError(f"{folder}: this folder holds a model already; choose another --out.")
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise UsageError(f"{folder}: {existing} is not a folder; choose another --out.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"{folder}: {existing} cannot be written to; choose another --out.")


def read_run(folder: Path, preset_name: str | None = None) -> tuple[Preset, str]:
    """What a run in a folder was told.

    Args:
        folder: The run's folder.
        preset_name: The preset that the user takes the run for; `None` for any.

    Returns:
        The preset with the run's own configuration, and how its catalogue was named.

    Raises:
        UsageError: if there is no run, it is of another preset, or its configuration is damaged.
    """
    file = folder / TRAINING_FILE
    if not file.is_file():
        raise UsageError(
            f"{folder}: there is no run here to resume ({TRAINING_FILE} is missing); leave out "
            "--resume to start one."
        )
    config = read_config(file)
    missing = [note for note in ("preset", "catalogue") if note not in config]
    if missing:
        raise UsageError(f"{file}: does not name its {missing[0]}, so no run can go on from it.")
    if preset_name not in (None, config["preset"]):
        raise UsageError(
            f"{folder}: this run is of the preset {config['preset']!r}, not {preset_name!r}; leave "
            "out --preset, or choose another --out."
        )
    return dataclasses.replace(find_preset(config["preset"]), config=config), config["catalogue"]


def write_config(folder: Path, preset: Preset, data: str) -> None:
    """Writes what a run is told into its folder, so that `train --config` repeats it.

    Args:
        folder: An existing folder.
        preset: What `configuration.resolve` gave.
        data: How the catalogue was named.

    Raises:
        OSError: if it cannot be written.
    """
    content = {
        "preset": preset.name,
        "family": preset.family,
        "catalogue": data,
        **preset.config,
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    write_text(folder / TRAINING_FILE, text)
