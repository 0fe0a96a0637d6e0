"""How the inpainters are trained: mean squared error on normalised magnitude patches, with Adam.

Serra et al. (WebMedia 2021): Adam with a learning rate of 1e-3 and its usual moments,
batches of 58 patches, at most 100 epochs, the model with the best validation PSNR is kept; scored
by PSNR and NRMSE per patch.

Departures from the authors' code, each with the switch that brings theirs back:

- They call the model without `training=True`, so that batch normalisation never normalises.
  `batch_norm="inference"` does the same; the default, `"training"`, uses the statistics of the
  batch.
- They feed the patches of one clip at a time, in file order. `order="file"` in the data section
  with 58 patches per excerpt does the same; the default draws excerpts at random from all tracks.
- They divide inputs and targets by two slightly different measured maxima. `input_scale` and
  `target_scale` of the restorer do the same; the default is 128, the largest magnitude that a
  full-scale signal can have behind a Hann window of 256.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfrestore.audio.resampling import resample
from tfrestore.data.degradation import DAMAGED_SHARES
from tfrestore.data.excerpts import read_frames
from tfrestore.data.gaps import waveform_gap_mask
from tfrestore.data.pipeline import GapExamples, PatchGeometry
from tfrestore.data.tracks import Track
from tfrestore.metrics.keras_metrics import NRMSE, PSNR
from tfrestore.models.inpainter.network import UNet
from tfrestore.models.inpainter.restorer import InpainterRestorer
from tfrestore.pictures import spectrogram_picture
from tfrestore.training.distribution import mean_over_replicas
from tfrestore.training.learning_rate import scheduled

BATCH_NORMS = ("training", "inference")


def squared_error(target, restored):
    """Mean squared error of each patch: two maps `(batch, frames, bins, 1)` to `(batch,)`."""
    return ops.mean(ops.square(restored - target), axis=(1, 2, 3))


def log_squared_error(target, restored):
    """Natural logarithm of `squared_error`, levelling off at a PSNR of 90 dB."""
    return ops.log(squared_error(target, restored) + 1e-9)


LOSSES = {"mse": squared_error, "log_mse": log_squared_error}


def log_root_error(target, restored):
    """`log_squared_error` of the square roots of two maps, in which quiet bins count as well.

    Two maps `(batch, frames, bins, 1)` to `(batch,)`. The offset of normalised magnitudes keeps the
    slope of a root finite: only a restored value that is less than a tenth of it, and so no
    magnitude, is cut off.
    """
    target, restored = (ops.sqrt(ops.maximum(each, 1e-4)) for each in (target, restored))
    return log_squared_error(target, restored)


@keras.saving.register_keras_serializable(package="tfrestore")
class InpainterTrainer(keras.Model):
    """Trains a `UNet` on pairs of patches with gaps and without.

    Batches are tuples `(degraded, target)` of normalised magnitudes, each `(batch, 128, 128, 1)`
    float32. Works with `fit`, and with `strategy.run(trainer.train_step, args=(batch,))`.

    Args:
        network: the `UNet` to train.
        learning_rate: float. Defaults to `1e-3`, as the other Adam arguments the paper's.
        beta_1: float. Defaults to `0.9`.
        beta_2: float. Defaults to `0.999`.
        epsilon: float. Defaults to `1e-7`.
        loss: `"mse"`, the paper's mean squared error, or `"log_mse"`, its logarithm per patch,
            which makes a decibel in a quiet patch count as much as one in a loud patch, as the mean
            PSNR does. Defaults to `"mse"`.
        root_weight: float. Weight of `log_root_error`, which is added to the loss, where what the
            network puts into bins 40 dB below the loudest is of no account. Defaults to `0.0`.
        batch_norm: `"training"`: batch normalisation uses the batch's statistics. `"inference"`: it
            uses its moving statistics even while training, as the authors' code does, and so acts
            as a learned scale and offset per channel. Defaults to `"training"`.
        learning_rate_schedule: a `"constant"` rate, the paper's, or `"cosine"`, which takes it to
            zero at `total_steps` along half a period (Loshchilov & Hutter 2017, equation 5, one
            cycle). Defaults to `"constant"`.
        total_steps: int. Steps that are trained in all; only `"cosine"` needs it.

    Raises:
        ValueError: if `loss`, `batch_norm` or `learning_rate_schedule` is none of its two values,
            or `total_steps` is missing.
    """

    #: What a better model has more of; validation metrics are prefixed with `val_`.
    monitor = "psnr"

    def __init__(
        self,
        network: UNet,
        learning_rate: float = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        loss: str = "mse",
        root_weight: float = 0.0,
        batch_norm: str = "training",
        learning_rate_schedule: str = "constant",
        total_steps: int | None = None,
        **kwargs,
    ):
        for name, value, known in (
            ("loss", loss, tuple(LOSSES)),
            ("batch_norm", batch_norm, BATCH_NORMS),
        ):
            if value not in known:
                raise ValueError(
                    f"Argument `{name}` must be one of {known}. Received: {name}={value!r}"
                )
        super().__init__(dtype=network.dtype_policy, **kwargs)
        self.network = network
        self.learning_rate = learning_rate
        self.learning_rate_schedule = learning_rate_schedule
        self.total_steps = total_steps
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.patch_loss = loss
        self.root_weight = root_weight
        self.batch_norm = batch_norm
        #: Whether the loop has to measure batch statistics before the network is used.
        self.uses_batch_statistics = batch_norm == "training"
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.quality = [PSNR(name="psnr"), NRMSE(name="nrmse")]
        self.built = True
        self._compile()

    def _compile(self):
        rate = scheduled(self.learning_rate, self.learning_rate_schedule, self.total_steps)
        optimizer = keras.optimizers.Adam(rate, self.beta_1, self.beta_2, self.epsilon)
        # Compiling wraps the optimizer where mixed_float16 needs the loss scaled. Its state exists
        # from here on, so that a checkpoint can be restored before the first step.
        self.compile(optimizer=optimizer, loss=None, jit_compile=False)
        self.optimizer.build(self.network.trainable_variables)

    @property
    def metrics(self):
        """The loss and the paper's two scores, over the patches seen since they were reset."""
        return [self.loss_tracker, *self.quality]

    def call(self, inputs, training=False):
        """See the class."""
        return self.network(inputs, training=training and self.batch_norm == "training")

    def train_step(self, data):
        """One step of Adam on a batch `(degraded, target)`; returns the metrics so far."""
        degraded, target = data
        with tf.GradientTape() as tape:
            restored = self(degraded, training=True)
            losses = self._losses_of(target, restored)
            scaled = self.optimizer.scale_loss(mean_over_replicas(losses))
        variables = self.network.trainable_variables
        self.optimizer.apply_gradients(
            zip(tape.gradient(scaled, variables), variables, strict=True)
        )
        return self._track(target, restored, losses)

    def test_step(self, data):
        """Scores a batch `(degraded, target)`; returns the metrics so far."""
        degraded, target = data
        restored = self(degraded, training=False)
        return self._track(target, restored, self._losses_of(target, restored))

    def _losses_of(self, target, restored):
        losses = LOSSES[self.patch_loss](target, restored)
        if self.root_weight:
            losses = losses + self.root_weight * log_root_error(target, restored)
        return losses

    def _track(self, target, restored, losses):
        self.loss_tracker.update_state(losses)
        for metric in self.quality:
            metric.update_state(target, restored)
        return {metric.name: metric.result() for metric in self.metrics}

    def illustrate(self, restorer: InpainterRestorer, tracks: Sequence[Track]):
        """What TensorBoard shows and plays: five seconds of a track with gaps and restored.

        Args:
            restorer: the restorer of this trainer's network.
            tracks: at least one.

        Returns:
            Pictures, name to uint8 `(height, width, 3)`, and sounds, name to float32 `(samples,)`.
        """
        seconds = 5.0
        track = tracks[0]
        waveform, rate = read_frames(track, frames=int(seconds * track.sample_rate))
        original = resample(waveform.mean(axis=0, keepdims=True), rate, restorer.sample_rate)
        # The share is what a damaged recording may have, less than the paper's patches lose.
        kept = waveform_gap_mask(
            original.shape[1], restorer.sample_rate, seed=0, shares=DAMAGED_SHARES
        )
        degraded = original * kept
        lost = np.where(kept, original, np.float32(np.nan))
        padding = -original.shape[1] % restorer.grid_samples
        padded = np.pad(lost, [(0, 0), (0, padding)])
        restored = ops.convert_to_numpy(restorer.graph(padded))[:, : original.shape[1]]
        sounds = {"degraded": degraded[0], "restored": restored[0], "original": original[0]}
        picture = spectrogram_picture(sounds, restorer.sample_rate)
        return {"spectrogram": picture}, sounds

    def get_config(self):
        """The constructor's arguments."""
        return {
            "name": self.name,
            "network": keras.saving.serialize_keras_object(self.network),
            "learning_rate": self.learning_rate,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "loss": self.patch_loss,
            "root_weight": self.root_weight,
            "batch_norm": self.batch_norm,
            "learning_rate_schedule": self.learning_rate_schedule,
            "total_steps": self.total_steps,
        }

    @classmethod
    def from_config(cls, config):
        """The object of a `get_config`."""
        network = keras.saving.deserialize_keras_object(config.pop("network"))
        return cls(network, **config)


class InpainterExamples:
    """The trainer's batches: patches with gaps and without, normalised as the restorer does it.

    Args:
        restorer: the `InpainterRestorer` whose analysis and scales are used.
        gaps: A gap kind or several that take turns: `frames`, `window`, `bands`, `waveform`.
        share_lost: Least and largest share of a patch that is lost.
        patches_per_excerpt: Neighbouring patches cut from one place of one track.
        order: `"random"` or `"file"`.
        waveform_share_lost: The same of the samples of `waveform` gaps; defaults to `share_lost`.
    """

    def __init__(
        self,
        restorer: InpainterRestorer,
        gaps: str | Sequence[str] = "frames",
        share_lost: Sequence[float] = (0.1, 0.7),
        patches_per_excerpt: int = 2,
        order: str = "random",
        waveform_share_lost: Sequence[float] | None = None,
    ):
        geometry = PatchGeometry(
            restorer.spectrogram_rate,
            restorer.frame_length,
            restorer.hop_length,
            bins=restorer.fft_length // 2 + 1,
        )
        self.restorer = restorer
        self.excerpts = GapExamples(
            gaps,
            share_lost,
            patches_per_excerpt,
            order,
            geometry,
            waveform_share_lost=waveform_share_lost,
        )

    def count(self, tracks) -> int:
        """How many patches the tracks hold."""
        return self.excerpts.excerpts_in(tracks) * self.excerpts.patches_per_excerpt

    def dataset(self, tracks, batch_size: int, seed: int, start: int = 0, batches=None):
        """Batches `(degraded, target)`, float32 `(batch_size, frames, bins, 1)` each."""
        batched = self.excerpts.dataset(tracks, batch_size, seed, start, batches)
        return batched.map(self._pair, num_parallel_calls=tf.data.AUTOTUNE)

    def _pair(self, waveforms, masks):
        restorer = self.restorer
        magnitude = restorer.patch_magnitudes(waveforms, self.excerpts.geometry.frames)
        magnitude = tf.ensure_shape(magnitude, masks.shape[:-1])
        degraded = restorer.normalise(magnitude * masks[..., 0])
        return degraded, restorer.normalise(magnitude, restorer.target_scale)
