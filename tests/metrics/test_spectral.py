import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio

from tfrestore.errors import InputError
from tfrestore.metrics import nrmse, psnr
from tfrestore.metrics.spectral import (
    magnitude_patches,
    spectral_convergence,
)
from tfrestore.models.inpainter.network import UNet
from tfrestore.models.inpainter.restorer import InpainterRestorer


def patches(*shape, seed=0):
    rng = np.random.default_rng(seed)
    reference = rng.random(shape).astype("float32")
    return reference, (reference + 0.1 * rng.standard_normal(shape)).astype("float32")


@pytest.mark.parametrize("data_range", [1.0, 128.0])
def test_psnr_and_nrmse_are_scikit_images(data_range):
    reference, estimate = patches(5, 16, 12)
    ours = psnr(reference, estimate, data_range=data_range)
    theirs = [
        peak_signal_noise_ratio(r.astype("f8"), e.astype("f8"), data_range=data_range)
        for r, e in zip(reference, estimate, strict=True)
    ]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    theirs = [
        normalized_root_mse(r.astype("f8"), e.astype("f8"))
        for r, e in zip(reference, estimate, strict=True)
    ]
    np.testing.assert_allclose(nrmse(reference, estimate), theirs, atol=1e-6)


def test_there_is_one_value_per_leading_index():
    reference, estimate = patches(2, 3, 8, 8)
    assert psnr(reference, estimate).shape == nrmse(reference, estimate).shape == (2, 3)
    assert psnr(reference[0, 0], estimate[0, 0]) == psnr(reference, estimate)[0, 0]


def test_closed_forms():
    reference = np.full((4, 4), 0.5)
    assert psnr(reference, reference + 0.1) == pytest.approx(20)
    assert nrmse(reference, reference + 0.1) == pytest.approx(0.2)
    assert nrmse(reference, np.zeros((4, 4))) == 1


@pytest.mark.filterwarnings("error")
def test_equal_patches_are_infinite_and_a_silent_reference_has_no_nrmse():
    reference, _ = patches(2, 4, 4)
    assert (psnr(reference, reference) == np.inf).all()
    assert (nrmse(reference, reference) == 0).all()
    reference[1] = 0
    assert np.isnan(nrmse(reference, reference + 1)).tolist() == [False, True]
    assert np.isnan(nrmse(reference, reference)).tolist() == [False, True]


def test_spectral_convergence_takes_a_complex_spectrum_or_magnitudes():
    magnitude, estimate = patches(2, 6, 5)
    expected = np.linalg.norm(np.abs(estimate) - magnitude, axis=(1, 2)) / np.linalg.norm(
        magnitude, axis=(1, 2)
    )
    np.testing.assert_allclose(
        spectral_convergence(magnitude, np.abs(estimate)), expected, rtol=1e-6
    )
    turned = estimate * np.exp(1j)
    np.testing.assert_allclose(spectral_convergence(magnitude, turned), expected, rtol=1e-6)
    assert (spectral_convergence(magnitude, magnitude * 1j) <= 1e-12).all()


def test_different_shapes_are_refused_in_one_line():
    for ruler in (psnr, nrmse, spectral_convergence):
        with pytest.raises(InputError, match=r"\(2, 3\)"):
            ruler(np.ones((2, 3)), np.ones((3, 2)))
        with pytest.raises(InputError, match="frames, bins"):
            ruler(np.ones(3), np.ones(3))


@pytest.mark.parametrize("arguments", [{}, {"target_scale": 127.98652649}])
def test_patches_of_a_waveform_are_those_that_the_inpainter_is_scored_on(arguments):
    restorer = InpainterRestorer(UNet(filters=4, depth=2), **arguments)
    rng = np.random.default_rng(0)
    waveform = (0.2 * rng.standard_normal(60_000)).astype("float32")
    theirs = restorer.patch_magnitudes(waveform[None], frames=128)
    theirs = keras.ops.convert_to_numpy(restorer.normalise(theirs, restorer.target_scale))[..., 0]
    ours = magnitude_patches(waveform, scale=restorer.target_scale, offset=restorer.offset)
    assert ours.shape == theirs.shape == (7, 128, 128)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(psnr(ours, 0.9 * ours), psnr(theirs, 0.9 * theirs), rtol=1e-5)


def test_full_scale_is_one_and_silence_is_the_offset():
    patches = magnitude_patches(np.ones(8384))
    assert patches.max() == pytest.approx(1.001, abs=1e-5)
    assert (magnitude_patches(np.zeros(8384)) == 0.001).all()
    # A tone on bin 40 of 255 and of amplitude 0.5 has a quarter of the window's sum there.
    tone = 0.5 * np.cos(2 * np.pi * 40 / 255 * np.arange(8384))
    patch = magnitude_patches(tone, offset=0)[0]
    assert (patch.argmax(axis=1) == 40).all()
    np.testing.assert_allclose(patch[:, 40], 0.25, atol=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 40_000), st.sampled_from([(), (1,), (2, 3), (0,)]))
def test_there_is_a_patch_for_every_128_whole_frames(samples, leading):
    waveform = np.full((*leading, samples), 0.1, "float32")
    frames = max(0, 1 + (samples - 256) // 64)
    assert magnitude_patches(waveform).shape == (*leading, frames // 128, 128, 128)


def test_a_recording_in_parts_has_the_patches_of_the_whole():
    waveform = np.random.default_rng(0).standard_normal((2, 300_000))
    whole = magnitude_patches(waveform)
    assert whole.shape == (2, 36, 128, 128)
    for patch in (0, 17, 35):
        part = waveform[:, patch * 8192 : patch * 8192 + 8384]
        np.testing.assert_allclose(magnitude_patches(part)[:, 0], whole[:, patch], atol=1e-12)
