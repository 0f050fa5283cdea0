"""Kill the function app again and again while its tenant changes, then ask what reached Log Analytics (`make kill KILLS=…`)."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from keydrift.adapters.sqlite_entities import SqliteEntities
from keydrift.adapters.sqlite_queue import SqliteQueue
from keydrift.bootstrap import SystemClock
from keydrift.monitor import ACTOR_GRACE
from keydrift.ports import EntityStore
from keydrift.reconcile import SECOND_READ_AFTER
from keydrift.restraint import SETTLE_AFTER
from keydrift.settings import DEFAULT_EVENTS_QUEUE
from keydrift.state import State
from keydrift_local.host_queue import QueueSettings
from keydrift_local.laptop import APP
from keydrift_local.local_azure import LocalAzure
from keydrift_local.tenant_file import parse_tenant
from kill.host import LEASE_S
from kill.load import Load, Storage, loading
from simulation import invariants
from simulation.invariants import Judge, Row, View
from simulation.wire import Snapshot, Wire, WorldClock
from simulation.world import World

_QUEUES = QueueSettings.from_host_json(json.loads((APP / "host.json").read_text(encoding="utf-8")))
# The longest that a change may need to be told by its event once nothing is killed any more: as many leases and waits as a
# message has tries, the wait for an actor, that of one in a crowd, and the second read of what was unreadable at first. No reread
# hides a forgotten event (`kill.host`)
CALM_S = (
    _QUEUES.max_dequeue_count * (LEASE_S + _QUEUES.visibility_timeout_s)
    + (ACTOR_GRACE + SETTLE_AFTER + SECOND_READ_AFTER).total_seconds()
)
_CALM_EVERY = 20
_LOOK_EVERY_S = 0.25
# Between the process's clock and this one's, and between a change and the note of it
_SLACK = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How often to kill, how many processes run beside each other, and the seed of everything."""

    kills: int
    hosts: int
    seed: int


class Aftermath(World):
    """What is left to look at: the tenant as it was, moment by moment, and the rows that arrived."""

    def __init__(self, snapshots: list[Snapshot], rows: Sequence[Row]) -> None:
        self.azure = LocalAzure(parse_tenant({"tenantId": "any"}, "kill"))
        self.azure.tenant = snapshots[-1].tenant
        self.clock = WorldClock(datetime.now(UTC))
        self.wire = Wire(self.azure, self.clock, Random(0))
        self.wire.snapshots = snapshots
        self.wire.rows = [(self.clock.now(), invariants.ALERTS, dict(each)) for each in rows]
        self.full_sweeps = []


class Witness(Judge):
    """Knows what was true when, to the second: nothing lags here, but a change may fall between two reads of one recheck."""

    async def views(self, binding: str, row: Row) -> list[View]:
        """What an alert may have seen: each fact as it was at some moment from the read on, consumers since any list before."""
        read, told = (datetime.fromisoformat(row[name]) for name in ("ReadAt", "DetectedAt"))
        numbers = self.between(read - _SLACK, told)
        listed = await self.listing(binding, self.world.wire.snapshots[0].since, told)
        return [View(facts=n, listed=each, grants=grants) for n in numbers for each in listed for grants in numbers]


async def survive(plan: Plan, storage: Storage, entities: EntityStore, folder: Path) -> tuple[list[str], Counter[str]]:
    """Play a plan to its end; what is wrong, and what was done."""
    wrong: list[str] = []
    async with loading(storage, folder, plan.seed) as load:
        await load.start(plan.hosts)
        await load.sweep()
        await _watched(entities)
        for number in range(1, plan.kills + 1):
            await _round(load, plan)
            if number % _CALM_EVERY == 0 or number == plan.kills:
                wrong += await _calm(load, plan, entities)
        await load.end()
        rows = load.rows
        judge = Witness(Aftermath(load.snapshots, rows))
        wrong += await _judged(rows, judge)
        wrong += await _waiting(rows, entities)
        load.counts["rows"] = len(rows)
        load.counts["alerts"] = len({row["AlertId"] for row in rows})
        return wrong, load.counts


async def _watched(entities: EntityStore) -> None:
    """Wait until the first sweep has found what there is to watch."""
    ends = time.monotonic() + CALM_S
    while await State(entities).mark("sweep") is None:
        assert time.monotonic() < ends, "the first sweep never ended"
        await asyncio.sleep(_LOOK_EVERY_S)


async def _round(load: Load, plan: Plan) -> None:
    """Change something while everything runs, kill one process at some moment of that, and start another."""
    await load.start(plan.hosts)
    if load.chance.random() < 0.2:
        load.disturb()
    if load.chance.random() < 0.15:
        await load.sweep()
    for _ in range(load.chance.randrange(1, 5)):
        load.change()
        await asyncio.sleep(load.chance.choice((0.0, 0.02, 0.1, 0.3)))
    await asyncio.sleep(load.chance.random() * 0.6)
    await load.kill()


async def _calm(load: Load, plan: Plan, entities: EntityStore) -> list[str]:
    """Nothing is killed for a while: by events alone, what was told last has to become what is true, and everything arrives. Who
    runs just now is killed before, since it may leave Log Analytics alone for minutes (`delivery.PAUSES`).

    A message whose every try was killed is told as `recheck-failed`, and the next sweep takes it up (architecture, "nothing is
    dropped"): only then there is one.
    """
    await load.kill_all()
    load.azure.fault(None)
    await load.start(plan.hosts)
    ends = time.monotonic() + CALM_S
    await asyncio.wait_for(load.delivered(), CALM_S)
    judge = Witness(Aftermath(load.snapshots, []))
    swept = False
    while wrong := [*await _unsettled(load.rows, judge), *await _waiting(load.rows, entities)]:
        if not swept and _failed_for_good(load.rows):
            swept = True
            load.counts["recheck failed for good"] += 1
            await load.sweep()
        if time.monotonic() > ends:
            return [f"after {load.counts['kill']} kills, {each}" for each in wrong]
        await asyncio.sleep(_LOOK_EVERY_S)
    load.counts["calm"] += 1
    return []


async def _waiting(rows: Sequence[Row], entities: EntityStore) -> list[str]:
    """The alerts that did not arrive. What did, and was not marked as delivered before a kill, would be sent once more."""
    arrived = {row["AlertId"] for row in rows}
    waiting = [each for each in await State(entities).undelivered() if each.row["AlertId"] not in arrived]
    return [f"an alert was never delivered: {each.row_key}" for each in waiting]


def _failed_for_good(rows: Sequence[Row]) -> bool:
    told, _ = invariants.told_of(rows)
    return any("recheck-failed" in each.rows[-1]["FindingCodes"] for each in told)


async def _unsettled(rows: Sequence[Row], judge: Judge) -> list[str]:
    told, _ = invariants.told_of(rows)
    return [problem async for problem in invariants.settled(told, judge.world, judge)]


async def _judged(rows: Sequence[Row], judge: Judge) -> list[str]:
    """What is wrong with the rows that arrived: the same that is asked of simulated worlds (simulation.invariants)."""
    told, wrong = invariants.told_of(rows)
    for each in told:
        wrong += list(invariants.in_order(each))
        wrong += [problem async for problem in invariants.true_then(each, judge)]
    return wrong


@asynccontextmanager
async def on_sqlite(folder: Path) -> AsyncIterator[tuple[Storage, EntityStore]]:
    """State in one file."""
    path = folder / "state.db"
    entities, queue = SqliteEntities(path), SqliteQueue(path, DEFAULT_EVENTS_QUEUE, SystemClock())
    try:
        yield Storage(settings={"KEYDRIFT_STATE": f"sqlite:{path}"}, events=queue), entities
    finally:
        await entities.close()
        await queue.close()


async def _run(plan: Plan) -> tuple[list[str], Counter[str]]:
    with tempfile.TemporaryDirectory(prefix="keydrift-kill-") as name:
        async with on_sqlite(Path(name)) as (storage, entities):
            return await survive(plan, storage, entities, Path(name))


def main() -> int:
    """Parse the arguments, play, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--hosts", type=int, default=2, help="processes on one state")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    began = time.monotonic()
    wrong, counts = asyncio.run(_run(Plan(kills=arguments.kills, hosts=arguments.hosts, seed=arguments.seed)))
    for name, count in sorted(counts.items()):
        print(f"{count:7,}  {name}")
    print(f"{counts['kill']} kills in {time.monotonic() - began:.0f} s; {len(wrong)} violations", *wrong, sep="\n  ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
