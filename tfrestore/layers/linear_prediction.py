"""Lost samples from the music on either side of them: linear prediction, forwards and backwards.

What surrounds a gap is taken for an autoregressive process, whose coefficients Burg's method gives
("Maximum entropy spectral analysis", 1967), and is continued into the gap from both sides, as in
Kauppinen & Roth, "Audio signal extrapolation - theory and applications" (DAFx 2002): the two
continuations are cross-faded. It works at any sample rate and over the whole bandwidth; partials go
on in phase, and what is noise dies away with the distance from the gap's edges.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tfrestore.errors import UsageError
from tfrestore.layers.float32_layer import Float32Layer

# Samples that are predicted at once: the coefficients of so many steps are worked out beforehand,
# which is a matrix per side of a gap in place of so many passes of a loop.
_BLOCK = 32
# White noise, 60 dB below the music, that coefficients are estimated with: where a part of the band
# is empty, as above the cut-off of an MP3, those of the music alone are so large that float32 does
# not hold a stable predictor.
_NOISE_LEVEL = 1e-3
# Keeps silence from being divided by.
_TINY = 1e-30


@keras.saving.register_keras_serializable(package="tfrestore")
class LinearPrediction(Float32Layer):
    """Fills lost samples of `(batch, samples)`, which a boolean `(batch, samples)` marks.

    A side of a gap is predicted from the samples between it and the next gap, at most `history`.
    Where there are fewer than three times `order`, the order is a third of their number. In a gap
    of up to `longest` samples the weights of the two sides add up to one; in a longer one, and in
    one that touches an end of the waveform, each side fades out within so many.

    Args:
        order: int. Coefficients of the predictor. Defaults to `512`: partials must be told apart
            at the full sample rate.
        history: int. Samples they are estimated from. Defaults to `2048`, 43 ms at 48 kHz.
        longest: int. Samples that are predicted from an edge. Defaults to `4800`.

    Raises:
        UsageError: if a number is below 1 or the history is shorter than three times the order.
    """

    def __init__(self, order: int = 512, history: int = 2048, longest: int = 4800, **kwargs):
        super().__init__(**kwargs)
        if order < 1 or longest < 1 or history < 3 * order:
            raise UsageError(
                f"order {order}, history {history}, longest {longest}: each must be at least 1, "
                "and the history three times the order."
            )
        self.order = order
        self.history = history
        self.longest = longest
        generator = np.random.Generator(np.random.Philox(0))
        self._noise = _NOISE_LEVEL * generator.standard_normal((1, history), "float32")

    @property
    def context_samples(self) -> int:
        """Samples on either side of a lost one that what is filled in depends on."""
        return self.history + self.longest

    def call(self, waveform, lost):
        """Fills lost samples.

        Args:
            waveform: float `(batch, samples)`; what it holds where it is lost does not matter.
            lost: bool `(batch, samples)`.

        Returns:
            float32 `(batch, samples)`: the waveform itself where it is not lost.
        """
        waveform = ops.where(lost, 0.0, ops.cast(waveform, "float32"))
        batch, samples = ops.shape(waveform)
        # With the margins all sides have their full history, of which none is known there.
        margin = [[0, 0], [self.history, self.history]]
        row = samples + 2 * self.history
        known = ops.reshape(ops.pad(ops.logical_not(lost), margin), (-1,))
        music = ops.reshape(ops.pad(waveform, margin), (-1,))
        within = ops.pad(lost, [[0, 0], [1, 1]])
        begins = ops.logical_and(within[:, 1:-1], ops.logical_not(within[:, :-2]))
        ends = ops.logical_and(within[:, 1:-1], ops.logical_not(within[:, 2:]))
        first, last = (_places(each, row, self.history) for each in (begins, ends))
        # One that no sample belongs to, so that there is always one.
        first, last = (
            ops.pad(each, [[0, 1]], constant_values=self.history) for each in (first, last)
        )

        back = ops.arange(-self.history, 0, dtype="int32")
        left, right = first[:, None] + back, last[:, None] - back
        places = ops.concatenate([left, right], axis=0)
        beside = ops.take(known, places)
        past = ops.take(music, places)
        # Only what is known up to the gap without a break.
        breaks = ops.cumsum(ops.cast(ops.logical_not(beside[:, ::-1]), "int32"), axis=1)[:, ::-1]
        count = ops.sum(ops.cast(breaks == 0, "int32"), axis=1)
        past = ops.where(breaks == 0, past, 0.0)

        length = last - first + 1
        steps = ops.minimum(ops.max(length), self.longest)
        predicted = self._continued(past, self._coefficients(past, count), steps)
        forwards, backwards = ops.split(predicted, 2, axis=0)
        is_between = ops.logical_and(*ops.split(count > 0, 2, axis=0))
        span = ops.where(is_between, ops.minimum(length, self.longest), self.longest)

        # Each sample with the number of its gap and its distance from both edges.
        number = ops.cumsum(ops.cast(ops.reshape(begins, (-1,)), "int32")) - 1
        number = ops.maximum(number, 0)
        place = ops.arange(batch * samples, dtype="int32")
        place = place // samples * row + place % samples + self.history
        span, width = ops.take(span, number), ops.shape(predicted)[1]

        def part(values, distance):
            reached = ops.logical_and(distance >= 0, distance < steps)
            distance = ops.where(reached, distance, 0)
            value = ops.take(ops.reshape(values, (-1,)), number * width + distance)
            share = ops.cast(distance + 1, "float32") / ops.cast(span + 1, "float32")
            weight = ops.square(ops.cos(np.pi / 2 * ops.minimum(share, 1.0)))
            return ops.where(reached, weight * value, 0.0)

        filled = part(forwards, place - ops.take(first, number))
        filled = filled + part(backwards, ops.take(last, number) - place)
        return ops.where(lost, ops.reshape(filled, (batch, samples)), waveform)

    def _coefficients(self, past, count):
        """Burg's method on rows `(sides, history)` of which the last `count` samples are known.

        Returns `(sides, order)`: what the latest sample, the one before it, ... are multiplied by
        to predict the next one.
        """
        time = ops.arange(self.history, dtype="int32")[None]
        known_from = self.history - count[:, None]
        orders = count[:, None] // 3
        samples = ops.cast(ops.maximum(count, 1), "float32")[:, None]
        level = ops.sqrt(ops.sum(ops.square(past), axis=1, keepdims=True) / samples)
        past = ops.where(time >= known_from, past + level * self._noise, 0.0)
        one = ops.one_hot(ops.zeros_like(count), self.order + 1, dtype="float32")

        def later(values):
            return ops.pad(values[:, :-1], [[0, 0], [1, 0]])

        def step(order, state):
            forward, backward, coefficients, mirrored = state
            backward, mirrored = later(backward), later(mirrored)
            used = ops.cast(time > known_from + order, "float32")
            forward, backward = used * forward, used * backward
            product = ops.sum(forward * backward, axis=1, keepdims=True)
            power = ops.sum(ops.square(forward) + ops.square(backward), axis=1, keepdims=True)
            reflection = ops.where(order < orders, -2.0 * product / (power + _TINY), 0.0)
            return (
                forward + reflection * backward,
                backward + reflection * forward,
                coefficients + reflection * mirrored,
                mirrored + reflection * coefficients,
            )

        coefficients = ops.fori_loop(0, self.order, step, (past, past, one, one))[2]
        return -coefficients[:, 1:]

    def _continued(self, past, coefficients, steps):
        """What follows the rows of `past`, `(sides, at least steps)`."""
        # What the samples so far weigh in the next one, in the one after it, and so on.
        weights = [coefficients]
        for _ in range(_BLOCK - 1):
            # The latest of the samples is itself a sum of those before it.
            ahead = ops.pad(weights[-1][:, 1:], [[0, 0], [0, 1]])
            weights.append(ahead + weights[-1][:, :1] * coefficients)
        weights = ops.stack(weights, axis=1)[:, :, ::-1]
        blocks = (steps + _BLOCK - 1) // _BLOCK
        state = past[:, -self.order :]
        predicted = ops.zeros((ops.shape(past)[0], blocks * _BLOCK), "float32")

        def step(_, state):
            recent, predicted = state
            block = ops.matmul(weights, recent[:, :, None])[:, :, 0]
            return (
                ops.concatenate([recent, block], axis=1)[:, _BLOCK:],
                ops.concatenate([predicted, block], axis=1)[:, _BLOCK:],
            )

        return ops.fori_loop(0, blocks, step, (state, predicted))[1]

    def compute_output_shape(self, waveform_shape, lost_shape):
        """The waveform's shape."""
        return waveform_shape

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "order": self.order,
            "history": self.history,
            "longest": self.longest,
        }


def _places(marks, row: int, margin: int):
    """Where `(batch, samples)` is true, in the flat rows of a batch with margins, in order."""
    which, where = ops.nonzero(marks)
    return ops.cast(which, "int32") * row + ops.cast(where, "int32") + margin
