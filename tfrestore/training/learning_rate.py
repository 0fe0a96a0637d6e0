"""How a learning rate goes on in the course of a training."""

from __future__ import annotations

import keras

LEARNING_RATE_DECAYS = ("none", "cosine")


def check_decay(learning_rate_decay: str, total_steps: int | None) -> None:
    """Checks what a trainer is told of its learning rate.

    Raises:
        ValueError: if the decay is none of `LEARNING_RATE_DECAYS`, or needs `total_steps` and there
            are none.
    """
    if learning_rate_decay not in LEARNING_RATE_DECAYS:
        raise ValueError(
            f"Argument `learning_rate_decay` must be one of {LEARNING_RATE_DECAYS}. Received: "
            f"learning_rate_decay={learning_rate_decay!r}"
        )
    if learning_rate_decay != "none" and not total_steps:
        raise ValueError(
            "Argument `total_steps` must say how long the learning rate is to decay. Received: "
            f"learning_rate_decay={learning_rate_decay!r}, total_steps={total_steps}"
        )


def decaying(learning_rate: float, learning_rate_decay: str, updates: int | None):
    """A learning rate, or its course, as an optimizer takes it.

    Args:
        learning_rate: At the start.
        learning_rate_decay: `"none"`, or `"cosine"`, which takes it to zero along half a period
            (Loshchilov & Hutter 2017, equation 5, one cycle).
        updates: Updates that the optimizer makes in all; only `"cosine"` needs it.

    Returns:
        A number or a schedule, a function of the optimizer's updates, which checkpoints hold.
    """
    if learning_rate_decay == "none":
        return learning_rate
    return keras.optimizers.schedules.CosineDecay(learning_rate, updates)
