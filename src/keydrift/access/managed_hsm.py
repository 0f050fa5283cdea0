"""Managed HSM local RBAC: assignments at `/` (the same as `/keys`) and at `/keys/{name}`; no denies, no conditions.

Azure roles, even Owner, give nothing on an HSM's keys (azure-facts 4.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from keydrift.access.access_policy import GROUPS_NOT_READ
from keydrift.access.actions import given_by
from keydrift.access.weighing import Doubt, Need, Weighed
from keydrift.facts import Absent, HsmRoleAssignment, Read, RoleDefinition, StoreFacts, Unread
from keydrift.model import Effect, ProofStep

_AUDITOR = "the local role Managed HSM Crypto Auditor at / of this Managed HSM"


def reaches(scope: str, need: Need) -> bool:
    """Whether a local scope covers the need's key: the whole HSM, or exactly that key."""
    whole = scope.rstrip("/").lower()
    return whole in ("", "/keys") or whole == f"/keys/{need.target.uri.name}"


def _assignments(facts: StoreFacts) -> Iterator[HsmRoleAssignment]:
    seen: set[str] = set()
    for read in facts.hsm_assignments.values():
        if isinstance(read, tuple):
            for assignment in read:
                if assignment.id not in seen:
                    seen.add(assignment.id)
                    yield assignment


def _definitions(facts: StoreFacts) -> Mapping[str, RoleDefinition]:
    return {d.id: d for d in facts.hsm_definitions} if isinstance(facts.hsm_definitions, tuple) else {}


def _gives(definition: RoleDefinition | None, need: Need) -> bool:
    return definition is not None and bool(given_by(definition.permissions, need.name))


def groups_needed(facts: StoreFacts, principal_id: str, needs: tuple[Need, ...]) -> bool:
    """Whether memberships could matter: someone else's assignment would grant what the principal's own do not.

    While the role definitions are unread every assignment might grant.
    """
    definitions = _definitions(facts)
    own = [a for a in _assignments(facts) if a.principal_id == principal_id]
    others = [a for a in _assignments(facts) if a.principal_id != principal_id]

    def granted(assignment: HsmRoleAssignment, need: Need) -> bool:
        return reaches(assignment.scope, need) and _gives(definitions.get(assignment.role_definition_id), need)

    if not isinstance(facts.hsm_definitions, tuple):
        return any(reaches(a.scope, need) for a in others for need in needs)
    lacking = [need for need in needs if not any(granted(a, need) for a in own)]
    return any(granted(a, need) for a in others for need in lacking)


def weigh(facts: StoreFacts, principal_id: str, groups: Read[frozenset[str]] | None, needs: tuple[Need, ...]) -> Weighed:
    """Weigh the HSM's local role assignments that name the principal or one of its groups."""
    members = groups if isinstance(groups, frozenset) else frozenset[str]()
    definitions = _definitions(facts)
    steps: list[ProofStep] = []
    granted: set[Need] = set()
    reached = False
    for assignment in _assignments(facts):
        if assignment.principal_id != principal_id and assignment.principal_id not in members:
            continue
        definition = definitions.get(assignment.role_definition_id)
        at = [need for need in needs if reaches(assignment.scope, need)]
        reached = reached or bool(at)
        given = [need for need in at if _gives(definition, need)]
        granted.update(given)
        steps.append(_step(assignment, definition, needs, at, given, facts))
    return Weighed(
        granted=frozenset(granted),
        doubts=_doubts(facts, principal_id, groups, needs, granted),
        reached=reached,
        steps=tuple(steps),
    )


def _doubts(
    facts: StoreFacts, principal_id: str, groups: Read[frozenset[str]] | None, needs: tuple[Need, ...], granted: set[Need]
) -> tuple[Doubt, ...]:
    doubts: list[Doubt] = []
    for need in needs:
        if need in granted:
            continue
        where = ("/", f"/keys/{need.target.uri.name}")
        lists = [(scope, facts.hsm_assignments.get(scope)) for scope in where]
        unread = [_not_listed(scope, read) for scope, read in lists if not isinstance(read, tuple)]
        names = {principal_id} | (groups if isinstance(groups, frozenset) else set())
        mine = any(reaches(a.scope, need) and a.principal_id in names for a in _assignments(facts))
        if not isinstance(facts.hsm_definitions, tuple) and mine:
            unread.append(_definitions_unread(facts.hsm_definitions))
        if not unread and not isinstance(groups, frozenset) and groups_needed(facts, principal_id, (need,)):
            unread.append(groups if isinstance(groups, Unread) else GROUPS_NOT_READ)
        if unread:
            doubts.append(Doubt(need=need, unread=unread[0]))
    return tuple(doubts)


def _not_listed(scope: str, read: Absent | Unread | None) -> Unread:
    if isinstance(read, Unread):
        return read
    return Unread(source=f"local role assignments at {scope}", status=None, code="NotRead", repair=_AUDITOR)


def _definitions_unread(read: Absent | Unread) -> Unread:
    if isinstance(read, Unread):
        return read
    return Unread(source="local role definitions", status=None, code="NotRead", repair=_AUDITOR)


def _step(
    assignment: HsmRoleAssignment,
    definition: RoleDefinition | None,
    needs: tuple[Need, ...],
    at: list[Need],
    given: list[Need],
    facts: StoreFacts,
) -> ProofStep:
    lacking = sorted({need.name for need in needs} - {need.name for need in given})
    if not at:
        effect, reason = Effect.NOTHING, "stands on another key"
    elif definition is None and not isinstance(facts.hsm_definitions, tuple):
        effect, reason = Effect.UNDECIDABLE, "its role definition could not be read"
    elif definition is None:
        effect, reason = Effect.NOTHING, "its role definition no longer exists"
    elif not given:
        effect, reason = Effect.NOTHING, f"the role does not give {', '.join(lacking)}"
    elif lacking:
        effect, reason = Effect.PARTLY, f"the role does not give {', '.join(lacking)}"
    else:
        effect, reason = Effect.GRANTS, "the role gives all that is needed"
    return ProofStep(
        kind="managed-hsm-role-assignment",
        id=assignment.id,
        scope=assignment.scope,
        role=definition.name if definition else assignment.role_definition_id,
        effect=effect,
        reason=reason,
        permissions=tuple(sorted({need.name for need in given})),
        grantee=assignment.principal_id,
    )
