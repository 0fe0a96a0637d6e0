import keras
import librosa
import numpy as np
import pytest
import tensorflow as tf

from tfrestore.errors import UsageError
from tfrestore.layers import STFT, GriffinLim
from tfrestore.metrics.spectral import spectral_convergence

INPAINTER = {"frame_length": 256, "hop_length": 64, "fft_length": 255}


def music(samples=12000, seed=0):
    """Decaying chords, a noise floor and clicks."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 16000
    waveform = 0.01 * rng.standard_normal(samples)
    for start in range(0, samples, 4000):
        for pitch in rng.choice(np.arange(110, 700, 27), 3, replace=False):
            for harmonic in range(1, 8):
                tone = np.sin(2 * np.pi * pitch * harmonic * time + rng.uniform(0, 6.28)) / harmonic
                waveform[start:] += (tone * np.exp(-4 * harmonic * time))[: samples - start]
        waveform[start + 2000 :: 100000] += 2
    return (waveform / np.abs(waveform).max()).astype("float32")[None]


def spectrum_of(waveform, **setting):
    real, imaginary = STFT(**setting)(waveform)
    return np.asarray(real) + 1j * np.asarray(imaginary)


def requested(layer, samples):
    @tf.function(input_signature=[tf.TensorSpec([None, None, None]), tf.TensorSpec([], tf.int32)])
    def estimate(magnitude, iterations):
        return layer(magnitude, samples=samples, iterations=iterations)

    return estimate


@pytest.mark.parametrize(
    "setting",
    [INPAINTER, {"frame_length": 512, "hop_length": 128}, {**INPAINTER, "window": "hamming"}],
)
@pytest.mark.parametrize("initial_phase", ["zero", "random"])
def test_each_plain_iteration_brings_the_spectrum_closer(setting, initial_phase):
    waveform = music()
    magnitude = np.abs(spectrum_of(waveform, **setting))
    layer = GriffinLim(**setting, initial_phase=initial_phase)
    estimate = requested(layer, waveform.shape[1])
    scores = [
        spectral_convergence(magnitude, spectrum_of(estimate(magnitude, n), **setting))[0]
        for n in range(30)
    ]
    assert np.all(np.diff(scores) <= 1e-6)
    assert scores[-1] < 0.6 * scores[1]


@pytest.mark.parametrize("momentum", [0.0, 0.99])
@pytest.mark.parametrize("padding, pad_mode", [("center", "reflect"), ("center_zeros", "constant")])
@pytest.mark.parametrize("frame_length, hop_length", [(256, 64), (1024, 256)])
@pytest.mark.parametrize("start", ["zero", "random"])
def test_it_reaches_what_librosa_reaches_from_the_same_start(
    frame_length, hop_length, padding, pad_mode, momentum, start
):
    waveform = music()
    setting = {"frame_length": frame_length, "hop_length": hop_length, "padding": padding}
    magnitude = np.abs(spectrum_of(waveform, **setting))
    layer = GriffinLim(**setting, momentum=momentum)
    angle = np.zeros_like(magnitude[0].T)
    if start == "random":  # librosa's own draw
        angle = 2 * np.pi * np.random.RandomState(3).random(size=angle.shape)
    phase = np.cos(angle).T[None], np.sin(angle).T[None]
    for iterations in (8, 32, 64):
        theirs = librosa.griffinlim(
            magnitude[0].T,
            n_iter=iterations,
            hop_length=hop_length,
            n_fft=frame_length,
            momentum=momentum,
            init=None if start == "zero" else "random",
            random_state=3,
            pad_mode=pad_mode,
            length=waveform.shape[1],
        )[None]
        ours = layer(magnitude, samples=waveform.shape[1], iterations=iterations, phase=phase)
        scores = [
            spectral_convergence(magnitude, spectrum_of(estimate, **setting))[0]
            for estimate in (ours, theirs)
        ]
        assert scores[0] <= scores[1] * 1.01


def test_momentum_is_faster():
    waveform = music()
    magnitude = np.abs(spectrum_of(waveform, **INPAINTER))
    plain, fast = (
        spectral_convergence(
            magnitude,
            spectrum_of(
                GriffinLim(**INPAINTER, momentum=momentum)(magnitude, samples=12000), **INPAINTER
            ),
        )[0]
        for momentum in (0.0, 0.99)
    )
    assert fast < 0.8 * plain


def test_known_samples_stay_and_the_lost_ones_come_back_from_the_true_magnitude():
    waveform = music()
    lost = np.zeros(waveform.shape, bool)
    lost[:, 5000:5160] = True  # 10 ms
    magnitude = np.abs(spectrum_of(waveform, **INPAINTER))
    layer = GriffinLim(**INPAINTER, iterations=100, momentum=0.99)
    # What a lost sample holds must not matter.
    known = np.where(lost, 7.0, waveform).astype("float32")
    restored = np.asarray(layer(magnitude, samples=12000, known=known, lost=lost))
    np.testing.assert_array_equal(restored[~lost], waveform[~lost])
    error = np.sum((restored - waveform)[lost] ** 2) / np.sum(waveform[lost] ** 2)
    assert 10 * np.log10(error) < -10


def test_everything_known_gives_the_waveform_back_and_nothing_known_changes_nothing():
    waveform = music(3000)
    magnitude = np.abs(spectrum_of(waveform, **INPAINTER))
    layer = GriffinLim(**INPAINTER, iterations=4, momentum=0.99)
    nothing_lost = np.zeros(waveform.shape, bool)
    restored = layer(magnitude, samples=3000, known=waveform, lost=nothing_lost)
    np.testing.assert_array_equal(restored, waveform)
    # Where all is lost, the known waveform's phase is that of silence, which is zero.
    np.testing.assert_allclose(
        layer(magnitude, samples=3000, known=waveform, lost=~nothing_lost),
        layer(magnitude, samples=3000),
        atol=1e-4,
    )
    with pytest.raises(UsageError, match="together"):
        layer(magnitude, known=waveform)


def test_the_true_phase_is_a_fixed_point():
    waveform = music(3000)
    spectrum = spectrum_of(waveform, **INPAINTER)
    layer = GriffinLim(**INPAINTER, iterations=10)
    phase = 3 * spectrum.real, 3 * spectrum.imag  # of any magnitude
    restored = layer(np.abs(spectrum), samples=3000, phase=phase)
    np.testing.assert_allclose(restored, waveform, atol=1e-4)


@pytest.mark.parametrize("momentum", [0.0, 0.99])
@pytest.mark.parametrize("initial_phase", ["zero", "random"])
def test_silence_stays_silence_and_partly_silent_input_stays_finite(momentum, initial_phase):
    layer = GriffinLim(**INPAINTER, momentum=momentum, initial_phase=initial_phase, iterations=8)
    assert not np.asarray(layer(np.zeros((2, 40, 128), "float32"))).any()
    magnitude = np.zeros((1, 40, 128), "float32")
    magnitude[0, 20, 5] = 1e-3
    magnitude[0, 30] = 100.0
    waveform = np.asarray(layer(magnitude))
    assert np.isfinite(waveform).all()
    assert not waveform[0, : 20 * 64 - 192].any()  # before the first frame that sounds


def test_no_iteration_is_the_inverse_of_the_initial_phase():
    magnitude = np.abs(spectrum_of(music(2000), **INPAINTER))
    for momentum in (0.0, 0.99):
        waveform = GriffinLim(**INPAINTER, iterations=0, momentum=momentum)(magnitude, samples=2000)
        first = GriffinLim(**INPAINTER, momentum=momentum)(magnitude, samples=2000, iterations=0)
        np.testing.assert_array_equal(waveform, first)
        again = spectrum_of(waveform, **INPAINTER)
        assert spectral_convergence(magnitude, again)[0] > 0.3


@pytest.mark.parametrize("momentum", [0.0, 0.99])
@pytest.mark.parametrize("iterations", [0, 1, 5])
def test_a_frames_samples_depend_on_no_frame_beyond_the_context(momentum, iterations):
    magnitude = np.abs(spectrum_of(music(), **INPAINTER))
    layer = GriffinLim(**INPAINTER, momentum=momentum, iterations=iterations)
    context = layer.context_frames()
    assert context == 3 * (iterations + 1) == layer.context_frames(iterations)
    before = np.asarray(layer(magnitude))
    magnitude[:, 60:] *= np.random.default_rng(0).uniform(0, 2, magnitude[:, 60:].shape)
    change = np.abs(np.asarray(layer(magnitude)) - before)[0]
    # Frame t covers samples 64 t - 192 to 64 t + 63; frame 60 - context + 3 is the first to change.
    untouched = (60 - context) * 64
    assert change[:untouched].max() <= 1e-6
    if iterations < 2:  # further away the influence is real but below float32's rounding
        assert change[untouched : untouched + 256].max() > 1e-6
    assert change[60 * 64 :].max() > 1e-2

    # And a chunk cut out with that context gives what the whole gives.
    chunk = np.asarray(layer(magnitude[:, 60 - context : 61 + context]))[0]
    whole = np.asarray(layer(magnitude))[0]
    at = slice(60 * 64 - 192, 60 * 64 + 64)
    offset = (60 - context) * 64
    np.testing.assert_allclose(chunk[at.start - offset : at.stop - offset], whole[at], atol=1e-5)


def test_a_random_phase_is_the_same_each_time_and_follows_the_seed():
    magnitude = np.abs(spectrum_of(music(2000), **INPAINTER))
    one, same, other = (
        np.asarray(GriffinLim(**INPAINTER, initial_phase="random", seed=seed)(magnitude))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-2


@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_a_savedmodel_with_unknown_sizes_gives_the_same_with_core_ops_only(momentum, tmp_path):
    layer = GriffinLim(**INPAINTER, momentum=momentum, initial_phase="random")

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, 128]),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.int32),
        ]
    )
    def invert(magnitude, samples, iterations):
        return layer(magnitude, samples=samples, iterations=iterations)

    module = tf.Module()
    module.invert = invert
    tf.saved_model.save(module, str(tmp_path))
    graph = invert.get_concrete_function().graph.as_graph_def()
    operations = {node.op for node in graph.node}
    operations |= {node.op for function in graph.library.function for node in function.node_def}
    assert {"RFFT", "IRFFT"} <= operations and operations & {"While", "StatelessWhile"}
    assert not any("Py" in name or name.startswith("IO>") for name in operations)
    loaded = tf.saved_model.load(str(tmp_path)).invert
    for samples in (1, 700, 2000):
        magnitude = np.abs(spectrum_of(music(4000)[:, :samples], **INPAINTER))
        expected = layer(magnitude, samples=samples, iterations=7)
        restored = loaded(magnitude, tf.constant(samples), tf.constant(7))
        assert restored.shape == (1, samples)
        np.testing.assert_allclose(restored, expected, atol=1e-4)


def test_known_shapes_stay_known_in_a_functional_model():
    magnitude = keras.Input((128, 128))
    for momentum in (0.0, 0.99):
        waveform = GriffinLim(**INPAINTER, iterations=3, momentum=momentum)(magnitude)
        assert waveform.shape == (None, 128 * 64 - 192)
        assert np.isfinite(
            keras.Model(magnitude, waveform).predict(np.ones((2, 128, 128)), verbose=0)
        ).all()


def test_a_saved_layer_comes_back_the_same_and_a_wrong_argument_is_named():
    layer = GriffinLim(512, 128, None, None, "center", 7, 0.5, "random", 3, name="phase")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
    assert (again.iterations, again.momentum, again.seed) == (7, 0.5, 3)
    for wrong in ({"iterations": -1}, {"momentum": -0.1}, {"initial_phase": "noise"}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            GriffinLim(256, 64, **wrong)
