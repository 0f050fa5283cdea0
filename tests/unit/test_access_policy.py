"""Vault access policies: which entries count, what memberships may change, and a switched permission model."""

from __future__ import annotations

import pytest

from keydrift.access.permission import groups_needed
from keydrift.facts import AccessPolicy, Facts, Read
from keydrift.model import KeyBinding, Scenario, State
from support.builders import (
    APP_OBJECT,
    OTHER_TEAM,
    OTHER_TENANT,
    STRANGER,
    TEAM,
    VAULT_HOST,
    assignment,
    binding,
    deny,
    facts_of,
    judged,
    policy,
    role,
    store_facts,
    unread,
    vault,
    with_store,
)

ALL = ("keys/get", "keys/list", "keys/backup")
ACTIONS = ("Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/keys/backup/action")
CVM = binding(Scenario.CVM_CMK)
RSV = binding(Scenario.RSV_CMK)
UNREAD = unread("memberships")
NONE: frozenset[str] = frozenset()
IN_TEAM = frozenset({TEAM})
LOST, HELD, UNKNOWN = State.LOST, State.HELD, State.UNKNOWN
ABSENT, SHORT, COMPOUND = "access-policy-absent", "access-policy-insufficient", "access-policy-compound-only"


def facts(*entries: AccessPolicy, groups: Read[frozenset[str]] = NONE, of: KeyBinding = CVM, rbac: bool = False) -> Facts:
    made = store_facts(of, VAULT_HOST, vault(access_policies=entries, rbac=rbac))
    return facts_of(of, {VAULT_HOST: made}, groups={APP_OBJECT: groups})


@pytest.mark.parametrize(
    ("entries", "groups", "state", "code"),
    [
        ([policy(APP_OBJECT, *ALL)], NONE, HELD, None),
        ([policy(APP_OBJECT, *ALL)], UNREAD, HELD, None),
        ([policy(APP_OBJECT, "keys/all")], NONE, HELD, None),
        ([policy(APP_OBJECT, "keys/GET", "keys/List", "keys/BackUp")], NONE, HELD, None),
        ([policy(APP_OBJECT, "keys/get"), policy(TEAM, "keys/list", "keys/backup")], IN_TEAM, HELD, None),
        ([policy(TEAM, *ALL)], IN_TEAM, HELD, None),
        ([policy(TEAM, *ALL), policy(OTHER_TEAM)], IN_TEAM, HELD, None),
        ([policy(TEAM, *ALL)], NONE, LOST, ABSENT),
        ([policy(TEAM, *ALL)], UNREAD, UNKNOWN, "facts-unreadable"),
        ([policy(APP_OBJECT, "keys/get"), policy(TEAM, *ALL)], UNREAD, UNKNOWN, "facts-unreadable"),
        ([policy(APP_OBJECT, "keys/get"), policy(TEAM, "keys/list")], UNREAD, LOST, SHORT),
        ([policy(TEAM, "secrets/all")], UNREAD, LOST, ABSENT),
        ([policy(TEAM, *ALL, application=STRANGER)], UNREAD, LOST, ABSENT),
        ([policy(TEAM, *ALL, tenant=OTHER_TENANT)], UNREAD, LOST, ABSENT),
        ([], UNREAD, LOST, ABSENT),
        ([], NONE, LOST, ABSENT),
        ([policy(STRANGER, *ALL)], NONE, LOST, ABSENT),
        ([policy(APP_OBJECT, *ALL[:2])], NONE, LOST, SHORT),
        ([policy(APP_OBJECT)], NONE, LOST, SHORT),
        ([policy(APP_OBJECT, "secrets/all")], NONE, LOST, SHORT),
        ([policy(APP_OBJECT, "secrets/get", "secrets/list", "secrets/backup")], NONE, LOST, SHORT),
        ([policy(APP_OBJECT, *ALL, application=STRANGER)], NONE, LOST, COMPOUND),
        ([policy(TEAM, *ALL, application=STRANGER)], IN_TEAM, LOST, COMPOUND),
        ([policy(STRANGER, *ALL, application=APP_OBJECT)], NONE, LOST, ABSENT),
        ([policy(APP_OBJECT, *ALL, application=STRANGER), policy(APP_OBJECT, *ALL)], NONE, HELD, None),
        ([policy(APP_OBJECT, *ALL, application=STRANGER), policy(APP_OBJECT, "keys/get")], NONE, LOST, SHORT),
        ([policy(APP_OBJECT, *ALL, application=STRANGER), policy(TEAM, *ALL)], UNREAD, UNKNOWN, "facts-unreadable"),
        ([policy(APP_OBJECT, *ALL, tenant=OTHER_TENANT)], NONE, LOST, ABSENT),
        ([policy(APP_OBJECT, *ALL, tenant="")], NONE, HELD, None),
    ],
)
def test_entries(entries: list[AccessPolicy], groups: Read[frozenset[str]], state: State, code: str | None) -> None:
    """The union of the plain entries of the vault's tenant that name the principal or its groups decides."""
    for order in (entries, entries[::-1]):
        verdict = judged(CVM, facts(*order, groups=groups))
        assert verdict.state is state
        assert verdict.codes == ({code} if code else NONE)


def test_missing_is_what_the_union_lacks() -> None:
    """`missing` holds the permissions that no entry gives, in the requirement's order."""
    verdict = judged(CVM, facts(policy(APP_OBJECT, "keys/list"), policy(TEAM, "keys/get"), groups=IN_TEAM))
    assert verdict.missing == ("keys/backup",)
    assert judged(CVM, facts()).missing == ALL


def test_an_unread_membership_never_makes_an_advisory_permission_unknown() -> None:
    """A group that might give `list` leaves the verdict held."""
    crypto = ("keys/get", "keys/wrapKey", "keys/unwrapKey")
    who = "aaaaaaaa-0000-0000-0000-000000000002"
    made = facts(policy(who, *crypto), policy(TEAM, "keys/list"), of=RSV)
    verdict = judged(RSV, facts_of(RSV, made.stores, groups={who: UNREAD}))
    assert (verdict.state, verdict.findings) == (HELD, ())


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([policy(APP_OBJECT, *ALL), policy(TEAM, *ALL)], False),
        ([policy(TEAM, *ALL)], True),
        ([policy(APP_OBJECT, *ALL[:2]), policy(TEAM, "keys/backup")], True),
        ([policy(APP_OBJECT, *ALL[:2]), policy(TEAM, "keys/get")], False),
        ([policy(TEAM, *ALL, application=STRANGER)], False),
        ([policy(TEAM, *ALL, tenant=OTHER_TENANT)], False),
        ([policy(APP_OBJECT, *ALL, tenant=OTHER_TENANT), policy(TEAM, *ALL)], True),
        ([policy(APP_OBJECT, *ALL, application=STRANGER), policy(TEAM, *ALL)], True),
        ([], False),
    ],
)
def test_memberships_are_asked_for_only_where_they_matter(entries: list[AccessPolicy], expected: bool) -> None:
    """Groups are worth a read only where an entry of another object would give what the principal's own entries do not."""
    read = facts(*entries).stores[VAULT_HOST]
    assert groups_needed(CVM, VAULT_HOST, read, APP_OBJECT) is expected


def with_roles(made: Facts, *actions: str, condition: str | None = None) -> Facts:
    listed = {APP_OBJECT: (assignment(condition=condition),)}
    return with_store(made, assignments=listed, definitions={"role-1": role(*actions)})


def test_policies_on_an_rbac_vault() -> None:
    """Policies mean nothing there: where they would suffice the model was switched, else the roles are what is missing."""
    kept = facts(policy(APP_OBJECT, *ALL), rbac=True)
    verdict = judged(CVM, kept)
    assert (verdict.state, set(verdict.codes), verdict.missing) == (LOST, {"permission-model-switched"}, ACTIONS)
    assert "--enable-rbac-authorization false" in verdict.findings[0].remediation
    assert judged(CVM, with_roles(kept, *ACTIONS)).state is HELD
    assert judged(CVM, with_roles(kept, ACTIONS[0])).codes == {"permission-model-switched"}
    assert judged(CVM, facts(policy(APP_OBJECT, *ALL[:2]), rbac=True)).codes == {"role-assignment-absent"}
    assert judged(CVM, facts(policy(STRANGER, *ALL), rbac=True)).codes == {"role-assignment-absent"}


def test_roles_on_a_policy_vault() -> None:
    """Roles mean nothing there: where they would suffice the model was switched, else the policies are what is missing."""
    verdict = judged(CVM, with_roles(facts(), *ACTIONS))
    assert (verdict.state, set(verdict.codes), verdict.missing) == (LOST, {"permission-model-switched"}, ALL)
    assert "--enable-rbac-authorization true" in verdict.findings[0].remediation
    assert judged(CVM, with_roles(facts(), *ACTIONS[:1])).codes == {ABSENT}
    short = facts(policy(APP_OBJECT, "keys/get"))
    assert judged(CVM, with_roles(short, *ACTIONS[:1])).codes == {SHORT}


def test_an_advisory_permission_does_not_hide_a_switched_model() -> None:
    """Policies without the advisory `list` still show that the model was switched."""
    who = "aaaaaaaa-0000-0000-0000-000000000002"
    made = facts(policy(who, "keys/get", "keys/wrapKey", "keys/unwrapKey"), of=RSV, rbac=True)
    assert judged(RSV, made).codes == {"permission-model-switched"}


def test_denies_and_unread_roles_mean_nothing_on_a_policy_vault() -> None:
    """Neither a deny nor an unread list of denies or assignments touches a policy vault's verdict."""
    held = facts(policy(APP_OBJECT, *ALL))
    assert judged(CVM, with_store(held, denies=(deny("*"),))).state is HELD
    assert judged(CVM, with_store(held, denies=unread(), assignments={APP_OBJECT: unread()})).state is HELD
    assert judged(CVM, with_store(facts(), denies=unread(), assignments={APP_OBJECT: unread()})).codes == {ABSENT}


def test_the_remedy_keeps_what_the_entry_has() -> None:
    """`set-policy` replaces an entry, so the command names what is needed and what is there."""
    line = judged(CVM, facts(policy(APP_OBJECT, "keys/get", "keys/sign"))).findings[0].remediation
    assert line == (f"az keyvault set-policy --name kv1 --object-id {APP_OBJECT} --key-permissions get list backup sign")
