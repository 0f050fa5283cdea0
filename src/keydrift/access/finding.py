"""Making findings: the level comes from the catalogue, never from the place that finds it."""

from __future__ import annotations

from keydrift.catalogue import level_of
from keydrift.facts import Unread
from keydrift.model import Evidence, Finding, KeyBinding, State


def finding(code: str, binding: KeyBinding, summary: str, evidence: Evidence, remediation: str) -> Finding:
    """A finding of that catalogue code for a key binding."""
    return Finding(code=code, level=level_of(code, binding.scenario), summary=summary, evidence=evidence, remediation=remediation)


def unreadable(unread: Unread) -> Finding:
    """The finding that a needed read failed: names the source, the status and what would repair it."""
    status = f"HTTP {unread.status} {unread.code}" if unread.status else unread.code
    return Finding(
        code="facts-unreadable",
        level=State.UNKNOWN,
        summary=f"could not read {unread.source}: {status}",
        evidence={"source": unread.source, "status": unread.status, "code": unread.code},
        remediation=f"give the monitor's identity: {unread.repair}",
    )
