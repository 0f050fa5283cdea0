"""Key stores as such: there or not, reachable, protected, of the right tenant and region."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from keydrift.facts import Absent, DeletedKeyStore, Facts, KeyStore, NetworkRules, Read
from keydrift.model import Consumer, KeyBinding, PermissionModel, Scenario, State
from keydrift.requirement import requirement_for
from support.builders import (
    HSM,
    HSM_HOST,
    MHSM,
    NOW,
    RBAC,
    RECOVERY_VAULT,
    VAULT,
    binding,
    granting,
    judged,
    key_object,
    rid,
    unread,
    user_identity,
    with_object,
    with_store,
    with_vault,
)

S = Scenario
LOST, HELD, RISK, UNKNOWN = State.LOST, State.HELD, State.AT_RISK, State.UNKNOWN
GONE = Absent(what="vault")
PURGE = NOW + timedelta(days=90)
DELETED = DeletedKeyStore(id=rid(VAULT), deleted_at=NOW, purge_at=PURGE)


def held(of: KeyBinding, model: PermissionModel = RBAC) -> Facts:
    requirement = requirement_for(of.scenario, model)
    assert requirement is not None
    return granting(of, model, [p.name for p in requirement.permissions])


CVM = binding(S.CVM_CMK)


@pytest.mark.parametrize(
    ("store", "deleted", "watched", "state", "code"),
    [
        (GONE, DELETED, True, LOST, "key-store-not-found"),
        (GONE, DELETED, False, LOST, "key-store-not-found"),
        (GONE, GONE, True, LOST, "key-store-not-found"),
        (GONE, None, True, LOST, "key-store-not-found"),
        (GONE, unread("deleted vaults"), True, LOST, "key-store-not-found"),
        (GONE, GONE, False, UNKNOWN, "facts-unreadable"),
        (GONE, None, False, UNKNOWN, "facts-unreadable"),
        (GONE, unread("deleted vaults"), False, UNKNOWN, "facts-unreadable"),
        (unread("vault"), None, True, UNKNOWN, "facts-unreadable"),
        (unread("vault"), None, False, UNKNOWN, "facts-unreadable"),
    ],
)
@pytest.mark.parametrize("objects", ["absent", "unread"])
def test_presence(
    store: Read[KeyStore], deleted: Read[DeletedKeyStore] | None, watched: bool, state: State, code: str, objects: str
) -> None:
    """A store shown deleted, or that answered before and is gone, is lost; one never seen is unknown, keys and all."""
    shown = GONE if objects == "absent" else unread("key")
    made = with_object(with_store(held(CVM), store=store, deleted=deleted, watched_before=watched), CVM.target, shown)
    verdict = judged(CVM, made)
    if watched and not isinstance(store, Absent) and objects == "absent":
        # The store has answered before, so its key's 404 is believed
        state, code = LOST, "key-not-found"
    assert (verdict.state, set(verdict.codes), verdict.missing) == (state, {code}, ())


def test_a_disabled_key_is_lost_while_its_store_is_unread() -> None:
    """What was read of the key stands, whatever else is unread."""
    made = with_object(
        with_store(held(CVM), store=unread(), watched_before=False), CVM.target, key_object(CVM.target, enabled=False)
    )
    assert judged(CVM, made).codes == {"key-disabled"}


def test_soft_deleted_store_says_until_when_it_can_be_recovered() -> None:
    """The finding carries the purge date and the command, an HSM's its own."""
    found = judged(CVM, with_store(held(CVM), store=GONE, deleted=DELETED)).findings[0]
    assert found.evidence["scheduledPurgeDate"] == PURGE.isoformat()
    assert PURGE.isoformat() in found.summary
    assert found.remediation == "az keyvault recover --name kv1"
    mine = binding(S.CVM_CMK, MHSM)
    gone = with_store(held(mine, MHSM), HSM_HOST, store=GONE, deleted=DeletedKeyStore(id=rid(HSM)))
    assert judged(mine, gone).findings[0].remediation == "az keyvault recover --hsm-name hsm1"


def test_a_store_without_facts_is_unknown() -> None:
    """A key store that nobody read is unknown."""
    verdict = judged(CVM, replace(held(CVM), stores={}))
    assert (verdict.state, set(verdict.codes), verdict.key_store) == (UNKNOWN, {"facts-unreadable"}, None)


def rules(access: str = "enabled", action: str = "allow", bypass: str = "azureservices") -> NetworkRules:
    return NetworkRules(public_network_access=access, default_action=action, bypass=bypass)


BLOCKED, PERIMETER, USER = "network-blocked", "network-perimeter", "network-unsupported-with-user-identity"
NETWORK: list[tuple[NetworkRules, set[str], bool]] = [
    # rules, codes whatever the identity, whether a user-assigned identity is refused too
    (rules(), set(), False),
    (rules(bypass="none"), set(), False),
    (rules(action="deny"), set(), True),
    (rules(action="deny", bypass="none"), {BLOCKED}, True),
    (rules("disabled"), set(), True),
    (rules("disabled", bypass="none"), {BLOCKED}, True),
    (rules("disabled", "deny"), set(), True),
    (rules("disabled", "deny", "none"), {BLOCKED}, True),
    (rules("securedbyperimeter"), {PERIMETER}, True),
    (rules("securedbyperimeter", "deny", "none"), {PERIMETER}, True),
    (rules("securedbyperimeter", bypass="none"), {PERIMETER}, True),
]


@pytest.mark.parametrize(("network", "codes"), [row[:2] for row in NETWORK])
@pytest.mark.parametrize("scenario", list(Scenario))
def test_network(network: NetworkRules, codes: set[str], scenario: Scenario) -> None:
    """A closed firewall without the bypass is lost in every scenario, a perimeter at risk."""
    mine = binding(scenario)
    verdict = judged(mine, with_vault(held(mine), network=network))
    assert verdict.codes == codes
    assert verdict.state is (LOST if BLOCKED in codes else RISK if codes else HELD)


@pytest.mark.parametrize(("network", "codes", "restricted"), NETWORK)
@pytest.mark.parametrize("scenario", [S.BACKUP_VAULT_CMK, S.RSV_CMK, S.CVM_DES])
def test_network_with_a_user_identity(network: NetworkRules, codes: set[str], restricted: bool, scenario: Scenario) -> None:
    """A user-assigned identity of a vault is not supported with any network restriction; a disk encryption set's is."""
    mine = binding(scenario, identity=user_identity(RECOVERY_VAULT))
    refused = restricted and scenario is not S.CVM_DES
    assert judged(mine, with_vault(held(mine), network=network)).codes == codes | ({USER} if refused else set())


@pytest.mark.parametrize("scenario", list(Scenario))
def test_protection(scenario: Scenario) -> None:
    """Soft delete and purge protection are asked for by vault CMK and confidential machines only, and their lack is a risk."""
    mine = binding(scenario)
    asked = scenario not in (S.ADE_BEK, S.ADE_KEK)
    no_purge = judged(mine, with_vault(held(mine), purge_protection=False))
    no_soft = judged(mine, with_vault(held(mine), soft_delete=False))
    assert no_purge.codes == ({"purge-protection-off"} if asked else set())
    assert no_soft.codes == ({"soft-delete-off"} if asked else set())
    assert no_purge.state is (RISK if asked else HELD)


def test_protection_of_a_managed_hsm() -> None:
    """A Managed HSM may lack purge protection, never soft delete."""
    mine = binding(S.CVM_CMK, MHSM)
    verdict = judged(mine, with_vault(held(mine, MHSM), HSM_HOST, purge_protection=False))
    assert verdict.codes == {"purge-protection-off"}
    assert "update-hsm --hsm-name hsm1" in verdict.findings[0].remediation


@pytest.mark.parametrize(
    ("consumer", "store", "mismatch"),
    [
        ("westeurope", "westeurope", False),
        ("West Europe", "westeurope", False),
        ("WESTEUROPE", "westeurope", False),
        (None, "westeurope", False),
        ("westeurope", "", False),
        ("westeurope", "northeurope", True),
        ("westus", "westus2", True),
    ],
)
def test_region(consumer: str | None, store: str, mismatch: bool) -> None:
    """A Recovery Services vault and its key vault belong in one region; other scenarios may differ."""
    for scenario in (S.RSV_CMK, S.BACKUP_VAULT_CMK, S.CVM_CMK):
        mine = binding(scenario, consumers=(Consumer(id=rid(RECOVERY_VAULT), location=consumer),))
        verdict = judged(mine, with_vault(held(mine), location=store))
        assert verdict.codes == ({"region-mismatch"} if mismatch and scenario is S.RSV_CMK else set())


def test_store_findings_stand_beside_lost_grants() -> None:
    """A closed firewall and a missing grant are two causes, worst and then least."""
    made = with_vault(granting(CVM, RBAC, ()), network=rules("disabled", bypass="none"), purge_protection=False)
    verdict = judged(CVM, made)
    assert verdict.codes == {BLOCKED, "role-insufficient", "purge-protection-off"}
    assert [f.level for f in verdict.findings] == [LOST, LOST, RISK]
