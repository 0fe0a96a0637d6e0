"""Registers every serialisable class of the package with Keras, without importing Keras first."""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.machinery
import pkgutil
import sys


def register_with_keras() -> None:
    """Registers now if Keras is loaded, and otherwise as soon as somebody has imported it."""
    if "keras" in sys.modules:
        _import_all()
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _import_all() -> None:
    """Imports what registers classes: layers, metrics, and the rooms of every model family."""
    import keras

    import tfrestore.layers
    import tfrestore.models

    # The recipes' custom steps are TensorFlow's; another backend is not made to load it.
    rooms = ["network", "discriminator", "restorer"]
    rooms += ["recipe"] * (keras.backend.backend() == "tensorflow")
    modules = [f"tfrestore.layers.{module.name}" for module in _modules_of(tfrestore.layers)]
    modules.append("tfrestore.metrics.keras_metrics")
    for family in _modules_of(tfrestore.models):
        if family.ispkg:
            package = importlib.import_module(f"tfrestore.models.{family.name}")
            has = {module.name for module in _modules_of(package)}
            modules += [f"{package.__name__}.{room}" for room in rooms if room in has]
    for module in modules:
        importlib.import_module(module)


def _modules_of(package):
    return pkgutil.iter_modules(package.__path__)


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Watches imports until Keras is there and no module of this package is half imported.

    Keras is often first imported by one of this package's own modules; registering at that moment
    would import others that need the one that is not finished.
    """

    def __init__(self):
        self._unfinished = 0

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "keras" and not fullname.startswith("tfrestore."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = functools.partial(self._run, spec.loader.exec_module)
        return spec

    def _run(self, exec_module, module):
        self._unfinished += 1
        try:
            exec_module(module)
        finally:
            self._unfinished -= 1
        if not self._unfinished and "keras" in sys.modules and self in sys.meta_path:
            sys.meta_path.remove(self)
            _import_all()
