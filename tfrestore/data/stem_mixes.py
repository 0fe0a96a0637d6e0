"""Batches of music mixed out of stems, and its MP3: what Apollo is trained on.

Li & Luo, "Apollo: Band-sequence modeling for high-quality audio restoration" (ICASSP 2025): from
MUSDB18-HQ and MoisesDB, 1 to 8 stems of different songs, excerpts of 3 s that are not silent, each
scaled by a random gain of -10 to 10 dB, are added up; in the authors' code every other example is
a stretch of a real mixture instead. The sum is encoded as an MP3 at a bit rate drawn from 24, 32,
48, 64, 96 and 128 kbit/s, and both waveforms are divided by the largest magnitude in either.

The stages, each a function or class of its own:

1. `tfrestore.data.source_activity.SourceActivity`: where in a file something is played;
2. `tfrestore.data.stem_draws.StemDraws`: what goes into the example of a position;
3. `MixReader.read_part`: an excerpt of one track, in one channel or two, at the sample rate;
4. `mix`: gains, and the sum;
5. `MixReader.encode`: the sum's MP3;
6. `rescale`: the common maximum.

An example is a pure function of (seed, position), so that a run that was stopped goes on with what
it would have seen. A stem that is silent, or cannot be decoded, is replaced by another, which
depends on nothing else either, and named once.

Where this departs from the authors' code, on purpose:

- The bit rate is drawn for every example. Theirs writes what it drew back into the shared options,
  so that each worker keeps one for a whole epoch; `bit_rate_draw="epoch"` has an epoch with a
  single one.
- The MP3 is aligned by the codec's own delay, to the sample. Theirs is turned by the peak of a
  cross-correlation in a circle, and filled up with the clean signal where it is too short, which
  shows the model its target. Here what the codec needs around an excerpt is real music.
- Gains are any number of decibels and not whole ones, and a sum that would clip is turned down
  before it is encoded.
- A variable bit rate is LAME's ABR: it is the variable mode that has a bit rate to aim at.
- An example is one channel. Theirs are stereo, and so are their MP3s, whose channels share the
  bits and are coded together: `stereo_share` of the examples are a channel of such an MP3.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrestore.audio.mp3 import mp3_sample_rate
from tfrestore.data.bandwidths import Bandwidths
from tfrestore.data.encoded_pairs import (
    TAIL_SECONDS,
    EncodedPair,
    encode_heard,
    to_int16,
)
from tfrestore.data.excerpts import Replacements, length_of, mean_of_channels, read_channels
from tfrestore.data.midi_files import MIDI_SUFFIXES
from tfrestore.data.pair_batches import pair_batches
from tfrestore.data.shards import PreparedTrack
from tfrestore.data.stem_draws import Mix, Part, StemDraws
from tfrestore.data.tracks import Track
from tfrestore.errors import AudioFileError, UsageError

#: The paper's bit rates, kbit/s.
PAPER_BIT_RATES = (24, 32, 48, 64, 96, 128)

#: The modes of an MP3's bit rate.
BIT_RATE_MODES = ("constant", "variable")


@dataclass(frozen=True)
class StemMixes:
    """Which examples are made of the tracks.

    Args:
        kbit_per_second: The MP3's bit rate, of all of its channels; or several, of which each
            example has one, drawn at random; one that is named twice is drawn twice as often.
            Defaults to the paper's six, 24 to 128.
        bit_rate_modes: `"constant"`, `"variable"`, or both, of which each example has one. Defaults
            to both.
        bit_rate_draw: `"example"`: bit rate and mode are drawn for every example. `"epoch"`: once
            for all examples of an epoch, as in the authors' code. Defaults to `"example"`.
        samples: Samples per excerpt. Defaults to `132300`, 3 s.
        sample_rate: Hz; tracks are resampled where they have another. Defaults to `44100`.
        stems: Least and largest number of stems that are mixed. Defaults to `(1, 8)`.
        gain_decibels: Least and largest gain of a stem. Defaults to `(-10, 10)`.
        mixture_share: Share of the examples that are a stretch of a real mixture. It is 0 for
            stems without mixtures, and 1 for music without stems. Defaults to `0.5`.
        mix_recordings: Whether recordings without stems are mixed with others as if they were
            stems. Defaults to `False`.
        channel_mix: `"mean"`: the mean of a recording's channels is taken. `"random"`: a weighted
            mean of them with random weights, for every stem another. Defaults to `"mean"`.
        stereo_share: Share of the examples that are a channel of a stereo MP3. Its channels are a
            recording's first and last, or, of random weights, the mean by these and the one by the
            same weights in reverse. Defaults to `0.0`.
        with_bandwidth: Whether an example tells up to which frequency it is the truth: the least
            bandwidth of its parts. Defaults to `False`.
        examples_per_epoch: Defaults to `None`: as many as there are excerpts side by side in the
            music. The authors take 40000.

    Raises:
        UsageError: if LAME has no such bit rate, or another argument is none of those possible.
    """

    kbit_per_second: int | Sequence[int] = PAPER_BIT_RATES
    bit_rate_modes: str | Sequence[str] = BIT_RATE_MODES
    bit_rate_draw: str = "example"
    samples: int = 132300
    sample_rate: int = 44100
    stems: Sequence[int] = (1, 8)
    gain_decibels: Sequence[float] = (-10.0, 10.0)
    mixture_share: float = 0.5
    mix_recordings: bool = False
    channel_mix: str = "mean"
    stereo_share: float = 0.0
    with_bandwidth: bool = False
    examples_per_epoch: int | None = None

    def __post_init__(self):
        if self.samples < 1:
            raise UsageError(f"data.samples is {self.samples}: give at least 1.")
        if not self.bit_rates:
            raise UsageError("data.kbit_per_second is empty: give at least one bit rate.")
        for name in ("mixture_share", "stereo_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"data.{name} is {getattr(self, name)}: give 0 to 1.")
        for rate in self.bit_rates:
            for channels in (1, 2) if self.stereo_share else (1,):
                mp3_sample_rate(self.sample_rate, channels, rate)
        if not self.modes or set(self.modes) - set(BIT_RATE_MODES):
            raise UsageError(
                f"data.bit_rate_modes is {self.bit_rate_modes!r}: choose of "
                f"{', '.join(BIT_RATE_MODES)}."
            )
        for name, value, possible in (
            ("bit_rate_draw", self.bit_rate_draw, ("example", "epoch")),
            ("channel_mix", self.channel_mix, ("mean", "random")),
        ):
            if value not in possible:
                raise UsageError(f"data.{name} is {value!r}: choose one of {', '.join(possible)}.")
        if not _is_range(self.stems, least=1):
            raise UsageError(
                f"data.stems is {self.stems}: give the least and the largest number, [1, 8] say."
            )
        if not _is_range(self.gain_decibels):
            raise UsageError(
                f"data.gain_decibels is {self.gain_decibels}: give the least and the largest gain, "
                "[-10, 10] say."
            )
        if self.examples_per_epoch is not None and self.examples_per_epoch < 1:
            raise UsageError(
                f"data.examples_per_epoch is {self.examples_per_epoch}: give at least 1."
            )

    @property
    def bit_rates(self) -> tuple[int, ...]:
        """The bit rates in kbit/s."""
        rates = self.kbit_per_second
        return (rates,) if isinstance(rates, int) else tuple(rates)

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes of the bit rate."""
        modes = self.bit_rate_modes
        return (modes,) if isinstance(modes, str) else tuple(modes)

    def count(self, tracks: Sequence[Track]) -> int:
        """The examples of an epoch."""
        if self.examples_per_epoch is not None:
            return self.examples_per_epoch
        return sum(max(1, length_of(track, self.sample_rate) // self.samples) for track in tracks)

    def dataset(
        self,
        tracks: Sequence[Track],
        batch_size: int,
        seed: int,
        start: int = 0,
        batches: int | None = None,
    ) -> tf.data.Dataset:
        """Batches `(degraded, original)` from position `start` on.

        Args:
            tracks: Songs, stems and other recordings; at least one.
            batch_size: Pairs per batch.
            seed: Decides everything that is drawn.
            start: Number of the first batch.
            batches: How many batches; endless when `None`.

        Returns:
            A dataset of pairs of float32 `(batch_size, samples)`, sample-aligned; the largest
            magnitude in a pair is 1, or 0 where both are silent. With `with_bandwidth` these are
            triples that have the bandwidth in Hz besides, float32 `(batch_size,)`.

        Raises:
            UsageError: if the tracks are pairs that were prepared, or the batch size is less than
                1.
            tf.errors.OpError: (when it is iterated) all of the music is silent, or track after
                track cannot be decoded; `tfrestore.data.pipeline.decoding_error` makes a sentence
                of it.
        """
        reader = MixReader(self, tracks, seed)
        return pair_batches(
            reader.read, self.samples, batch_size, start, batches, self.with_bandwidth
        )


class MixReader:
    """Makes the pair of a position.

    Args:
        mixes: Which pairs.
        tracks: Songs, stems and other recordings.
        seed: Decides everything that is drawn.

    Raises:
        UsageError: if there is no track, or they are pairs that were prepared.
    """

    def __init__(self, mixes: StemMixes, tracks: Sequence[Track], seed: int):
        if not tracks:
            raise UsageError("there is no music to mix; give a folder of music or of stems.")
        for track in tracks:
            if isinstance(track, PreparedTrack):
                raise UsageError(
                    f"{track.settings.folder}: these are pairs of music and MP3, but this model "
                    "learns from stems that are mixed as it goes; give the folder of music."
                )
            if track.path.suffix.lower() in MIDI_SUFFIXES:
                raise UsageError(
                    f"{track.path} is a MIDI file, but this model learns from recordings; give a "
                    "folder of music or of stems."
                )
        self.mixes = mixes
        self.draws = StemDraws(mixes, tracks, seed)
        self.tail = round(TAIL_SECONDS * mixes.sample_rate)
        self.bandwidths = Bandwidths() if mixes.with_bandwidth else None
        self.replacements = Replacements()

    def read(self, position: int) -> tuple[np.ndarray, ...]:
        """The pair `(degraded, original)` of a position, float32 `(samples,)` each.

        With `with_bandwidth` the bandwidth follows, float32 `()`.

        Raises:
            AudioFileError: if all of the music is silent or cannot be decoded.
        """
        position = int(position)
        for attempt in itertools.count():
            drawn = self.draws.draw(position, attempt)
            excerpts, bandwidths = [], []
            for part in drawn.parts:
                try:
                    excerpts.append(self.read_part(part, drawn.lead, drawn.channels))
                    if self.bandwidths is not None:
                        bandwidths.append(self.bandwidths.find(part.track))
                except AudioFileError:
                    self.replacements.report(part.track, attempt + 1)
                    break
            else:
                break
        heard = mix(excerpts, [part.gain for part in drawn.parts])
        pair = rescale(*self.encode(heard, drawn))
        return (*pair, np.float32(min(bandwidths))) if bandwidths else pair

    def read_part(self, part: Part, lead: int, channels: int = 1) -> np.ndarray:
        """The excerpt of a part with what is in front of it and behind it, not yet scaled.

        Args:
            part: The part.
            lead: Samples in front of the excerpt.
            channels: 1 or 2. Defaults to `1`.

        Returns:
            float32 `(channels, lead + samples + tail)`.

        Raises:
            AudioFileError: if it cannot be decoded.
        """
        if channels == 1 and part.channel is None:
            fold = mean_of_channels
        else:
            first = part.channel or 0.0
            weights = (first, 1.0 - first)[:channels]
            fold = functools.partial(weighted_channels, weights=weights)
        length = lead + self.mixes.samples + self.tail
        return read_channels(part.track, part.begin - lead, length, self.mixes.sample_rate, fold)

    def encode(self, heard: np.ndarray, drawn: Mix) -> tuple[np.ndarray, np.ndarray]:
        """The MP3 of a sum, decoded again, and what the encoder heard: without lead and tail.

        Args:
            heard: float32 `(channels, lead + samples + tail)`, at most full scale.
            drawn: Which MP3, and the lead.

        Returns:
            `(degraded, original)`, the first channel, float32 `(samples,)` each, sample-aligned.
        """
        rate, kbit_per_second = self.mixes.sample_rate, drawn.kbit_per_second
        steps = to_int16(heard)
        mp3 = encode_heard(steps, drawn.lead, rate, kbit_per_second, drawn.variable_bit_rate)
        original = steps[0, drawn.lead :][: self.mixes.samples]
        return EncodedPair(original, {kbit_per_second: mp3}).decode(kbit_per_second, rate)


def mix(excerpts: Sequence[np.ndarray], gains: Sequence[float]) -> np.ndarray:
    """The sum of excerpts, turned down where it would be beyond full scale.

    Args:
        excerpts: At least one, float32 of one shape, `(channels, samples)` say.
        gains: What each is multiplied with.

    Returns:
        float32 of that shape, of magnitude 1 at most.
    """
    total = np.zeros_like(excerpts[0])
    for excerpt, gain in zip(excerpts, gains, strict=True):
        total += np.float32(gain) * excerpt
    return total / max(1.0, np.abs(total).max(initial=0.0))


def rescale(degraded: np.ndarray, original: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both divided by the largest magnitude in either, which becomes 1; silence stays silence.

    Args:
        degraded: float32 `(samples,)`.
        original: float32 `(samples,)`.
    """
    largest = max(np.abs(degraded).max(initial=0.0), np.abs(original).max(initial=0.0))
    return (degraded / largest, original / largest) if largest else (degraded, original)


def weighted_channels(waveform: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """Folds channels: to the first and the last for weights 0 and 1, to mixes between them.

    Args:
        waveform: float32 `(channels, samples)`.
        weights: One for each channel that is made, between 0 and 1. Of stereo it is the share of
            the right channel.

    Returns:
        float32 `(len(weights), samples)`.
    """
    places = np.array(weights) * (len(waveform) - 1)
    first = places.astype(int)
    second = np.minimum(first + 1, len(waveform) - 1)
    share = (places - first).astype(np.float32)[:, None]
    return (1 - share) * waveform[first] + share * waveform[second]


def _is_range(numbers: Sequence[float], least: float = -math.inf) -> bool:
    try:
        lowest, highest = numbers
    except (TypeError, ValueError):
        return False
    return least <= lowest <= highest < math.inf
