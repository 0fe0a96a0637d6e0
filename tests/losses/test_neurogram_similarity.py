"""The neurogram similarity as a loss is ViSQOL's, but for alignment and the ends of recordings."""

import numpy as np
import pytest
import tensorflow as tf

from tfrestore.losses import neurogram_similarity_loss
from tfrestore.losses.neurogram_similarity import similarities
from tfrestore.metrics.visqol_audio.gammatone import spectrogram
from tfrestore.metrics.visqol_audio.similarity import band_similarities

RATE = 48000


def bursts(seconds=2.0, seed=0):
    """Noise whose loudness changes every 50 ms, float32 (samples,)."""
    random = np.random.default_rng(seed)
    loudness = np.repeat(10 ** random.uniform(-2, -0.5, round(20 * seconds)), RATE // 20)
    return (loudness * random.normal(0, 0.3, len(loudness))).astype("float32")


def dulled(waveform, seed=1):
    """It with less treble and some noise."""
    noise = np.random.default_rng(seed).normal(0, 1e-3, len(waveform))
    return ((waveform + np.roll(waveform, 1)) / 2 + noise).astype("float32")


def test_similarities_are_those_of_the_ruler():
    random = np.random.default_rng(0)
    reference = np.cumsum(random.normal(0, 1, (32, 12)), axis=1) + 20
    estimate = reference + random.normal(0, 0.5, (32, 12))
    levels = [each.T[None].astype("float32") for each in (reference, estimate)]
    found = np.array(similarities(*levels))[0].mean(axis=0)
    np.testing.assert_allclose(found, band_similarities(reference, estimate), rtol=1e-4)


def test_the_loss_is_what_visqol_finds_missing_in_its_spectrogram():
    reference, estimate = bursts(), dulled(bursts())
    loudness = np.sqrt(np.sum(reference**2) / np.sum(estimate**2))
    # Zeros for the frames that begin before the end and reach beyond it.
    levels = [
        10 * np.log10(spectrogram(np.pad(each.astype("float64"), (0, 2880))))
        for each in (reference, loudness * estimate)
    ]
    peak = np.maximum(*(each.max(axis=0) for each in levels))
    levels = [np.maximum(each, np.maximum(peak - 45, -45)) for each in levels]
    lowest = min(each.min() for each in levels)
    expected = 1 - band_similarities(*(each - lowest for each in levels)).mean()
    found = neurogram_similarity_loss(reference[None], estimate[None], RATE)
    assert expected > 0.05
    assert float(found[0]) == pytest.approx(expected, rel=0.02)


def test_equal_waveforms_of_whatever_loudness_have_no_loss():
    reference = bursts(0.5)
    pair = np.stack([reference, 0.25 * reference])
    found = neurogram_similarity_loss(np.stack([reference, reference]), pair, RATE)
    np.testing.assert_allclose(found, [0, 0], atol=1e-3)


@pytest.mark.parametrize("samples", [1, 900, 4000])
def test_any_length_will_do(samples):
    reference = bursts(0.5)[None, :samples]
    found = neurogram_similarity_loss(reference, dulled(reference[0])[None], RATE)
    assert found.shape == (1,) and np.isfinite(found).all()


def test_a_filled_hole_of_the_original_costs_more_than_one_left_as_it_was():
    reference = bursts(1.0)
    reference[20000:30000] *= 0.01
    filled, left = reference.copy(), 0.9 * reference
    filled[20000:30000] += np.random.default_rng(5).normal(0, 0.02, 10000).astype("float32")
    losses = neurogram_similarity_loss(np.stack([reference] * 2), np.stack([filled, left]), RATE)
    assert losses[0] > 10 * losses[1]


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1e3])
def test_loss_and_slope_are_finite_for_any_size(scale):
    reference, estimate = bursts(0.5)[None], scale * bursts(0.5, seed=3)[None]
    for first, second in ((reference, estimate), (estimate, reference), (estimate, estimate)):
        variable = tf.Variable(second)
        with tf.GradientTape() as tape:
            loss = neurogram_similarity_loss(first, variable, RATE)
        assert np.isfinite(loss).all() and np.isfinite(tape.gradient(loss, variable)).all()
        assert 0 <= float(loss[0]) + 1e-3 and float(loss[0]) <= 2
