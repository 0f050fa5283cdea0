"""Find the key bindings of the tenant and keep the watchlist: by timer for all of it, by event for one subscription.

Resource Graph answers for any tenant with a few queries, but lags, and shows fewer rows without an error when the monitor loses a
right; ARM's lists are complete. So lists are read at every sweep while they are few, and once a day where they are many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from logging import getLogger

from keydrift.declared import NOTHING_DECLARED, Declarations, declared_bindings, not_found
from keydrift.document import unread_document
from keydrift.facts import Absent, Unread
from keydrift.inventory import ANY_TAGS, Inventory, TagNames, discover
from keydrift.model import KeyBinding
from keydrift.ports import Clock, Consumers
from keydrift.reconcile import Reconciler
from keydrift.state import State
from keydrift.watchlist import Watchlist
from keydrift.watchlist_change import WatchlistChange, change_of

log = getLogger(__name__)

COMPLETE_INTERVAL = timedelta(hours=24)
# Older settings of Recovery Services vaults without a key cost one read each (azure-facts 5.4): once a day
LEGACY_INTERVAL = timedelta(hours=24)
# As many lists as ARM answers at once for one subscription (azure-facts 5.7) are read at every sweep; beyond that, Resource Graph
FEW_LISTS = 250
_TAKEN, _COMPLETE, _LEGACY = "inventory", "complete inventory", "legacy settings"
# In a mark: when the watchlist had what was listed
_KEPT = "keptAt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the inventory is read from. `hearsay` is None where only complete lists are wanted; `always_hearsay` says that
    lists are read once a day even where they are few."""

    complete: Consumers
    hearsay: Consumers | None = None
    always_hearsay: bool = False
    subscriptions: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What came of a refresh: when the watchlist had what ARM listed, the `hosts` of key stores whose bindings are new or
    changed, and whether anything was `listed` for it."""

    kept_at: datetime
    hosts: frozenset[str] = frozenset()
    listed: bool = False


class Discovery:
    """Keeps the watchlist up to what the tenant shows. Methods may raise StateError."""

    def __init__(
        self,
        *,
        state: State,
        sources: Sources,
        reconciler: Reconciler,
        clock: Clock,
        backup_app_id: str,
        declarations: Declarations = NOTHING_DECLARED,
        tags: TagNames = ANY_TAGS,
    ) -> None:
        self._state, self._sources, self._reconciler, self._clock = state, sources, reconciler, clock
        self._backup_app_id, self._declarations, self._tags = backup_app_id, declarations, tags
        self._turn = asyncio.Lock()

    async def take(self) -> WatchlistChange:
        """Read the inventory of all subscriptions, and keep what it changes."""
        async with self._turn:
            started = self._clock.now()
            # Before the inventory: what somebody else adds while it is read is not missing in it
            watchlist = await self._state.watchlist()
            subscriptions, unread = await visible(self._sources.complete, self._sources.subscriptions)
            source = await self._source(started)
            inventory = await source.read(subscriptions, legacy=await self._is_due(_LEGACY, started, LEGACY_INTERVAL))
            unread = (*unread, *inventory.unread)
            for each in unread:
                log.warning("the inventory is incomplete", extra={"source": each.source, "status": each.status})
            found = self._found(inventory)
            # Apart from what is unread: a slip in the watchlist file makes no inventory incomplete, so others are still retired
            dangling = not_found(self._declarations, (*watchlist.bindings.values(), *found), inventory)
            for each in dangling:
                log.warning("the watchlist names what cannot be seen", extra={"source": each.source, "repair": each.repair})
            change = await self._change(watchlist, found, inventory, subscriptions, unread, started)
            if inventory.hearsay:
                change = replace(change, doubted=change.doubted | await self._unlisted(subscriptions))
            # What an event had listed meanwhile may be newer than what is kept now
            again = [each for each, kept_at in (await self._since(subscriptions, started)).items() if kept_at is not None]
            change = replace(change, doubted=change.doubted | frozenset(again))
            await self._apply(change)
            body = {"unread": [unread_document(each) for each in (*unread, *dangling)]}
            await self._state.set_mark(_TAKEN, started, body)
            await self._note(inventory, unread, started)
            return change

    async def refresh(self, subscriptions: Sequence[str], noticed_at: datetime) -> Refreshed:
        """Read some subscriptions' consumers by ARM, except where that was done since the notice."""
        async with self._turn:
            while due := [each for each, kept_at in (await self._since(subscriptions, noticed_at)).items() if kept_at is None]:
                started = self._clock.now()
                watchlist = await self._state.watchlist()
                inventory = await self._sources.complete.read(due, legacy=True)
                if any((await self._since(due, started)).values()):
                    continue  # another worker has kept a newer list meanwhile, which this one is not to overwrite
                for each in inventory.unread:
                    extra = {"source": each.source, "status": each.status}
                    log.warning("the inventory of a subscription is incomplete", extra=extra)
                change = await self._change(watchlist, self._found(inventory), inventory, due, inventory.unread, started)
                await self._apply(change)
                for subscription in due:
                    body = {"unlisted": bool(inventory.unread), _KEPT: self._clock.now().isoformat()}
                    await self._state.set_mark(f"{_TAKEN} {subscription}", started, body)
                return Refreshed(kept_at=self._clock.now(), hosts=change.hosts, listed=True)
            kept = [at for at in (await self._since(subscriptions, noticed_at)).values() if at is not None]
            return Refreshed(kept_at=max(kept, default=noticed_at))

    async def _unlisted(self, subscriptions: Sequence[str]) -> frozenset[str]:
        """The subscriptions whose consumers an event asked for and ARM did not list: hearsay proves none of them gone."""
        bodies = await asyncio.gather(*(self._state.mark_body(f"{_TAKEN} {each}") for each in subscriptions))
        return frozenset(each for each, body in zip(subscriptions, bodies, strict=True) if body and body.get("unlisted"))

    async def _change(
        self,
        before: Watchlist,
        found: Sequence[KeyBinding],
        inventory: Inventory,
        subscriptions: Sequence[str],
        unread: Sequence[Unread],
        started: datetime,
    ) -> WatchlistChange:
        """What the inventory changes in the watchlist as it is now: another worker may have kept an older list meanwhile."""
        change = change_of(await self._state.watchlist(), found, inventory, subscriptions, unread, started)
        return replace(change, gone=tuple(each for each in change.gone if each.id in before.bindings))

    async def _since(self, subscriptions: Sequence[str], at: datetime) -> Mapping[str, datetime | None]:
        kept = await asyncio.gather(*(self._listed_since(each, at) for each in subscriptions))
        return dict(zip(subscriptions, kept, strict=True))

    async def _listed_since(self, subscription: str, at: datetime) -> datetime | None:
        """When the watchlist had what a list showed that was begun since; None where none was."""
        marks = [await self._state.mark_body(name) for name in (_COMPLETE, f"{_TAKEN} {subscription}")]
        since = [mark for mark in marks if mark is not None and datetime.fromisoformat(str(mark["at"])) >= at]
        # A mark of an earlier release does not tell: by now it has
        return min((datetime.fromisoformat(str(each.get(_KEPT, self._clock.now()))) for each in since), default=None)

    async def _is_due(self, name: str, now: datetime, interval: timedelta) -> bool:
        last = await self._state.mark(name)
        return last is None or now - last >= interval

    async def _note(self, inventory: Inventory, unread: Sequence[Unread], started: datetime) -> None:
        """What was read without a gap need not be read again so soon."""
        if unread:
            return
        if not inventory.hearsay:
            body = {"lists": inventory.lists, _KEPT: self._clock.now().isoformat()}
            await self._state.set_mark(_COMPLETE, started, body)
        if inventory.legacy_read:
            await self._state.set_mark(_LEGACY, started, {})

    async def _source(self, now: datetime) -> Consumers:
        hearsay, last = self._sources.hearsay, await self._state.mark_body(_COMPLETE)
        if hearsay is None or last is None:
            return self._sources.complete
        lists = last.get("lists")
        few = isinstance(lists, int) and lists <= FEW_LISTS and not self._sources.always_hearsay
        due = await self._is_due(_COMPLETE, now, COMPLETE_INTERVAL)
        return self._sources.complete if few or due else hearsay

    def _found(self, inventory: Inventory) -> tuple[KeyBinding, ...]:
        discovered = discover(inventory, self._backup_app_id, self._tags)
        return declared_bindings(self._declarations, discovered, inventory, self._backup_app_id, self._tags)

    async def _apply(self, change: WatchlistChange) -> None:
        await self._reconciler.retire(change.gone)
        await self._state.watch(change.changed, [b.id for b in change.gone])


async def visible(consumers: Consumers, wanted: Sequence[str]) -> tuple[tuple[str, ...], tuple[Unread, ...]]:
    """The subscriptions to read: those asked for, else all that can be seen; and the read of them if it failed."""
    if wanted:
        return tuple(wanted), ()
    read = await consumers.subscriptions()
    match read:
        case Unread():
            return (), (read,)
        case Absent(what=what):
            return (), (Unread(source=what, status=404, code="NotFound", repair="Reader on a subscription"),)
        case _:
            return read, ()
