import numpy as np

from tfrestore.losses import cross_entropy_discriminator_loss, non_saturating_generator_loss


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_losses_are_those_of_goodfellow_per_example():
    real, generated = np.random.default_rng(0).normal(0, 3, (2, 5)).astype("float32")
    expected = -np.log(sigmoid(real)) - np.log(1 - sigmoid(generated))
    np.testing.assert_allclose(cross_entropy_discriminator_loss(real, generated), expected, 1e-5)
    expected = -np.log(sigmoid(generated))
    np.testing.assert_allclose(non_saturating_generator_loss(generated), expected, 1e-5)


def test_logits_however_large_give_finite_losses():
    large = np.float32([1e4, -1e4])
    np.testing.assert_allclose(non_saturating_generator_loss(large), [0, 1e4])
    np.testing.assert_allclose(cross_entropy_discriminator_loss(large, -large), [0, 2e4])


def test_several_values_of_an_example_are_averaged():
    values = np.zeros((3, 4, 2), "float32")
    np.testing.assert_allclose(non_saturating_generator_loss(values), np.full(3, np.log(2)), 1e-6)
