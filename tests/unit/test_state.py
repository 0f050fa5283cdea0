"""What is remembered, on an entity store in memory: versions, conflicts, and marks that are never lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from keydrift.alerts.actor import Heard
from keydrift.alerts.history import Remembered
from keydrift.alerts.record import BindingRecord
from keydrift.model import ChangeNotice, KeyBinding, Scenario
from keydrift.ports import Delete, Entity, StateConflictError, Write
from keydrift.state import NOTICES_KEPT, State
from support.builders import NOW, VAULT, VAULT_HOST, binding, rid
from support.entities import MemoryEntities

BINDING = binding(Scenario.BACKUP_VAULT_CMK)
OTHER = binding(Scenario.CVM_CMK)


def row_of(sequence: int) -> dict[str, object]:
    return {"AlertId": "a", "DetectedAt": NOW.isoformat(), "Sequence": sequence}


ROW = row_of(1)


def _heard(event_id: str, at: timedelta = timedelta()) -> Heard:
    notice = ChangeNotice(event_id=event_id, event_type="t", operation="o", resource_id=rid(VAULT), occurred_at=None)
    return Heard(notice=notice, received_at=NOW + at)


def _record(of: KeyBinding = BINDING, sequence: int = 1) -> Remembered:
    return Remembered(record=replace(BindingRecord.created(of.id, NOW), sequence=sequence), posture={"verdict": "held"})


async def test_another_worker_sees_what_is_watched() -> None:
    """What one worker adds, replaces or removes, another that has the watchlist in memory sees at its next look."""
    entities = MemoryEntities()
    mine, theirs = State(entities), State(entities)
    assert (await theirs.watchlist()).bindings == {}
    await mine.watch([BINDING, OTHER])
    assert set((await theirs.watchlist()).bindings) == {BINDING.id, OTHER.id}
    changed = replace(BINDING, consumers=())
    await mine.watch([changed], [OTHER.id])
    assert (await theirs.watchlist()).bindings == {BINDING.id: changed}


async def test_the_watchlist_is_kept_in_memory() -> None:
    """A watchlist that did not change is not read again, and not even written by a change of nothing."""
    state = State(MemoryEntities())
    await state.watch([BINDING])
    first = await state.watchlist()
    await state.watch([])
    assert await state.watchlist() is first


async def test_more_bindings_than_a_transaction_holds() -> None:
    """A watchlist of more than a hundred bindings is written in several transactions."""
    state = State(MemoryEntities())
    many = [replace(BINDING, id=f"{n:032x}") for n in range(250)]
    await state.watch(many)
    assert len((await state.watchlist()).bindings) == 250


async def test_two_workers_on_one_key_store_meet() -> None:
    """Of two workers that read a key store's record, the second to write loses; so does one that creates it anew."""
    entities = MemoryEntities()
    mine, theirs = State(entities), State(entities)
    empty = await theirs.store(VAULT_HOST)
    await mine.put_store(replace(await mine.store(VAULT_HOST), read_at=NOW))
    with pytest.raises(StateConflictError):
        await theirs.put_store(replace(empty, read_at=NOW))
    stale = await theirs.store(VAULT_HOST)
    await mine.put_store(replace(await mine.store(VAULT_HOST), read_at=NOW + timedelta(1)))
    with pytest.raises(StateConflictError):
        await theirs.put_store(stale)
    assert (await mine.store(VAULT_HOST)).read_at == NOW + timedelta(1)


async def test_a_key_stores_record_comes_back_whole() -> None:
    """Everything that is kept of a key store is read back."""
    state = State(MemoryEntities())
    kept = replace(
        await state.store(VAULT_HOST),
        read_at=NOW,
        object_ids={"app": "object"},
        role_definitions=frozenset({"role"}),
        answered=True,
        at_rest="digest",
    )
    await state.put_store(kept)
    (found,) = await state.stores()
    assert replace(found, etag=None) == kept


async def test_a_key_store_is_calm_only_where_nobody_stirred_it_since() -> None:
    """The mark that a sweep saw is forgotten; one that was made since stays."""
    state = State(MemoryEntities())
    await state.stir(VAULT_HOST, NOW)
    seen = (await state.stirred())[VAULT_HOST]
    assert seen.at == NOW
    await state.stir(VAULT_HOST, NOW)
    await state.calm(VAULT_HOST, seen)
    assert set(await state.stirred()) == {VAULT_HOST}
    await state.calm(VAULT_HOST, (await state.stirred())[VAULT_HOST])
    assert await state.stirred() == {}


async def test_many_key_stores_are_kept_in_few_writes() -> None:
    """A hundred at once; where one of them has been kept by another meanwhile, the others are kept all the same."""
    entities = MemoryEntities()
    mine, theirs = State(entities), State(entities)
    many = [replace(await mine.store(f"kv{number}.vault.azure.net"), read_at=NOW) for number in range(250)]
    assert await mine.put_stores(many) == frozenset()
    assert {each.read_at for each in await mine.stores()} == {NOW}
    later = [replace(each, read_at=NOW + timedelta(1)) for each in await mine.stores()]
    await theirs.put_store(replace(await theirs.store("kv7.vault.azure.net"), answered=True))
    assert await mine.put_stores(later) == {"kv7.vault.azure.net"}
    found = {each.host: each.read_at for each in await mine.stores()}
    assert {host for host, read_at in found.items() if read_at == NOW} == {"kv7.vault.azure.net"}


async def test_key_stores_that_are_too_much_for_one_write_are_kept_one_by_one() -> None:
    """Many key stores of many keys outgrow a transaction: each is kept by itself."""
    state = State(MemoryEntities())
    counts = {f"key-{number}": 1 for number in range(20_000)}
    large = [replace(await state.store(f"kv{number}.vault.azure.net"), version_counts=counts) for number in range(12)]
    assert await state.put_stores(large) == frozenset()
    assert len(await state.stores()) == 12


async def test_one_loads_the_watchlist_for_all_who_ask_at_once() -> None:
    """However many rechecks find the watchlist changed, it is loaded once for all of them."""

    class Counted(MemoryEntities):
        loads = 0

        async def query(self, partition: str, row_prefix: str = "") -> Sequence[Entity]:
            self.loads += partition == "watchlist"
            await asyncio.sleep(0)
            return await super().query(partition, row_prefix)

    entities = Counted()
    await State(entities).watch([BINDING])
    state = State(entities)

    found = await asyncio.gather(*(state.watchlist() for _ in range(16)))

    assert [set(each.bindings) for each in found] == [{BINDING.id}] * 16
    assert entities.loads == 1


async def test_only_other_processes_load_a_watchlist_anew_for_role_definitions() -> None:
    """Who notes role definitions knows what changed and loads nothing; who was not told loads the watchlist once."""

    class Counting(MemoryEntities):
        loads = 0

        async def query(self, partition: str, row_prefix: str = "") -> Sequence[Entity]:
            self.loads += partition == "watchlist"
            return await super().query(partition, row_prefix)

    entities = Counting()
    mine, theirs = State(entities), State(entities)
    await mine.watch([BINDING])
    await mine.watchlist()
    await theirs.watchlist()
    entities.loads = 0
    for role in ("a", "b"):
        await mine.put_store(replace(await mine.store(VAULT_HOST), role_definitions=frozenset({role})))
        assert (await mine.watchlist()).role_definitions[VAULT_HOST] == {role}
    assert entities.loads == 0
    assert (await theirs.watchlist()).role_definitions[VAULT_HOST] == {"b"}
    assert entities.loads == 1
    await theirs.watch([OTHER])
    await mine.put_store(replace(await mine.store(VAULT_HOST), role_definitions=frozenset({"c"})))
    watched = await mine.watchlist()
    assert set(watched.bindings) == {BINDING.id, OTHER.id}
    assert watched.role_definitions[VAULT_HOST] == {"c"}


async def test_new_role_definitions_reach_the_watchlist() -> None:
    """A role definition weighed for the first time makes its events concern the key store, at other workers too."""
    entities = MemoryEntities()
    mine, theirs = State(entities), State(entities)
    await mine.watch([BINDING])
    await mine.watchlist()
    await theirs.watchlist()
    await mine.put_store(replace(await mine.store(VAULT_HOST), role_definitions=frozenset({"role"})))
    assert (await theirs.watchlist()).role_definitions[VAULT_HOST] == {"role"}


async def test_notices_are_kept_for_a_while_and_apart() -> None:
    """Notices are read back with their key store's, oldest first, until they are too old; then they are gone for good."""
    entities = MemoryEntities()
    state = State(entities)
    for name, at in (("b", timedelta(minutes=1)), ("a", timedelta()), ("a", timedelta())):
        await state.hear(VAULT_HOST, _heard(name, at))
    await state.hear("other.vault.azure.net", _heard("c"))
    assert [each.notice.event_id for each in await state.heard(VAULT_HOST, NOW)] == ["a", "b"]
    late = NOW + NOTICES_KEPT + timedelta(seconds=30)
    assert [each.notice.event_id for each in await state.heard(VAULT_HOST, late)] == ["b"]
    assert len(await entities.query(f"notices/{VAULT_HOST}")) == 1
    assert len(await entities.query("notices/other.vault.azure.net")) == 1


class Watched(MemoryEntities):
    """Entities in memory that keep what was written together, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.transactions: list[list[str]] = []

    async def transact(self, operations: Sequence[Write | Delete]) -> Sequence[Entity]:
        names = [
            f"{each.entity.partition}/{each.entity.row}" if isinstance(each, Write) else f"-{each.partition}/{each.row}"
            for each in operations
        ]
        self.transactions.append(names)
        return await super().transact(operations)


async def test_a_verdict_and_its_alert_are_one_write() -> None:
    """The record and the alert are written together, and the mark that leads to the alert before them."""
    entities = Watched()
    await State(entities).record(_record(sequence=7), [row_of(7)])
    partition = f"binding/{BINDING.id}"
    assert entities.transactions == [
        [f"undelivered/{BINDING.id}"],
        [f"{partition}/record", f"{partition}/alert/00000000000007"],
    ]


async def test_a_verdict_without_an_alert_leaves_no_mark() -> None:
    """A record that causes no alert is one write and nothing to deliver."""
    entities = Watched()
    state = State(entities)
    await state.record(_record(), [])
    assert entities.transactions == [[f"binding/{BINDING.id}/record"]]
    assert await state.undelivered() == []


async def test_of_two_records_of_one_reading_one_is_kept() -> None:
    """A record that another worker wrote meanwhile is a conflict, and leaves no alert of its own."""
    state = State(MemoryEntities())
    await state.record(_record(), [ROW])
    with pytest.raises(StateConflictError):
        await state.record(_record(sequence=2), [row_of(2)])
    assert [alert.row_key for alert in await state.undelivered()] == ["alert/00000000000001"]


async def test_alerts_are_delivered_in_their_order_and_once() -> None:
    """A binding's undelivered alerts come in their order; delivered ones are gone, and with the last one its mark."""
    entities = MemoryEntities()
    state = State(entities)
    await state.record(_record(sequence=9), [row_of(9)])
    again = await state.remembered(BINDING.id)
    assert again is not None
    await state.record(replace(_record(sequence=10), etag=again.etag), [row_of(10)])
    pending = await state.undelivered()
    assert [alert.row_key for alert in pending] == ["alert/00000000000009", "alert/00000000000010"]
    await state.outboxes[0].settle(pending[:1])
    assert [alert.row_key for alert in await state.undelivered()] == ["alert/00000000000010"]
    await state.outboxes[0].settle(pending[1:])
    assert await state.undelivered() == []
    assert await entities.query("undelivered") == []


async def test_an_alert_recorded_during_a_delivery_is_found() -> None:
    """An alert that is recorded while another of its binding is being marked delivered keeps its mark."""

    class Meanwhile(MemoryEntities):
        """Another worker records an alert just before the mark is removed."""

        state: State
        done = False

        async def transact(self, operations: Sequence[Write | Delete]) -> Sequence[Entity]:
            if any(isinstance(each, Delete) and each.partition == "undelivered" for each in operations) and not self.done:
                self.done = True
                found = await self.state.remembered(BINDING.id)
                assert found is not None
                await self.state.record(replace(_record(sequence=2), etag=found.etag), [row_of(2)])
            return await super().transact(operations)

    entities = Meanwhile()
    entities.state = state = State(entities)
    await state.record(_record(), [ROW])
    await state.outboxes[0].settle(await state.undelivered())
    assert entities.done
    assert [alert.row_key for alert in await state.undelivered()] == ["alert/00000000000002"]


async def test_a_mark_whose_alert_never_came_is_forgotten() -> None:
    """A mark without an alert goes after an hour; a mark that leads to an alert stays however old it is."""
    entities = MemoryEntities()
    state = State(entities)
    await state.record(_record(), [ROW])
    await entities.transact(
        [Write(entity=Entity(partition="undelivered", row=OTHER.id, body={"bindingId": OTHER.id, "since": NOW.isoformat()}))]
    )
    await state.outboxes[0].forget_stale_marks(NOW + timedelta(minutes=59))
    assert len(await entities.query("undelivered")) == 2
    await state.outboxes[0].forget_stale_marks(NOW + timedelta(minutes=61))
    assert [each.row for each in await entities.query("undelivered")] == [BINDING.id]


async def test_a_claim_is_granted_once_an_interval() -> None:
    """Of several who claim the same thing one gets it, and nobody again before the interval has passed."""
    entities = MemoryEntities()
    mine, theirs = State(entities), State(entities)
    interval = timedelta(minutes=15)
    assert await mine.claim("sweep", NOW, interval)
    assert not await theirs.claim("sweep", NOW + timedelta(minutes=14), interval)
    assert await theirs.claim("other", NOW, interval)
    assert await theirs.claim("sweep", NOW + interval, interval)


async def test_a_claim_that_another_worker_takes_meanwhile_is_refused() -> None:
    """Two who find the same claim free do not both get it."""

    class Meanwhile(MemoryEntities):
        """Another worker claims between the look and the write."""

        other: State | None = None

        async def transact(self, operations: Sequence[Write | Delete]) -> Sequence[Entity]:
            other, self.other = self.other, None
            if other is not None:
                assert await other.claim("sweep", NOW, timedelta(minutes=15))
            return await super().transact(operations)

    entities = Meanwhile()
    entities.other = State(entities)
    assert not await State(entities).claim("sweep", NOW, timedelta(minutes=15))
