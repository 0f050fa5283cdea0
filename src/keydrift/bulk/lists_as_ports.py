"""The collector's ports, answered from the lists of a sweep; each port notes when the oldest read that it used began.

What a list does not show is asked for by its id: a list is filtered by the monitor's rights without an error, so that a missing
row proves nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from keydrift.bulk.listing import Assigned, HolderIndex
from keydrift.bulk.lists import Oldest, Sweep
from keydrift.collect import Readers
from keydrift.facts import (
    Absent,
    DeletedKeyStore,
    DenyAssignment,
    HsmRoleAssignment,
    KeyObject,
    KeyStore,
    Principal,
    Read,
    RoleAssignment,
    RoleDefinition,
    ScheduleInstance,
    Unread,
)
from keydrift.key_uri import KeyUri
from keydrift.model import StoreObject
from keydrift.resource_id import ResourceId


def readers_of(sweep: Sweep, oldest: Oldest) -> Readers:
    """The collector's ports for one key store's facts."""
    return Readers(
        key_stores=ListedKeyStores(sweep, oldest),
        grants=ListedGrants(sweep, oldest),
        managed_hsms=SharedHsms(sweep, oldest),
        directory=ListedDirectory(sweep, oldest),
    )


class ListedKeyStores:
    """The port `KeyStores`."""

    def __init__(self, sweep: Sweep, oldest: Oldest) -> None:
        self._sweep, self._oldest = sweep, oldest

    async def key_store(self, store_id: ResourceId) -> Read[KeyStore]:
        """From the subscription's list, or by its id where the list does not show it."""
        sweep, subscription, kind = self._sweep, store_id.subscription_id or "", store_id.resource_type
        ask = lambda: sweep.listed(lambda: sweep.lists.key_stores(subscription, kind, sweep.stores[subscription]))  # noqa: E731
        listed = self._oldest.used(await sweep.once.read(("stores", subscription, kind), ask))
        if isinstance(listed, Unread):
            return listed
        if (found := listed.get(store_id.key)) is not None:
            return found
        return self._oldest.used(
            await sweep.once.read(("store", store_id.key), lambda: sweep.direct.key_stores.key_store(store_id))
        )

    async def deleted_key_store(self, store_id: ResourceId) -> Read[DeletedKeyStore]:
        """From the subscription's list of soft-deleted key stores."""
        sweep, subscription, kind = self._sweep, store_id.subscription_id or "", store_id.resource_type
        ask = lambda: sweep.listed(lambda: sweep.lists.deleted_key_stores(subscription, kind, sweep.stores[subscription]))  # noqa: E731
        listed = self._oldest.used(await sweep.once.read(("deleted", subscription, kind), ask))
        if isinstance(listed, Unread):
            return listed
        return listed.get(store_id.key) or Absent(what=f"{store_id} among the soft-deleted key stores of its subscription")

    async def key_object(self, target: StoreObject) -> Read[KeyObject]:
        """By its id: ARM has no list that shows the keys of many vaults."""
        subscription = (target.store_id.subscription_id if target.store_id else None) or ""
        ask = lambda: self._sweep.direct.key_stores.key_object(target)  # noqa: E731
        return self._oldest.used(await self._sweep.key_object(target.uri, subscription, ask))

    async def key_versions(self, target: StoreObject) -> Read[int]:
        """By its id."""
        ask = lambda: self._sweep.direct.key_stores.key_versions(target)  # noqa: E731
        return self._oldest.used(await self._sweep.once.timed(ask))


class ListedGrants:
    """The port `Grants`."""

    def __init__(self, sweep: Sweep, oldest: Oldest) -> None:
        self._sweep, self._oldest = sweep, oldest

    async def role_assignments(self, store_id: ResourceId, principal_id: str) -> Read[tuple[RoleAssignment, ...]]:
        """Its own and its groups'."""
        sweep, subscription = self._sweep, store_id.subscription_id or ""
        index = await self._assignments(subscription)
        expanded = lambda: sweep.assigned_to(subscription, principal_id)  # noqa: E731
        return await self._reaching(store_id, principal_id, index, ("assigned", subscription), expanded)

    async def schedule_instances(self, store_id: ResourceId, principal_id: str) -> Read[tuple[ScheduleInstance, ...]]:
        """Those of its own and of its groups' assignments."""
        sweep, subscription = self._sweep, store_id.subscription_id or ""
        index = self._oldest.used(await sweep.once.read(("instances", subscription), lambda: sweep.instances(subscription)))
        expanded = lambda: sweep.instances_of(subscription, principal_id)  # noqa: E731
        return await self._reaching(store_id, principal_id, index, ("instances", subscription), expanded)

    async def _assignments(self, subscription: str) -> Unread | HolderIndex[RoleAssignment]:
        sweep = self._sweep
        return self._oldest.used(await sweep.once.read(("assignments", subscription), lambda: sweep.assignments(subscription)))

    async def _reaching[Row: Assigned](
        self,
        store_id: ResourceId,
        principal_id: str,
        index: Unread | HolderIndex[Row],
        kind: tuple[str, ...],
        expanded: Callable[[], Awaitable[Unread | HolderIndex[Row]]],
    ) -> Unread | tuple[Row, ...]:
        """What concerns a key store and reaches a principal. Where nobody who may be a group holds anything there, its groups are
        not asked for; where the directory does not tell them, Azure expands them."""
        if isinstance(index, Unread):
            return index
        sweep, holder = self._sweep, principal_id.lower()
        # A principal that is not watched: its assignments were dropped from the list
        if holder in sweep.watched:
            if not index.groups_matter(store_id):
                return index.reaching(store_id, (holder,))
            groups = self._oldest.used(await sweep.once.read(("groups", holder), lambda: sweep.groups(principal_id)))
            if isinstance(groups, frozenset):
                return index.reaching(store_id, {holder, *groups})
        found = self._oldest.used(await sweep.once.read((*kind, holder), expanded))
        return found if isinstance(found, Unread) else found.all_reaching(store_id)

    async def role_definition(self, store_id: ResourceId, definition: str) -> Read[RoleDefinition]:
        """From the subscription's list, or by its guid where the list does not show it."""
        sweep, subscription = self._sweep, store_id.subscription_id or ""
        index = self._oldest.used(await sweep.once.read(("assignments", subscription), lambda: sweep.assignments(subscription)))
        named = frozenset[str]() if isinstance(index, Unread) else index.role_definitions
        ask = lambda: sweep.listed(lambda: sweep.lists.role_definitions(subscription, named))  # noqa: E731
        listed = self._oldest.used(await sweep.once.read(("definitions", subscription), ask))
        if isinstance(listed, Unread):
            return listed
        if (found := listed.get(definition)) is not None:
            return found
        by_guid = lambda: sweep.direct.grants.role_definition(store_id, definition)  # noqa: E731
        return self._oldest.used(await sweep.once.read(("definition", subscription, definition), by_guid))

    async def deny_assignments(self, store_id: ResourceId) -> Read[tuple[DenyAssignment, ...]]:
        """From the subscription's list."""
        sweep, subscription = self._sweep, store_id.subscription_id or ""
        index = self._oldest.used(await sweep.once.read(("denies", subscription), lambda: sweep.denies(subscription)))
        return index if isinstance(index, Unread) else index.concerning(store_id)


class SharedHsms:
    """The port `ManagedHsms`: each HSM is read at its own host, its lists once."""

    def __init__(self, sweep: Sweep, oldest: Oldest) -> None:
        self._sweep, self._oldest = sweep, oldest

    async def key(self, uri: KeyUri) -> Read[KeyObject]:
        """A key, or one version of it."""
        return self._oldest.used(await self._sweep.key_object(uri, uri.host, lambda: self._sweep.direct.managed_hsms.key(uri)))

    async def key_versions(self, uri: KeyUri) -> Read[int]:
        """How many versions a key has."""
        return self._oldest.used(await self._sweep.once.timed(lambda: self._sweep.direct.managed_hsms.key_versions(uri)))

    async def role_assignments(self, host: str, scope: str) -> Read[tuple[HsmRoleAssignment, ...]]:
        """The local assignments of one scope."""
        hsms = self._sweep.direct.managed_hsms
        read = await self._sweep.once.read(("local assignments", host, scope), lambda: hsms.role_assignments(host, scope))
        return self._oldest.used(read)

    async def role_definitions(self, host: str) -> Read[tuple[RoleDefinition, ...]]:
        """The local role definitions."""
        hsms = self._sweep.direct.managed_hsms
        return self._oldest.used(await self._sweep.once.read(("local definitions", host), lambda: hsms.role_definitions(host)))


class ListedDirectory:
    """The port `Directory`: each principal and its groups once."""

    def __init__(self, sweep: Sweep, oldest: Oldest) -> None:
        self._sweep, self._oldest = sweep, oldest

    async def service_principal(self, app_id: str) -> Read[Principal]:
        """An application's service principal."""
        directory = self._sweep.direct.directory
        read = await self._sweep.once.read(("app", app_id.lower()), lambda: directory.service_principal(app_id))
        return self._oldest.used(read)

    async def groups(self, object_id: str) -> Read[frozenset[str]]:
        """A principal's groups."""
        read = await self._sweep.once.read(("groups", object_id.lower()), lambda: self._sweep.groups(object_id))
        return self._oldest.used(read)

    async def user_assigned_identity(self, identity_id: ResourceId) -> Read[Principal]:
        """From its subscription's list where several are watched there, else by its id."""
        sweep, subscription = self._sweep, identity_id.subscription_id or ""
        wanted = sweep.identities[subscription]
        if len(wanted) > 1:
            ask = lambda: sweep.listed(lambda: sweep.lists.user_assigned_identities(subscription, wanted))  # noqa: E731
            listed = self._oldest.used(await sweep.once.read(("identities", subscription), ask))
            # Whoever may read an identity need not be allowed to list them all
            if not isinstance(listed, Unread) and (found := listed.get(identity_id.key)) is not None:
                return found
        directory = sweep.direct.directory
        read = await sweep.once.read(("identity", identity_id.key), lambda: directory.user_assigned_identity(identity_id))
        return self._oldest.used(read)
