"""How the inception networks are trained: first the autoencoder, then the generator.

Sifringer, Stegmüller & Alahi, "Audio Enhancing with Wasserstein GANs" (EPFL, 2020), in two stages.
The autoencoder learns to give windows back, inputs and targets separately and in turns, and is
frozen. Then the generator learns with one of four losses, or any other weighting of their terms:

| equation | loss                                                                          |
|----------|-------------------------------------------------------------------------------|
| 20       | time: mean squared error of the samples                                       |
| 21       | time + 10 x frequency: mean squared error of the power spectrograms           |
| 22       | time + 0.1 x autoencoder: mean squared error of the content embeddings        |
| 23       | time + adversarial: what a Wasserstein critic with gradient penalty says      |

Everything by Adam with a learning rate of 1e-3 and its usual moments, in batches of 64 windows.

Where the authors' code differs from the paper, the paper is followed here:

- The paper takes the gradient penalty at the generated windows. The code takes it between the
  degraded and the generated ones, and has it switched off by default, with every weight of the
  critic clipped to 0.01 instead. `penalty_at="between"` is a third way, that of Gulrajani et al.
  (2017): at random places between the originals and the generated.
- The code halves the learning rate every 3000 steps.
- The code leaves dropout on in the critic for its first hundred steps only, by mistake; here it is
  on whenever something is trained.
- With several critic steps, the code updates the generator on the first of as many batches; here
  the critic makes its steps on each batch, against the same generated windows, before the
  generator's.

Beside the paper's there are two more terms, of weight 0 unless a preset asks for them, as the one
that extends bands does: the log-spectral loss and the neurogram similarity. Squared errors of what
has unknown phases are smallest where nothing is made, and powers of a treble are too small to weigh
anything beside those of a bass. With them the model that is kept is the one with the least of both.

Where the paper is silent:

- The adversarial loss has the weight of the authors' code, 1e-4.
- Spectrograms are of Hann windows of 512 samples with a hop of 128, those of its log-spectral
  distance. Powers are divided by the window's energy, so that noise has in every bin the power that
  it has as a waveform, and a weight of 10 is not one of millions.
- The model that is kept is the one with the best SNR of validation windows, the autoencoder with
  the smallest loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import ops

from tfrestore.data.bandwidth_pairs import BandwidthPairs
from tfrestore.data.midi_pairs import MidiPairs
from tfrestore.data.mp3_pairs import LISTENING_SECONDS, Mp3Pairs
from tfrestore.data.tracks import Track
from tfrestore.errors import UsageError
from tfrestore.layers.stft import STFT
from tfrestore.losses.agreement import agreeing_above
from tfrestore.losses.critic_slope import gradient_penalty
from tfrestore.losses.log_spectrum import log_spectral_loss
from tfrestore.losses.neurogram_similarity import neurogram_similarity_loss
from tfrestore.losses.non_saturating import (
    cross_entropy_discriminator_loss,
    non_saturating_generator_loss,
)
from tfrestore.losses.wasserstein import wasserstein_critic_loss, wasserstein_generator_loss
from tfrestore.metrics.keras_metrics import SNR, Log10LSD
from tfrestore.metrics.short_time import LOG10_LSD_STFT
from tfrestore.models.inception_wgan.autoencoder_recipe import (
    InceptionAutoencoderTrainer,
    WindowTrainer,
    squared_error,
)
from tfrestore.models.inception_wgan.discriminator import InceptionDiscriminator
from tfrestore.models.inception_wgan.network import (
    InceptionAutoencoder,
    InceptionGenerator,
)
from tfrestore.models.inception_wgan.restorer import InceptionRestorer
from tfrestore.models.pair_examples import PairExamples
from tfrestore.training.distribution import global_uniform, mean_over_replicas

# What a bin's power is divided by: the energy of the spectrogram's Hann window.
_WINDOW_ENERGY = 3 / 8 * LOG10_LSD_STFT[0]

ADVERSARIAL_LOSSES = {
    "wasserstein": (wasserstein_critic_loss, wasserstein_generator_loss),
    "non_saturating": (cross_entropy_discriminator_loss, non_saturating_generator_loss),
}

#: The terms of the loss: the paper's four and two more.
TERMS = (
    "time",
    "frequency",
    "autoencoder",
    "adversarial",
    "log_spectral",
    "neurogram_similarity",
)

#: Where the gradient penalty is taken.
PENALTY_PLACES = ("generated", "between")


@keras.saving.register_keras_serializable(package="tfrestore")
class InceptionWGANTrainer(WindowTrainer):
    """Trains an `InceptionGenerator`: the recipe's second stage, and its first where it is needed.

    Batches are tuples `(degraded, original)` of windows, each `(batch, samples)` float32, or
    triples with the bandwidth in Hz besides, float32 `(batch,)`, above which the original says
    nothing: no term sees what is there. A step is `critic_steps` steps of the critic, where there
    is one, and one of the generator. Works with `fit`, and with `strategy.run(trainer.train_step,
    args=(batch,))`. The critic, the autoencoder and their terms are there only where their weight
    is above 0.

    Args:
        network: the `InceptionGenerator` to train.
        restorer: its `InceptionRestorer`, whose windows the critic judges; by default one with its
            own defaults.
        critic: the `InceptionDiscriminator`; by default one for the restorer's windows, with the
            generator's filters and dropout.
        autoencoder: folder of a trained `InceptionAutoencoder`, or the network itself. `None`
            trains one in the first `autoencoder_steps`.
        autoencoder_steps: int. Steps of the first stage. Defaults to `0`.
        autoencoder_filters: int. Filters of the autoencoder that is trained, which has the
            generator's dropout. Defaults to `64`.
        time_weight: float. Of the mean squared error of the samples. Defaults to `1.0`.
        frequency_weight: float. Of that of the power spectrograms; the paper's is 10. Defaults to
            `0.0`.
        autoencoder_weight: float. Of that of the embeddings; the paper's is 0.1. Defaults to `0.0`.
        adversarial_weight: float. Of what the critic says. Defaults to `0.0`.
        log_spectral_weight: float. Of the log-spectral loss, per dB. Defaults to the paper's
            `0.0`.
        neurogram_similarity_weight: float. Of the neurogram similarity's loss. Defaults to the
            paper's `0.0`.
        adversarial_loss: `"wasserstein"`, or `"non_saturating"`, the vanilla GAN of eq. 2 and 4.
            Defaults to `"wasserstein"`.
        critic_steps: int. Steps of the critic per step of the generator. Defaults to `1`.
        gradient_penalty_weight: float. Without a Wasserstein loss there is no penalty. Defaults to
            `10.0`.
        penalty_at: `"generated"` or `"between"`; see the module. Defaults to `"generated"`.
        learning_rate: float. Of the generator's and the autoencoder's Adam. Defaults to `1e-3`.
        critic_learning_rate: float. Of the critic's Adam. Defaults to `1e-3`.
        beta_1: float. Of all. Defaults to `0.9`.
        beta_2: float. Defaults to `0.999`.
        epsilon: float. Defaults to `1e-7`.
        learning_rate_decay: float. What the generator's and the critic's learning rates are
            multiplied by every epoch; the authors' code halves them every 3000 steps. Defaults to
            the paper's `1.0`.
        steps_per_epoch: int. Steps that count as an epoch; the training loop tells its own.
            Defaults to `100`.
        noise_seed: int. Decides the places of the penalty. Defaults to `0`.

    Raises:
        ValueError: if an argument is out of its range, if all weights are 0, or if there is a
            weight for the embeddings of an autoencoder that is neither given nor trained.
        UsageError: if `autoencoder` is a folder that holds no trained network.
    """

    #: What a better model has more of, or less where `lower_is_better`; validation metrics are
    #: prefixed with `val_`. Where there are terms beside the paper's it is these terms' loss.
    monitor = "snr"

    def __init__(
        self,
        network: InceptionGenerator,
        restorer: InceptionRestorer | None = None,
        critic: InceptionDiscriminator | None = None,
        autoencoder: str | None = None,
        autoencoder_steps: int = 0,
        autoencoder_filters: int = 64,
        time_weight: float = 1.0,
        frequency_weight: float = 0.0,
        autoencoder_weight: float = 0.0,
        adversarial_weight: float = 0.0,
        log_spectral_weight: float = 0.0,
        neurogram_similarity_weight: float = 0.0,
        adversarial_loss: str = "wasserstein",
        critic_steps: int = 1,
        gradient_penalty_weight: float = 10.0,
        penalty_at: str = "generated",
        learning_rate: float = 1e-3,
        critic_learning_rate: float = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        learning_rate_decay: float = 1.0,
        steps_per_epoch: int = 100,
        noise_seed: int = 0,
        **kwargs,
    ):
        weights = {
            "time_weight": time_weight,
            "frequency_weight": frequency_weight,
            "autoencoder_weight": autoencoder_weight,
            "adversarial_weight": adversarial_weight,
            "log_spectral_weight": log_spectral_weight,
            "neurogram_similarity_weight": neurogram_similarity_weight,
            "gradient_penalty_weight": gradient_penalty_weight,
        }
        for name, value in weights.items():
            if value < 0:
                raise ValueError(f"Argument `{name}` must not be below 0. Received: {name}={value}")
        if not any(weights[f"{term}_weight"] for term in TERMS):
            raise ValueError("All weights of the loss are 0; give at least one a value.")
        for name, value, known in (
            ("adversarial_loss", adversarial_loss, tuple(ADVERSARIAL_LOSSES)),
            ("penalty_at", penalty_at, PENALTY_PLACES),
        ):
            if value not in known:
                raise ValueError(
                    f"Argument `{name}` must be one of {known}. Received: {name}={value!r}"
                )
        if critic_steps < 1:
            raise ValueError(
                f"Argument `critic_steps` must be at least 1. Received: critic_steps={critic_steps}"
            )
        if autoencoder_weight and autoencoder is None and autoencoder_steps < 1:
            raise ValueError(
                "The loss has a weight for the autoencoder, but there is none: name the folder of "
                "a trained one as `autoencoder`, or give `autoencoder_steps` to train one first."
            )
        adam = (learning_rate, beta_1, beta_2, epsilon, learning_rate_decay, steps_per_epoch)
        super().__init__(network, restorer, *adam, **kwargs)
        for name, value in weights.items():
            setattr(self, name, value)
        self.autoencoder_steps = autoencoder_steps
        self.autoencoder_filters = autoencoder_filters
        self.adversarial_loss = adversarial_loss
        self.critic_steps = critic_steps
        self.penalty_at = penalty_at
        self.critic_learning_rate = critic_learning_rate
        self.noise_seed = noise_seed
        self.stft = (
            STFT(*LOG10_LSD_STFT[:2], padding=LOG10_LSD_STFT[2]) if frequency_weight else None
        )
        self._make_autoencoder(autoencoder)
        self._make_critic(critic)
        self._make_metrics()

    def _make_autoencoder(self, autoencoder) -> None:
        self.autoencoder = self.autoencoder_trainer = None
        if not self.autoencoder_weight:
            return
        if autoencoder is None:
            autoencoder = InceptionAutoencoder(
                filters=self.autoencoder_filters,
                dropout=self.network.dropout,
                dtype=self.network.dtype_policy,
            )
            self.autoencoder_trainer = InceptionAutoencoderTrainer(
                autoencoder,
                InceptionRestorer(autoencoder, window_samples=self.restorer.window_samples),
                *(self.learning_rate, self.beta_1, self.beta_2, self.epsilon),
                name="autoencoder_stage",
            )
        elif not isinstance(autoencoder, keras.Model):
            autoencoder = InceptionAutoencoder.from_preset(
                autoencoder, dtype=self.network.dtype_policy
            )
        self.autoencoder = autoencoder
        autoencoder.check_window(self.restorer.window_samples)

    def _make_critic(self, critic) -> None:
        self.critic = self.critic_optimizer = None
        if not self.adversarial_weight:
            return
        self.critic = critic or InceptionDiscriminator(
            self.restorer.window_samples,
            filters=self.network.filters,
            dropout=self.network.dropout,
            # Its modules must not start as the generator's.
            seed=self.network.seed + 1,
            dtype=self.network.dtype_policy,
        )
        self.critic_optimizer = self.make_adam(self.critic_learning_rate)
        if self.dtype_policy.name == "mixed_float16":
            self.critic_optimizer = keras.optimizers.LossScaleOptimizer(self.critic_optimizer)
        self.critic_optimizer.build(self.critic.trainable_variables)

    def _make_metrics(self) -> None:
        names = ["generator_loss"]
        names += [f"{term}_loss" for term in TERMS if getattr(self, f"{term}_weight")]
        names += ["generator_gradient_norm"]
        if self.critic is not None:
            names += ["critic_loss", "critic_gradient_norm"]
            names += ["gradient_penalty"] * (self.adversarial_loss == "wasserstein")
        self._means = {name: keras.metrics.Mean(name=name) for name in names}
        self._scores = [SNR(), SNR(name="input_snr"), Log10LSD(), Log10LSD(name="input_log10_lsd")]
        self.lower_is_better = bool(self.log_spectral_weight or self.neurogram_similarity_weight)
        self.monitor = "loss" if self.lower_is_better else "snr"
        self._validation_loss = keras.metrics.Mean(name="loss") if self.lower_is_better else None

    @property
    def training_metrics(self):
        """Means of what `train_step` knows, over the windows since they were reset."""
        return list(self._means.values())

    @property
    def validation_metrics(self):
        """The paper's two scores of what is restored, and of what it is restored from."""
        return [*self._scores, self._validation_loss] if self._validation_loss else [*self._scores]

    @property
    def metrics(self):
        """Those of both kinds of step, and of the first stage."""
        first = self.autoencoder_trainer.metrics if self.autoencoder_trainer else []
        return [*self.training_metrics, *self.validation_metrics, *first]

    def stage_at(self, step: int):
        """The trainer whose `train_step` is called after so many steps of a run."""
        if self.autoencoder_trainer is not None and step < self.autoencoder_steps:
            return self.autoencoder_trainer
        return self

    def train_step(self, data):
        """Steps of the critic and one of the generator on `(degraded, original)`.

        Returns:
            The training metrics so far.
        """
        degraded, original, *bandwidth = data
        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            generated = self.network(degraded, training=True)
            generated = self._comparable(original, generated, bandwidth)
        if self.critic is not None:
            for number in range(self.critic_steps):
                self._critic_step(original, generated, number)
        with tape:
            terms = self._terms(original, generated)
            losses = self._weighted(terms)
            scaled = self.optimizer.scale_loss(mean_over_replicas(losses))
        norm = self.descend(self.optimizer, tape.gradient(scaled, variables), variables)
        self._track(generator_loss=losses, **{f"{name}_loss": term for name, term in terms.items()})
        self._track_norm("generator_gradient_norm", norm)
        return {metric.name: metric.result() for metric in self.training_metrics}

    def _comparable(self, original, generated, bandwidth):
        """What of generated windows can be compared with originals of such a bandwidth."""
        if not bandwidth:
            return generated
        return agreeing_above(bandwidth[0], original, generated, self.restorer.sample_rate)

    def _terms(self, original, generated) -> dict:
        """The terms of the loss that have a weight, `(batch,)` each."""
        terms = {}
        if self.time_weight:
            terms["time"] = squared_error(original, generated)
        if self.frequency_weight:
            terms["frequency"] = squared_error(*map(self._power, (original, generated)))
        if self.autoencoder_weight:
            terms["autoencoder"] = squared_error(
                *map(self.autoencoder.embed, (original, generated))
            )
        if self.adversarial_weight:
            values = self.critic(generated, training=True)
            terms["adversarial"] = ADVERSARIAL_LOSSES[self.adversarial_loss][1](values)
        return terms | self._heard_terms(original, generated)

    def _heard_terms(self, original, generated) -> dict:
        """Those of the terms beside the paper's that have a weight, `(batch,)` each."""
        terms = {}
        if self.log_spectral_weight:
            terms["log_spectral"] = log_spectral_loss(original, generated)
        if self.neurogram_similarity_weight:
            terms["neurogram_similarity"] = neurogram_similarity_loss(
                original, generated, self.restorer.sample_rate
            )
        return terms

    def _weighted(self, terms: dict):
        return sum(getattr(self, f"{name}_weight") * term for name, term in terms.items())

    def _power(self, waveform):
        """The power spectrogram of windows, `(batch, frames, bins)`; that of noise is its power."""
        real, imaginary = self.stft(waveform)
        return (ops.square(real) + ops.square(imaginary)) / _WINDOW_ENERGY

    def _critic_step(self, original, generated, number: int) -> None:
        """One step of Adam for the critic; the generator is held."""
        variables = self.critic.trainable_variables
        with tf.GradientTape() as tape:
            values = self.critic(tf.concat([original, generated], axis=0), training=True)
            losses = ADVERSARIAL_LOSSES[self.adversarial_loss][0](*tf.split(values, 2))
            if self.adversarial_loss == "wasserstein":
                penalty = self._penalty(original, generated, number)
                losses += self.gradient_penalty_weight * penalty
                self._track(gradient_penalty=penalty)
            scaled = self.critic_optimizer.scale_loss(mean_over_replicas(losses))
        norm = self.descend(self.critic_optimizer, tape.gradient(scaled, variables), variables)
        self._track(critic_loss=losses)
        self._track_norm("critic_gradient_norm", norm)

    def _penalty(self, original, generated, number: int):
        examples = original.shape[0]
        if self.penalty_at == "generated":
            share = tf.zeros(examples)
        else:
            step = tf.cast(tf.convert_to_tensor(self.optimizer.iterations), tf.int64)
            seed = (tf.constant(self.noise_seed, tf.int64), step * self.critic_steps + number)
            share = global_uniform(examples, seed)
        return gradient_penalty(
            lambda windows: self.critic(windows, training=True), original, generated, share
        )

    def test_step(self, data):
        """Restores a batch `(degraded, original)` of windows and scores them.

        Returns:
            The validation metrics so far.
        """
        degraded, original, *bandwidth = data
        restored = self.network(degraded, training=False)
        for metric, estimate in zip(
            self._scores, (restored, degraded, restored, degraded), strict=True
        ):
            metric.update_state(original, estimate)
        if self._validation_loss is not None:
            heard = self._comparable(original, restored, bandwidth)
            losses = self._weighted(self._heard_terms(original, heard))
            self._validation_loss.update_state(losses)
        return {metric.name: metric.result() for metric in self.validation_metrics}

    def _track(self, **values) -> None:
        for name, value in values.items():
            self._means[name].update_state(value)

    def _track_norm(self, name: str, norm) -> None:
        # Where float16 overflows, there is no norm, and no step: Keras makes the scale smaller.
        finite = tf.math.is_finite(norm)
        self._means[name].update_state(tf.where(finite, norm, 0.0), tf.cast(finite, tf.float32))

    def get_config(self):
        """The constructor's arguments."""
        parts = {
            name: keras.saving.serialize_keras_object(part)
            for name, part in (("critic", self.critic), ("autoencoder", self.autoencoder))
            if part is not None and not (name == "autoencoder" and self.autoencoder_trainer)
        }
        return {
            **super().get_config(),
            **parts,
            "autoencoder_steps": self.autoencoder_steps,
            "autoencoder_filters": self.autoencoder_filters,
            "time_weight": self.time_weight,
            "frequency_weight": self.frequency_weight,
            "autoencoder_weight": self.autoencoder_weight,
            "adversarial_weight": self.adversarial_weight,
            "log_spectral_weight": self.log_spectral_weight,
            "neurogram_similarity_weight": self.neurogram_similarity_weight,
            "adversarial_loss": self.adversarial_loss,
            "critic_steps": self.critic_steps,
            "gradient_penalty_weight": self.gradient_penalty_weight,
            "penalty_at": self.penalty_at,
            "critic_learning_rate": self.critic_learning_rate,
            "noise_seed": self.noise_seed,
        }


class InceptionExamples(PairExamples):
    """The trainers' batches: windows of music that was degraded, and as it was.

    Args:
        restorer: the `InceptionRestorer` that is trained, for its windows and its sample rate.
        kind: `"midi"`: a MIDI file played by two instruments; `"mp3"`: music and its MP3;
            `"bandwidth"`: music and what is left of it at a fraction of its sampling rate. Defaults
            to the paper's `"midi"`.
        input: Of `"midi"`, as all down to `chorus`, which are those of `InstrumentSwap`: the
            instrument that is heard.
        target: The instrument that shall be heard.
        sound_font: Path of a SoundFont.
        drums: Whether drums are played.
        channel: Which of the synthesizer's channels is taken.
        volume: Controller 7.
        reverb: Controller 91.
        chorus: Controller 93.
        kbit_per_second: Of `"mp3"`: the bit rate, or several of which each window has one. Defaults
            to `32`.
        factor: Of `"bandwidth"`: by how much the sampling rate is divided, 2, 3, 4 or 6, or several
            of which each window has one. Defaults to `2`.
        bits: Of `"bandwidth"`: bits per sample of what is left, 16, 24 or 32, or several. Defaults
            to `32`.
        order: `"random"` or `"file"`.
        mask_above_bandwidth: Of all but `"midi"`: whether what the music's own encoder cut off is
            no truth to learn: the losses leave out what is above the edge of a track's spectrum.
            Defaults to `False`.

    Raises:
        UsageError: if an argument is none of those possible.
    """

    def __init__(
        self,
        restorer: InceptionRestorer,
        kind: str = "midi",
        input: int | str = 0,
        target: int | str = 4,
        sound_font: str | None = None,
        drums: bool = False,
        channel: str = "left",
        volume: int = 64,
        reverb: int = 0,
        chorus: int = 0,
        kbit_per_second: int | Sequence[int] = 32,
        factor: int | Sequence[int] = 2,
        bits: int | Sequence[int] = 32,
        order: str = "random",
        mask_above_bandwidth: bool = False,
    ):
        kinds = {
            "midi": (
                MidiPairs,
                {
                    "input": input,
                    "target": target,
                    "sound_font": sound_font,
                    "drums": drums,
                    "channel": channel,
                    "volume": volume,
                    "reverb": reverb,
                    "chorus": chorus,
                },
            ),
            "mp3": (Mp3Pairs, {"kbit_per_second": kbit_per_second}),
            "bandwidth": (BandwidthPairs, {"factor": factor, "bits": bits}),
        }
        if kind not in kinds:
            raise UsageError(f"data.kind is {kind!r}: choose one of {', '.join(kinds)}.")
        pairs, arguments = kinds[kind]
        if kind == "midi":
            if mask_above_bandwidth:
                raise UsageError(
                    "data.mask_above_bandwidth is for recordings: no encoder cut off what is "
                    "played from MIDI; leave it out."
                )
            if restorer.sample_rate != MidiPairs.sample_rate:
                raise UsageError(
                    f"restorer.sample_rate is {restorer.sample_rate}, but instruments are played "
                    f"at {MidiPairs.sample_rate} Hz; leave it out."
                )
        else:
            arguments["sample_rate"] = restorer.sample_rate
            arguments["with_bandwidth"] = mask_above_bandwidth
        super().__init__(pairs(samples=restorer.window_samples, order=order, **arguments))

    def listen(self, restorer: InceptionRestorer, tracks: Sequence[Track]):
        """Eight seconds degraded, as they were, and restored."""
        rate = restorer.sample_rate
        longer = dataclasses.replace(self.pairs, samples=LISTENING_SECONDS * rate)
        middle = len(longer.begins(tracks[0])) // 2
        degraded, original = longer.make(tracks[0], middle, longer.variants[0])
        restored = restorer.restore(degraded, rate)
        return {"degraded": degraded, "original": original, "restored": restored}
