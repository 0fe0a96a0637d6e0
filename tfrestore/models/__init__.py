"""The published models, a folder each, with the same four rooms.

`network.py` is what a model is, `recipe.py` how it is trained, `restorer.py` how it is used, and
`presets` its named sizes as data. A new family is one more folder.
"""

from importlib import import_module

_MODULES = {
    "MultiResolutionSTFTDiscriminator": "tfrestore.models.apollo.discriminator",
    "Apollo": "tfrestore.models.apollo.network",
    "UNet": "tfrestore.models.inpainter.network",
    "FrequencyAggregationGenerator": "tfrestore.models.sr_gan.network",
    "FrequencyAggregationCritic": "tfrestore.models.sr_gan.discriminator",
    "InceptionAutoencoder": "tfrestore.models.inception_wgan.network",
    "InceptionDiscriminator": "tfrestore.models.inception_wgan.discriminator",
    "InceptionGenerator": "tfrestore.models.inception_wgan.network",
}
__all__ = sorted(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module 'tfrestore.models' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
