"""The sweep between fakes: who is faster, what a defect may hide, how fast differences are asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keydrift.facts import Earlier, KeyObject
from keydrift.model import KeyBinding, State
from support.builders import NOW
from support.many_vaults import ACTIONS, at, facts_of
from support.world import World


async def watching(many: list[KeyBinding], actions: list[str] = ACTIONS) -> World:
    world = World(facts_of(many, actions))
    # The inventory shows nothing and is not complete, so that it takes nothing away
    world.consumers.seen = ()
    await world.state.watch(many)
    return world


async def test_what_nobody_saw_before_is_recorded_from_lists() -> None:
    """A key binding first seen held is recorded by the sweep itself, without a read of its own and without an alert."""
    many = [at(1), at(2)]
    world = await watching(many)
    await world.monitor.sweep()
    assert (world.asked, world.sink.rows) == ([], [])
    for each in many:
        remembered = await world.state.remembered(each.id)
        assert remembered is not None
        assert remembered.record.state is State.HELD
    assert [row["BindingId"] for row in world.posture.rows] == sorted((each.id for each in many), key=lambda i: i != many[0].id)


async def test_an_event_that_is_faster_wins() -> None:
    """Facts of a sweep are discarded where another worker has recorded the key store since the sweep began to read."""
    many = [at(1), at(2)]
    world = await watching(many)
    host = "kv1.vault.azure.net"

    async def another_worker_records() -> None:
        world.collector.meanwhile = None
        record = await world.state.store(host)
        await world.state.put_store(replace(record, read_at=world.clock.now()))

    world.collector.meanwhile = another_worker_records
    await world.monitor.sweep()
    assert await world.state.remembered(many[0].id) is None
    assert await world.state.remembered(many[1].id) is not None
    assert world.asked == []


async def test_a_defect_of_one_key_store_hides_no_other() -> None:
    """Where settling one key store raises, that one is asked for by itself, and the others are settled."""
    many = [at(1), at(2), at(3)]
    world = await watching(many)
    broken: Any = {"kv2.vault.azure.net": None}
    world.collector.facts = replace(world.collector.facts, stores={**world.collector.facts.stores, **broken})
    await world.monitor.sweep()
    assert [(each["host"], each["via"]) for each in world.asked] == [("kv2.vault.azure.net", "sweep")]
    assert await world.state.remembered(many[2].id) is not None


async def test_differences_are_asked_for_no_faster_than_arm_answers() -> None:
    """Ten are asked for at once, then three a second: each costs some eight calls of a subscription's 25 a second."""
    many = [at(number) for number in range(40)]
    world = await watching(many, ACTIONS[:1])
    await world.monitor.sweep()
    due = sorted((each.due - each.inserted_at).total_seconds() for each in world.queue._kept.values())
    assert len(due) == 40
    assert due[:11] == [0.0] * 11
    assert due[-1] == pytest.approx(29 / 3)


async def test_everything_is_read_while_the_budget_suffices() -> None:
    """No key waits for its turn while no subscription holds more keys than may be read; one more, and the oldest come first."""
    many = [at(number) for number in range(4)]
    world = await watching(many)
    world.key_reads = 4
    world.declaring(world.reconciler._policy.declarations)
    await world.monitor.sweep()
    assert world.bulk.asked == [None]
    world.key_reads = 3
    record = await world.state.store("kv2.vault.azure.net")
    uri = many[2].target.uri
    old = Earlier(read_at=NOW - timedelta(days=1), read=KeyObject(uri=uri))
    await world.state.put_store(replace(record, objects={uri: old}))
    world.declaring(world.reconciler._policy.declarations)
    await world.monitor.sweep()
    (spread,) = world.bulk.asked
    assert spread is not None
    assert spread.turn == {many[number].target.uri for number in (0, 1, 3)}
    assert spread.earlier == {uri: old}
