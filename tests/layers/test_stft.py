import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import keras
import librosa
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.errors import UsageError
from tfrestore.layers import STFT, InverseSTFT
from tfrestore.layers.stft import PADDINGS, frames_for_samples, samples_for_frames

INPAINTER = {"frame_length": 256, "hop_length": 64, "fft_length": 255}
APOLLO = {"frame_length": 882, "hop_length": 441, "padding": "center"}


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def as_complex(parts):
    return np.asarray(parts[0]) + 1j * np.asarray(parts[1])


@pytest.mark.parametrize("samples", [0, 1, 64, 65, 4000])
def test_the_inpainters_transform_is_tensorflows_with_255_points_and_no_nyquist_bin(samples):
    waveform = 0.3 * noise(2, samples)
    expected = tf.signal.stft(waveform, 256, 64, 255, pad_end=True).numpy()
    spectrum = as_complex(STFT(**INPAINTER, padding="end")(waveform))
    assert spectrum.shape == expected.shape == (2, -(-samples // 64), 128)
    assert np.abs(spectrum - expected).max(initial=0) <= 1e-5


@pytest.mark.parametrize("fft_length", [100, 255, 256, 300, 512])
def test_a_shorter_fft_cuts_the_frame_and_a_longer_one_pads_it_as_tensorflow_does(fft_length):
    waveform = 0.3 * noise(1, 2000)
    expected = tf.signal.stft(waveform, 256, 100, fft_length).numpy()
    spectrum = as_complex(STFT(256, 100, fft_length, padding="valid")(waveform))
    assert spectrum.shape == expected.shape
    assert np.abs(spectrum - expected).max() <= 1e-5


@pytest.mark.parametrize("padding, pad_mode", [("center", "reflect"), ("center_zeros", "constant")])
@pytest.mark.parametrize("frame_length, hop_length", [(882, 441), (2048, 512), (256, 64)])
def test_the_centred_transforms_are_librosas(frame_length, hop_length, padding, pad_mode):
    waveform = 0.1 * noise(2, 5000)
    expected = librosa.stft(waveform, n_fft=frame_length, hop_length=hop_length, pad_mode=pad_mode)
    spectrum = as_complex(STFT(frame_length, hop_length, padding=padding)(waveform))
    assert spectrum.shape == expected.transpose(0, 2, 1).shape
    assert np.abs(spectrum - expected.transpose(0, 2, 1)).max() <= 1e-5


def test_a_frame_is_centred_where_the_table_says():
    impulse = np.zeros((1, 2000), "float32")
    impulse[0, 640] = 1.0
    for padding, frame in [
        ("end", 8),
        ("valid", 8),
        ("center", 10),
        ("center_zeros", 10),
        ("full", 11),
    ]:
        spectrum = as_complex(STFT(256, 64, padding=padding)(impulse))
        energy = np.abs(spectrum[0]).sum(axis=-1)
        assert energy.argmax() == frame, padding
        assert energy[frame] == pytest.approx(129, abs=1e-3), (
            padding
        )  # the window's peak, 1, in every bin


def test_a_full_transform_is_the_end_padded_one_with_frames_in_front():
    waveform = noise(1, 1000)
    full = as_complex(STFT(**INPAINTER, padding="full")(waveform))
    end = as_complex(STFT(**INPAINTER, padding="end")(waveform))
    np.testing.assert_allclose(full[:, 3:], end, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(
    samples=st.integers(1, 700),
    pieces=st.integers(2, 5),
    hop_length=st.integers(3, 60),
    shorter=st.integers(0, 2),
    longer_fft=st.integers(-1, 40),
    window=st.sampled_from(["hann", "hamming"]),
    padding=st.sampled_from(["full", "center", "center_zeros"]),
)
def test_every_sample_comes_back_for_any_length_with_padding_on_both_sides(
    samples, pieces, hop_length, shorter, longer_fft, window, padding
):
    frame_length = pieces * hop_length - shorter
    if pieces == 2:
        shorter, longer_fft = 0, max(longer_fft, 0)
        frame_length = 2 * hop_length
    arguments = (frame_length, hop_length, frame_length + longer_fft, window, padding)
    waveform = np.clip(noise(2, samples, seed=samples) / 3, -1, 1)
    restored = InverseSTFT(*arguments)(STFT(*arguments)(waveform), samples=samples)
    assert restored.shape == (2, samples)
    assert np.abs(restored - waveform).max() <= 1e-5


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(
    "arguments",
    [(256, 64, 255), (882, 441), (2048, 512), (300, 100, 400, "hamming"), (64, 64, None, None)],
)
def test_reconstruction_is_exact_wherever_the_window_leaves_energy(arguments, padding):
    waveform = np.clip(noise(1, 9000) / 3, -1, 1)
    transform, inverse = STFT(*arguments, padding=padding), InverseSTFT(*arguments, padding=padding)
    restored = np.asarray(inverse(transform(waveform), samples=9000))
    frame_length, hop_length = transform.frame_length, transform.hop_length
    edge = frame_length if padding in ("valid", "end") else 0
    front = frame_length // 2 if padding.startswith("center") else 0
    covered = (transform.frames_for_samples(9000) - 1) * hop_length + frame_length - front
    inside = slice(edge, 9000 if padding in ("end", "full") else covered - edge)
    assert np.abs(restored - waveform)[:, inside].max() <= 1e-5
    assert np.abs(restored).max() <= 1.01  # no blow-up at the edges that the window does not reach


def test_a_bare_edge_fades_instead_of_blowing_up_when_the_spectrum_is_inconsistent():
    spectrum = noise(1, 20, 128), noise(1, 20, 128)
    waveform = np.abs(InverseSTFT(**INPAINTER, padding="end")(spectrum))[0]
    assert waveform[0] == 0
    assert waveform[:64].max() <= 100 * waveform[256:].max()


def test_the_inverse_is_the_least_squares_one():
    # Griffin & Lim 1984, eq. 6, by brute force: the pseudo-inverse of the transform's matrix.
    forward, backward = STFT(12, 4, 12, padding="full"), InverseSTFT(12, 4, 12, padding="full")
    real, imaginary = forward(np.eye(30, dtype="float32"))
    weight = np.full(7, np.sqrt(2))
    weight[[0, -1]] = 1  # the bins that the two-sided spectrum has once
    matrix = np.stack([real * weight, imaginary * weight]).transpose(1, 0, 2, 3).reshape(30, -1)
    target = noise(2, 1, real.shape[1], 7)
    target[1, ..., [0, -1]] = 0
    expected, *_ = np.linalg.lstsq(
        matrix.T.astype("f8"), (target * weight).ravel().astype("f8"), rcond=None
    )
    np.testing.assert_allclose(backward(tuple(target), samples=30)[0], expected, atol=1e-5)


@pytest.mark.parametrize("padding", PADDINGS)
def test_the_frame_counts_are_those_of_the_transform_for_numbers_and_for_tensors(padding):
    for frame_length, hop_length in [(256, 64), (10, 3), (9, 4), (5, 5)]:
        layer = STFT(frame_length, hop_length, padding=padding)
        for samples in [1, 2, 9, 10, 63, 64, 65, 255, 256, 257, 500]:
            frames = frames_for_samples(samples, frame_length, hop_length, padding)
            assert (
                layer(noise(1, samples))[0].shape[1] == frames == layer.frames_for_samples(samples)
            )
            assert int(layer.frames_for_samples(tf.constant(samples))) == frames
        for frames in range(frame_length // hop_length + 1, 20):
            samples = samples_for_frames(frames, frame_length, hop_length, padding)
            assert samples == int(layer.samples_for_frames(tf.constant(frames)))
            assert frames_for_samples(samples, frame_length, hop_length, padding) in (
                frames,
                frames - 1,
            )
            if padding in ("valid", "end", "full") or frame_length % 2 == 0:
                assert frames_for_samples(samples, frame_length, hop_length, padding) == frames


def test_the_inverse_gives_the_length_it_is_asked_for():
    layer = InverseSTFT(**INPAINTER)
    spectrum = STFT(**INPAINTER)(noise(1, 640))
    usual = np.asarray(layer(spectrum))
    assert usual.shape == (1, 640)
    np.testing.assert_array_equal(layer(spectrum, samples=100), usual[:, :100])
    longer = np.asarray(layer(spectrum, samples=tf.constant(2000)))
    assert longer.shape == (1, 2000)
    np.testing.assert_array_equal(longer[:, :640], usual)
    assert not longer[:, 900:].any()


@pytest.mark.parametrize("arguments", [INPAINTER, APOLLO])
def test_batch_and_length_may_be_unknown_and_a_savedmodel_has_only_core_ops(arguments, tmp_path):
    forward, backward = STFT(**arguments), InverseSTFT(**arguments)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])
    def round_trip(waveform):
        return backward(forward(waveform), samples=tf.shape(waveform)[1])

    module = tf.Module()
    module.round_trip = round_trip
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path)).round_trip
    operations = {node.type for node in round_trip.get_concrete_function().graph.get_operations()}
    assert {"RFFT", "IRFFT"} <= operations
    assert not any("Py" in name or name.startswith("IO>") for name in operations)
    for shape in [(1, 700), (3, 1), (2, 4411), (0, 500)]:
        waveform = noise(*shape)
        restored = loaded(waveform)
        assert restored.shape == shape
        assert np.abs(restored - waveform).max(initial=0) <= 1e-5


def test_known_shapes_stay_known_in_a_functional_model():
    waveform = keras.Input((6400,))
    spectrum = STFT(**INPAINTER)(waveform)
    restored = InverseSTFT(**INPAINTER)(spectrum)
    assert spectrum[0].shape == (None, 103, 128)
    assert restored.shape == (None, 6400)
    model = keras.Model(waveform, restored)
    np.testing.assert_allclose(model(noise(2, 6400)), noise(2, 6400), atol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"frame_length": 16, "hop_length": 4, "fft_length": 15},
        {"frame_length": 16, "hop_length": 8, "padding": "center"},
    ],
)
def test_gradients_are_those_of_the_linear_maps_that_the_layers_are(arguments):
    forward, backward = STFT(**arguments), InverseSTFT(**arguments)
    samples = 40
    basis = np.stack(forward(np.eye(samples, dtype="float32")))
    weights = noise(*basis[:, 0].shape)
    waveform = tf.Variable(noise(1, samples))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.stack(forward(waveform))[:, 0] * weights)
    np.testing.assert_allclose(
        tape.gradient(loss, waveform)[0], np.einsum("pstk,ptk->s", basis, weights), atol=1e-4
    )

    parts = [tf.Variable(noise(1, *basis.shape[2:], seed=seed)) for seed in (1, 2)]
    weights = noise(samples)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(backward(parts, samples=samples)[0] * weights)
    for part, gradient in enumerate(tape.gradient(loss, parts)):
        gradient = gradient.numpy()
        for frame, one_bin in [(0, 0), (2, 3), (1, 7), (3, basis.shape[-1] - 1)]:
            one = np.zeros((2, 1, *basis.shape[2:]), "float32")
            one[part, 0, frame, one_bin] = 1
            expected = np.dot(backward(tuple(one), samples=samples)[0].numpy(), weights)
            assert gradient[0, frame, one_bin] == pytest.approx(expected, abs=1e-5)


def test_the_transform_stays_float32_under_mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        forward, backward = STFT(**INPAINTER), InverseSTFT(**INPAINTER)
    finally:
        keras.config.set_dtype_policy(policy)
    restored = backward(forward(noise(1, 1000)), samples=1000)
    assert restored.dtype == "float32"
    assert np.abs(restored - noise(1, 1000)).max() <= 1e-5
    assert forward(tf.cast(noise(1, 1000), "bfloat16"))[0].dtype == "float32"
    with pytest.raises(UsageError, match="float32"):
        STFT(**INPAINTER, dtype="mixed_bfloat16")


@pytest.mark.parametrize("window", ["hann", "hamming", "rectangular", None, np.hanning(16)])
def test_a_saved_layer_comes_back_the_same(window):
    for kind in (STFT, InverseSTFT):
        layer = kind(16, 4, 15, window, "center", name="transform")
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert again.get_config() == layer.get_config()
    forward = STFT(16, 4, 15, window)
    again = STFT.from_config(forward.get_config())
    np.testing.assert_array_equal(again(noise(1, 50))[0], forward(noise(1, 50))[0])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"hop_length": 0}, "hop_length is 0"),
        ({"hop_length": 257}, "hop_length is 257"),
        ({"fft_length": 0}, "fft_length is 0"),
        ({"padding": "same"}, "Unknown padding 'same'"),
        ({"window": "kaiser"}, "Unknown window 'kaiser'"),
        ({"window": [1.0, 2.0]}, "must be \\(256,\\)"),
    ],
)
def test_a_wrong_argument_is_named_in_one_line(arguments, message):
    with pytest.raises(UsageError, match=message) as error:
        STFT(**{"frame_length": 256, "hop_length": 64, **arguments})
    assert "\n" not in str(error.value)


def test_the_layers_import_only_keras_and_numpy():
    for name in ("float32_layer", "stft", "griffin_lim", "signed_square_root"):
        tree = ast.parse(
            Path(importlib.import_module(f"tfrestore.layers.{name}").__file__).read_text()
        )
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert {module.split(".")[0] for module in imported} <= {
            "keras",
            "numpy",
            "tfrestore",
            "__future__",
        }


def test_the_layers_work_on_jax():
    pytest.importorskip("jax")
    program = """
import numpy as np
from tfrestore.layers import STFT, InverseSTFT, GriffinLim, SignedSquareRoot, SignedSquare
x = np.random.default_rng(0).standard_normal((2, 1000)).astype("float32")
for padding in ("full", "center"):
    setting = dict(frame_length=256, hop_length=64, fft_length=255, padding=padding)
    spectrum = STFT(**setting)(x)
    assert np.abs(InverseSTFT(**setting)(spectrum, samples=1000) - x).max() < 1e-5
    for momentum in (0.0, 0.99):
        layer = GriffinLim(**setting, momentum=momentum, iterations=3, initial_phase="random")
        assert layer(np.hypot(*spectrum), samples=1000).shape == (2, 1000)
assert np.abs(SignedSquare()(SignedSquareRoot()(x)) - x).max() < 1e-5
import keras
assert keras.backend.backend() == "jax"
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
