"""How the frequency-aggregation GAN is trained: as a Wasserstein GAN that keeps its variety.

Lattner & Nistal, "Stochastic Restoration of Heavily Compressed Musical Audio using Generative
Adversarial Networks" (Electronics 2021): the Wasserstein losses (eq. 1) with gradient penalty and
drift penalty; for generators with noise, the mode-collapse loss (eq. 3) on frequency profiles
(power 1.3) and on rhythm profiles (power 1.6) of two restorations of one excerpt; Adam with a
learning rate of 1e-3, batches of 12 excerpts of 4 s, 40,000 steps.

Where the text at hand is silent:

- The recipe is that of Karras et al., "Progressive growing of GANs" (2018), where the drift penalty
  comes from: a gradient penalty of weight 10, a drift penalty of weight 0.001, one critic step per
  generator step, and Adam with the moments 0 and 0.99 and an equalized learning rate. Without that,
  1e-3 is a seventh of Conv4's initial weights at every step, and the critic's gradients explode.
- The generator that is scored, kept and used is a running average of the one that is trained
  (`training.weight_average`), as Karras et al.'s is: the two players circle around each other, and
  so do the levels of what a generator makes from one hundred steps to the next.
- With several critic steps, each sees the same excerpts and new noise.
- The critic's value of an excerpt is the mean of its values of the frames. Its slope is that of
  this mean by all of the excerpt that the generator makes; the MP3 beside it is held.
- Distances between whole excerpts are in the tens, since of two noises of the right level none is
  the other. For a distance d the critic's best slope under a gradient penalty of weight w is
  1 + d / (2 w), and its estimate is d times that at most, which small networks' critics come near.
  sr_gan_tiny has w = 20, two critic steps and half the critic's learning rate for the generator.
  Measured: its estimate is 32 after 200 steps, 102 after 1,000 and level at 130 from 1,600 on; with
  w = 10, three critic steps and a third of the rate it was 160 after 180; with w = 10, one step,
  equal rates and Adam's first moment at 0.5 it fell to 0 within 200.
- The drift penalty is on each frame's value.
- Both restorations are judged by the critic and both share the generator's loss.
- Profiles are of square-root magnitudes, what the critic sees too: plain ones would look for the
  spread where music is loudest, where an MP3 is right already. Each of the two losses has weight 1.
- The small presets have a log-spectral loss besides, which is not the paper's: a few hundred steps
  of a critic do not teach a generator how loud the treble of this music is. Above a track's own
  bandwidth, where Ogg Vorbis cut off what there was, neither critic nor loss see anything
  (`mask_above_bandwidth`). A generator with fresh weights then has few tracks to learn the highest
  bands from, and fills them too loud; so the shipped ones began with the weights of sr_gan_tiny,
  which has seen the cut-offs.
- The model that is kept is the one with the smallest log-spectral distance (eq. 5) of restored
  validation excerpts, each with a noise vector of its own that never changes. The losses of a GAN
  do not say how good it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfrestore.data.mp3_pairs import PAPER_SAMPLES, Mp3Pairs, listening_pair
from tfrestore.data.tracks import Track
from tfrestore.errors import UsageError
from tfrestore.layers.square_root_magnitude import square_root_magnitude
from tfrestore.losses.agreement import agreeing_above, spectra_agreeing_above
from tfrestore.losses.critic_slope import gradient_penalty
from tfrestore.losses.drift import drift_penalty
from tfrestore.losses.log_spectrum import log_spectral_loss
from tfrestore.losses.profiles import (
    distance,
    frequency_profile,
    mode_collapse_loss,
    rhythm_profile,
)
from tfrestore.losses.wasserstein import wasserstein_critic_loss, wasserstein_generator_loss
from tfrestore.metrics.keras_metrics import LSD, SNR
from tfrestore.models.pair_examples import PairExamples
from tfrestore.models.sr_gan.discriminator import FrequencyAggregationCritic
from tfrestore.models.sr_gan.network import FrequencyAggregationGenerator
from tfrestore.models.sr_gan.restorer import SRGANRestorer
from tfrestore.training.distribution import (
    apply_summed_gradients,
    global_normal,
    global_uniform,
    mean_over_replicas,
    sum_over_replicas,
)
from tfrestore.training.equalized_adam import EqualizedAdam
from tfrestore.training.learning_rate import scheduled

#: Restorations of one excerpt that TensorBoard shows, as the paper's Figure 3 does.
CANDIDATES_SHOWN = 3

# Which random numbers of a step are meant. Those of the test step belong to no step.
_VALIDATION = (-1, -2)


@keras.saving.register_keras_serializable(package="tfrestore")
class SRGANTrainer(keras.Model):
    """Trains a `FrequencyAggregationGenerator` against a critic, on pairs of music and its MP3.

    Batches are tuples `(degraded, original)` of waveforms, each `(batch, samples)` float32, whose
    spectra have more frames than the generator loses, or triples with the bandwidth in Hz besides,
    float32 `(batch,)`, above which the original says nothing: neither the critic nor log-spectral
    distances see what is there. A step is `critic_steps` steps of the critic and one of the
    generator. Works with `fit`, and with `strategy.run(trainer.train_step, args=(batch,))`.

    Random numbers are functions of `noise_seed`, the number of the step and the example's place in
    the global batch: a run that was stopped goes on with the same, and replicas draw those of one
    device.

    Args:
        network: the generator to train. With `noise_size=0` there is one restoration per excerpt
            and there are no losses on profiles.
        restorer: the `SRGANRestorer` whose spectra are used; by default one of the network with its
            own defaults.
        critic: the `FrequencyAggregationCritic`; by default one of the generator's sizes.
        learning_rate: float. Of the generator's Adam. Defaults to `1e-3`.
        critic_learning_rate: float. Of the critic's Adam. Defaults to `1e-3`.
        learning_rate_schedule: `"constant"` rates, the paper's, or `"cosine"`, which takes both to
            zero at `total_steps` along half a period. Defaults to `"constant"`.
        total_steps: int. Steps that are trained in all; only `"cosine"` needs it.
        equalized_learning_rate: bool. Whether the learning rate of a kernel is relative to its
            initial size (`EqualizedAdam`). Defaults to `True`.
        beta_1: float. Of both. Defaults to `0.0`.
        beta_2: float. Defaults to `0.99`.
        epsilon: float. Defaults to `1e-8`.
        critic_steps: int. Steps of the critic per step of the generator. Defaults to `1`.
        gradient_penalty_weight: float. Defaults to `10.0`.
        drift_weight: float. Defaults to `0.001`.
        frequency_profile_weight: float. Of the mode-collapse loss on frequency profiles. Defaults
            to `1.0`.
        rhythm_profile_weight: float. Of the one on rhythm profiles. Defaults to `1.0`.
        log_spectral_weight: float. Of the log-spectral distance, in decibels, of what was made to
            the original. Defaults to `0.0`, the paper's.
        noise_seed: int. Defaults to `0`.

    Raises:
        ValueError: if `critic_steps` is below 1, if `learning_rate_schedule` is none of those
            possible, or if it needs `total_steps` and there are none.
    """

    #: What a better model has less of; validation metrics are prefixed with `val_`.
    monitor = "lsd"
    lower_is_better = True

    def __init__(
        self,
        network: FrequencyAggregationGenerator,
        restorer: SRGANRestorer | None = None,
        critic: FrequencyAggregationCritic | None = None,
        learning_rate: float = 1e-3,
        critic_learning_rate: float = 1e-3,
        learning_rate_schedule: str = "constant",
        total_steps: int | None = None,
        equalized_learning_rate: bool = True,
        beta_1: float = 0.0,
        beta_2: float = 0.99,
        epsilon: float = 1e-8,
        critic_steps: int = 1,
        gradient_penalty_weight: float = 10.0,
        drift_weight: float = 0.001,
        frequency_profile_weight: float = 1.0,
        rhythm_profile_weight: float = 1.0,
        log_spectral_weight: float = 0.0,
        noise_seed: int = 0,
        **kwargs,
    ):
        if critic_steps < 1:
            raise ValueError(
                f"Argument `critic_steps` must be at least 1. Received: critic_steps={critic_steps}"
            )
        super().__init__(dtype=network.dtype_policy, **kwargs)
        self.network = network
        self.restorer = restorer or SRGANRestorer(network)
        self.critic = critic or FrequencyAggregationCritic(
            bins=network.bins,
            filters=network.filters,
            aggregation=network.aggregation,
            maps=network.maps,
            # Its convolutions must not start as the generator's.
            seed=network.seed + 1,
            dtype=network.dtype_policy,
        )
        self.learning_rate = learning_rate
        self.critic_learning_rate = critic_learning_rate
        self.learning_rate_schedule = learning_rate_schedule
        self.total_steps = total_steps
        self.equalized_learning_rate = equalized_learning_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.critic_steps = critic_steps
        self.gradient_penalty_weight = gradient_penalty_weight
        self.drift_weight = drift_weight
        self.frequency_profile_weight = frequency_profile_weight
        self.rhythm_profile_weight = rhythm_profile_weight
        self.log_spectral_weight = log_spectral_weight
        self.noise_seed = noise_seed

        spreads = ["frequency_spread", "rhythm_spread"]
        profile_losses = ["frequency_profile_loss", "rhythm_profile_loss"]
        names = [
            *("wasserstein_estimate", "critic_loss", "generator_loss", "gradient_penalty"),
            *("drift_penalty", "critic_gradient_norm", "generator_gradient_norm"),
            *(profile_losses + spreads) * self.is_stochastic,
            *["log_spectral_loss"] * (log_spectral_weight > 0),
        ]
        self._means = {name: keras.metrics.Mean(name=name) for name in names}
        self._distances = {"lsd": LSD(), "mp3_lsd": LSD(name="mp3_lsd"), "snr": SNR()}
        self._spreads = {name: keras.metrics.Mean(name=name) for name in spreads}
        self.built = True
        self._compile()

    def _compile(self):
        adam = EqualizedAdam if self.equalized_learning_rate else keras.optimizers.Adam
        moments = (self.beta_1, self.beta_2, self.epsilon)

        # Compiling wraps its optimizer where mixed_float16 needs the loss scaled. The state of both
        # exists from here on, so that a checkpoint can be restored before the first step.
        schedule, steps = self.learning_rate_schedule, self.total_steps
        rate = scheduled(self.learning_rate, schedule, steps)
        self.compile(optimizer=adam(rate, *moments), loss=None, jit_compile=False)
        self.optimizer.build(self.network.trainable_variables)
        rate = scheduled(self.critic_learning_rate, schedule, steps and steps * self.critic_steps)
        self.critic_optimizer = adam(rate, *moments)
        if self.dtype_policy.name == "mixed_float16":
            self.critic_optimizer = keras.optimizers.LossScaleOptimizer(self.critic_optimizer)
        self.critic_optimizer.build(self.critic.trainable_variables)

    @property
    def is_stochastic(self) -> bool:
        """Whether the generator takes noise."""
        return self.network.noise_size > 0

    @property
    def training_metrics(self):
        """Means of what `train_step` knows, over the excerpts since they were reset."""
        return list(self._means.values())

    @property
    def validation_metrics(self):
        """How good restorations are, and how far two of one excerpt lie apart."""
        return [*self._distances.values(), *self._spreads.values()]

    @property
    def metrics(self):
        """Those of both kinds of step."""
        return [*self.training_metrics, *self.validation_metrics]

    def call(self, inputs, training=False):
        """Restores waveforms `(batch, samples)`, each in one version."""
        return self.restorer(inputs)

    def train_step(self, data):
        """Steps of the critic and one of the generator on `(degraded, original)`.

        Returns:
            The training metrics so far.
        """
        degraded, original = (self._spectrum(waveform) for waveform in data[:2])
        context = self.network.context_frames
        condition, real = (x[:, context:-context] for x in (degraded, original))
        for number in range(self.critic_steps):
            self._critic_step(degraded, condition, real, data[2:], number)
        self._generator_step(degraded, condition, real, data[2:])
        return {metric.name: metric.result() for metric in self.training_metrics}

    def _critic_step(self, degraded, condition, real, bandwidth, number: int) -> None:
        """One step of Adam for the critic; the generator is held."""
        batch = degraded.shape[0]
        noise_seed, share_seed = (self._seed(2 * number + i) for i in range(2))
        generated = self._generate(
            degraded, global_normal(batch, self.network.noise_size, noise_seed)
        )
        generated = self._comparable(real, generated, bandwidth)
        share = global_uniform(batch, share_seed)
        variables = self.critic.trainable_variables
        with tf.GradientTape() as tape:
            values = self.critic(
                tf.concat([real, generated], axis=0), tf.concat([condition] * 2, axis=0)
            )
            real_values, generated_values = tf.split(values, 2)
            wasserstein = wasserstein_critic_loss(real_values, generated_values)
            penalty = gradient_penalty(
                lambda spectrum: self.critic(spectrum, condition), real, generated, share
            )
            drift = drift_penalty(real_values)
            losses = (
                wasserstein + self.gradient_penalty_weight * penalty + self.drift_weight * drift
            )
            scaled = self.critic_optimizer.scale_loss(mean_over_replicas(losses))
        self._track(
            wasserstein_estimate=-wasserstein,
            critic_loss=losses,
            gradient_penalty=penalty,
            drift_penalty=drift,
        )
        norm = self._descend(self.critic_optimizer, tape.gradient(scaled, variables), variables)
        self._track_norm("critic_gradient_norm", norm)

    def _generator_step(self, degraded, condition, real, bandwidth) -> None:
        """One step of Adam for the generator; the critic is held."""
        batch = degraded.shape[0]
        versions = 2 if self.is_stochastic else 1
        noise = [
            global_normal(batch, self.network.noise_size, self._seed(2 * self.critic_steps + i))
            for i in range(versions)
        ]
        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            generated = self._generate(degraded, tf.stack(noise))
            originals = tf.concat([real] * versions, axis=0)
            heard = self._comparable(
                originals, generated, [tf.tile(x, [versions]) for x in bandwidth]
            )
            values = self.critic(heard, tf.concat([condition] * versions, axis=0))
            losses = tf.reduce_mean(tf.split(wasserstein_generator_loss(values), versions), axis=0)
            tracked = {}
            if self.is_stochastic:
                frequency_spread, rhythm_spread = _profile_distances(generated)
                frequency_loss, rhythm_loss = (
                    mode_collapse_loss(distance(*noise), spread)
                    for spread in (frequency_spread, rhythm_spread)
                )
                losses += (
                    self.frequency_profile_weight * frequency_loss
                    + self.rhythm_profile_weight * rhythm_loss
                )
                tracked = {
                    "frequency_profile_loss": frequency_loss,
                    "rhythm_profile_loss": rhythm_loss,
                    "frequency_spread": frequency_spread,
                    "rhythm_spread": rhythm_spread,
                }
            if self.log_spectral_weight:
                spectral = log_spectral_loss(self._waveform(originals), self._waveform(heard))
                spectral = tf.reduce_mean(tf.split(spectral, versions), axis=0)
                losses += self.log_spectral_weight * spectral
                tracked["log_spectral_loss"] = spectral
            scaled = self.optimizer.scale_loss(mean_over_replicas(losses))
        self._track(generator_loss=losses, **tracked)
        norm = self._descend(self.optimizer, tape.gradient(scaled, variables), variables)
        self._track_norm("generator_gradient_norm", norm)

    def _descend(self, optimizer, gradients, variables):
        """Applies gradients of a scaled loss; returns the norm of the global batch's, unscaled."""
        gradients = sum_over_replicas(gradients)
        apply_summed_gradients(optimizer, gradients, variables)
        return tf.linalg.global_norm(gradients) / optimizer.scale_loss(1.0)

    def test_step(self, data):
        """Restores a batch `(degraded, original)` and scores it.

        Returns:
            The validation metrics so far.
        """
        degraded, original, *bandwidth = data
        noise = self._validation_noise(degraded.shape[0])
        restored = self.restorer(degraded, *noise[:1])
        heard = [restored, degraded]
        if bandwidth:
            rate = self.restorer.sample_rate
            heard = [agreeing_above(bandwidth[0], original, each, rate) for each in heard]
        self._distances["lsd"].update_state(original, heard[0])
        self._distances["mp3_lsd"].update_state(original, heard[1])
        self._distances["snr"].update_state(original, restored)
        if self.is_stochastic:
            spectrum = self._spectrum(degraded)
            generated = self._generate(spectrum, tf.stack(noise), training=False)
            spreads = _profile_distances(generated)
        else:
            # Its two restorations are one; the zeros are there to compare with.
            spreads = [tf.zeros([degraded.shape[0]])] * 2
        for metric, spread in zip(self._spreads.values(), spreads, strict=True):
            metric.update_state(spread)
        return {metric.name: metric.result() for metric in self.validation_metrics}

    def _spectrum(self, waveform):
        """What the generator sees of waveforms `(batch, samples)`: `(batch, frames, bins, 2)`."""
        spectrum = tf.stack(self.restorer.stft(waveform), axis=-1)
        return self.restorer.signed_square_root(spectrum[:, :, : self.network.bins])

    def _comparable(self, original, generated, bandwidth):
        """What of generated spectra can be compared with originals, if their bandwidth is known."""
        if not bandwidth:
            return generated
        return spectra_agreeing_above(bandwidth[0], original, generated, self.restorer.sample_rate)

    def _waveform(self, spectrum):
        """The samples that all of their frames were made of, of a generator's spectrum."""
        parts = self.restorer.signed_square(spectrum)
        parts = tf.pad(parts, ((0, 0), (0, 0), (0, 1), (0, 0)))
        return self.restorer.inverse_stft((parts[..., 0], parts[..., 1]))

    def _generate(self, spectrum, noise, training: bool = True):
        arguments = {"noise": noise} if self.is_stochastic else {}
        return self.network(spectrum, **arguments, training=training)

    def _seed(self, number: int):
        """The seed of the random numbers of a certain number in this step."""
        step = tf.cast(tf.convert_to_tensor(self.optimizer.iterations), tf.int64)
        draws = 2 * self.critic_steps + 2
        return tf.constant(self.noise_seed, tf.int64), step * draws + number

    def _validation_noise(self, batch: int) -> list:
        """Two vectors for each example of a batch, the same in every validation."""
        return [
            global_normal(batch, self.network.noise_size, (self.noise_seed, number))
            for number in _VALIDATION
            if self.is_stochastic
        ]

    def _track(self, **values) -> None:
        for name, value in values.items():
            self._means[name].update_state(value)

    def _track_norm(self, name: str, norm) -> None:
        # Where float16 overflows, there is no norm, and no step: Keras makes the scale smaller.
        finite = tf.math.is_finite(norm)
        self._means[name].update_state(tf.where(finite, norm, 0.0), tf.cast(finite, tf.float32))

    def get_config(self):
        """The constructor's arguments."""
        return {
            "name": self.name,
            "restorer": keras.saving.serialize_keras_object(self.restorer),
            "critic": keras.saving.serialize_keras_object(self.critic),
            "learning_rate": self.learning_rate,
            "critic_learning_rate": self.critic_learning_rate,
            "learning_rate_schedule": self.learning_rate_schedule,
            "total_steps": self.total_steps,
            "equalized_learning_rate": self.equalized_learning_rate,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "critic_steps": self.critic_steps,
            "gradient_penalty_weight": self.gradient_penalty_weight,
            "drift_weight": self.drift_weight,
            "frequency_profile_weight": self.frequency_profile_weight,
            "rhythm_profile_weight": self.rhythm_profile_weight,
            "log_spectral_weight": self.log_spectral_weight,
            "noise_seed": self.noise_seed,
        }

    @classmethod
    def from_config(cls, config):
        """The object of a `get_config`."""
        restorer, critic = (
            keras.saving.deserialize_keras_object(config.pop(name))
            for name in ("restorer", "critic")
        )
        return cls(restorer.network, restorer, critic, **config)


def _profile_distances(generated):
    """How far two restorations of each excerpt lie apart, by frequencies and by rhythm.

    Args:
        generated: `(2 * batch, frames, bins, 2)`, first one restoration of each, then the other.

    Returns:
        Two of `(batch,)`.
    """
    magnitude = square_root_magnitude(generated)
    return [
        distance(*tf.split(profile(magnitude), 2))
        for profile in (frequency_profile, rhythm_profile)
    ]


class SRGANExamples(PairExamples):
    """The trainer's batches: music and its MP3.

    Args:
        restorer: the `SRGANRestorer` that is trained, for its sample rate.
        kbit_per_second: The MP3's bit rate, or several of which each example has one.
        samples: Samples per excerpt; the default is the paper's 336 frames.
        order: `"random"` or `"file"`.
        mask_above_bandwidth: Whether what the music's own encoder cut off is no truth to learn:
            what is above the edge of a track's spectrum is left out. Defaults to `False`.
    """

    def __init__(
        self,
        restorer: SRGANRestorer,
        kbit_per_second: int | Sequence[int] = 16,
        samples: int = PAPER_SAMPLES,
        order: str = "random",
        mask_above_bandwidth: bool = False,
    ):
        super().__init__(
            Mp3Pairs(kbit_per_second, samples, restorer.sample_rate, order, mask_above_bandwidth)
        )
        least = restorer.frame_length + 2 * restorer.network.context_frames * restorer.hop_length
        if samples < least:
            raise UsageError(
                f"data.samples is {samples}, but of less than {least} samples the generator makes "
                "nothing; give more."
            )

    def listen(self, restorer: SRGANRestorer, tracks: Sequence[Track]):
        """Eight seconds as an MP3, as they were, and restored, in several ways if there are."""
        rate = restorer.sample_rate
        degraded, original = listening_pair(tracks, rate, self.pairs.bit_rates[0])
        sounds = {"mp3": degraded, "original": original}
        for number in range(1, CANDIDATES_SHOWN + 1) if restorer.is_stochastic else [None]:
            name = f"restored_{number}" if number else "restored"
            sounds[name] = restorer.restore(degraded, rate, candidate=number)
        return sounds
