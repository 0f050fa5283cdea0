"""What vaults protect: items of Recovery Services vaults, backup instances of Backup vaults that encrypt with a customer's key.

One list for each Recovery Services vault, and one for each *encrypted* Backup vault: the others' instances need no key of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from keydrift.adapters import inventory_decode as decode
from keydrift.adapters.http import JsonReader
from keydrift.adapters.listing import Listing, items_of
from keydrift.adapters.wire import Node
from keydrift.errors import DecodeError
from keydrift.inventory import EncryptedVault
from keydrift.model import ProtectedItem, Scenario
from keydrift.resource_id import ResourceId

_VERSION = "2024-04-01"
_MACHINES_ONLY = "&$filter=backupManagementType%20eq%20'AzureIaasVM'%20and%20itemType%20eq%20'VM'"


class Protection:
    """Lists what vaults protect."""

    def __init__(self, arm: JsonReader) -> None:
        self._arm = arm

    async def read(
        self, recovery: Mapping[str, Node], encrypted: Sequence[EncryptedVault], listing: Listing
    ) -> dict[str, tuple[Node, ...]]:
        """The bodies of items by the normalised id of their vault; a list that fails is named in the listing.

        A Recovery Services vault that encrypts with a customer's key is asked for items of every workload, the others for virtual
        machines alone: only those have keys of their own.
        """
        own_key = {each.id.key for each in encrypted if each.scenario is Scenario.RSV_CMK}
        asked = [
            (key, f"{body['id'].resource_id().url_path}/backupProtectedItems", key in own_key) for key, body in recovery.items()
        ]
        backup = [each for each in encrypted if each.scenario is Scenario.BACKUP_VAULT_CMK]
        found = await asyncio.gather(
            *(self._list(path, "protected items", "" if whole else _MACHINES_ONLY, listing) for _, path, whole in asked),
            *(self._list(f"{each.id.url_path}/backupInstances", "backup instances", "", listing) for each in backup),
        )
        return dict(zip([*(key for key, _, _ in asked), *(each.id.key for each in backup)], found, strict=True))

    async def _list(self, path: str, what: str, query: str, listing: Listing) -> tuple[Node, ...]:
        vault = path.rpartition("/")[0]
        read = await self._arm.list(
            f"{path}?api-version={_VERSION}{query}",
            lambda body: body,
            source=f"{what} of {vault}",
            repair="Backup Reader on the vault",
        )
        return items_of(read, listing)


def machines_in(items: Mapping[str, Iterable[Node]], listing: Listing) -> list[tuple[ResourceId, ProtectedItem]]:
    """The virtual machines under protection, each with its item."""
    found: list[tuple[ResourceId, ProtectedItem]] = []
    for body in (each for group in items.values() for each in group):
        try:
            if not _is_instance(body):
                found += [pair] if (pair := decode.protected_vm(body)) else []
        except DecodeError as error:
            listing.decoded(_source(body), None, error)
    return found


def with_items(
    vaults: Iterable[EncryptedVault], items: Mapping[str, Iterable[Node]], listing: Listing
) -> tuple[EncryptedVault, ...]:
    """The encrypted vaults with what each of them protects."""
    return tuple(vault.protecting(_decoded(items.get(vault.id.key, ()), listing)) for vault in vaults)


def _decoded(bodies: Iterable[Node], listing: Listing) -> list[ProtectedItem]:
    found: list[ProtectedItem] = []
    for body in bodies:
        try:
            found.append(decode.backup_instance(body) if _is_instance(body) else decode.protected_item(body))
        except DecodeError as error:
            listing.decoded(_source(body), None, error)
    return found


def _is_instance(body: Node) -> bool:
    return body["id"].resource_id().resource_type.endswith("/backupinstances")


def _source(body: Node) -> str:
    """The item's id where it tells one: what is misshapen may be that very member, or the item itself."""
    try:
        return body["id"].text() or "a protected item"
    except DecodeError:
        return "a protected item"
