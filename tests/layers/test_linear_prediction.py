import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.errors import UsageError
from tfrestore.layers.linear_prediction import LinearPrediction

RATE = 16000
SMALL = {"order": 64, "history": 512, "longest": 800}


def partials(samples=8000):
    """Steady partials, float32 `(samples,)`."""
    time = np.arange(samples) / RATE
    parts = [(0.3, 220, 0.1), (0.2, 441, 1.0), (0.1, 1330, 2.0), (0.05, 5021, 0.5)]
    return sum(a * np.sin(2 * np.pi * f * time + p) for a, f, p in parts).astype("float32")


def marks(samples, *gaps):
    """What is lost of one recording, bool `(samples,)`."""
    lost = np.zeros(samples, bool)
    for start, stop in gaps:
        lost[start:stop] = True
    return lost


def fill(layer, waveform, lost):
    damaged = np.where(lost, np.float32(0.7), waveform)
    return np.asarray(layer(damaged[None], lost[None]))[0]


def level(values):
    """Energy in dB."""
    return 10 * np.log10(np.sum(np.square(values)) + 1e-30)


def test_partials_go_on_in_phase_and_what_is_known_stays_to_the_bit():
    waveform, lost = partials(), marks(8000, (2000, 2400), (5000, 5160), (6000, 6001))
    filled = fill(LinearPrediction(**SMALL), waveform, lost)
    np.testing.assert_array_equal(filled[~lost], waveform[~lost])
    for start, stop, best in ((2000, 2400, -20), (5000, 5160, -30), (6000, 6001, -40)):
        error = (filled - waveform)[start:stop]
        assert level(error) - level(waveform[start:stop]) < best


def test_the_coefficients_of_an_autoregressive_process_are_found():
    # x(t) = 1.6 x(t - 1) - 0.81 x(t - 2) + e(t): the standard error of an estimate from n samples
    # is sqrt((1 - 0.81^2) / n), which is 0.013 here.
    rng = np.random.default_rng(0)
    process = np.zeros(4096)
    for t in range(2, len(process)):
        process[t] = 1.6 * process[t - 1] - 0.81 * process[t - 2] + rng.standard_normal()
    layer = LinearPrediction(order=2, history=2048, longest=8)
    rows = np.stack([process[-2048:], np.r_[np.zeros(1024), process[-1024:]]]).astype("float32")
    found = np.asarray(layer._coefficients(tf.constant(rows), tf.constant([2048, 1024])))
    np.testing.assert_allclose(found, [[1.6, -0.81]] * 2, atol=0.06)


def test_a_prediction_is_the_recursion_of_its_coefficients():
    layer = LinearPrediction(order=2, history=8, longest=100)
    past, coefficients = np.zeros((1, 8), "float32"), np.array([[1.6, -0.81]], "float32")
    past[0, -2:] = (0.5, 1.0)
    predicted = np.asarray(layer._continued(tf.constant(past), tf.constant(coefficients), 70))[0]
    samples = [0.5, 1.0]
    for _ in range(70):
        samples.append(1.6 * samples[-1] - 0.81 * samples[-2])
    np.testing.assert_allclose(predicted[:70], samples[2:], atol=1e-5)


def test_a_gap_at_an_end_is_filled_from_its_one_side_and_fades_out():
    waveform = partials()
    filled = fill(LinearPrediction(**SMALL), waveform, marks(8000, (0, 300), (7700, 8000)))
    for near in (slice(290, 300), slice(7700, 7710)):
        assert level((filled - waveform)[near]) - level(waveform[near]) < -20
    filled = fill(LinearPrediction(**SMALL), waveform, marks(8000, (6000, 8000)))
    assert (filled[6800:] == 0).all() and np.abs(filled[6000:6100]).max() > 0.1


def test_the_middle_of_a_long_gap_is_silent():
    filled = fill(LinearPrediction(**SMALL), partials(), marks(8000, (2000, 6000)))
    assert (filled[2800:5200] == 0).all()
    assert np.abs(filled[2000:2100]).max() > 0.1 and np.abs(filled[5900:6000]).max() > 0.1


def test_without_a_gap_and_without_anything_but_gaps_there_is_nothing_to_predict():
    layer, waveform = LinearPrediction(**SMALL), partials()
    np.testing.assert_array_equal(fill(layer, waveform, marks(8000)), waveform)
    assert (fill(layer, waveform, marks(8000, (0, 8000))) == 0).all()


def test_a_band_that_is_empty_makes_no_predictor_that_grows():
    # As the upper octave of a recording that was resampled is: silent to within rounding.
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.standard_normal(16000))
    spectrum[4000:] = 0
    waveform = (0.1 * np.fft.irfft(spectrum)).astype("float32")
    lost = marks(16000, (4000, 4800), (9000, 9700))
    filled = fill(LinearPrediction(order=512, history=2048, longest=9600), waveform, lost)
    assert np.isfinite(filled).all() and np.abs(filled).max() <= 1.5 * np.abs(waveform).max()


def test_what_is_filled_in_depends_on_its_context_and_on_no_other_recording():
    layer = LinearPrediction(**SMALL)
    waveform = partials() + 0.02 * np.random.default_rng(0).standard_normal(8000).astype("float32")
    lost = marks(8000, (300, 700), (4000, 4400), (4600, 4650), (7000, 7900))
    whole = fill(layer, waveform, lost)
    part = slice(4000 - layer.context_samples, 4650 + layer.context_samples)
    np.testing.assert_allclose(
        fill(layer, waveform[part], lost[part])[layer.context_samples :][:650],
        whole[4000:4650],
        atol=1e-5,
    )
    both = np.stack([waveform, waveform[::-1]]), np.stack([lost, lost[::-1]])
    signature = [tf.TensorSpec([None, None]), tf.TensorSpec([None, None], tf.bool)]
    filled = tf.function(layer, input_signature=signature)(*both)
    np.testing.assert_allclose(filled[0], whole, atol=1e-5)
    # Time has no direction for it, but for the noise that it steadies itself with.
    np.testing.assert_allclose(filled[1], whole[::-1], atol=2e-3)


@given(
    st.lists(st.tuples(st.integers(0, 700), st.integers(1, 300)), max_size=6),
    st.sampled_from(["noise", "tone", "silence", "steps", "impulse", "huge"]),
)
@settings(deadline=None, max_examples=25)
def test_any_gaps_in_anything_give_finite_samples_and_leave_the_rest(gaps, kind):
    samples = 700
    waveform = {
        "noise": np.random.default_rng(0).standard_normal(samples),
        "tone": np.sin(np.arange(samples)),
        "silence": np.zeros(samples),
        "steps": np.sign(np.sin(np.arange(samples) / 20)),
        "impulse": np.eye(1, samples, 350)[0],
        "huge": 1e6 * np.sin(np.arange(samples)),
    }[kind].astype("float32")
    lost = marks(samples, *((start, start + length) for start, length in gaps))
    filled = fill(PROPERTY_LAYER, waveform, lost)
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[~lost], waveform[~lost])


PROPERTY_LAYER = LinearPrediction(order=16, history=64, longest=100)


@pytest.mark.parametrize("arguments", [{"order": 0}, {"longest": 0}, {"history": 1500}])
def test_numbers_that_cannot_be_are_refused(arguments):
    with pytest.raises(UsageError, match="at least 1"):
        LinearPrediction(**arguments)


def test_the_layer_comes_back_from_its_configuration():
    layer = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(LinearPrediction(**SMALL))
    )
    assert (layer.order, layer.history, layer.longest) == (64, 512, 800)
