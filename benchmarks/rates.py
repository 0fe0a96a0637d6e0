"""How many items a second something delivers, and what the parts of an item take on one core."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


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
