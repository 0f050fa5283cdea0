"""From resources to key bindings: what is found, joined and identified."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from keydrift.inventory import MOST_ITEMS, AdeSetting, DiskEncryptionSet, EncryptedVault, Inventory, ProtectedVm, discover
from keydrift.key_uri import KeyUri
from keydrift.model import AppIdentity, Consumer, ProtectedItem, Scenario, StoreObject
from keydrift.resource_id import ResourceId
from support.builders import (
    APP_ID,
    BACKUP_VAULT,
    DISK_SET,
    GROUP,
    NOW,
    OLD_VERSION,
    RECOVERY_VAULT,
    VAULT,
    VAULT_HOST,
    VERSION,
    VM,
    owner_identity,
    rid,
    secret_at,
    user_identity,
)

S = Scenario
STORES = {VAULT_HOST: rid(VAULT)}
OTHER_SET = f"{DISK_SET}2"


def key(name: str = "k1", version: str | None = VERSION) -> KeyUri:
    return KeyUri.parse(f"https://{VAULT_HOST}/keys/{name}" + (f"/{version}" if version else ""))


def item(number: int = 1) -> ProtectedItem:
    base = f"{RECOVERY_VAULT}/backupFabrics/Azure/protectionContainers/c/protectedItems/vm{number}"
    return ProtectedItem(id=rid(base), last_backup_at=NOW - timedelta(days=number))


def vm(number: int = 1, **changes: object) -> ProtectedVm:
    made = ProtectedVm(id=rid(f"{VM}x{number}"), location="westeurope", item=item(number), confidential=True)
    return replace(made, **changes)  # type: ignore[arg-type]


def disk_set(name: str = DISK_SET, uri: KeyUri | None = None, **changes: object) -> DiskEncryptionSet:
    made = DiskEncryptionSet(
        id=rid(name), key=uri or key(), store_id=rid(VAULT), identity=owner_identity(name), for_confidential_vms=True
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def inventory(*vms: ProtectedVm, sets: tuple[DiskEncryptionSet, ...] = (), vaults: tuple[EncryptedVault, ...] = ()) -> Inventory:
    return Inventory(stores=STORES, vms=vms, disk_sets={each.id.key: each for each in sets}, vaults=vaults)


def encrypted(scenario: Scenario, owner: str, uri: KeyUri | None = None) -> EncryptedVault:
    return EncryptedVault(
        id=rid(owner),
        scenario=scenario,
        location="westeurope",
        key=uri or key(),
        identity=owner_identity(owner),
        encryption_state="Enabled",
    )


def test_fifty_machines_behind_one_key() -> None:
    """Fifty confidential machines behind one key are one binding of the app and one of the set, each with fifty consumers."""
    made = inventory(*(vm(n, secure_sets=(rid(DISK_SET),)) for n in range(50)), sets=(disk_set(),))
    found = {each.scenario: each for each in discover(made, APP_ID)}
    assert set(found) == {S.CVM_CMK, S.CVM_DES}
    for each in found.values():
        assert len({c.id for c in each.consumers}) == len(each.consumers) == 50
        assert each.target == StoreObject(uri=key(version=None), store_id=rid(VAULT))
        assert {v for c in each.consumers for v in c.key_versions} == {VERSION}
        assert [len(c.protected_items) for c in each.consumers] == [1] * 50
    assert found[S.CVM_CMK].identity == AppIdentity(app_id=APP_ID)
    assert found[S.CVM_DES].identity == owner_identity(DISK_SET)


@pytest.mark.parametrize(
    ("machine", "scenarios"),
    [
        (vm(secure_sets=(rid(DISK_SET),)), {S.CVM_CMK, S.CVM_DES}),
        (vm(secure_sets=(rid(DISK_SET.upper()),)), {S.CVM_CMK, S.CVM_DES}),
        (vm(other_sets=(rid(DISK_SET),)), {S.CVM_CMK, S.CVM_DES}),
        (vm(other_sets=(rid(OTHER_SET),)), set[Scenario]()),
        (vm(secure_sets=(rid(OTHER_SET),)), {S.CVM_CMK, S.CVM_DES}),
        (vm(secure_sets=(rid(f"{DISK_SET}0"),)), set()),
        (vm(confidential=False, secure_sets=(rid(DISK_SET),)), set()),
        (vm(confidential=False, other_sets=(rid(DISK_SET),)), set()),
        (vm(), set()),
    ],
)
def test_confidential_machines(machine: ProtectedVm, scenarios: set[Scenario]) -> None:
    """A confidential machine needs the key of its encryption set; of one that is not for such machines only if named there."""
    made = inventory(machine, sets=(disk_set(), disk_set(OTHER_SET, for_confidential_vms=False)))
    assert {each.scenario for each in discover(made, APP_ID)} == scenarios


def test_rotation_error_concerns_the_set_only() -> None:
    """What an encryption set reports of its rotation stands with the set's binding."""
    made = inventory(vm(secure_sets=(rid(DISK_SET),)), sets=(disk_set(rotation_error="stopped"),))
    errors = {each.scenario: each.consumers[0].rotation_error for each in discover(made, APP_ID)}
    assert errors == {S.CVM_CMK: None, S.CVM_DES: "stopped"}


def test_disk_encryption_without_a_key_encryption_key() -> None:
    """A disk's secret alone is a binding of that secret, with the version that the disk names."""
    made = inventory(vm(ade=(AdeSetting(secret=secret_at()),)))
    (found,) = discover(made, APP_ID)
    assert (found.scenario, found.target, found.secrets) == (S.ADE_BEK, secret_at(), ())


def test_two_secrets_behind_one_key_encryption_key() -> None:
    """Two disks behind one key are one binding with both secrets, one consumer and every version that a disk pins."""
    first = AdeSetting(secret=secret_at(name="s1"), key=StoreObject(uri=key(version=OLD_VERSION)))
    second = AdeSetting(secret=secret_at(name="s2"), key=StoreObject(uri=key(version=VERSION)))
    for settings in ((first, second), (second, first)):
        (found,) = discover(inventory(vm(ade=settings)), APP_ID)
        assert found.scenario is S.ADE_KEK
        assert found.target == StoreObject(uri=key(version=None), store_id=rid(VAULT))
        assert set(found.secrets) == {secret_at(name="s1"), secret_at(name="s2")}
        assert [c.id for c in found.consumers] == [vm().id]
        assert found.consumers[0].key_versions == (VERSION, OLD_VERSION)
        assert found.consumers[0].protected_items == (item(1),)


def test_one_machine_protected_twice() -> None:
    """A machine of two backup items is one consumer with both."""
    twice = (vm(1, secure_sets=(rid(DISK_SET),)), vm(1, secure_sets=(rid(DISK_SET),), item=item(2)))
    for found in discover(inventory(*twice, sets=(disk_set(),)), APP_ID):
        assert len(found.consumers) == 1
        assert set(found.consumers[0].protected_items) == {item(1), item(2)}


def test_two_sets_behind_one_key() -> None:
    """The app needs one key once; each set's identity needs it on its own, and a set that knows the store places it for both."""
    unplaced = replace(disk_set(), store_id=None)
    made = inventory(
        vm(1, secure_sets=(rid(DISK_SET),)), vm(2, secure_sets=(rid(OTHER_SET),)), sets=(unplaced, disk_set(OTHER_SET))
    )
    found = discover(replace(made, stores={}), APP_ID)
    assert sorted(each.scenario for each in found) == [S.CVM_CMK, S.CVM_DES, S.CVM_DES]
    shared = next(each for each in found if each.scenario is S.CVM_CMK)
    assert len(shared.consumers) == 2
    assert shared.target.store_id == rid(VAULT)


def test_a_vault_of_many_items_names_the_freshest_and_counts_all() -> None:
    """Of 60 items the 50 with the newest recovery points are named, in order of id, and all are counted."""
    items = [replace(item(n), last_recovery_point_at=NOW - timedelta(hours=n) if n else None) for n in range(60)]
    vault = encrypted(S.BACKUP_VAULT_CMK, BACKUP_VAULT).protecting(items)
    (found,) = discover(inventory(vaults=(vault,)), APP_ID)
    (consumer,) = found.consumers
    assert (len(consumer.protected_items), consumer.item_count) == (MOST_ITEMS, 60)
    assert {each.id for each in items[1 : MOST_ITEMS + 1]} == {each.id for each in consumer.protected_items}
    (few,) = discover(inventory(vaults=(vault.protecting(items[:2]),)), APP_ID)
    assert (few.consumers[0].protected_count, few.consumers[0].item_count) == (None, 2)


@pytest.mark.parametrize(("scenario", "owner"), [(S.BACKUP_VAULT_CMK, BACKUP_VAULT), (S.RSV_CMK, RECOVERY_VAULT)])
@pytest.mark.parametrize("version", [VERSION, None])
def test_encrypted_vault(scenario: Scenario, owner: str, version: str | None) -> None:
    """A vault that encrypts with a key is its own consumer and identity, and pins the version that it names."""
    (found,) = discover(inventory(vaults=(encrypted(scenario, owner, key(version=version)),)), APP_ID)
    consumer = Consumer(
        id=rid(owner), key_versions=(version,) if version else (), location="westeurope", encryption_state="Enabled"
    )
    assert (found.scenario, found.identity, found.consumers) == (scenario, owner_identity(owner), (consumer,))
    assert found.target == StoreObject(uri=key(version=None), store_id=rid(VAULT))


def test_ids_are_stable() -> None:
    """Letter case, the version of the key, the identity in use and the order of resources change no id."""

    def ids(owner: str, uri: KeyUri, app: str) -> list[str]:
        made = inventory(
            vm(secure_sets=(rid(DISK_SET),)),
            sets=(disk_set(uri=uri),),
            vaults=(encrypted(S.RSV_CMK, owner, uri),),
        )
        return [each.id for each in discover(made, app)]

    shouted = KeyUri.parse(str(key("K1", None)).upper().replace("HTTPS", "https"))
    expected = ids(RECOVERY_VAULT, key(), APP_ID)
    assert len(set(expected)) == 3
    assert ids(RECOVERY_VAULT.upper(), shouted, APP_ID.upper()) == expected
    switched = replace(encrypted(S.RSV_CMK, RECOVERY_VAULT), identity=user_identity(RECOVERY_VAULT))
    assert {each.id for each in discover(inventory(vaults=(switched,)), APP_ID)} < set(expected)


def test_the_host_decides_where_a_key_stands() -> None:
    """A declared source vault may have moved: the listed store of that host is believed first, the declared one else."""
    stale: ResourceId = rid(f"{GROUP}/providers/Microsoft.KeyVault/vaults/old")
    made = inventory(vm(secure_sets=(rid(DISK_SET),)), sets=(disk_set(store_id=stale),))
    assert {each.target.store_id for each in discover(made, APP_ID)} == {rid(VAULT)}
    assert {each.target.store_id for each in discover(replace(made, stores={}), APP_ID)} == {stale}


def test_nothing_listed() -> None:
    """An empty inventory shows no binding."""
    assert discover(Inventory(), APP_ID) == ()
