"""The product's verdict and the oracle's on the same random tenants, and that the tenants are worth asking about."""

from __future__ import annotations

from collections import Counter

from keydrift.catalogue import CODES
from keydrift.model import State
from support.agreement import Disagreement, compare_opinions

SEEDS = 6_000
# What no single decision can say: the monitor compares two for the one, and gives up on a recheck for the other
NEVER_DECIDED = {"key-changed", "recheck-failed"}


def _agreed(seeds: range) -> tuple[Counter[State], Counter[str]]:
    states: Counter[State] = Counter()
    codes: Counter[str] = Counter()
    for seed in seeds:
        verdict = compare_opinions(seed)
        assert not isinstance(verdict, Disagreement), str(verdict)
        states[verdict.state] += 1
        codes.update(verdict.codes)
    return states, codes


def test_decide_agrees_with_the_oracle() -> None:
    """On every random tenant both find the same state, codes and missing permissions, and every state and code occurs."""
    states, codes = _agreed(range(SEEDS))
    assert set(states) == set(State)
    assert set(codes) == set(CODES) - NEVER_DECIDED
