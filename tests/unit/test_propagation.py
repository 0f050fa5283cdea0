"""By when a change bites, for each class that Azure documents, with its near-misses."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from keydrift.alerts.record import BindingRecord
from keydrift.drift import Alert, Moment, Via, compare
from keydrift.facts import Absent, Facts, RoleAssignment
from keydrift.model import Scenario
from support.builders import (
    APP_OBJECT,
    GROUP,
    MANAGEMENT_GROUP,
    MHSM,
    NOW,
    POLICY,
    RBAC,
    SUB,
    TEAM,
    VAULT,
    assignment,
    binding,
    deny,
    granting,
    hsm_assignment,
    judged,
    key_object,
    policy,
    role,
    with_object,
    with_store,
    with_vault,
)

CVM = binding(Scenario.CVM_CMK)
ON_HSM = binding(Scenario.CVM_CMK, MHSM)
ACTIONS = ("Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/keys/backup/action")
ALL_KEYS = ("keys/get", "keys/list", "keys/backup")
TEN_MINUTES, A_DAY, AT_ONCE = timedelta(minutes=10), timedelta(hours=24), timedelta()
MINUTE = timedelta(minutes=1)
HELD = granting(CVM, RBAC, ACTIONS)
BY_POLICY = granting(CVM, POLICY, ALL_KEYS)
BY_TEAM = replace(with_vault(BY_POLICY, access_policies=(policy(TEAM, *ALL_KEYS),)), groups={APP_OBJECT: frozenset({TEAM})})
ON_HSM_BY_TEAM = replace(
    with_store(
        granting(ON_HSM, MHSM, ("Microsoft.KeyVault/managedHsm/keys/read/action",)),
        "hsm1.managedhsm.azure.net",
        hsm_definitions=(role("Microsoft.KeyVault/managedHsm/keys/*"),),
        hsm_assignments={"/": (hsm_assignment(principal=TEAM),), "/keys/k1": ()},
    ),
    groups={APP_OBJECT: frozenset({TEAM})},
)


def assigned(*assignments: RoleAssignment) -> Facts:
    return with_store(HELD, assignments={APP_OBJECT: assignments})


AT_VAULT, AT_GROUP, AT_SUBSCRIPTION, AT_ROOT = (
    assignment(scope=scope, name=str(n)) for n, scope in enumerate((VAULT, GROUP, SUB, MANAGEMENT_GROUP))
)
OF_TEAM = assignment(principal=TEAM, name="team")


def alerts(of: Facts, *facts: Facts, binding_of: object = CVM) -> list[Alert]:
    mine = ON_HSM if binding_of is ON_HSM else CVM
    record, made = BindingRecord.created(mine.id, NOW), list[Alert]()
    for n, each in enumerate((of, *facts)):
        now = NOW + n * MINUTE
        outcome = compare(record, judged(mine, replace(each, read_at=now)), Moment(now=now, via=Via.SWEEP, confirmed=True))
        record = outcome.record
        made += [outcome.alert] if outcome.alert else []
    return made


@pytest.mark.parametrize(
    ("before", "after", "lag"),
    [
        (assigned(AT_VAULT), assigned(), TEN_MINUTES),
        (assigned(AT_GROUP), assigned(), TEN_MINUTES),
        (assigned(AT_SUBSCRIPTION), assigned(), TEN_MINUTES),
        (assigned(AT_ROOT), assigned(), A_DAY),
        (assigned(OF_TEAM), assigned(), A_DAY),
        # the last of them to wear off counts
        (assigned(AT_VAULT, AT_ROOT), assigned(), A_DAY),
        # the definition was narrowed: the assignment at the management group gives some of it still
        (assigned(AT_ROOT), with_store(assigned(AT_ROOT), definitions={"role-1": role(ACTIONS[0])}), A_DAY),
        (assigned(AT_VAULT), with_store(assigned(AT_VAULT), definitions={"role-1": role(ACTIONS[0])}), TEN_MINUTES),
        (assigned(AT_VAULT), with_store(assigned(AT_VAULT), denies=(deny(*ACTIONS),)), TEN_MINUTES),
        (assigned(AT_VAULT), with_store(assigned(AT_VAULT), denies=(deny(*ACTIONS, scope=MANAGEMENT_GROUP),)), A_DAY),
        (BY_POLICY, with_vault(BY_POLICY, access_policies=()), AT_ONCE),
        # the group lost its policy, or the principal its group
        (BY_TEAM, with_vault(BY_TEAM, access_policies=()), AT_ONCE),
        (BY_TEAM, replace(BY_TEAM, groups={APP_OBJECT: frozenset()}), A_DAY),
        (HELD, with_object(HELD, CVM.target, key_object(CVM.target, enabled=False)), AT_ONCE),
        # a grant at a management group does not make a disabled key last
        # nor does one through a group make a key store last that is gone
        (assigned(OF_TEAM), with_store(assigned(OF_TEAM), store=Absent(what="kv1"), deleted=None), AT_ONCE),
        (assigned(AT_ROOT), with_object(assigned(AT_ROOT), CVM.target, key_object(CVM.target, enabled=False)), AT_ONCE),
    ],
)
def test_a_loss(before: Facts, after: Facts, lag: timedelta) -> None:
    """A loss bites once the last grant that counted before has worn off."""
    (opened,) = alerts(before, after)
    assert opened.lag == lag


def test_a_loss_on_a_managed_hsm() -> None:
    """A Managed HSM's local role is gone at once, unless a group stood between."""
    alone = with_store(ON_HSM_BY_TEAM, "hsm1.managedhsm.azure.net", hsm_assignments={"/": (hsm_assignment(),), "/keys/k1": ()})
    none = with_store(ON_HSM_BY_TEAM, "hsm1.managedhsm.azure.net", hsm_assignments={"/": (), "/keys/k1": ()})
    assert [each.lag for each in alerts(ON_HSM_BY_TEAM, none, binding_of=ON_HSM)] == [A_DAY]
    assert [each.lag for each in alerts(alone, none, binding_of=ON_HSM)] == [AT_ONCE]


def test_a_loss_that_was_never_seen_otherwise() -> None:
    """First seen lost, a role assignment counts as one of the usual kind."""
    assert [each.lag for each in alerts(assigned())] == [TEN_MINUTES]


@pytest.mark.parametrize(
    ("lost", "repaired", "lag"),
    [
        (assigned(), assigned(AT_VAULT), TEN_MINUTES),
        (assigned(), assigned(AT_ROOT), A_DAY),
        (assigned(), assigned(OF_TEAM), A_DAY),
        # the first that suffices counts
        (assigned(), assigned(AT_ROOT, AT_VAULT), TEN_MINUTES),
        (with_vault(BY_POLICY, access_policies=()), BY_POLICY, AT_ONCE),
        (replace(BY_TEAM, groups={APP_OBJECT: frozenset()}), BY_TEAM, A_DAY),
        (with_object(HELD, CVM.target, key_object(CVM.target, enabled=False)), HELD, AT_ONCE),
        (with_store(assigned(AT_VAULT), denies=(deny(*ACTIONS),)), assigned(AT_VAULT), TEN_MINUTES),
        # the grant at the management group stood all along
        (with_store(assigned(AT_ROOT), denies=(deny(*ACTIONS),)), assigned(AT_ROOT), TEN_MINUTES),
    ],
)
def test_a_repair(lost: Facts, repaired: Facts, lag: timedelta) -> None:
    """A repair counts once the first new grant that suffices has spread."""
    *_, resolved = alerts(lost, repaired)
    assert resolved.lag == lag


def test_a_repair_by_something_new_does_not_wait_for_what_counted_in_part() -> None:
    """Of the grants after a repair those that are new count, not what gave a part of it all along."""
    old, new = replace(AT_ROOT, role_definition_id="role-2"), replace(AT_VAULT, role_definition_id="role-3")
    definitions = {"role-2": role(ACTIONS[0], name="role-2"), "role-3": role(ACTIONS[1], name="role-3")}
    partly, both = (with_store(assigned(*each), definitions=definitions) for each in ((old,), (old, new)))
    *_, resolved = alerts(partly, both)
    assert (resolved.kind, resolved.lag) == ("resolved", TEN_MINUTES)
