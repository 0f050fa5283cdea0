"""Azure RBAC: role assignments add up, deny assignments beat them (azure-facts 4.1).

INVARIANT (listed scopes): the assignments in the facts were listed by Azure at the key store's scope for this principal, its
groups expanded on Azure's side. So each one reaches the principal, and one at a management group or the root stands above the
store: an id alone does not tell a management group's descendants.
"""

from __future__ import annotations

from collections.abc import Mapping

from keydrift.access.access_policy import GROUPS_NOT_READ
from keydrift.access.actions import given_by
from keydrift.access.weighing import Doubt, Need, Weighed
from keydrift.facts import Absent, DenyAssignment, Read, RoleAssignment, RoleDefinition, StoreFacts, Unread
from keydrift.model import Effect, ProofStep, StoreObject
from keydrift.resource_id import ResourceId

# "All principals" in a deny assignment: the all-zero id of type SystemDefined
EVERYONE = "00000000-0000-0000-0000-000000000000"


def object_id(target: StoreObject) -> ResourceId | None:
    """The ARM id of a key or secret, which is the target of its data actions: a grant or deny at key scope counts."""
    return target.store_id.child(target.uri.kind, target.uri.object_name) if target.store_id else None


def reaches(scope: ResourceId, need: Need) -> bool:
    """Whether a scope covers the key or secret: by segments, or from a management group (see the module's invariant)."""
    return (need.resource is not None and scope.contains(need.resource)) or scope.is_management_group


def weigh(
    facts: StoreFacts, principal_id: str, groups: Read[frozenset[str]] | None, needs: tuple[Need, ...], *, denies: bool = True
) -> Weighed:
    """Weigh every role assignment, then (unless `denies` is False) every deny assignment."""
    listed = facts.assignments.get(principal_id)
    assignments = listed if isinstance(listed, tuple) else ()
    weighings = [_weigh_assignment(a, facts.definitions, needs) for a in assignments]
    granted = frozenset(need for w in weighings for need in w.granted)
    doubts = [doubt for w in weighings for doubt in w.doubts if doubt.need not in granted]
    if not isinstance(listed, tuple):
        unread = listed if isinstance(listed, Unread) else _not_listed(principal_id)
        doubts = [Doubt(need=need, unread=unread) for need in needs if need not in granted]
    denied, deny_doubts, deny_steps = _weigh_denies(facts, principal_id, groups, needs) if denies else ([], [], [])
    return Weighed(
        granted=granted,
        doubts=_worst(doubts),
        denied=frozenset(denied),
        deny_doubts=tuple(deny_doubts),
        reached=any(w.reached for w in weighings),
        steps=tuple(step for w in weighings for step in w.steps) + tuple(deny_steps),
    )


def holders(facts: StoreFacts, principal_id: str, needs: tuple[Need, ...]) -> Mapping[Need, tuple[RoleAssignment, ...]]:
    """The listed assignments that give each need, those included of which that could not be decided."""
    listed = facts.assignments.get(principal_id)
    found: dict[Need, list[RoleAssignment]] = {need: [] for need in needs}
    for assignment in listed if isinstance(listed, tuple) else ():
        weighed = _weigh_assignment(assignment, facts.definitions, needs)
        for need in weighed.granted | {doubt.need for doubt in weighed.doubts}:
            found[need].append(assignment)
    return {need: tuple(each) for need, each in found.items()}


def _worst(doubts: list[Doubt]) -> tuple[Doubt, ...]:
    # A grant that could not be read may be the one that suffices: then the conditional one is not the only one
    unread = {doubt.need for doubt in doubts if not doubt.conditional}
    return tuple(doubt for doubt in doubts if not doubt.conditional or doubt.need not in unread)


def _not_listed(principal_id: str) -> Unread:
    return Unread(
        source=f"role assignments of {principal_id}",
        status=None,
        code="NotRead",
        repair="Microsoft.Authorization/roleAssignments/read at the key store's scope",
    )


def _weigh_assignment(
    assignment: RoleAssignment, definitions: Mapping[str, Read[RoleDefinition]], needs: tuple[Need, ...]
) -> Weighed:
    at = [need for need in needs if reaches(assignment.scope, need)]
    if not at:
        return Weighed(steps=(_assignment_step(assignment, None, Effect.NOTHING, "stands on another key or secret"),))
    definition = definitions.get(assignment.role_definition_id)
    if not isinstance(definition, RoleDefinition):
        return _undefined(assignment, definition, at)
    granted: set[Need] = set()
    doubts: list[Doubt] = []
    for need in at:
        blocks = given_by(definition.permissions, need.name)
        # Conditions cannot restrict keys; for secrets an unproven condition grants nothing and refuses nothing (rbac-abac.md)
        if any(need.permission.on == "keys" or not (block.condition or assignment.condition) for block in blocks):
            granted.add(need)
        elif blocks:
            doubts.append(Doubt(need=need, unread=_condition(f"condition of role assignment {assignment.id}"), conditional=True))
    lacking = sorted({need.name for need in needs} - {need.name for need in granted} - {d.need.name for d in doubts})
    if doubts and not granted:
        effect, reason = Effect.UNDECIDABLE, "grants under a condition that cannot be evaluated here"
    elif not granted:
        effect, reason = Effect.NOTHING, f"the role does not give {', '.join(lacking)}"
    elif lacking or doubts or len(at) < len(needs):
        missing = f"does not give {', '.join(lacking)}" if lacking else "stands on one of several keys or secrets"
        effect, reason = Effect.PARTLY, f"the role gives some; it {missing}"
    else:
        effect, reason = Effect.GRANTS, "the role gives all that is needed"
    step = _assignment_step(assignment, definition, effect, reason, granted)
    return Weighed(granted=frozenset(granted), doubts=tuple(doubts), reached=True, steps=(step,))


def _undefined(assignment: RoleAssignment, definition: Absent | Unread | None, at: list[Need]) -> Weighed:
    if isinstance(definition, Absent):
        step = _assignment_step(assignment, None, Effect.NOTHING, "its role definition no longer exists")
        return Weighed(reached=True, steps=(step,))
    unread = definition or Unread(
        source=f"role definition {assignment.role_definition_id}",
        status=None,
        code="NotRead",
        repair="Microsoft.Authorization/roleDefinitions/read",
    )
    step = _assignment_step(assignment, None, Effect.UNDECIDABLE, "its role definition could not be read")
    return Weighed(reached=True, doubts=tuple(Doubt(need=need, unread=unread) for need in at), steps=(step,))


def _condition(source: str) -> Unread:
    return Unread(source=source, status=None, code="ConditionNotEvaluated", repair="read the condition and prove it by hand")


def _assignment_step(
    assignment: RoleAssignment,
    definition: RoleDefinition | None,
    effect: Effect,
    reason: str,
    granted: frozenset[Need] | set[Need] = frozenset(),
) -> ProofStep:
    return ProofStep(
        kind="role-assignment",
        id=str(assignment.id),
        scope=str(assignment.scope),
        role=definition.name if definition else assignment.role_definition_id,
        effect=effect,
        reason=reason,
        permissions=tuple(sorted({need.name for need in granted})),
        grantee=assignment.principal_id,
    )


def _weigh_denies(
    facts: StoreFacts, principal_id: str, groups: Read[frozenset[str]] | None, needs: tuple[Need, ...]
) -> tuple[list[Need], list[Doubt], list[ProofStep]]:
    if not isinstance(facts.denies, tuple):
        unread = facts.denies if isinstance(facts.denies, Unread) else _denies_not_listed()
        return [], [Doubt(need=need, unread=unread) for need in needs], []
    denied: list[Need] = []
    doubts: list[Doubt] = []
    steps: list[ProofStep] = []
    for deny in facts.denies:
        # Who is named is the cheaper question, and most denies name others
        named = _names(deny, principal_id, groups)
        if named is False:
            steps.append(_deny_step(deny, Effect.HARMLESS, "does not name the principal, or excludes it"))
            continue
        hit = [n for n in needs if _deny_covers(deny, n)]
        if not hit:
            steps.append(_deny_step(deny, Effect.HARMLESS, "covers none of the needed permissions on this target"))
            continue
        match named:
            case True:
                certain = [n for n in hit if _deny_covers(deny, n, unconditionally=True)]
                why = _condition(f"condition of deny assignment {deny.id}")
                doubts.extend(Doubt(need=need, unread=why, conditional=True) for need in hit if need not in certain)
                denied.extend(certain)
                if certain:
                    steps.append(_deny_step(deny, Effect.DENIES, "names the principal and covers needed permissions", certain))
                else:
                    steps.append(_deny_step(deny, Effect.UNDECIDABLE, "carries a condition that cannot be evaluated here", hit))
            case Unread() as unread:
                doubts.extend(Doubt(need=need, unread=unread) for need in hit)
                steps.append(_deny_step(deny, Effect.UNDECIDABLE, "names or excludes a group whose members are unread", hit))
    return denied, doubts, steps


def _denies_not_listed() -> Unread:
    return Unread(source="deny assignments", status=None, code="NotRead", repair="Microsoft.Authorization/denyAssignments/read")


def _deny_covers(deny: DenyAssignment, need: Need, *, unconditionally: bool = False) -> bool:
    blocks = given_by(deny.permissions, need.name)
    if not any(not (unconditionally and (deny.condition or block.condition)) for block in blocks):
        return False
    if deny.applies_to_children:
        return reaches(deny.scope, need)
    # A deny with doNotApplyToChildScopes holds at its own scope only, so on the vault it does not reach the keys (inference)
    return deny.scope == need.resource


def groups_needed(facts: StoreFacts, principal_id: str, needs: tuple[Need, ...]) -> bool:
    """Whether memberships could matter: a deny that covers a need names or excludes an id that may be a group's."""
    denies = facts.denies if isinstance(facts.denies, tuple) else ()
    return any(
        _names(deny, principal_id, None) not in (True, False) for deny in denies if any(_deny_covers(deny, n) for n in needs)
    )


def _names(deny: DenyAssignment, principal_id: str, groups: Read[frozenset[str]] | None) -> bool | Unread:
    """Whether the deny applies to the principal; Unread where that hangs on memberships that were not read."""
    if principal_id in deny.excluded:
        return False
    members = groups if isinstance(groups, frozenset) else None
    unread = groups if isinstance(groups, Unread) else GROUPS_NOT_READ
    named: bool | None = principal_id in deny.principals or EVERYONE in deny.principals
    if not named and deny.group_principals:
        named = bool(members & deny.group_principals) if members is not None else None
    if named is False:
        return False
    excluded: bool | None = False
    if deny.excluded_groups:
        excluded = bool(members & deny.excluded_groups) if members is not None else None
    if excluded:
        return False
    return True if named and excluded is False else unread


def _deny_step(deny: DenyAssignment, effect: Effect, reason: str, hit: list[Need] | None = None) -> ProofStep:
    return ProofStep(
        kind="deny-assignment",
        id=str(deny.id),
        scope=str(deny.scope),
        role=deny.name,
        effect=effect,
        reason=reason,
        permissions=tuple(sorted({need.name for need in hit or ()})),
    )
