"""What a row of the benchmark's output is made of: seconds measured, summed up without assuming a distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """`n`, and `min`, `p50`, `p99`, `max` in milliseconds; percentiles by nearest rank, so each is a value that was measured."""
    assert seconds, "nothing was measured"
    ordered = sorted(seconds)
    return {
        "n": len(ordered),
        "min_ms": _ms(ordered[0]),
        "p50_ms": _ms(_nearest_rank(ordered, 0.50)),
        "p99_ms": _ms(_nearest_rank(ordered, 0.99)),
        "max_ms": _ms(ordered[-1]),
    }


def _nearest_rank(ordered: Sequence[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
