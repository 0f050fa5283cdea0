"""The catalogue's discovery rules against the simulated tenant: which resources need which keys, and what could not be listed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from keydrift.inventory import Inventory, TagNames, discover
from keydrift.model import NO_OWNERSHIP, KeyBinding, Ownership, PermissionModel, ResourceIdentity, Scenario
from keydrift.resource_id import ResourceId
from keydrift.scan import ScanResult, scan
from keydrift_local.local_azure import LocalAzure
from support.azure import asked, reading, serve
from support.queues_memory import ManualClock
from support.tenants import (
    BACKUP_APP_ID,
    HEALTHY,
    IDENTITY_OBJECT_ID,
    OLDER_VERSION,
    OTHER_SUBSCRIPTION,
    SUBSCRIPTION,
    VERSION,
    Document,
    arm_id,
    backup_instance,
    backup_vault,
    disk,
    disk_encryption_set,
    disk_id,
    encryption_settings,
    healthy,
    key_vault,
    legacy_encryption,
    machine,
    machine_id,
    managed_hsm,
    protected_item,
    recovery_vault,
    set_id,
    system_identity,
    tenant,
    user_identity,
    vault_id,
)

K1, S1 = "https://kv1.vault.azure.net/keys/k1", f"https://kv1.vault.azure.net/secrets/s1/{VERSION}"
IDENTITY = arm_id("Microsoft.ManagedIdentity/userAssignedIdentities", "id1")


async def inventory(
    azure: LocalAzure, *resources: Document, subscriptions: Sequence[str] = (SUBSCRIPTION,), faults: Sequence[Document] = ()
) -> Inventory:
    """What is listed in a tenant of these resources."""
    serve(azure, tenant(*resources))
    for fault in faults:
        azure.fault(fault)
    async with reading() as composed:
        return await composed.consumers.read(subscriptions)


async def bindings(azure: LocalAzure, *resources: Document) -> tuple[KeyBinding, ...]:
    """The key bindings of a tenant in which everything could be listed."""
    found = await inventory(azure, *resources)
    assert found.unread == ()
    return discover(found, BACKUP_APP_ID)


def shown(found: Sequence[KeyBinding]) -> set[tuple[str, str]]:
    return {(each.scenario.value, str(each.target.uri)) for each in found}


def protected(vm: Document, *disks: Document, state: str = "Protected") -> list[Document]:
    vault = recovery_vault()
    return [key_vault(rbac=True), vault, vm, protected_item(vm["id"], vault["id"], state), *disks]


def confidential(**where: str) -> Document:
    profile = {"diskEncryptionSet": {"id": set_id(**where)}, "securityEncryptionType": "DiskWithVMGuestState"}
    return machine(confidential=True, os_disk={"managedDisk": {"id": disk_id(), "securityProfile": profile}})


# --- the scenarios --------------------------------------------------------------------------------------------------------


async def scanned(azure: LocalAzure, document: Document) -> ScanResult:
    serve(azure, document)
    async with reading() as composed:
        return await scan(
            consumers=composed.consumers,
            bulk=composed.bulk,
            clock=ManualClock(),
            policy=composed.policy,
            subscriptions=(),
        )


@pytest.mark.parametrize(("scenario", "model"), HEALTHY)
async def test_a_healthy_tenant_is_held(azure: LocalAzure, scenario: Scenario, model: PermissionModel) -> None:
    """Every scenario is found under every permission model it supports, with everything read and every binding held."""
    result = await scanned(azure, healthy(scenario, model))
    found = {verdict.binding.scenario: verdict for verdict in result.verdicts}
    assert {verdict.state for verdict in result.verdicts} == {"held"}
    assert (found[scenario].permission_model, result.unread, result.exit_status()) == (model, (), 0)


async def test_a_tenant_without_consumers(azure: LocalAzure) -> None:
    """Nothing to find is an empty inventory that was read completely."""
    vault = ResourceId.parse(vault_id())
    assert await inventory(azure, key_vault(rbac=True)) == Inventory(
        stores={"kv1.vault.azure.net": vault}, unread=(), listed=frozenset({vault.key}), lists=7
    )
    serve(azure, tenant())
    async with reading() as composed:
        assert (await composed.consumers.subscriptions(), await composed.consumers.read(())) == (
            (),
            Inventory(listed=frozenset()),
        )


async def test_what_an_encrypted_backup_vault_protects(azure: LocalAzure) -> None:
    """An encrypted Backup vault names its backup instances, and only such a vault is asked for them."""
    encrypted, plain = backup_vault("bv1", K1), backup_vault("bv2", None)
    instances = [backup_instance(encrypted["id"], name) for name in ("bi2", "bi1")]
    (found,) = await bindings(azure, key_vault(rbac=True), encrypted, plain, *instances, backup_instance(plain["id"], "bi3"))
    (consumer,) = found.consumers
    assert [(i.id.name, i.name, i.last_backup_at, i.last_recovery_point_at) for i in consumer.protected_items] == [
        ("bi1", "disk of bi1", None, None),
        ("bi2", "disk of bi2", None, None),
    ]
    lists = [each.path for each in asked(azure) if each.path.endswith("/backupInstances")]
    assert lists == [f"{encrypted['id']}/backupInstances"]


async def test_what_an_encrypted_recovery_services_vault_protects(azure: LocalAzure) -> None:
    """An encrypted Recovery Services vault names its items of every workload, stopped ones too, with their recovery points; a
    machine whose protection has stopped needs no key of its own."""
    vault, vm = recovery_vault("rsv1", K1), machine()
    stopped = protected_item(vm["id"], vault["id"], state="ProtectionStopped")
    database = protected_item(machine_id("sql1"), vault["id"])
    del database["properties"]["sourceResourceId"], database["properties"]["virtualMachineId"]
    database["properties"] |= {"backupManagementType": "AzureWorkload", "lastRecoveryPoint": "2025-12-30T22:00:00Z"}
    (found,) = await bindings(azure, key_vault(rbac=True), vault, vm, stopped, database)
    (consumer,) = found.consumers
    assert found.scenario is Scenario.RSV_CMK
    assert [(i.id, i.last_recovery_point_at) for i in consumer.protected_items] == [
        (ResourceId.parse(database["id"]), datetime(2025, 12, 30, 22, tzinfo=UTC)),
        (ResourceId.parse(stopped["id"]), None),
    ]


async def test_a_list_of_backup_instances_that_fails_is_unread(azure: LocalAzure) -> None:
    """Backup instances that cannot be listed leave their vault watched, and are named with the role that would help."""
    vault = backup_vault("bv1", K1)
    fault = {"match": "GET */backupInstances", "status": 403}
    found = await inventory(azure, key_vault(rbac=True), vault, backup_instance(vault["id"]), faults=[fault])
    assert [(each.source, each.status, each.repair) for each in found.unread] == [
        (f"backup instances of {vault['id']}", 403, "Backup Reader on the vault")
    ]
    assert [(each.id.name, each.items) for each in found.vaults] == [("bv1", ())]


async def test_tags_of_consumers_and_key_stores(azure: LocalAzure) -> None:
    """Owner and environment come from the tags of those names in any letter case; other tags are not kept."""
    store = key_vault(rbac=True) | {"tags": {"Owner": "vault-team", "ENVIRONMENT": "prod", "secret": "no"}}
    vault = backup_vault("bv1", K1) | {"tags": {"owner": "backup-team", "environment": ""}}
    made = await inventory(azure, store, vault)
    (found,) = discover(made, BACKUP_APP_ID)
    assert found.target.ownership == Ownership(owner="vault-team", environment="prod")
    assert found.consumers[0].ownership == Ownership(owner="backup-team")
    (other,) = discover(made, BACKUP_APP_ID, TagNames(owner="SECRET", environment="none"))
    assert (other.target.ownership, other.consumers[0].ownership) == (Ownership(owner="no"), NO_OWNERSHIP)


async def test_a_backup_vault_with_a_system_assigned_identity(azure: LocalAzure) -> None:
    """A backup vault whose settings name a key is found with its own identity and the version that it pins."""
    (found,) = await bindings(azure, key_vault(rbac=True), backup_vault("bv1", f"{K1}/{VERSION}"), backup_vault("bv2", None))
    assert isinstance(found.identity, ResourceIdentity)
    assert (found.scenario, str(found.target.uri), found.target.store_id) == (
        Scenario.BACKUP_VAULT_CMK,
        K1,
        ResourceId.parse(vault_id()),
    )
    assert (found.identity.user_assigned, found.identity.system_object_id) == (None, IDENTITY_OBJECT_ID)
    assert [(c.id.name, c.key_versions, c.encryption_state) for c in found.consumers] == [("bv1", (VERSION,), "Enabled")]


async def test_a_backup_vault_with_a_user_assigned_identity(azure: LocalAzure) -> None:
    """The identity that the encryption settings choose is the one, attached or not."""
    vault = backup_vault("bv1", K1, user_identity(IDENTITY.replace("resourceGroups", "resourcegroups")))
    settings = vault["properties"]["securitySettings"]["encryptionSettings"]
    settings["kekIdentity"] = {"identityType": "UserAssigned", "identityId": IDENTITY}
    (found,) = await bindings(azure, vault)
    assert isinstance(found.identity, ResourceIdentity)
    assert found.identity.user_assigned == ResourceId.parse(IDENTITY)
    assert found.identity.attached == {IDENTITY.lower(): IDENTITY_OBJECT_ID}
    assert found.identity.system_object_id is None


async def test_a_recovery_services_vault(azure: LocalAzure) -> None:
    """A Recovery Services vault whose encryption names a key is found, and its legacy settings are not asked for."""
    (found,) = await bindings(azure, recovery_vault(key_uri=K1))
    assert (found.scenario, found.consumers[0].id.name) == (Scenario.RSV_CMK, "rsv1")
    assert not any("backupEncryptionConfigs" in each.path for each in asked(azure))


async def test_a_recovery_services_vault_with_legacy_settings_only(azure: LocalAzure) -> None:
    """A vault that shows no encryption may have its key in the older resource, which is asked for."""
    with_key, without = recovery_vault("rsv1"), recovery_vault("rsv2")
    (found,) = await bindings(azure, with_key, without, legacy_encryption(with_key["id"], K1))
    assert (found.scenario, [each.id.name for each in found.consumers]) == (Scenario.RSV_CMK, ["rsv1"])
    assert sum("backupEncryptionConfigs" in each.path for each in asked(azure)) == 2


@pytest.mark.parametrize("state", ["Protected", "IRPending", "ProtectionError", "BackupsSuspended"])
async def test_a_confidential_machine_by_its_security_profile(azure: LocalAzure, state: str) -> None:
    """A protected confidential VM with a customer key is two bindings: the backup service's and its encryption set's."""
    resources = protected(confidential(), disk(), disk_encryption_set(key_uri=f"{K1}/{VERSION}", store=vault_id()), state=state)
    found = await bindings(azure, *resources)
    assert shown(found) == {("cvm-cmk", K1), ("cvm-des", K1)}
    assert {each.identity.reference for each in found} == {BACKUP_APP_ID, set_id().lower()}
    for each in found:
        assert [(c.id.name, c.key_versions, len(c.protected_items)) for c in each.consumers] == [("vm1", (VERSION,), 1)]


async def test_stopped_protection_needs_no_key(azure: LocalAzure) -> None:
    """A machine whose protection is stopped is not among those found."""
    resources = protected(confidential(), disk(), disk_encryption_set(key_uri=K1, store=vault_id()), state="ProtectionStopped")
    assert await bindings(azure, *resources) == ()


async def test_a_confidential_machine_by_its_disk(azure: LocalAzure) -> None:
    """An encryption set named by the disk alone counts for a confidential machine."""
    of_disk = disk(securityProfile={"secureVMDiskEncryptionSetId": set_id()})
    resources = protected(machine(confidential=True), of_disk, disk_encryption_set(key_uri=K1, store=vault_id()))
    assert shown(await bindings(azure, *resources)) == {("cvm-cmk", K1), ("cvm-des", K1)}


async def test_an_ordinary_machine_with_an_encryption_set(azure: LocalAzure) -> None:
    """Server-side encryption with a customer key of a machine that is not confidential asks nothing of Azure Backup."""
    vm = machine(os_disk={"managedDisk": {"id": disk_id(), "diskEncryptionSet": {"id": set_id()}}})
    assert await bindings(azure, *protected(vm, disk(), disk_encryption_set(key_uri=K1, store=vault_id()))) == ()


async def test_many_machines_behind_one_key_are_one_binding(azure: LocalAzure) -> None:
    """Machines of one encryption set share its bindings, as consumers."""
    vault, machines = recovery_vault(), []
    for number in range(1, 6):
        vm = confidential()
        vm["id"] = machine_id(f"vm{number}")
        machines += [vm, protected_item(vm["id"], vault["id"])]
    found = await bindings(azure, vault, *machines, disk(), disk_encryption_set(key_uri=K1, store=vault_id()))
    assert [(each.scenario.value, len(each.consumers)) for each in found if each.scenario is Scenario.CVM_CMK] == [("cvm-cmk", 5)]
    assert len(found) == 2


async def test_an_encryption_set_in_another_subscription(azure: LocalAzure) -> None:
    """A set that was not listed is read by its id; its key store may be in none of the subscriptions listed."""
    elsewhere = disk_encryption_set(key_uri="https://kv9.vault.azure.net/keys/k1", store=None, subscription=OTHER_SUBSCRIPTION)
    found = await bindings(azure, *protected(confidential(subscription=OTHER_SUBSCRIPTION), disk(), elsewhere))
    assert {(each.scenario.value, each.target.uri.host, each.target.store_id) for each in found} == {
        ("cvm-cmk", "kv9.vault.azure.net", None),
        ("cvm-des", "kv9.vault.azure.net", None),
    }


@pytest.mark.parametrize(
    ("identity", "user_assigned", "system_object_id"),
    [
        (system_identity(), None, IDENTITY_OBJECT_ID),
        ({"type": "None"}, None, None),
        ({"type": "None", "principalId": IDENTITY_OBJECT_ID}, None, None),
        (user_identity(IDENTITY), IDENTITY, None),
        ({**user_identity(IDENTITY), "type": "SystemAssigned, UserAssigned", "principalId": "P"}, None, "p"),
    ],
)
async def test_an_encryption_sets_identity(
    azure: LocalAzure, identity: Document, user_assigned: str | None, system_object_id: str | None
) -> None:
    """The set's identity is what its type says: a remnant without the kind is none."""
    des = disk_encryption_set(key_uri=K1, store=vault_id(), identity=identity)
    found = await bindings(azure, *protected(confidential(), disk(), des))
    (own,) = [each.identity for each in found if isinstance(each.identity, ResourceIdentity)]
    assert own.user_assigned == (ResourceId.parse(user_assigned) if user_assigned else None)
    assert own.system_object_id == system_object_id


async def test_a_rotation_error_is_kept(azure: LocalAzure) -> None:
    """What the encryption set says of its failing rotation stands with the consumer of the set's own binding."""
    des = disk_encryption_set(key_uri=K1, store=vault_id())
    des["properties"]["autoKeyRotationError"] = {"code": "KeyVaultAccessForbidden", "message": "…"}
    found = await bindings(azure, *protected(confidential(), disk(), des))
    assert {each.scenario.value: each.consumers[0].rotation_error for each in found} == {
        "cvm-cmk": None,
        "cvm-des": "KeyVaultAccessForbidden",
    }


@pytest.mark.parametrize("place", ["machine", "disk", "data disk"])
@pytest.mark.parametrize("wrapped", [True, False])
async def test_disk_encryption_with_and_without_a_key(azure: LocalAzure, place: str, wrapped: bool) -> None:
    """Azure Disk Encryption is found on the machine or on any disk; the key, where one wraps the secret, is the target."""
    key_uri = f"{K1}/{OLDER_VERSION}" if wrapped else None
    collection = encryption_settings(S1, key_uri, store=vault_id())
    vm, disks = machine(), [disk()]
    match place:
        case "machine":
            (entry,) = collection["encryptionSettings"]
            vm["properties"]["storageProfile"]["osDisk"]["encryptionSettings"] = {"enabled": True, **entry}
        case "disk":
            disks = [disk(encryptionSettingsCollection=collection)]
        case _:
            vm["properties"]["storageProfile"]["dataDisks"] = [{"managedDisk": {"id": disk_id("disk2")}}]
            disks.append(disk("disk2", encryptionSettingsCollection=collection))
    (found,) = await bindings(azure, *protected(vm, *disks))
    if wrapped:
        assert (found.scenario, str(found.target.uri), [str(s.uri) for s in found.secrets]) == (Scenario.ADE_KEK, K1, [S1])
        assert found.consumers[0].key_versions == (OLDER_VERSION,)
    else:
        assert (found.scenario, str(found.target.uri), found.secrets) == (Scenario.ADE_BEK, S1, ())
    assert found.identity.reference == BACKUP_APP_ID


async def test_disk_encryption_that_is_switched_off(azure: LocalAzure) -> None:
    """Settings that are not enabled ask for nothing."""
    collection = {**encryption_settings(S1, K1, store=vault_id()), "enabled": False}
    assert await bindings(azure, *protected(machine(), disk(encryptionSettingsCollection=collection))) == ()


async def test_a_classic_machine_or_another_workload_is_passed_over(azure: LocalAzure) -> None:
    """A protected item of something that is no virtual machine neither is found nor makes the inventory incomplete."""
    vault = recovery_vault()
    classic = protected_item(arm_id("Microsoft.ClassicCompute/virtualMachines", "old"), vault["id"])
    share = protected_item(arm_id("Microsoft.Storage/storageAccounts", "files"), vault["id"])
    assert await bindings(azure, vault, classic, share) == ()
    assert [each.path for each in asked(azure) if each.path in (classic["properties"]["sourceResourceId"], share["id"])] == []


async def test_a_deleted_machine_is_passed_over(azure: LocalAzure) -> None:
    """A protected item whose machine is gone needs no key for new backups."""
    vault = recovery_vault()
    assert await bindings(azure, vault, machine("another"), protected_item(machine_id("gone"), vault["id"])) == ()


async def test_several_subscriptions(azure: LocalAzure) -> None:
    """Subscriptions are listed, and each one's consumers found."""
    resources = [
        backup_vault("bv1", K1),
        backup_vault("bv2", K1, subscription=OTHER_SUBSCRIPTION),
        key_vault(rbac=True, subscription=OTHER_SUBSCRIPTION),
    ]
    serve(azure, tenant(*resources))
    async with reading() as composed:
        visible = await composed.consumers.subscriptions()
        assert isinstance(visible, tuple)
        found = discover(await composed.consumers.read(visible), BACKUP_APP_ID)
    assert set(visible) == {SUBSCRIPTION, OTHER_SUBSCRIPTION}
    assert {each.consumers[0].id.subscription_id for each in found} == {SUBSCRIPTION, OTHER_SUBSCRIPTION}
    assert {each.target.store_id for each in found} == {ResourceId.parse(vault_id(subscription=OTHER_SUBSCRIPTION))}


# --- what could not be listed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        "Microsoft.KeyVault/vaults",
        "Microsoft.KeyVault/managedHSMs",
        "Microsoft.DataProtection/backupVaults",
        "Microsoft.RecoveryServices/vaults",
        "Microsoft.Compute/virtualMachines",
        "Microsoft.Compute/disks",
        "Microsoft.Compute/diskEncryptionSets",
    ],
)
async def test_a_list_that_is_refused_is_named_and_the_rest_goes_on(azure: LocalAzure, kind: str) -> None:
    """One list that fails is unread by name, with the role that would help, and everything else is found as far as it can be."""
    resources = [*protected(confidential(), disk(), disk_encryption_set(key_uri=K1, store=vault_id())), backup_vault("bv1", K1)]
    fault = {"match": f"GET https://management.azure.com/subscriptions/{SUBSCRIPTION}/providers/{kind}", "status": 403}
    found = await inventory(azure, *resources, faults=[fault])
    (unread,) = found.unread
    assert (unread.source, unread.status, unread.code, unread.repair) == (
        f"{kind} of subscription {SUBSCRIPTION}",
        403,
        "AuthorizationFailed",
        "Reader on the subscription",
    )
    scenarios = {each.scenario.value for each in discover(found, BACKUP_APP_ID)}
    lost = {
        "Microsoft.DataProtection/backupVaults": {"backup-vault-cmk"},
        "Microsoft.RecoveryServices/vaults": {"cvm-cmk", "cvm-des"},
    }
    assert scenarios == {"cvm-cmk", "cvm-des", "backup-vault-cmk"} - lost.get(kind, set())


@pytest.mark.parametrize(
    ("path", "source", "repair"),
    [
        ("*/rsv1/backupProtectedItems", "protected items of", "Backup Reader on the vault"),
        ("*/rsv1/backupEncryptionConfigs/*", "legacy encryption settings of", "Backup Reader on the vault"),
    ],
)
async def test_backups_own_lists_that_are_refused(azure: LocalAzure, path: str, source: str, repair: str) -> None:
    """What the vault itself refuses to tell is unread by name."""
    found = await inventory(azure, *protected(machine(), disk()), faults=[{"match": f"GET {path}", "status": 403}])
    (unread,) = found.unread
    assert (unread.source.startswith(source), unread.status, unread.repair) == (True, 403, repair)


@pytest.mark.parametrize("missing", ["disk", "encryption set"])
async def test_what_a_machine_depends_on_and_is_not_there(azure: LocalAzure, missing: str) -> None:
    """A disk or encryption set that a machine names and ARM does not have hides a binding, so it is unread."""
    parts = {"disk": disk(), "encryption set": disk_encryption_set(key_uri=K1, store=vault_id())}
    del parts[missing]
    found = await inventory(azure, *protected(confidential(), *parts.values()))
    (unread,) = found.unread
    assert (unread.status, unread.source) == (404, disk_id() if missing == "disk" else set_id())


def misshapen(body: Document, path: str, value: Any) -> Document:
    *above, last = path.split(".")
    inner = body
    for name in above:
        inner = inner[name]
    inner[last] = value
    return body


@pytest.mark.parametrize(
    ("body", "path", "value"),
    [
        (backup_vault("bv1", K1), "properties.securitySettings.encryptionSettings", []),
        (backup_vault("bv1", K1), "properties.securitySettings.encryptionSettings.keyVaultProperties.keyUri", "kv1"),
        (backup_vault("bv1", K1), "identity.userAssignedIdentities", {"id1": {}}),
        (recovery_vault("rsv9", K1), "properties.encryption.keyVaultProperties", 7),
        (key_vault("kv9", rbac=True), "properties.vaultUri", "kv9"),
        (managed_hsm("hsm9"), "properties.hsmUri", 7),
    ],
)
async def test_one_misshapen_resource_is_unread_and_the_others_go_on(
    azure: LocalAzure, body: Document, path: str, value: Any
) -> None:
    """A resource of unexpected shape is unread with the place in it, and its neighbours are found."""
    found = await inventory(azure, backup_vault("bv2", K1), misshapen(body, path, value))
    (unread,) = found.unread
    last = path.rsplit(".", 1)[-1]
    assert unread.source == str(body["id"])
    assert unread.code.startswith("UnexpectedShape at $")
    assert last in unread.code
    assert [each.consumers[0].id.name for each in discover(found, BACKUP_APP_ID)] == ["bv2"]


@pytest.mark.parametrize(
    ("index", "path", "value", "source", "left"),
    [
        (2, "properties.storageProfile.osDisk", [], machine_id(), {"backup-vault-cmk"}),
        (2, "location", "7", None, {"backup-vault-cmk", "cvm-cmk", "cvm-des"}),
        (3, "properties.lastBackupTime", "yesterday", None, {"backup-vault-cmk"}),
        (4, "properties.encryptionSettingsCollection", [], disk_id(), {"backup-vault-cmk", "cvm-cmk", "cvm-des"}),
        (5, "properties.activeKey.keyUrl", "kv1", set_id(), {"backup-vault-cmk"}),
        (5, "identity", "SystemAssigned", set_id(), {"backup-vault-cmk"}),
    ],
)
async def test_a_misshapen_part_of_a_machine(
    azure: LocalAzure, index: int, path: str, value: Any, source: str | None, left: set[str]
) -> None:
    """The part that is misshapen is named, and what the other parts tell is still found."""
    resources = protected(confidential(), disk(), disk_encryption_set(key_uri=K1, store=vault_id()))
    body = misshapen(resources[index], path, value)
    # Served through a fault, since the simulated tenant itself refuses a document of that shape
    kind, name = ResourceId.parse(body["id"]).resource_type, resources.pop(index)["id"]
    listing = f"GET *{'/rsv1/backupProtectedItems' if 'protecteditems' in kind else '/providers/' + kind}"
    fault = {"match": listing, "status": 200, "body": {"value": [body]}}
    found = await inventory(azure, *resources, backup_vault("bv2", K1), faults=[fault])
    shapes = [each for each in found.unread if each.code.startswith("UnexpectedShape at $.value[0].")]
    if path == "location":
        assert found.unread == ()
    else:
        assert [each.source for each in shapes] == [source or name]
        assert path.rsplit(".", 1)[-1] in shapes[0].code
    assert {each.scenario.value for each in discover(found, BACKUP_APP_ID)} == left


async def test_an_item_without_an_id_is_unread(azure: LocalAzure) -> None:
    """A list item that is no resource is unread with its place in the list."""
    fault = {"match": "GET */providers/Microsoft.DataProtection/backupVaults", "status": 200, "body": {"value": [{}, "text"]}}
    found = await inventory(azure, recovery_vault(key_uri=K1), faults=[fault])
    assert [each.code for each in found.unread] == ["UnexpectedShape at $.value[0].id", "UnexpectedShape at $.value[1]"]
    assert [each.scenario.value for each in discover(found, BACKUP_APP_ID)] == ["rsv-cmk"]
