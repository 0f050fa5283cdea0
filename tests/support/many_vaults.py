"""Key bindings of many vaults in one subscription, and facts of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from keydrift.facts import Facts
from keydrift.model import KeyBinding, Scenario
from support.builders import RBAC, VAULT, binding, granting, key_at

# What a Backup vault's identity needs of its key
ACTIONS = [f"Microsoft.KeyVault/vaults/keys/{word}" for word in ("read", "wrap/action", "unwrap/action")]


def at(number: int) -> KeyBinding:
    """The key binding of one vault of many."""
    store = f"{VAULT.rpartition('/')[0]}/kv{number}"
    return binding(Scenario.BACKUP_VAULT_CMK, target=key_at(f"kv{number}.vault.azure.net", store=store))


def facts_of(many: Sequence[KeyBinding], actions: Sequence[str]) -> Facts:
    """Facts of all of their key stores, all granting the same."""
    found = [granting(each, RBAC, list(actions)) for each in many]
    return replace(found[0], stores={host: facts for each in found for host, facts in each.stores.items()})
