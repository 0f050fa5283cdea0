"""Reading at scale: the facts of many key stores from lists of whole subscriptions, each list read once.

The collector is the one that reads a single key store for an event; only what stands behind its ports differs (`bulk_ports`). So
a sweep and an event decide from facts of one shape.

ARM calls, for each subscription that holds a watched key store: one list each of assignments, their schedule instances,
definitions and denies, of the vaults and the Managed HSMs where one is watched, of the soft-deleted ones where one is missing;
one of identities where several are watched; a further call for each further page; one for each key, secret and pinned version;
one for each key store, role definition and identity that its list does not show; where the directory may not be read, two lists
for each principal and subscription.

`read_at` is the start of the oldest read that the facts rest on, lists included.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from keydrift.bulk.lists import Oldest, Spread, SubscriptionLists, Sweep
from keydrift.bulk.lists_as_ports import ListedDirectory, readers_of
from keydrift.collect import Collector, Known, Readers
from keydrift.facts import Facts, Principal, Read
from keydrift.model import AppIdentity, KeyBinding
from keydrift.ports import Clock
from keydrift.watchlist import home_of

# Key stores of one subscription that are read at the same time, and facts that wait to be taken: both bound memory
_PARALLEL_STORES = 8
_READY = 64

type Progress = Callable[[str, int, int], None]
type Found = tuple[str, Facts]


class BulkCollector:
    """Collects facts for the key bindings of many key stores."""

    def __init__(self, readers: Readers, lists: SubscriptionLists, clock: Clock) -> None:
        self._readers, self._lists, self._clock = readers, lists, clock

    async def collect_all(
        self, bindings: Sequence[KeyBinding], known: Known, *, progress: Progress | None = None, spread: Spread | None = None
    ) -> AsyncGenerator[Found]:
        """Yield each key store's host with the facts of every binding that has a key or secret there, in the order of reading.

        `known` covers all of the key stores. Never raises for a failed read. Close the iterator (`contextlib.aclosing`) where it
        is not run to its end.
        """
        sweep = Sweep(self._readers, self._lists, self._clock, bindings, known, spread)
        by_host = {host: mine for host, mine in _by_host(bindings).items() if sweep.can_read(mine)}
        ready: asyncio.Queue[Found | None] = asyncio.Queue()
        room = asyncio.Semaphore(_READY)

        async def keep(found: Found) -> None:
            await room.acquire()
            ready.put_nowait(found)

        work = asyncio.create_task(self._work(sweep, by_host, known, keep))
        work.add_done_callback(lambda _: ready.put_nowait(None))
        done = 0
        try:
            while (found := await ready.get()) is not None:
                room.release()
                yield found
                done += 1
                if progress is not None:
                    progress("reading key stores", done, len(by_host))
            await work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _work(
        self, sweep: Sweep, by_host: Mapping[str, Sequence[KeyBinding]], known: Known, keep: Callable[[Found], Awaitable[None]]
    ) -> None:
        sweep.watch(await self._principals(sweep, by_host, known))
        waiting: defaultdict[str, list[str]] = defaultdict(list)
        for host in sorted(by_host, reverse=True):
            waiting[home_of(host, by_host[host])].append(host)

        async def worker(hosts: list[str]) -> None:
            while hosts:
                host = hosts.pop()
                oldest = Oldest(self._clock.now())
                facts = await Collector(readers_of(sweep, oldest), self._clock).collect(by_host[host], known)
                await keep((host, replace(facts, read_at=min(facts.read_at, oldest.read_at))))

        async with asyncio.TaskGroup() as group:
            for hosts in waiting.values():
                for _ in range(min(_PARALLEL_STORES, len(hosts))):
                    group.create_task(worker(hosts))

    async def _principals(
        self, sweep: Sweep, by_host: Mapping[str, Sequence[KeyBinding]], known: Known
    ) -> dict[str, Read[Principal]]:
        directory = ListedDirectory(sweep, Oldest(self._clock.now()))
        identities = [binding.identity for mine in by_host.values() for binding in mine]
        apps = sorted({i.app_id.lower() for i in identities if isinstance(i, AppIdentity)} - set(known.declared))
        chosen = [each for found in sweep.identities.values() for each in found.values()]
        services = await asyncio.gather(*(directory.service_principal(app) for app in apps))
        users = await asyncio.gather(*(directory.user_assigned_identity(each) for each in chosen))
        return {
            **known.declared,
            **dict(zip(apps, services, strict=True)),
            **{i.key: u for i, u in zip(chosen, users, strict=True)},
        }


def _by_host(bindings: Sequence[KeyBinding]) -> dict[str, list[KeyBinding]]:
    by_host: defaultdict[str, list[KeyBinding]] = defaultdict(list)
    for binding in bindings:
        for host in binding.hosts:
            by_host[host].append(binding)
    return by_host
