"""A simulated world: the whole monitor, as composed for Azure, on a store, a queue, a clock and a tenant that a history moves.

Only what the platform does is made here: Event Grid's delivery, the queue's visibility and poison rules, timers, workers that
crash.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import isodate

from keydrift import bootstrap
from keydrift.discovery import COMPLETE_INTERVAL
from keydrift.ports import Delete, Entity, StateConflictError, Write
from keydrift.settings import Settings
from keydrift_local.azure.hosts import DCR_HOST
from keydrift_local.azure.logs import DCR_RULE_ID
from keydrift_local.local_azure import LocalAzure
from keydrift_local.tenant_file import parse_tenant
from simulation.history import History, Step
from simulation.wire import Wire, WorldClock, wired
from support.entities import MemoryEntities
from support.queues_memory import MemoryQueue

_SWEEP_EVERY, _DELIVER_EVERY = timedelta(minutes=15), timedelta(minutes=2)
# host.json: a failed message is visible again after ten seconds; that of a crashed worker when its lease ends
_RETRY_S, _LEASE_S, _MOST_DEQUEUES = 10, 60, 5
_REDELIVERY_S = (10, 30, 60, 300, 600)
_ENDLESS = 20_000
# Every other change of a tenant is one of a consumer
_NO_CONSUMERS = ("/microsoft.keyvault/", "/microsoft.authorization/", "directory/")

ENVIRONMENT = {
    "KEYDRIFT_DCR_ENDPOINT": f"https://{DCR_HOST['AzureCloud']}",
    "KEYDRIFT_DCR_RULE_ID": DCR_RULE_ID,
}


class Crash(BaseException):
    """The worker is gone, at this very step; nothing of it runs any more."""


class Doom:
    """When the next crash comes: after so many steps of any worker, before or after the step has taken effect."""

    def __init__(self, counts: Counter[str]) -> None:
        self._left: int | None = None
        self._applied = False
        self._counts = counts

    def set(self, after: int, *, applied: bool) -> None:
        self._left, self._applied = after, applied

    def clear(self) -> None:
        self._left = None

    def strikes(self, step: str, *, applied: bool) -> bool:
        """Count a step; whether the crash comes now."""
        if self._left is None or applied != self._applied:
            return False
        self._left -= 1
        if self._left > 0:
            return False
        self._left = None
        self._counts[f"crash {'after' if applied else 'before'} {step}"] += 1
        return True


class Way:
    """One worker's way to the store and the queue: it may crash on the way, and after that nothing gets through."""

    def __init__(self, world: World) -> None:
        self._world, self.dead = world, False

    async def through(self, step: str) -> None:
        """Before a step takes effect."""
        for _ in range(self._world.chance.randrange(3)):
            await asyncio.sleep(0)
        if self.dead or self._world.doom.strikes(step, applied=False):
            self.dead = True
            raise Crash(step)

    def done(self, step: str) -> None:
        """After it has taken effect."""
        if self._world.doom.strikes(step, applied=True):
            self.dead = True
            raise Crash(step)


class WorkerEntities:
    """A worker's state store."""

    def __init__(self, world: World, way: Way) -> None:
        self._world, self._way = world, way

    async def get(self, partition: str, row: str) -> Entity | None:
        await self._way.through("read of state")
        return await self._world.entities.get(partition, row)

    async def query(self, partition: str, row_prefix: str = "") -> Sequence[Entity]:
        await self._way.through("read of state")
        return await self._world.entities.query(partition, row_prefix)

    async def transact(self, operations: Sequence[Write | Delete]) -> Sequence[Entity]:
        step = f"write of {operations[0].partition.partition('/')[0]}"
        await self._way.through(step)
        # Only what is guarded by a version can come too late
        if (
            any(each.entity.etag not in (None, "*") for each in operations if isinstance(each, Write))
            and self._world.conflict_is_due()
        ):
            raise StateConflictError("another worker was faster")
        written = await self._world.entities.transact(operations)
        self._way.done(step)
        return written

    async def close(self) -> None:
        """The store stays."""


class WorkerQueue:
    """A worker's queue."""

    def __init__(self, world: World, way: Way) -> None:
        self._world, self._way = world, way

    async def put(self, body: str, *, delay_s: float = 0.0) -> None:
        await self._way.through("put of a message")
        await self._world.queue.put(body, delay_s=delay_s)
        self._way.done("put of a message")

    async def try_out(self) -> None:
        """Nobody asks for this here."""

    async def close(self) -> None:
        """The queue stays."""


@dataclass(slots=True)
class Worker:
    """One process of the function app."""

    application: bootstrap.Application
    way: Way


@dataclass(slots=True, kw_only=True)
class _Delivery:
    body: str
    due: datetime
    attempt: int = 0


class World:
    """Plays a history. `rows` are what Log Analytics accepted; `counts` what came about."""

    def __init__(self, history: History, azure: LocalAzure) -> None:
        self.history, self.azure = history, azure
        self.chance = Random(history.seed ^ 0x5EED)
        self.counts: Counter[str] = Counter()
        tenant = parse_tenant(history.tenant, "simulation")
        assert tenant.now is not None
        self.clock = WorldClock(tenant.now)
        self.skew = timedelta()
        azure.load(tenant, clock=lambda: self.clock.now() + self.skew)
        self.wire = Wire(azure, self.clock, self.chance)
        self.entities, self.queue = MemoryEntities(), MemoryQueue(self.clock)
        self.doom = Doom(self.counts)
        self._conflicts_left: int | None = None
        self._consumers_untold = False
        self._deliveries: list[_Delivery] = []
        self._sweep_due = self.clock.now() + _SWEEP_EVERY
        self._deliver_due = self.clock.now() + _DELIVER_EVERY
        self.full_sweeps: list[tuple[datetime, datetime]] = []
        self._workers = [self._hired() for _ in range(history.workers)]

    def conflict_is_due(self) -> bool:
        """Whether a write is to fail as if another worker had been faster."""
        if self._conflicts_left is None:
            return False
        self._conflicts_left -= 1
        if self._conflicts_left > 0:
            return False
        self._conflicts_left = None
        self.counts["ETag conflict"] += 1
        return True

    def _hired(self) -> Worker:
        way = Way(self)
        environment = {**ENVIRONMENT, "KEYDRIFT_TENANT_ID": self.azure.tenant.tenant_id, **self.history.settings}

        def storage(*_: object) -> tuple[WorkerEntities, WorkerQueue]:
            return WorkerEntities(self, way), WorkerQueue(self, way)

        with wired(self.wire, storage):
            return Worker(bootstrap.compose(Settings.from_environment(environment), environment, self.clock), way)

    # --- steps

    async def play(self, step: Step) -> None:
        """Play one step, and everything that is due then."""
        end: datetime | None = None
        match step:
            case {"change": change}:
                self._change(step, change)
            case {"advance": by}:
                end = self.clock.now() + isodate.parse_duration(by)
            case {"fault": fault}:
                self.counts["fault" if fault else "faults cleared"] += 1
                self.azure.fault(fault)
                self.wire.cut = [] if fault is None else self.wire.cut
            case {"sweep": True}:
                await self._sweep()
            case {"crash": {"after": after, "applied": applied}}:
                self.doom.set(after, applied=applied)
            case {"lag": seconds}:
                self.wire.lag = timedelta(seconds=seconds)
            case {"event": event}:
                self.counts["undecodable event"] += 1
                self._deliveries.append(_Delivery(body=json.dumps(event), due=self.clock.now()))
            case {"cut": path}:
                self.wire.cut.append(path)
            case {"conflict": after}:
                self._conflicts_left = after
            case {"skew": seconds}:
                self.skew = timedelta(seconds=seconds)
                self.counts["clock skew"] += bool(seconds)
            case _:
                raise AssertionError(f"no step: {step}")
        await self.run_until(end)

    def _change(self, step: Step, change: Mapping[str, object]) -> None:
        events = self.azure.change(change, step.get("actor"), silent=step.get("silent", False))
        self.wire.changed()
        self.counts["change"] += 1
        plans = step.get("deliver", [{"after": 0, "copies": 1}])
        told = [plans[number % len(plans)]["copies"] > 0 for number, _ in enumerate(events)]
        self._consumers_untold |= not (told and all(told)) and not any(each in str(change).lower() for each in _NO_CONSUMERS)
        for number, event in enumerate(events):
            plan = plans[number % len(plans)]
            self.counts["event dropped" if plan["copies"] == 0 else "event duplicated" if plan["copies"] > 1 else "event"] += 1
            self.counts["event delayed"] += bool(plan["after"])
            due = self.clock.now() + timedelta(seconds=plan["after"])
            self._deliveries += [_Delivery(body=json.dumps(event), due=due) for _ in range(plan["copies"])]

    async def settle(self) -> None:
        """Everything works again; after the longest waits of any retry, sweeps with time for what they ask.

        Where keys take turns, one more for each turn. Where Resource Graph finds the consumers and no event told of a change of
        one, the sweep after a day that lists them by ARM: only that proves one gone (docs/settings.md).
        """
        self.azure.fault(None)
        self.wire.cut, self.wire.lag, self.skew = [], timedelta(), timedelta()
        self.doom.clear()
        self._conflicts_left = None
        for minutes in (16, 16, *((16, 16) if self.history.settings else ())):
            await self.run_until(self.clock.now() + timedelta(minutes=minutes))
        if self._consumers_untold and "KEYDRIFT_INVENTORY" in self.history.settings:
            self.clock.move_to(self.clock.now() + COMPLETE_INTERVAL)
            await self.run_until(self.clock.now() + timedelta(minutes=16))

    # --- what the platform does

    async def run_until(self, end: datetime | None) -> None:
        """Run what is due: now, where `end` is None; else on the way there."""
        for rounds in range(_ENDLESS):
            due = await self._next_due()
            if due > (end or self.clock.now()):
                break
            assert rounds < _ENDLESS - 1, "the world never comes to rest"
            self.clock.move_to(due)
            await self._run_due()
        if end is not None:
            self.clock.move_to(end)

    async def _next_due(self) -> datetime:
        queued = await self.queue.next_due()
        times = [self._sweep_due, self._deliver_due, *(each.due for each in self._deliveries)]
        return min([*times, queued] if queued else times)

    async def _run_due(self) -> None:
        now = self.clock.now()
        for each in [each for each in self._deliveries if each.due <= now]:
            self._deliveries.remove(each)
            if not await self._on(self._worker(), "receive", each.body) and each.attempt < len(_REDELIVERY_S):
                later = self.clock.now() + timedelta(seconds=_REDELIVERY_S[each.attempt])
                self._deliveries.append(_Delivery(body=each.body, due=later, attempt=each.attempt + 1))
        if self._sweep_due <= now:
            await self._sweep()
        if self._deliver_due <= now:
            self._deliver_due = self.clock.now() + _DELIVER_EVERY
            await self._on(self._worker(), "deliver")
        await self._take_messages()

    async def _sweep(self) -> None:
        began = self.clock.now()
        self._sweep_due = began + _SWEEP_EVERY
        disturbed = self.disturbed
        if await self._on(self._worker(), "sweep") and not disturbed:
            self.full_sweeps.append((began, self.clock.now()))

    @property
    def disturbed(self) -> bool:
        """Whether anything is wrong with what is read just now."""
        return bool(self.wire.cut or self.wire.lag or self.azure._faults.active)

    async def _take_messages(self) -> None:
        messages = await self.queue.receive(len(self._workers), _LEASE_S)
        outcomes = await asyncio.gather(
            *(self._on(self._workers[number], "recheck", each.body) for number, each in enumerate(messages))
        )
        for message, succeeded in zip(messages, outcomes, strict=True):
            if succeeded:
                await self.queue.delete(message)
            elif succeeded is None:
                continue  # the worker crashed: its lease has to end first
            elif message.dequeue_count < _MOST_DEQUEUES:
                await self.queue.release(message, _RETRY_S)
            else:
                self.counts["poisoned"] += 1
                await self._on(self._worker(), "poisoned", message.body)
                await self.queue.delete(message)

    def _worker(self) -> Worker:
        return self.chance.choice(self._workers)

    async def _on(self, worker: Worker, method: str, *arguments: str) -> bool | None:
        """Let a worker do something; False where it failed, None where it crashed (another one is hired)."""
        try:
            await getattr(worker.application.monitor, method)(*arguments)
        except BaseException as error:
            if worker.way.dead:  # a crash among tasks comes as a group of them
                self._workers[self._workers.index(worker)] = self._hired()
                return None
            if not isinstance(error, Exception):
                raise
            self.counts[f"{method} failed: {type(error).__name__}"] += 1
            return False
        return True
