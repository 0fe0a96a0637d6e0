"""Published checkpoints as preset folders, and preset folders as checkpoints."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tfrestore.checkpoints import open_checkpoint, write_checkpoint
from tfrestore.complete_files import write_text
from tfrestore.errors import InputError, UsageError
from tfrestore.models import presets
from tfrestore.output_files import complete_folder
from tfrestore.restorer import Restorer

#: Endings of the files that are written.
SUFFIXES = (".bin", ".ckpt", ".pt", ".pth", ".safetensors")

#: Of the weights that Apollo's authors published, and of what is made from them.
DEFAULT_LICENSE = "CC-BY-SA-4.0"

#: Beside the weights: what a checkpoint holds that is computed here and rounded otherwise there.
TABLES_FILE = "torch_tables.safetensors"


@dataclass(frozen=True)
class Conversion:
    """What became of a checkpoint.

    Attributes:
        folder: The preset folder.
        restorer: The model in it.
        ignored: How many tensors of the checkpoint were of other things, by their first names.
    """

    folder: Path
    restorer: Restorer
    ignored: dict[str, int]


def convert_to_preset(
    family: str,
    source: str | os.PathLike,
    target: str | os.PathLike,
    license: str = DEFAULT_LICENSE,
    **choices,
) -> Conversion:
    """Makes a preset folder of a checkpoint, complete or not at all.

    It is one like those that train writes: to restore, evaluate and export with, and to fine-tune
    with the family's recipe. Its metadata names the file, its checksum and the licence.

    Args:
        family: A model family that has a room `torch_weights`.
        source: The checkpoint; see `open_checkpoint`.
        target: The folder; must not exist, or be empty.
        license: What the weights may be used under.
        **choices: What the tensors do not tell; see the family's `find_weights`.

    Raises:
        InputError: if the checkpoint cannot be used, or the folder cannot be written.
        UsageError: if the folder is not free, or a choice is wrong or missing.
    """
    room = importlib.import_module(f"tfrestore.models.{family}.torch_weights")
    source, target = Path(source), Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target}: exists already; choose another --out.")
    with open_checkpoint(source) as content, _naming(source):
        weights = room.find_weights(content, **choices)
        network = room.make_network(weights)
        tables = {name: table.read() for name, table in weights.tables.items()}
    preset = presets.find_preset(family)
    restorer = preset.make("restorer", network, sample_rate=weights.sample_rate)
    with complete_folder(target) as beside:
        if tables:
            write_checkpoint(beside / TABLES_FILE, tables)
        write_text(beside / presets.TRAINING_FILE, _training(preset, weights))
        restorer.save_to_preset(
            beside,
            preset=preset.name,
            description=f"{type(network).__name__} with the weights of {source.name}",
            license=license,
            converted_from={"file": source.name, "sha256": presets.file_checksum(source)},
        )
    return Conversion(target, restorer, weights.ignored)


def convert_to_checkpoint(
    family: str, preset: str | os.PathLike, target: str | os.PathLike
) -> dict:
    """Writes a preset's weights as a checkpoint that PyTorch and the authors' code read.

    Args:
        family: The model family that the preset has to be of.
        preset: A preset folder, or a built-in preset that has weights.
        target: The file; must not exist. Its ending, one of `SUFFIXES`, decides the format.

    Returns:
        The arrays that were written, by the authors' names.

    Raises:
        UsageError: if there is no such preset, it is of another family, or the file is not free.
        InputError: if the file cannot be written.
    """
    room = importlib.import_module(f"tfrestore.models.{family}.torch_weights")
    target = Path(target)
    if target.suffix not in SUFFIXES:
        raise UsageError(f"{target}: the name has to end in {', '.join(SUFFIXES)}.")
    if target.exists():
        raise UsageError(f"{target}: exists already; choose another --out.")
    found = presets.find_preset(preset)
    if found.family != family:
        raise UsageError(f"{preset}: a preset of {found.family} and not of {family}.")
    restorer = Restorer.from_preset(preset)
    tensors = room.torch_weights(restorer.network)
    for name, table in _read_tables(found.folder).items():
        if name in tensors and tensors[name].shape == table.shape:
            tensors[name] = table
    content = tensors
    if target.suffix != ".safetensors":
        content = room.checkpoint_content(restorer.network, restorer.sample_rate, tensors)
    write_checkpoint(target, content)
    return tensors


def _read_tables(folder: Path) -> dict:
    if not (folder / TABLES_FILE).is_file():
        return {}
    with open_checkpoint(folder / TABLES_FILE) as content:
        return {name: table.read() for name, table in content.items()}


@contextmanager
def _naming(source: Path) -> Iterator[None]:
    """Puts the file's name before what is wrong with it."""
    try:
        yield
    except InputError as error:
        # Names of tensors are a stranger's, and may be anything.
        message = str(error) if str(error).isprintable() else ascii(str(error))
        name = "" if message.startswith(str(source)) else f"{source}: "
        raise type(error)(f"{name}{message}") from None


def _training(preset: presets.Preset, weights) -> str:
    """The configuration to fine-tune with: the built-in preset's, of this network."""
    config = dict(preset.config)
    config["network"] = {**config["network"], **weights.arguments}
    config["restorer"] = {**config["restorer"], "sample_rate": weights.sample_rate}
    notes = {"preset": preset.name, "family": preset.family}
    return yaml.safe_dump({**notes, **config}, sort_keys=False, allow_unicode=True)
