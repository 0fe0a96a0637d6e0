"""How Apollo is trained: against discriminators of its spectra at several resolutions.

Li & Luo, "Apollo: Band-sequence Modeling for High-Quality Audio Restoration" (arXiv 2409.08514),
and the authors' code: least-squares adversarial losses (eq. 3), feature matching (eq. 5) and the
multi-resolution STFT loss (eq. 4), added up (eq. 6); AdamW with a learning rate of 1e-3 for the
generator and of 1e-4, with moments of 0.5 and 0.99, for the discriminators, weight decay 0.01, both
rates times 0.98 every two epochs; gradients clipped to a norm of 5.

Each step restores the batch once. The discriminators take a step on that, then the generator one,
by what they say then: the slope of all losses by the restored waveforms is taken first, without
touching the discriminators' weights, and then carried through the generator.

Departures from the authors' code:

- Gradients are clipped when they are those of the global batch; theirs are those of one device.
- The power iterations of the spectral normalisation make one step per step of training, on the
  original and the restored together; theirs make one at each of four calls. So the generator
  compares feature maps of one and the same discriminator.
- The authors' discriminators hear stereo; here everything is mono.
- There are five more losses, of weight 0 unless a preset asks for them, as that of a small network
  and a short training does: SI-SNR, how far it is below the MP3's, the log-spectral loss, the
  neurogram similarity, and by how much any of these is worse than the MP3's. A loss of weight 0 is
  not computed; without the two that they give there are no discriminators.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfrestore.data.mp3_pairs import Mp3Pairs, listening_pair
from tfrestore.data.shards import PreparedTrack
from tfrestore.data.stem_mixes import BIT_RATE_MODES, PAPER_BIT_RATES, StemMixes
from tfrestore.data.tracks import Track
from tfrestore.errors import UsageError
from tfrestore.losses.agreement import agreeing_above
from tfrestore.losses.feature_matching import feature_matching_loss
from tfrestore.losses.least_squares import (
    least_squares_discriminator_loss,
    least_squares_generator_loss,
)
from tfrestore.losses.log_spectrum import log_spectral_loss
from tfrestore.losses.multi_resolution_stft import multi_resolution_stft_loss
from tfrestore.losses.neurogram_similarity import neurogram_similarity_loss
from tfrestore.losses.si_snr import si_snr_loss
from tfrestore.metrics.keras_metrics import LSD, SISDR, MultiResolutionSTFTError, ViSQOL
from tfrestore.metrics.short_time import MULTI_RESOLUTION_WINDOWS
from tfrestore.models.apollo.discriminator import MultiResolutionSTFTDiscriminator
from tfrestore.models.apollo.network import Apollo
from tfrestore.models.apollo.restorer import ApolloRestorer
from tfrestore.models.pair_examples import PairExamples
from tfrestore.training.distribution import (
    apply_summed_gradients,
    clip_summed_gradients,
    mean_over_replicas,
    sum_over_replicas,
)

#: Steps of an epoch of the paper's 40,000 excerpts, one on each of eight devices.
PAPER_STEPS_PER_EPOCH = 5000

#: Epochs after which the learning rates are lowered.
EPOCHS_PER_DECAY = 2

# The longest window is reflected by half of it at the ends.
LONGEST_REFLECTION = MULTI_RESOLUTION_WINDOWS[-1] // 2

# PyTorch's, which the authors leave as it is.
_ADAM_EPSILON = 1e-8


@keras.saving.register_keras_serializable(package="tfrestore")
class ApolloTrainer(keras.Model):
    """Trains an `Apollo` against a `MultiResolutionSTFTDiscriminator`, on music and its MP3.

    Batches are tuples `(degraded, original)` of waveforms, each float32 `(batch, samples)` of more
    than 1024 samples, or triples with the bandwidth in Hz besides, float32 `(batch,)`, above which
    the original says nothing: no loss sees what is there. Works with `fit`, and with
    `strategy.run(trainer.train_step, args=(batch,))`.

    Args:
        network: the `Apollo` to train.
        discriminator: the `MultiResolutionSTFTDiscriminator`; by default one of
            `discriminator_filters`.
        discriminator_filters: int. Filters of the first convolutions. Defaults to the paper's `8`.
        learning_rate: float. The generator's, at first. Defaults to `1e-3`.
        discriminator_learning_rate: float. The discriminators', at first. Defaults to `1e-4`.
        weight_decay: float. Of both, in a step, as a share of the learning rate. Defaults to
            `0.01`.
        learning_rate_decay: float. What both learning rates are multiplied by every two epochs.
            Defaults to `0.98`.
        steps_per_epoch: int. Steps that count as an epoch. Defaults to `5000`, the paper's 40,000
            excerpts in batches of 8; the training loop tells its own.
        beta_1: float. Of the generator's AdamW. Defaults to `0.9`.
        beta_2: float. Of the generator's AdamW. Defaults to `0.999`.
        discriminator_beta_1: float. Defaults to `0.5`.
        discriminator_beta_2: float. Defaults to `0.99`.
        gradient_norm: float. What the norms of the gradients of generator and discriminators are
            turned down to. Defaults to `5.0`.
        stft_weight: float. Of the multi-resolution STFT loss. Defaults to `1.0`.
        adversarial_weight: float. Defaults to `1.0`.
        feature_matching_weight: float. Defaults to `1.0`.
        si_snr_weight: float. Of the negative SI-SNR, per dB. Defaults to `0.0`, the paper's.
        si_snr_deficit_weight: float. Of what an excerpt's SI-SNR lacks to the MP3's and
            `si_snr_margin` more, per dB: what is made in empty bands costs SI-SNR, and is to cost
            no more than is mended elsewhere. Defaults to `0.0`, the paper's.
        si_snr_margin: float. dB by which SI-SNR is to be better than the MP3's there; less than 0
            lets it be worse. Defaults to `0.05`.
        log_spectral_weight: float. Of the log-spectral loss, per dB. Defaults to `0.0`, the
            paper's.
        neurogram_similarity_weight: float. Of the neurogram similarity's loss. Defaults to `0.0`,
            the paper's.
        deficit_weight: float. How many times more than the rest of a loss that part counts by which
            an excerpt is worse than its MP3: at high bit rates there is little to mend and much to
            spoil. Of the losses on waveforms, each by its own weight. Defaults to `0.0`, the
            paper's.
        sample_rate: int. Hz, for that loss. Defaults to `44100`; the training loop tells the
            restorer's.

    Raises:
        ValueError: if the weights of the paper's three losses are all 0, or those of all losses
            that `deficit_weight` is about.
    """

    def __init__(
        self,
        network: Apollo,
        discriminator: MultiResolutionSTFTDiscriminator | None = None,
        discriminator_filters: int = 8,
        learning_rate: float = 1e-3,
        discriminator_learning_rate: float = 1e-4,
        weight_decay: float = 0.01,
        learning_rate_decay: float = 0.98,
        steps_per_epoch: int = PAPER_STEPS_PER_EPOCH,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        discriminator_beta_1: float = 0.5,
        discriminator_beta_2: float = 0.99,
        gradient_norm: float = 5.0,
        stft_weight: float = 1.0,
        adversarial_weight: float = 1.0,
        feature_matching_weight: float = 1.0,
        si_snr_weight: float = 0.0,
        si_snr_deficit_weight: float = 0.0,
        si_snr_margin: float = 0.05,
        log_spectral_weight: float = 0.0,
        neurogram_similarity_weight: float = 0.0,
        deficit_weight: float = 0.0,
        sample_rate: int = 44100,
        **kwargs,
    ):
        if not (stft_weight or adversarial_weight or feature_matching_weight):
            raise ValueError(
                "One of `stft_weight`, `adversarial_weight` and `feature_matching_weight` must be "
                "more than 0."
            )
        if deficit_weight and not (
            stft_weight or si_snr_weight or log_spectral_weight or neurogram_similarity_weight
        ):
            raise ValueError(
                "Where `deficit_weight` is not 0, one of `stft_weight`, `si_snr_weight`, "
                "`log_spectral_weight` and `neurogram_similarity_weight` must be more than 0."
            )
        super().__init__(dtype=network.dtype_policy, autocast=False, **kwargs)
        self.network = network
        if not (adversarial_weight or feature_matching_weight):
            discriminator = None
        elif discriminator is None:
            discriminator = MultiResolutionSTFTDiscriminator(
                filters=discriminator_filters,
                # Its weights must not start as the generator's.
                seed=network.seed + 1,
                dtype=network.dtype_policy,
            )
        self.discriminator = discriminator
        self.discriminator_filters = discriminator_filters
        self.learning_rate = learning_rate
        self.discriminator_learning_rate = discriminator_learning_rate
        self.weight_decay = weight_decay
        self.learning_rate_decay = learning_rate_decay
        self.steps_per_epoch = steps_per_epoch
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.discriminator_beta_1 = discriminator_beta_1
        self.discriminator_beta_2 = discriminator_beta_2
        self.gradient_norm = gradient_norm
        self.stft_weight = stft_weight
        self.adversarial_weight = adversarial_weight
        self.feature_matching_weight = feature_matching_weight
        self.si_snr_weight = si_snr_weight
        self.si_snr_deficit_weight = si_snr_deficit_weight
        self.si_snr_margin = si_snr_margin
        self.log_spectral_weight = log_spectral_weight
        self.neurogram_similarity_weight = neurogram_similarity_weight
        self.deficit_weight = deficit_weight
        self.sample_rate = sample_rate

        #: The validation metric that the best model is chosen by, in tables prefixed with `val_`:
        #: without discriminators the loss itself; otherwise, as in the paper, SI-SNR, of which a
        #: restored treble takes a little.
        self.monitor = "si_snr" if discriminator is not None else "loss"
        self.lower_is_better = discriminator is None
        self._weights_of_losses = {
            name: weight
            for name, weight in (
                ("multi_resolution_stft_loss", stft_weight),
                ("adversarial_loss", adversarial_weight),
                ("feature_matching_loss", feature_matching_weight),
                ("si_snr_loss", si_snr_weight),
                ("si_snr_deficit", si_snr_deficit_weight),
                ("log_spectral_loss", log_spectral_weight),
                ("neurogram_similarity_loss", neurogram_similarity_weight),
                ("deficit", deficit_weight),
            )
            if weight
        }
        names = [*self._weights_of_losses, "generator_loss", "generator_gradient_norm"]
        if discriminator is not None:
            names += ["discriminator_loss", "discriminator_gradient_norm"]
        self._means = {name: keras.metrics.Mean(name=name) for name in names}
        self._scores = {
            prefix: [
                SISDR(name=f"{prefix}si_snr"),
                SISDR(zero_mean=False, name=f"{prefix}si_sdr"),
                LSD(name=f"{prefix}lsd"),
                MultiResolutionSTFTError(name=f"{prefix}multi_resolution_stft_error"),
                ViSQOL(sample_rate, name=f"{prefix}visqol"),
            ]
            for prefix in ("", "mp3_")
        }
        self._validation_loss = keras.metrics.Mean(name="loss") if self.lower_is_better else None
        self.built = True
        self._compile()

    def _compile(self):
        # Compiling wraps its optimizer where mixed_float16 needs the loss scaled. The state of both
        # exists from here on, so that a checkpoint can be restored before the first step.
        generator = self._adamw(self.learning_rate, self.beta_1, self.beta_2)
        self.compile(optimizer=generator, loss=None, jit_compile=False)
        self.optimizer.build(self.network.trainable_variables)
        if self.discriminator is None:
            return
        self.discriminator_optimizer = self._adamw(
            self.discriminator_learning_rate, self.discriminator_beta_1, self.discriminator_beta_2
        )
        if self.dtype_policy.name == "mixed_float16":
            self.discriminator_optimizer = keras.optimizers.LossScaleOptimizer(
                self.discriminator_optimizer
            )
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)

    def _adamw(self, learning_rate: float, beta_1: float, beta_2: float):
        # A function of the optimizer's steps, which checkpoints hold.
        schedule = keras.optimizers.schedules.ExponentialDecay(
            learning_rate,
            EPOCHS_PER_DECAY * self.steps_per_epoch,
            self.learning_rate_decay,
            staircase=True,
        )
        return keras.optimizers.AdamW(
            schedule, self.weight_decay, beta_1, beta_2, epsilon=_ADAM_EPSILON
        )

    @property
    def training_metrics(self):
        """Means of what `train_step` knows, over the excerpts since they were reset."""
        return list(self._means.values())

    @property
    def validation_metrics(self):
        """How good restorations are, and how good their MP3s."""
        scores = [metric for metrics in self._scores.values() for metric in metrics]
        return scores if self._validation_loss is None else [self._validation_loss, *scores]

    @property
    def metrics(self):
        """Those of both kinds of step."""
        return [*self.training_metrics, *self.validation_metrics]

    def call(self, inputs, training=False):
        """Restores waveforms `(batch, samples)`."""
        return self.network(inputs, training=training)

    def train_step(self, data):
        """A step of the discriminators and one of the generator on `(degraded, original)`.

        Returns:
            The training metrics so far.
        """
        degraded, original, *bandwidth = data
        with tf.GradientTape() as tape:
            restored = self.network(degraded, training=True)
            heard = self._comparable(original, restored, bandwidth)
        degraded = self._comparable(original, degraded, bandwidth)
        if self.discriminator is not None:
            self.discriminator_step(original, tf.stop_gradient(heard))
        slopes = self.generator_slopes(degraded, original, heard)
        variables = self.network.trainable_variables
        gradients = tape.gradient(heard, variables, output_gradients=slopes)
        self._descend("generator", self.optimizer, gradients, variables)
        return {metric.name: metric.result() for metric in self.training_metrics}

    def _comparable(self, original, estimate, bandwidth):
        """What of waveforms can be compared with originals of such a bandwidth."""
        if not bandwidth:
            return estimate
        return agreeing_above(bandwidth[0], original, estimate, self.sample_rate)

    def discriminator_step(self, original, restored) -> None:
        """One step of AdamW for the discriminators; the generator is held."""
        variables = self.discriminator.trainable_variables
        with tf.GradientTape() as tape:
            logits, _ = self.discriminator(tf.concat([original, restored], axis=0), training=True)
            real, generated = zip(*(tf.split(each, 2) for each in logits), strict=True)
            losses = least_squares_discriminator_loss(real, generated)
            scaled = self.discriminator_optimizer.scale_loss(mean_over_replicas(losses))
        self._track(discriminator_loss=losses)
        gradients = tape.gradient(scaled, variables)
        self._descend("discriminator", self.discriminator_optimizer, gradients, variables)

    def generator_slopes(self, degraded, original, restored):
        """The gradient of the generator's scaled loss by the restored waveforms."""
        if self.discriminator is not None:
            _, real_features = self.discriminator(original)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(restored)
            if self.discriminator is not None:
                logits, features = self.discriminator(restored)
            terms = self._waveform_losses(degraded, original, restored)
            if self.adversarial_weight:
                terms["adversarial_loss"] = least_squares_generator_loss(logits)
            if self.feature_matching_weight:
                terms["feature_matching_loss"] = feature_matching_loss(real_features, features)
            losses = self._weighted(terms)
            scaled = self.optimizer.scale_loss(mean_over_replicas(losses))
        self._track(generator_loss=losses, **terms)
        return tape.gradient(scaled, restored)

    def _waveform_losses(self, degraded, original, restored) -> dict:
        """Those of the generator's losses that have a weight and need no discriminators."""
        losses = {
            "multi_resolution_stft_loss": multi_resolution_stft_loss,
            "si_snr_loss": si_snr_loss,
            "si_snr_deficit": functools.partial(
                _si_snr_deficit, degraded, margin=self.si_snr_margin
            ),
            "log_spectral_loss": log_spectral_loss,
            "neurogram_similarity_loss": functools.partial(
                neurogram_similarity_loss, sample_rate=self.sample_rate
            ),
        }
        losses = {name: loss for name, loss in losses.items() if name in self._weights_of_losses}
        terms = {name: loss(original, restored) for name, loss in losses.items()}
        if self.deficit_weight:
            # That of SI-SNR is one already.
            losses.pop("si_snr_deficit", None)
            terms["deficit"] = tf.add_n(
                [
                    self._weights_of_losses[name]
                    * tf.nn.relu(terms[name] - loss(original, degraded))
                    for name, loss in losses.items()
                ]
            )
        return terms

    def _weighted(self, terms: dict):
        return tf.add_n([self._weights_of_losses[name] * term for name, term in terms.items()])

    def _descend(self, whose: str, optimizer, gradients, variables) -> None:
        """Applies gradients of a scaled loss."""
        gradients, norm = clip_summed_gradients(
            sum_over_replicas(gradients), self.gradient_norm, optimizer
        )
        apply_summed_gradients(optimizer, gradients, variables)
        # Where float16 overflows, there is no norm, and no step: Keras makes the scale smaller.
        finite = tf.math.is_finite(norm)
        self._means[f"{whose}_gradient_norm"].update_state(
            tf.where(finite, norm, 0.0), tf.cast(finite, tf.float32)
        )

    def test_step(self, data):
        """Restores a batch `(degraded, original)` and scores it and its MP3.

        Returns:
            The validation metrics so far.
        """
        degraded, original, *bandwidth = data
        restored = self.network(degraded, training=False)
        for prefix, estimate in (("", restored), ("mp3_", degraded)):
            for metric in self._scores[prefix]:
                metric.update_state(original, estimate)
        if self._validation_loss is not None:
            degraded, restored = (
                self._comparable(original, x, bandwidth) for x in (degraded, restored)
            )
            losses = self._weighted(self._waveform_losses(degraded, original, restored))
            self._validation_loss.update_state(losses)
        return {metric.name: metric.result() for metric in self.validation_metrics}

    def _track(self, **values) -> None:
        for name, value in values.items():
            self._means[name].update_state(value)

    def get_config(self):
        """The constructor's arguments."""
        return {
            "name": self.name,
            "network": keras.saving.serialize_keras_object(self.network),
            "discriminator": self.discriminator
            and keras.saving.serialize_keras_object(self.discriminator),
            "discriminator_filters": self.discriminator_filters,
            "learning_rate": self.learning_rate,
            "discriminator_learning_rate": self.discriminator_learning_rate,
            "weight_decay": self.weight_decay,
            "learning_rate_decay": self.learning_rate_decay,
            "steps_per_epoch": self.steps_per_epoch,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "discriminator_beta_1": self.discriminator_beta_1,
            "discriminator_beta_2": self.discriminator_beta_2,
            "gradient_norm": self.gradient_norm,
            "stft_weight": self.stft_weight,
            "adversarial_weight": self.adversarial_weight,
            "feature_matching_weight": self.feature_matching_weight,
            "si_snr_weight": self.si_snr_weight,
            "si_snr_deficit_weight": self.si_snr_deficit_weight,
            "si_snr_margin": self.si_snr_margin,
            "log_spectral_weight": self.log_spectral_weight,
            "neurogram_similarity_weight": self.neurogram_similarity_weight,
            "deficit_weight": self.deficit_weight,
            "sample_rate": self.sample_rate,
        }

    @classmethod
    def from_config(cls, config):
        """The object of a `get_config`."""
        for name in ("network", "discriminator"):
            if config[name] is not None:
                config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


def _si_snr_deficit(degraded, original, restored, margin: float):
    """What restored waveforms lack to the SI-SNR of their MP3s, and the margin, in dB: (batch,)."""
    missing = si_snr_loss(original, restored) - si_snr_loss(original, degraded)
    return tf.nn.relu(missing + margin)


class ApolloExamples(PairExamples):
    """The trainer's batches: stems of different songs, or stretches of music, and their MP3s.

    Args:
        restorer: the `ApolloRestorer` that is trained, for its sample rate.
        kbit_per_second: The MP3's bit rate, or several of which each example has one. Defaults to
            the paper's six, 24 to 128.
        bit_rate_modes: `"constant"`, `"variable"` or both. Defaults to both.
        bit_rate_draw: `"example"`: every example's bit rate is drawn. `"epoch"`: that of all of an
            epoch, as in the authors' code. Defaults to `"example"`.
        samples: Samples per excerpt. Defaults to the paper's 3 s, `132300`.
        stems: Least and largest number of stems in a mix. Defaults to `(1, 8)`.
        gain_decibels: Least and largest gain of a stem. Defaults to `(-10, 10)`.
        mixture_share: Share of the examples that are a stretch of a real mixture. Defaults to
            `0.5`.
        mix_recordings: Whether recordings without stems are mixed as if they were stems. Defaults
            to `False`.
        channel_mix: `"mean"` of a recording's channels or `"random"` weights. Defaults to `"mean"`.
        stereo_share: Share of the examples that are a channel of a stereo MP3, as most files are.
            Defaults to `0.0`.
        mask_above_bandwidth: Whether what the music's own encoder cut off is no truth to learn: the
            losses leave out what is above the edge of an example's spectrum. Defaults to `False`.
        examples_per_epoch: Defaults to `None`, as many as there are excerpts side by side in the
            music.

    Pairs that `tfrestore prepare` wrote are taken as they are; of the above, only the bit rates and
    the samples count for them, and they are refused where the bandwidth is to be masked, which they
    do not tell.
    """

    def __init__(
        self,
        restorer: ApolloRestorer,
        kbit_per_second: int | Sequence[int] = PAPER_BIT_RATES,
        bit_rate_modes: str | Sequence[str] = BIT_RATE_MODES,
        bit_rate_draw: str = "example",
        samples: int = 132300,
        stems: Sequence[int] = (1, 8),
        gain_decibels: Sequence[float] = (-10.0, 10.0),
        mixture_share: float = 0.5,
        mix_recordings: bool = False,
        channel_mix: str = "mean",
        stereo_share: float = 0.0,
        mask_above_bandwidth: bool = False,
        examples_per_epoch: int | None = None,
    ):
        rate = restorer.sample_rate
        super().__init__(
            StemMixes(
                kbit_per_second,
                bit_rate_modes,
                bit_rate_draw,
                samples,
                rate,
                stems,
                gain_decibels,
                mixture_share,
                mix_recordings,
                channel_mix,
                stereo_share,
                mask_above_bandwidth,
                examples_per_epoch,
            )
        )
        self.prepared_pairs = Mp3Pairs(
            kbit_per_second, samples, rate, with_bandwidth=mask_above_bandwidth
        )
        if samples <= LONGEST_REFLECTION:
            raise UsageError(
                f"data.samples is {samples}; the losses need more than {LONGEST_REFLECTION}."
            )

    def pairs_of(self, tracks):
        """Prepared pairs are read, and others mixed."""
        prepared = any(isinstance(track, PreparedTrack) for track in tracks)
        return self.prepared_pairs if prepared else self.pairs

    def listen(self, restorer: ApolloRestorer, tracks: Sequence[Track]):
        """Eight seconds as an MP3, as they were, and restored."""
        rate = restorer.sample_rate
        degraded, original = listening_pair(tracks, rate, self.pairs.bit_rates[0])
        restored = restorer.restore(degraded, rate)
        return {"mp3": degraded, "original": original, "restored": restored}
