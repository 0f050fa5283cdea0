"""ARM's JSON of the consumers to inventory nouns. Pure; DecodeError with the JSON path (azure-facts 5.4, 5.5)."""

from __future__ import annotations

from keydrift.adapters.wire import Node
from keydrift.inventory import AdeSetting, DiskEncryptionSet, EncryptedVault
from keydrift.key_uri import KeyUri
from keydrift.model import ProtectedItem, ResourceIdentity, Scenario, StoreObject
from keydrift.resource_id import ResourceId

_STOPPED = "protectionstopped"
_OF_MACHINES = "azureiaasvm"
_MACHINE = "microsoft.compute/virtualmachines"
_CONFIDENTIAL_SET = "confidentialvmencryptedwithcustomerkey"


def _identity(body: Node, chosen: ResourceId | None) -> ResourceIdentity:
    identity = body["identity"]
    kinds = {word.strip() for word in (identity["type"].lower() or "").split(",")}
    # A principal id without the kind is a remnant; one without any kind at all is an older body
    has_system = "systemassigned" in kinds or not identity["type"].present
    return ResourceIdentity(
        resource_id=body["id"].resource_id(),
        user_assigned=chosen,
        system_object_id=(identity["principalId"].lower() or None) if has_system else None,
        attached={found.key: entry["principalId"].lower() for found, entry in identity["userAssignedIdentities"].ids()},
        tenant_id=identity["tenantId"].lower(),
    )


def backup_vault(body: Node) -> EncryptedVault | None:
    """A Backup vault whose encryption settings name a key; None for Microsoft's keys."""
    settings = body["properties"].needed()["securitySettings"]["encryptionSettings"]
    key = settings["keyVaultProperties"]["keyUri"]
    if not key.text():
        return None
    kek = settings["kekIdentity"]
    by_user = (kek["identityType"].lower() or "systemassigned") == "userassigned"
    return EncryptedVault(
        id=body["id"].resource_id(),
        scenario=Scenario.BACKUP_VAULT_CMK,
        location=body["location"].text(),
        key=key.key_uri(),
        identity=_identity(body, kek["identityId"].resource_id() if by_user else None),
        encryption_state=settings["state"].text(),
        tags=tags_of(body),
    )


def recovery_services_vault(body: Node) -> EncryptedVault | None:
    """A Recovery Services vault whose `encryption` names a key; None where it does not (which proves nothing, see `legacy`)."""
    encryption = body["properties"].needed()["encryption"]
    key = encryption["keyVaultProperties"]["keyUri"]
    if not key.text():
        return None
    return _recovery_services(body, key.key_uri(), encryption["kekIdentity"])


def legacy_encryption(body: Node, config: Node) -> EncryptedVault | None:
    """The vault with its `backupEncryptionConfigs`, where keys enabled before April 2021 stand alone."""
    properties = config["properties"].needed()
    if not properties["keyUri"].text() or properties["encryptionAtRestType"].lower() == "microsoftmanaged":
        return None
    return _recovery_services(body, properties["keyUri"].key_uri(), properties)


def _recovery_services(body: Node, key: KeyUri, choice: Node) -> EncryptedVault:
    named = choice["userAssignedIdentity"]
    system = choice["useSystemAssignedIdentity"]
    by_user = bool(named.text()) and not (system.present and system.flag())
    return EncryptedVault(
        id=body["id"].resource_id(),
        scenario=Scenario.RSV_CMK,
        location=body["location"].text(),
        key=key,
        identity=_identity(body, named.resource_id() if by_user else None),
        tags=tags_of(body),
    )


def disk_encryption_set(body: Node) -> DiskEncryptionSet | None:
    """A disk encryption set; None without an active key."""
    properties = body["properties"].needed()
    active = properties["activeKey"]
    if not active["keyUrl"].text():
        return None
    kinds = body["identity"]["type"].lower() or ""
    attached = [found for found, _ in body["identity"]["userAssignedIdentities"].ids()]
    chosen = attached[0] if "userassigned" in kinds and "systemassigned" not in kinds and attached else None
    error = properties["autoKeyRotationError"]
    return DiskEncryptionSet(
        id=body["id"].resource_id(),
        key=active["keyUrl"].key_uri(),
        store_id=active["sourceVault"]["id"].optional_resource_id(),
        identity=_identity(body, chosen),
        for_confidential_vms=properties["encryptionType"].lower() == _CONFIDENTIAL_SET,
        rotation_error=(error["code"].text() or error["message"].text() or "unknown") if error.present else None,
    )


def tags_of(body: Node) -> dict[str, str]:
    """A resource's tags; one without a text has nothing to say."""
    return {name: value.value for name, value in body["tags"].members() if isinstance(value.value, str)}


def protected_item(body: Node) -> ProtectedItem:
    """An item of a Recovery Services vault, of whatever workload and state: its recovery points need the vault's key."""
    properties = body["properties"].needed()
    return ProtectedItem(
        id=body["id"].resource_id(),
        last_backup_at=properties["lastBackupTime"].time(),
        last_recovery_point_at=properties["lastRecoveryPoint"].time(),
        name=properties["friendlyName"].text(),
    )


def backup_instance(body: Node) -> ProtectedItem:
    """A backup instance of a Backup vault. Its body shows neither the last backup nor a recovery point (OpenAPI 2024-04-01)."""
    properties = body["properties"].needed()
    return ProtectedItem(id=body["id"].resource_id(), name=properties["friendlyName"].text())


def protected_vm(body: Node) -> tuple[ResourceId, ProtectedItem] | None:
    """A protected item of a virtual machine whose protection is not stopped: the VM's id and the item."""
    properties = body["properties"].needed()
    managed_by = properties["backupManagementType"]
    if managed_by.present and managed_by.lower() != _OF_MACHINES:
        return None
    if _STOPPED in (properties["protectionState"].lower(), properties["currentProtectionState"].lower()):
        return None
    source = properties["sourceResourceId" if properties["sourceResourceId"].text() else "virtualMachineId"].resource_id()
    if source.resource_type != _MACHINE:
        return None  # a classic machine, or another workload where the list's filter was not heeded: neither has our keys
    return source, protected_item(body)


def vm_is_confidential(body: Node) -> bool:
    """Whether the VM's security type is ConfidentialVM."""
    return body["properties"].needed()["securityProfile"]["securityType"].lower() == "confidentialvm"


def vm_disks(body: Node) -> tuple[Node, ...]:
    """The OS disk and the data disks in a VM's storage profile."""
    storage = body["properties"]["storageProfile"]
    return (storage["osDisk"], *storage["dataDisks"])


def ade_of_vm(body: Node) -> AdeSetting | None:
    """`osDisk.encryptionSettings` of a VM (older ADE)."""
    settings = body["properties"]["storageProfile"]["osDisk"]["encryptionSettings"]
    if not settings.present or (settings["enabled"].present and not settings["enabled"].flag()):
        return None
    return _ade(settings)


def ade_of_disk(body: Node) -> tuple[AdeSetting, ...]:
    """`encryptionSettingsCollection` of a disk."""
    collection = body["properties"].needed()["encryptionSettingsCollection"]
    if not collection["enabled"].flag():
        return ()
    return tuple(setting for each in collection["encryptionSettings"] if (setting := _ade(each)) is not None)


def _ade(settings: Node) -> AdeSetting | None:
    secret, key = settings["diskEncryptionKey"], settings["keyEncryptionKey"]
    if not secret["secretUrl"].text():
        return None
    return AdeSetting(
        secret=StoreObject(uri=secret["secretUrl"].key_uri(), store_id=secret["sourceVault"]["id"].optional_resource_id()),
        key=StoreObject(uri=key["keyUrl"].key_uri(), store_id=key["sourceVault"]["id"].optional_resource_id())
        if key["keyUrl"].text()
        else None,
    )


def secure_sets_of_disk(body: Node) -> tuple[ResourceId, ...]:
    """The disk encryption set in a confidential disk's security profile."""
    found = body["properties"]["securityProfile"]["secureVMDiskEncryptionSetId"].optional_resource_id()
    return (found,) if found else ()
