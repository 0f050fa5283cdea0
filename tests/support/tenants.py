"""Small healthy tenants, one for each scenario and permission model, and the builders that they are made of.

Each function returns plain dicts in the tenant file's format, freshly made, so that a test may change what it gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keydrift.model import PermissionModel, Scenario

type Document = dict[str, Any]

TENANT_ID = "00000000-0000-0000-0000-0000000000aa"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
OTHER_SUBSCRIPTION = "00000000-0000-0000-0000-000000000002"
BACKUP_APP_ID = "262044b1-e2ce-469f-a196-69ab7ada62d3"
BACKUP_OBJECT_ID = "0b5e0000-0000-0000-0000-000000000001"
IDENTITY_OBJECT_ID = "1de00000-0000-0000-0000-000000000001"
NOW = "2026-01-01T00:00:00Z"
VERSION = "11111111111111111111111111111111"
OLDER_VERSION = "22222222222222222222222222222222"

CRYPTO_USER = "12338af0-0e69-4776-bea7-57ae8d297424"
CRYPTO_SERVICE_ENCRYPTION_USER = "e147488a-f6f5-4113-8e2d-b22465e65bf6"
SECRETS_OFFICER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
HSM_CRYPTO_USER = "21dbd100-6940-42c2-9190-5d6cb909625b"
HSM_CRYPTO_SERVICE_ENCRYPTION_USER = "33413926-3206-4cdd-b39a-83574fe37a17"

ALL_KEYS = ("get", "list", "backup", "wrapKey", "unwrapKey")
ALL_SECRETS = ("get", "list", "backup")

_VAULT_MODELS = (PermissionModel.ACCESS_POLICY, PermissionModel.RBAC)
HEALTHY: tuple[tuple[Scenario, PermissionModel], ...] = tuple(
    (scenario, model)
    for scenario, models in (
        (Scenario.ADE_BEK, _VAULT_MODELS),
        (Scenario.ADE_KEK, _VAULT_MODELS),
        (Scenario.CVM_CMK, tuple(PermissionModel)),
        (Scenario.CVM_DES, tuple(PermissionModel)),
        (Scenario.BACKUP_VAULT_CMK, tuple(PermissionModel)),
        (Scenario.RSV_CMK, _VAULT_MODELS),
    )
    for model in models
)


def arm_id(kind: str, name: str, *, subscription: str = SUBSCRIPTION, group: str = "rg1") -> str:
    """`/subscriptions/…/resourceGroups/{group}/providers/{kind}/{name}`."""
    return f"/subscriptions/{subscription}/resourceGroups/{group}/providers/{kind}/{name}"


def guid(number: int) -> str:
    """A GUID that is easy to read."""
    return f"00000000-0000-0000-0000-{number:012d}"


# --- key stores --------------------------------------------------------------------------------------------------------


def vault_id(name: str = "kv1", **where: str) -> str:
    return arm_id("Microsoft.KeyVault/vaults", name, **where)


def hsm_id(name: str = "hsm1", **where: str) -> str:
    return arm_id("Microsoft.KeyVault/managedHSMs", name, **where)


def key_vault(name: str = "kv1", *, rbac: bool, policies: Sequence[Document] = (), **where: str) -> Document:
    properties = {
        "tenantId": TENANT_ID,
        "sku": {"family": "A", "name": "premium"},
        "enableRbacAuthorization": rbac,
        "enableSoftDelete": True,
        "enablePurgeProtection": True,
        "accessPolicies": list(policies),
        "vaultUri": f"https://{name}.vault.azure.net/",
    }
    return {"id": vault_id(name, **where), "location": "westeurope", "properties": properties}


def access_policy(object_id: str, *, keys: Sequence[str] = ALL_KEYS, secrets: Sequence[str] = ALL_SECRETS) -> Document:
    return {"tenantId": TENANT_ID, "objectId": object_id, "permissions": {"keys": list(keys), "secrets": list(secrets)}}


def key(name: str = "k1", *, vault: str = "kv1", version: str = VERSION, **where: str) -> Document:
    uri = f"https://{vault}.vault.azure.net/keys/{name}"
    return {
        "id": f"{vault_id(vault, **where)}/keys/{name}",
        "properties": {"kty": "RSA", "keySize": 3072, "keyUri": uri, "keyUriWithVersion": f"{uri}/{version}"},
    }


def secret(name: str = "s1", *, vault: str = "kv1", version: str = VERSION, **where: str) -> Document:
    uri = f"https://{vault}.vault.azure.net/secrets/{name}"
    return {
        "id": f"{vault_id(vault, **where)}/secrets/{name}",
        "properties": {"secretUri": uri, "secretUriWithVersion": f"{uri}/{version}"},
    }


def managed_hsm(name: str = "hsm1", **where: str) -> Document:
    properties = {
        "tenantId": TENANT_ID,
        "enablePurgeProtection": True,
        "enableSoftDelete": True,
        "hsmUri": f"https://{name}.managedhsm.azure.net/",
    }
    return {"id": hsm_id(name, **where), "location": "westeurope", "properties": properties}


# --- grants ------------------------------------------------------------------------------------------------------------


def role_assignment(number: int, scope: str, role: str, principal: str) -> Document:
    definition = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{role}"
    return {
        "id": f"{scope.rstrip('/')}/providers/Microsoft.Authorization/roleAssignments/{guid(number)}",
        "properties": {"scope": scope, "roleDefinitionId": definition, "principalId": principal},
    }


def role_definition(number: int, name: str, *blocks: Document) -> Document:
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{guid(number)}",
        "properties": {"roleName": name, "type": "CustomRole", "assignableScopes": ["/"], "permissions": list(blocks)},
    }


def deny_assignment(number: int, scope: str, actions: Sequence[str], principals: Sequence[Document]) -> Document:
    return {
        "id": f"{scope}/providers/Microsoft.Authorization/denyAssignments/{guid(number)}",
        "properties": {
            "denyAssignmentName": f"deny {number}",
            "scope": scope,
            "permissions": [{"dataActions": list(actions), "notDataActions": []}],
            "principals": list(principals),
            "excludePrincipals": [],
            "doNotApplyToChildScopes": False,
        },
    }


def hsm_role_assignment(number: int, scope: str, role: str, principal: str) -> Document:
    return {"name": guid(number), "properties": {"scope": scope, "roleDefinitionId": role, "principalId": principal}}


# --- consumers ---------------------------------------------------------------------------------------------------------


def system_identity(object_id: str = IDENTITY_OBJECT_ID) -> Document:
    return {"type": "SystemAssigned", "principalId": object_id, "tenantId": TENANT_ID}


def user_identity(identity: str, object_id: str = IDENTITY_OBJECT_ID) -> Document:
    attached = {identity: {"principalId": object_id, "clientId": guid(77)}}
    return {"type": "UserAssigned", "tenantId": TENANT_ID, "userAssignedIdentities": attached}


def user_assigned_identity(name: str = "id1", object_id: str = IDENTITY_OBJECT_ID) -> Document:
    return {
        "id": arm_id("Microsoft.ManagedIdentity/userAssignedIdentities", name),
        "location": "westeurope",
        "properties": {"principalId": object_id, "clientId": guid(77), "tenantId": TENANT_ID},
    }


def backup_vault(name: str, key_uri: str | None, identity: Document | None = None, **where: str) -> Document:
    properties: Document = {"securitySettings": {}}
    if key_uri:
        properties["securitySettings"]["encryptionSettings"] = {
            "state": "Enabled",
            "keyVaultProperties": {"keyUri": key_uri},
            "kekIdentity": {"identityType": "SystemAssigned"},
            "infrastructureEncryption": "Disabled",
        }
    return {
        "id": arm_id("Microsoft.DataProtection/backupVaults", name, **where),
        "location": "westeurope",
        "identity": identity or system_identity(),
        "properties": properties,
    }


def recovery_vault(name: str = "rsv1", key_uri: str | None = None, identity: Document | None = None, **where: str) -> Document:
    properties: Document = {"provisioningState": "Succeeded"}
    if key_uri:
        properties["encryption"] = {
            "keyVaultProperties": {"keyUri": key_uri},
            "kekIdentity": {"useSystemAssignedIdentity": True},
            "infrastructureEncryption": "Disabled",
        }
    return {
        "id": arm_id("Microsoft.RecoveryServices/vaults", name, **where),
        "location": "westeurope",
        "identity": identity or system_identity(),
        "properties": properties,
    }


def legacy_encryption(vault: str, key_uri: str) -> Document:
    return {
        "id": f"{vault}/backupEncryptionConfigs/backupResourceEncryptionConfig",
        "properties": {"encryptionAtRestType": "CustomerManaged", "keyUri": key_uri, "useSystemAssignedIdentity": True},
    }


def protected_item(vm: str, vault: str, state: str = "Protected") -> Document:
    group, name = vm.split("/")[4], vm.rsplit("/", 1)[-1]
    item = f"iaasvmcontainerv2;{group};{name}"
    return {
        "id": f"{vault}/backupFabrics/Azure/protectionContainers/IaasVMContainer;{item}/protectedItems/VM;{item}",
        "properties": {
            "protectedItemType": "Microsoft.Compute/virtualMachines",
            "backupManagementType": "AzureIaasVM",
            "workloadType": "VM",
            "protectionState": state,
            "sourceResourceId": vm,
            "virtualMachineId": vm,
            "lastBackupTime": "2025-12-31T23:00:00.1234567Z",
        },
    }


def backup_instance(vault: str, name: str = "bi1") -> Document:
    source = arm_id("Microsoft.Compute/disks", name)
    return {
        "id": f"{vault}/backupInstances/{name}",
        "properties": {
            "friendlyName": f"disk of {name}",
            "dataSourceInfo": {"resourceID": source, "datasourceType": "Microsoft.Compute/disks", "objectType": "Datasource"},
            "policyInfo": {"policyId": f"{vault}/backupPolicies/daily"},
            "currentProtectionState": "ProtectionConfigured",
            "objectType": "BackupInstance",
        },
    }


def machine_id(name: str = "vm1", **where: str) -> str:
    return arm_id("Microsoft.Compute/virtualMachines", name, **where)


def disk_id(name: str = "disk1", **where: str) -> str:
    return arm_id("Microsoft.Compute/disks", name, **where)


def set_id(name: str = "des1", **where: str) -> str:
    return arm_id("Microsoft.Compute/diskEncryptionSets", name, **where)


def machine(name: str = "vm1", *, confidential: bool = False, os_disk: Document | None = None, **where: str) -> Document:
    properties: Document = {"storageProfile": {"osDisk": os_disk or {"managedDisk": {"id": disk_id()}}, "dataDisks": []}}
    if confidential:
        properties["securityProfile"] = {"securityType": "ConfidentialVM"}
    return {"id": machine_id(name, **where), "location": "westeurope", "properties": properties}


def disk(name: str = "disk1", **properties: Any) -> Document:
    return {"id": disk_id(name), "location": "westeurope", "properties": properties}


def encryption_settings(secret_uri: str, key_uri: str | None, *, store: str, key_store: str | None = None) -> Document:
    """One entry of a disk's `encryptionSettingsCollection`."""
    entry: Document = {"diskEncryptionKey": {"secretUrl": secret_uri, "sourceVault": {"id": store}}}
    if key_uri:
        entry["keyEncryptionKey"] = {"keyUrl": key_uri, "sourceVault": {"id": key_store or store}}
    return {"enabled": True, "encryptionSettingsVersion": "1.1", "encryptionSettings": [entry]}


def disk_encryption_set(
    name: str = "des1", *, key_uri: str, store: str | None, identity: Document | None = None, **where: str
) -> Document:
    active: Document = {"keyUrl": key_uri}
    if store:
        active["sourceVault"] = {"id": store}
    return {
        "id": set_id(name, **where),
        "location": "westeurope",
        "identity": identity or system_identity(),
        "properties": {"encryptionType": "ConfidentialVmEncryptedWithCustomerKey", "activeKey": active},
    }


# --- tenants -----------------------------------------------------------------------------------------------------------


def tenant(*resources: Document, **sections: Any) -> Document:
    """A tenant of these resources, with the Backup Management Service's service principal in its directory."""
    backup = {"id": BACKUP_OBJECT_ID, "appId": BACKUP_APP_ID, "displayName": "Backup Management Service", "accountEnabled": True}
    return {
        "tenantId": TENANT_ID,
        "now": NOW,
        "resources": list(resources),
        "directory": {"servicePrincipals": [backup], "groups": []},
        **sections,
    }


def healthy(scenario: Scenario, model: PermissionModel) -> Document:
    """A tenant in which every key binding is held; the scenario's is among them."""
    in_hsm = model is PermissionModel.MANAGED_HSM
    store = hsm_id() if in_hsm else vault_id()
    key_uri = "https://hsm1.managedhsm.azure.net/keys/k1" if in_hsm else "https://kv1.vault.azure.net/keys/k1"
    secret_uri = f"https://kv1.vault.azure.net/secrets/s1/{VERSION}"
    match scenario:
        case Scenario.BACKUP_VAULT_CMK:
            consumers = [backup_vault("bv1", key_uri)]
        case Scenario.RSV_CMK:
            consumers = [recovery_vault("rsv1", key_uri)]
        case Scenario.ADE_BEK | Scenario.ADE_KEK:
            wrapped_by = key_uri if scenario is Scenario.ADE_KEK else None
            settings = encryption_settings(secret_uri, wrapped_by, store=store)
            consumers = [*_protected(machine()), disk(encryptionSettingsCollection=settings)]
        case Scenario.CVM_CMK | Scenario.CVM_DES:
            security = {"diskEncryptionSet": {"id": set_id()}, "securityEncryptionType": "DiskWithVMGuestState"}
            vm = machine(confidential=True, os_disk={"managedDisk": {"id": disk_id(), "securityProfile": security}})
            consumers = [*_protected(vm), disk(), disk_encryption_set(key_uri=key_uri, store=store)]
    return tenant(*_store(model), *consumers, **_grants(model))


def _protected(vm: Document) -> list[Document]:
    vault = recovery_vault()
    return [vault, vm, protected_item(vm["id"], vault["id"])]


def _store(model: PermissionModel) -> list[Document]:
    if model is PermissionModel.MANAGED_HSM:
        return [managed_hsm()]
    rbac = model is PermissionModel.RBAC
    policies = [] if rbac else [access_policy(BACKUP_OBJECT_ID), access_policy(IDENTITY_OBJECT_ID)]
    return [key_vault(rbac=rbac, policies=policies), key(), secret()]


def _grants(model: PermissionModel) -> Document:
    match model:
        case PermissionModel.ACCESS_POLICY:
            return {}
        case PermissionModel.RBAC:
            assignments = [
                role_assignment(1, vault_id(), CRYPTO_USER, BACKUP_OBJECT_ID),
                role_assignment(2, vault_id(), SECRETS_OFFICER, BACKUP_OBJECT_ID),
                role_assignment(3, vault_id(), CRYPTO_SERVICE_ENCRYPTION_USER, IDENTITY_OBJECT_ID),
            ]
            return {"roleAssignments": assignments}
        case PermissionModel.MANAGED_HSM:
            local = [
                hsm_role_assignment(1, "/keys/k1", HSM_CRYPTO_USER, BACKUP_OBJECT_ID),
                hsm_role_assignment(2, "/keys", HSM_CRYPTO_SERVICE_ENCRYPTION_USER, IDENTITY_OBJECT_ID),
            ]
            return {"managedHsms": {hsm_id(): {"keys": [{"name": "k1"}], "roleAssignments": local}}}
