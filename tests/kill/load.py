"""A tenant that keeps changing while the processes that watch it are killed, and what was true of it when."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import aiohttp

from keydrift.settings import DELIVER_SCHEDULE, SWEEP_SCHEDULE
from keydrift.tables import ALERTS
from keydrift_local.documents import JsonObject
from keydrift_local.host_queue import HostQueue
from keydrift_local.laptop import HOST_SETTINGS, identity
from keydrift_local.local_azure import LocalAzure
from keydrift_local.tenant_file import parse_tenant
from kill.hosts import Host, started
from simulation.history import ACTORS, Toggle, estate, toggles_of
from simulation.wire import Snapshot
from support.tenants import OTHER_SUBSCRIPTION, SUBSCRIPTION

# Changes that Azure tells of: events alone, without a sweep, have to carry them
_TOLD = frozenset({"role-assignment", "model", "network", "purge-protection", "identity"})
# Alerts that were not accepted go out by the timer; a sweep comes only when it is asked for
_SCHEDULES = {DELIVER_SCHEDULE: "*/2 * * * * *", SWEEP_SCHEDULE: "0 0 0 31 12 *"}
_INGESTION = "POST *dataCollectionRules*"
_RETRY_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where state is: what the processes are told, and the events queue as Event Grid fills it."""

    settings: Mapping[str, str]
    events: HostQueue


class Load:
    """Changes and kills, drawn from a seed. `snapshots` are the tenant as it was from each change on, `counts` what was done."""

    def __init__(self, azure: LocalAzure, storage: Storage, folder: Path, seed: int, http: aiohttp.ClientSession) -> None:
        self.azure, self._storage, self._folder, self._http = azure, storage, folder, http
        self.chance = Random(seed)
        self.snapshots = [Snapshot(datetime.now(UTC), deepcopy(azure.tenant))]
        self.counts: Counter[str] = Counter()
        self._toggles = [each for each in toggles_of(_estate()) if each.name in _TOLD]
        self._gone: dict[str, Toggle] = {}
        self._hosts: list[Host] = []
        self._on_the_way: set[asyncio.Task[None]] = set()

    async def start(self, count: int) -> None:
        """Start processes until so many run."""
        environment = {**self.azure.environment, **identity(self.azure.tenant), **HOST_SETTINGS, **_SCHEDULES}
        environment |= self._storage.settings
        missing = count - len(self._hosts)
        log = self._folder / "hosts.log"
        self._hosts += await asyncio.gather(*(started(environment, log, self._http) for _ in range(missing)))

    async def kill(self) -> None:
        """Kill one of the processes, whatever it is doing."""
        host = self._hosts.pop(self.chance.randrange(len(self._hosts)))
        await host.kill()
        self.counts["kill"] += 1

    async def kill_all(self) -> None:
        """Kill every process that runs."""
        while self._hosts:
            await self.kill()

    async def end(self) -> None:
        """Kill what still runs, and stop delivering."""
        for each in self._on_the_way:
            each.cancel()
        await asyncio.gather(*(each.kill() for each in self._hosts), *self._on_the_way, return_exceptions=True)
        self._hosts.clear()

    async def sweep(self) -> None:
        """Ask one of the processes for a sweep."""
        if self._hosts and await self.chance.choice(self._hosts).run("sweep"):
            self.counts["sweep"] += 1

    def disturb(self) -> None:
        """Let Log Analytics refuse the next few requests."""
        self.azure.fault({"match": _INGESTION, "status": self.chance.choice((0, 429, 503)), "times": self.chance.randrange(1, 8)})
        self.counts["fault of Log Analytics"] += 1

    def change(self) -> None:
        """Take something away or give it back; its events are on their way until a process, or the queue, has taken them."""
        free = [each for each in self._toggles if _address(each) not in self._gone]
        if not free or (self._gone and self.chance.random() < 0.5):
            change = self._gone.pop(self.chance.choice(sorted(self._gone))).back
        else:
            toggle = self.chance.choice(free)
            self._gone[_address(toggle)] = toggle
            change = toggle.away
        since = datetime.now(UTC)
        events = self.azure.change(change, self.chance.choice(ACTORS))
        self.snapshots.append(Snapshot(since, deepcopy(self.azure.tenant)))
        self.counts["change"] += 1
        for event in events:
            task = asyncio.create_task(self._deliver(event, queued=self.chance.random() < 0.3))
            self._on_the_way.add(task)
            task.add_done_callback(self._on_the_way.discard)

    async def _deliver(self, event: JsonObject, *, queued: bool) -> None:
        if queued:
            await self._storage.events.put(json.dumps(event))
            self.counts["event by queue"] += 1
            return
        while not (self._hosts and await self.chance.choice(self._hosts).receive(event)):
            self.counts["event not taken"] += 1
            await asyncio.sleep(_RETRY_S)
        self.counts["event"] += 1

    @property
    def rows(self) -> list[JsonObject]:
        """The alerts that reached Log Analytics, in order."""
        return self.azure.logs.rows(ALERTS)

    async def delivered(self) -> None:
        """Wait until every event was taken."""
        await asyncio.gather(*self._on_the_way)


@asynccontextmanager
async def loading(storage: Storage, folder: Path, seed: int) -> AsyncIterator[Load]:
    """A tenant that is served, and nothing that watches it yet."""
    tenant = parse_tenant(_estate(), "kill")
    timeout = aiohttp.ClientTimeout(total=30)
    with LocalAzure(tenant, clock=lambda: datetime.now(UTC)) as azure:
        async with aiohttp.ClientSession(timeout=timeout) as http:
            load = Load(azure, storage, folder, seed, http)
            try:
                yield load
            finally:
                await load.end()


def _estate() -> dict[str, object]:
    return estate(3, (SUBSCRIPTION, OTHER_SUBSCRIPTION))


def _address(toggle: Toggle) -> str:
    verb = next(iter(toggle.away))
    return str(toggle.away[verb] if verb == "delete" else toggle.away[verb]["id"])
