"""Sums and maxima over a window that slides along a sequence."""

from __future__ import annotations


def slide(values, width: int, combine):
    """Combines every `width` neighbours.

    Windows of one element are joined to windows of two, these to windows of four and so on, so that
    the work grows with the logarithm of the width.

    Args:
        values: `(batch, n, ...)`; the window slides along `n`.
        width: int. Elements of the window, at least 1.
        combine: Combines two arrays element by element, and is associative: `ops.add`,
            `ops.maximum`.

    Returns:
        `(batch, n - width + 1, ...)`, of which element `t` combines the elements `t` to
        `t + width - 1`; nothing where the sequence is shorter than the window.
    """
    if width == 1:
        return values
    shift = width // 2
    half = slide(values, shift, combine)
    whole = combine(half[:, :-shift], half[:, shift:])
    return combine(whole[:, :-1], values[:, width - 1 :]) if width % 2 else whole
