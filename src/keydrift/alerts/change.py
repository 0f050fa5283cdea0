"""Whether a drift got worse or better: state by rank, then findings that came or went. Pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from enum import StrEnum

from keydrift.model import State


class Change(StrEnum):
    """How a key binding is compared with what was alerted last."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"


def change_between(before: State, codes_before: AbstractSet[str], now: State, codes_now: AbstractSet[str]) -> Change:
    """Compare two verdicts. Findings that replace others at the same state are neither worse nor better."""
    if before is not now:
        return Change.WORSE if now.rank > before.rank else Change.BETTER
    if codes_before < codes_now:
        return Change.WORSE
    return Change.BETTER if codes_now < codes_before else Change.SAME
