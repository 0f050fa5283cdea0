"""The tenant that a sweep is measured on: subscriptions full of vaults, keys, consumers and other people's role assignments."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from typing import Any

type Document = dict[str, Any]

BACKUP_APP_ID = "262044b1-e2ce-469f-a196-69ab7ada62d3"
TENANT_ID = "00000000-0000-0000-0000-0000000000aa"
_BACKUP = "0b5e0000-0000-0000-0000-000000000001"
_CRYPTO_USER = "12338af0-0e69-4776-bea7-57ae8d297424"
_ENCRYPTION_USER = "e147488a-f6f5-4113-8e2d-b22465e65bf6"
_ROLES = (_CRYPTO_USER, _ENCRYPTION_USER, "b86a8fe4-44ce-4948-aee5-eccb2c155cd7", "21090545-7ca7-4776-b22c-e77fed85aefb")
_ALL = {"keys": ["get", "list", "backup", "wrapKey", "unwrapKey"], "secrets": ["get", "list", "backup"]}
# At full size, for each of ten subscriptions: 1,000 vaults, 1,500 keys, 2,000 key bindings, 5,000 role assignments
_SUBSCRIPTIONS, _VAULTS, _ASSIGNMENTS = 10, 1000, 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of everything one subscription holds; `vaults` is even."""

    subscriptions: int
    vaults: int
    assignments: int

    @classmethod
    def of(cls, scale: float) -> Size:
        """A share of the full size. Whole subscriptions stay, each holds less."""
        vaults = max(2, round(_VAULTS * scale / 2) * 2)
        return cls(subscriptions=_SUBSCRIPTIONS, vaults=vaults, assignments=max(4 * vaults, round(_ASSIGNMENTS * scale)))

    @property
    def keys(self) -> int:
        """Watched keys in the tenant."""
        return self.subscriptions * self.vaults * 3 // 2

    @property
    def bindings(self) -> int:
        """Key bindings in the tenant."""
        return self.subscriptions * self.vaults * 2


def generated(size: Size) -> Document:
    """The tenant file's document. Half of each subscription's vaults hold a confidential machine's key and a Recovery Services
    vault's, the other half a Backup vault's. Two in three decide by Azure RBAC; one in a hundred lacks its grants."""
    made = [_Subscription(number, size) for number in range(size.subscriptions)]
    backup = {"id": _BACKUP, "appId": BACKUP_APP_ID, "displayName": "Backup Management Service", "accountEnabled": True}
    return {
        "tenantId": TENANT_ID,
        "resources": [each for subscription in made for each in subscription.resources],
        "roleAssignments": [each for subscription in made for each in subscription.assignments],
        "directory": {"servicePrincipals": [backup], "groups": [each for subscription in made for each in subscription.groups]},
    }


class _Subscription:
    """One subscription while it is being made."""

    def __init__(self, number: int, size: Size) -> None:
        self._dice = random.Random(number)
        self.id = str(uuid.UUID(int=number + 1))
        self.resources: list[Document] = []
        self.assignments: list[Document] = []
        # A group with a role on the whole subscription, as nearly every real one has: memberships cannot be skipped
        self.groups: list[Document] = [{"id": self._guid(), "members": [self._guid()]} for _ in range(4)]
        self._assign(f"/subscriptions/{self.id}", _ROLES[3], self.groups[0]["id"])
        self._shared = [self._identity(f"id{number}") for number in range(size.vaults // 50 + 1)]
        self._recovery = self._add("Microsoft.RecoveryServices/vaults", "machines", 0, {})
        for index in range(size.vaults):
            self._vault(index, of_machine=index < size.vaults // 2)
        for _ in range(size.assignments - len(self.assignments)):
            self._assign(self._any_scope(size.vaults), self._dice.choice(_ROLES), self._stranger())

    def _vault(self, index: int, *, of_machine: bool) -> None:
        healthy, rbac, name = index % 100 != 7, index % 3 != 0, self._vault_name(index)
        identity, object_id = self._shared[index // 50]
        own = self._guid()
        holders = {_BACKUP: _CRYPTO_USER, object_id: _ENCRYPTION_USER} if of_machine else {own: _ENCRYPTION_USER}
        policies = [{"tenantId": TENANT_ID, "objectId": holder, "permissions": _ALL} for holder in holders]
        properties = {
            "tenantId": TENANT_ID,
            "sku": {"family": "A", "name": "premium"},
            "enableRbacAuthorization": rbac,
            "enableSoftDelete": True,
            "enablePurgeProtection": True,
            "accessPolicies": policies if healthy and not rbac else [],
            "vaultUri": f"https://{name}.vault.azure.net/",
        }
        vault = self._add("Microsoft.KeyVault/vaults", name, index, properties)
        if healthy and rbac:
            for holder, role in holders.items():
                self._assign(vault, role, holder)
        if of_machine:
            self._machine(index, self._key(vault, "k1"), vault, identity)
            self._recovery_vault(index, self._key(vault, "k2"), identity)
        else:
            self._backup_vault(index, self._key(vault, "k1"), own)

    def _key(self, vault: str, name: str) -> str:
        uri = f"https://{vault.rsplit('/', 1)[-1]}.vault.azure.net/keys/{name}"
        shown = {"kty": "RSA", "keySize": 3072, "keyUri": uri, "keyUriWithVersion": f"{uri}/{'1' * 32}"}
        self.resources.append({"id": f"{vault}/keys/{name}", "properties": shown})
        return uri

    def _machine(self, index: int, key: str, vault: str, identity: str) -> None:
        active = {"keyUrl": key, "sourceVault": {"id": vault}}
        encryption = {"encryptionType": "ConfidentialVmEncryptedWithCustomerKey", "activeKey": active}
        des = self._add("Microsoft.Compute/diskEncryptionSets", f"des{index}", index, encryption, _user_assigned(identity))
        disk = self._add("Microsoft.Compute/disks", f"disk{index}", index, {"diskState": "Attached"})
        security = {"diskEncryptionSet": {"id": des}, "securityEncryptionType": "DiskWithVMGuestState"}
        machine = {
            "securityProfile": {"securityType": "ConfidentialVM"},
            "storageProfile": {"osDisk": {"managedDisk": {"id": disk, "securityProfile": security}}, "dataDisks": []},
        }
        vm = self._add("Microsoft.Compute/virtualMachines", f"vm{index}", index, machine)
        container = f"iaasvmcontainerv2;rg{index // 10};vm{index}"
        item = f"backupFabrics/Azure/protectionContainers/IaasVMContainer;{container}/protectedItems/VM;{container}"
        protected = {"backupManagementType": "AzureIaasVM", "protectionState": "Protected", "sourceResourceId": vm}
        self.resources.append({"id": f"{self._recovery}/{item}", "properties": protected})

    def _recovery_vault(self, index: int, key: str, identity: str) -> None:
        chosen = {"useSystemAssignedIdentity": False, "userAssignedIdentity": identity}
        encryption = {"keyVaultProperties": {"keyUri": key}, "kekIdentity": chosen}
        self._add("Microsoft.RecoveryServices/vaults", f"rsv{index}", index, {"encryption": encryption}, _user_assigned(identity))

    def _backup_vault(self, index: int, key: str, object_id: str) -> None:
        settings = {"state": "Enabled", "keyVaultProperties": {"keyUri": key}, "kekIdentity": {"identityType": "SystemAssigned"}}
        own = {"type": "SystemAssigned", "principalId": object_id, "tenantId": TENANT_ID}
        properties = {"securitySettings": {"encryptionSettings": settings}}
        self._add("Microsoft.DataProtection/backupVaults", f"bv{index}", index, properties, own)

    def _identity(self, name: str) -> tuple[str, str]:
        """A user-assigned identity's id and object id."""
        object_id = self._guid()
        properties = {"principalId": object_id, "clientId": self._guid(), "tenantId": TENANT_ID}
        return self._add("Microsoft.ManagedIdentity/userAssignedIdentities", name, 0, properties), object_id

    def _add(self, kind: str, name: str, index: int, properties: Document, identity: Document | None = None) -> str:
        made = f"/subscriptions/{self.id}/resourceGroups/rg{index // 10}/providers/{kind}/{name}"
        self.resources.append(
            {"id": made, "location": "westeurope", "properties": properties, **({"identity": identity} if identity else {})}
        )
        return made

    def _assign(self, scope: str, role: str, holder: str) -> None:
        definition = f"/subscriptions/{self.id}/providers/Microsoft.Authorization/roleDefinitions/{role}"
        self.assignments.append(
            {
                "id": f"{scope}/providers/Microsoft.Authorization/roleAssignments/{self._guid()}",
                "properties": {"scope": scope, "roleDefinitionId": definition, "principalId": holder},
            }
        )

    def _any_scope(self, vaults: int) -> str:
        index = self._dice.randrange(vaults)
        group = f"/subscriptions/{self.id}/resourceGroups/rg{index // 10}"
        vault, disk = f"Microsoft.KeyVault/vaults/{self._vault_name(index)}", f"Microsoft.Compute/disks/disk{index}"
        kinds = ("", f"/providers/{vault}", f"/providers/{disk}")
        return group + self._dice.choice(kinds)

    def _stranger(self) -> str:
        """Somebody whom nobody watches; one in five is a group."""
        group: str = self._dice.choice(self.groups)["id"]
        return group if self._dice.random() < 0.2 else self._guid()

    def _vault_name(self, index: int) -> str:
        return f"kv{self.id[-2:]}{index:05d}"

    def _guid(self) -> str:
        return str(uuid.UUID(int=self._dice.getrandbits(128)))


def _user_assigned(identity: str) -> Document:
    return {"type": "UserAssigned", "tenantId": TENANT_ID, "userAssignedIdentities": {identity: {"principalId": None}}}
