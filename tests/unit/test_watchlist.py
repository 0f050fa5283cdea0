"""Which key stores a notice may concern; the near-misses are the point."""

from __future__ import annotations

import pytest

from keydrift.key_uri import KeyUri
from keydrift.model import ChangeNotice, Scenario, StoreObject
from keydrift.watchlist import Watchlist, binding_id
from support.builders import (
    DISK_SET,
    GROUP,
    HSM,
    HSM_HOST,
    MANAGEMENT_GROUP,
    MHSM,
    RECOVERY_VAULT,
    SUB,
    USER_IDENTITY,
    VAULT,
    VAULT_HOST,
    VM,
    binding,
    key_at,
    rid,
    secret_at,
    user_identity,
)

S = Scenario
FAR_HOST = "kv2.vault.azure.net"
FAR_VAULT = f"{SUB}/resourceGroups/rg2/providers/Microsoft.KeyVault/vaults/kv2"
ROLE = "00000000-0000-0000-0000-00000000000a"

HERE = binding(S.CVM_CMK)
DES = binding(S.CVM_DES)
FAR = binding(S.BACKUP_VAULT_CMK, target=key_at(FAR_HOST, store=FAR_VAULT), identity=user_identity())
IN_HSM = binding(S.CVM_CMK, MHSM)
WATCHLIST = Watchlist.of([HERE, DES, FAR, IN_HSM], {VAULT_HOST: frozenset({ROLE})})
VAULTS, ALL = (VAULT_HOST, FAR_HOST), (HSM_HOST, VAULT_HOST, FAR_HOST)
BACKUP_VAULT = FAR.identity.reference
NONE: tuple[str, ...] = ()


def notice(resource: str) -> ChangeNotice:
    return ChangeNotice(event_id="e", event_type="t", operation="o", resource_id=rid(resource), occurred_at=None)


def assigned(scope: str, kind: str = "roleAssignments") -> str:
    return f"{'' if scope == '/' else scope}/providers/Microsoft.Authorization/{kind}/1"


@pytest.mark.parametrize("kind", ["roleAssignments", "denyAssignments"])
@pytest.mark.parametrize(
    ("scope", "hosts"),
    [
        ("/", VAULTS),
        (MANAGEMENT_GROUP, VAULTS),
        (SUB, VAULTS),
        (SUB.upper(), VAULTS),
        (GROUP, (VAULT_HOST,)),
        (VAULT, (VAULT_HOST,)),
        (f"{VAULT}/keys/k1", (VAULT_HOST,)),
        (FAR_VAULT, (FAR_HOST,)),
        (f"{FAR_VAULT}/keys/k1", (FAR_HOST,)),
        (f"{SUB}0", NONE),
        (f"{GROUP}0", NONE),
        (GROUP[:-1], NONE),
        (f"{VAULT}0", NONE),
        (f"{VAULT}0/keys/k1", NONE),
        (HSM, NONE),
        (VM, NONE),
        (BACKUP_VAULT, NONE),
        (USER_IDENTITY, NONE),
    ],
)
def test_assignment(kind: str, scope: str, hosts: tuple[str, ...]) -> None:
    """A role or deny assignment concerns the vaults below its scope or around it; Azure roles mean nothing in a Managed HSM."""
    assert set(WATCHLIST.affected_by(notice(assigned(scope, kind)))) == set(hosts)


@pytest.mark.parametrize(
    ("resource", "hosts"),
    [
        (f"{SUB}/providers/Microsoft.Authorization/roleDefinitions/{ROLE}", (VAULT_HOST,)),
        (f"{SUB}/providers/Microsoft.Authorization/roleDefinitions/{ROLE.upper()}", (VAULT_HOST,)),
        (f"/subscriptions/another/providers/Microsoft.Authorization/roleDefinitions/{ROLE}", (VAULT_HOST,)),
        (f"{VAULT}/providers/Microsoft.Authorization/roleDefinitions/{ROLE[:-1]}b", NONE),
        (f"{SUB}/providers/Microsoft.Authorization/roleDefinitions/{ROLE}0", NONE),
    ],
)
def test_role_definition(resource: str, hosts: tuple[str, ...]) -> None:
    """An edited role definition concerns the key stores where it was weighed last, through whatever subscription."""
    assert WATCHLIST.affected_by(notice(resource)) == hosts


@pytest.mark.parametrize(
    ("resource", "hosts", "consumer"),
    [
        ("/", ALL, True),
        (SUB, ALL, True),
        (GROUP, ALL, True),  # the far vault's consumer stands here
        (f"{SUB}/resourceGroups/rg2", (FAR_HOST,), False),
        (f"{SUB}/resourceGroups/rg20", NONE, False),
        (f"{GROUP}0", NONE, False),
        (f"{SUB}/resourceGroups/rg", NONE, False),
        (MANAGEMENT_GROUP, NONE, False),
        (VAULT, (VAULT_HOST,), False),
        (VAULT.upper(), (VAULT_HOST,), False),
        (f"{VAULT}/accessPolicies/add", (VAULT_HOST,), False),
        (f"{VAULT}/keys/k1", (VAULT_HOST,), False),
        (f"{VAULT}/keys/k1/versions/v", (VAULT_HOST,), False),
        (f"{VAULT}/secrets/s9", (VAULT_HOST,), False),
        (f"{VAULT}0", NONE, False),
        (VAULT[:-1], NONE, False),
        (HSM, (HSM_HOST,), False),
        (f"{HSM}2", NONE, False),
        (f"{GROUP}/providers/Microsoft.KeyVault/vaults/hsm1", NONE, False),
        (VM, (HSM_HOST, VAULT_HOST), True),
        (f"{VM}0", NONE, False),
        (f"{VM}/extensions/x", NONE, False),
        (DISK_SET, (VAULT_HOST,), True),
        (f"{DISK_SET}0", NONE, False),
        (BACKUP_VAULT, (FAR_HOST,), True),
        (f"{BACKUP_VAULT}/backupInstances/i", NONE, False),
        (USER_IDENTITY, (FAR_HOST,), False),
        (USER_IDENTITY.upper(), (FAR_HOST,), False),
        (f"{USER_IDENTITY}0", NONE, False),
        (f"{USER_IDENTITY}/federatedIdentityCredentials/f", NONE, False),
    ],
)
def test_resource(resource: str, hosts: tuple[str, ...], consumer: bool) -> None:
    """A change concerns the stores, consumers and identities that it is about or that stand in what it is about."""
    assert set(WATCHLIST.affected_by(notice(resource))) == set(hosts)
    assert bool(WATCHLIST.consumers_of(notice(resource))) is consumer


@pytest.mark.parametrize(
    ("child", "hit"),
    [("backupEncryptionConfigs/backupResourceEncryptionConfig", True), ("backupFabrics/f", False), ("backupJobs/1", False)],
)
def test_legacy_encryption_settings(child: str, hit: bool) -> None:
    """A Recovery Services vault's encryption may be a resource of its own below it; nothing else below it matters."""
    mine = Watchlist.of([binding(S.RSV_CMK)])
    assert mine.affected_by(notice(f"{RECOVERY_VAULT}/{child}")) == ((VAULT_HOST,) if hit else ())
    assert bool(mine.consumers_of(notice(f"{RECOVERY_VAULT}/{child}"))) is hit
    assert mine.affected_by(notice(f"{RECOVERY_VAULT}0/{child}")) == ()


def test_both_stores_of_a_split_binding() -> None:
    """A binding whose secret stands elsewhere belongs to both stores, and notices about either concern it."""
    split = binding(S.ADE_KEK, secrets=(secret_at(FAR_HOST, store=FAR_VAULT),))
    mine = Watchlist.of([split])
    assert mine.hosts == (VAULT_HOST, FAR_HOST)
    assert mine.at(VAULT_HOST) == mine.at(FAR_HOST) == (split,)
    assert mine.affected_by(notice(FAR_VAULT)) == (FAR_HOST,)
    assert mine.affected_by(notice(VAULT)) == (VAULT_HOST,)
    assert mine.affected_by(notice(VM)) == (VAULT_HOST, FAR_HOST)


def test_a_binding_without_a_known_store() -> None:
    """Where a key store stands in no readable subscription, its consumer's notices still reach it, role assignments do not."""
    lost = binding(S.CVM_CMK, target=StoreObject(uri=KeyUri.parse(f"https://{VAULT_HOST}/keys/k1")))
    mine = Watchlist.of([lost])
    assert mine.affected_by(notice(VM)) == (VAULT_HOST,)
    assert mine.affected_by(notice(assigned(SUB))) == ()


def test_an_empty_watchlist() -> None:
    """Nothing watched, nothing concerned."""
    assert (Watchlist().hosts, Watchlist().at(VAULT_HOST), Watchlist().affected_by(notice("/"))) == ((), (), ())
    assert not Watchlist().consumers_of(notice("/"))


def test_binding_ids() -> None:
    """An id is its scenario's, identity's and versionless key's, in any letter case, and no other's."""

    def of(uri: str, scenario: Scenario = S.CVM_CMK) -> str:
        return binding_id(scenario, HERE.identity, KeyUri.parse(uri))

    base = of("https://kv1.vault.azure.net/keys/k1")
    assert base == HERE.id == of("HTTPS://KV1.VAULT.AZURE.NET/Keys/K1/0123")
    others = {
        of("https://kv1.vault.azure.net/keys/k2"),
        of("https://kv1.vault.azure.net/secrets/k1"),
        of("https://kv2.vault.azure.net/keys/k1"),
        of("https://kv1.vault.azure.net/keys/k1", S.ADE_KEK),
        binding_id(S.CVM_CMK, DES.identity, HERE.target.uri),
    }
    assert len(others - {base}) == 5
