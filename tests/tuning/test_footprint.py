"""How large a model is, without there being any memory for it."""

import math

import pytest
import tensorflow as tf

from tfrestore.models.presets import find_preset
from tfrestore.training.configuration import resolve
from tuning import limits
from tuning.footprint import parameter_count, state_bytes, step_bytes, symbolic_trainer
from tuning.limits import GIB, Limits, TooLargeError


@pytest.fixture(scope="module")
def trainer():
    """The largest model there is, of which nothing is in memory."""
    return symbolic_trainer(resolve(find_preset("sr_gan_16k")))


def test_the_papers_gan_is_counted_without_its_five_gigabytes(trainer):
    assert parameter_count(trainer) == 322_538_274
    # Generator and critic, each with the two moments of Adam.
    trained = [*trainer.network.trainable_weights, *trainer.critic.trainable_weights]
    bytes_trained = 4 * sum(math.prod(weight.shape) for weight in trained)
    assert state_bytes(trainer) == pytest.approx(3 * bytes_trained, rel=1e-4)


def test_a_model_that_is_too_large_is_refused_before_it_is_built(trainer, monkeypatch):
    monkeypatch.setattr(limits, "symbolic_trainer", lambda preset: trainer)
    with pytest.raises(TooLargeError, match="322,538,274 parameters, more than --max-parameters"):
        Limits(parameters=300_000_000).check_model(None)
    with pytest.raises(TooLargeError, match=r"4\.\d\d GiB, more than 4.00 GiB of --max-memory"):
        Limits(memory=4 * GIB).check_model(None)
    assert Limits(memory=64 * GIB).check_model(None) == 322_538_274


def test_a_step_takes_what_lives_at_a_time():
    @tf.function
    def chain(x):
        # Each product is freed when the next is made: two live at a time beside the input.
        for _ in range(5):
            x = tf.matmul(x, x)
        return x

    @tf.function
    def held(x):
        products = [tf.matmul(x, x) for _ in range(5)]
        return tf.add_n(products)

    spec = tf.TensorSpec([64, 64])
    matrix = 4 * 64 * 64
    assert step_bytes(chain.get_concrete_function(spec)) == 2 * matrix
    assert step_bytes(held.get_concrete_function(spec)) == 6 * matrix


def test_what_a_called_function_takes_counts_where_it_is_called():
    @tf.function(autograph=False, experimental_attributes={"_noinline": True})
    def inner(x):
        return tf.add_n([tf.matmul(x, x) for _ in range(3)])

    @tf.function
    def outer(x):
        return inner(x) + 1.0

    spec = tf.TensorSpec([64, 64])
    alone, called = (
        step_bytes(function.get_concrete_function(spec)) for function in (inner, outer)
    )
    assert alone == 4 * 4 * 64 * 64
    assert called >= alone
