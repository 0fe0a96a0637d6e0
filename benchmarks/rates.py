"""How many items a second something delivers, and what the parts of an item take on one core."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Training:
    """What trains a preset, on every device that there is.

    Attributes:
        batch_size: Examples per step.
        examples: The preset's examples.
        train_step: Makes a step on a batch.
        distribute: Makes batches of a dataset for it.
    """

    batch_size: int
    examples: Any
    train_step: Callable[[Any], None]
    distribute: Callable[[Any], Any]


def start_training(name: str, batch_size: int | None) -> Training:
    """What the train command would train with.

    Args:
        name: The preset's.
        batch_size: Examples per step; `None` for as many as the preset says.
    """
    import tensorflow as tf

    from tfrestore.models.presets import find_preset
    from tfrestore.training.configuration import resolve
    from tfrestore.training.distribution import default_strategy

    preset = resolve(find_preset(name), batch_size=batch_size)
    strategy = default_strategy()
    with strategy.scope():
        network = preset.make("network")
        restorer = preset.make("restorer", network)
        trainer = preset.make("recipe", network)

    @tf.function
    def train_step(batch):
        strategy.run(trainer.train_step, args=(batch,))

    return Training(
        preset.config["training"]["batch_size"],
        preset.make("data", restorer),
        train_step,
        strategy.experimental_distribute_dataset,
    )


def items_per_second(step: Callable[[], object], items: int, seconds: float) -> float:
    """The rate of a step that is repeated for so long, after three to get going.

    Args:
        step: Takes or makes some items.
        items: How many.
        seconds: How long to measure.
    """
    for _ in range(3):
        step()
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        step()
        count += 1
    return count * items / (time.perf_counter() - began)


def print_parts(unit: str, count: int, parts: Sequence[tuple[str, Callable[[], object]]]) -> None:
    """Calls parts one after the other, and prints the processor's time of each per item.

    Args:
        unit: What an item is called.
        count: Items that each part handles.
        parts: Names and functions.
    """
    print(f"per {unit}, on one core:")
    for name, part in parts:
        began = time.process_time()
        part()
        print(f"  {name:32s} {(time.process_time() - began) / count * 1e3:8.2f} ms")
