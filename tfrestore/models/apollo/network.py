"""Apollo's generator: the spectrum in bands, attention across them, convolution along time.

Li & Luo, "Apollo: Band-sequence Modeling for High-Quality Audio Restoration" (arXiv 2409.08514),
and their code (JusperLee/Apollo), whose model this is to the last weight.

A map is `(batch, frames, bands, features)` from the band split to the reconstruction. The layers
are named, for block `i` from 0 to `depth - 1` and convolution `j` from 0 to 2:

- `band_split` (`BandSplit`): `gain`, `kernel`, `bias` of all bands but the last, stacked, and
  `last_gain`, `last_kernel`, `last_bias` of the last;
- `block_{i}_roformer` (`BandRoformer`): `attention_gain`, `query_kernel`, `key_kernel`,
  `value_kernel`, `attention_kernel`, `feed_forward_gain`, `gate_kernel`, `content_kernel`,
  `feed_forward_kernel`;
- `block_{i}_convolution_{j}` (`ConvActNorm`): `depthwise_kernel`, `depthwise_bias`, `gain`,
  `expansion_kernel`, `expansion_bias`, `projection_kernel`, `projection_bias`;
- `band_reconstruction` (`BandReconstruction`): as `band_split`;
- with `residual` also `level_features` (`LevelFeatures`): `kernel`, and `spectral_residual`
  (`SpectralResidual`): `gain_kernel`, `gain_bias`, `level_kernel`, `level_bias`.

Kernels are `(inputs, outputs)`, stacked ones `(bands - 1, inputs, outputs)`. Inputs of a band are
its real parts, its imaginary parts and the logarithm of its norm; outputs are real parts, imaginary
parts, and the gates of both. The order of queries and keys is told in `BandRoformer`.

Only the convolutions look along time. So a recording may be put through in pieces of any length:
`start` gives the state before its first frame, `advance` takes spectrum frames and the state and
returns the frames that are complete and the next state. Of the causal network each frame is
complete at once; of the other one frame `frames_after` (54 in the paper's size) frames later.
"""

from __future__ import annotations

import itertools

import keras
from keras import ops

from tfrestore.layers.stft import STFT, InverseSTFT
from tfrestore.models.apollo.band_sequence import BandRoformer, ConvActNorm
from tfrestore.models.apollo.band_split import BandReconstruction, BandSplit
from tfrestore.models.apollo.residual import (
    LevelFeatures,
    SpectralResidual,
    frame_norm,
    whitened,
)
from tfrestore.models.presets import PresetMixin

#: Convolutions along time in a block.
CONVOLUTIONS = 3


@keras.saving.register_keras_serializable(package="tfrestore")
class Apollo(PresetMixin, keras.Model):
    """Restores the waveform of music that lossy compression has taken something from.

    Takes waveforms `(batch, samples)` or `(batch, channels, samples)`, full scale 1, at the rate it
    was trained for, 44.1 kHz in all presets, and returns float32 of the same shape, of any length
    from one sample on. Channels are restored one by one with the same weights. Batch and length may
    be unknown.

    The defaults are the paper's network: 16,539,308 parameters, 253 billion floating-point
    operations per second of one channel. Under a mixed precision policy the spectra, the
    normalisations and the sums through all blocks are float32.

    Args:
        features: int. Width of a band's features, N. Defaults to `256`.
        depth: int. Band-sequence blocks. Defaults to `6`.
        heads: int. Attention heads; divides `features` into even parts. Defaults to `8`.
        kernel_size: int, odd. Frames that a convolution along time sees. Defaults to `7`.
        bands: int. Defaults to `80`.
        band_bins: int. Bins of every band but the last, which has the rest. Defaults to `5`.
        frame_length: int, even. Samples of the Hann window; frames are half as many apart. Defaults
            to `882`, 20 ms.
        causal: bool. If `True`, no frame depends on later ones, and what comes out at a time on
            nothing later than a window after it: an algorithmic latency of `frame_length`, 20 ms.
            The transform then has zeros in front of the first sample instead of its reflection.
            Defaults to `False`, as published.
        residual: bool. If `True`, the network says what is to be added to its input, at whatever
            loudness (`SpectralResidual`), instead of making the spectrum anew. Defaults to `False`,
            as published.
        seed: int. Seed of the initial weights. Defaults to `0`.

    Raises:
        ValueError: if `heads` does not fit `features`, the bands do not fit the bins, `kernel_size`
            is even or `frame_length` odd; in a call, if the waveform has another rank.

    Example:
    ```python
    network = tfrestore.models.Apollo.from_preset("apollo_tiny")
    network(np.random.uniform(-1, 1, (2, 44100))).shape  # (2, 44100)
    ```
    """

    def __init__(
        self,
        features: int = 256,
        depth: int = 6,
        heads: int = 8,
        kernel_size: int = 7,
        bands: int = 80,
        band_bins: int = 5,
        frame_length: int = 882,
        causal: bool = False,
        residual: bool = False,
        seed: int = 0,
        **kwargs,
    ):
        # The layers cast for themselves; the transform must see the waveform in float32.
        super().__init__(autocast=False, **kwargs)
        if frame_length % 2:
            raise ValueError(
                f"Argument `frame_length` must be even. Received: frame_length={frame_length}"
            )
        self.features = features
        self.depth = depth
        self.heads = heads
        self.kernel_size = kernel_size
        self.bands = bands
        self.band_bins = band_bins
        self.frame_length = frame_length
        self.hop_length = frame_length // 2
        self.causal = causal
        self.residual = residual
        self.seed = seed

        policy, seeds = self.dtype_policy, itertools.count(1000 * seed, 10)
        padding = "full" if causal else "center"
        cut = {"bins": frame_length // 2 + 1, "bands": bands, "band_bins": band_bins}
        self.stft = STFT(frame_length, self.hop_length, padding=padding, name="stft")
        self.inverse_stft = InverseSTFT(
            frame_length, self.hop_length, padding=padding, name="inverse_stft"
        )
        self.band_split = BandSplit(
            **cut, features=features, seed=next(seeds), dtype=policy, name="band_split"
        )
        self.sequence = []
        for block in range(depth):
            self.sequence.append(
                BandRoformer(heads, next(seeds), dtype=policy, name=f"block_{block}_roformer")
            )
            self.sequence += [
                ConvActNorm(
                    kernel_size,
                    causal,
                    next(seeds),
                    dtype=policy,
                    name=f"block_{block}_convolution_{number}",
                )
                for number in range(CONVOLUTIONS)
            ]
        self.band_reconstruction = BandReconstruction(
            **cut, seed=next(seeds), dtype=policy, name="band_reconstruction"
        )
        self.level_features = self.spectral_residual = None
        if residual:
            self.level_features = LevelFeatures(
                **cut, features=features, seed=next(seeds), name="level_features"
            )
            self.spectral_residual = SpectralResidual(**cut, name="spectral_residual")
        self.build()

    def build(self, input_shape=None):
        """Makes all weights; the sizes are the constructor's."""
        if self.built:
            return
        maps = (None, None, self.bands, self.features)
        self.band_split.build()
        for layer in (*self.sequence, self.band_reconstruction):
            layer.build(maps)
        if self.residual:
            self.level_features.build()
            self.spectral_residual.build(maps)
        self.built = True

    @property
    def frames_before(self) -> int:
        """Spectrum frames before one that its result depends on."""
        return sum(layer.frames_before for layer in self._convolutions())

    @property
    def frames_after(self) -> int:
        """Spectrum frames behind one that its result depends on; 0 if causal."""
        return sum(layer.frames_after for layer in self._convolutions())

    def call(self, waveform):
        """See the class."""
        waveform = ops.convert_to_tensor(waveform)
        if len(waveform.shape) not in (2, 3):
            raise ValueError(
                "A waveform of shape (batch, samples) or (batch, channels, samples) is needed. "
                f"Received: shape={tuple(waveform.shape)}"
            )
        samples = ops.shape(waveform)[-1]
        rows = ops.reshape(waveform, (-1, samples))
        restored = self.inverse_stft(self.restore_spectrum(self.stft(rows)), samples=samples)
        return ops.reshape(restored, ops.shape(waveform))

    def restore_spectrum(self, spectrum):
        """Restores all frames of a recording's spectrum at once.

        Args:
            spectrum: A pair (real, imaginary), each float32 `(batch, frames, bins)`, of `stft`.

        Returns:
            A pair of the same shapes.
        """
        x = self._split(spectrum)
        for layer in self.sequence:
            x = layer(x)
        return self._join(spectrum, x)

    def _split(self, spectrum):
        """The map that the blocks work on, float32."""
        if not self.residual:
            return ops.cast(self.band_split(spectrum), "float32")
        norm = frame_norm(spectrum)
        spectrum = tuple(part / norm for part in spectrum)
        split = self.band_split(whitened(spectrum, self.bands, self.band_bins))
        return ops.cast(split, "float32") + self.level_features(spectrum)

    def _join(self, spectrum, x):
        """The restored spectrum, of the map that the blocks made of a spectrum."""
        made = self.band_reconstruction(x)
        if self.residual:
            norm = frame_norm(spectrum)
            spectrum = tuple(part / norm for part in spectrum)
            made = (norm * part for part in self.spectral_residual(spectrum, x, made))
        return tuple(made)

    def start(self, batch, lanes: int = 1):
        """The state before the first frame of a recording.

        Args:
            batch: int or scalar int tensor. Waveforms that are restored side by side.
            lanes: int. See `advance`. Defaults to `1`.

        Returns:
            A tuple of one tensor per convolution, in their order, and lane: the last frames of its
            input that it still needs, float32 `(batch, frames, bands, features)`. At the start
            these are the zeros before the first frame, `frames_before` of the layer; once
            `kernel_size - 1` frames have come they are as many. Of the causal network they always
            are. With `residual` there are two more, the parts of the spectrum's frames that are not
            complete.
        """
        state = tuple(
            ops.zeros((batch, layer.frames_before, bands.stop - bands.start, self.features))
            for layer in self._convolutions()
            for bands in _even_parts(self.bands, lanes)
        )
        if self.residual:
            state += (ops.zeros((batch, 0, self.frame_length // 2 + 1), "float32"),) * 2
        return state

    def advance(self, spectrum, state, final=False, lanes: int = 1):
        """Restores the next frames of a spectrum.

        Args:
            spectrum: A pair (real, imaginary), each float32 `(batch, frames, bins)`.
            state: What `start` or the last `advance` returned.
            final: bool or scalar bool tensor. Whether no frames follow. Defaults to `False`.
            lanes: int. Parts that each layer's work is divided into, which need nothing of each
                other: attention by frames, convolutions by bands. The result is the same; several
                processors are kept busier than by the parts of one operation after the other.
                Defaults to `1`.

        Returns:
            A pair: the spectrum frames that are complete now, and the next state. Joined, these
            frames are those of `restore_spectrum`. The first `frames_after` frames of a recording
            complete none and the final ones all that are left; in between come out as many as go
            in, those `frames_after` frames earlier.
        """
        x = self._split(spectrum)
        state, following = iter(state), []
        for roformer, *convolutions in self._blocks():
            frames = _even_parts(ops.shape(x)[1], lanes)
            x = _joined([roformer(x[:, part]) for part in frames], axis=1)
            parts = [x[:, :, part] for part in _even_parts(self.bands, lanes)]
            for layer in convolutions:
                advanced = [layer.advance(part, next(state), final) for part in parts]
                parts = [part for part, _ in advanced]
                following += [left for _, left in advanced]
            x = _joined(parts, axis=2)
        if self.residual:
            spectrum = [
                ops.concatenate([next(state), ops.cast(part, "float32")], axis=1)
                for part in spectrum
            ]
            complete = ops.shape(x)[1]
            following += [part[:, complete:] for part in spectrum]
            spectrum = tuple(part[:, :complete] for part in spectrum)
        return self._join(spectrum, x), tuple(following)

    @staticmethod
    def keep_silence(spectrum, restored):
        """Restored frames, zero where those of the spectrum are: silence stays silence.

        The network itself, which knows a band's level by its logarithm only, might make something
        of it.

        Args:
            spectrum: A pair (real, imaginary), each float32 `(batch, frames, bins)`.
            restored: A pair of the same shapes.

        Returns:
            A pair of the same shapes.
        """
        sounding = ops.any(ops.not_equal(ops.stack(spectrum, axis=-1), 0.0), (2, 3), keepdims=True)
        return tuple(ops.where(sounding[..., 0], part, 0.0) for part in restored)

    def _blocks(self):
        size = 1 + CONVOLUTIONS
        return [self.sequence[start : start + size] for start in range(0, self.depth * size, size)]

    def _convolutions(self):
        return [layer for _, *convolutions in self._blocks() for layer in convolutions]

    def compute_output_shape(self, input_shape):
        """The input's shape."""
        return input_shape

    def compute_output_spec(self, waveform):
        """The shape and dtype of what `call` returns."""
        return keras.KerasTensor(waveform.shape, "float32")

    def get_config(self):
        """The constructor's arguments."""
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "features": self.features,
            "depth": self.depth,
            "heads": self.heads,
            "kernel_size": self.kernel_size,
            "bands": self.bands,
            "band_bins": self.band_bins,
            "frame_length": self.frame_length,
            "causal": self.causal,
            "residual": self.residual,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        """The object of a `get_config`."""
        return cls(**config)


def _even_parts(count, parts: int) -> list[slice]:
    """Slices that divide `count`, an int or a scalar int tensor, as evenly as whole numbers do."""
    edges = [count * part // parts for part in range(parts)] + [count]
    return [slice(first, last) for first, last in itertools.pairwise(edges)]


def _joined(parts, axis: int):
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=axis)
