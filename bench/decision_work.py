"""The work of the decision benchmarks, the same for keydrift and its peers: documents as ARM shows them, from a fixed seed.

Standard library only: a peer's own environment reads what this writes, and nothing else of this project.
"""

from __future__ import annotations

import random
import uuid
from typing import Any

type Document = dict[str, Any]

TENANT = "10000000-0000-4000-8000-00000000aaaa"
BACKUP_APP = "262044b1-e2ce-469f-a196-69ab7ada62d3"
BACKUP_SERVICE = "30000000-0000-4000-8000-000000000262"
WORDS = ("get", "list", "backup")
ACTIONS = ("Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/keys/backup/action")
MORE_WORDS = ("create", "decrypt", "delete", "encrypt", "import", "recover", "restore", "sign", "unwrapKey", "verify", "wrapKey")
_SUBSCRIPTION = "/subscriptions/10000000-0000-4000-8000-000000000001"
# What holds: Crypto User. What does not: Key Vault Reader, Reader of certificates, an operator of secrets
CRYPTO_USER = "12338af0-0e69-4776-bea7-57ae8d297424"
ROLES: dict[str, tuple[str, ...]] = {
    CRYPTO_USER: (*ACTIONS, "Microsoft.KeyVault/vaults/keys/encrypt/action", "Microsoft.KeyVault/vaults/keys/decrypt/action"),
    "21090545-7ca7-4776-b22c-e363652d74d2": (
        "Microsoft.KeyVault/vaults/*/read",
        "Microsoft.KeyVault/vaults/secrets/readMetadata/action",
    ),
    "4633458b-17de-408a-b874-0445c86b69e6": ("Microsoft.KeyVault/vaults/secrets/getSecret/action",),
    "a4417e6f-fecd-4de8-b567-7b0420556985": ("Microsoft.KeyVault/vaults/certificates/*",),
}


def policy_vaults(count: int, policies: int) -> list[Document]:
    """Vaults that decide by access policies; in one of ten the backup service lacks `backup`, in one of twenty its policy."""
    dice = random.Random(1)
    return [_policy_vault(dice, index, policies) for index in range(count)]


def _policy_vault(dice: random.Random, index: int, policies: int) -> Document:
    entries = [_entry(str(uuid.UUID(int=dice.getrandbits(128))), dice.sample(MORE_WORDS, 5)) for _ in range(policies - 1)]
    words = [*WORDS, "wrapKey"] if index % 10 else ["get", "list", "wrapKey"]
    holder = BACKUP_SERVICE if index % 20 != 5 else str(uuid.UUID(int=dice.getrandbits(128)))
    entries.insert(dice.randrange(policies), _entry(holder, words))
    name = f"kv{index:05d}"
    return {
        "id": f"{_SUBSCRIPTION}/resourceGroups/rg{index // 10}/providers/Microsoft.KeyVault/vaults/{name}",
        "name": name,
        "type": "Microsoft.KeyVault/vaults",
        "location": "westeurope",
        "resourceGroup": f"rg{index // 10}",
        "properties": {
            "tenantId": TENANT,
            "sku": {"family": "A", "name": "premium"},
            "enableRbacAuthorization": False,
            "enableSoftDelete": True,
            "enablePurgeProtection": True,
            "vaultUri": f"https://{name}.vault.azure.net/",
            "accessPolicies": entries,
        },
    }


def _entry(holder: str, keys: list[str]) -> Document:
    permissions = {"keys": keys, "secrets": ["get", "list"], "certificates": [], "storage": []}
    return {"tenantId": TENANT, "objectId": holder, "permissions": permissions}


def expected_policies(vaults: list[Document]) -> list[bool]:
    """Whether the backup service holds what it needs: the plain answer that everyone has to give."""
    return [
        any(
            each["objectId"] == BACKUP_SERVICE and set(WORDS) <= set(each["permissions"]["keys"])
            for each in vault["properties"]["accessPolicies"]
        )
        for vault in vaults
    ]


def role_work(assignments: int, *, denies: int = 20, groups: int = 10, own: bool = False) -> Document:
    """One subscription's role assignments and denies, one vault that is asked about, and the principal's groups.

    Others hold all but one assignment, all over the subscription; with `own` the principal itself holds them, on other vaults.
    Half of the denies stand where they concern the vault, and name others.
    """
    dice = random.Random(assignments)
    mine = [str(uuid.UUID(int=dice.getrandbits(128))) for _ in range(groups)]
    vault = f"{_SUBSCRIPTION}/resourceGroups/rg0/providers/Microsoft.KeyVault/vaults/kv0"
    held = [_assignment(dice, vault, CRYPTO_USER, mine[0])]
    for number in range(assignments - 1):
        # One in forty concerns the vault: it stands on the subscription, the resource group or the vault
        near = number % 40 == 0 and not own
        other = f"{_SUBSCRIPTION}/resourceGroups/rg{1 + number % 300}/providers/Microsoft.KeyVault/vaults/kv{1 + number}"
        scope = dice.choice([_SUBSCRIPTION, vault.rpartition("/providers/")[0], vault]) if near else other
        holder = BACKUP_SERVICE if own else str(uuid.UUID(int=dice.getrandbits(128)))
        held.append(_assignment(dice, scope, dice.choice(list(ROLES)), holder))
    dice.shuffle(held)
    denied = [
        {
            "id": f"{_SUBSCRIPTION}/providers/Microsoft.Authorization/denyAssignments/{uuid.UUID(int=dice.getrandbits(128))}",
            "name": f"deny{number}",
            "scope": _SUBSCRIPTION if number % 2 else f"{_SUBSCRIPTION}/resourceGroups/rg{1 + number}",
            "dataActions": ["Microsoft.KeyVault/vaults/*"],
            "principal": str(uuid.UUID(int=dice.getrandbits(128))),
        }
        for number in range(denies)
    ]
    return {
        "vault": vault,
        "key": f"{vault}/keys/k1",
        "principal": BACKUP_SERVICE,
        "groups": mine,
        "roles": {role: list(actions) for role, actions in ROLES.items()},
        "assignments": held,
        "denies": denied,
        "actions": list(ACTIONS),
    }


def _assignment(dice: random.Random, scope: str, role: str, holder: str) -> Document:
    guid = uuid.UUID(int=dice.getrandbits(128))
    return {
        "id": f"{scope}/providers/Microsoft.Authorization/roleAssignments/{guid}",
        "scope": scope,
        "role": role,
        "principal": holder,
    }
