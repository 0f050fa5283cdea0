"""Grants that end by themselves: role assignments that Privileged Identity Management made for a time (`grant-expiring`).

A need is held until the last assignment that gives it ends. What cannot be decided here never accuses: an assignment whose role
definition is unread, or whose condition is not evaluated, may be the one that stays; and where the schedule instances could not
be listed, nobody knows an end. That read is not one a verdict needs, since the grants are in force now whatever their end is, and
the monitor may lack the right to it or the tenant the licence (azure-facts 4.1, 5.1): it stands among the unread sources, and the
verdict stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from keydrift.access import rbac, remedies
from keydrift.access.finding import finding
from keydrift.access.key_state import Horizon
from keydrift.access.weighing import Need
from keydrift.facts import Principal, RoleAssignment, ScheduleInstance, StoreFacts
from keydrift.model import Finding, KeyBinding
from keydrift.requirement import Requirement
from keydrift.resource_id import ResourceId


def judge_expiry(
    binding: KeyBinding,
    requirement: Requirement,
    store_id: ResourceId,
    facts: StoreFacts,
    principal: Principal,
    needs: tuple[Need, ...],
    horizon: Horizon,
) -> Finding | None:
    """The finding that some of these needs, all of them granted, loses its last grant within the horizon."""
    listed = facts.schedule_instances.get(principal.object_id)
    if not isinstance(listed, tuple) or all(each.ends_at is None for each in listed):
        return None
    holders = rbac.holders(facts, principal.object_id, needs)
    ends = {need: end for need in needs if (end := _last_end(holders[need], listed)) is not None}
    first = min(ends.values(), default=None)
    if first is None or first > horizon.now + horizon.grant_expiry:
        return None
    losing = [need for need, end in ends.items() if end == first]
    names = tuple(dict.fromkeys(need.name for need in losing))
    assignments = tuple(sorted({str(each.id) for need in losing for each in holders[need]}))
    return finding(
        "grant-expiring",
        binding,
        f"the last role assignment on `{store_id.name}` that gives `{principal.name or principal.object_id}` {', '.join(names)} "
        f"ends at {first.isoformat()}",
        {
            "principalId": principal.object_id,
            "endsAt": first.isoformat(),
            "permissions": names,
            "roleAssignments": assignments,
            "keyStoreId": str(store_id),
        },
        remedies.assign_role(requirement, principal, store_id)
        + "  # where this very role ends there: extend it in Privileged Identity Management instead",
    )


def _last_end(holders: Iterable[RoleAssignment], instances: tuple[ScheduleInstance, ...]) -> datetime | None:
    """When the last of these assignments ends; None where one of them stays."""
    ends = [_end(each, instances) for each in holders]
    known = [end for end in ends if end is not None]
    return max(known) if known and len(known) == len(ends) else None


def _end(assignment: RoleAssignment, instances: tuple[ScheduleInstance, ...]) -> datetime | None:
    """When an assignment ends: it stands as long as the last of its instances, and for good where one of them has no end."""
    mine = [each.ends_at for each in instances if _is_of(each, assignment)]
    known = [end for end in mine if end is not None]
    return max(known) if known and len(known) == len(mine) else None


def _is_of(instance: ScheduleInstance, assignment: RoleAssignment) -> bool:
    if instance.origin is not None and instance.origin == assignment.id:
        return True
    # Principal, role and scope name an assignment, since Azure allows no second one of the same three
    return (instance.principal_id, instance.role_definition_id, instance.scope) == (
        assignment.principal_id,
        assignment.role_definition_id,
        assignment.scope,
    )
