"""Finding dropouts in a waveform: stretches where the samples themselves were lost.

A dropout is (nearly) silent, short, and cuts the music off and on again at once; a rest in the
music dies away before it. This tells the two apart without knowing positions, in the graph, so that
the exported model finds gaps as well.
"""

from __future__ import annotations

import keras
from keras import ops

from tfrestore.layers.float32_layer import Float32Layer
from tfrestore.layers.sliding_window import slide


@keras.saving.register_keras_serializable(package="tfrestore")
class GapDetection(Float32Layer):
    """Marks the lost samples of a waveform: `(batch, samples)` to a boolean `(batch, samples)`.

    The waveform is looked at in blocks of a millisecond. A block is silent when its peak lies
    `silence_db` below the highest peak of its surroundings; a run of silent blocks is a gap when it
    is neither too short nor too long and when the music right before it and right after it is at
    most `edge_db` below that peak. Runs that touch an end of the waveform are not gaps: nothing
    says that there was music.

    A gap begins behind the last sample before the silence that is not `ringing_db` below the music
    beside it, and ends likewise: what lies in between is the ringing of a resampler, or so near to
    a zero crossing that little is lost with it.

    Args:
        sample_rate: int. Hz.
        shortest: float. Seconds a run lasts at least. Defaults to `0.003`.
        longest: float. Seconds a run lasts at most. Defaults to `0.4`; the longest gap that the
            paper's patches have is 0.36.
        silence_db: float. How far a silent block lies below its surroundings. Defaults to `66.0`,
            which rests between the beats of real music do not reach and the ringing of a resampler
            does a few milliseconds from a gap's edges.
        edge_db: float. How far the music beside a gap may lie below its surroundings. Defaults to
            `26.0`.
        ringing_db: float. How far what rings beside a gap lies below the music there. Defaults to
            `20.0`; that of a sharp filter reaches 21 dB below a step right beside it.
    """

    #: Blocks that surround a block on either side when its level is compared.
    SURROUNDINGS = 500
    #: Blocks beside a run that must hold music.
    BESIDE = 4
    #: Blocks on either side of the silence in which an edge may lie.
    EDGE = 3
    #: Samples beside an edge that count as lost: a resampler moves music by less.
    GUARD = 4

    def __init__(
        self,
        sample_rate: int,
        shortest: float = 0.003,
        longest: float = 0.4,
        silence_db: float = 66.0,
        edge_db: float = 26.0,
        ringing_db: float = 20.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.sample_rate = sample_rate
        self.shortest = shortest
        self.longest = longest
        self.silence_db = silence_db
        self.edge_db = edge_db
        self.ringing_db = ringing_db
        self.block = max(1, sample_rate // 1000)

    @property
    def context_samples(self) -> int:
        """Samples on either side that can change whether a sample counts as lost."""
        longest = int(self.longest * self.sample_rate) // self.block + 1
        return (longest + self.BESIDE + self.EDGE + self.SURROUNDINGS) * self.block

    def call(self, waveform):
        """Marks lost samples.

        Args:
            waveform: float `(batch, samples)`.

        Returns:
            bool `(batch, samples)`.
        """
        waveform = ops.cast(waveform, "float32")
        batch, samples = ops.shape(waveform)
        blocks = (samples + self.block - 1) // self.block
        padding = ops.zeros((batch, blocks * self.block - samples), "float32")
        padded = ops.concatenate([ops.abs(waveform), padding], axis=1)
        peak = ops.max(ops.reshape(padded, (batch, blocks, self.block)), axis=2)
        level = _neighbourhood_maximum(peak, self.SURROUNDINGS)
        silent = ops.logical_and(peak <= level * 10 ** (-self.silence_db / 20), level > 1e-4)
        music = ops.cast(
            _neighbourhood_maximum(peak, 0) > level * 10 ** (-self.edge_db / 20), "float32"
        )

        # Runs are numbered through the whole batch; what belongs to a run is gathered by its
        # number.
        before = ops.pad(silent[:, :-1], [[0, 0], [1, 0]])
        after = ops.pad(silent[:, 1:], [[0, 0], [0, 1]])
        begins = ops.logical_and(silent, ops.logical_not(before))
        ends = ops.logical_and(silent, ops.logical_not(after))
        run = ops.reshape(ops.cumsum(ops.cast(ops.reshape(begins, (-1,)), "int32")), (-1,))
        runs = batch * blocks + 1

        def per_run(values):
            values = ops.where(silent, ops.cast(values, "float32"), 0.0)
            return ops.segment_sum(ops.reshape(values, (-1,)), run, num_segments=runs)

        length = per_run(ops.ones_like(peak))
        left = per_run(ops.where(begins, _latest_maximum(music, self.BESIDE), 0.0))
        right = per_run(ops.where(ends, _next_maximum(music, self.BESIDE), 0.0))
        shortest = self.shortest * self.sample_rate / self.block
        longest = self.longest * self.sample_rate / self.block
        is_gap = (length >= shortest) & (length <= longest) & (left > 0) & (right > 0)
        lost = ops.logical_and(silent, ops.reshape(ops.take(is_gap, run), (batch, blocks)))
        beside = _neighbourhood_maximum(peak, self.EDGE + self.BESIDE)
        return self._up_to_the_music(padded, lost, beside)[:, :samples]

    def _up_to_the_music(self, levels, silent, beside):
        """`silent` blocks and the samples from them to the next that are music.

        Args:
            levels: `(batch, blocks * block)`, the size of each sample.
            silent: bool `(batch, blocks)`.
            beside: `(batch, blocks)`, how loud the music is there.

        Returns:
            bool `(batch, blocks * block)`.
        """
        batch, blocks = ops.shape(silent)
        number = ops.arange(blocks, dtype="int32")[None]
        far = blocks + 2 * self.EDGE
        reach = [[0, 0], [self.EDGE, self.EDGE]]
        # The nearest silent block on either side, as far as an edge may lie from it.
        after = slide(
            ops.pad(ops.where(silent, number, far), reach, constant_values=far)[:, self.EDGE :],
            self.EDGE + 1,
            ops.minimum,
        )
        before = slide(
            ops.pad(ops.where(silent, number, -1), reach, constant_values=-1)[:, : -self.EDGE],
            self.EDGE + 1,
            ops.maximum,
        )

        threshold = beside * 10 ** (-self.ringing_db / 20)
        blocked = ops.reshape(levels, (batch, blocks, self.block))
        loud = ops.cast(blocked > threshold[..., None], "int32")
        # How many samples were loud up to each, and before it; and up to the beginning of the
        # silence that follows, and to the end of the one that went before.
        seen = ops.cumsum(ops.reshape(loud, (batch, -1)), axis=1)
        first = ops.clip(after * self.block, 1, blocks * self.block) - 1
        latest = ops.clip((before + 1) * self.block, 1, blocks * self.block) - 1
        until = ops.take_along_axis(seen, first, axis=1)
        since = ops.take_along_axis(seen, latest, axis=1)
        seen = ops.reshape(seen, (batch, blocks, self.block))
        joined = (after < far)[..., None] & (until[..., None] == seen - loud)
        joined = joined | ((before >= 0)[..., None] & (since[..., None] == seen))
        joined = ops.reshape(joined | silent[..., None], (batch, blocks * self.block))
        return _neighbourhood_maximum(ops.cast(joined, "float32"), self.GUARD) > 0

    def get_config(self):
        """The constructor's arguments."""
        return super().get_config() | {
            "sample_rate": self.sample_rate,
            "shortest": self.shortest,
            "longest": self.longest,
            "silence_db": self.silence_db,
            "edge_db": self.edge_db,
            "ringing_db": self.ringing_db,
        }


def _neighbourhood_maximum(values, reach: int):
    """The largest of `(batch, blocks)` within `reach` blocks on either side of each."""
    return slide(ops.pad(values, [[0, 0], [reach, reach]]), 2 * reach + 1, ops.maximum)


def _latest_maximum(values, reach: int):
    """The largest of the `reach` blocks before each."""
    return slide(ops.pad(values, [[0, 0], [reach, 0]])[:, :-1], reach, ops.maximum)


def _next_maximum(values, reach: int):
    """The largest of the `reach` blocks after each."""
    return slide(ops.pad(values, [[0, 0], [0, reach]])[:, 1:], reach, ops.maximum)
