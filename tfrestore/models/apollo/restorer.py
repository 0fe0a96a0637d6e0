"""How Apollo is used: waveform in, waveform out, in blocks of a few frames.

The network itself takes and returns waveforms. What is added here is that it is run over a few
frames at a time, with what its convolutions along time need of earlier frames carried on: the
result is that of the whole, but all that is computed for a block stays in the processor's cache,
and memory does not grow with the length.
"""

from __future__ import annotations

import contextlib
import os

import keras
from keras import ops

from tfrestore.models.apollo.network import Apollo
from tfrestore.models.apollo.streaming import ApolloStream, StreamingStep, make_graph
from tfrestore.restorer import Endpoint, Restorer

#: Parts of a block that are computed side by side, a processor each; see `Apollo.advance`.
LANES = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())

#: Frames of all waveforms together that are put through the network at once.
BLOCK_FRAMES = 32 * LANES


@keras.saving.register_keras_serializable(package="tfrestore")
class ApolloRestorer(Restorer):
    """Restores what a lossy encoder took, with a trained `Apollo`.

    Takes waveforms `(batch, samples)` at `sample_rate`, of any length from one sample on, and
    returns the same shape. Digital silence stays silence, frame by frame.

    Args:
        network: the `Apollo`.
        sample_rate: int. Hz. Defaults to the paper's `44100`.
        chunk_seconds: float. How much of a recording is restored in one call, context not counted.
            Defaults to `30.0`.
    """

    default_degradation = "mp3:32"

    # The network's own transform reflects the first and the last half frame.
    reflects_ends = False

    def __init__(
        self, network: Apollo, sample_rate: int = 44100, chunk_seconds: float = 30.0, **kwargs
    ):
        super().__init__(network, sample_rate=sample_rate, chunk_seconds=chunk_seconds, **kwargs)

    @classmethod
    def prepare_process(cls) -> None:
        """See `Restorer`; keeps each operation on one processor, and all busy by `LANES`.

        An operation that is spread over processors ends when the last of them is done, and is over
        before all have woken up: on two cores this costs a tenth of the time.
        """
        import tensorflow as tf

        with contextlib.suppress(RuntimeError):  # TensorFlow has computed something already.
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(LANES)

    @property
    def context_samples(self) -> int:
        """How far from an end that is not the recording's the result differs, not at all beyond.

        A sample depends on the two frames it lies in, these on the frames that the network's
        convolutions see, and the outermost of a window's frames is not the recording's. That is
        55 frames, 0.55 s, in the paper's size, and costs 3.7 % of a chunk. With fresh weights 16
        frames leave a difference 80 dB below the output, with weights scaled at random by e^0.5
        20 frames; what trained weights leave is not known beforehand, so all are kept.
        """
        frames = max(self.network.frames_before, self.network.frames_after)
        return (frames + 1) * self.grid_samples

    @property
    def grid_samples(self) -> int:
        """Chunks start on this grid, on which the frames lie."""
        return self.network.hop_length

    def open_stream(self, channels: int) -> ApolloStream | None:
        """See `RecordingRestorer`; of the causal network only."""
        if not self.network.causal:
            return None
        if "_streaming" not in self.__dict__:
            step = StreamingStep(self.network)
            # Set past Keras, which would take them for parts of the model.
            object.__setattr__(self, "_streaming", (step, make_graph(step)))
        step, graph = self._streaming
        return ApolloStream(graph, step.hop_length, step.start(channels), channels)

    def endpoints(self) -> dict[str, Endpoint]:
        """See `Restorer`; the causal network has `streaming` too, a `StreamingStep`."""
        offered = super().endpoints()
        if self.network.causal:
            step = StreamingStep(self.network)
            inputs = {"waveform": (None, None), **step.state}
            offered["streaming"] = Endpoint(step, inputs, "restored", tuple(step.state))
        return offered

    def call(self, waveform):
        """See the class."""
        waveform = ops.cast(waveform, "float32")
        spectrum = self.network.stft(waveform)
        in_blocks = keras.backend.backend() == "tensorflow"
        restore = self._restore_in_blocks if in_blocks else self.network.restore_spectrum
        restored = self.network.keep_silence(spectrum, restore(spectrum))
        return self.network.inverse_stft(restored, samples=ops.shape(waveform)[1])

    def _restore_in_blocks(self, spectrum):
        """`network.restore_spectrum`, which it equals, in TensorFlow's loop."""
        import tensorflow as tf

        batch, frames = tf.unstack(tf.shape(spectrum[0])[:2])
        block = tf.maximum(1, BLOCK_FRAMES // batch)
        blocks = -(-frames // block)
        state = self.network.start(batch, LANES)
        restored = tf.TensorArray(
            tf.float32, blocks, infer_shape=False, element_shape=[None, None, None]
        )

        def step(number, state, restored):
            start = number * block
            # Whole numbers of frames come out later than they go in, so the length varies.
            part = tuple(part[:, start : start + block] for part in spectrum)
            final = number + 1 == blocks
            part, state = self.network.advance(part, state, final, LANES)
            part = tf.concat(part, axis=-1)
            return number + 1, state, restored.write(number, tf.transpose(part, (1, 0, 2)))

        shapes = tuple(tf.TensorShape([None, None, *tensor.shape[2:]]) for tensor in state)
        *_, restored = tf.while_loop(
            lambda number, *_: number < blocks,
            step,
            (0, state, restored),
            shape_invariants=(tf.TensorShape([]), shapes, tf.TensorShape(None)),
            # Iterations that overlap would need the cache twice.
            parallel_iterations=1,
        )
        return tf.split(tf.transpose(restored.concat(), (1, 0, 2)), 2, axis=-1)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "sample_rate": self.sample_rate}
