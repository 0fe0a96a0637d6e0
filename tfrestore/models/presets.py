"""Named presets and preset folders: where models come from and how they are kept.

A built-in preset is one small YAML file in a family's `presets` folder: the architecture and the
paper's hyperparameters as data. A preset folder is what `save_to_preset` and the train command
write, with KerasHub's file names: `config.json` (the network), `model.weights.h5`, `restorer.json`
(how it is used), `config.yaml` (how it was trained) and `metadata.json` (checksum, versions,
scores). A built-in preset that is shipped with trained weights has such a folder beside its YAML
file, under its name; `hf://USER/NAME` is one on the Hugging Face hub. All are named by the same
argument everywhere: `from_preset`, `--preset`, `--model`.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from tfrestore.complete_files import file_beside, write_text
from tfrestore.errors import UsageError
from tfrestore.models import hub
from tfrestore.version import __version__
from tfrestore.yaml_files import read_yaml

NETWORK_FILE = "config.json"
RESTORER_FILE = "restorer.json"
WEIGHTS_FILE = "model.weights.h5"
TRAINING_FILE = "config.yaml"
METADATA_FILE = "metadata.json"

#: What the metadata of converted weights say of them, and of all that is trained from them.
ORIGIN = ("license", "converted_from")


@dataclass(frozen=True)
class Source:
    """What a network that was loaded keeps of its preset, for those that are saved from it.

    Attributes:
        restorer: The section that says how it is used; empty where the preset does not.
        origin: Whose weights it has, as `read_origin` says; empty for fresh ones.
    """

    restorer: dict = field(default_factory=dict)
    origin: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """A preset that was found.

    Attributes:
        name: Its built-in name, or the folder as given.
        family: The model family it belongs to, such as `"inpainter"`.
        config: Its sections (`network`, `restorer`, `recipe`, `data`, `training`), each a dict of
            arguments; sections that name a class do so under `class_name`.
        description: One line for a person.
        folder: Where its trained weights lie; `None` for an architecture without weights.
        built_in: Whether it is one of the package's own. A training of such a one begins with fresh
            weights, whether or not trained ones are shipped, and of a folder with those in it.
    """

    name: str
    family: str
    config: dict = field(repr=False)
    description: str = ""
    folder: Path | None = None
    built_in: bool = False

    @property
    def initial_weights(self) -> Path | None:
        """The folder whose weights a training begins with; `None` for fresh ones."""
        return None if self.built_in else self.folder

    @property
    def metadata(self) -> dict:
        """What `metadata.json` says; empty for an architecture without weights."""
        return {} if self.folder is None else read_metadata(self.folder)

    def require_weights(self) -> None:
        """Refuses an architecture without weights, which restores nothing.

        Raises:
            UsageError: for such.
        """
        if self.folder is None:
            trained = ", ".join(preset.name for preset in shipped_presets())
            raise UsageError(
                f"the preset {self.name!r} is an architecture without trained weights; train it "
                f"(tfrestore train --preset {self.name} --data FOLDER --out RUN) and give the "
                "folder RUN instead"
                + (f", or use one that is shipped with weights: {trained}." if trained else ".")
            )

    def make(self, section: str, *args, **overrides):
        """The object that a section describes, built from its arguments and `overrides`.

        Args:
            section: `"network"`, `"restorer"`, `"recipe"` or `"data"`.
            *args: Positional arguments put before the section's own.
            **overrides: Arguments that replace or extend the section's.
        """
        arguments = {**self.config.get(section, {}), **overrides}
        arguments.pop("class_name", None)
        return self.find_class(section)(*args, **arguments)

    def find_class(self, section: str) -> type:
        """The class a section names, in the family's room of that name (`data` is in `recipe`).

        Raises:
            UsageError: if it names none, as only the section of a damaged folder does.
        """
        room = "recipe" if section == "data" else section
        module = importlib.import_module(f"tfrestore.models.{self.family}.{room}")
        content = self.config.get(section)
        name = content.get("class_name") if isinstance(content, dict) else None
        found = getattr(module, name, None) if isinstance(name, str) else None
        if section == "restorer" and content is None:
            found = self._only_restorer(module)
            if found is None:
                raise UsageError(
                    f"{self.name}: this folder holds a {self.metadata.get('class_name')}, which "
                    "restores nothing; give one that train or a restorer's save_to_preset wrote."
                )
        if not isinstance(found, type):
            raise UsageError(
                f"{self.name}: its section {section!r} names no class of {self.family}; save the "
                "preset again."
            )
        return found

    def _only_restorer(self, module) -> type | None:
        """The restorer of a network whose folder does not say how it is used.

        It is the family's only one; `None` where there are several, or for what is no restoring
        network but a discriminator.
        """
        from tfrestore.restorer import Restorer

        network = _find_network_class(self.family, str(self.metadata.get("class_name")))
        if network is None or not network.__module__.endswith(".network"):
            return None
        found = [
            each
            for each in vars(module).values()
            if isinstance(each, type)
            and issubclass(each, Restorer)
            and each.__module__ == module.__name__
        ]
        return found[0] if len(found) == 1 else None


def family_names() -> list[str]:
    """The model families: the folders of `tfrestore.models` that have presets."""
    models = resources.files("tfrestore.models")
    return sorted(
        folder.name
        for folder in models.iterdir()
        if folder.is_dir() and folder.joinpath("presets").is_dir()
    )


def preset_names(family: str | None = None) -> list[str]:
    """The names of the built-in presets, of one family or of all, sorted."""
    return sorted(
        file.name.removesuffix(".yaml")
        for each in ([family] if family else family_names())
        for file in resources.files(f"tfrestore.models.{each}").joinpath("presets").iterdir()
        if file.name.endswith(".yaml")
    )


def find_preset(preset: str | os.PathLike) -> Preset:
    """The preset of a built-in name, of a folder that train or `save_to_preset` wrote, or a hub's.

    Args:
        preset: A built-in name, a folder, or `hf://USER/NAME`, which is fetched if need be.

    Raises:
        UsageError: if there is none of them; the message lists what there is.
    """
    name = os.fspath(preset)
    if name.startswith(hub.PREFIX):
        return _read_folder(name, hub.fetch(name))
    for family in family_names():
        room = Path(str(resources.files(f"tfrestore.models.{family}"))) / "presets"
        # A name and no path: a run may lie beside a YAML file of its own name.
        if name in preset_names(family):
            config = read_yaml(room / f"{name}.yaml")
            description = config.pop("description")
            if not (room / name / NETWORK_FILE).is_file():
                return Preset(name, family, config, description, built_in=True)
            config["restorer"] = _read_json(room / name / RESTORER_FILE)
            return Preset(name, family, config, description, room / name, built_in=True)
    folder = Path(name)
    if (folder / NETWORK_FILE).is_file():
        return _read_folder(name, folder)
    if folder.is_dir():
        raise UsageError(
            f"{name}: this folder holds no {NETWORK_FILE}, so it is no preset and no finished "
            "training run; give the folder that train wrote with --out, after its first epoch."
        )
    close = difflib.get_close_matches(name, preset_names(), n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UsageError(
        f"there is no preset and no folder named {name!r}.{hint} "
        f"Presets: {', '.join(preset_names())}."
    )


def _read_folder(name: str, folder: Path) -> Preset:
    metadata = read_metadata(folder)
    family = metadata.get("family")
    if family not in family_names():
        raise UsageError(
            f"{folder / METADATA_FILE}: names no family of models that there is, of "
            f"{', '.join(family_names())}; save the preset again."
        )
    training = folder / TRAINING_FILE
    config = read_yaml(training) if training.is_file() else {}
    if not isinstance(config, dict):
        raise UsageError(f"{training}: holds no configuration; save the preset again.")
    # What an older run's configuration says of a restorer is not of a network saved over it.
    config.pop("restorer", None)
    if (folder / RESTORER_FILE).is_file():
        config["restorer"] = _read_json(folder / RESTORER_FILE)
    description = str(metadata.get("description", ""))
    return Preset(name, family, config, description, folder)


def shipped_presets() -> list[Preset]:
    """The built-in presets that have trained weights, by name."""
    found = (find_preset(name) for name in preset_names())
    return [preset for preset in found if preset.folder is not None]


def read_metadata(folder: Path) -> dict:
    """The metadata of a preset folder.

    Raises:
        UsageError: if the file is missing or not JSON.
    """
    return _read_json(folder / METADATA_FILE)


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"{path.parent}: {path.name} is missing, so the preset is incomplete; save it again."
        ) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid JSON ({error}); save the preset again.") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: holds no names and values; save the preset again.")
    return content


def read_origin(*folders: Path | None) -> dict:
    """Whose weights trained on are, and under which licence, by the first preset folder that says.

    Args:
        folders: Preset folders; `None` and folders without metadata say nothing.

    Returns:
        What there is of `license` and `converted_from`, for the metadata of what comes of them.

    Raises:
        UsageError: if a folder's metadata is not JSON.
    """
    for folder in folders:
        if folder is not None and (folder / METADATA_FILE).is_file():
            metadata = read_metadata(folder)
            origin = {name: metadata[name] for name in ORIGIN if name in metadata}
            if origin:
                return origin
    return {}


def save_network(
    network, folder: str | os.PathLike, weights_dtype: str = "float32", **metadata
) -> None:
    """Writes a network's configuration, weights and metadata into a preset folder.

    Every file appears complete or not at all, and the metadata, which carries the checksum of the
    weights, comes last: a folder that was interrupted half-way is refused when it is loaded. Of a
    network that was loaded with weights it says whose those are and under which licence.

    Args:
        network: A network of this package, built.
        folder: Where to; created if need be, files of an older save are replaced.
        weights_dtype: What float32 weights are written as: `"float32"`, or `"float16"` for half the
            size, vectors excepted. They are float32 again when they are loaded.
        **metadata: Further entries for `metadata.json`, such as `scores`.

    Raises:
        OSError: if the folder cannot be written to or has no space.
    """
    import keras

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = keras.saving.serialize_keras_object(network)
    write_text(folder / NETWORK_FILE, json.dumps(config, indent=2))
    # HDF5 can end the process when the disk is full while it writes.
    if shutil.disk_usage(folder).free < 5 * network.count_params() + 2**20:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    with file_beside(folder / WEIGHTS_FILE) as beside:
        network.save_weights(beside)
        if weights_dtype != "float32":
            convert_weights(beside, weights_dtype)
        checksum = file_checksum(beside)
    entries = {
        "family": network.__module__.split(".")[2],
        "class_name": type(network).__name__,
        "parameter_count": network.count_params(),
        "weights_sha256": checksum,
        "weights_dtype": weights_dtype,
        "tfrestore_version": __version__,
        "keras_version": keras.version(),
        **source_of(network).origin,
        **metadata,
    }
    write_text(folder / METADATA_FILE, json.dumps(entries, indent=2))


def load_network(preset: str | os.PathLike, load_weights: bool = True, **overrides):
    """The network of a preset.

    Args:
        preset: A built-in name, a preset folder or `hf://USER/NAME`.
        load_weights: Whether trained weights are loaded. Built-in presets that are shipped without
            any give a freshly initialised network.
        **overrides: Constructor arguments that replace the preset's, such as `dtype`.

    Raises:
        UsageError: if there is no such preset, or its files do not belong together.
    """
    found = find_preset(preset)
    restorer = found.config.get("restorer") or {}
    if found.folder is None:
        network = found.make("network", **overrides)
        network.source = Source(restorer)
        return network
    file = found.folder / NETWORK_FILE
    config = _read_json(file)
    # What is written in a stranger's file decides no more than which of the family's networks it
    # is, and with which arguments: Keras would import any module that is named there.
    network_class = _find_network_class(found.family, str(config.get("class_name")))
    arguments = config.get("config")
    if network_class is None:
        raise UsageError(f"{file}: describes no network of {found.family}; save the preset again.")
    try:
        arguments = {**arguments, "dtype": _precision(arguments.get("dtype")), **overrides}
        network = network_class(**arguments)
    except (TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"{file}: no network can be made of this ({reason}); save the preset again."
        ) from None
    if load_weights:
        weights = found.folder / WEIGHTS_FILE
        if not weights.is_file():
            raise UsageError(f"{weights}: the weights are missing; save the preset again.")
        if file_checksum(weights) != read_metadata(found.folder).get("weights_sha256"):
            raise UsageError(
                f"{weights}: the checksum differs from the one in {METADATA_FILE}, so the file was "
                "changed or its writing was interrupted; save or copy the preset again."
            )
        try:
            network.load_weights(weights)
        except (ValueError, OSError, KeyError, AttributeError) as error:
            raise UsageError(
                f"{weights}: these weights do not fit the network in {NETWORK_FILE} "
                f"({str(error).splitlines()[0]})."
            ) from None
    network.source = Source(restorer, read_origin(found.folder) if load_weights else {})
    return network


def source_of(network) -> Source:
    """What a network keeps of the preset it was loaded from; nothing of one that was made anew."""
    return getattr(network, "source", Source())


def _precision(policy) -> str | None:
    """The name of a precision policy as Keras writes it down."""
    if isinstance(policy, dict):
        policy = policy.get("config", {}).get("name")
    return policy if isinstance(policy, str) else None


def convert_weights(path: Path, dtype: str) -> None:
    """Rewrites a file of weights so that the float32 matrices in it are of another dtype.

    Vectors stay as they are: they are a hundredth of the size, and float16 holds no more than a few
    digits of a variance that batch normalisation divides by.

    Args:
        path: A `.weights.h5` file of Keras, which reads it back as what the network has.
        dtype: Such as `"float16"`.
    """
    import h5py

    with file_beside(path) as beside, h5py.File(path) as source, h5py.File(beside, "w") as target:
        _copy_group(source, target, dtype)


def _copy_group(source, target, dtype: str) -> None:
    import h5py

    target.attrs.update(source.attrs)
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            _copy_group(item, target.create_group(name), dtype)
            continue
        values = item[()]
        if item.dtype == "float32" and item.ndim > 1:
            values = values.astype(dtype)
        target.create_dataset(name, data=values).attrs.update(item.attrs)


def file_checksum(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find_network_class(family: str, name: str) -> type | None:
    """A family's network or discriminator; `None` if it has none of that name."""
    for room in ("network", "discriminator"):
        module = f"tfrestore.models.{family}.{room}"
        if importlib.util.find_spec(module):
            found = getattr(importlib.import_module(module), name, None)
            if isinstance(found, type) and issubclass(found, PresetMixin):
                return found
    return None


class PresetMixin:
    """Gives a network `from_preset`, `save_to_preset` and `presets`, as KerasHub's models have."""

    @classmethod
    def from_preset(cls, preset: str | os.PathLike, load_weights: bool = True, **overrides):
        """The network of a built-in preset, of a preset folder, or of one on the hub.

        Args:
            preset: A name of `presets`, a folder that `save_to_preset` or train wrote, or
                `hf://USER/NAME`.
            load_weights: bool. Whether trained weights are loaded where the preset has them.
                Defaults to `True`.
            **overrides: Constructor arguments that replace the preset's, such as `dtype`.

        Raises:
            UsageError: if there is no such preset or its files do not belong together.
            ValueError: if the preset holds a network of another class.
        """
        network = load_network(preset, load_weights, **overrides)
        if not isinstance(network, cls):
            raise ValueError(
                f"Preset {os.fspath(preset)!r} holds a `{type(network).__name__}`; load it with "
                f"`{type(network).__name__}.from_preset`, not with `{cls.__name__}.from_preset`."
            )
        return network

    def save_to_preset(self, folder: str | os.PathLike) -> None:
        """Writes configuration, weights and metadata, to be loaded again and to restore with.

        How the network is used, its sample rate and transform say, is that of the preset it was
        loaded from; of a network that was made anew it is what the family's restorer does if it is
        not told. `tfrestore.Restorer` and its `save_to_preset` write down another.

        Args:
            folder: Where to; created if need be, files of an older save are replaced.

        Raises:
            OSError: if the folder cannot be written to or has no space.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RESTORER_FILE).unlink(missing_ok=True)
        if restorer := source_of(self).restorer:
            write_text(folder / RESTORER_FILE, json.dumps(restorer, indent=2))
        save_network(self, folder)

    @classmethod
    def presets(cls) -> dict[str, str]:
        """The built-in presets of this class, each with its description."""
        found = [find_preset(name) for name in preset_names(cls.__module__.split(".")[2])]
        return {
            preset.name: preset.description
            for preset in found
            if preset.config["network"]["class_name"] == cls.__name__
        }
