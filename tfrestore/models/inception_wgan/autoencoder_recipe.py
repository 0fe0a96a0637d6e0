"""How the autoencoder is trained, and what its trainer shares with the generator's.

Sifringer, Stegmüller & Alahi, "Audio Enhancing with Wasserstein GANs" (EPFL, 2020): mean squared
error of the samples, inputs and targets passed separately and in turns. See `recipe` for what the
autoencoder is trained for.
"""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops

from tfrestore.metrics.keras_metrics import SNR
from tfrestore.models.inception_wgan.network import InceptionAutoencoder
from tfrestore.models.inception_wgan.restorer import InceptionRestorer
from tfrestore.training.distribution import (
    apply_summed_gradients,
    mean_over_replicas,
    sum_over_replicas,
)


def squared_error(target, estimate):
    """Mean squared error of each example: two tensors `(batch, ...)` to `(batch,)`."""
    return ops.mean(ops.square(estimate - target), axis=tuple(range(1, len(target.shape))))


class WindowTrainer(keras.Model):
    """What both stages' trainers share: an Adam of the paper's, and how its steps are made.

    Args:
        network: the network to train.
        restorer: its `InceptionRestorer`; by default one with its own defaults.
        learning_rate: float. Of Adam, as the arguments that follow.
        beta_1: float.
        beta_2: float.
        epsilon: float.
        learning_rate_decay: float. What the learning rate is multiplied by every epoch; as the
            authors' code does, which halves it every 3000 steps. Defaults to the paper's `1.0`.
        steps_per_epoch: int. Steps that count as an epoch; the training loop tells its own.
            Defaults to `100`, the authors' code's.
    """

    def __init__(
        self,
        network,
        restorer,
        learning_rate,
        beta_1,
        beta_2,
        epsilon,
        learning_rate_decay: float = 1.0,
        steps_per_epoch: int = 100,
        **kwargs,
    ):
        super().__init__(dtype=network.dtype_policy, **kwargs)
        self.network = network
        self.restorer = restorer or InceptionRestorer(network)
        self.learning_rate = learning_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.learning_rate_decay = learning_rate_decay
        self.steps_per_epoch = steps_per_epoch
        self.built = True
        # Compiling wraps the optimizer where mixed_float16 needs the loss scaled. Its state exists
        # from here on, so that a checkpoint can be restored before the first step.
        self.compile(optimizer=self.make_adam(learning_rate), loss=None, jit_compile=False)
        self.optimizer.build(self.network.trainable_variables)

    def make_adam(self, learning_rate: float):
        """An Adam with this trainer's moments and its decay."""
        if self.learning_rate_decay != 1:
            # A function of the optimizer's steps, which checkpoints hold.
            learning_rate = keras.optimizers.schedules.ExponentialDecay(
                learning_rate, self.steps_per_epoch, self.learning_rate_decay, staircase=True
            )
        return keras.optimizers.Adam(learning_rate, self.beta_1, self.beta_2, self.epsilon)

    def descend(self, optimizer, gradients, variables):
        """Applies gradients of a scaled loss; returns the norm of the global batch's, unscaled."""
        gradients = sum_over_replicas(gradients)
        apply_summed_gradients(optimizer, gradients, variables)
        return tf.linalg.global_norm(gradients) / optimizer.scale_loss(1.0)

    def call(self, inputs, training=False):
        """The network on windows `(batch, samples)`."""
        return self.network(inputs, training=training)

    def get_config(self):
        """The constructor's arguments."""
        return {
            "name": self.name,
            "restorer": keras.saving.serialize_keras_object(self.restorer),
            "learning_rate": self.learning_rate,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "learning_rate_decay": self.learning_rate_decay,
            "steps_per_epoch": self.steps_per_epoch,
        }

    @classmethod
    def from_config(cls, config):
        """The object of a `get_config`."""
        given = {
            name: keras.saving.deserialize_keras_object(value) if isinstance(value, dict) else value
            for name, value in config.items()
        }
        return cls(given["restorer"].network, **given)


@keras.saving.register_keras_serializable(package="tfrestore")
class InceptionAutoencoderTrainer(WindowTrainer):
    """Trains an `InceptionAutoencoder` to give windows back: the recipe's first stage.

    Batches are tuples `(degraded, original)` of windows, each `(batch, samples)` float32. Each is
    two steps, one on the degraded windows and one on the originals. Works with `fit`, and with
    `strategy.run(trainer.train_step, args=(batch,))`.

    Args:
        network: the `InceptionAutoencoder` to train.
        restorer: its `InceptionRestorer`; by default one with its own defaults.
        learning_rate: float. Defaults to `1e-3`, as the other Adam arguments the paper's.
        beta_1: float. Defaults to `0.9`.
        beta_2: float. Defaults to `0.999`.
        epsilon: float. Defaults to `1e-7`.
    """

    #: What a better model has less of; validation metrics are prefixed with `val_`.
    monitor = "loss"
    lower_is_better = True

    def __init__(
        self,
        network: InceptionAutoencoder,
        restorer: InceptionRestorer | None = None,
        learning_rate: float = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs,
    ):
        super().__init__(network, restorer, learning_rate, beta_1, beta_2, epsilon, **kwargs)
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.snr = SNR()

    @property
    def metrics(self):
        """Time-domain loss and SNR of what comes back, over inputs and targets alike."""
        return [self.loss_tracker, self.snr]

    def train_step(self, data):
        """A step on the degraded windows and one on the originals; returns the metrics so far."""
        variables = self.network.trainable_variables
        for windows in data[:2]:
            with tf.GradientTape() as tape:
                returned = self.network(windows, training=True)
                losses = squared_error(windows, returned)
                scaled = self.optimizer.scale_loss(mean_over_replicas(losses))
            self.descend(self.optimizer, tape.gradient(scaled, variables), variables)
            self._track(windows, returned, losses)
        return {metric.name: metric.result() for metric in self.metrics}

    def test_step(self, data):
        """Scores a batch `(degraded, original)`; returns the metrics so far."""
        for windows in data:
            returned = self.network(windows, training=False)
            self._track(windows, returned, squared_error(windows, returned))
        return {metric.name: metric.result() for metric in self.metrics}

    def _track(self, windows, returned, losses):
        self.loss_tracker.update_state(losses)
        self.snr.update_state(windows, returned)
