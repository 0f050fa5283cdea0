"""One key store brought up to date: what is discarded, recorded, sent and asked for again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from keydrift.drift import Via
from keydrift.facts import Facts
from keydrift.model import Scenario
from keydrift.ports import Delete, Entity, StateConflictError, Write
from keydrift.recheck import Recheck
from support.builders import GROUP, NOW, RBAC, VAULT_HOST, binding, granting, secret_at, unread, with_object, with_store
from support.entities import MemoryEntities
from support.world import World

BINDING = binding(Scenario.BACKUP_VAULT_CMK)
ACTIONS = [f"Microsoft.KeyVault/vaults/keys/{word}" for word in ("read", "wrap/action", "unwrap/action")]
HELD = granting(BINDING, RBAC, ACTIONS)
LOST = granting(BINDING, RBAC, ACTIONS[:1])
OTHER_HOST = "kv2.vault.azure.net"
TWO = binding(Scenario.ADE_KEK, secrets=(secret_at(OTHER_HOST, store=f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv2"),))
_SECRET_ACTIONS = [f"Microsoft.KeyVault/vaults/secrets/{word}/action" for word in ("getSecret", "readMetadata", "backup")]
TWO_ACTIONS = ["Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/keys/backup/action", *_SECRET_ACTIONS]
TWO_HELD, TWO_LOST = granting(TWO, RBAC, TWO_ACTIONS), granting(TWO, RBAC, TWO_ACTIONS[1:])
BLIND = with_store(HELD, denies=unread("deny assignments"))


async def _world(facts: Facts = HELD, entities: MemoryEntities | None = None) -> World:
    world = World(facts, entities=entities)
    await world.state.watch([BINDING])
    return world


def _recheck(world: World, via: Via = Via.EVENT, at: datetime | None = None) -> Recheck:
    return Recheck(host=VAULT_HOST, noticed_at=at or world.clock.now(), via=via)


def _delays(world: World, since: datetime) -> list[tuple[float, str]]:
    return [((datetime.fromisoformat(each["noticedAt"]) - since).total_seconds(), each["via"]) for each in world.asked]


async def test_bindings_that_change_while_their_key_store_is_read_are_judged_as_they_are_now() -> None:
    """What was read for the consumers as they were is not recorded: the key store is read again for them as they are."""
    world = await _world()
    changed = replace(BINDING, consumers=tuple(replace(each, location="northeurope") for each in BINDING.consumers))

    async def another_worker_lists() -> None:
        await world.beside().state.watch([changed])

    world.collector.meanwhile = another_worker_lists
    with pytest.raises(StateConflictError):
        await world.reconciler.reconcile(_recheck(world))
    assert await world.state.remembered(BINDING.id) is None
    assert (await world.state.store(VAULT_HOST)).read_at is None
    world.collector.meanwhile = None
    await world.reconciler.reconcile(_recheck(world))
    assert await world.state.remembered(BINDING.id) is not None


async def test_facts_read_since_answer_a_recheck() -> None:
    """A recheck asked for before the recorded facts were read costs no read; one asked for afterwards costs one."""
    world = await _world()
    noticed = world.clock.now()
    world.clock.advance(5)
    await world.reconciler.reconcile(_recheck(world))
    assert len(world.collector.reads) == 1
    await world.reconciler.reconcile(_recheck(world, at=noticed))
    assert len(world.collector.reads) == 1
    await world.reconciler.reconcile(_recheck(world))
    assert len(world.collector.reads) == 2


async def test_a_key_store_that_nothing_watches_is_not_read() -> None:
    """A recheck of a key store without key bindings does nothing."""
    world = World(HELD)
    await world.reconciler.reconcile(_recheck(world))
    assert (world.collector.reads, world.asked) == ([], [])


async def test_older_facts_are_discarded() -> None:
    """A worker that read before a loss must not resolve what another found after it: it meets the other's record and stops."""
    world = await _world()
    await world.reconciler.reconcile(_recheck(world))
    slow = world.beside()
    world.collector.facts = LOST

    async def the_other_is_faster() -> None:
        await world.reconciler.reconcile(_recheck(world))

    slow.collector.meanwhile = the_other_is_faster
    with pytest.raises(StateConflictError):
        await slow.reconciler.reconcile(_recheck(slow))
    assert world.sink.kinds == ["opened"]


async def test_a_loss_that_stands_is_not_resolved_by_facts_read_before_it() -> None:
    """Where another worker finds a recorded loss unchanged, facts that a slower one read earlier do not resolve it."""
    world = await _world(LOST)
    await world.reconciler.reconcile(_recheck(world))
    slow = world.beside()
    slow.collector.facts = HELD
    world.clock.advance(60)

    async def the_other_finds_it_lost_still() -> None:
        slow.collector.meanwhile = None
        await world.reconciler.reconcile(_recheck(world))

    slow.collector.meanwhile = the_other_finds_it_lost_still
    await slow.monitor.recheck(_recheck(slow).body())
    assert world.sink.kinds == ["opened"]


async def test_older_facts_of_another_key_store_are_discarded() -> None:
    """A binding of two key stores keeps what was read last, whichever of them it was read for, also where nothing changed."""
    world = World(TWO_HELD)
    await world.state.watch([TWO])
    await world.reconciler.reconcile(_recheck(world))
    slow = world.beside()
    slow.collector.facts = TWO_LOST
    world.clock.advance(60)

    async def the_other_reads_for_the_other_key_store() -> None:
        world.clock.advance(5)
        await world.reconciler.reconcile(Recheck(host=OTHER_HOST, noticed_at=world.clock.now(), via=Via.EVENT))

    slow.collector.meanwhile = the_other_reads_for_the_other_key_store
    await slow.reconciler.reconcile(_recheck(slow))
    assert world.sink.kinds == []


async def test_a_lost_race_is_run_again() -> None:
    """The monitor collects again after a lost race, and finds that the other worker has answered."""
    world = await _world()
    await world.reconciler.reconcile(_recheck(world))
    slow = world.beside()

    async def the_other_is_faster() -> None:
        slow.collector.meanwhile = None
        await world.reconciler.reconcile(_recheck(world))

    slow.collector.meanwhile = the_other_is_faster
    await slow.monitor.recheck(_recheck(slow).body())
    assert len(slow.collector.reads) == 1


async def test_after_three_lost_races_the_queue_has_its_turn() -> None:
    """A worker that loses three races in a row gives up, so that the queue delivers the message again."""
    world = await _world()
    slow = world.beside()

    async def somebody_else_is_faster() -> None:
        record = await world.state.store(VAULT_HOST)
        await world.state.put_store(record)

    slow.collector.meanwhile = somebody_else_is_faster
    with pytest.raises(StateConflictError):
        await slow.monitor.recheck(_recheck(slow).body())
    assert len(slow.collector.reads) == 3


class LastMoment(MemoryEntities):
    """Another worker writes the key store's record just before this one does."""

    armed = False

    async def transact(self, operations: Sequence[Write | Delete]) -> Sequence[Entity]:
        (first, *_) = operations
        if self.armed and isinstance(first, Write) and first.partition == "stores":
            self.armed = False
            found = await self.get("stores", first.row)
            await super().transact([Write(entity=replace(first.entity, etag=found.etag if found else None))])
        return await super().transact(operations)


async def test_an_alert_that_was_recorded_is_sent_even_where_the_race_is_lost_then() -> None:
    """A worker that recorded an alert and then loses the key store's record sends the alert at once, not by the timer."""
    entities = LastMoment()
    world = await _world(LOST, entities)
    entities.armed = True
    noticed = world.clock.now()
    world.clock.advance(1)
    await world.monitor.recheck(_recheck(world, at=noticed).body())
    assert world.sink.kinds == ["opened"]
    assert await world.state.undelivered() == []


@pytest.mark.parametrize(
    ("facts", "via", "expected"),
    [
        pytest.param(HELD, Via.EVENT, [(120, "settle")], id="an event that changed nothing settles"),
        pytest.param(HELD, Via.SWEEP, [], id="a sweep that found nothing asks for nothing"),
        pytest.param(HELD, Via.SETTLE, [], id="settling ends"),
        pytest.param(LOST, Via.EVENT, [(120, "settle"), (600, "settle")], id="a drift is confirmed"),
        pytest.param(LOST, Via.SWEEP, [(600, "settle")], id="also a sweep's"),
        pytest.param(BLIND, Via.SWEEP, [(60, "sweep")], id="an unknown is read again, as found"),
        pytest.param(BLIND, Via.EVENT, [(60, "event"), (120, "settle")], id="an event's unknown"),
    ],
)
async def test_what_is_asked_for_again(facts: Facts, via: Via, expected: list[tuple[float, str]]) -> None:
    """Azure's reads may lag: what was found is looked at again after the documented times, and only then."""
    world = await _world(facts)
    await world.reconciler.reconcile(_recheck(world, via))
    assert _delays(world, world.clock.now()) == expected


async def test_an_unknown_is_alerted_when_the_second_read_fails_too() -> None:
    """One failed read alerts nothing; a second a minute later does; the next good read resolves it."""
    world = await _world(BLIND)
    await world.reconciler.reconcile(_recheck(world, Via.SWEEP))
    assert world.sink.kinds == []
    world.clock.advance(60)
    await world.reconciler.reconcile(_recheck(world, Via.SWEEP))
    assert world.sink.kinds == ["opened"]
    world.clock.advance(60)
    world.collector.facts = HELD
    await world.reconciler.reconcile(_recheck(world, Via.SWEEP))
    assert world.sink.kinds == ["opened", "resolved"]


async def test_what_is_not_accepted_is_sent_again_in_order_and_once() -> None:
    """Alerts that Log Analytics refuses wait for the timer, which sends them in their order and not twice."""
    world = await _world(LOST)
    world.sink.down = True
    await world.reconciler.reconcile(_recheck(world))
    world.clock.advance(60)
    world.collector.facts = HELD
    await world.reconciler.reconcile(_recheck(world))
    await world.monitor.deliver()
    assert world.sink.kinds == []
    world.sink.down = False
    # A sink that has failed three times is left alone for some minutes, at most ten
    world.clock.advance(600)
    await world.monitor.deliver()
    await world.monitor.deliver()
    assert world.sink.kinds == ["opened", "resolved"]


async def test_what_earlier_reads_have_shown_is_known_to_the_next() -> None:
    """Object ids and that the key store answered are remembered for the next read."""
    world = await _world()
    await world.reconciler.reconcile(_recheck(world))
    await world.reconciler.reconcile(_recheck(world))
    first, second = world.collector.reads
    assert (first.answered, dict(first.object_ids)) == (frozenset(), {})
    assert second.answered == {VAULT_HOST}
    assert second.object_ids == {ref: p for ref, p in second.object_ids.items() if not ref.startswith("/")}
    assert second.object_ids


async def test_state_is_written_only_when_it_changed() -> None:
    """A verdict like the last one leaves the record as it stands; another one does not."""
    world = await _world()
    await world.reconciler.reconcile(_recheck(world))
    before = await world.state.remembered(BINDING.id)
    await world.reconciler.reconcile(_recheck(world))
    same = await world.state.remembered(BINDING.id)
    world.collector.facts = with_object(HELD, BINDING.target, unread("the key"))
    await world.reconciler.reconcile(_recheck(world))
    other = await world.state.remembered(BINDING.id)
    assert before is not None
    assert same is not None
    assert other is not None
    assert (same.etag == before.etag, other.etag == before.etag) == (True, False)


async def test_a_failed_recheck_is_unknown_at_once_and_resolved_by_the_next_read() -> None:
    """A recheck that failed for good is no single failed read: it is alerted without a second one, with its reason."""
    world = await _world()
    await world.reconciler.reconcile(_recheck(world))
    world.clock.advance(60)
    await world.reconciler.fail(VAULT_HOST, "it broke")
    (row,) = world.sink.rows
    assert (row["Verdict"], row["FindingCodes"], row["Severity"]) == ("unknown", ["recheck-failed"], "Medium")
    assert "it broke" in str(row["Summary"])
    world.clock.advance(60)
    await world.reconciler.reconcile(_recheck(world, Via.SWEEP))
    assert world.sink.kinds == ["opened", "resolved"]


async def test_retiring_resolves_what_is_open_and_nothing_else() -> None:
    """A binding that nothing needs any more is resolved with reason `retired` if it was open, and not mentioned if it was not."""
    world = await _world()
    await world.reconciler.reconcile(_recheck(world))
    await world.reconciler.retire([BINDING])
    assert world.sink.kinds == []
    world.clock.advance(60)
    world.collector.facts = LOST
    await world.reconciler.reconcile(_recheck(world))
    await world.reconciler.retire([BINDING])
    await world.reconciler.retire([BINDING])
    assert [(row["Kind"], row["Reason"]) for row in world.sink.rows] == [("opened", None), ("resolved", "retired")]
    assert world.sink.rows[1]["Sequence"] == world.sink.rows[0]["Sequence"] + 1


async def test_the_sequence_survives_a_retirement() -> None:
    """A binding that comes back after it was retired goes on counting, so that no AlertId is used twice."""
    world = await _world(LOST)
    await world.reconciler.reconcile(_recheck(world))
    await world.reconciler.retire([BINDING])
    world.clock.advance(1)
    await world.reconciler.reconcile(_recheck(world))
    sequences = [row["Sequence"] for row in world.sink.rows]
    assert world.sink.kinds == ["opened", "resolved", "opened"]
    assert sequences == [sequences[0] + n for n in range(3)]
    assert len({row["AlertId"] for row in world.sink.rows}) == 3


async def test_a_lost_state_store_reuses_no_alert_id() -> None:
    """A binding's sequence starts at its creation in epoch seconds: after the state store was lost the ids are other ones."""
    first, second = await _world(LOST), await _world(LOST)
    second.clock.advance(timedelta(days=1).total_seconds())
    for world in (first, second):
        await world.reconciler.reconcile(_recheck(world))
    assert first.sink.rows[0]["AlertId"] != second.sink.rows[0]["AlertId"]
    assert second.sink.rows[0]["Sequence"] > first.sink.rows[0]["Sequence"]
    assert abs(first.sink.rows[0]["Sequence"] - NOW.timestamp()) < 60
