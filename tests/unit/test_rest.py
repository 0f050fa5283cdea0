"""Rest between fakes: what a sweep does not read, and that no crash and no other worker leaves a key store wrongly at rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from keydrift.drift import Via
from keydrift.model import KeyBinding, Scenario, State
from keydrift.ports import Delete, Entity, StateConflictError, StateError, Write
from keydrift.recheck import Recheck
from keydrift.reconcile import InBulk
from support.builders import GROUP, RBAC, binding, granting, secret_at
from support.entities import MemoryEntities
from support.many_vaults import ACTIONS, at, facts_of
from support.world import World

HOST = "kv1.vault.azure.net"
MINUTE = 60.0
# The mark that the key store is stirred, that of an alert, the record with the alert, the key store; what was delivered, its mark
WRITES_OF_A_LOSS = 6


class DiedError(Exception):
    """The worker is gone."""


class Entities(MemoryEntities):
    """Counts what is asked for, by partition; `before` runs before each write."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.before: Callable[[str], Awaitable[None]] | None = None

    async def get(self, partition: str, row: str) -> Entity | None:
        self.asked[f"get {partition.partition('/')[0]}"] += 1
        return await super().get(partition, row)

    async def transact(self, operations: Sequence[Write | Delete]) -> Sequence[Entity]:
        kind = operations[0].partition.partition("/")[0]
        self.asked[f"write {kind}"] += 1
        if self.before is not None:
            await self.before(kind)
        return await super().transact(operations)


MANY = [at(number) for number in range(4)]
HELD, LOST = facts_of(MANY, ACTIONS), facts_of(MANY, ACTIONS[:1])


async def at_rest(bindings: Sequence[KeyBinding] = MANY) -> tuple[World, Entities]:
    """A world whose key stores have been swept once."""
    entities = Entities()
    world = World(HELD, entities=entities)
    world.consumers.seen = ()
    await world.state.watch(bindings)
    await world.monitor.sweep()
    world.clock.advance(60 * MINUTE)
    entities.asked.clear()
    return world, entities


async def settle(world: World) -> None:
    """Sweeps, and what they ask for, until a day has passed."""
    for _ in range(25):
        await world.monitor.sweep()
        while messages := await world.queue.receive(16, 600):
            for each in messages:
                await world.monitor.recheck(each.body)
                await world.queue.delete(each)
        world.clock.advance(60 * MINUTE)
    await world.monitor.deliver()


async def standing(world: World, of: KeyBinding = MANY[1]) -> State:
    remembered = await world.state.remembered(of.id)
    assert remembered is not None
    return remembered.record.standing.state if remembered.record.standing else State.HELD


async def test_a_sweep_of_key_stores_at_rest_reads_no_record_and_writes_once() -> None:
    """A sweep that finds nothing new reads no binding's record and keeps all key stores in one write; its posture rows are those
    of a sweep that compares everything."""
    world, entities = await at_rest()
    began, compared, world.posture.rows[:] = world.clock.now(), list(world.posture.rows), []
    await world.monitor.sweep()
    assert (entities.asked["get binding"], entities.asked["get stores"], entities.asked["write stores"]) == (0, 0, 1)
    of_a_sweep = {"TimeGenerated", "SweepId", "ReadAt"}
    plain = [[{k: v for k, v in row.items() if k not in of_a_sweep} for row in rows] for rows in (world.posture.rows, compared)]
    assert plain[0] == plain[1] != []
    assert all(each.read_at is not None and each.read_at >= began for each in await world.state.stores())


@pytest.mark.parametrize("crash_at", range(1, 8))
async def test_no_crash_leaves_a_loss_unresolved(crash_at: int) -> None:
    """A worker that dies at any of its writes while it records a loss: when the key is usable again, that is found, by the sweep
    alone."""
    world, entities = await at_rest()
    writes = 0

    async def die(_: str) -> None:
        nonlocal writes
        writes += 1
        if writes >= crash_at:
            raise DiedError

    entities.before = die
    world.collector.facts = LOST
    recheck = Recheck(host=HOST, noticed_at=world.clock.now(), via=Via.EVENT)
    if crash_at <= WRITES_OF_A_LOSS:
        with pytest.raises(DiedError):
            await world.reconciler.reconcile(recheck)
    else:
        await world.reconciler.reconcile(recheck)
    assert (writes >= crash_at) == (crash_at <= WRITES_OF_A_LOSS)
    entities.before = None
    world.queue._kept.clear()
    world.collector.facts = HELD
    await settle(world)
    assert await standing(world) is State.HELD
    assert (await world.state.stirred(), (await world.state.store(HOST)).at_rest is None) == ({}, False)
    # What was sent and not yet crossed off is sent again, under the same id
    assert list({row["AlertId"]: row["Kind"] for row in world.sink.rows}.values()) in ([], ["opened", "resolved"])


async def test_what_another_worker_is_about_to_record_is_not_slept_over() -> None:
    """A sweep that finds a key store held between another worker's stirring and its writing does not let it rest: the loss that
    is written then, by a worker that dies right after, is found to have ended by the next sweep."""
    world, entities = await at_rest()
    swept = False

    async def sweep_now(kind: str) -> None:
        nonlocal swept
        if kind == "binding" and not swept:
            swept = True
            world.clock.advance(MINUTE)
            await world.beside().monitor.sweep()

    worker = world.beside()
    worker.collector.facts = LOST
    entities.before = sweep_now
    with pytest.raises(StateConflictError):
        await worker.reconciler.reconcile(Recheck(host=HOST, noticed_at=world.clock.now(), via=Via.EVENT))
    entities.before = None
    world.queue._kept.clear()
    assert swept
    assert await standing(world) is State.LOST
    await settle(world)
    assert await standing(world) is State.HELD


async def test_a_key_store_rests_again_when_its_writer_has_ended() -> None:
    """What was stirred is compared record by record until half an hour later; from then on it is passed by again."""
    world, entities = await at_rest()
    await world.state.stir(HOST, world.clock.now())
    reads = []
    for minutes in (0, 29, 1, 1):
        world.clock.advance(minutes * MINUTE)
        entities.asked.clear()
        await world.monitor.sweep()
        reads.append((entities.asked["get binding"], len(await world.state.stirred())))
        world.clock.advance(-4)  # the fake collector takes a second for each key store
    assert reads == [(1, 1), (1, 1), (1, 0), (0, 0)]


async def test_whoever_retires_a_binding_stirs_its_key_store() -> None:
    """Resolving what nothing needs any more changes a record too, and says so first."""
    world, _ = await at_rest()
    await world.monitor.poisoned(Recheck(host=HOST, noticed_at=world.clock.now(), via=Via.EVENT).body())
    await world.state.calm(HOST, (await world.state.stirred())[HOST])
    await world.reconciler.retire([MANY[1]])
    assert world.sink.kinds == ["opened", "resolved"]
    assert set(await world.state.stirred()) == {HOST}


async def test_a_sweep_that_was_overtaken_has_compared_nothing() -> None:
    """Where another worker recorded a stirred key store during the sweep, it stays stirred for the next one."""
    world, _ = await at_rest()
    await world.state.stir(HOST, world.clock.now())
    world.clock.advance(31 * MINUTE)

    async def another_worker_records() -> None:
        world.collector.meanwhile = None
        await world.state.put_store(replace(await world.state.store(HOST), answered=True))

    world.collector.meanwhile = another_worker_records
    await world.monitor.sweep()
    assert set(await world.state.stirred()) == {HOST}
    await world.monitor.sweep()
    assert await world.state.stirred() == {}


async def test_a_mark_that_cannot_be_removed_ends_no_sweep() -> None:
    """Where the state store fails there, the key store stays stirred, and all others are swept."""
    world, entities = await at_rest()
    await world.state.stir(HOST, world.clock.now())
    world.clock.advance(31 * MINUTE)
    began = world.clock.now()

    async def fail(kind: str) -> None:
        if kind == "stirred":
            raise StateError("the state store is away", transient=True)

    entities.before = fail
    await world.monitor.sweep()
    assert all(each.read_at is not None and each.read_at >= began for each in await world.state.stores())
    assert set(await world.state.stirred()) == {HOST}


async def test_a_recheck_that_failed_for_good_ends_the_rest() -> None:
    """`recheck-failed` is resolved by the sweep that reads the key store, though its verdicts are what they were at rest."""
    world, _ = await at_rest()
    await world.monitor.poisoned(Recheck(host=HOST, noticed_at=world.clock.now(), via=Via.EVENT).body())
    assert await standing(world) is State.UNKNOWN
    await settle(world)
    assert await standing(world) is State.HELD
    assert world.sink.kinds == ["opened", "resolved"]


async def test_who_was_faster_keeps_its_record_and_the_others_are_kept() -> None:
    """Where another worker records one of the key stores at rest during the sweep, the others are kept all the same."""
    world, _ = await at_rest()
    before = {each.host: each for each in await world.state.stores()}

    async def another_worker_records() -> None:
        world.collector.meanwhile = None
        record = await world.state.store(HOST)
        await world.state.put_store(replace(record, answered=True))

    world.posture.rows.clear()
    world.collector.meanwhile = another_worker_records
    await world.monitor.sweep()
    after = {each.host: each for each in await world.state.stores()}
    assert {host for host, each in after.items() if each.read_at == before[host].read_at} == {HOST}
    assert {row["BindingId"] for row in world.posture.rows} == {each.id for each in MANY} - {MANY[1].id}


async def test_key_stores_at_rest_that_cannot_be_kept_are_asked_for() -> None:
    """Where the state store fails at that write, each of its key stores is read by itself, where it can fail for all to see."""
    world, entities = await at_rest()

    async def fail(kind: str) -> None:
        if kind == "stores":
            raise StateError("the state store is away", transient=True)

    entities.before = fail
    await world.monitor.sweep()
    assert {each["host"] for each in world.asked} == {each.target.uri.host for each in MANY}


async def test_a_binding_of_two_key_stores_keeps_both_from_resting() -> None:
    """What is recorded of it comes of either key store, so neither one's digest speaks for it."""
    elsewhere = secret_at("kv2.vault.azure.net", store=f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv2")
    two = binding(Scenario.ADE_KEK, secrets=(elsewhere,))
    of_secrets = [f"Microsoft.KeyVault/vaults/secrets/{word}/action" for word in ("getSecret", "readMetadata", "backup")]
    words = ["Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/keys/backup/action", *of_secrets]
    world = World(granting(two, RBAC, words))
    world.consumers.seen = ()
    await world.state.watch([two])
    for _ in range(2):
        await world.monitor.sweep()
        assert await standing(world, two) is State.HELD
        assert [each.at_rest for each in await world.state.stores()] == [None, None]
        world.clock.advance(60 * MINUTE)


async def test_a_recheck_lets_a_key_store_rest() -> None:
    """A key store that is read by itself and is held rests from then on; from facts older than that it is not told at rest."""
    world, _ = await at_rest()
    before = await world.state.store(HOST)
    older = replace(world.collector.facts, read_at=world.clock.now())
    world.clock.advance(1)
    await world.state.watch([replace(MANY[1], id="b9a10d00-c103-5bf1-9dc1-3267af8cfaf6")])
    await world.reconciler.reconcile(Recheck(host=HOST, noticed_at=world.clock.now(), via=Via.EVENT))
    record, bindings = await world.state.store(HOST), (await world.state.watchlist()).at(HOST)
    assert record.at_rest not in {None, before.at_rest}
    how = InBulk(counted=False, spread=None, sweep="")
    assert world.reconciler.unmoved(record, bindings, older, how) is None
    assert world.reconciler.unmoved(record, bindings, replace(older, read_at=world.clock.now()), how) is not None
    assert world.reconciler.unmoved(record, MANY[1:2], replace(older, read_at=world.clock.now()), how) is None
