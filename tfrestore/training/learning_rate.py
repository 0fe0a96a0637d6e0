"""How a learning rate goes on in the course of a training."""

from __future__ import annotations

import keras

SCHEDULES = ("constant", "cosine")


def scheduled(learning_rate: float, schedule: str, updates: int | None):
    """A learning rate, or its course, as an optimizer takes it.

    Args:
        learning_rate: At the start.
        schedule: `"constant"`, or `"cosine"`, which takes it to zero along half a period
            (Loshchilov & Hutter 2017, equation 5, one cycle).
        updates: Updates that the optimizer makes in all; only `"cosine"` needs it.

    Returns:
        A number or a schedule, a function of the optimizer's updates, which checkpoints hold.

    Raises:
        ValueError: if the schedule is none of `SCHEDULES`, or needs `updates` and there are none.
    """
    if schedule not in SCHEDULES:
        raise ValueError(
            f"Argument `learning_rate_schedule` must be one of {SCHEDULES}. Received: "
            f"learning_rate_schedule={schedule!r}"
        )
    if schedule == "constant":
        return learning_rate
    if not updates:
        raise ValueError(
            "Argument `total_steps` must say how long the learning rate is to decay. Received: "
            f"learning_rate_schedule={schedule!r}, total_steps={updates}"
        )
    return keras.optimizers.schedules.CosineDecay(learning_rate, updates)
