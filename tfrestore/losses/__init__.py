"""Losses that several families share: those of GANs, of their critics' slopes, and of spectra.

All return one value per example, `(batch,)`, so that a step on several replicas can be made to
equal a step on one device. The names load Keras on first use; `gradient_penalty` loads TensorFlow.
"""

from importlib import import_module

_MODULES = {
    "agreeing_above": "agreement",
    "cross_entropy_discriminator_loss": "non_saturating",
    "distance": "profiles",
    "drift_penalty": "drift",
    "feature_matching_loss": "feature_matching",
    "frequency_profile": "profiles",
    "gradient_norm": "critic_slope",
    "gradient_penalty": "critic_slope",
    "interpolated": "critic_slope",
    "least_squares_discriminator_loss": "least_squares",
    "least_squares_generator_loss": "least_squares",
    "log_spectral_loss": "log_spectrum",
    "mean_value": "wasserstein",
    "mode_collapse_loss": "profiles",
    "multi_resolution_stft_loss": "multi_resolution_stft",
    "neurogram_similarity_loss": "neurogram_similarity",
    "non_saturating_generator_loss": "non_saturating",
    "rhythm_profile": "profiles",
    "si_snr_loss": "si_snr",
    "spectra_agreeing_above": "agreement",
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
