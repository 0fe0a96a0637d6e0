"""Every loss on numbers that can be worked out by hand."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore import losses

RNG = np.random.default_rng(0)
WEIGHTS = np.array([[2.0, -3.0], [6.0, 0.0]], np.float32)  # Norm 7.


def linear(x):
    """One value per example, of slope `WEIGHTS` everywhere."""
    return tf.reduce_sum(x * WEIGHTS, axis=(1, 2)) + 5.0


def random(*shape):
    return tf.constant(RNG.normal(size=shape), tf.float32)


# Wasserstein and drift


def test_the_critics_loss_is_the_mean_value_of_the_generated_minus_that_of_the_real():
    real, generated = np.array([[1.0, 3.0], [0.0, 8.0]]), np.array([[4.0, 6.0], [1.0, 1.0]])
    np.testing.assert_allclose(losses.wasserstein_critic_loss(real, generated), [3.0, -3.0])
    np.testing.assert_allclose(losses.wasserstein_generator_loss(generated), [-5.0, -1.0])


def test_one_value_per_example_is_taken_as_it_is():
    values = np.array([1.0, -2.0, 7.0])
    np.testing.assert_allclose(losses.wasserstein_generator_loss(values), [-1.0, 2.0, -7.0])
    np.testing.assert_allclose(losses.drift_penalty(values), [1.0, 4.0, 49.0])


def test_a_constant_added_to_the_critic_changes_its_loss_nowhere_and_the_drift_by_its_square():
    real, generated = RNG.normal(size=(2, 3, 50))
    real -= real.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(
        losses.wasserstein_critic_loss(real + 5, generated + 5),
        losses.wasserstein_critic_loss(real, generated),
        atol=1e-5,
    )
    drift = losses.drift_penalty(real)
    np.testing.assert_allclose(drift, real.var(axis=1), rtol=1e-5)
    np.testing.assert_allclose(losses.drift_penalty(real + 5), drift + 25, rtol=1e-5)


# Least squares


def test_a_discriminator_that_says_1_and_0_has_no_least_squares_loss_and_the_generator_1():
    ones, zeros = [np.ones((2, 3)), np.ones((2, 5, 4))], [np.zeros((2, 3)), np.zeros((2, 5, 4))]
    np.testing.assert_allclose(losses.least_squares_discriminator_loss(ones, zeros), [0, 0])
    np.testing.assert_allclose(losses.least_squares_discriminator_loss(zeros, ones), [2, 2])
    np.testing.assert_allclose(losses.least_squares_generator_loss(zeros), [1, 1])
    np.testing.assert_allclose(losses.least_squares_generator_loss(ones), [0, 0])


def test_every_discriminator_counts_the_same_however_many_logits_it_has():
    logits = [np.full((2, 1), 3.0), np.array([[1.0] * 7, [2.0] * 7])]
    np.testing.assert_allclose(losses.least_squares_generator_loss(logits), [2.0, 2.5])


# Feature matching


def test_feature_matching_is_the_relative_difference_of_each_map():
    real = [[np.ones((2, 3, 4)), np.full((2, 5), -2.0)], [np.full((2, 6), 4.0)]]
    generated = [[np.full((2, 3, 4), 1.5), np.full((2, 5), 2.0)], [np.full((2, 6), 3.0)]]
    expected = (0.5 + 2.0 + 0.25) / 3
    np.testing.assert_allclose(
        losses.feature_matching_loss(real, generated), [expected] * 2, rtol=1e-6
    )


def test_feature_matching_changes_what_is_generated_and_not_what_is_real():
    real, generated = random(2, 3), random(2, 3)
    with tf.GradientTape() as tape:
        tape.watch([real, generated])
        loss = losses.feature_matching_loss([[real]], [[generated]])
    held, moved = tape.gradient(loss, [real, generated])
    assert held is None
    sizes = np.abs(real).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(moved, np.sign(generated - real) / 3 / sizes, rtol=1e-5)


# Multi-resolution STFT


@given(gain=st.floats(0, 3), seed=st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_the_stft_loss_of_a_gain_is_how_far_it_is_from_1(gain, seed):
    reference = np.random.default_rng(seed).normal(size=(2, 3000)).astype(np.float32)
    found = losses.multi_resolution_stft_loss(reference, np.float32(gain) * reference, [64, 256])
    np.testing.assert_allclose(found, [abs(gain - 1)] * 2, atol=1e-5)


def test_the_stft_loss_does_not_hear_a_sign():
    reference = np.asarray(random(2, 2500))
    np.testing.assert_allclose(
        losses.multi_resolution_stft_loss(reference, -reference), [0, 0], atol=1e-6
    )


# Gradient penalty


def test_the_gradient_penalty_of_a_linear_critic_is_the_squared_excess_of_its_norm_over_1():
    real, generated = random(5, 2, 2), random(5, 2, 2)
    share = np.linspace(0, 1, 5, dtype=np.float32)
    found = losses.gradient_penalty(linear, real, generated, share)
    np.testing.assert_allclose(found, np.full(5, 36.0), rtol=1e-5)


def test_a_critic_of_slope_1_has_no_penalty_and_a_constant_one_has_1():
    real = random(3, 2, 2)
    share = np.zeros(3, np.float32)
    unit = losses.gradient_penalty(lambda x: linear(x) / 7, real, real, share)
    np.testing.assert_allclose(unit, 0, atol=1e-10)
    flat = losses.gradient_penalty(lambda x: 0 * linear(x), real, real, share)
    np.testing.assert_allclose(flat, 1, atol=1e-6)


def test_the_value_of_several_frames_is_their_mean():
    # Frame t has slope 4 at its own input: the mean of 4 frames has slope 1 at each, norm 2.
    found = losses.gradient_norm(lambda x: 4 * x, random(3, 4))
    np.testing.assert_allclose(found, [2.0, 2.0, 2.0], rtol=1e-6)


def test_the_slope_is_taken_where_the_share_says_between_generated_and_real():
    real, generated = random(4, 3), random(4, 3)
    share = np.array([0.0, 0.25, 0.5, 1.0], np.float32)
    between = np.array(generated + share[:, None] * (real - generated))
    np.testing.assert_allclose(losses.interpolated(real, generated, share), between, atol=1e-6)
    np.testing.assert_allclose(between[[0, 3]], [generated[0], real[3]], atol=1e-6)
    # Half the square has the point itself for its slope.
    found = losses.gradient_penalty(
        lambda x: tf.reduce_sum(x**2, axis=1) / 2, real, generated, share
    )
    expected = (np.linalg.norm(between, axis=1) - 1) ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_norm_is_over_an_example_whatever_else_is_in_the_batch():
    x = random(6, 3, 4)

    def critic(x):
        return tf.reduce_sum(tf.sin(x), axis=2)

    together = losses.gradient_norm(critic, x)
    alone = [losses.gradient_norm(critic, x[i : i + 1])[0] for i in range(6)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_the_penalty_is_differentiated_by_the_critics_weights():
    weights = tf.Variable([3.0, 4.0])
    real = random(2, 2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(
            losses.gradient_penalty(
                lambda x: tf.reduce_sum(x * weights, axis=1), real, real, np.ones(2, np.float32)
            )
        )
    # d (|w| - 1)^2 / dw = 2 (|w| - 1) w / |w|.
    np.testing.assert_allclose(tape.gradient(loss, weights), [4.8, 6.4], rtol=1e-5)


def test_a_critic_that_is_flat_somewhere_has_finite_gradients():
    weights = tf.Variable([0.0, 0.0])
    real = random(2, 2)
    with tf.GradientTape() as tape:
        loss = losses.gradient_penalty(
            lambda x: tf.reduce_sum(x * weights, axis=1), real, real, np.ones(2, np.float32)
        )
    assert np.isfinite(tape.gradient(loss, weights)).all()


# Profiles


def test_profiles_are_means_of_powers_over_time_and_over_frequency():
    magnitude = np.array([[[1.0, 4.0], [9.0, 16.0], [4.0, 1.0]]])
    np.testing.assert_allclose(losses.frequency_profile(magnitude, 0.5), [[2.0, 7 / 3]], rtol=1e-6)
    np.testing.assert_allclose(losses.rhythm_profile(magnitude, 2.0), [[8.5, 168.5, 8.5]])


def test_the_powers_are_the_papers():
    magnitude = np.full((1, 2, 3), 2.0, np.float32)
    np.testing.assert_allclose(losses.frequency_profile(magnitude), np.full((1, 3), 2**1.3))
    np.testing.assert_allclose(losses.rhythm_profile(magnitude), np.full((1, 2), 2**1.6))


def test_a_profile_does_not_see_the_order_of_what_it_is_a_mean_over():
    magnitude = RNG.uniform(0.1, 2, (2, 5, 7)).astype(np.float32)
    shuffled = magnitude[:, RNG.permutation(5)][:, :, RNG.permutation(7)]
    for profile in (losses.frequency_profile, losses.rhythm_profile):
        np.testing.assert_allclose(
            np.sort(profile(magnitude)), np.sort(profile(shuffled)), rtol=1e-5
        )


def test_the_mode_collapse_loss_of_a_toy_generator():
    # Noise z makes a spectrum of magnitude 1 + z in every cell: with power 1, profiles lie as far
    # apart as the noise, which makes the ratio 1; with power 2 (1 + a)^2 - (1 + b)^2 apart.
    noise = [np.array([[0.5], [3.0]]), np.array([[1.5], [3.5]])]
    magnitudes = [np.broadcast_to(1 + z[:, :, None], (2, 4, 6)) for z in noise]
    apart = losses.distance(*noise)
    np.testing.assert_allclose(apart, [1.0, 0.5])
    for profile in (losses.frequency_profile, losses.rhythm_profile):
        for power, expected in ((1.0, [1.0, 1.0]), (2.0, [1 / 4, 1 / 8.5])):
            distance = losses.distance(*(profile(each, power) for each in magnitudes))
            found = losses.mode_collapse_loss(apart, distance, epsilon=0.0)
            np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_generator_that_ignores_its_noise_has_a_large_but_finite_loss():
    assert losses.mode_collapse_loss(np.ones(1), np.zeros(1), epsilon=1e-3) == pytest.approx(1000)


def test_the_spread_of_outputs_is_pushed_apart_by_the_loss():
    spread = tf.Variable([0.0, 0.1, 1.0])
    with tf.GradientTape() as tape:
        loss = losses.mode_collapse_loss(tf.ones(3), spread)
    slopes = np.array(tape.gradient(loss, spread))
    assert np.isfinite(slopes).all() and (slopes < 0).all() and (np.diff(slopes) > 0).all()


# All of them


@settings(deadline=None, max_examples=30)
@given(
    batch=st.integers(1, 4),
    frames=st.integers(1, 5),
    bins=st.integers(1, 5),
    scale=st.sampled_from([0.0, 1e-12, 1.0, 1e4]),
)
def test_every_loss_has_one_finite_value_per_example_for_any_size(batch, frames, bins, scale):
    x = scale * np.random.default_rng(batch).normal(size=(2, batch, frames, bins))
    x = x.astype(np.float32)
    profiles = [losses.frequency_profile(np.abs(each)) for each in x]
    found = [
        losses.wasserstein_critic_loss(*x),
        losses.wasserstein_generator_loss(x[0]),
        losses.drift_penalty(x[0]),
        losses.gradient_penalty(lambda v: v * 2, tf.constant(x[0]), x[1], np.ones(batch) * 0.5),
        losses.mode_collapse_loss(np.ones(batch, np.float32), losses.distance(*profiles)),
    ]
    for values in found:
        values = keras.ops.convert_to_numpy(values)
        assert values.shape == (batch,) and np.isfinite(values).all()


def test_the_package_loads_nothing_until_a_name_is_used():
    script = (
        "import sys, tfrestore.losses\n"
        "assert 'gradient_penalty' in dir(tfrestore.losses)\n"
        "print(sorted({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_every_name_is_there_and_no_other():
    for name in losses.__all__:
        assert callable(getattr(losses, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        losses.nothing  # noqa: B018


def test_above_its_bandwidth_an_estimate_is_its_reference_and_below_it_is_itself():
    rng = np.random.default_rng(3)
    reference, estimate = rng.standard_normal((2, 3, 4411)).astype("float32")
    bandwidth = np.array([5000.0, 16000.0, 22050.0], "float32")
    found = np.array(losses.agreeing_above(bandwidth, reference, estimate, 44100))
    np.testing.assert_allclose(found[2], estimate[2], atol=1e-5)
    frequencies = np.arange(2207) * 44100 / 4412
    for row, limit in enumerate(bandwidth[:2]):
        ours, theirs, mixed = (
            np.fft.rfft(np.append(each[row], 0)) for each in (estimate, reference, found)
        )
        low, high = frequencies < limit - 300, frequencies > limit + 100
        # The sample that rounds the length up is not heard, which leaks next to nothing.
        assert np.abs(mixed - ours)[low].max() < 0.02 * np.abs(ours).mean()
        assert np.abs(mixed - theirs)[high].max() < 0.02 * np.abs(theirs).mean()


def test_of_spectra_too_only_what_is_below_the_bandwidth_counts():
    rng = np.random.default_rng(5)
    reference, estimate = rng.standard_normal((2, 2, 3, 1024, 2)).astype("float32")
    bandwidth = np.array([15000.0, 22050.0], "float32")
    found = np.array(losses.spectra_agreeing_above(bandwidth, reference, estimate, 44100))
    np.testing.assert_allclose(found[1], estimate[1], atol=1e-6)
    frequencies = np.arange(1024) * 44100 / 2048
    low, high = frequencies < 14800, frequencies > 15000
    np.testing.assert_allclose(found[0][:, low], estimate[0][:, low], atol=1e-6)
    np.testing.assert_array_equal(found[0][:, high], reference[0][:, high])


def test_nothing_is_learnt_above_the_bandwidth():
    rng = np.random.default_rng(4)
    reference, estimate = (
        tf.constant(each) for each in rng.standard_normal((2, 1, 4410)).astype("float32")
    )
    with tf.GradientTape() as tape:
        tape.watch(estimate)
        heard = losses.agreeing_above(tf.constant([8000.0]), reference, estimate, 44100)
        loss = losses.log_spectral_loss(reference, heard)
    slope = np.abs(np.fft.rfft(tape.gradient(loss, estimate)[0]))
    frequencies = np.arange(2206) * 10.0
    assert slope[frequencies > 8000].max() < 1e-4 * slope[frequencies < 7500].mean()
