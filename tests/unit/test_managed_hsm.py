"""Managed HSM local RBAC: its scopes, groups, definitions, and lists that could not be read."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from keydrift.access.permission import groups_needed
from keydrift.facts import Absent, Facts, HsmRoleAssignment, Read, RoleDefinition
from keydrift.model import Scenario, State
from support.builders import (
    APP_OBJECT,
    HSM_HOST,
    MHSM,
    STRANGER,
    TEAM,
    assignment,
    binding,
    facts_of,
    granting,
    hsm,
    hsm_assignment,
    judged,
    role,
    store_facts,
    unread,
    with_store,
)

READ, BACKUP = (f"Microsoft.KeyVault/managedHsm/keys/{word}/action" for word in ("read", "backup"))
CVM = binding(Scenario.CVM_CMK, MHSM)
UNREAD = unread("memberships")
NONE: frozenset[str] = frozenset()
IN_TEAM = frozenset({TEAM})
LOST, HELD, UNKNOWN = State.LOST, State.HELD, State.UNKNOWN
ABSENT, SHORT, BLIND = "hsm-role-assignment-absent", "hsm-role-insufficient", "facts-unreadable"
USER = (role(READ, BACKUP), role(READ, name="reader"), role(BACKUP, name="backup"), role("*", name="all"))

Listed = Read[tuple[HsmRoleAssignment, ...]]


def facts(
    lists: Mapping[str, Listed],
    definitions: Read[tuple[RoleDefinition, ...]] = USER,
    groups: Read[frozenset[str]] = NONE,
) -> Facts:
    made = store_facts(CVM, HSM_HOST, hsm(), hsm_assignments=lists, hsm_definitions=definitions)
    return facts_of(CVM, {HSM_HOST: made}, groups={APP_OBJECT: groups})


def at(*assignments: HsmRoleAssignment) -> dict[str, Listed]:
    whole = tuple(a for a in assignments if a.scope in ("/", "/keys", "/keys/"))
    return {"/": whole, "/keys/k1": tuple(a for a in assignments if a not in whole)}


@pytest.mark.parametrize(
    ("assignments", "groups", "state", "code"),
    [
        ([hsm_assignment("/")], NONE, HELD, None),
        ([hsm_assignment("/keys")], NONE, HELD, None),
        ([hsm_assignment("/keys/")], NONE, HELD, None),
        ([hsm_assignment("/keys/k1")], NONE, HELD, None),
        ([hsm_assignment("/Keys/K1")], NONE, HELD, None),
        ([hsm_assignment("/keys/k1/")], NONE, HELD, None),
        ([hsm_assignment("/keys/k10")], NONE, LOST, ABSENT),
        ([hsm_assignment("/keys/k")], NONE, LOST, ABSENT),
        ([hsm_assignment("/keysX")], NONE, LOST, ABSENT),
        ([hsm_assignment(principal=STRANGER)], NONE, LOST, ABSENT),
        ([hsm_assignment(principal=TEAM)], IN_TEAM, HELD, None),
        ([hsm_assignment(principal=TEAM)], NONE, LOST, ABSENT),
        ([hsm_assignment(principal=TEAM)], UNREAD, UNKNOWN, BLIND),
        ([hsm_assignment("/keys/k2", principal=TEAM)], UNREAD, LOST, ABSENT),
        ([hsm_assignment(principal=TEAM, definition="reader")], UNREAD, LOST, ABSENT),
        ([hsm_assignment(definition="reader"), hsm_assignment("/keys/k1", "backup", name="h2")], NONE, HELD, None),
        ([hsm_assignment(definition="reader"), hsm_assignment(principal=TEAM, name="h2")], UNREAD, UNKNOWN, BLIND),
        ([hsm_assignment(definition="all")], NONE, HELD, None),
        ([hsm_assignment(definition="reader")], NONE, LOST, SHORT),
        ([hsm_assignment(definition="deleted")], NONE, LOST, SHORT),
        ([hsm_assignment(definition="deleted"), hsm_assignment(name="h2")], NONE, HELD, None),
        ([], NONE, LOST, ABSENT),
    ],
)
def test_assignments(assignments: list[HsmRoleAssignment], groups: Read[frozenset[str]], state: State, code: str | None) -> None:
    """Local assignments on the HSM or on exactly this key count, for the principal and its groups, by their data actions."""
    for order in (assignments, assignments[::-1]):
        verdict = judged(CVM, facts(at(*order), groups=groups))
        assert verdict.state is state
        assert verdict.codes == ({code} if code else NONE)


def test_missing_is_named_in_full() -> None:
    """`missing` holds full data actions of the HSM."""
    assert judged(CVM, facts(at(hsm_assignment(definition="reader")))).missing == (BACKUP,)
    assert judged(CVM, facts(at())).missing == (READ, BACKUP)


@pytest.mark.parametrize(
    ("lists", "definitions", "groups", "state"),
    [
        ({"/": (), "/keys/k1": unread()}, USER, NONE, UNKNOWN),
        ({"/": unread(), "/keys/k1": ()}, USER, NONE, UNKNOWN),
        ({"/": Absent(what="hsm"), "/keys/k1": ()}, USER, NONE, UNKNOWN),
        ({"/": ()}, USER, NONE, UNKNOWN),
        ({}, USER, NONE, UNKNOWN),
        ({"/": (hsm_assignment(),), "/keys/k1": unread()}, USER, NONE, HELD),
        ({"/": unread(), "/keys/k1": (hsm_assignment("/keys/k1"),)}, USER, NONE, HELD),
        ({"/": (), "/keys/k1": (), "/keys/k2": unread()}, USER, NONE, LOST),
        (at(hsm_assignment()), unread(), NONE, UNKNOWN),
        (at(hsm_assignment()), Absent(what="hsm"), NONE, UNKNOWN),
        (at(), unread(), NONE, LOST),
        (at(hsm_assignment(principal=STRANGER)), unread(), NONE, LOST),
        (at(hsm_assignment("/keys/k2")), unread(), NONE, LOST),
        (at(hsm_assignment(principal=TEAM)), unread(), IN_TEAM, UNKNOWN),
        (at(hsm_assignment(principal=TEAM)), unread(), UNREAD, UNKNOWN),
    ],
)
def test_what_could_not_be_read(
    lists: Mapping[str, Listed],
    definitions: Read[tuple[RoleDefinition, ...]],
    groups: Read[frozenset[str]],
    state: State,
) -> None:
    """A list that was not read leaves it open unless another grants; unread definitions matter only where one is assigned."""
    verdict = judged(CVM, facts(lists, definitions, groups))
    assert verdict.state is state
    assert (BLIND in set(verdict.codes)) == (state is UNKNOWN)


@pytest.mark.parametrize(
    ("assignments", "definitions", "expected"),
    [
        ([hsm_assignment(), hsm_assignment(principal=TEAM, name="h2")], USER, False),
        ([hsm_assignment(principal=TEAM)], USER, True),
        ([hsm_assignment(principal=TEAM)], unread(), True),
        ([hsm_assignment("/keys/k2", principal=TEAM)], unread(), False),
        ([hsm_assignment("/keys/k2", principal=TEAM)], USER, False),
        ([hsm_assignment(definition="reader"), hsm_assignment(definition="reader", principal=TEAM, name="h2")], USER, False),
    ],
)
def test_memberships_are_asked_for_only_where_they_matter(
    assignments: list[HsmRoleAssignment], definitions: Read[tuple[RoleDefinition, ...]], expected: bool
) -> None:
    """Groups are worth a read only where somebody else's assignment may grant what the principal's own do not."""
    read = facts(at(*assignments), definitions).stores[HSM_HOST]
    assert groups_needed(CVM, HSM_HOST, read, APP_OBJECT) is expected


def test_azure_roles_mean_nothing_there() -> None:
    """No Azure role assignment, not even of `*` at the root gives anything on an HSM's keys."""
    made = facts(at())
    azure = with_store(made, HSM_HOST, assignments={APP_OBJECT: (assignment("/"),)}, definitions={"role-1": role("*")})
    assert judged(CVM, azure).codes == {ABSENT}


def test_the_remedy_assigns_the_local_role_on_the_key() -> None:
    """The command assigns the documented local role at the key's scope."""
    line = judged(CVM, granting(CVM, MHSM, ())).findings[0].remediation
    assert "az keyvault role assignment create --hsm-name hsm1" in line
    assert "--role 'Managed HSM Crypto User' --scope /keys/k1" in line


@pytest.mark.parametrize("scenario", [Scenario.RSV_CMK, Scenario.ADE_KEK])
def test_unsupported_scenarios(scenario: Scenario) -> None:
    """A Recovery Services vault's CMK or ADE in a Managed HSM is at risk as unsupported, and its grants are not judged."""
    mine = binding(scenario, MHSM, secrets=())
    verdict = judged(mine, facts_of(mine, {HSM_HOST: store_facts(mine, HSM_HOST, hsm())}))
    assert (verdict.state, set(verdict.codes), verdict.missing) == (State.AT_RISK, {"hsm-unsupported"}, ())
