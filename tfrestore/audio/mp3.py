"""What an MP3 leaves of a waveform: LAME 3.100 (lameenc) there, libmpg123 (soundfile) back.

LAME delays the sound by 576 samples and the decoder by 529, together 1105, at the MP3's own sample
rate. The encoder here writes both facts into a length tag in front of the stream, as the program
`lame` does, so that any decoder gives back the sound from its first sample to its last. At low bit
rates LAME lowers the sample rate (44.1 kHz becomes 16 kHz at 16 kbit/s mono) with a resampler of
its own, which adds no delay. It also turns the sound down, to 0.95 of its amplitude up to
160 kbit/s, 0.97 at 192 and 0.98 at 224; that is in every MP3 it makes, and is left as it is.
"""

from __future__ import annotations

import functools
import io

import lameenc
import numpy as np
import soundfile

from tfrestore.audio import mpeg_frames
from tfrestore.audio.mpeg_messages import silenced
from tfrestore.audio.resampling import resample, resampled_length
from tfrestore.errors import InputError, UsageError

_ENCODER_DELAY = 576
_AVERAGE_BIT_RATE = lameenc.VBR_ABR
# The quality that the program `lame` uses unless told otherwise, from 0 (best) to 9.
_QUALITY = 3
# Below, lameenc's buffer is too small for what LAME's lowest rate makes of the sound.
_LAME_RATES = range(8000, 384001)


def mp3_bit_rates(sample_rate: int, channels: int) -> tuple[int, ...]:
    """The bit rates that LAME has for a waveform, asked of LAME itself.

    Args:
        sample_rate: The waveform's rate in hertz; LAME picks the MP3's rate for each bit rate.
        channels: 1 or 2.

    Returns:
        Constant bit rates in kbit/s, ascending; for 44.1 kHz 8 to 320, for 16 kHz 8 to 160.

    Raises:
        UsageError: MP3 does not hold so many channels, or LAME not this sample rate.
    """
    return tuple(_codec_sample_rates(sample_rate, channels))


def mp3_sample_rate(sample_rate: int, channels: int, kbit_per_second: int) -> int:
    """The sample rate of the MP3 that LAME makes of a waveform at a constant bit rate.

    Args:
        sample_rate: The waveform's rate in hertz.
        channels: 1 or 2.
        kbit_per_second: One of `mp3_bit_rates(sample_rate, channels)`.

    Returns:
        A rate in hertz, at most 48000 and often lower than the waveform's: nothing above half of it
        is in the MP3.

    Raises:
        UsageError: LAME has no such bit rate for this waveform.
    """
    rates = _codec_sample_rates(sample_rate, channels)
    if kbit_per_second not in rates:
        raise UsageError(
            f"MP3 has no {kbit_per_second} kbit/s for {channels} channel(s) at {sample_rate} Hz; "
            f"choose one of {', '.join(map(str, rates))}."
        )
    return rates[kbit_per_second]


def encode_mp3(
    waveform: np.ndarray,
    sample_rate: int,
    kbit_per_second: int,
    variable_bit_rate: bool = False,
) -> bytes:
    """Encodes a waveform as a gapless MP3.

    Args:
        waveform: float32, shape `(1 or 2, samples)`; what is beyond full scale (1) is clipped, as
            in the 16-bit file that an encoder usually reads.
        sample_rate: In hertz, 8000 to 384000.
        kbit_per_second: One of `mp3_bit_rates(sample_rate, channels)`.
        variable_bit_rate: `False` for that constant bit rate, `True` for LAME's ABR mode: frames
            differ and their mean is close to it.

    Returns:
        The bytes of the MP3.

    Raises:
        UsageError: LAME has no such bit rate for this waveform, or MP3 not so many channels.
        InputError: There are no samples, or one is not a finite number.
    """
    channels, samples = waveform.shape
    mp3_sample_rate(sample_rate, channels, kbit_per_second)
    if not np.isfinite(waveform).all():
        raise InputError("A waveform with samples that are not finite numbers has no MP3.")
    if not samples:
        raise InputError("A waveform without samples has no MP3.")
    frames = _encode(waveform, sample_rate, kbit_per_second, variable_bit_rate)
    stream = mpeg_frames.scan(frames)
    if stream is None:
        raise RuntimeError("LAME returned no frames.")
    length = resampled_length(samples, sample_rate, stream.first.sample_rate)
    padding = stream.frames * stream.first.samples - _ENCODER_DELAY - length
    return mpeg_frames.length_tag(stream, _ENCODER_DELAY, padding) + frames


def decode_mp3(data: bytes) -> tuple[np.ndarray, int]:
    """Decodes an MP3 from memory.

    Args:
        data: The bytes of the MP3.

    Returns:
        The waveform, float32 `(channels, samples)`, and its sample rate in hertz. From what
        `encode_mp3` made, encoder's and decoder's delay are removed.

    Raises:
        InputError: These bytes are not an MP3.
    """
    stream = mpeg_frames.scan(data)
    if stream is not None and not stream.tagged:
        data = mpeg_frames.length_tag(stream) + data[stream.offset :]
    try:
        with silenced():
            frames, sample_rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise InputError("These bytes are not an MP3 that can be decoded.") from error
    return np.ascontiguousarray(frames.T), sample_rate


def mp3_round_trip(
    waveform: np.ndarray,
    sample_rate: int,
    kbit_per_second: int,
    variable_bit_rate: bool = False,
) -> np.ndarray:
    """What a waveform sounds like after it has been an MP3, sample-aligned with the original.

    Args:
        waveform: float32, shape `(1 or 2, samples)`, any length; clipped at full scale (1).
        sample_rate: In hertz, 8000 to 384000; where the MP3's is another, the decoded sound is
            resampled back to it.
        kbit_per_second: One of `mp3_bit_rates(sample_rate, channels)`.
        variable_bit_rate: As for `encode_mp3`.

    Returns:
        float32, the shape of `waveform`. Values may exceed 1, as a decoder's do.

    Raises:
        UsageError: LAME has no such bit rate for this waveform, or MP3 not so many channels.
        InputError: A sample is not a finite number.
    """
    channels, samples = waveform.shape
    if not samples:
        mp3_sample_rate(sample_rate, channels, kbit_per_second)
        return np.zeros((channels, 0), np.float32)
    data = encode_mp3(waveform, sample_rate, kbit_per_second, variable_bit_rate)
    decoded, codec_sample_rate = decode_mp3(data)
    return resample(decoded, codec_sample_rate, sample_rate)[:, :samples]


@functools.lru_cache(maxsize=64)
def _codec_sample_rates(sample_rate: int, channels: int) -> dict[int, int]:
    """Each bit rate that LAME really uses when asked for it, with the MP3's sample rate."""
    if channels not in (1, 2):
        raise UsageError(f"An MP3 has 1 or 2 channels, not {channels}; encode them in pairs.")
    if sample_rate not in _LAME_RATES:
        raise UsageError(
            f"LAME takes {_LAME_RATES[0]} to {_LAME_RATES[-1]} Hz, not {sample_rate}; "
            "resample first."
        )
    rates = {}
    for kbit_per_second in mpeg_frames.ALL_BIT_RATES:
        # What LAME does not have it replaces silently by the nearest that it has.
        frames = _encode(np.zeros((channels, 1), np.float32), sample_rate, kbit_per_second, False)
        stream = mpeg_frames.scan(frames)
        if stream is not None and stream.first.kbit_per_second == kbit_per_second:
            rates[kbit_per_second] = stream.first.sample_rate
    return rates


def _encode(
    waveform: np.ndarray, sample_rate: int, kbit_per_second: int, variable_bit_rate: bool
) -> bytes:
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_channels(waveform.shape[0])
    encoder.set_in_sample_rate(sample_rate)
    encoder.set_quality(_QUALITY)
    if variable_bit_rate:
        encoder.set_vbr(_AVERAGE_BIT_RATE)
        encoder.set_vbr_mean_bitrate_kbps(kbit_per_second)
    else:
        encoder.set_bit_rate(kbit_per_second)
    steps = np.clip(np.rint(waveform.T * 32768.0), -32768, 32767).astype("<i2")
    return bytes(encoder.encode(steps.tobytes())) + bytes(encoder.flush())
