"""The gap degradation: what of a recording is lost, as a pure function of a seed and an index.

Serra et al. ("Quality Enhancement of Highly Degraded Music Using Deep Learning Models", WebMedia
2021) set between 10 % and 70 % of every 128 x 128 magnitude patch (frames x bins, 512 ms at 16 kHz
with a hop of 64) to zero. The paper's text and its authors' code differ about which part, so there
are several kinds (`GAP_KINDS`), and numbers of different kinds are never compared.

Gaps are the same on every machine and with every NumPy: all randomness is raw 64-bit words of the
counter-based Philox generator, whose stream is fixed by its definition (Salmon et al. 2011), and
they become numbers by the arithmetic written here, which uses integers and single correctly rounded
operations only. The words of patch `index` come from the Philox stream with the key (seed, kind)
and a counter that starts at index * 2**64, so a mask does not depend on batch order or on its
neighbours.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from tfrestore.errors import UsageError

GAP_KINDS = {
    "frames": "scattered whole time frames of the spectrogram (what produced the paper's tables)",
    "window": "contiguous windows of time frames, of random size and position (the paper's text)",
    "bands": "contiguous bands of frequency bins, of random size and position",
    "waveform": "stretches of the waveform itself (what a damaged recording has lost)",
}

PAPER_SHARES = (0.1, 0.7)
PATCH_SHAPE = (128, 128)

# The paper gives no number of windows per patch; up to four leave each about as long as a
# syllable or a note at 512 ms per patch.
MAX_WINDOWS = 4


def gap_mask(
    kind: str,
    seed: int,
    index: int | Sequence[int] | np.ndarray,
    patches: int | None = None,
    *,
    shares: tuple[float, float] = PAPER_SHARES,
    shape: tuple[int, int] = PATCH_SHAPE,
) -> np.ndarray:
    """Which cells of a magnitude patch are kept, a pure function of the arguments.

    With the default shares of 128: `frames` loses k whole frames, k uniform on the integers 12..88
    as in the authors' code (whose upper end is exclusive), a random subset without replacement.
    `window` and `bands` lose a number of frames or bins uniform on 13..89 (10 % to 70 %), in one to
    `MAX_WINDOWS` separate stretches; all ways to share the loss out among the stretches, and all
    ways to place them, are equally likely.

    Args:
        kind: `frames`, `window` or `bands`.
        seed: 0 to 2**64 - 1.
        index: Number of the patch, 0 to 2**64 - 1, or an array of such numbers, in any order.
        patches: When given, masks of that many consecutive patches `index`, `index` + 1, ... are
            returned along one more axis.
        shares: Least and largest share lost, 0 to 1. `frames` draws from floor(least * frames) up
            to but excluding floor(largest * frames), as the authors do; `window` and `bands` from
            the integers whose share lies in the range.
        shape: (frames, bins) of a patch.

    Returns:
        bool array (*index.shape, [patches,] frames, bins); True where the patch is kept.

    Raises:
        UsageError: An unknown kind, or a seed, index, shape or share out of range.
    """
    if kind not in GAP_KINDS or kind == "waveform":
        known = ", ".join(name for name in GAP_KINDS if name != "waveform")
        raise UsageError(f"no spectrogram gap kind {kind!r}: choose one of {known}.")
    _check_shares(shares)
    if len(shape) != 2 or min(shape) < 1:
        raise UsageError(f"a patch of shape {tuple(shape)} is not possible: give (frames, bins).")
    indices = _as_indices(index, patches)
    length = shape[1] if kind == "bands" else shape[0]
    words_per_patch = 1 + length if kind == "frames" else 2 + 2 * length
    words = _words(kind, seed, indices.ravel().tolist(), words_per_patch)
    if kind == "frames":
        lost = _scattered(words, *_authors_counts(shares, length))
    else:
        lost = _stretches(words, *_counts(shares, length))
    axis = 1 if kind == "bands" else 2
    kept = np.expand_dims(~lost, axis)
    mask = np.broadcast_to(kept, (len(kept), *shape)).copy()
    return mask.reshape(*indices.shape, *shape)


def waveform_gaps(
    samples: int,
    sample_rate: int,
    seed: int,
    index: int = 0,
    *,
    shares: tuple[float, float] = PAPER_SHARES,
    milliseconds: tuple[float, float] = (10.0, 50.0),
) -> np.ndarray:
    """The stretches of a waveform that are lost: a random total share in gaps of random duration.

    The number of lost samples is uniform on the integers whose share lies in `shares`. Every gap
    lasts between the two durations, their sum is exactly that number, and at least one sample is
    kept between two gaps wherever that is possible. When no number of gaps makes the sum (a
    waveform shorter than about one gap) there is one gap that loses it all.

    Args:
        samples: Length of the waveform, 0 or more.
        sample_rate: In Hz.
        seed: 0 to 2**64 - 1.
        index: Number of the recording, 0 to 2**64 - 1.
        shares: Least and largest share of the samples lost, 0 to 1.
        milliseconds: Least and largest duration of a gap.

    Returns:
        int64 array (gaps, 2) of (start, stop) in samples, ascending; empty when nothing is lost.

    Raises:
        UsageError: A number out of range.
    """
    _check_shares(shares)
    if samples < 0 or sample_rate < 1:
        raise UsageError(f"{samples} samples at {sample_rate} Hz is not a waveform to put gaps in.")
    if not 0 < milliseconds[0] <= milliseconds[1] < math.inf:
        raise UsageError(
            f"gap durations of {milliseconds[0]} to {milliseconds[1]} ms are not a range: give two "
            "positive numbers, the smaller first."
        )
    shortest, longest = (max(1, round(each * sample_rate / 1000)) for each in milliseconds)
    low, high = _counts(shares, samples)
    (numbered,) = _as_indices(index, 1).tolist()
    lost = int(_uniform_integers(_words("waveform", seed, [numbered], 1)[0], low, high)[0])
    if lost == 0:
        return np.zeros((0, 2), np.int64)

    least, most = -(-lost // longest), lost // shortest
    if least > most:
        count, shortest, longest = 1, lost, lost
    else:
        count = min(max(round(2 * lost / (shortest + longest)), least), most)
    words = _words("waveform", seed, [numbered], 1 + 2 * count)[0, 1:]
    durations = shortest + _integers_with_sum(
        words[:count], longest - shortest, lost - count * shortest
    )
    kept = samples - lost
    apart = 1 if kept >= count - 1 else 0
    places = np.sort(_uniform_integers(words[count:], 0, kept - apart * (count - 1)))
    starts = places + apart * np.arange(count) + np.cumsum(durations) - durations
    return np.stack([starts, starts + durations], axis=1)


def waveform_gap_mask(
    samples: int,
    sample_rate: int,
    seed: int,
    index: int = 0,
    *,
    shares: tuple[float, float] = PAPER_SHARES,
) -> np.ndarray:
    """`waveform_gaps` as a bool array (samples,), True where a sample is kept; same arguments."""
    mask = np.ones(samples, bool)
    for start, stop in waveform_gaps(samples, sample_rate, seed, index, shares=shares):
        mask[start:stop] = False
    return mask


def _words(kind: str, seed: int, indices: Sequence[int], count: int) -> np.ndarray:
    """The first `count` raw words, uint64 (len(indices), count), that belong to each index."""
    if not 0 <= seed < 2**64:
        raise UsageError(f"seed {seed} is out of range: give an integer from 0 to 2**64 - 1.")
    kind_word = int.from_bytes(hashlib.blake2b(kind.encode(), digest_size=8).digest(), "little")
    generator = np.random.Philox(key=np.array([seed, kind_word], np.uint64))
    state = generator.state
    words = np.empty((len(indices), count), np.uint64)
    for row, index in enumerate(indices):
        state["state"]["counter"][:] = (0, index, 0, 0)
        generator.state = state
        words[row] = generator.random_raw(count)
    return words


def _uniform_integers(words: np.ndarray, low: int, high: np.ndarray | int) -> np.ndarray:
    """One integer of low..high (both included) from each word, int64.

    A word's upper 53 bits are a fraction below 1, exact in float64. With n = high - low + 1 values,
    the probability of each is off by a factor of less than n / 2**53.
    """
    fractions = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return low + np.floor(fractions * (np.asarray(high) - low + 1)).astype(np.int64)


def _permutations(words: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Per row, a random order of the places 0 .. among - 1, followed by the other places.

    Sorting distinct random words makes every order equally likely; two of 128 words are equal once
    in 2**51 rows, and the stable sort keeps even that row the same everywhere.
    """
    places = np.arange(words.shape[1])
    keys = np.where(places < among[:, None], words, np.uint64(2**64 - 1))
    return np.argsort(keys, axis=1, kind="stable")


def _scattered(words: np.ndarray, low: int, high: int) -> np.ndarray:
    """Bool (rows, length): a random subset of low..high places, from 1 + length words a row."""
    length = words.shape[1] - 1
    count = _uniform_integers(words[:, 0], low, high)
    order = _permutations(words[:, 1:], np.full(len(words), length))
    lost = np.zeros(order.shape, bool)
    np.put_along_axis(lost, order, np.arange(length) < count[:, None], axis=1)
    return lost


def _stretches(words: np.ndarray, low: int, high: int) -> np.ndarray:
    """Bool (rows, length): low..high places in stretches, from 2 + 2 * length words a row."""
    length = (words.shape[1] - 2) // 2
    total = _uniform_integers(words[:, 0], low, high)
    kept = length - total
    # A stretch holds at least one place, and at least one kept place parts it from the next.
    most = np.minimum(MAX_WINDOWS, np.minimum(total, kept + 1))
    number = _uniform_integers(words[:, 1], 1, np.maximum(most, 1))[:, None]
    which = np.arange(min(MAX_WINDOWS, length))
    # Cutting a row of `total` places at number - 1 of its total - 1 joints gives the sizes.
    joints = _permutations(words[:, 2 : 2 + length], total - 1)[:, : len(which)]
    cuts = np.sort(np.where(which < number - 1, joints + 1, total[:, None]), axis=1)
    sizes = np.diff(cuts, axis=1, prepend=0)
    # The stretches go to `number` different slots before, between and after the kept places.
    slots = _permutations(words[:, 2 + length :], kept + 1)[:, : len(which)]
    slots = np.sort(np.where(which < number, slots, kept[:, None]), axis=1)
    starts = slots + np.cumsum(sizes, axis=1) - sizes
    places = np.arange(length)[:, None]
    inside = (places >= starts[:, None]) & (places < (starts + sizes)[:, None])
    return inside.any(axis=2)


def _integers_with_sum(words: np.ndarray, largest: int, total: int) -> np.ndarray:
    """Random integers of 0..largest, one per word, whose sum is `total`.

    Uniform draws are shrunk towards 0, or their distances to `largest` are, by one common factor.
    """
    drawn = _uniform_integers(words, 0, largest)
    if total > drawn.sum():
        return largest - _shrunk(largest - drawn, largest * len(words) - total)
    return _shrunk(drawn, total)


def _shrunk(values: np.ndarray, total: int) -> np.ndarray:
    """`values` times total / sum(values), rounded so that the sum is exact and none grows."""
    # Python's integers: hours of samples squared do not fit into 64 bits.
    ends = np.cumsum(values).astype(object)
    scaled = ends * total // max(int(ends[-1]), 1)
    return np.diff(scaled, prepend=0).astype(np.int64)


def _counts(shares: tuple[float, float], length: int) -> tuple[int, int]:
    """Least and largest integer whose share of `length` is in `shares`; equal if none is."""
    high = math.floor(shares[1] * length + 1e-9)
    return min(math.ceil(shares[0] * length - 1e-9), high), high


def _authors_counts(shares: tuple[float, float], length: int) -> tuple[int, int]:
    """Both ends cut to integers, the upper one exclusive: 12..88 of 128 for 10 % to 70 %."""
    low, end = (math.floor(share * length + 1e-9) for share in shares)
    return low, max(low, end - 1)


def _as_indices(index: int | Sequence[int] | np.ndarray, patches: int | None) -> np.ndarray:
    """The index or indices as a uint64 array, with `patches` consecutive ones along a last axis."""
    given = np.asarray(index)
    if given.dtype.kind not in "iu" and given.size:
        raise UsageError(f"a patch index is an integer from 0 to 2**64 - 1, not {index!r}.")
    if given.size and int(given.min()) < 0:
        raise UsageError(f"patch index {int(given.min())} is negative: count from 0.")
    if patches is None:
        return given.astype(np.uint64)
    if patches < 0:
        raise UsageError(f"{patches} patches are not possible: give 0 or more.")
    return given.astype(np.uint64)[..., None] + np.arange(patches, dtype=np.uint64)


def _check_shares(shares: tuple[float, float]) -> None:
    if len(shares) != 2 or not 0 <= shares[0] <= shares[1] <= 1:
        raise UsageError(
            f"the share lost cannot range over {tuple(shares)}: give two numbers from 0 to 1, the "
            "smaller first."
        )
