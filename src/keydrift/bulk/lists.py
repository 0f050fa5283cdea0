"""One reading of everything watched: each list of a subscription once, each principal once, with the time at which it began.

What is read is handed out through the collector's ports (`bulk_ports`); how it is joined to key stores stands in `listing`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol, cast

from keydrift.bulk.listing import DenyIndex, HolderIndex, WatchedScopes, oldest_first
from keydrift.collect import Known, Readers, object_id_of
from keydrift.facts import (
    DeletedKeyStore,
    DenyAssignment,
    Earlier,
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
from keydrift.model import KeyBinding, ResourceIdentity
from keydrift.ports import Clock
from keydrift.resource_id import ResourceId

_HSM = "microsoft.keyvault/managedhsms"
# Reads of keys that wait for ARM's budget at the same time, for each subscription: enough to use it up at any latency under 0.6 s
_PARALLEL_OBJECTS = 16
# Lists of subscriptions that are read at the same time: a page of them is megabytes of JSON while it is decoded
_PARALLEL_LISTS = 4


class SubscriptionLists(Protocol):
    """Lists at subscription scope, of what is watched only. A read never raises."""

    async def key_stores(self, subscription: str, kind: str, wanted: Container[str]) -> Unread | Mapping[str, Read[KeyStore]]:
        """Return the wanted key stores of one resource type by normalised id."""
        ...

    async def deleted_key_stores(
        self, subscription: str, kind: str, wanted: Container[str]
    ) -> Unread | Mapping[str, DeletedKeyStore]:
        """Return the wanted key stores that are soft-deleted by the normalised id that they had."""
        ...

    async def role_assignments(
        self, subscription: str, holders: Container[str], touches: Callable[[ResourceId], bool]
    ) -> Unread | tuple[RoleAssignment, ...]:
        """Return the assignments of these holders, and of whoever may be a group, whose scope touches what is watched."""
        ...

    async def assigned_to(
        self, subscription: str, principal_id: str, touches: Callable[[ResourceId], bool]
    ) -> Unread | tuple[RoleAssignment, ...]:
        """Return the assignments that reach a principal, its groups expanded by Azure."""
        ...

    async def schedule_instances(
        self, subscription: str, holders: Container[str], touches: Callable[[ResourceId], bool]
    ) -> Unread | tuple[ScheduleInstance, ...]:
        """Return the active schedule instances of these holders, and of whoever may be a group, likewise."""
        ...

    async def instances_of(
        self, subscription: str, principal_id: str, touches: Callable[[ResourceId], bool]
    ) -> Unread | tuple[ScheduleInstance, ...]:
        """Return the active schedule instances that reach a principal."""
        ...

    async def role_definitions(self, subscription: str, wanted: Container[str]) -> Unread | Mapping[str, RoleDefinition]:
        """Return the wanted role definitions by guid."""
        ...

    async def deny_assignments(
        self, subscription: str, touches: Callable[[ResourceId], bool]
    ) -> Unread | tuple[DenyAssignment, ...]:
        """Return the deny assignments whose scope touches what is watched."""
        ...

    async def user_assigned_identities(self, subscription: str, wanted: Container[str]) -> Unread | Mapping[str, Read[Principal]]:
        """Return the wanted user-assigned identities by normalised id."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Which keys and secrets (without versions) are read now, where ARM's budget is short; the others keep what was read
    `earlier`.

    A key store with a key that is neither read now nor known from earlier is left out until a later sweep.
    """

    turn: frozenset[KeyUri]
    earlier: Mapping[KeyUri, Earlier] = field(default_factory=dict)

    @classmethod
    def of(cls, bindings: Iterable[KeyBinding], earlier: Mapping[KeyUri, Earlier], budget: int) -> Spread | None:
        """At most `budget` of each subscription's, those read longest ago first; None where that is all of them.

        A Managed HSM's keys are not read from ARM, and are all read.
        """
        ages: defaultdict[str, dict[KeyUri, datetime | None]] = defaultdict(dict)
        for each in (each for binding in bindings for each in binding.objects):
            uri = each.uri.versionless
            home = "" if uri.is_managed_hsm or each.store_id is None else each.store_id.subscription_id or ""
            ages[home][uri] = earlier[uri].read_at if uri in earlier else None
        if all(len(mine) <= budget for home, mine in ages.items() if home):
            return None
        turns = (oldest_first(mine, budget if home else None) for home, mine in ages.items())
        return cls(turn=frozenset().union(*turns), earlier=earlier)


class Oldest:
    """The start of the oldest read used so far."""

    def __init__(self, begun: datetime) -> None:
        self.read_at = begun

    def used[T](self, read: tuple[datetime, T]) -> T:
        """Take a read's answer and note its time."""
        began, answer = read
        self.read_at = min(self.read_at, began)
        return answer


class Once:
    """Reads that are made once, whoever asks, with the time at which each began.

    Whoever is cancelled while it waits cancels the read: that happens only when the whole sweep ends.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reads: dict[tuple[object, ...], asyncio.Task[tuple[datetime, object]]] = {}

    async def read[T](self, what: tuple[object, ...], ask: Callable[[], Awaitable[T]]) -> tuple[datetime, T]:
        """Ask, or wait for the answer to whoever has asked before. `what` names the read and so the type of its answer."""
        if what not in self._reads:
            self._reads[what] = asyncio.ensure_future(self.timed(ask))
        return cast("tuple[datetime, T]", await self._reads[what])

    async def timed[T](self, ask: Callable[[], Awaitable[T]]) -> tuple[datetime, T]:
        """Ask, whether or not somebody has asked before."""
        began = self._clock.now()
        return began, await ask()


class Sweep:
    """One reading of everything watched."""

    def __init__(
        self,
        readers: Readers,
        lists: SubscriptionLists,
        clock: Clock,
        bindings: Sequence[KeyBinding],
        known: Known,
        spread: Spread | None = None,
    ) -> None:
        self.direct, self.lists, self.once, self._clock = readers, lists, Once(clock), clock
        self._bindings, self._known = bindings, known
        stores: defaultdict[str, dict[str, ResourceId]] = defaultdict(dict)
        users: defaultdict[KeyUri, set[str]] = defaultdict(set)
        for binding in bindings:
            for each in binding.objects:
                users[each.uri.versionless].update(binding.hosts)
                if each.store_id is not None:
                    stores[each.store_id.subscription_id or ""][each.store_id.key] = each.store_id
        self.stores = stores
        self.scopes = {subscription: WatchedScopes.of(found.values()) for subscription, found in stores.items()}
        # Only what several key stores' facts hold is kept: a tenant's keys are many
        self._shared = frozenset(uri for uri, hosts in users.items() if len(hosts) > 1)
        self._now = spread.turn if spread else frozenset(users)
        self._earlier = spread.earlier if spread else {}
        self.watched: frozenset[str] = frozenset()
        self.identities: defaultdict[str, dict[str, ResourceId]] = defaultdict(dict)
        for binding in bindings:
            match binding.identity:
                case ResourceIdentity(user_assigned=ResourceId() as chosen):
                    self.identities[chosen.subscription_id or ""][chosen.key] = chosen
        self._gates: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_PARALLEL_OBJECTS))
        self._lists_gate = asyncio.Semaphore(_PARALLEL_LISTS)
        self._first_membership = asyncio.Lock()
        self._memberships_asked = False
        self._refused: Unread | None = None

    def watch(self, principals: Mapping[str, Read[Principal]]) -> None:
        """Note who the principals are: everybody else's assignments can then be dropped as they are listed."""
        watched = {object_id_of(binding, principals) for binding in self._bindings} | set(self._known.object_ids.values())
        for binding in self._bindings:
            if isinstance(binding.identity, ResourceIdentity):
                watched.update(binding.identity.attached.values())
        self.watched = frozenset(each.lower() for each in watched if each)

    def can_read(self, bindings: Iterable[KeyBinding]) -> bool:
        """Whether every key and secret of these bindings is read now or known from earlier."""
        uris = (each.uri.versionless for binding in bindings for each in binding.objects)
        return all(uri in self._now or uri in self._earlier for uri in uris)

    async def listed[T](self, ask: Callable[[], Awaitable[T]]) -> T:
        """Read a list of a subscription in its turn."""
        async with self._lists_gate:
            return await ask()

    async def assignments(self, subscription: str) -> Unread | HolderIndex[RoleAssignment]:
        """The watched principals' assignments in a subscription, and those of possible groups."""
        scopes = self.scopes[subscription]
        rows = await self.listed(lambda: self.lists.role_assignments(subscription, self.watched, scopes.touches))
        return rows if isinstance(rows, Unread) else HolderIndex(scopes, rows, self.watched)

    async def instances(self, subscription: str) -> Unread | HolderIndex[ScheduleInstance]:
        """The watched principals' schedule instances in a subscription, and those of possible groups."""
        scopes = self.scopes[subscription]
        rows = await self.listed(lambda: self.lists.schedule_instances(subscription, self.watched, scopes.touches))
        return rows if isinstance(rows, Unread) else HolderIndex(scopes, rows, self.watched)

    async def assigned_to(self, subscription: str, principal_id: str) -> Unread | HolderIndex[RoleAssignment]:
        """The assignments that reach a principal: Azure has expanded its groups."""
        scopes = self.scopes[subscription]
        rows = await self.lists.assigned_to(subscription, principal_id, scopes.touches)
        return rows if isinstance(rows, Unread) else HolderIndex(scopes, rows, ())

    async def instances_of(self, subscription: str, principal_id: str) -> Unread | HolderIndex[ScheduleInstance]:
        """The schedule instances that reach a principal."""
        scopes = self.scopes[subscription]
        rows = await self.lists.instances_of(subscription, principal_id, scopes.touches)
        return rows if isinstance(rows, Unread) else HolderIndex(scopes, rows, ())

    async def denies(self, subscription: str) -> Unread | DenyIndex:
        """The deny assignments of a subscription."""
        scopes = self.scopes[subscription]
        rows = await self.listed(lambda: self.lists.deny_assignments(subscription, scopes.touches))
        return rows if isinstance(rows, Unread) else DenyIndex(scopes, rows)

    async def groups(self, object_id: str) -> Read[frozenset[str]]:
        """A principal's memberships. The right to read them is the whole directory's, so a refusal is asked for once only: the
        first read goes alone."""
        async with self._first_membership:
            if not self._memberships_asked:
                self._memberships_asked = True
                return await self._membership(object_id)
        if self._refused is not None:
            return replace(self._refused, source=f"group memberships of {object_id}")
        return await self._membership(object_id)

    async def _membership(self, object_id: str) -> Read[frozenset[str]]:
        read = await self.direct.directory.groups(object_id)
        if isinstance(read, Unread) and read.status == 403:
            self._refused = read
        return read

    async def key_object(
        self, uri: KeyUri, subscription: str, ask: Callable[[], Awaitable[Read[KeyObject]]]
    ) -> tuple[datetime, Read[KeyObject]]:
        """A key or secret: as read earlier where it is not its turn, else read in its turn."""
        if uri.versionless not in self._now and uri in self._earlier:
            return self._earlier[uri].read_at, self._earlier[uri].read

        async def gated() -> tuple[datetime, Read[KeyObject]]:
            async with self._gates[subscription]:
                return await self.once.timed(ask)

        if uri.versionless not in self._shared:
            return await gated()
        _, read = await self.once.read(("object", uri), gated)
        return read
