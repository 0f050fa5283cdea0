"""The commands that repair a finding: complete `az` lines, with what differs for a Managed HSM."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable

from keydrift.access.weighing import Need
from keydrift.facts import KeyObject, KeyVault, ManagedHsm, Principal
from keydrift.key_uri import KeyUri
from keydrift.model import Consumer, KeyBinding, ResourceIdentity, Scenario, StoreObject
from keydrift.requirement import Requirement
from keydrift.resource_id import ResourceId

_PATCH_VERSIONS = {
    "microsoft.dataprotection/backupvaults": "2024-04-01",
    "microsoft.recoveryservices/vaults": "2024-04-01",
    "microsoft.compute/diskencryptionsets": "2023-10-02",
}


def command(*words: str) -> str:
    """A shell command with every word quoted as needed."""
    return " ".join(shlex.quote(word) for word in words)


def store_name(target: StoreObject) -> str:
    """The key store's name, as its resource spells it."""
    return target.store_id.name if target.store_id else target.uri.store_name


def assign_role(requirement: Requirement, principal: Principal, scope: ResourceId) -> str:
    """Assign the built-in role that the documents name for the scenario."""
    return command(
        "az", "role", "assignment", "create",
        "--assignee-object-id", principal.object_id, "--assignee-principal-type", "ServicePrincipal",
        "--role", requirement.role or "", "--scope", str(scope),
    )  # fmt: skip


def assign_hsm_role(requirement: Requirement, principal: Principal, target: StoreObject) -> str:
    """Assign the Managed HSM's local role on the key."""
    return command(
        "az", "keyvault", "role", "assignment", "create", "--hsm-name", store_name(target),
        "--assignee-object-id", principal.object_id, "--assignee-principal-type", "ServicePrincipal",
        "--role", requirement.role or "", "--scope", f"/keys/{target.uri.object_name}",
    )  # fmt: skip


def set_policy(vault: KeyVault, principal: Principal, needs: Iterable[Need]) -> str:
    """Set the access policy: what is needed and what the principal's entry already has (`set-policy` replaces an entry)."""
    own = [e for e in vault.access_policies if e.object_id == principal.object_id and e.application_id is None]
    words = ["az", "keyvault", "set-policy", "--name", vault.id.name, "--object-id", principal.object_id]
    for kind, option in (("keys", "--key-permissions"), ("secrets", "--secret-permissions")):
        needed = [need.name.partition("/")[2] for need in needs if need.permission.on == kind]
        known = {word.lower() for word in needed}
        kept = sorted({w for e in own for w in (e.keys if kind == "keys" else e.secrets) if w not in known})
        if needed:
            words += [option, *dict.fromkeys([*needed, *kept])]
    return command(*words)


def enable(target: KeyObject, kind: str) -> str:
    """Enable a key or secret (or one version of it)."""
    return command("az", "keyvault", kind, "set-attributes", "--id", str(target.uri), "--enabled", "true")


def recover(target: StoreObject) -> str:
    """Recover a soft-deleted key or secret."""
    kind = "key" if target.uri.kind == "keys" else "secret"
    store = "--hsm-name" if target.uri.is_managed_hsm else "--vault-name"
    return command("az", "keyvault", kind, "recover", store, store_name(target), "--name", target.uri.object_name)


def rotate(target: StoreObject) -> str:
    """Make a new version of a key."""
    store = "--hsm-name" if target.uri.is_managed_hsm else "--vault-name"
    return command("az", "keyvault", "key", "rotate", store, store_name(target), "--name", target.uri.object_name)


def update_store(store: KeyVault | ManagedHsm, *options: str) -> str:
    """Change a key store's settings."""
    if isinstance(store, ManagedHsm):
        return command("az", "keyvault", "update-hsm", "--hsm-name", store.id.name, *options)
    return command("az", "keyvault", "update", "--name", store.id.name, *options)


def point_back(binding: KeyBinding, consumer: Consumer, previous: KeyUri) -> str:
    """Let a consumer name the key that it named before, if that was not meant to change."""
    owner = binding.identity.resource_id if isinstance(binding.identity, ResourceIdentity) else consumer.id
    group = ("--resource-group", owner.resource_group or "", "--name", owner.name)
    match binding.scenario:
        case Scenario.BACKUP_VAULT_CMK:
            return command("az", "dataprotection", "backup-vault", "update", *group, "--cmk-encryption-key-uri", str(previous))
        case Scenario.RSV_CMK:
            return command("az", "backup", "vault", "encryption", "update", *group, "--encryption-key-id", str(previous))
        case Scenario.CVM_DES:
            return command("az", "disk-encryption-set", "update", *group, "--key-url", str(previous))
        case _:
            return f"if this was not intended, encrypt the disks of {consumer.id} with {previous} again"


def patch_identity(identity: ResourceIdentity) -> str:
    """Attach the user-assigned identity again, or switch the system-assigned one on, keeping the identities attached now."""
    chosen = identity.user_assigned
    attached: dict[str, dict[str, str]] = {name: {} for name in identity.attached}
    if chosen is not None:
        attached[str(chosen)] = {}
    kinds = [
        *(["SystemAssigned"] if chosen is None or identity.system_object_id else []),
        *(["UserAssigned"] if attached else []),
    ]
    body: dict[str, object] = {"type": ",".join(kinds)}
    if attached:
        body["userAssignedIdentities"] = attached
    version = _PATCH_VERSIONS.get(identity.resource_id.resource_type, "2024-04-01")
    return command(
        "az", "rest", "--method", "patch",
        "--url", f"{identity.resource_id}?api-version={version}",
        "--body", json.dumps({"identity": body}, separators=(",", ":")),
    )  # fmt: skip
