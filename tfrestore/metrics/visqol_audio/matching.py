"""Which parts of the estimate ViSQOL compares the reference's patches with.

Chinen et al., "ViSQOL v3" (QoMEX 2020): a patch may match one up to 60 patches (36 s) earlier or
later, but matches keep the patches' order, and of all such choices the one counts whose NSIM is the
largest in sum. Dynamic programming finds it. A patch costs the same in any recording longer than
72 s, and less in shorter ones.
"""

from __future__ import annotations

import numpy as np

from tfrestore.metrics.visqol_audio.similarity import PATCH_FRAMES, search_similarities

_SEARCH_FRAMES = 60 * PATCH_FRAMES


def match_patches(
    reference: np.ndarray, starts: np.ndarray, estimate: np.ndarray
) -> list[int | None]:
    """The frames at which the patches' matches start.

    Args:
        reference: float64 (bands, frames), levels in decibels above the floor.
        starts: int (patches,), ascending: the frames at which the reference's patches start.
        estimate: (bands, frames), as `reference`, not necessarily as long.

    Returns:
        For each patch a frame of the estimate, each later than those before, or None where the sum
        is larger without a match (a lost packet).
    """
    frames = estimate.shape[1]
    windows = [
        range(max(start - _SEARCH_FRAMES, 0), min(start + _SEARCH_FRAMES + 1, frames))
        for start in starts.tolist()
    ]
    first, *others = search_similarities(reference, starts, estimate, windows)
    # For the matches in a patch's window: the largest sum up to it, and the match before it there.
    total, before = first, [np.full(len(first), -1)]
    for similarity, window, previous in zip(others, windows[1:], windows[:-1], strict=True):
        earlier = np.full(window.stop - previous.start, -np.inf)
        earlier[: len(total)] = total
        highest = np.maximum.accumulate(earlier)
        # Of equally high ones the last.
        frame = np.arange(previous.start, window.stop)
        holder = np.maximum.accumulate(np.where(earlier == highest, frame, -1))
        own = slice(window.start - previous.start, None)
        with_match = similarity + np.append(-np.inf, highest[:-1])[own]
        without = earlier[own]
        total = np.maximum(with_match, without)
        before.append(np.where(without > with_match, frame[own], np.append(-1, holder[:-1])[own]))
    matches: list[int | None] = []
    match = windows[-1][int(np.argmax(total))]
    for window, previous_match in zip(reversed(windows), reversed(before), strict=True):
        previous = int(previous_match[match - window.start])
        # Without a match, the sum is that of the patch before, at the same frame.
        matches.append(None if previous == match else match)
        match = previous
    return matches[::-1]
