"""The straight path: receive, recheck, sweep, deliver. What the triggers call, and nothing else.

Event → affected key stores → one recheck message each → facts → verdicts → drift → record → alert.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from logging import getLogger
from typing import cast

from keydrift.actor import Heard
from keydrift.declared import NOTHING_DECLARED, Declarations, declared_bindings, not_found
from keydrift.document import unread_document
from keydrift.drift import Via
from keydrift.errors import DecodeError
from keydrift.events import NotOurs, Undecodable, decode
from keydrift.facts import Absent, Unread
from keydrift.inventory import discover
from keydrift.key_uri import KeyUri
from keydrift.model import ChangeNotice, KeyBinding, StoreObject
from keydrift.ports import Clock, Consumers, RecheckQueue, StateConflictError
from keydrift.recheck import Recheck
from keydrift.reconcile import Reconciler
from keydrift.resource_id import ResourceId
from keydrift.row import stamp
from keydrift.state import State
from keydrift.watchlist import may_need_key

log = getLogger(__name__)

# `VaultAccessPolicyChanged` names nobody; the ARM event of the same change does, and has usually come by then
ACTOR_GRACE = timedelta(seconds=15)
# New protection is watched within a minute; a burst of it costs one inventory
INVENTORY_GRACE = timedelta(seconds=30)
# Resource Graph adds to the watchlist, only ARM's complete lists take away (architecture, "hearsay")
COMPLETE_INVENTORY_INTERVAL = timedelta(hours=24)
# An undecodable event asks for at most one sweep an interval
UNDECODABLE_INTERVAL = timedelta(minutes=15)
_TRIES = 3
_PARALLEL_PUTS = 32
_DEAD_LETTER_LIMIT = 20_000


class Monitor:
    """One monitor of one tenant. Every method may raise StateError: then the trigger's message is delivered again."""

    def __init__(
        self,
        *,
        state: State,
        queue: RecheckQueue,
        reconciler: Reconciler,
        consumers: Consumers,
        hearsay: Consumers | None = None,
        clock: Clock,
        backup_app_id: str,
        subscriptions: Sequence[str] = (),
        declarations: Declarations = NOTHING_DECLARED,
    ) -> None:
        self._state, self._queue, self._reconciler = state, queue, reconciler
        self._consumers, self._hearsay, self._clock = consumers, hearsay, clock
        self._backup_app_id, self._subscriptions = backup_app_id, tuple(subscriptions)
        self._declarations = declarations
        self._inventory_turn = asyncio.Lock()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def receive(self, payload: str) -> None:
        """Take an event (or a batch): notices become rechecks, what cannot be decoded is kept and looked into."""
        for decoded in decode(payload):
            match decoded:
                case ChangeNotice() as notice:
                    await self._notice(notice)
                case NotOurs(event_id=event_id, event_type=event_type, reason=reason):
                    log.debug("not ours", extra={"event_id": event_id, "event_type": event_type, "reason": reason})
                case Undecodable() as undecodable:
                    await self._undecodable(undecodable, payload)

    async def _notice(self, notice: ChangeNotice) -> None:
        now = self._clock.now()
        watchlist = await self._state.watchlist()
        hosts = watchlist.affected_by(notice)
        extra = {"event_id": notice.event_id, "operation": notice.operation, "key_stores": len(hosts)}
        log.info("notice", extra=extra)
        if not hosts:
            await self._ask_for_inventory(notice, now)
            return
        consumers = watchlist.concerns_consumer(notice)
        delay = timedelta() if notice.actor is not None else ACTOR_GRACE
        for host in hosts:
            await self._state.hear(host, Heard(notice=notice, received_at=now))
        await self._ask(hosts, Recheck(host="", noticed_at=now, via=Via.EVENT, consumers=consumers), delay)

    async def _ask_for_inventory(self, notice: ChangeNotice, now: datetime) -> None:
        """A consumer that nobody watches may need a key from now on: take the inventory soon, once for a burst of such events."""
        due = now + INVENTORY_GRACE
        if may_need_key(notice.resource_id) and await self._state.claim("inventory asked for", now, INVENTORY_GRACE):
            await self._ask([""], Recheck(host="", noticed_at=due, via=Via.EVENT, consumers=True), INVENTORY_GRACE)

    async def _undecodable(self, undecodable: Undecodable, payload: str) -> None:
        now = self._clock.now()
        event_id = undecodable.event_id or "unknown"
        log.warning("an event could not be decoded", extra={"event_id": event_id, "reason": str(undecodable.error)})
        body = {"at": now.isoformat(), "error": str(undecodable.error), "payload": payload[:_DEAD_LETTER_LIMIT]}
        await self._state.dead_letter(now, event_id, body)
        hint = undecodable.hint or ResourceId.parse("/")
        watchlist = await self._state.watchlist()
        concerned = watchlist.affected_by(
            ChangeNotice(event_id=event_id, event_type="", operation="", resource_id=hint, occurred_at=None)
        )
        # By key store, not by hint: whoever sends noise invents as many hints as there are events
        asked = [host for host in concerned if await self._state.claim(f"undecodable {host}", now, UNDECODABLE_INTERVAL)]
        await self._ask(asked, Recheck(host="", noticed_at=now, via=Via.SWEEP), timedelta())

    async def _ask(self, hosts: Iterable[str], recheck: Recheck, delay: timedelta) -> None:
        gate = asyncio.Semaphore(_PARALLEL_PUTS)

        async def put(host: str) -> None:
            async with gate:
                await self._queue.put(replace(recheck, host=host).body(), delay_s=delay.total_seconds())

        await asyncio.gather(*(put(host) for host in hosts))

    async def recheck(self, message: str) -> None:
        """Answer a recheck message. Raises StateConflictError after three lost races: the queue tries again."""
        try:
            recheck = Recheck.parse(message)
        except DecodeError as error:
            log.warning("a recheck message could not be decoded", extra={"reason": str(error)})
            now = self._clock.now()
            await self._state.dead_letter(
                now, "recheck", {"at": now.isoformat(), "error": str(error), "payload": message[:20_000]}
            )
            return
        if recheck.consumers:
            await self._refresh(recheck)
        if not recheck.host:
            return
        # One at a time: of a burst's rechecks the first reads the key store, and the others then find themselves answered
        async with self._turns[recheck.host]:
            await self._answer(recheck)

    async def _answer(self, recheck: Recheck) -> None:
        for tries_left in reversed(range(_TRIES)):
            try:
                await self._reconciler.reconcile(recheck)
            except StateConflictError:
                if not tries_left:
                    raise
            else:
                return

    async def _refresh(self, recheck: Recheck) -> None:
        """Read the inventory again unless that was done since the notice."""
        async with self._inventory_turn:
            last = await self._state.mark("inventory")
            if last is not None and last >= recheck.noticed_at:
                return
            elsewhere = await self._take_inventory(self._consumers) - {recheck.host}
        # The consumer may need a key of another key store now, which nobody has asked for yet
        await self._ask(sorted(elsewhere), Recheck(host="", noticed_at=self._clock.now(), via=recheck.via), timedelta())

    async def sweep(self) -> None:
        """Refresh the inventory, then ask for a recheck of every watched key store."""
        started = self._clock.now()
        async with self._inventory_turn:
            await self._take_inventory(await self._source(started))
        hosts = (await self._state.watchlist()).hosts
        log.info("sweep", extra={"key_stores": len(hosts)})
        await self._ask(hosts, Recheck(host="", noticed_at=started, via=Via.SWEEP), timedelta())

    async def _source(self, now: datetime) -> Consumers:
        """What a sweep reads the inventory from: hearsay where there is any, once a day complete lists, which alone remove."""
        if self._hearsay is None or await self._state.claim("complete inventory", now, COMPLETE_INVENTORY_INTERVAL):
            return self._consumers
        return self._hearsay

    async def _take_inventory(self, source: Consumers) -> frozenset[str]:
        """Bring the watchlist up to what the tenant shows; returns the hosts of key stores whose bindings are new or changed."""
        started = self._clock.now()
        # Before the inventory: what somebody else adds while it is read is not missing in it
        watchlist = await self._state.watchlist()
        subscriptions, unread = await visible(self._consumers, self._subscriptions)
        inventory = await source.read(subscriptions)
        unread = (*unread, *inventory.unread)
        for each in unread:
            log.warning("the inventory is incomplete", extra={"source": each.source, "status": each.status})
        discovered = discover(inventory, self._backup_app_id)
        found = {b.id: b for b in declared_bindings(self._declarations, discovered, inventory, self._backup_app_id)}
        # Apart from what is unread: a slip in the watchlist file makes no inventory incomplete, so that others are still retired
        dangling = not_found(self._declarations, (*watchlist.bindings.values(), *found.values()), inventory)
        for each in dangling:
            log.warning("the watchlist names what cannot be seen", extra={"source": each.source, "repair": each.repair})
        if unread or inventory.hearsay:
            found = {b.id: _grown(watchlist.bindings.get(b.id), b) for b in found.values()}
        missing = [] if inventory.hearsay else [b for b in watchlist.bindings.values() if b.id not in found]
        gone = [b for b in missing if proven_gone(b, subscriptions, unread)]
        changed = [b for b in found.values() if watchlist.bindings.get(b.id) != b]
        await self._reconciler.retire(gone)
        await self._state.watch(changed, [b.id for b in gone])
        await self._state.set_mark("inventory", started, {"unread": [unread_document(each) for each in (*unread, *dangling)]})
        return frozenset(host for binding in changed for host in binding.hosts)

    async def deliver(self) -> None:
        """Send what is recorded and not yet delivered, for as long as it takes."""
        await self._reconciler.deliver(await self._state.undelivered())
        await self._state.forget_stale_marks(self._clock.now())

    async def poisoned(self, message: str) -> None:
        """A recheck that kept failing: its key store's bindings become unknown with the reason; the sweep takes it up again."""
        try:
            host = Recheck.parse(message).host
        except DecodeError as error:
            now = self._clock.now()
            await self._state.dead_letter(
                now, "poison", {"at": now.isoformat(), "error": str(error), "payload": message[:20_000]}
            )
            return
        log.error("a recheck failed for good", extra={"key_store": host})
        await self._reconciler.fail(host, "five deliveries of a recheck failed")

    async def posture(self) -> dict[str, object]:
        """The last verdict of every key binding, and what the last inventory could not read."""
        watchlist = await self._state.watchlist()
        read_at = {each.host: each.read_at for each in await self._state.stores()}
        documents: list[dict[str, object]] = []
        for binding in sorted(watchlist.bindings.values(), key=lambda b: b.id):
            remembered = await self._state.remembered(binding.id)
            if remembered is not None and remembered.posture is not None:
                at = read_at.get(binding.target.uri.host)
                documents.append({**remembered.posture, "read_at": stamp(at) or remembered.posture.get("read_at")})
        inventory = await self._state.mark_body("inventory")
        unread = cast("list[object]", (inventory or {}).get("unread") or [])
        return {"schema_version": "1", "generated_at": stamp(self._clock.now()), "bindings": documents, "unread": unread}


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


def proven_gone(binding: KeyBinding, subscriptions: Sequence[str], unread: Sequence[Unread]) -> bool:
    """Whether complete ARM lists of every subscription that held a consumer show none any more.

    A monitor that lost a right sees fewer rows without an error, so a subscription that is no longer listed proves nothing.
    """
    covered = {each.lower() for each in subscriptions}
    ids = [c.id for c in binding.consumers] + [i.id for c in binding.consumers for i in c.protected_items]
    return not unread and all(each.subscription_id in covered for each in ids)


def _grown(known: KeyBinding | None, found: KeyBinding) -> KeyBinding:
    """The binding with the consumers of both and the key stores that either knows: what is incomplete adds and never removes."""
    if known is None:
        return found
    consumers = {c.id: c for c in (*known.consumers, *found.consumers)}
    placed = {each.uri: each.store_id for each in known.objects}
    secrets = {s.uri: _placed(s, placed) for s in (*known.secrets, *found.secrets)}
    return replace(
        found,
        target=_placed(found.target, placed),
        consumers=tuple(consumers.values()),
        secrets=tuple(secrets.values()),
    )


def _placed(found: StoreObject, known: Mapping[KeyUri, ResourceId | None]) -> StoreObject:
    return found if found.store_id else replace(found, store_id=known.get(found.uri))
