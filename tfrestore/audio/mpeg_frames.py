"""The frames of an MPEG audio stream, as far as its length can be read off their headers.

An MP3 says how long it is in a Xing tag, which not every encoder writes. Without one a decoder
guesses from the file's size and the first frame's bit rate; for a variable bit rate that guess may
be a fraction of the truth, and libsndfile then stops there in the middle of the music. Here the
frames are counted, and a tag with their number is made, so that a decoder that is given tag and
stream knows the length.

Layout of headers and side information: ISO/IEC 11172-3 and 13818-3; of the tag: the Xing header as
LAME writes it (VbrTag.c).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

_BIT_RATES_MPEG_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BIT_RATES_MPEG_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
# Keyed by the header's two version bits: MPEG-2.5, MPEG-2 and MPEG-1.
_SAMPLE_RATES = {0: (11025, 12000, 8000), 2: (22050, 24000, 16000), 3: (44100, 48000, 32000)}

# Where more bytes belong to no frame, libmpg123 gives up (its resync limit), and libsndfile offers
# no way to raise that.
_MOST_SKIPPED = 1000

ALL_BIT_RATES = tuple(sorted({*_BIT_RATES_MPEG_1, *_BIT_RATES_MPEG_2}))


class Bytes(Protocol):
    """What `bytes` and `mmap.mmap` share."""

    def __len__(self) -> int: ...

    def __getitem__(self, key): ...

    def find(self, sub: bytes, start: int) -> int:
        """Position of `sub` at or behind `start`, or -1."""


@dataclass(frozen=True)
class FrameHeader:
    """The four bytes in front of every frame of MPEG audio layer III.

    Attributes:
        word: The header itself, four bytes.
        kbit_per_second: Bit rate of this frame.
        sample_rate: In hertz.
        channels: 1 or 2.
        samples: Sample frames that this frame decodes to, 1152 or 576.
        size: Length of the frame in bytes, header included.
    """

    word: bytes
    kbit_per_second: int
    sample_rate: int
    channels: int
    samples: int
    size: int

    @property
    def tag_offset(self) -> int:
        """Where a Xing tag stands in a frame: behind the header and the side information."""
        side_information = {(1152, 2): 32, (1152, 1): 17, (576, 2): 17, (576, 1): 9}
        return 4 + side_information[self.samples, self.channels]


@dataclass(frozen=True)
class MpegStream:
    """Where the frames of a stream begin, and how many there are.

    Attributes:
        first: Header of the first frame.
        offset: Position of the first frame in the file, behind any ID3 tag.
        frames: Number of frames, a last one that the file cuts off included.
        tagged: Whether the first frame is a Xing or Info tag, which says the length itself.
    """

    first: FrameHeader
    offset: int
    frames: int
    tagged: bool


def parse_header(word: bytes) -> FrameHeader | None:
    """Reads a frame header, or gives `None` for four bytes that are not one of layer III.

    Args:
        word: Four bytes.

    Returns:
        The header; `None` also for the free format, whose frames do not say their length.
    """
    if len(word) < 4 or word[0] != 0xFF or word[1] & 0xE6 != 0xE2:
        return None
    version, rate_index, sample_rate_index = word[1] >> 3 & 3, word[2] >> 4, word[2] >> 2 & 3
    if version == 1 or rate_index in (0, 15) or sample_rate_index == 3:
        return None
    bit_rates = _BIT_RATES_MPEG_1 if version == 3 else _BIT_RATES_MPEG_2
    kbit_per_second = bit_rates[rate_index - 1]
    sample_rate = _SAMPLE_RATES[version][sample_rate_index]
    samples = 1152 if version == 3 else 576
    size = samples * 125 * kbit_per_second // sample_rate + (word[2] >> 1 & 1)
    channels = 1 if word[3] >> 6 == 3 else 2
    return FrameHeader(bytes(word), kbit_per_second, sample_rate, channels, samples, size)


def scan(data: Bytes) -> MpegStream | None:
    """Walks from frame header to frame header through a whole MP3.

    Bytes that belong to no frame are skipped. A stream with a tag is not walked: its first frame
    says how many there are.

    Args:
        data: The file's bytes, or a memory map of them.

    Returns:
        The stream, or `None` where no two frames of layer III follow each other.
    """
    first: FrameHeader | None = None
    offset = frames = 0
    for position, header in _walk(data):
        if first is None:
            first, offset = header, position
            if _is_tagged(data, position, header):
                return MpegStream(header, position, 0, tagged=True)
        frames += 1
    return None if first is None else MpegStream(first, offset, frames, tagged=False)


def readable_stretches(data: Bytes) -> list[tuple[int, int]]:
    """Where in an MP3 is what a decoder can get through: all of it but damage that would stop it.

    Args:
        data: The file's bytes, or a memory map of them.

    Returns:
        (start, stop) in bytes, one stretch for a file that is whole.
    """
    stretches, start, end = [], 0, None
    for position, header in _walk(data):
        if end is not None and position - end > _MOST_SKIPPED:
            stretches.append((start, end))
            start = position
        end = position + header.size
    return [*stretches, (start, len(data))]


def mean_bit_rate(data: Bytes, duration: float) -> int:
    """The mean bit rate of an MP3's frames, the usual one where it is close to that.

    What is no frame does not count: pictures and other tags in front of the music or behind it.

    Args:
        data: The file's bytes, or a memory map of them.
        duration: Of the sound, in seconds; for a stream of which no frames are found.

    Returns:
        kbit/s.
    """
    # All frames of a stream take the same time.
    rates = Counter(
        header.kbit_per_second
        for number, (position, header) in enumerate(_walk(data))
        if number or not _is_tagged(data, position, header)
    )
    mean = 8 * len(data) / duration / 1000
    if rates:
        mean = sum(rate * count for rate, count in rates.items()) / rates.total()
    usual = min(ALL_BIT_RATES, key=lambda rate: abs(rate - mean))
    return usual if abs(mean / usual - 1) < 0.08 else round(mean)


def length_tag(stream: MpegStream, delay: int | None = None, padding: int = 0) -> bytes:
    """Makes the frame that tells a decoder the length of the stream that follows it.

    Args:
        stream: What `scan` found.
        delay: Samples by which the encoder delays the sound, 0 to 4095, where known. A decoder
            removes them and its own 529; without this number it removes only its own.
        padding: Samples behind the sound's end, 0 to 4095, the decoder's 529 included.

    Returns:
        One frame with a Xing tag.
    """
    # The largest bit rate leaves room for the tag at any sample rate; no padding, no checksum.
    word = bytearray(stream.first.word)
    word[1] |= 1
    word[2] = 0xE0 | word[2] & 0x0C
    header = parse_header(bytes(word))
    if header is None:
        raise ValueError("The first frame of this stream has no valid header.")
    body = b"Xing" + (1).to_bytes(4, "big") + stream.frames.to_bytes(4, "big")
    if delay is not None:
        # Encoder's name, then twelve bytes of settings that a decoder can do without.
        body += b"LAME3.100" + bytes(12) + (delay << 12 | padding).to_bytes(3, "big")
    return (header.word + bytes(header.tag_offset - 4) + body).ljust(header.size, b"\0")


def _walk(data: Bytes) -> Iterator[tuple[int, FrameHeader]]:
    """The position and the header of every frame, from one to the next; other bytes are skipped."""
    position = _id3_size(data)
    headers: dict[bytes, FrameHeader] = {}
    first: FrameHeader | None = None
    while position + 4 <= len(data):
        word = bytes(data[position : position + 4])
        header = headers.get(word)
        if header is None:
            header = parse_header(word)
            if header is None or not _fits(header, first, data, position):
                position = data.find(b"\xff", position + 1)
                if position < 0:
                    return
                continue
            first = first or header
            # Only the header's own bits decide, so each distinct word is parsed once.
            headers[word] = header
        yield position, header
        position += header.size


def _fits(header: FrameHeader, first: FrameHeader | None, data: Bytes, position: int) -> bool:
    if first is not None:
        return (header.sample_rate, header.samples) == (first.sample_rate, first.samples)
    # Eleven set bits are found in any data; a second header at the right distance is not chance.
    following = parse_header(bytes(data[position + header.size : position + header.size + 4]))
    return following is not None and following.sample_rate == header.sample_rate


def _is_tagged(data: Bytes, position: int, header: FrameHeader) -> bool:
    start = position + header.tag_offset
    mark = bytes(data[start : start + 8])
    return mark[:4] in (b"Xing", b"Info") and len(mark) == 8 and bool(mark[7] & 1)


def _id3_size(data: Bytes) -> int:
    head = bytes(data[:10])
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)
