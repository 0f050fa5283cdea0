"""The inventory by Resource Graph: the same consumers as by ARM's lists, for a few queries whatever the number of subscriptions.

It is hearsay: rows lag, and a monitor that loses a right sees fewer of them without an error. What is named but has no row is
read by ARM. Disks and virtual machines share a subscription, so a disk has a row wherever its machine has one.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keydrift.adapters import inventory_decode as decode
from keydrift.adapters.arm_inventory import ArmInventory
from keydrift.adapters.http import JsonReader
from keydrift.adapters.listing import READER, VERSIONS, Listing, host_of, items_of
from keydrift.adapters.protection import machines_in, with_items
from keydrift.adapters.resource_graph import ResourceGraph, Scope, scopes_of
from keydrift.adapters.wire import Node
from keydrift.errors import DecodeError
from keydrift.facts import Unread
from keydrift.inventory import Inventory, ProtectedVm
from keydrift.model import ProtectedItem, Scenario
from keydrift.resource_id import ResourceId

# Beyond this, rows are missing because a right is, and reading them one by one would spend ARM's budget (azure-facts 5.7)
MOST_READS_BY_ID = 200

_MACHINES = "Microsoft.Compute/virtualMachines"
_DISKS = "Microsoft.Compute/disks"
_SETS = "Microsoft.Compute/diskEncryptionSets"
_KINDS = {kind.lower(): kind for kind in VERSIONS}


@dataclass(frozen=True, slots=True)
class _Question:
    """One query and what its rows are called where they could not be read."""

    about: str
    query: str


# Written in the part of KQL that Resource Graph documents; paging is stable only in a stated order
_STORES = _Question(
    "key stores",
    "resources | where type in~ ('microsoft.keyvault/vaults', 'microsoft.keyvault/managedhsms')"
    " | project id, tags, vaultUri = properties.vaultUri, hsmUri = properties.hsmUri | order by id asc",
)
_VAULTS = _Question(
    "backup vaults and Recovery Services vaults",
    "resources | where type in~ ('microsoft.dataprotection/backupvaults', 'microsoft.recoveryservices/vaults')"
    " | project id, type, location, identity, tags, properties | order by id asc",
)
_ITEMS = _Question(
    "protected items",
    "recoveryservicesresources"
    " | where type =~ 'microsoft.recoveryservices/vaults/backupfabrics/protectioncontainers/protecteditems'"
    " | project id, properties | order by id asc",
)
_INSTANCES = _Question(
    "backup instances",
    "recoveryservicesresources"
    " | where type =~ 'microsoft.dataprotection/backupvaults/backupinstances'"
    " | project id, properties | order by id asc",
)
_COMPUTE = {
    _MACHINES: _Question(
        "virtual machines",
        "resources | where type =~ 'microsoft.compute/virtualmachines'"
        " | project id, location, tags, properties | order by id asc",
    ),
    _DISKS: _Question(
        "disks under Azure Disk Encryption or confidential encryption",
        "resources | where type =~ 'microsoft.compute/disks'"
        " | where isnotempty(properties.encryptionSettingsCollection)"
        " or isnotempty(properties.securityProfile.secureVMDiskEncryptionSetId)"
        " | project id, properties | order by id asc",
    ),
    _SETS: _Question(
        "disk encryption sets",
        "resources | where type =~ 'microsoft.compute/diskencryptionsets'"
        " | project id, location, identity, properties | order by id asc",
    ),
}


class GraphInventory(ArmInventory):
    """Finds the consumers of every scenario by Resource Graph; subscriptions and management groups by ARM."""

    def __init__(self, arm: JsonReader, graph: ResourceGraph) -> None:
        super().__init__(arm)
        self._graph = graph

    async def read(self, subscriptions: Sequence[str], *, legacy: bool = True) -> Inventory:
        """Everything in these subscriptions that may need a key, as hearsay.

        Without `legacy` the bindings of vaults with older settings are not in the result.
        """
        return await _Turn(self._arm, self._graph).read(subscriptions, legacy=legacy)


class _Turn(ArmInventory):
    """One reading: the rows take the place of ARM's lists, the joining is the same."""

    def __init__(self, arm: JsonReader, graph: ResourceGraph) -> None:
        super().__init__(arm)
        self._graph = graph
        self._by_arm = ArmInventory(arm)
        self._failed: set[str] = set()
        self._reads_left = MOST_READS_BY_ID

    async def read(self, subscriptions: Sequence[str], *, legacy: bool = True) -> Inventory:
        listing, scopes = Listing(), scopes_of(subscriptions)
        # One after the other: the quota is 15 queries in 5 seconds for all that the caller does (azure-facts 5.7)
        stores, store_tags = _stores(await self._rows(_STORES, scopes, listing), listing)
        for body in await self._rows(_VAULTS, scopes, listing):
            _keep(body, None, listing)
        for kind, question in _COMPUTE.items():
            for body in await self._rows(question, scopes, listing, kind):
                _keep(body, kind, listing)
        rows = await self._rows(_ITEMS, scopes, listing)
        vaults, unasked = await self._vaults(listing, legacy=legacy)
        if any(each.scenario is Scenario.BACKUP_VAULT_CMK for each in vaults):
            rows += await self._rows(_INSTANCES, scopes, listing)
        items = _by_vault(rows, listing)
        pairs, vaults = machines_in(items, listing), with_items(vaults, items, listing)
        found = await asyncio.gather(*(self._machine(vm_id, item, listing) for vm_id, item in pairs))
        machines = [vm for vm in found if vm is not None]
        return Inventory(
            stores=stores,
            store_tags=store_tags,
            vaults=vaults,
            disk_sets=await self._disk_sets(listing, machines),
            vms=tuple(machines),
            unread=tuple(dict.fromkeys(listing.unread)),
            hearsay=True,
            legacy_read=legacy,
            unasked=unasked,
        )

    async def _rows(self, question: _Question, scopes: Iterable[Scope], listing: Listing, kind: str | None = None) -> list[Node]:
        rows: list[Node] = []
        for scope in scopes:
            source = f"{question.about} (Resource Graph, {_named(scope)})"
            read = await self._graph.rows(question.query, scope, source=source, repair=READER)
            if kind is not None and not isinstance(read, tuple):
                self._failed.add(kind)
            rows += items_of(read, listing)
        return rows

    async def _machine(self, vm_id: ResourceId, item: ProtectedItem, listing: Listing) -> ProtectedVm | None:
        if vm_id.key in listing.bodies[_MACHINES]:
            return await super()._machine(vm_id, item, listing)
        if not self._may_read(_MACHINES, listing):
            return None
        # A machine whose row lags has disks whose rows do
        return await self._by_arm._machine(vm_id, item, listing)

    async def _body(self, kind: str, resource: ResourceId, listing: Listing, *, must_exist: bool = False) -> Node | None:
        known = listing.bodies[kind].get(resource.key)
        # Disks without a row are those that the query leaves out, as they need no key
        if known is not None or kind == _DISKS or not self._may_read(kind, listing):
            return known
        return await super()._body(kind, resource, listing, must_exist=must_exist)

    def _may_read(self, kind: str, listing: Listing) -> bool:
        """Whether a resource without a row is read by its id: not where its query failed, which is said already."""
        if kind in self._failed:
            return False
        if self._reads_left == 0:
            repair = f"{READER}: more than {MOST_READS_BY_ID} resources are named by others and not shown"
            listing.unread.append(Unread(source=f"{kind} without a row", status=None, code="TooManyMissing", repair=repair))
            return False
        self._reads_left -= 1
        return True


def _named(scope: Scope) -> str:
    first, *others = scope.subscriptions or scope.management_groups
    return f"{first} and {len(others)} more" if others else first


def _source(row: Node, about: str) -> str:
    """The row's id where it tells one: what is misshapen may be that very member, or the row itself."""
    try:
        return row["id"].text() or about
    except DecodeError:
        return about


def _keep(row: Node, kind: str | None, listing: Listing) -> None:
    try:
        listing.keep(kind or _kind(row["type"]), row)
    except DecodeError as error:
        listing.decoded(_source(row, f"a row of {kind or 'a vault'}"), None, error)


def _kind(node: Node) -> str:
    kind = _KINDS.get(node.required().lower())
    if kind is None:
        raise DecodeError(node.path, f"expected a type that was asked for, got `{node.required()[:60]}`")
    return kind


def _stores(rows: Iterable[Node], listing: Listing) -> tuple[dict[str, ResourceId], dict[str, dict[str, str]]]:
    """Every key store by host, and its tags."""
    stores: dict[str, ResourceId] = {}
    tags: dict[str, dict[str, str]] = {}
    for row in rows:
        try:
            uri = row["vaultUri"] if row["vaultUri"].present else row["hsmUri"]
            if uri.text():
                stores[host_of(uri)] = row["id"].resource_id()
                tags |= {host_of(uri): found} if (found := decode.tags_of(row)) else {}
        except DecodeError as error:
            listing.decoded(_source(row, "a row of a key store"), None, error)
    return stores, tags


def _by_vault(rows: Iterable[Node], listing: Listing) -> dict[str, list[Node]]:
    """Protected items and backup instances by the normalised id of their vault; empty where an id names none."""
    found: defaultdict[str, list[Node]] = defaultdict(list)
    for row in rows:
        try:
            item = row["id"].resource_id()
            vault = item.up_to("microsoft.recoveryservices/vaults") or item.up_to("microsoft.dataprotection/backupvaults")
            found[vault.key if vault else ""].append(row)
        except DecodeError as error:
            listing.decoded(_source(row, "a row of a protected item"), None, error)
    return dict(found)
