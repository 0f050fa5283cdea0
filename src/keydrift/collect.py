"""Collect the facts that the verdicts of some key bindings need, in at most two rounds of parallel reads.

Round one asks for everything whose address is known: the key store, its keys, the principals, assignments and denies. Round two
asks for what those answers name: role definitions, memberships where they could matter, pinned versions, the soft-deleted store.
Each thing is asked for once, however many bindings need it. Counting a key's versions takes many pages, so it is done only for
the key stores that the caller names; otherwise the last counts stand in.

`read_at` is the start of the oldest read. INVARIANT (nothing swallowed): what was not answered stands in the facts as `Unread`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from keydrift.access.key_state import BACKS_UP_KEY, pinned_versions
from keydrift.access.permission import groups_needed
from keydrift.facts import (
    Absent,
    DeletedKeyStore,
    DenyAssignment,
    Facts,
    HsmRoleAssignment,
    KeyObject,
    KeyStore,
    Principal,
    Read,
    RoleAssignment,
    RoleDefinition,
    ScheduleInstance,
    StoreFacts,
    Unread,
    object_not_placed,
    store_not_seen,
)
from keydrift.key_uri import KeyUri
from keydrift.model import AppIdentity, KeyBinding, ResourceIdentity, StoreObject
from keydrift.ports import Clock, Directory, Grants, KeyStores, ManagedHsms
from keydrift.resource_id import ResourceId

_HSM = "microsoft.keyvault/managedhsms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """The ports that facts are read through."""

    key_stores: KeyStores
    grants: Grants
    managed_hsms: ManagedHsms
    directory: Directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What earlier reads have shown: object ids by app id, the hosts of key stores that have answered, and settings that stand
    in for reads (`declared` principals by app id, where the directory may not be read).

    `count_versions` are the hosts whose keys' versions are to be counted now, `version_counts` the last counts by versionless
    key.
    """

    object_ids: Mapping[str, str] = field(default_factory=dict)
    answered: frozenset[str] = frozenset()
    declared: Mapping[str, Principal] = field(default_factory=dict)
    tenant_id: str | None = None
    count_versions: frozenset[str] = frozenset()
    version_counts: Mapping[KeyUri, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Store:
    """One key store while it is being read."""

    host: str
    id: ResourceId | None
    store: Read[KeyStore]
    deleted: Read[DeletedKeyStore] | None = None
    objects: dict[KeyUri, Read[KeyObject]] = field(default_factory=dict)
    assignments: dict[str, Read[tuple[RoleAssignment, ...]]] = field(default_factory=dict)
    schedule_instances: dict[str, Read[tuple[ScheduleInstance, ...]]] = field(default_factory=dict)
    definitions: dict[str, Read[RoleDefinition]] = field(default_factory=dict)
    denies: Read[tuple[DenyAssignment, ...]] = ()
    hsm_assignments: dict[str, Read[tuple[HsmRoleAssignment, ...]]] = field(default_factory=dict)
    hsm_definitions: Read[tuple[RoleDefinition, ...]] = ()
    counts: dict[KeyUri, Read[int]] = field(default_factory=dict)

    @property
    def is_hsm(self) -> bool:
        return self.id is not None and self.id.resource_type == _HSM

    def counted(self, last: Mapping[KeyUri, int]) -> None:
        """Note the versions of each key: counted now, or as counted last."""
        for uri, read in self.objects.items():
            count = self.counts.get(uri)
            known = count if isinstance(count, int) else last.get(uri)
            if isinstance(read, KeyObject) and known is not None:
                self.objects[uri] = replace(read, versions=known)

    def facts(self, answered: bool) -> StoreFacts:
        return StoreFacts(
            store=self.store,
            deleted=self.deleted,
            watched_before=answered,
            objects=self.objects,
            assignments=self.assignments,
            schedule_instances=self.schedule_instances,
            definitions=self.definitions,
            denies=self.denies,
            hsm_assignments=self.hsm_assignments,
            hsm_definitions=self.hsm_definitions,
            uncounted=tuple(each for each in self.counts.values() if isinstance(each, Unread)),
        )


class _Round:
    """Reads that run together."""

    def __init__(self) -> None:
        self._jobs: list[Coroutine[None, None, None]] = []

    def add[T](self, read: Awaitable[T], keep: Callable[[T], None]) -> None:
        async def job() -> None:
            keep(await read)

        self._jobs.append(job())

    async def run(self) -> None:
        await asyncio.gather(*self._jobs)


class Collector:
    """Reads facts for key bindings."""

    def __init__(self, readers: Readers, clock: Clock) -> None:
        self._readers, self._clock = readers, clock

    async def collect(self, bindings: Sequence[KeyBinding], known: Known) -> Facts:
        """Read what the verdicts of these bindings need. Never raises for a failed read."""
        read_at = self._clock.now()
        principals: dict[str, Read[Principal]] = dict(known.declared)
        groups: dict[str, Read[frozenset[str]]] = {}
        stores = {each.host: each for each in _stores(bindings)}
        await self._round_one(bindings, stores, principals, known)
        moved = await self._round_two(bindings, stores, principals, groups)
        if moved:
            # An app's object id was not known before, or has changed: its grants are read now (a third round, once)
            await self._round_two(bindings, stores, principals, groups)
        for store in stores.values():
            store.counted(known.version_counts)
        return Facts(
            read_at=read_at,
            stores={host: store.facts(host in known.answered) for host, store in stores.items()},
            principals=principals,
            groups=groups,
            last_known=known.object_ids,
            tenant_id=known.tenant_id,
        )

    async def _round_one(
        self, bindings: Sequence[KeyBinding], stores: Mapping[str, _Store], principals: dict[str, Read[Principal]], known: Known
    ) -> None:
        together = _Round()
        for reference, read in self._principal_reads(bindings, known):
            together.add(read, _into(principals, reference))
        for store in stores.values():
            self._store_reads(together, store, [b for b in bindings if store.host in b.hosts], known)
        await together.run()

    def _principal_reads(self, bindings: Sequence[KeyBinding], known: Known) -> Iterable[tuple[str, Awaitable[Read[Principal]]]]:
        directory = self._readers.directory
        apps = {b.identity.app_id for b in bindings if isinstance(b.identity, AppIdentity)}
        for app_id in sorted(app for app in apps if app.lower() not in known.declared):
            yield app_id.lower(), directory.service_principal(app_id)
        identities = {
            b.identity.user_assigned.key: b.identity.user_assigned
            for b in bindings
            if isinstance(b.identity, ResourceIdentity) and b.identity.user_assigned is not None
        }
        for key, identity in sorted(identities.items()):
            yield key, directory.user_assigned_identity(identity)

    def _store_reads(self, together: _Round, store: _Store, bindings: Sequence[KeyBinding], known: Known) -> None:
        targets = dict.fromkeys(each.uri.versionless for b in bindings for each in b.objects if each.uri.host == store.host)
        if store.id is None:
            for uri in targets:
                store.objects[uri] = object_not_placed(uri)
            return
        store_id, readers = store.id, self._readers

        def keep_store(read: Read[KeyStore]) -> None:
            store.store = read

        together.add(readers.key_stores.key_store(store_id), keep_store)
        for uri in targets:
            together.add(self._object(store, StoreObject(uri=uri, store_id=store_id)), _into(store.objects, uri))
        if store.host in known.count_versions:
            backed_up = dict.fromkeys(b.target.uri.versionless for b in bindings if b.scenario in BACKS_UP_KEY)
            for uri in (each for each in backed_up if each.host == store.host):
                together.add(self._count(store, StoreObject(uri=uri, store_id=store_id)), _into(store.counts, uri))
        if store.is_hsm:
            self._hsm_reads(together, store, targets)
        else:
            self._rbac_reads(together, store, store_id, bindings, known)

    def _hsm_reads(self, together: _Round, store: _Store, targets: Iterable[KeyUri]) -> None:
        hsms, host = self._readers.managed_hsms, store.host

        def keep_definitions(read: Read[tuple[RoleDefinition, ...]]) -> None:
            store.hsm_definitions = read

        together.add(hsms.role_definitions(host), keep_definitions)
        for scope in ("/", *sorted(f"/keys/{uri.name}" for uri in targets)):
            together.add(hsms.role_assignments(host, scope), _into(store.hsm_assignments, scope))

    def _rbac_reads(
        self, together: _Round, store: _Store, store_id: ResourceId, bindings: Sequence[KeyBinding], known: Known
    ) -> None:
        grants = self._readers.grants

        def keep_denies(read: Read[tuple[DenyAssignment, ...]]) -> None:
            store.denies = read

        together.add(grants.deny_assignments(store_id), keep_denies)
        expected = {object_id for b in bindings if (object_id := _expected_object_id(b, known)) is not None}
        for object_id in sorted(expected):
            self._assignment_reads(together, store, store_id, object_id)

    def _assignment_reads(self, together: _Round, store: _Store, store_id: ResourceId, object_id: str) -> None:
        grants = self._readers.grants
        together.add(grants.role_assignments(store_id, object_id), _into(store.assignments, object_id))
        together.add(grants.schedule_instances(store_id, object_id), _into(store.schedule_instances, object_id))

    async def _count(self, store: _Store, target: StoreObject) -> Read[int]:
        if store.is_hsm:
            return await self._readers.managed_hsms.key_versions(target.uri)
        return await self._readers.key_stores.key_versions(target)

    async def _object(self, store: _Store, target: StoreObject) -> Read[KeyObject]:
        if store.is_hsm:
            return await self._readers.managed_hsms.key(target.uri)
        return await self._readers.key_stores.key_object(target)

    async def _round_two(
        self,
        bindings: Sequence[KeyBinding],
        stores: Mapping[str, _Store],
        principals: Mapping[str, Read[Principal]],
        groups: dict[str, Read[frozenset[str]]],
    ) -> bool:
        """Returns whether assignments were read only now, so that their definitions are still to be read."""
        together, moved = _Round(), False
        for store in stores.values():
            if store.id is None:
                continue
            mine = [b for b in bindings if store.host in b.hosts]
            self._named_by_answers(together, store, store.id, mine)
            for object_id in sorted({oid for b in mine if (oid := object_id_of(b, principals)) is not None}):
                if not store.is_hsm and object_id not in store.assignments:
                    moved = True
                    self._assignment_reads(together, store, store.id, object_id)
                if object_id not in groups and any(
                    groups_needed(b, store.host, store.facts(answered=False), object_id)
                    for b in mine
                    if object_id_of(b, principals) == object_id
                ):
                    groups[object_id] = _PENDING
                    together.add(self._readers.directory.groups(object_id), _into(groups, object_id))
        await together.run()
        return moved

    def _named_by_answers(self, together: _Round, store: _Store, store_id: ResourceId, bindings: Sequence[KeyBinding]) -> None:
        named = {a.role_definition_id for read in store.assignments.values() if isinstance(read, tuple) for a in read}
        for definition in sorted(named - set(store.definitions)):
            together.add(self._readers.grants.role_definition(store_id, definition), _into(store.definitions, definition))
        pinned: set[KeyUri] = set()
        for binding in bindings:
            for target in binding.objects:
                current = store.objects.get(target.uri.versionless)
                if isinstance(current, KeyObject):
                    pinned.update(pinned_versions(binding, target, current))
        for uri in sorted(pinned - set(store.objects), key=str):
            together.add(self._object(store, StoreObject(uri=uri, store_id=store_id)), _into(store.objects, uri))
        if isinstance(store.store, Absent) and store.deleted is None:

            def keep_deleted(read: Read[DeletedKeyStore]) -> None:
                store.deleted = read

            together.add(self._readers.key_stores.deleted_key_store(store_id), keep_deleted)


_PENDING = Unread(source="group memberships", status=None, code="Pending", repair="")


def _into[K, T](mapping: dict[K, T], key: K) -> Callable[[T], None]:
    return lambda value: mapping.__setitem__(key, value)


def _stores(bindings: Sequence[KeyBinding]) -> Iterable[_Store]:
    ids: dict[str, ResourceId | None] = {}
    for binding in bindings:
        for each in binding.objects:
            ids[each.uri.host] = ids.get(each.uri.host) or each.store_id
    for host, store_id in sorted(ids.items()):
        yield _Store(host=host, id=store_id, store=Absent(what=host) if store_id else store_not_seen(host))


def object_id_of(binding: KeyBinding, principals: Mapping[str, Read[Principal]]) -> str | None:
    """The object id that the binding's grants are to, as far as the reads tell."""
    match binding.identity:
        case AppIdentity(app_id=app_id):
            read = principals.get(app_id.lower())
        case ResourceIdentity(user_assigned=None, system_object_id=object_id):
            return object_id
        case ResourceIdentity(user_assigned=chosen, attached=attached):
            assert chosen is not None
            read = principals.get(chosen.key)
            if not isinstance(read, Principal):
                return attached.get(chosen.key)
    return read.object_id if isinstance(read, Principal) else None


def _expected_object_id(binding: KeyBinding, known: Known) -> str | None:
    """The object id that is expected before the directory has answered."""
    match binding.identity:
        case AppIdentity(app_id=app_id):
            declared = known.declared.get(app_id.lower())
            return declared.object_id if declared else known.object_ids.get(app_id.lower())
        case ResourceIdentity(user_assigned=None, system_object_id=object_id):
            return object_id
        case ResourceIdentity(user_assigned=chosen, attached=attached):
            assert chosen is not None
            return attached.get(chosen.key)
