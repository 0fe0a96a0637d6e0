import numpy as np
import pytest
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio

from tfrestore.errors import InputError
from tfrestore.metrics import nrmse, psnr
from tfrestore.metrics.spectral import mean_without_infinities, spectral_convergence


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


def test_infinities_are_left_out_of_the_mean_and_counted():
    assert mean_without_infinities([1.0, np.inf, 3.0, np.nan, -np.inf]) == (2.0, 1.0, 2, 3)
    mean, deviation, count, left_out = mean_without_infinities([np.inf])
    assert np.isnan([mean, deviation]).all() and (count, left_out) == (0, 1)


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
