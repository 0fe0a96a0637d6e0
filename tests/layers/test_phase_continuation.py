import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.layers.phase_continuation import PhaseContinuation

FRAMES, BINS = 60, 7


def partials(seed=0):
    """A steady partial in every bin: complex (FRAMES, BINS)."""
    rng = np.random.default_rng(seed)
    amplitude, start, turn = (
        rng.uniform(0.5, 2, BINS),
        rng.uniform(-3, 3, BINS),
        rng.uniform(-3, 3, BINS),
    )
    return amplitude * np.exp(1j * (start + turn * np.arange(FRAMES)[:, None]))


def continued(layer, spectrum, intact):
    known = np.where(intact[:, None], spectrum, 0)
    parts = (known.real[None].astype("float32"), known.imag[None].astype("float32"))
    real, imaginary, coherence = layer(*parts, intact[None])
    return np.asarray(real)[0] + 1j * np.asarray(imaginary)[0], np.asarray(coherence)[0]


@pytest.mark.parametrize("gap", [(20, 30), (0, 12), (45, FRAMES)])
def test_steady_partials_are_continued_exactly_and_with_full_coherence(gap):
    spectrum = partials()
    intact = np.ones(FRAMES, bool)
    intact[slice(*gap)] = False
    estimate, coherence = continued(PhaseContinuation(), spectrum, intact)
    assert np.abs(np.angle(estimate * spectrum.conj())).max() < 1e-4
    np.testing.assert_allclose(coherence, 1.0, atol=1e-5)
    np.testing.assert_array_equal(estimate[intact], spectrum.astype("complex64")[intact])


def test_the_coherence_of_noise_is_that_of_a_mean_of_random_directions():
    # The squared length of the mean of n unit vectors of random directions is 1 / n on average;
    # pairs of neighbouring frames of white noise have random turns, and weighting by their length
    # adds to that.
    rng = np.random.default_rng(0)
    spectrum = np.exp(2j * np.pi * rng.random((FRAMES, 2000)))
    intact = np.ones(FRAMES, bool)
    intact[30:34] = False
    _, coherence = continued(PhaseContinuation(history=8), spectrum, intact)
    assert abs(coherence[30:34].mean() - 1 / 8) < 0.01
    assert (coherence[intact] == 1).all()


def test_where_nothing_is_intact_there_is_nothing_to_continue():
    estimate, coherence = continued(PhaseContinuation(), partials(), np.zeros(FRAMES, bool))
    assert (estimate == 0).all() and (coherence == 0).all()


def test_silence_gives_no_nan():
    intact = np.ones(FRAMES, bool)
    intact[10:20] = False
    estimate, coherence = continued(PhaseContinuation(), 0 * partials(), intact)
    assert (estimate == 0).all() and np.isfinite(coherence).all()


def test_each_recording_of_a_batch_has_its_own_gaps_in_a_graph_of_unknown_sizes():
    spectra = np.stack([partials(0), partials(1)])
    intact = np.ones((2, FRAMES), bool)
    intact[0, 10:14] = intact[1, 40:55] = False
    layer = PhaseContinuation()
    parts = [part.astype("float32") for part in (spectra.real, spectra.imag)]
    signature = [tf.TensorSpec([None, None, None])] * 2 + [tf.TensorSpec([None, None], tf.bool)]
    real, imaginary, _ = tf.function(layer, input_signature=signature)(*parts, intact)
    for i in range(2):
        alone, _ = continued(layer, spectra[i], intact[i])
        np.testing.assert_allclose(real[i], alone.real, atol=1e-5)
        np.testing.assert_allclose(imaginary[i], alone.imag, atol=1e-5)


def test_the_layer_comes_back_from_its_configuration():
    layer = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(PhaseContinuation(history=3))
    )
    assert layer.history == 3
