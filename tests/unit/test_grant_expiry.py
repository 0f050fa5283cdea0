"""Grants that end by themselves: when the last one that suffices ends soon, and every case in which that cannot be said."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest

from keydrift.catalogue import severity_of
from keydrift.facts import Absent, Facts, RoleAssignment, RoleDefinition, ScheduleInstance, Unread
from keydrift.model import KeyBinding, Scenario, State
from support.builders import (
    APP_OBJECT,
    GROUP,
    MHSM,
    NOW,
    POLICY,
    RBAC,
    TEAM,
    VAULT,
    assignment,
    binding,
    block,
    deny,
    granting,
    judged,
    policy,
    rid,
    role,
    unread,
    vault,
    with_store,
    with_vault,
)

S = Scenario
KEYS = "Microsoft.KeyVault/vaults/keys"
READ, BACKUP = f"{KEYS}/read", f"{KEYS}/backup/action"
SECRETS = [f"Microsoft.KeyVault/vaults/secrets/{word}" for word in ("getSecret/action", "readMetadata/action", "backup/action")]
HORIZON, SECOND, DAY = timedelta(days=14), timedelta(seconds=1), timedelta(days=1)
SOON, LATER = NOW + DAY, NOW + 60 * DAY
EXPIRING = {"grant-expiring"}
BINDING = binding(S.CVM_CMK)
WHOLE = {"role-1": role(READ, BACKUP)}


def until(ends_at: datetime | None, of: RoleAssignment | None = None, **changes: Any) -> ScheduleInstance:
    """The schedule instance of an assignment."""
    of = of or assignment()
    made: dict[str, Any] = {
        "scope": of.scope,
        "role_definition_id": of.role_definition_id,
        "principal_id": of.principal_id,
        "ends_at": ends_at,
    }
    return ScheduleInstance(**made | changes)


def held(
    instances: Iterable[ScheduleInstance] | Absent | Unread,
    assignments: Iterable[RoleAssignment] = (assignment(),),
    definitions: dict[str, RoleDefinition] | None = None,
    of: KeyBinding = BINDING,
    **changes: Any,
) -> Facts:
    """Facts of an RBAC vault with these assignments and schedule instances."""
    listed = instances if isinstance(instances, Absent | Unread) else tuple(instances)
    return with_store(
        granting(of, RBAC, [READ, BACKUP]),
        assignments={APP_OBJECT: tuple(assignments)},
        definitions=definitions or WHOLE,
        schedule_instances={APP_OBJECT: listed},
        **changes,
    )


@pytest.mark.parametrize(
    ("ends_at", "codes"),
    [
        (NOW - SECOND, EXPIRING),  # listed still, though it has ended: the list lags
        (NOW + SECOND, EXPIRING),
        (NOW + HORIZON, EXPIRING),
        (NOW + HORIZON + SECOND, set[str]()),
        (None, set()),
    ],
)
def test_horizon(ends_at: datetime | None, codes: set[str]) -> None:
    """A last grant that ends within the horizon is at risk, to the second; a later one, or one for good, is not."""
    verdict = judged(BINDING, held([until(ends_at)]))
    assert (set(verdict.codes), verdict.state) == (codes, State.AT_RISK if codes else State.HELD)


def test_the_finding_says_what_ends_and_when() -> None:
    """Evidence names the end, the permissions that go and the assignments; by itself it becomes a loss, hence Medium."""
    verdict = judged(BINDING, held([until(SOON)]))
    (found,) = verdict.findings
    assert found.evidence["endsAt"] == SOON.isoformat()
    assert found.evidence["permissions"] == (READ, BACKUP)
    assert found.evidence["roleAssignments"] == (str(assignment().id),)
    assert SOON.isoformat() in found.summary
    assert "az role assignment create" in found.remediation
    assert severity_of(verdict.state, verdict.findings) == "Medium"
    assert verdict.missing == ()


@pytest.mark.parametrize(
    ("instance", "codes"),
    [
        (until(SOON, origin=assignment().id), EXPIRING),
        (until(SOON, scope=rid(GROUP), role_definition_id="x", principal_id=TEAM, origin=assignment().id), EXPIRING),
        (until(SOON, scope=rid(VAULT.upper())), EXPIRING),
        (until(SOON, origin=assignment(name="10").id), EXPIRING),
        (until(SOON, principal_id=TEAM), set[str]()),
        (until(SOON, role_definition_id="role-10"), set()),
        (until(SOON, scope=rid(f"{VAULT}0")), set()),
        (until(SOON, scope=rid(GROUP)), set()),
        (until(SOON, scope=rid(GROUP), origin=assignment(name="10").id), set()),
    ],
)
def test_which_assignment_an_instance_is_of(instance: ScheduleInstance, codes: set[str]) -> None:
    """An instance is an assignment's by its origin, or by role, scope and principal together, and by nothing less."""
    assert judged(BINDING, held([instance])).codes == codes


def test_an_assignment_stands_as_long_as_its_last_instance() -> None:
    """Of two instances of one assignment the later counts, and one without an end keeps it for good."""
    assert judged(BINDING, held([until(SOON), until(LATER)])).codes == set()
    assert judged(BINDING, held([until(SOON), until(None)])).codes == set()
    assert judged(BINDING, held([until(SOON), until(SOON + DAY)])).findings[0].evidence["endsAt"] == (SOON + DAY).isoformat()


ON_GROUP = assignment(GROUP, "role-2", name="2")
READER, BACKER = role(READ, name="role-1"), role(BACKUP, name="role-2")


@pytest.mark.parametrize(
    ("ends", "definitions", "expected"),
    [
        pytest.param((SOON, None), (READER, BACKER), SOON, id="one need's only grant ends"),
        pytest.param((None, SOON), (READER, BACKER), SOON, id="the other's"),
        pytest.param((SOON + DAY, SOON), (READER, BACKER), SOON, id="the earliest loss"),
        pytest.param((SOON, LATER), (READER, BACKER), SOON, id="one within the horizon"),
        pytest.param((LATER, LATER), (READER, BACKER), None, id="both beyond it"),
        pytest.param((SOON, None), (WHOLE["role-1"], role(READ, BACKUP, name="role-2")), None, id="another grant stays"),
        pytest.param((SOON, LATER), (WHOLE["role-1"], role(READ, BACKUP, name="role-2")), None, id="another ends late"),
        pytest.param((SOON, SOON + DAY), (WHOLE["role-1"], role("*", name="role-2")), SOON + DAY, id="the later of two"),
        pytest.param((SOON, None), (WHOLE["role-1"], role(READ, name="role-2")), SOON, id="what stays is not enough"),
    ],
)
def test_the_last_grant_of_each_need(
    ends: tuple[datetime | None, datetime | None], definitions: tuple[RoleDefinition, RoleDefinition], expected: datetime | None
) -> None:
    """A need goes with the last of its grants, and the key with the first need that goes."""
    instances = [until(end, of) for end, of in zip(ends, (assignment(), ON_GROUP), strict=True) if end]
    both = {each.id: each for each in definitions}
    verdict = judged(BINDING, held(instances, (assignment(), ON_GROUP), both))
    shown = [found.evidence["endsAt"] for found in verdict.findings]
    assert shown == ([expected.isoformat()] if expected else [])
    assert verdict.codes == (EXPIRING if expected else set())


@pytest.mark.parametrize("failed", [unread("schedule instances"), Absent(what="schedule instances"), None])
def test_an_unread_list_leaves_the_verdict_as_it_is(failed: Absent | Unread | None) -> None:
    """Without the instances nobody knows an end: the verdict stays held, and a failed read stands among the unread sources."""
    made = held(failed) if failed else with_store(held([]), schedule_instances={})
    verdict = judged(BINDING, made)
    assert (verdict.state, set(verdict.codes)) == (State.HELD, set())
    assert verdict.unread == ((failed,) if isinstance(failed, Unread) else ())


@pytest.mark.parametrize("definition", [unread("role definition"), None])
def test_a_grant_that_could_not_be_weighed_may_be_the_one_that_stays(definition: Unread | None) -> None:
    """One for good whose definition is unread accuses nobody; one that ends too, or whose role is gone, saves nobody."""
    both = (assignment(), ON_GROUP)
    definitions: Any = WHOLE if definition is None else {**WHOLE, "role-2": definition}
    assert judged(BINDING, held([until(SOON)], both, definitions)).codes == set()
    assert judged(BINDING, held([until(SOON), until(SOON, ON_GROUP)], both, definitions)).codes == EXPIRING
    gone: Any = {**WHOLE, "role-2": Absent(what="role")}
    assert judged(BINDING, held([until(SOON)], both, gone)).codes == EXPIRING


def test_a_conditional_grant_of_a_secret_may_be_the_one_that_stays() -> None:
    """A condition that cannot be evaluated restricts no key, but may keep a secret."""
    conditional = assignment(GROUP, "role-1", name="2", condition="@Resource[x]")
    bek = binding(S.ADE_BEK)
    secrets = {"role-1": role(*SECRETS)}
    assert judged(bek, held([until(SOON)], (assignment(), conditional), secrets, of=bek)).codes == set()
    assert judged(bek, held([until(SOON)], (assignment(),), secrets, of=bek)).codes == EXPIRING
    assert judged(BINDING, held([until(SOON)], (assignment(), conditional))).codes == set()
    assert judged(BINDING, held([until(SOON), until(SOON, conditional)], (assignment(), conditional))).codes == EXPIRING


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"definitions": {"role-1": role(READ)}}, {"role-insufficient"}),
        ({"denies": (deny(BACKUP),)}, {"deny-assignment"}),
    ],
)
def test_what_is_lost_already_does_not_end(changes: dict[str, Any], codes: set[str]) -> None:
    """Where a required permission is lacking or denied, that is the cause, and no end is reported beside it."""
    assert judged(BINDING, with_store(held([until(SOON)]), **changes)).codes == codes


def test_an_end_stands_beside_a_deny_that_is_unknown() -> None:
    """An unread deny hides no end: both are told."""
    verdict = judged(BINDING, held([until(SOON)], denies=unread("denies")))
    assert (verdict.state, set(verdict.codes)) == (State.UNKNOWN, {"facts-unreadable", "grant-expiring"})


def test_assignments_mean_nothing_elsewhere() -> None:
    """On an access-policy vault and in a Managed HSM no Azure role counts, so none that ends does."""
    by_role = held([until(SOON)], definitions={"role-1": role("*")})
    assert judged(BINDING, by_role).codes == EXPIRING
    by_policy = with_vault(by_role, rbac=False, access_policies=(policy(APP_OBJECT, "keys/all"),))
    assert judged(BINDING, by_policy).codes == set()
    in_hsm = binding(S.CVM_CMK, MHSM)
    azure_roles: Any = {
        "assignments": {APP_OBJECT: (assignment(),)},
        "definitions": {"role-1": role("*")},
        "schedule_instances": {APP_OBJECT: (until(SOON),)},
    }
    local = with_store(granting(in_hsm, MHSM, ["*"]), in_hsm.target.uri.host, **azure_roles)
    assert judged(in_hsm, local).codes == set()


def test_a_group_s_assignment_ends_too() -> None:
    """A grant through a group counts as the group's assignment."""
    of_team = assignment(principal=TEAM)
    assert judged(BINDING, held([until(SOON, of_team)], (of_team,))).codes == EXPIRING


def test_what_a_switched_model_left_behind_is_not_judged() -> None:
    """A vault that decides by policies is lost by its policies whatever its roles' end."""
    mine = granting(BINDING, POLICY, [], store=vault(access_policies=()))
    mine = with_store(
        mine,
        assignments={APP_OBJECT: (assignment(),)},
        definitions={"role-1": role(blocks=(block("*"),))},
        schedule_instances={APP_OBJECT: (until(SOON),)},
    )
    assert judged(BINDING, mine).codes == {"permission-model-switched"}
