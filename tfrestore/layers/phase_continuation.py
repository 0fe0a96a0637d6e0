"""Phases for frames that were lost: the ones that the sound around them would have had there.

Between two frames a steady partial turns its phase by a constant angle. That angle is measured in
every bin on the intact frames next to a gap, and the phase is turned on by it into the gap, from
both sides: the phase vocoder's propagation (Flanagan and Golden 1966; Laroche and Dolson 1999,
section II) with the angle averaged over several frames. Griffin-Lim started from these phases needs
few iterations.
"""

from __future__ import annotations

import keras
from keras import ops

from tfrestore.layers.float32_layer import Float32Layer
from tfrestore.layers.sliding_window import slide

_TINY = 1e-12


@keras.saving.register_keras_serializable(package="tfrestore")
class PhaseContinuation(Float32Layer):
    """Continues the phases of a spectrum into its lost frames.

    Takes a spectrum as two parts `(batch, frames, bins)` and a boolean `(batch, frames)` that is
    true where a frame is intact. Returns three arrays of the spectrum's shape: the two parts, in
    which intact frames are as they were, and the coherence. A lost frame gets the phase continued
    from the last intact frame before it and from the next one after it, the nearer and louder
    weighing more; only the phase of the result means something. Lost frames are zero where no frame
    is intact.

    The coherence, 0 to 1, says how far the phase can be trusted: the squared length of the mean
    turn over the squared mean length of the turns, which is 1 for a steady partial and small for
    noise, and 1 in intact frames.

    Args:
        history: int. Pairs of frames beside a gap that the turning angle is averaged over. Defaults
        to
            `8`; less is noisier, more blurs what changes.
    """

    def __init__(self, history: int = 8, **kwargs):
        super().__init__(**kwargs)
        self.history = history

    def call(self, real, imaginary, intact):
        """Continues phases; see the class for shapes."""
        real, imaginary = ops.cast(real, "float32"), ops.cast(imaginary, "float32")
        frames = ops.shape(real)[1]
        number = ops.arange(frames, dtype="int32")[None]
        before, after = _neighbours(intact, number, frames)

        # Element t is about the `history` turns up to frame t, so that t + history is about those
        # after it.
        padding = [[0, 0], [self.history - 1, self.history], [0, 0]]
        turns = [
            slide(ops.pad(part, padding), self.history, ops.add)
            for part in _turns_between_frames(real, imaginary, intact)
        ]
        angle, coherence = _mean_turn(*turns)
        spectrum = (real, imaginary)
        left = _continued(spectrum, angle, coherence, number, before, before)
        right = _continued(spectrum, angle, coherence, number, after, after + self.history)
        lost = ops.logical_not(intact)[..., None]
        continued = [a + b for a, b in zip(left, right, strict=True)]
        coherence = ops.where(lost, continued[2] / (continued[3] + _TINY), 1.0)
        return (
            ops.where(lost, continued[0], real),
            ops.where(lost, continued[1], imaginary),
            ops.minimum(coherence, 1.0),
        )

    def compute_output_shape(self, real, imaginary, intact):
        """The shape of what `call` returns."""
        return real, real, real

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "history": self.history}


def _neighbours(intact, number, frames):
    """The last intact frame up to each and the next one; out of range where there is none."""
    places = ops.sort(ops.where(intact, number, frames), axis=1)
    edge = ops.ones_like(places[:, :1])
    places = ops.concatenate([-edge, places, frames * edge], axis=1)
    seen = ops.cumsum(ops.cast(intact, "int32"), axis=1)
    return ops.take_along_axis(places, seen, axis=1), ops.take_along_axis(places, seen + 1, axis=1)


def _turns_between_frames(real, imaginary, intact):
    """Each frame times the conjugate of the one before, as two parts, and the magnitude of that.

    Zero where one of the two frames is lost.
    """

    def previous(values):
        return ops.pad(values[:, :-1], [[0, 0], [1, 0]] + [[0, 0]] * (len(values.shape) - 2))

    weight = ops.cast(intact, "float32")
    weight = (weight * previous(weight))[..., None]
    real_before, imaginary_before = previous(real), previous(imaginary)
    turn_real = weight * (real * real_before + imaginary * imaginary_before)
    turn_imaginary = weight * (imaginary * real_before - real * imaginary_before)
    return turn_real, turn_imaginary, ops.sqrt(ops.square(turn_real) + ops.square(turn_imaginary))


def _mean_turn(real, imaginary, length):
    """The angle of summed turns, and their coherence."""
    angle = ops.arctan2(imaginary, real + _TINY)
    return angle, (ops.square(real) + ops.square(imaginary)) / ops.square(length + _TINY)


def _continued(spectrum, angle, coherence, number, source, turn):
    """The frames at `source` turned on, or back, to where frame `number` is, over distance squared.

    `turn` is where `angle` and `coherence` tell how. Returns the two parts, their magnitude times
    the coherence of the turn, and their magnitude.
    """
    exists = ops.logical_and(source >= 0, source < ops.shape(spectrum[0])[1])
    real, imaginary = (_frames_at(part, ops.where(exists, source, 0)) for part in spectrum)
    angle, coherence = (_frames_at(part, ops.where(exists, turn, 0)) for part in (angle, coherence))
    distance = ops.cast(number - source, "float32")[..., None]
    weight = ops.cast(exists, "float32")[..., None] / ops.maximum(ops.square(distance), 1.0)
    magnitude = weight * ops.sqrt(ops.square(real) + ops.square(imaginary))
    cosine, sine = ops.cos(distance * angle), ops.sin(distance * angle)
    return (
        weight * (real * cosine - imaginary * sine),
        weight * (real * sine + imaginary * cosine),
        magnitude * coherence,
        magnitude,
    )


def _frames_at(values, number):
    """The frames of `(batch, n, bins)` that `(batch, frames)` numbers: whole rows are copied."""
    batch, available, bins = ops.shape(values)
    first = available * ops.arange(batch, dtype="int32")
    rows = ops.reshape(values, (batch * available, bins))
    return ops.take(rows, number + first[:, None], axis=0)
