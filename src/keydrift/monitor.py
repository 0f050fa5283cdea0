"""The straight path: receive, recheck, sweep, deliver. What the triggers call, and nothing else.

Event → affected key stores → one recheck message each → facts → verdicts → drift → record → alert.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from logging import getLogger
from types import MappingProxyType
from typing import cast
from uuid import UUID, uuid5

from keydrift.alerts.actor import Heard
from keydrift.alerts.history import standing_since
from keydrift.alerts.row import stamp
from keydrift.delivery import Deliverer
from keydrift.discovery import Discovery
from keydrift.drift import Via
from keydrift.errors import DecodeError
from keydrift.events import Canary, NotOurs, Undecodable, decode
from keydrift.kept_payload import kept as kept_of
from keydrift.model import ChangeNotice
from keydrift.ports import Clock, RecheckQueue, StateConflictError
from keydrift.posture import posture_document
from keydrift.pulse import CANARY, CANARY_BACK, EVENT
from keydrift.recheck import Recheck, canary_body, canary_in
from keydrift.reconcile import Reconciler
from keydrift.resource_id import ResourceId
from keydrift.restraint import SETTLE_AFTER, Rush
from keydrift.state import State
from keydrift.sweep import Sweeper
from keydrift.watchlist import may_need_key

log = getLogger(__name__)

# `VaultAccessPolicyChanged` names nobody; the ARM event of the same change does, and has usually come by then
ACTOR_GRACE = timedelta(seconds=15)
# New protection is watched within a minute; a burst of it costs one inventory
INVENTORY_GRACE = timedelta(seconds=30)
# An undecodable event asks for at most one sweep an interval
UNDECODABLE_INTERVAL = timedelta(minutes=15)
# A timer that is a moment early is the one that was meant
_EARLY = timedelta(minutes=1)
# When an event was last received is written no more often than this
EVENT_NOTED_EVERY = timedelta(minutes=1)
_TRIES = 3
_PARALLEL_PUTS = 32
# A change that concerns more key stores of one subscription than this is looked at from lists; a few are asked for at once
_MANY, _A_FEW = 25, 10
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_SWEEPS = UUID("c2b0b6a4-5f1a-5f5e-8f67-9a8a5d0b7a31")


class Monitor:
    """One monitor of one tenant. Every method may raise StateError: then the trigger's message is delivered again."""

    def __init__(
        self,
        *,
        state: State,
        queue: RecheckQueue,
        reconciler: Reconciler,
        deliverer: Deliverer,
        discovery: Discovery,
        sweeper: Sweeper,
        clock: Clock,
        subscriptions: Sequence[str] = (),
        posture_interval: timedelta = timedelta(),
    ) -> None:
        self._state, self._queue, self._reconciler = state, queue, reconciler
        self._deliverer = deliverer
        self._discovery, self._sweeper, self._clock = discovery, sweeper, clock
        self._subscriptions, self._posture_interval = tuple(subscriptions), posture_interval
        self._event_noted_at: datetime | None = None
        self._rush = Rush()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def receive(self, payload: str) -> None:
        """Take an event (or a batch): notices become rechecks, what cannot be decoded is kept and looked into."""
        kept: dict[str, None] = {}
        for decoded in decode(payload):
            match decoded:
                case ChangeNotice() as notice:
                    await self._notice(notice)
                case Canary(event_id=canary):
                    await self._pass_on(canary)
                case NotOurs(event_id=event_id, event_type=event_type, reason=reason):
                    log.debug("not ours", extra={"event_id": event_id, "event_type": event_type, "reason": reason})
                case Undecodable() as undecodable:
                    await self._undecodable(undecodable, payload, kept)
        await self._note_event()

    async def _note_event(self) -> None:
        now, last = self._clock.now(), self._event_noted_at
        if last is None or now - last >= EVENT_NOTED_EVERY:
            self._event_noted_at = now
            await self._state.set_mark(EVENT, now, {})

    async def _pass_on(self, canary: str) -> None:
        """Send the canary event that is out through the queue; another's, whoever sent it, concerns nobody."""
        out = await self._state.mark_body(CANARY)
        if out is not None and out["canary"] == canary:
            await self._queue.put(canary_body(canary))

    async def _notice(self, notice: ChangeNotice) -> None:
        now = self._clock.now()
        watchlist = await self._state.watchlist()
        hosts = watchlist.affected_by(notice)
        extra = {"event_id": notice.event_id, "operation": notice.operation, "key_stores": len(hosts)}
        log.info("notice", extra=extra)
        if not hosts:
            await self._ask_for_inventory(notice, now)
            return
        consumers = watchlist.consumers_of(notice)
        delay = timedelta() if notice.actor is not None else ACTOR_GRACE
        recheck = Recheck(
            host="", noticed_at=now, via=Via.EVENT, consumers=bool(consumers), subscriptions=tuple(sorted(consumers))
        )
        asked: list[str] = []
        for home, concerned in watchlist.by_home(hosts).items():
            wide = bool(home) and len(concerned) > _MANY and not consumers
            # Kept once where it concerns many
            for place in (home,) if wide else concerned:
                await self._state.hear(place, Heard(notice=notice, received_at=now))
            if wide:
                await self._ask([""], replace(recheck, subscriptions=(home,), wide=True), delay)
            # Of many a few are asked for beside the look: they tell at once what has come of it
            asked += concerned[:_A_FEW] if wide else concerned
        await self._ask(asked, recheck, delay, self._rush.joined(asked, now))

    async def _ask_for_inventory(self, notice: ChangeNotice, now: datetime) -> None:
        """A consumer that nobody watches may need a key from now on: take its subscription's inventory soon, once for a burst."""
        subscription = notice.resource_id.subscription_id
        if subscription is None or not _GUID.fullmatch(subscription):
            return  # no subscription of Azure's, so nothing to list, whoever says that something changed there
        if not may_need_key(notice.resource_id) or not self._is_watched(subscription):
            return
        await self._state.hear("", Heard(notice=notice, received_at=now))
        if await self._state.claim(f"inventory asked for {subscription}", now, INVENTORY_GRACE):
            asked = Recheck(
                host="", noticed_at=now + INVENTORY_GRACE, via=Via.EVENT, consumers=True, subscriptions=(subscription,)
            )
            await self._ask([""], asked, INVENTORY_GRACE)

    def _is_watched(self, subscription: str) -> bool:
        return not self._subscriptions or subscription in {each.lower() for each in self._subscriptions}

    async def _undecodable(self, undecodable: Undecodable, payload: str, kept: dict[str, None]) -> None:
        """`kept` are the ids of this payload's events that are dead letters already: the payload is kept with the first of them,
        since a batch of many would be kept as many times over."""
        now = self._clock.now()
        event_id = undecodable.event_id or "unknown"
        log.warning("an event could not be decoded", extra={"event_id": event_id, "reason": str(undecodable.error)})
        if event_id not in kept:
            shown = f"kept with event `{next(iter(kept))}`" if kept else kept_of(payload)
            await self._state.dead_letter(
                now, event_id, {"at": now.isoformat(), "error": str(undecodable.error), "payload": shown}
            )
            kept[event_id] = None
        hint = undecodable.hint or ResourceId.parse("/")
        watchlist = await self._state.watchlist()
        concerned = watchlist.affected_by(
            ChangeNotice(event_id=event_id, event_type="", operation="", resource_id=hint, occurred_at=None)
        )
        # By key store, not by hint: whoever sends noise invents as many hints as there are events
        asked = [host for host in concerned if await self._state.claim(f"undecodable {host}", now, UNDECODABLE_INTERVAL)]
        await self._ask(asked, Recheck(host="", noticed_at=now, via=Via.SWEEP), timedelta())

    async def _ask(
        self, hosts: Iterable[str], recheck: Recheck, delay: timedelta, crowds: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        gate = asyncio.Semaphore(_PARALLEL_PUTS)

        async def put(host: str) -> None:
            async with gate:
                await self._queue.put(
                    replace(recheck, host=host, crowd=crowds.get(host, 0)).body(), delay_s=delay.total_seconds()
                )

        await asyncio.gather(*(put(host) for host in hosts))

    async def recheck(self, message: str) -> None:
        """Answer a recheck message. Raises StateConflictError after three lost races: the queue tries again."""
        if (canary := canary_in(message)) is not None:
            await self._state.set_mark(CANARY_BACK, self._clock.now(), {"canary": canary})
            return
        try:
            recheck = Recheck.parse(message)
        except DecodeError as error:
            log.warning("a recheck message could not be decoded", extra={"reason": str(error)})
            now = self._clock.now()
            await self._state.dead_letter(
                now, "recheck", {"at": now.isoformat(), "error": str(error), "payload": kept_of(message)}
            )
            return
        if recheck.wide:
            await self._look(recheck)
            return
        if recheck.consumers:
            recheck = await self._refresh(recheck)
        if not recheck.host:
            return
        # One at a time: of a burst's rechecks the first reads the key store, and the others then find themselves answered
        async with self._turns[recheck.host]:
            if recheck.via is Via.SETTLE:
                # In a flood the rereads of its first events wait like the events
                recheck = replace(recheck, crowd=self._rush.around(recheck.host, self._clock.now()))
            await self._answer(recheck)

    async def _look(self, recheck: Recheck) -> None:
        """Look at all key stores of a subscription, once for all changes that were noticed before."""
        for home in recheck.subscriptions:
            async with self._turns[home]:
                last = await self._state.mark(f"looked at {home}")
                if last is not None and last > recheck.noticed_at:
                    continue
                started = self._clock.now()
                await self._sweeper.look(home, recheck.via)
                if recheck.via is Via.EVENT:
                    due = self._clock.now() + SETTLE_AFTER
                    await self._ask([""], replace(recheck, noticed_at=due, via=Via.SETTLE, subscriptions=(home,)), SETTLE_AFTER)
                    await self._state.set_mark(f"looked at {home}", started, {})

    async def _answer(self, recheck: Recheck) -> None:
        for tries_left in reversed(range(_TRIES)):
            try:
                await self._reconciler.reconcile(recheck)
            except StateConflictError:
                if not tries_left:
                    raise
            else:
                return

    async def _refresh(self, recheck: Recheck) -> Recheck:
        """Read the inventory again unless that was done since the notice. Returns what is left to answer: by facts that are newer
        than what the watchlist has now, since others were judged for what the consumers were, and at once where that differs."""
        if recheck.subscriptions:
            refreshed = await self._discovery.refresh(recheck.subscriptions, recheck.noticed_at)
            changed, kept_at = refreshed.hosts, refreshed.kept_at
            if refreshed.listed and recheck.via is Via.EVENT:
                # Azure's reads of a consumer can lag behind its event as much as those of a key store
                due = self._clock.now() + SETTLE_AFTER
                await self._ask([""], replace(recheck, noticed_at=due, via=Via.SETTLE), SETTLE_AFTER)
        else:
            changed = (await self._discovery.take()).hosts
            kept_at = self._clock.now()
        elsewhere = changed - {recheck.host}
        # The consumer may need a key of another key store now, which nobody has asked for yet, nor been told who changed it
        now = self._clock.now()
        heard = await self._state.heard(recheck.host, now)
        for host in elsewhere:
            for each in heard:
                await self._state.hear(host, each)
        await self._ask(sorted(elsewhere), Recheck(host="", noticed_at=now, via=recheck.via), timedelta())
        return replace(
            recheck,
            noticed_at=max(recheck.noticed_at, kept_at - timedelta.resolution),
            crowd=0 if recheck.host in changed else recheck.crowd,
        )

    async def sweep(self) -> None:
        """Refresh the inventory, then reconcile every watched key store."""
        started = self._clock.now()
        doubted = (await self._discovery.take()).doubted
        if doubted:
            # Hearsay says that a consumer names another key there, or a list was older than an event's: ARM's word of now counts
            now = self._clock.now()
            asked = Recheck(host="", noticed_at=now, via=Via.SWEEP, consumers=True, subscriptions=tuple(sorted(doubted)))
            await self._ask([""], asked, timedelta())
        sweep_id = str(uuid5(_SWEEPS, started.isoformat()))
        shows = not self._posture_interval or await self._state.claim("posture", started, self._posture_interval - _EARLY)
        swept = await self._sweeper.sweep(started, sweep_id if shows else "")
        await self._state.set_mark(
            "sweep", self._clock.now(), {"sweep": sweep_id, "settled": swept.settled, "asked": swept.asked}
        )
        log.info("sweep", extra={"settled": swept.settled, "asked": swept.asked})

    async def deliver(self) -> None:
        """Send what is recorded and not yet delivered, for as long as it takes."""
        await self._deliverer.deliver_all()

    async def poisoned(self, message: str) -> None:
        """A recheck that kept failing: its key store's bindings become unknown with the reason; the sweep takes it up again."""
        try:
            recheck = Recheck.parse(message)
        except DecodeError as error:
            now = self._clock.now()
            await self._state.dead_letter(
                now, "poison", {"at": now.isoformat(), "error": str(error), "payload": kept_of(message)}
            )
            return
        log.error("a recheck failed for good", extra={"key_store": recheck.host, "subscriptions": recheck.subscriptions})
        if recheck.wide:
            for home in recheck.subscriptions:
                await self._sweeper.ask(home, recheck.noticed_at, recheck.via)
            return
        await self._reconciler.fail(recheck.host, "five deliveries of a recheck failed")

    async def posture(self) -> dict[str, object]:
        """The last verdict of every key binding with its history, and what the last inventory could not read."""
        watchlist = await self._state.watchlist()
        read_at = {each.host: each.read_at for each in await self._state.stores()}
        documents: list[dict[str, object]] = []
        bindings = sorted(watchlist.bindings.values(), key=lambda b: b.id)
        for binding, kept in zip(bindings, await self._state.all_remembered(b.id for b in bindings), strict=True):
            if kept is not None and kept.posture is not None:
                at = stamp(read_at.get(binding.target.uri.host)) or kept.posture.get("read_at")
                since = standing_since(str(kept.posture["verdict"]), kept.history, kept.record.sequence)
                documents.append({**kept.posture, "read_at": at, "since": since, "history": list(kept.history)})
        inventory = await self._state.mark_body("inventory")
        unread = cast("list[object]", (inventory or {}).get("unread") or [])
        return posture_document(documents, unread, self._clock.now(), source="monitor")
