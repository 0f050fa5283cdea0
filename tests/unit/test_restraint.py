"""A crowd of events that change nothing has its key store read twice in a settle window; what changes is found at once."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from keydrift.drift import Via
from keydrift.facts import Facts
from keydrift.model import Scenario
from keydrift.recheck import Recheck
from keydrift.restraint import SETTLE_AFTER, UNRESTRAINED, Restraint, Rush
from support.builders import NOW, RBAC, VAULT_HOST, binding, granting
from support.world import World

BINDING = binding(Scenario.BACKUP_VAULT_CMK)
ACTIONS = [f"Microsoft.KeyVault/vaults/keys/{word}" for word in ("read", "wrap/action", "unwrap/action")]
HELD = granting(BINDING, RBAC, ACTIONS)
LOST = granting(BINDING, RBAC, ACTIONS[:1])
SECOND = timedelta(seconds=1)
CROWD, FEW = 10, 9


def _after(*reads: datetime) -> Restraint:
    found = UNRESTRAINED
    for each in reads:
        found = found.after(Via.EVENT, each, news=False)
    return found


@pytest.mark.parametrize(
    ("reads", "crowd", "now", "until"),
    [
        ((), CROWD, NOW, None),
        ((NOW,), CROWD, NOW + SECOND, None),
        ((NOW, NOW + SECOND), CROWD, NOW + 2 * SECOND, NOW + SETTLE_AFTER),
        ((NOW, NOW + SECOND), FEW, NOW + 2 * SECOND, None),
        ((NOW, NOW + SECOND), 0, NOW + 2 * SECOND, None),
        ((NOW, NOW + SECOND), CROWD, NOW + SETTLE_AFTER, None),
        ((NOW, NOW + SECOND, NOW + SETTLE_AFTER), CROWD, NOW + SETTLE_AFTER, NOW + SETTLE_AFTER + SECOND),
        ((NOW - SETTLE_AFTER, NOW), CROWD, NOW + SECOND, None),
    ],
)
def test_two_reads_in_vain_hold_back_the_next_of_a_crowd(
    reads: tuple[datetime, ...], crowd: int, now: datetime, until: datetime | None
) -> None:
    """Of a crowd's reads a third waits until the first is a settle window ago; a few events are never held back."""
    assert _after(*reads).holds_until(Via.EVENT, crowd, now) == until
    assert _after(*reads).holds_until(Via.SETTLE, crowd, now) == until
    assert _after(*reads).holds_until(Via.SWEEP, crowd, now) is None


def test_news_ends_the_restraint() -> None:
    """After a read that brought news the next is made at once."""
    found = _after(NOW, NOW + SECOND).after(Via.EVENT, NOW + 2 * SECOND, news=True)
    assert found.holds_until(Via.EVENT, CROWD, NOW + 3 * SECOND) is None


@pytest.mark.parametrize(
    ("via", "noticed_at", "covered"),
    [
        (Via.EVENT, NOW, True),
        (Via.EVENT, NOW - SECOND, True),
        (Via.EVENT, NOW + SECOND, False),
        (Via.SETTLE, NOW, False),
        (Via.SWEEP, NOW, False),
    ],
)
def test_only_what_was_noticed_before_an_events_read_is_settled_by_its_reread(
    via: Via, noticed_at: datetime, covered: bool
) -> None:
    """The reread that follows an event's read comes two minutes after it: late enough for what was noticed before."""
    assert UNRESTRAINED.after(via, NOW, news=False).covers(noticed_at) is covered


def test_what_is_kept_of_it_is_read_again() -> None:
    """A restraint comes back from state as it was."""
    kept = _after(NOW, NOW + SECOND)
    assert Restraint.of(kept.document()) == kept
    assert Restraint.of({}) == UNRESTRAINED


def test_a_rush_counts_this_settle_window_and_the_one_before() -> None:
    """Each notice counts for its key store, for one to two settle windows."""
    rush = Rush()
    for _ in range(3):
        rush.joined(["a"], NOW)
    assert rush.joined(["a", "b"], NOW + SECOND) == {"a": 4, "b": 1}
    assert (rush.around("a", NOW + SECOND), rush.around("c", NOW + SECOND)) == (4, 0)
    assert rush.joined(["a"], NOW + SETTLE_AFTER) == {"a": 5}
    assert rush.joined(["a"], NOW + 2 * SETTLE_AFTER) == {"a": 2}
    assert rush.around("a", NOW + 4 * SETTLE_AFTER) == 0
    assert rush.joined(["a"], NOW + 4 * SETTLE_AFTER) == {"a": 1}


# --- the monitor ---------------------------------------------------------------------------------------------------------


async def _world(facts: Facts = HELD) -> World:
    world = World(facts)
    await world.state.watch([BINDING])
    return world


def _recheck(world: World, crowd: int = CROWD) -> Recheck:
    return Recheck(host=VAULT_HOST, noticed_at=world.clock.now(), via=Via.EVENT, crowd=crowd)


async def test_a_flood_is_read_twice_in_a_settle_window_and_answered_in_the_end() -> None:
    """Two hundred events that come more slowly than reads take four reads in two settle windows, and none is dropped."""
    world = await _world()
    for _ in range(200):
        await world.monitor.recheck(_recheck(world).body())
        world.clock.advance(1)
    last = world.clock.now()
    while (due := await world.queue.next_due()) is not None:
        world.clock.advance(max(0.0, (due - world.clock.now()).total_seconds()))
        for message in await world.queue.receive(16, 600):
            await world.monitor.recheck(message.body)
            await world.queue.delete(message)
    assert len(world.collector.reads) <= 8
    read_at = (await world.state.store(VAULT_HOST)).read_at
    assert read_at is not None
    assert read_at > last


async def test_a_loss_in_a_flood_is_found_when_the_window_ends() -> None:
    """What is lost while a flood is held back is told by the read that waits, for the event that brought it."""
    world = await _world()
    for _ in range(3):
        await world.monitor.recheck(_recheck(world).body())
        world.clock.advance(1)
    assert len(world.collector.reads) == 2
    world.collector.facts = LOST
    await world.monitor.recheck(_recheck(world).body())
    assert world.sink.kinds == []
    world.clock.advance(SETTLE_AFTER.total_seconds())
    for message in await world.queue.receive(16, 600):
        await world.monitor.recheck(message.body)
    assert world.sink.kinds == ["opened"]


async def test_what_changes_is_found_at_once_in_a_flood() -> None:
    """Every change of a key that is taken and given back in a flood is told by its own event's read."""
    world = await _world()
    for facts in (LOST, HELD) * 5:
        world.collector.facts = facts
        await world.monitor.recheck(_recheck(world).body())
    assert len(world.collector.reads) == 10
    assert world.sink.kinds[:2] == ["opened", "resolved"]


async def test_an_event_that_a_sweeps_read_answers_is_settled_all_the_same() -> None:
    """A read that was made for no event is followed by none: what it answers gets a reread when Azure has settled, once."""
    world = await _world()
    noticed = _recheck(world, FEW)
    world.clock.advance(1)
    await world.reconciler.reconcile(Recheck(host=VAULT_HOST, noticed_at=world.clock.now(), via=Via.SWEEP))
    assert world.asked == []
    for _ in range(3):
        await world.reconciler.reconcile(noticed)
    assert [each["via"] for each in world.asked] == ["settle"]
