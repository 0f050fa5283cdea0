"""The monitor between fakes: a tenant that is told what to answer, a clock that is moved by hand, a sink that may refuse."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from keydrift.bulk.lists import Spread
from keydrift.collect import Collector, Known
from keydrift.declared import NOTHING_DECLARED, Declarations
from keydrift.delivery import Deliverer
from keydrift.discovery import Discovery, Sources
from keydrift.facts import Facts, Read
from keydrift.inventory import Inventory
from keydrift.judgement import Policy
from keydrift.model import KeyBinding
from keydrift.monitor import Monitor
from keydrift.ports import DeliveryError, EntityStore
from keydrift.reconcile import Reconciler
from keydrift.state import State
from keydrift.sweep import Progress, Sweeper
from support.builders import APP_ID, NOW, SUB, TENANT
from support.entities import MemoryEntities
from support.queues_memory import ManualClock, MemoryQueue


class FakeCollector(Collector):
    """Answers with `facts`, read now; `meanwhile` runs while it reads."""

    def __init__(self, clock: ManualClock, facts: Facts) -> None:
        self.clock, self.facts = clock, facts
        self.reads: list[Known] = []
        self.meanwhile: Callable[[], Any] | None = None

    async def collect(self, bindings: Sequence[KeyBinding], known: Known) -> Facts:
        read_at, facts = self.clock.now(), self.facts
        self.reads.append(known)
        self.clock.advance(1)
        if self.meanwhile is not None:
            await self.meanwhile()
        return replace(facts, read_at=read_at)


class FakeConsumers:
    """Answers with `inventory`."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.seen: Read[tuple[str, ...]] = (SUB.rpartition("/")[2],)
        self.reads = 0
        self.meanwhile: Callable[[], Any] | None = None

    async def subscriptions(self) -> Read[tuple[str, ...]]:
        return self.seen

    async def tenant_of(self, subscription: str) -> Read[str]:
        return TENANT

    async def subscriptions_below(self, management_group: str) -> Read[tuple[str, ...]]:
        return self.seen

    async def read(self, subscriptions: Sequence[str], *, legacy: bool = True) -> Inventory:
        self.reads += 1
        if self.meanwhile is not None:
            await self.meanwhile()
        return self.inventory


class OneByOne:
    """Every key store's facts from the world's collector, one after the other; `asked` are the spreads that it was given."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.asked: list[Spread | None] = []

    async def collect_all(
        self, bindings: Sequence[KeyBinding], known: Known, *, progress: Progress | None = None, spread: Spread | None = None
    ) -> AsyncGenerator[tuple[str, Facts]]:
        self.asked.append(spread)
        for host in sorted({host for each in bindings for host in each.hosts}):
            facts = await self._world.collector.collect(bindings, known)
            needed = {other for each in bindings if host in each.hosts for other in each.hosts}
            yield host, replace(facts, stores={other: found for other, found in facts.stores.items() if other in needed})


class FakeSink:
    """Keeps what it is sent, unless it is `down`."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.down = False

    async def send(self, rows: Sequence[Mapping[str, object]]) -> None:
        if self.down:
            raise DeliveryError("Log Analytics is down")
        self.rows += [dict(row) for row in rows]

    @property
    def kinds(self) -> list[str]:
        return [str(row["Kind"]) for row in self.rows]


class World:
    """One worker's monitor and everything around it; `beside` makes another worker on the same state."""

    def __init__(self, facts: Facts, inventory: Inventory | None = None, entities: EntityStore | None = None) -> None:
        self.clock = ManualClock(NOW)
        self.entities = entities or MemoryEntities()
        self.collector = FakeCollector(self.clock, facts)
        self.consumers = FakeConsumers(inventory or Inventory())
        self.sink, self.posture = FakeSink(), FakeSink()
        self.key_reads = 1000
        self.queue = MemoryQueue(self.clock)
        self._make()

    def _make(self, declarations: Declarations = NOTHING_DECLARED) -> None:
        self.state = State(self.entities)
        policy = Policy(
            backup_app_id=APP_ID, key_expiry=timedelta(days=30), tenant_id=TENANT, declared={}, declarations=declarations
        )
        sinks = dict.fromkeys((each.name for each in self.state.outboxes), self.sink)
        self.deliverer = Deliverer(memory=self.state, sinks=sinks, clock=self.clock)
        self.reconciler = Reconciler(
            memory=self.state,
            queue=self.queue,
            collector=self.collector,
            deliverer=self.deliverer,
            clock=self.clock,
            policy=policy,
            posture=self.posture,
        )
        self.bulk = OneByOne(self)
        self.monitor = Monitor(
            state=self.state,
            queue=self.queue,
            reconciler=self.reconciler,
            deliverer=self.deliverer,
            discovery=Discovery(
                state=self.state,
                sources=Sources(complete=self.consumers),
                reconciler=self.reconciler,
                clock=self.clock,
                backup_app_id=APP_ID,
                declarations=declarations,
            ),
            sweeper=Sweeper(
                memory=self.state,
                queue=self.queue,
                bulk=self.bulk,
                reconciler=self.reconciler,
                policy=policy,
                key_reads=self.key_reads,
            ),
            clock=self.clock,
        )

    def declaring(self, declarations: Declarations) -> Monitor:
        """Its monitor, made anew with a watchlist file."""
        self._make(declarations)
        return self.monitor

    def beside(self) -> World:
        """Another worker: it shares the state, the queue, the clock, the tenant and the sink."""
        other = object.__new__(World)
        other.__dict__.update(self.__dict__)
        other.collector = FakeCollector(self.clock, self.collector.facts)
        other._make()
        return other

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The rechecks in the queue, earliest due first, as parsed."""
        return [json.loads(body) for body in self.queue.bodies]
