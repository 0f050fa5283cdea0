"""A warm event, from the POST to the dev host's Event Grid webhook to the row that the local Log Analytics accepts.

The real function app on Microsoft's worker library, the real adapters, a simulated tenant with a set latency; client, host and
simulated Azure share one process. A process runs one function app, so every latency needs a process of its own.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import aiohttp
from floor import TABLE, Floor, FloorSample

from keydrift import bootstrap
from keydrift.monitor import Monitor
from keydrift.settings import DELIVER_SCHEDULE, PULSE_SCHEDULE, SWEEP_SCHEDULE, Settings
from keydrift.tables import ALERTS
from keydrift_local.azure.entra import IDENTITY_PATH
from keydrift_local.demo import STORY
from keydrift_local.devhost import DevHost
from keydrift_local.documents import JsonObject
from keydrift_local.laptop import Laptop, hosting
from keydrift_local.local_azure import LocalAzure
from keydrift_local.log_tables import declare_tables
from keydrift_local.tenant_file import load_tenant

PATIENCE_S = 20.0
WARM_UP = 3
# Nothing but the measured events may run: the timers are put off to the first of January
_NEVER = "0 0 0 1 1 *"
# The pump doubles its pause from 0.1 s to `maxPollingInterval`, 2 s: after this long without a message it is idle
_IDLE_AFTER_S = 3.2
_POLL_S = 2.0
_VAULT = "/subscriptions/10000000-0000-4000-8000-000000000001/resourceGroups/rg-keys/providers/Microsoft.KeyVault/vaults/kv-cvm"
_GROUP_ASSIGNMENT = (
    "/subscriptions/10000000-0000-4000-8000-000000000001/resourceGroups/rg-keys/providers"
    "/Microsoft.Authorization/roleAssignments/40000000-0000-4000-8000-000000000001"
)
_ASSIGNMENT: JsonObject = {
    "id": f"{_VAULT}/providers/Microsoft.Authorization/roleAssignments/40000000-0000-4000-8000-000000000011",
    "properties": {
        "scope": _VAULT,
        "roleDefinitionId": "/subscriptions/10000000-0000-4000-8000-000000000001/providers/Microsoft.Authorization"
        "/roleDefinitions/12338af0-0e69-4776-bea7-57ae8d297424",
        "principalId": "30000000-0000-4000-8000-000000000262",
        "principalType": "ServicePrincipal",
    },
}
_ACTOR = {"objectId": "70000000-0000-4000-8000-000000000001", "upn": "iam-admin@contoso.com", "ip": "203.0.113.7"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure: events that follow one another, and events after a quiet spell."""

    latency_s: float
    following: int
    after_quiet: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSample:
    """Seconds, and the reads that the event cost. `queue_wait` is that part of `total` in which its message lay in the queue."""

    total: float
    queue_wait: float
    reads: int

    @property
    def working(self) -> float:
        """Without the wait for the host's poll."""
        return self.total - self.queue_wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Events measured in one way, and the floor measured in the same way."""

    events: tuple[EventSample, ...]
    floor: tuple[FloorSample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a plan came to."""

    following: Series
    after_quiet: Series


def measure(plan: Plan) -> Measured:
    """Run a plan in a process that has hosted no function app before. Raises RuntimeError where a row fails to come."""
    return asyncio.run(_measure(plan))


async def _measure(plan: Plan) -> Measured:
    tenant = load_tenant(STORY / "tenant.json")
    # One assignment, on the vault itself: so that a change concerns one key store and one key binding
    tenant.apply({"delete": _GROUP_ASSIGNMENT})
    tenant.apply({"put": _ASSIGNMENT})
    # One assignment goes and comes back all the time: here each turn is an event of its own, not flapping
    settings = {SWEEP_SCHEDULE: _NEVER, DELIVER_SCHEDULE: _NEVER, PULSE_SCHEDULE: _NEVER, "KEYDRIFT_FLAP_COUNT": "0"}
    with tempfile.TemporaryDirectory(prefix="keydrift-bench-") as name:
        folder = Path(name)
        async with (
            hosting(tenant, folder / "state.db", port=0, settings=settings, latency_s=plan.latency_s) as (laptop, host),
            Floor(laptop, folder, f"https://management.azure.com{_VAULT}") as floor,
            _Bench(laptop, host, floor) as bench,
        ):
            await bench.first_sweep()
            following = await bench.following(plan.following)
            after_quiet = await bench.after_quiet(plan.after_quiet)
    return Measured(following=following, after_quiet=after_quiet)


class _TimedMonitor:
    """The product's monitor; notes when a recheck was put into the queue and when its message arrived."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self.received = self.recheck_began = 0.0

    async def receive(self, payload: str) -> None:
        await self._monitor.receive(payload)
        self.received = time.perf_counter()

    async def recheck(self, message: str) -> None:
        self.recheck_began = time.perf_counter()
        await self._monitor.recheck(message)

    async def sweep(self) -> None:
        await self._monitor.sweep()

    async def posture(self) -> dict[str, object]:
        return await self._monitor.posture()


class _Bench:
    """Causes events and waits for their rows, one at a time. An async context manager."""

    def __init__(self, laptop: Laptop, host: DevHost, floor: Floor) -> None:
        self._azure, self._floor, self._host = laptop.azure, floor, host
        self._rows: asyncio.Queue[tuple[float, JsonObject]] = asyncio.Queue()
        self._random = random.Random(1)
        self._assigned = True
        self._row: JsonObject = {}
        application = bootstrap.compose(Settings.from_environment(os.environ), os.environ, laptop.clock)
        self._monitor = _TimedMonitor(application.monitor)
        # Closed by `hosting`, as the one that the first trigger would have composed
        bootstrap.install(replace(application, monitor=cast("Monitor", self._monitor)))
        declare_tables(laptop.azure.logs)
        loop = asyncio.get_running_loop()

        def accepted(table: str, rows: Iterable[JsonObject]) -> None:
            at = time.perf_counter()
            for row in rows:
                if table == ALERTS:
                    loop.call_soon_threadsafe(self._rows.put_nowait, (at, row))
                elif table == TABLE:
                    loop.call_soon_threadsafe(floor.accepted, at)

        laptop.azure.logs.on_rows = accepted

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(f"http://127.0.0.1:{self._host.port}", raise_for_status=True)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._http.close()

    async def first_sweep(self) -> None:
        """Have the tenant discovered and judged: every key binding of the story is held at first."""
        async with self._http.post("/admin/functions/sweep", json={"input": ""}):
            pass
        watched, give_up_at = 0, time.perf_counter() + PATIENCE_S
        while time.perf_counter() < give_up_at:
            async with self._http.get("/api/posture") as answer:
                bindings = (await answer.json())["bindings"]
            if bindings and len(bindings) == watched:
                break
            watched = len(bindings)
            await asyncio.sleep(1.0)
        else:
            raise RuntimeError(f"the first sweep did not end within {PATIENCE_S:.0f} s")
        if any(each["verdict"] != "held" for each in bindings):
            raise RuntimeError("a key binding of the story is not held to begin with")

    async def following(self, count: int) -> Series:
        """Events with hardly a pause between them, then half as many floors.

        Never in turn: the waits of two pumps would settle into one rhythm, the one always long and the other always short.
        """
        events = await self._events(count, quiet=False)
        return Series(events=events, floor=await self._floors(max(1, count // 2), quiet=False))

    async def after_quiet(self, count: int) -> Series:
        """Events and floors with long pauses before each. Both at a time, because almost all of the time is pause."""
        events, floor = await asyncio.gather(self._events(count, quiet=True), self._floors(count, quiet=True))
        return Series(events=events, floor=floor)

    async def _events(self, count: int, *, quiet: bool) -> tuple[EventSample, ...]:
        # Without pauses the first ones pay for what was idle before, and the very first ones for tokens and connections
        warm_up = 0 if quiet else WARM_UP
        samples = []
        for _ in range(warm_up + count):
            await self._pause(quiet=quiet)
            samples.append(await self._event())
        return tuple(samples[warm_up:])

    async def _floors(self, count: int, *, quiet: bool) -> tuple[FloorSample, ...]:
        warm_up = 0 if quiet else WARM_UP
        samples = []
        for _ in range(warm_up + count):
            await self._pause(quiet=quiet)
            samples.append(await asyncio.wait_for(self._floor.sample(self._row), PATIENCE_S))
        return tuple(samples[warm_up:])

    async def _pause(self, *, quiet: bool) -> None:
        """Drawn at random, so that no phase of a poll is favoured."""
        await asyncio.sleep(_IDLE_AFTER_S + self._random.uniform(0.0, _POLL_S) if quiet else self._random.uniform(0.0, 0.2))

    async def _event(self) -> EventSample:
        change: JsonObject = {"delete": _ASSIGNMENT["id"]} if self._assigned else {"put": _ASSIGNMENT}
        events = self._azure.change(change, _ACTOR)
        kind = "opened" if self._assigned else "resolved"
        self._assigned = not self._assigned
        self._azure.clear_requests()
        started = time.perf_counter()
        headers = {"aeg-event-type": "Notification"}
        async with self._http.post(
            "/runtime/webhooks/EventGrid", params={"functionName": "receive"}, json=events, headers=headers
        ):
            pass
        try:
            accepted, self._row = await asyncio.wait_for(self._rows.get(), PATIENCE_S)
        except TimeoutError:
            raise RuntimeError(f"no alert within {PATIENCE_S:.0f} s of the event") from None
        if len(events) != 1 or self._row["Kind"] != kind or not self._rows.empty():
            raise RuntimeError(f"expected one event and one row `{kind}`, got {len(events)} and `{self._row['Kind']}`")
        reads = _reads(self._azure)
        queue_wait = max(self._monitor.recheck_began - self._monitor.received, 0.0)
        return EventSample(total=accepted - started, queue_wait=queue_wait, reads=reads)


def _reads(azure: LocalAzure) -> int:
    """Reads of ARM, Graph and key stores since the requests were cleared, without tokens and uploads."""
    return sum(1 for each in tuple(azure.requests) if each.method == "GET" and each.path != IDENTITY_PATH)
