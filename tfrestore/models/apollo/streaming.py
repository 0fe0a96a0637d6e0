"""The causal Apollo on a stream of samples: hop by hop, with carried state, in constant memory.

Li & Luo, "Apollo: Band-sequence Modeling for High-Quality Audio Restoration" (arXiv 2409.08514)
name streaming as what a causal network is for. A spectrum frame is complete when its last sample
has come, and the hop in its first half is restored then, so that the algorithmic latency is one
window, 20 ms. What is carried from one call to the next: the last hop of samples, the last restored
frame, with which the next one overlaps, and the frames that each convolution along time looks back
on.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tfrestore.layers.stft import STFT
from tfrestore.models.apollo.network import Apollo

#: Hops of all channels together that are restored in one call, where so many are there.
MOST_HOPS = 32


class StreamingStep:
    """Restores the next hops of waveforms: a function of them and of the state, without memory.

    `step(waveform, *state)` takes float32 `(batch, hops * hop_length)` and the state and returns
    `(restored, *next_state)`. What is restored lies one hop before the waveform; so the first hop
    of a stream gives what would be before its beginning, which does not count. At the beginning all
    of the state is zero.

    Args:
        network: a causal `Apollo`.

    Raises:
        ValueError: if the network is not causal.
    """

    def __init__(self, network: Apollo):
        if not network.causal:
            raise ValueError("Argument `network` must be causal to restore a stream hop by hop.")
        self.network = network
        self.hop_length = network.hop_length
        self._stft = STFT(network.frame_length, network.hop_length, padding="valid")

    @property
    def state(self) -> dict[str, tuple[int | None, ...]]:
        """The shapes of the state's tensors by name, all float32, `None` for the batch."""
        bins = self._stft.bins
        frames = self.network.start(1)
        return {
            "past_samples": (None, self.hop_length),
            "past_real": (None, 1, bins),
            "past_imaginary": (None, 1, bins),
            **{
                f"past_frames_{number}": (None, *tensor.shape[1:])
                for number, tensor in enumerate(frames)
            },
        }

    def start(self, batch: int) -> list[np.ndarray]:
        """The state before a stream of so many channels begins."""
        return [np.zeros((batch, *shape[1:]), np.float32) for shape in self.state.values()]

    def __call__(self, waveform, past_samples, past_real, past_imaginary, *past_frames):
        """See the class."""
        # Whole hops, or an error where they are none.
        hops = ops.reshape(waveform, (ops.shape(waveform)[0], -1, self.hop_length))
        samples = ops.concatenate([past_samples, waveform], axis=1)
        spectrum = self._stft(samples)
        restored, frames = self.network.advance(spectrum, past_frames)
        restored = self.network.keep_silence(spectrum, restored)
        real, imaginary = (
            ops.concatenate([past, part], axis=1)
            for past, part in zip((past_real, past_imaginary), restored, strict=True)
        )
        # Of these frames the inverse transform gives what lies in two of them.
        output = self.network.inverse_stft((real, imaginary))
        return output, hops[:, -1], real[:, -1:], imaginary[:, -1:], *frames


class ApolloStream:
    """A stream that is restored while it runs.

    What the calls of `process` and the one call of `finish` give back, joined, has exactly the
    input's length and is what the restorer makes of the whole, however the stream is cut.

    Attributes:
        latency_samples: How far what comes out is behind what has gone in, at most.

    Args:
        step: What restores the next hops, a `StreamingStep` or its graph.
        hop_length: int. Samples of a hop.
        state: The state at the beginning.
        channels: int. Channels, which are restored one by one.
    """

    def __init__(self, step, hop_length: int, state: list, channels: int):
        self.latency_samples = 2 * hop_length
        self._step = step
        self._hop_length = hop_length
        self._state = state
        self._most_samples = max(1, MOST_HOPS // channels) * hop_length
        self._pending = np.zeros((channels, 0), np.float32)
        self._samples_in = 0
        # The first hop that comes out lies before the stream.
        self._position = -hop_length

    def process(self, block: np.ndarray) -> np.ndarray:
        """Takes the next samples and gives back those that are restored.

        Args:
            block: float32 `(channels, any number)`.

        Returns:
            float32 `(channels, any number)`; the first calls may give nothing.
        """
        self._samples_in += block.shape[1]
        pending = np.concatenate([self._pending, block], axis=1)
        whole = pending.shape[1] // self._hop_length * self._hop_length
        restored = [pending[:, :0]]
        for start in range(0, whole, self._most_samples):
            restored.append(
                self._restore(pending[:, start : min(whole, start + self._most_samples)])
            )
        self._pending = pending[:, whole:].copy()
        return np.concatenate(restored, axis=1)

    def finish(self) -> np.ndarray:
        """Gives back the rest; the stream cannot be used afterwards.

        Returns:
            float32 `(channels, up to latency_samples)`.
        """
        left = self._samples_in - max(0, self._position)
        # Silence behind the end, as the network puts it behind the whole.
        silence = self.latency_samples - self._pending.shape[1]
        rest = self.process(np.zeros((len(self._pending), silence), np.float32))
        return rest[:, :left]

    def _restore(self, hops: np.ndarray) -> np.ndarray:
        restored, *self._state = self._step(hops, *self._state)
        before = max(0, -self._position)
        self._position += hops.shape[1]
        return ops.convert_to_numpy(restored)[:, before:]


def make_graph(step: StreamingStep):
    """A step as one traced graph where the backend is TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        return step
    import tensorflow as tf

    shapes = [(None, None), *step.state.values()]
    return tf.function(step, [tf.TensorSpec(shape, tf.float32) for shape in shapes])
