"""One cause has one key, whatever number of key bindings it takes away, and another cause has another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keydrift.alerts.record import BindingRecord
from keydrift.catalogue import CODES
from keydrift.drift import Moment, Via, compare
from keydrift.facts import Absent, Facts, Principal, Unread
from keydrift.model import Finding, KeyBinding, Scenario, State, Verdict
from support.builders import (
    APP_ID,
    APP_OBJECT,
    GROUP,
    NOW,
    RBAC,
    SUB,
    assignment,
    binding,
    granting,
    judged,
    key_at,
    unread,
    with_store,
)

ACTIONS = ("Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/keys/backup/action")
HOSTS = [f"kv{n}.vault.azure.net" for n in range(3)]
MINE = [
    binding(Scenario.CVM_CMK, target=key_at(host, store=f"{GROUP}/providers/Microsoft.KeyVault/vaults/{host[:3]}"))
    for host in HOSTS
]


def key_of(of: KeyBinding, *facts: Facts) -> str:
    """The cause key of the alert that the last of these reads makes."""
    record, made = BindingRecord.created(of.id, NOW), None
    for each in facts:
        outcome = compare(record, judged(of, each), Moment(now=NOW, via=Via.SWEEP, confirmed=True))
        record, made = outcome.record, outcome.alert
    assert made is not None
    return made.cause_key


def held(of: KeyBinding, scope: str | None = None, name: str = "1") -> Facts:
    facts = granting(of, RBAC, ACTIONS)
    host = of.target.uri.host
    return with_store(facts, host, assignments={APP_OBJECT: (assignment(scope or str(of.target.store_id), name=name),)})


def without(of: KeyBinding) -> Facts:
    return with_store(held(of), of.target.uri.host, assignments={APP_OBJECT: ()})


def test_an_assignment_at_a_subscription() -> None:
    """One role assignment at the subscription behind many vaults is one cause; those of each vault are one each."""
    assert len({key_of(each, held(each, SUB), without(each)) for each in MINE}) == 1
    assert len({key_of(each, held(each), without(each)) for each in MINE}) == len(MINE)
    assert key_of(MINE[0], held(MINE[0], SUB, "2"), without(MINE[0])) != key_of(MINE[0], held(MINE[0], SUB), without(MINE[0]))


@pytest.mark.parametrize("now", [Principal(object_id=APP_OBJECT, app_id=APP_ID, enabled=False), Absent(what=APP_ID)])
def test_the_service_principal(now: Principal | Absent) -> None:
    """A service principal that is disabled, or gone, is one cause at every key store."""

    def broken(of: KeyBinding) -> Facts:
        return replace(held(of), principals={APP_ID: now})

    assert len({key_of(each, held(each), broken(each)) for each in MINE}) == 1
    assert key_of(MINE[0], held(MINE[0]), broken(MINE[0])) != key_of(MINE[0], held(MINE[0]), without(MINE[0]))


def test_the_monitors_own_right() -> None:
    """One right that the monitor lost is one cause at every key store; another right is another."""

    def blind(of: KeyBinding, why: Unread) -> Facts:
        return with_store(held(of), of.target.uri.host, denies=why)

    reader, other = unread("deny assignments"), unread("deny assignments", repair="something else")
    assert len({key_of(each, blind(each, reader)) for each in MINE}) == 1
    assert key_of(MINE[0], blind(MINE[0], reader)) != key_of(MINE[0], blind(MINE[0], other))


def test_a_key_is_a_cause_of_its_own() -> None:
    """Two findings about two principals are two causes, even in one key store."""
    codes = ("principal-disabled", "key-disabled")
    made = {
        compare(
            BindingRecord.created(MINE[0].id, NOW),
            Verdict(
                binding=MINE[0],
                state=State.LOST,
                read_at=NOW,
                findings=(Finding(code=code, level=CODES[code].level, summary=""),),
            ),
            Moment(now=NOW, via=Via.SWEEP),
        ).record.standing
        for code in codes
    }
    assert len({each.cause_key for each in made if each}) == 2
