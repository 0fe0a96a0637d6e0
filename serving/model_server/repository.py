"""The models that are served: their versions found, loaded, switched and told of.

A model's folder is looked at again and again. The versions that its policy asks for are loaded
beside those that are being served, and only then do they take their place, so that no request finds
nobody. A version that cannot be loaded takes nobody's place, and neither does a folder that has
gone: what was last good is served on, and the log says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from serving.model_server.statuses import Code, StatusError, invalid

logger = logging.getLogger("tfrestore.serving")


class State(IntEnum):
    """The states of a version, with TensorFlow Serving's numbers."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass
class Version:
    """A version that is or was served, or that could not be loaded.

    Attributes:
        state: Where it is in its life.
        error: Why it could not be loaded.
        servable: The model in memory while it is available.
        stamp: Tells one content of the folder from another.
    """

    state: State
    stamp: tuple = ()
    error: str = ""
    servable: object = None


@dataclass
class Model:
    """A model's configuration and its versions by number."""

    config: object
    versions: dict[int, Version] = field(default_factory=dict)
    complaint: str = ""

    def available(self) -> list[int]:
        """The versions that are served, ascending."""
        return sorted(n for n, each in self.versions.items() if each.state == State.AVAILABLE)


class Found(NamedTuple):
    """A version on the disk: its folder, and what changes when its content does."""

    folder: Path
    stamp: tuple


class Repository:
    """The models of a configuration.

    Args:
        config: `ModelServerConfig` with a `model_config_list`.
        load: Makes a servable from name, version and folder.
    """

    def __init__(self, config, load: Callable[[str, int, Path], object]):
        self.models: dict[str, Model] = {}
        self._load = load
        # One at a time, as TensorFlow Serving does.
        self._loader = ThreadPoolExecutor(1, "loading")
        self._changing = asyncio.Lock()
        self.models = self._models_of(config)

    def _models_of(self, config) -> dict[str, Model]:
        """The models of a configuration, with the versions that are in memory already."""
        entries = list(config.model_config_list.config)
        for entry in entries:
            if not entry.name or not entry.base_path:
                raise invalid("Every model needs a name and a base_path.")
        names = [entry.name for entry in entries]
        if len(set(names)) != len(names):
            raise invalid("Illegal to list model multiple times in config list")
        known = {name: model.versions for name, model in self.models.items()}
        return {entry.name: Model(entry, dict(known.get(entry.name, {}))) for entry in entries}

    async def reload(self, config) -> None:
        """Serves another configuration, and only that; returns when it is served.

        Until then the one before is served.

        Raises:
            StatusError: if a model of it cannot be served; the one before is served on then.
        """
        async with self._changing:
            models = self._models_of(config)
            ready = await self._bring_all(models)
            for name, model in models.items():
                if not model.available():
                    raise StatusError(
                        Code.UNKNOWN,
                        f"servable(s) did not become available: {{name: {name}}} "
                        f"{self._why_not(model)}",
                    )
                self._check_labels(name, model)
            self.models = models
            self._retire_all(ready)

    @staticmethod
    def _check_labels(name: str, model: Model) -> None:
        for label, number in model.config.version_labels.items():
            if number not in model.available():
                raise StatusError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label {label} to version {number} of model {name}, which "
                    "is not currently available for inference",
                )

    async def update(self) -> None:
        """Looks at the folders once, loads and unloads."""
        async with self._changing:
            await self._update()

    async def _update(self) -> None:
        self._retire_all(await self._bring_all(self.models))

    async def _bring_all(self, models: dict[str, Model]) -> dict[str, list[int]]:
        """Loads what is wanted; gives the versions by name of the models that have all of them."""
        ready = {}
        for name, model in models.items():
            found = await asyncio.to_thread(_find_versions, model.config.base_path)
            wanted = self._wanted(name, model, found)
            for number in wanted:
                await self._bring(name, number, model, found[number])
            if wanted and set(wanted) <= set(model.available()):
                ready[name] = wanted
        return ready

    def _retire_all(self, ready: dict[str, list[int]]) -> None:
        for name, wanted in ready.items():
            self._retire(name, self.models[name], wanted)

    def _wanted(self, name: str, model: Model, found: dict[int, Found]) -> list[int]:
        """The versions to serve; none where what is there now shall be served on."""
        policy = model.config.model_version_policy
        if policy.HasField("specific"):
            wanted = sorted(set(policy.specific.versions) & set(found))
        elif policy.HasField("all"):
            wanted = sorted(found)
        else:
            wanted = sorted(found)[-(policy.latest.num_versions or 1) :]
        complaint = ""
        if not wanted:
            complaint = (
                f"no version of {name} found under {model.config.base_path}: versions are folders "
                "whose names are numbers"
            )
            if model.available():
                complaint += f"; version {model.available()[-1]} is served on from memory"
        for number in model.available():
            if wanted and number in found and found[number].stamp != model.versions[number].stamp:
                complaint = (
                    f"version {number} of {name} has changed on the disk; what was loaded is "
                    "served on, a new version's number would replace it"
                )
        if complaint and complaint != model.complaint:
            logger.warning("%s", complaint)
        model.complaint = complaint
        return wanted

    async def _bring(self, name: str, number: int, model: Model, found: Found) -> None:
        """Loads a version that is not there yet; one that failed, when its folder has changed."""
        version = model.versions.get(number)
        if version and (
            version.state == State.AVAILABLE or (version.error and version.stamp == found.stamp)
        ):
            return
        version = model.versions[number] = Version(State.LOADING, found.stamp)
        try:
            loop = asyncio.get_running_loop()
            version.servable = await loop.run_in_executor(
                self._loader, self._load, name, number, found.folder
            )
        except Exception as error:  # Whatever is in the folder is somebody's mistake.
            version.state, version.error = State.END, str(error).strip() or type(error).__name__
            instead = model.available()
            logger.error(
                "version %d of %s cannot be loaded from %s: %s%s",
                number,
                name,
                found.folder,
                version.error.partition("\n")[0],
                f"; version {instead[-1]} is served on" if instead else "",
            )
        else:
            version.state = State.AVAILABLE
            logger.info("version %d of %s is served", number, name)

    @staticmethod
    def _retire(name: str, model: Model, wanted: list[int]) -> None:
        for number in model.available():
            if number not in wanted:
                # Requests that run hold the servable until they are done.
                model.versions[number].servable = None
                model.versions[number].state = State.END
                logger.info("version %d of %s is no longer served", number, name)

    async def watch(self, seconds: float) -> None:
        """Looks at the folders again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(seconds)
            await self.update()

    def find(self, name: str, version: int | None = None, label: str | None = None):
        """The servable that a request asks for.

        Raises:
            StatusError: if there is none.
        """
        if not name:
            raise invalid("ModelSpec has no name specified.")
        model = self.models.get(name)
        if label is not None:
            labels = model.config.version_labels if model else {}
            if label not in labels:
                raise invalid(f"Unrecognized servable version label: {label}")
            version = labels[label]
        available = model.available() if model else []
        if version is None:
            if not available:
                raise _not_found(f"Latest({name})")
            version = available[-1]
        if version not in available:
            raise _not_found(f"Specific({name}, {version})")
        return model.versions[version].servable

    def versions(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Iterable[tuple[int, Version]]:
        """The versions of a model, or one of them, with their states.

        Raises:
            StatusError: if there are none.
        """
        model = self.models.get(name)
        known = model.versions if model else {}
        if label is not None:
            version = self.find(name, label=label).version
        if version is not None:
            if version not in known:
                raise StatusError(
                    Code.NOT_FOUND, f"Could not find version {version} of model {name}"
                )
            return [(version, known[version])]
        if not known:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        return sorted(known.items(), reverse=True)

    @staticmethod
    def _why_not(model: Model) -> str:
        return "; ".join(each.error for each in model.versions.values() if each.error) or (
            model.complaint
        )

    def failures(self) -> list[str]:
        """A line for each model of which no version could be loaded though there is one."""
        return [
            f"{name}: {self._why_not(model)}"
            for name, model in self.models.items()
            if model.versions and not model.available()
        ]


def _not_found(what: str) -> StatusError:
    return StatusError(Code.NOT_FOUND, f"Servable not found for request: {what}")


def _find_versions(base_path: str) -> dict[int, Found]:
    """The versions in a folder."""
    versions = {}
    try:
        folders = sorted(os.scandir(base_path), key=lambda folder: folder.name)
    except OSError:
        return {}
    for folder in folders:
        # As TensorFlow Serving does: decimal names, zeros in front or not, and of several with one
        # value one only.
        if folder.name.isascii() and folder.name.isdecimal() and folder.is_dir():
            versions.setdefault(int(folder.name), Found(Path(folder.path), _stamp(folder.path)))
    return versions


def _stamp(folder: str) -> tuple:
    """Tells one content of a folder from another, also while it is being copied."""
    stamp = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            with contextlib.suppress(OSError):
                status = os.stat(path)
                stamp.append((path, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(sorted(stamp))
