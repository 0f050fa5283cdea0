"""CPU time of repeated work. Standard library only: every environment runs it."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable

ROUNDS = 5


def medians(work: Callable[[], object], items: int, rounds: int = ROUNDS) -> float:
    """Microseconds of this process's CPU an item: the median of several rounds, after one that warms up."""
    work()
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken) / items * 1e6


def all_of(results: Iterable[object]) -> None:
    """Make every result, and keep none: as a sweep lets go of each once it is recorded."""
    deque(results, maxlen=0)
