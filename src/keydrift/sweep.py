"""The sweep: every watched key store, read in bulk, by subscription; what differs from the record is read again by itself.

Half of the ways to lose a key raise no event, so everything is reconciled on a timer. Lists of a whole subscription serve all of
its key stores. A key store that is the only one watched in its subscription is cheaper to read by itself, and is asked for as an
event would ask for it, over the queue.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from logging import getLogger
from typing import Protocol

from keydrift.bulk.listing import oldest_first
from keydrift.bulk.lists import Spread
from keydrift.collect import Known
from keydrift.drift import Via
from keydrift.facts import Facts
from keydrift.judgement import Policy
from keydrift.key_uri import KeyUri
from keydrift.model import KeyBinding
from keydrift.ports import RecheckQueue, StateError
from keydrift.recheck import Recheck
from keydrift.reconcile import Absorbed, InBulk, Reconciler, Unmoved
from keydrift.rest import has_calmed
from keydrift.state import State
from keydrift.store_record import StoreRecord, count_is_due, counts_of
from keydrift.watchlist import Watchlist

log = getLogger(__name__)

# A read by itself costs some eight ARM calls: ten at once and three a second leave room in a subscription's 250 and 25 a second
_AT_ONCE, _PER_S = 10, 3.0
# State is written for as many key stores at a time; posture rows are sent in batches
_PARALLEL_STORES, _ROWS_A_BATCH, _KEPT_AT_ONCE = 32, 500, 100
# Each backed-up key's versions are counted once a day: a sweep counts those of a part of the key stores, at least of so many
_COUNTED_AT_LEAST, _SWEEPS_TO_COUNT_ALL = 50, 48

type Progress = Callable[[str, int, int], None]


class AllStores(Protocol):
    """Reads the facts of many key stores at once (`bulk.collector.BulkCollector`)."""

    def collect_all(
        self, bindings: Sequence[KeyBinding], known: Known, *, progress: Progress | None = None, spread: Spread | None = None
    ) -> AsyncGenerator[tuple[str, Facts]]:
        """Yield each key store's host with its facts. Never raises for a failed read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep came to: key stores settled by lists, and those that were asked for by themselves."""

    settled: int = 0
    asked: int = 0


class Sweeper:
    """Reconciles every key store. `key_reads` is how many keys and secrets it may read in each subscription."""

    def __init__(
        self, *, memory: State, queue: RecheckQueue, bulk: AllStores, reconciler: Reconciler, policy: Policy, key_reads: int
    ) -> None:
        self._memory, self._queue, self._bulk = memory, queue, bulk
        self._reconciler, self._policy, self._key_reads = reconciler, policy, key_reads

    async def sweep(self, started: datetime, sweep_id: str) -> Swept:
        """Read and settle, or ask. Raises StateError."""
        watchlist = await self._memory.watchlist()
        shared, alone = _by_company(watchlist)
        asked = [Recheck(host=host, noticed_at=started, via=Via.SWEEP, sweep=sweep_id) for host in alone]
        await asyncio.gather(*(self._queue.put(each.body()) for each in asked))
        settled, differing = await self._settle(watchlist, shared, sweep_id, started=started)
        await self._confirm(watchlist, differing, Via.SWEEP, sweep_id)
        return Swept(settled=settled, asked=len(alone) + len(differing))

    async def look(self, subscription: str, via: Via) -> None:
        """Read all key stores of one subscription, which a change at or near its scope concerns, and ask for those that differ.

        Raises StateError.
        """
        watchlist = await self._memory.watchlist()
        hosts = [host for host in watchlist.hosts if watchlist.home(host) == subscription]
        _, differing = await self._settle(watchlist, hosts, "")
        await self._confirm(watchlist, differing, via, "")

    async def ask(self, subscription: str, noticed_at: datetime, via: Via) -> None:
        """Ask for all key stores of one subscription by themselves, where looking at them together failed. Raises StateError."""
        watchlist = await self._memory.watchlist()
        hosts = [host for host in watchlist.hosts if watchlist.home(host) == subscription]
        await self._confirm(watchlist, dict.fromkeys(hosts, noticed_at), via, "")

    async def _settle(
        self, watchlist: Watchlist, hosts: Sequence[str], sweep_id: str, *, started: datetime | None = None
    ) -> tuple[int, dict[str, datetime]]:
        """Read in bulk; returns how many hosts were settled by it, and those whose facts differ from the record, with the time
        from which a fresh read has to be."""
        if not hosts:
            return 0, {}
        stirred, records = await self._memory.stirred(), {each.host: each for each in await self._memory.stores()}
        stores = {host: records.get(host, StoreRecord(host=host)) for host in hosts}
        bindings = list({b.id: b for host in hosts for b in watchlist.at(host)}.values())
        counting = frozenset[str]() if started is None else _to_count(stores, started)
        known = self._known(records.values(), counting)
        spread = Spread.of(bindings, {u: e for each in records.values() for u, e in each.objects.items()}, self._key_reads)
        turn = _Turn(self._memory, self._reconciler)

        async def settle(host: str, facts: Facts) -> None:
            how = InBulk(counted=host in counting, spread=spread, sweep=sweep_id)
            store, mine, absorbed = stores[host], watchlist.at(host), None
            try:
                unmoved = None if host in stirred else self._reconciler.unmoved(store, mine, facts, how)
                if unmoved is not None:
                    await turn.pass_by(unmoved)
                    return
                absorbed = await self._reconciler.absorb(store, mine, facts, how)
                has_compared = absorbed is not None and not absorbed.overtaken
                if started and has_compared and host in stirred and has_calmed(stirred[host].at, started):
                    await self._memory.calm(host, stirred[host])
            except Exception:
                # A defect that one key store brings out must not hide the others: asked for by itself it fails for all to see
                log.exception("a key store could not be settled by lists", extra={"key_store": host})
            await turn.note(host, facts, absorbed)

        room = asyncio.Semaphore(_PARALLEL_STORES)
        async with asyncio.TaskGroup() as group, aclosing(self._bulk.collect_all(bindings, known, spread=spread)) as found:
            async for host, facts in found:
                if host not in stores:
                    continue  # the other store of a binding that spans two: it is asked for by itself
                await room.acquire()
                group.create_task(settle(host, facts)).add_done_callback(lambda _: room.release())
        await turn.end()
        return turn.settled, turn.differing

    def _known(self, records: Iterable[StoreRecord], counting: frozenset[str]) -> Known:
        all_of = list(records)
        counts: dict[KeyUri, int] = {}
        for each in all_of:
            counts |= counts_of(each)
        return Known(
            # The newest word on an application's object id wins
            object_ids={ref: oid for each in sorted(all_of, key=_read_at) for ref, oid in each.object_ids.items()},
            answered=frozenset(each.host for each in all_of if each.answered),
            declared=self._policy.declared,
            tenant_id=self._policy.tenant_id,
            count_versions=counting,
            version_counts=counts,
        )

    async def _confirm(self, watchlist: Watchlist, differing: Mapping[str, datetime], via: Via, sweep_id: str) -> None:
        """Ask for each by itself, no faster than ARM answers for its subscription: a right that the monitor has lost concerns
        all."""
        for hosts in watchlist.by_home(sorted(differing)).values():
            for position, host in enumerate(hosts):
                recheck = Recheck(host=host, noticed_at=differing[host], via=via, sweep=sweep_id)
                await self._queue.put(recheck.body(), delay_s=max(0, position - _AT_ONCE) / _PER_S)


class _Turn:
    """What has come of a sweep so far."""

    def __init__(self, memory: State, reconciler: Reconciler) -> None:
        self._memory, self._reconciler = memory, reconciler
        self._rows: list[Mapping[str, object]] = []
        self._passed_by: list[Unmoved] = []
        self.settled = 0
        self.differing: dict[str, datetime] = {}

    async def note(self, host: str, facts: Facts, absorbed: Absorbed | None) -> None:
        """Take what came of one key store's facts; None where it has to be read by itself."""
        if absorbed is None:
            self.differing[host] = facts.read_at
            return
        self.settled += 1
        self._rows.extend(absorbed.rows)
        if len(self._rows) >= _ROWS_A_BATCH:
            await self._send()

    async def pass_by(self, unmoved: Unmoved) -> None:
        """Take a key store that stays at rest; many are kept in one write."""
        self._passed_by.append(unmoved)
        if len(self._passed_by) >= _KEPT_AT_ONCE:
            await self._keep()

    async def end(self) -> None:
        """Keep and send what waits."""
        await self._keep()
        await self._send()

    async def _keep(self) -> None:
        batch, self._passed_by = self._passed_by, []
        try:
            overtaken = await self._memory.put_stores([each.record for each in batch])
        except StateError:
            log.exception("key stores at rest could not be kept", extra={"key_stores": len(batch)})
            self.differing |= {each.record.host: each.record.read_at for each in batch if each.record.read_at}
            return
        self.settled += len(batch)
        self._rows += [row for each in batch if each.record.host not in overtaken for row in each.rows]
        if len(self._rows) >= _ROWS_A_BATCH:
            await self._send()

    async def _send(self) -> None:
        batch, self._rows = self._rows, []
        await self._reconciler.send_posture(batch)


def _by_company(watchlist: Watchlist) -> tuple[list[str], list[str]]:
    """The hosts that share their subscription with another watched key store, and those that are alone or in no known place."""
    homes = {host: watchlist.home(host) for host in watchlist.hosts}
    stores = Counter(home for home in homes.values() if home)
    shared = [host for host, home in homes.items() if stores[home] > 1]
    return shared, [host for host, home in homes.items() if stores[home] <= 1]


def _to_count(stores: Mapping[str, StoreRecord], now: datetime) -> frozenset[str]:
    due = {host: each.versions_counted_at for host, each in stores.items() if count_is_due(each, now)}
    return oldest_first(due, max(_COUNTED_AT_LEAST, len(stores) // _SWEEPS_TO_COUNT_ALL))


def _read_at(record: StoreRecord) -> str:
    return record.read_at.isoformat() if record.read_at else ""
