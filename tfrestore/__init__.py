"""tfrestore restores music: heavily compressed MP3s, spectrogram gaps, lost bandwidth.

Importing the package is quick: TensorFlow, Keras and the audio libraries load when something needs
them. Its classes are registered with Keras as soon as Keras is there, so that
`keras.saving.load_model` finds them whichever of the two was imported first.
"""

from importlib import import_module

from tfrestore import registration
from tfrestore.version import __version__

_MODULES = {
    "Restorer": "tfrestore.restorer",
    "restore_file": "tfrestore.restorer",
}
# `restore` is a module that can be called: `tfrestore.restore(waveform, sample_rate, preset)`.
_PACKAGES = ("audio", "data", "layers", "metrics", "models", "restore")
__all__ = ["__version__", *_MODULES, *_PACKAGES]


def __getattr__(name: str):
    if name in _PACKAGES:
        return import_module(f"tfrestore.{name}")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'tfrestore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


registration.register_with_keras()
