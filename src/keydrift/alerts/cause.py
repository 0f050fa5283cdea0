"""What an alert's cause is: the same key for all alerts of one cause, so that they make one incident. Pure.

One role assignment behind 5,000 key bindings, or one right that the monitor itself lost, is one cause.
"""

from __future__ import annotations

from uuid import UUID, uuid5

from keydrift.access.verdict import granting
from keydrift.alerts.actor import Explanation
from keydrift.model import Finding, ProofStep, State, Verdict

_CAUSES = UUID("a3f5ab32-2c55-5d0b-9d7c-6a4d0f0f7c11")
# Findings about the principal itself, which is the same whatever key store it was seen to fail at
_OF_PRINCIPAL = frozenset({"identity-none", "identity-detached", "identity-deleted", "principal-not-found", "principal-disabled"})
# Findings that say that grants are gone or fall short. A switched model is not among them: there the grants still stand.
_OF_GRANTS = frozenset(
    {
        "access-policy-absent",
        "access-policy-insufficient",
        "access-policy-compound-only",
        "role-assignment-absent",
        "role-insufficient",
        "role-assignment-conditional",
        "hsm-role-assignment-absent",
        "hsm-role-insufficient",
        "advisory-permission-missing",
    }
)


def grants_of(verdict: Verdict) -> frozenset[str]:
    """Ids of the grants that count. Azure's role assignments have an id of their own wherever they stand, others one of their key
    store only, so theirs carry the key store's."""
    return frozenset(grant_id(step, verdict) for step in granting(verdict))


def grants_through_groups(verdict: Verdict) -> frozenset[str]:
    """Those of them that name a group of the principal's."""
    return frozenset(grant_id(step, verdict) for step in granting(verdict) if is_through_group(step, verdict))


def is_through_group(step: ProofStep, verdict: Verdict) -> bool:
    """Whether a grant names a group, not the principal itself."""
    principal = verdict.principal
    return step.grantee is not None and principal is not None and step.grantee.lower() != principal.object_id.lower()


def grant_id(step: ProofStep, verdict: Verdict) -> str:
    """A grant's id, lower case."""
    if step.kind == "role-assignment":
        return step.id.lower()
    store = step.scope if step.kind == "access-policy" else str(verdict.key_store.id) if verdict.key_store else ""
    return f"{store}|{step.id}".lower()


def vanished_grants(granted_by: frozenset[str], verdict: Verdict) -> frozenset[str] | None:
    """The grants that counted before and do not now; None where none was known, or the findings are not about grants."""
    if not granted_by or not verdict.codes & _OF_GRANTS:
        return None
    return granted_by - grants_of(verdict)


def cause_key(verdict: Verdict, explanation: Explanation, vanished: frozenset[str] | None) -> str:
    """The same for all alerts of one cause: one role assignment behind many bindings, or one right the monitor itself lost.

    Findings of a lower level than the verdict's do not make another cause.
    """
    worst = [finding for finding in verdict.findings if finding.level is verdict.state]
    if verdict.state is State.UNKNOWN:
        cause = "unread|" + "|".join(sorted({_unread_cause(f) for f in worst}))
    elif worst and {finding.code for finding in worst} <= _OF_PRINCIPAL:
        cause = f"principal|{verdict.binding.identity.reference}|" + "|".join(sorted({f.code for f in worst}))
    elif vanished:
        cause = "grants|" + "|".join(sorted(vanished))
    elif explanation.notice is not None:
        cause = f"change|{explanation.notice.resource_id.key}|{explanation.notice.correlation_id or explanation.notice.event_id}"
    else:
        cause = f"found|{verdict.binding.target.uri.host}|" + "|".join(sorted({f.code for f in worst}))
    return str(uuid5(_CAUSES, cause))


def _unread_cause(found: Finding) -> str:
    return f"{found.code}:{found.remediation}:{found.evidence.get('status')}"
