"""The inventory by ARM lists: every subscription's key stores, vaults, protected items, machines, disks, disk encryption sets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from keydrift.adapters import inventory_decode as decode
from keydrift.adapters.arm_decode import deleted_key_store
from keydrift.adapters.http import JsonReader
from keydrift.adapters.listing import READER, VERSIONS, Listing, items_of, stores_of
from keydrift.adapters.protection import Protection, machines_in, with_items
from keydrift.adapters.wire import Node
from keydrift.errors import DecodeError
from keydrift.facts import Absent, Read, Unread
from keydrift.inventory import AdeSetting, DiskEncryptionSet, EncryptedVault, Inventory, ProtectedVm
from keydrift.model import ProtectedItem
from keydrift.resource_id import ResourceId, segment

_BACKUP_VERSION = "2024-04-01"
_RECOVERY_VAULTS = "Microsoft.RecoveryServices/vaults"


class ArmInventory:
    """Lists the consumers of every scenario."""

    def __init__(self, arm: JsonReader) -> None:
        self._arm = arm

    async def subscriptions(self) -> Read[tuple[str, ...]]:
        """The ids of the subscriptions that the monitor can see."""
        return await self._arm.list(
            "/subscriptions?api-version=2022-12-01",
            lambda body: body["subscriptionId"].required(),
            source="subscriptions",
            repair="az login, or a role assignment for the monitor's identity on a subscription",
        )

    async def tenant_of(self, subscription: str) -> Read[str]:
        """The id of the directory that a subscription trusts."""
        return await self._arm.get(
            f"/subscriptions/{segment(subscription)}?api-version=2022-12-01",
            lambda body: body["tenantId"].required().lower(),
            source=f"subscription {subscription}",
            repair=READER,
        )

    async def subscriptions_below(self, management_group: str) -> Read[tuple[str, ...]]:
        """The ids of the subscriptions below a management group, at any depth."""
        read = await self._arm.list(
            f"/providers/Microsoft.Management/managementGroups/{segment(management_group)}/descendants?api-version=2020-05-01",
            lambda body: body["name"].required() if "/subscriptions" in (body["type"].lower() or "") else "",
            source=f"descendants of management group {management_group}",
            repair="Management Group Reader on it",
        )
        return tuple(each for each in read if each) if isinstance(read, tuple) else read

    async def read(self, subscriptions: Sequence[str], *, legacy: bool = True) -> Inventory:
        """Everything in these subscriptions that may need a key."""
        listing = Listing()
        await asyncio.gather(*(self._list(s, kind, listing) for s in subscriptions for kind in VERSIONS))
        vaults, unasked = await self._vaults(listing, legacy=legacy)
        items = await Protection(self._arm).read(listing.bodies[_RECOVERY_VAULTS], vaults, listing)
        vaults = with_items(vaults, items, listing)
        machines = await self._machines(items, listing)
        sets = await self._disk_sets(listing, machines)
        stores, store_tags = stores_of(listing)
        wanted = {each.key.host for each in vaults} | {each.key.host for each in sets.values()}
        await self._deleted_stores(subscriptions, wanted - set(stores), stores, listing)
        return Inventory(
            stores=stores,
            store_tags=store_tags,
            vaults=vaults,
            disk_sets=sets,
            vms=tuple(machines),
            unread=tuple(dict.fromkeys(listing.unread)),
            listed=frozenset(key for bodies in listing.bodies.values() for key in bodies),
            legacy_read=legacy,
            unasked=unasked,
            lists=len(subscriptions) * len(VERSIONS) + len(items),
        )

    async def _deleted_stores(
        self, subscriptions: Sequence[str], missing: set[str], stores: dict[str, ResourceId], listing: Listing
    ) -> None:
        """Place the key stores that are named and not listed among the soft-deleted ones, whose names stay taken."""
        by_name = {(host.partition(".")[0], ".managedhsm." in host): host for host in missing}
        kinds = {is_hsm: "deletedManagedHSMs" if is_hsm else "deletedVaults" for _, is_hsm in by_name}
        for is_hsm, kind in sorted(kinds.items()):
            for subscription in subscriptions:
                read = await self._arm.list(
                    f"/subscriptions/{segment(subscription)}/providers/Microsoft.KeyVault/{kind}?api-version={VERSIONS['Microsoft.KeyVault/vaults']}",
                    deleted_key_store,
                    source=f"{kind} of subscription {subscription}",
                    repair=READER,
                )
                if isinstance(read, Unread):
                    listing.unread.append(read)
                for deleted in read if isinstance(read, tuple) else ():
                    host = by_name.get((deleted.id.name.lower(), is_hsm))
                    if host is not None:
                        stores[host] = deleted.id

    async def _list(self, subscription: str, kind: str, listing: Listing) -> None:
        await self._pages(
            f"/subscriptions/{segment(subscription)}/providers/{kind}?api-version={VERSIONS[kind]}", kind, subscription, listing
        )

    async def _pages(self, url: str, kind: str, subscription: str, listing: Listing) -> None:
        read = await self._arm.list(url, lambda body: body, source=f"{kind} of subscription {subscription}", repair=READER)
        for body in items_of(read, listing):
            try:
                listing.keep(kind, body)
            except DecodeError as error:
                listing.decoded(f"{kind} of subscription {subscription}", None, error)

    async def _vaults(self, listing: Listing, *, legacy: bool) -> tuple[tuple[EncryptedVault, ...], frozenset[str]]:
        """The vaults that encrypt with a customer's key, and those whose older settings were not asked for."""
        found: list[EncryptedVault] = []
        for body in listing.bodies["Microsoft.DataProtection/backupVaults"].values():
            try:
                found += [vault] if (vault := decode.backup_vault(body)) else []
            except DecodeError as error:
                listing.decoded(str(body["id"].value), None, error)
        without: dict[str, Node] = {}
        for key, body in listing.bodies[_RECOVERY_VAULTS].items():
            try:
                if (vault := decode.recovery_services_vault(body)) is not None:
                    found.append(vault)
                else:
                    without[key] = body
            except DecodeError as error:
                listing.decoded(str(body["id"].value), None, error)
        if not legacy:
            return tuple(found), frozenset(without)
        older = await asyncio.gather(*(self._older_settings(body, listing) for body in without.values()))
        return (*found, *(vault for vault in older if vault)), frozenset()

    async def _older_settings(self, body: Node, listing: Listing) -> EncryptedVault | None:
        # An empty `encryption` is no proof of Microsoft's keys (azure-facts 5.4)
        vault_id = body["id"].resource_id()
        read = await self._arm.get(
            f"{vault_id.url_path}/backupEncryptionConfigs/backupResourceEncryptionConfig?api-version={_BACKUP_VERSION}",
            lambda config: decode.legacy_encryption(body, config),
            source=f"legacy encryption settings of {vault_id}",
            repair="Backup Reader on the vault",
        )
        if isinstance(read, Unread):
            listing.unread.append(read)
            return None
        return None if isinstance(read, Absent) else read

    async def _machines(self, items: Mapping[str, Sequence[Node]], listing: Listing) -> list[ProtectedVm]:
        pairs = machines_in(items, listing)
        return [vm for vm in await asyncio.gather(*(self._machine(i, item, listing) for i, item in pairs)) if vm is not None]

    async def _machine(self, vm_id: ResourceId, item: ProtectedItem, listing: Listing) -> ProtectedVm | None:
        body = await self._body("Microsoft.Compute/virtualMachines", vm_id, listing)
        if body is None:
            return None  # the machine is gone, or its read failed and is listed as unread
        try:
            confidential = decode.vm_is_confidential(body)
            disks = decode.vm_disks(body)
            secure, other = _sets(disks)
            older = decode.ade_of_vm(body)
            location, tags = body["location"].text(), decode.tags_of(body)
            named = [each for disk in disks if (each := disk["managedDisk"]["id"].optional_resource_id()) is not None]
        except DecodeError as error:
            return listing.decoded(str(vm_id), None, error)
        ade: list[AdeSetting] = [older] if older else []
        for disk_id in named:
            try:
                disk = await self._body("Microsoft.Compute/disks", disk_id, listing, must_exist=True)
                ade += decode.ade_of_disk(disk) if disk is not None else ()
                secure += decode.secure_sets_of_disk(disk) if disk is not None else ()
            except DecodeError as error:
                listing.decoded(str(disk_id), None, error)
        return ProtectedVm(
            id=vm_id,
            location=location,
            item=item,
            confidential=confidential,
            secure_sets=tuple(dict.fromkeys(secure)),
            other_sets=tuple(dict.fromkeys(other)),
            ade=tuple(dict.fromkeys(ade)),
            tags=tags,
        )

    async def _disk_sets(self, listing: Listing, machines: Iterable[ProtectedVm]) -> dict[str, DiskEncryptionSet]:
        wanted = {each.key: each for vm in machines if vm.confidential for each in (*vm.secure_sets, *vm.other_sets)}
        found: dict[str, DiskEncryptionSet] = {}
        for key, set_id in wanted.items():
            body = await self._body("Microsoft.Compute/diskEncryptionSets", set_id, listing, must_exist=True)
            try:
                decoded = decode.disk_encryption_set(body) if body is not None else None
            except DecodeError as error:
                decoded = listing.decoded(str(set_id), None, error)
            if decoded is not None:
                found[key] = decoded
        return found

    async def _body(self, kind: str, resource: ResourceId, listing: Listing, *, must_exist: bool = False) -> Node | None:
        """A listed resource, or one of another subscription read by its id.

        `must_exist` says that another resource depends on it, so that its absence hides a key binding.
        """
        known = listing.bodies[kind].get(resource.key)
        if known is not None:
            return known
        if resource.resource_type != kind.lower():
            # Others' settings name it: only what is of the type is asked for
            listing.unread.append(
                Unread(
                    source=str(resource),
                    status=None,
                    code="UnexpectedType",
                    repair=f"report this resource's shape: expected one of {kind}",
                )
            )
            return None
        url = f"{resource.url_path}?api-version={VERSIONS[kind]}"
        read = await self._arm.get(url, lambda body: body, source=str(resource), repair=f"Reader on {resource}")
        if isinstance(read, Unread):
            listing.unread.append(read)
        elif must_exist and isinstance(read, Absent):
            listing.unread.append(Unread(source=read.what, status=404, code="NotFound", repair=f"Reader on {resource}"))
        if not isinstance(read, Node):
            return None
        listing.bodies[kind][resource.key] = read
        return read


def _sets(disks: Iterable[Node]) -> tuple[list[ResourceId], list[ResourceId]]:
    secure: list[ResourceId] = []
    other: list[ResourceId] = []
    for disk in disks:
        managed = disk["managedDisk"]
        for node, into in (
            (managed["securityProfile"]["diskEncryptionSet"]["id"], secure),
            (managed["diskEncryptionSet"]["id"], other),
        ):
            found = node.optional_resource_id()
            if found is not None:
                into.append(found)
    return secure, other
