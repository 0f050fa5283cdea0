"""Estates of many RBAC vaults, and what was read of them."""

from __future__ import annotations

from collections.abc import Iterable

from support import tenants
from support.rehearsals import Played
from support.tenants import Document, guid


def estate(vaults: int, subscriptions: Iterable[str] = (tenants.SUBSCRIPTION,)) -> Document:
    """Subscriptions with RBAC vaults of one key each, which a Backup vault each may use."""
    resources: list[Document] = []
    assignments: list[Document] = []
    for subscription in subscriptions:
        for number in range(vaults):
            name = f"kv{subscription[-1]}x{number}"
            object_id = f"1de00000-0000-0000-{subscription[-1]:0>4}-{number:012d}"
            resources += [
                tenants.key_vault(name, rbac=True, subscription=subscription),
                tenants.key("k1", vault=name, subscription=subscription),
                tenants.backup_vault(
                    f"bv{number}",
                    f"https://{name}.vault.azure.net/keys/k1",
                    tenants.system_identity(object_id),
                    subscription=subscription,
                ),
            ]
            scope = tenants.vault_id(name, subscription=subscription)
            role = tenants.CRYPTO_SERVICE_ENCRYPTION_USER
            assignments.append(tenants.role_assignment(len(assignments) + 1, scope, role, object_id))
    return tenants.tenant(*resources, roleAssignments=assignments)


def assignment_at(vault: str, number: int) -> str:
    return f"{tenants.vault_id(vault)}/providers/Microsoft.Authorization/roleAssignments/{guid(number)}"


def vault_reads(played: Played) -> set[str]:
    """The vaults that were read by their own address."""
    parts = [each.removeprefix("GET ").split("/") for each in played.asked()]
    return {part[8] for part in parts if len(part) == 9 and part[7].lower() == "vaults"}


def key_at(vault: str) -> str:
    return f"{tenants.vault_id(vault)}/keys/k1"
