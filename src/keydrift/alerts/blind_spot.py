"""Blind spots beside what was told: a finding that nobody can see any more has not ended. Pure.

INVARIANT (an end is seen): no row leaves out a finding that was told before and whose source was not read, as if it had ended.
While nothing else differs, nothing is told and the drift stands as it was; where something has to be told, `facts-unreadable`
stands in the row for what is hidden, until that can be read.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace

from keydrift.access.blind_spots import OF_GRANTS, OF_PRINCIPALS
from keydrift.access.finding import unreadable
from keydrift.alerts.record import Standing
from keydrift.model import State, Verdict

UNREADABLE = "facts-unreadable"
_BLIND = {UNREADABLE, "recheck-failed"}
_SWITCHED = "permission-model-switched"


def shown(standing: Standing | None, verdict: Verdict) -> Verdict:
    """The verdict as rows tell it beside what was told: with what it cannot see of that, and which reads failed.

    A loss stays a loss. Where nothing is lost, one that may hide what was told is unknown.
    """
    told = frozenset[str]() if standing is None else standing.codes | standing.unseen
    hiding = [spot for spot in verdict.blind_spots if spot.codes & (told - verdict.codes)]
    if not hiding:
        return verdict
    unseen = (told - verdict.codes) & frozenset[str]().union(*(spot.codes for spot in hiding))
    findings = verdict.findings
    if not verdict.codes & _BLIND:
        known = tuple(found for found in findings if found.code not in _explained_by(unseen)) or findings
        unread = {spot.unread: unreadable(spot.unread) for spot in hiding}
        findings = tuple(sorted((*known, *unread.values()), key=lambda found: -found.level.rank))
    state = max(verdict.state, State.UNKNOWN, key=lambda each: each.rank)
    return replace(verdict, state=state, findings=findings, unseen=unseen)


def is_as_told(standing: Standing, verdict: Verdict) -> bool:
    """Whether a shown verdict says nothing that was not told."""
    if standing.state is not verdict.state:
        return False
    if standing.codes == verdict.codes or not verdict.unseen:
        return standing.codes == verdict.codes
    return reckoned(standing.codes, standing.unseen) == reckoned(verdict.codes, verdict.unseen)


def reckoned(codes: AbstractSet[str], unseen: AbstractSet[str]) -> frozenset[str]:
    """The codes to reckon with: those seen, and those told before that cannot be seen now in the place of `facts-unreadable`."""
    if not unseen:
        return frozenset(codes)
    return frozenset((codes - {UNREADABLE} - _explained_by(unseen)) | unseen)


def _explained_by(unseen: AbstractSet[str]) -> frozenset[str]:
    """What is found only because the cause above it cannot be seen (catalogue, "one cause, one code")."""
    if unseen & OF_PRINCIPALS:
        return OF_GRANTS - unseen
    return OF_GRANTS - unseen if _SWITCHED in unseen else frozenset()
