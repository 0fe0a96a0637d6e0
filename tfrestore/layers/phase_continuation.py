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

        turns = _turns_between_frames(real, imaginary, intact)
        left = _continued(
            real, imaginary, _sums(turns, self.history - 1, 0), before, number - before
        )
        # Going back in time, the phase turns the other way.
        turn_real, turn_imaginary, length = _sums(turns, -1, self.history)
        right = _continued(
            real, imaginary, (turn_real, -turn_imaginary, length), after, after - number
        )
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


def _sums(parts, before: int, after: int):
    """Sums of each part over the frames from `before` frames earlier to `after` frames later."""
    lead = max(before, 0)
    frames = ops.shape(parts[0])[1]

    def summed(part):
        padded = ops.pad(part, [[0, 0], [lead, after], [0, 0]])
        shifts = range(-before, after + 1)
        return sum(padded[:, lead + shift : lead + shift + frames] for shift in shifts)

    return [summed(part) for part in parts]


def _continued(real, imaginary, turns, source, distance):
    """The frames at `source`, turned `distance` times, over the distance squared.

    Returns the two parts, their magnitude times the coherence of the turn, and their magnitude.
    """
    turn_real, turn_imaginary, length = turns
    angle = ops.arctan2(turn_imaginary, turn_real + _TINY)
    coherence = (ops.square(turn_real) + ops.square(turn_imaginary)) / ops.square(length + _TINY)
    exists = ops.logical_and(source >= 0, source < ops.shape(real)[1])
    index = ops.where(exists, source, 0)[..., None]
    steps = ops.cast(ops.maximum(distance, 1), "float32")[..., None]
    weight = ops.cast(exists, "float32")[..., None] / ops.square(steps)
    real, imaginary, angle, coherence = (
        ops.take_along_axis(part, index, axis=1) for part in (real, imaginary, angle, coherence)
    )
    magnitude = weight * ops.sqrt(ops.square(real) + ops.square(imaginary))
    turn = steps * angle
    return (
        weight * (real * ops.cos(turn) - imaginary * ops.sin(turn)),
        weight * (real * ops.sin(turn) + imaginary * ops.cos(turn)),
        magnitude * coherence,
        magnitude,
    )
