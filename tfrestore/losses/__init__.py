"""Losses that several families share: Wasserstein, gradient penalty, drift, profiles.

All return one value per example, `(batch,)`, so that a step on several replicas can be made to
equal a step on one device. The names load Keras on first use; `gradient_penalty` loads TensorFlow.
"""

from importlib import import_module

_MODULES = {
    "distance": "profiles",
    "drift_penalty": "drift",
    "frequency_profile": "profiles",
    "gradient_norm": "critic_slope",
    "gradient_penalty": "critic_slope",
    "interpolated": "critic_slope",
    "mean_value": "wasserstein",
    "mode_collapse_loss": "profiles",
    "rhythm_profile": "profiles",
    "wasserstein_critic_loss": "wasserstein",
    "wasserstein_generator_loss": "wasserstein",
}
__all__ = sorted(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
