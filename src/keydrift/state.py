"""What keydrift remembers, on any entity store: watchlist, records, notices, alerts not yet delivered, dead letters.

| partition | row | holds |
|---|---|---|
| `watchlist` | binding id | the key binding |
| `stores` | host | when facts were last read, object ids and role definitions seen |
| `stirred` | host | since when a record of its bindings may differ from what its digest was made of (`rest`) |
| `binding/{id}` | `record`, `alert/{sequence}`, … | record, posture, history; pending alerts (`outbox`): one atomic write |
| `notices/{host}` | time and event id | notices, so that an actor who comes later still is joined |
| `undelivered`, … | binding id | where to look for alerts; written before the alert, removed after its delivery (`outbox`) |
| `dead-letters` | time and event id | events that could not be decoded, or that Event Grid could not deliver; kept for 30 days |
| `marks` | name | watchlist version, when the last sweep was asked for |
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import batched
from typing import NamedTuple, cast
from uuid import uuid4

from keydrift.alerts.actor import Heard
from keydrift.alerts.history import PastAlert, Remembered, with_alerts
from keydrift.errors import DecodeError
from keydrift.model import KeyBinding
from keydrift.outbox import Outbox, OutboxName, PendingAlert
from keydrift.ports import Delete, Entity, EntityStore, StateConflictError, StateError, Write
from keydrift.store_record import StoreRecord, store_document, store_record
from keydrift.stored import (
    binding_document,
    binding_from,
    heard_document,
    heard_from,
)
from keydrift.stored_record import record_document, record_from
from keydrift.watchlist import Watchlist

NOTICES_KEPT = timedelta(minutes=30)
_PARALLEL_READS = 32
# A write holds a hundred rows at most, and 4 MiB
_STORES_A_WRITE = 100
DEAD_LETTERS_KEPT = timedelta(days=30)


class Stirred(NamedTuple):
    """When a key store was stirred last, and the version of the mark."""

    at: datetime
    etag: str | None


class State:
    """Typed access to an entity store. Methods raise StateError and, where said, StateConflictError."""

    def __init__(self, entities: EntityStore, outboxes: Sequence[OutboxName] = (OutboxName.LOG_ANALYTICS,)) -> None:
        self._entities = entities
        self.outboxes = tuple(Outbox(entities, name) for name in outboxes)
        self._watchlist: tuple[str, Watchlist] | None = None
        self._loading = asyncio.Lock()
        # What the watchlist in memory shows of role definitions; changed in place, since a large one takes seconds to load
        self._definitions: dict[str, frozenset[str]] = {}

    # --- watchlist

    async def watchlist(self) -> Watchlist:
        """The watchlist, from memory while its version stands."""
        if self._watchlist is not None and self._watchlist[0] == await self._watchlist_version():
            return self._watchlist[1]
        # One loads it for all who find it changed: a large one is tens of MiB for each who does
        async with self._loading:
            version = await self._watchlist_version()
            if self._watchlist is None or self._watchlist[0] != version:
                bindings = [binding_from(each.body) for each in await self._entities.query("watchlist")]
                stores = [_store_from(each) for each in await self._entities.query("stores")]
                self._definitions = {each.host: each.role_definitions for each in stores}
                self._watchlist = version, Watchlist.of(bindings, self._definitions)
            return self._watchlist[1]

    async def _watchlist_version(self) -> str:
        mark = await self._entities.get("marks", "watchlist")
        return str(mark.body["version"]) if mark else ""

    async def watch(self, added: Iterable[KeyBinding], removed: Iterable[str] = ()) -> None:
        """Add, replace or remove key bindings. The version moves last, so that a reader never keeps half a change."""
        operations: list[Write | Delete] = [
            Write(entity=Entity(partition="watchlist", row=each.id, body=binding_document(each), etag="*")) for each in added
        ]
        operations += [Delete(partition="watchlist", row=each) for each in removed]
        for start in range(0, len(operations), 100):
            await self._entities.transact(operations[start : start + 100])
        if operations:
            await self._bump()

    async def _bump(self) -> None:
        # A token, not a counter: two writers who count from the same number would hide the second change
        await self._put("marks", "watchlist", {"version": uuid4().hex}, "*")

    # --- key stores and notices

    async def store(self, host: str) -> StoreRecord:
        """The record of a key store; an empty one where there is none yet."""
        found = await self._entities.get("stores", host)
        return _store_from(found) if found else StoreRecord(host=host)

    async def stores(self) -> Sequence[StoreRecord]:
        """Every key store's record."""
        return [_store_from(each) for each in await self._entities.query("stores")]

    async def put_store(self, record: StoreRecord) -> None:
        """Keep a key store's record. Raises StateConflictError where somebody else did meanwhile."""
        await self._entities.transact([_store_write(record)])
        await self._notice_definitions(record)

    async def put_stores(self, records: Iterable[StoreRecord]) -> frozenset[str]:
        """Keep many key stores' records, a hundred in one write. Returns the hosts of those that somebody else has kept
        meanwhile, which are left as they are. Raises StateError."""
        conflicting: set[str] = set()
        for some in batched(records, _STORES_A_WRITE, strict=False):
            try:
                await self._entities.transact([_store_write(each) for each in some])
            except (StateConflictError, StateError) as error:
                if isinstance(error, StateError) and error.transient:
                    raise
                # Nothing was written, since one was in the way or they were too much together: one by one it shows
                conflicting |= {each.host for each in some if not await self._is_kept(each)}
                continue
            for each in some:
                await self._notice_definitions(each)
        return frozenset(conflicting)

    async def _is_kept(self, record: StoreRecord) -> bool:
        try:
            await self.put_store(record)
        except StateConflictError:
            return False
        return True

    async def _notice_definitions(self, record: StoreRecord) -> None:
        if self._watchlist is not None and self._definitions.get(record.host, frozenset()) != record.role_definitions:
            await self._tell_definitions(record)

    async def _tell_definitions(self, record: StoreRecord) -> None:
        """Let other processes load the watchlist anew; this one knows what changed, if nobody else has changed it meanwhile."""
        mark, known = await self._entities.get("marks", "watchlist"), self._watchlist
        if mark is None or known is None or mark.body["version"] != known[0]:
            await self._bump()
            return
        version = uuid4().hex
        try:
            await self._put("marks", "watchlist", {"version": version}, mark.etag)
        except StateConflictError:
            await self._bump()
            return
        self._definitions[record.host] = record.role_definitions
        if self._watchlist is known:
            self._watchlist = version, known[1]

    async def stir(self, host: str, at: datetime) -> None:
        """Say that somebody sets out to change a record of a key store's bindings."""
        await self._put("stirred", host, {"at": at.isoformat()}, "*")

    async def stirred(self) -> Mapping[str, Stirred]:
        """The key stores that somebody has stirred, by host."""
        found = await self._entities.query("stirred")
        return {each.row: Stirred(datetime.fromisoformat(str(each.body["at"])), each.etag) for each in found}

    async def calm(self, host: str, stirred: Stirred) -> None:
        """Forget that a key store was stirred, unless it was again meanwhile."""
        with suppress(StateConflictError):
            await self._entities.transact([Delete(partition="stirred", row=host, etag=stirred.etag)])

    async def hear(self, host: str, heard: Heard) -> None:
        """Keep a notice with a key store; the same event twice is kept once a time of receipt."""
        row = f"{heard.received_at.isoformat()}/{heard.notice.event_id[:200]}"
        await self._put(f"notices/{host}", row, heard_document(heard), "*")

    async def heard(self, host: str, now: datetime) -> tuple[Heard, ...]:
        """The notices that are still kept for a key store; older ones are removed on the way."""
        entities = await self._entities.query(f"notices/{host}")
        oldest = (now - NOTICES_KEPT).isoformat()
        stale = [each for each in entities if each.row < oldest]
        for start in range(0, len(stale), 100):
            await self._entities.transact([Delete(partition=e.partition, row=e.row) for e in stale[start : start + 100]])
        return tuple(heard_from(each.body) for each in entities if each.row >= oldest)

    # --- bindings and alerts

    async def remembered(self, binding_id: str) -> Remembered | None:
        """A binding's record, or None where it was never seen."""
        found = await self._entities.get(f"binding/{binding_id}", "record")
        if found is None:
            return None
        return Remembered(
            record=record_from(cast("Mapping[str, object]", found.body["record"])),
            posture=cast("Mapping[str, object] | None", found.body.get("posture")),
            history=tuple(cast("list[PastAlert]", found.body.get("history") or [])),
            etag=found.etag,
        )

    async def all_remembered(self, binding_ids: Iterable[str]) -> Sequence[Remembered | None]:
        """The records of these bindings, in their order, some of them read at the same time."""
        gate = asyncio.Semaphore(_PARALLEL_READS)

        async def one(binding_id: str) -> Remembered | None:
            async with gate:
                return await self.remembered(binding_id)

        return await asyncio.gather(*map(one, binding_ids))

    async def record(self, remembered: Remembered, rows: Sequence[Mapping[str, object]]) -> None:
        """Keep a binding's record and the alerts that it causes in one atomic write. Raises StateConflictError.

        INVARIANT (nothing is lost): the mark that says where to look for the alert is written first.
        """
        record = remembered.record
        partition = f"binding/{record.binding_id}"
        history = with_alerts(remembered.history, rows)
        body = {"record": record_document(record), "posture": remembered.posture, "history": list(history)}
        operations = [Write(entity=Entity(partition=partition, row="record", body=body, etag=remembered.etag))]
        if rows:
            operations += [write for each in self.outboxes for write in await each.announced(record.binding_id, rows)]
        await self._entities.transact(operations)

    async def undelivered(self) -> Sequence[PendingAlert]:
        """Every alert that a sink has not accepted yet, outbox by outbox, those of one binding in their order."""
        return [alert for each in self.outboxes for alert in await each.pending()]

    # --- dead letters and marks

    async def dead_letter(self, at: datetime, event_id: str, body: Mapping[str, object]) -> None:
        """Keep an event that could not be decoded, or not be delivered. `at` and the id name it: kept twice, it is there once."""
        await self._put("dead-letters", f"{at.isoformat()}/{event_id[:200]}", body, "*")

    async def dead_letters(self) -> Sequence[Mapping[str, object]]:
        """Every dead letter, oldest first."""
        return [each.body for each in await self._entities.query("dead-letters")]

    async def dead_letters_since(self, at: datetime) -> int:
        """How many dead letters came at this time or later."""
        return sum(each.row >= at.isoformat() for each in await self._entities.query("dead-letters"))

    async def forget_dead_letters(self, now: datetime) -> int:
        """Remove the dead letters of more than 30 days ago; how many there were."""
        oldest = (now - DEAD_LETTERS_KEPT).isoformat()
        stale = [each.row for each in await self._entities.query("dead-letters") if each.row < oldest]
        for start in range(0, len(stale), 100):
            await self._entities.transact([Delete(partition="dead-letters", row=row) for row in stale[start : start + 100]])
        return len(stale)

    async def claim(self, name: str, at: datetime, interval: timedelta) -> bool:
        """Claim the right to do something at most once an interval; False where it was claimed too recently."""
        mark = await self._entities.get("marks", name)
        if mark is not None and at - datetime.fromisoformat(str(mark.body["at"])) < interval:
            return False
        try:
            await self._put("marks", name, {"at": at.isoformat()}, mark.etag if mark else None)
        except StateConflictError:
            return False
        return True

    async def mark(self, name: str) -> datetime | None:
        """When something was last done, or None."""
        body = await self.mark_body(name)
        return datetime.fromisoformat(str(body["at"])) if body else None

    async def mark_body(self, name: str) -> Mapping[str, object] | None:
        """What was kept when something was last done."""
        found = await self._entities.get("marks", name)
        return found.body if found else None

    async def set_mark(self, name: str, at: datetime, body: Mapping[str, object]) -> None:
        """Keep when something was done, and what came of it."""
        await self._put("marks", name, {**body, "at": at.isoformat()}, "*")

    async def _put(self, partition: str, row: str, body: Mapping[str, object], etag: str | None) -> None:
        await self._entities.transact([Write(entity=Entity(partition=partition, row=row, body=body, etag=etag))])


def _store_write(record: StoreRecord) -> Write:
    return Write(entity=Entity(partition="stores", row=record.host, body=store_document(record), etag=record.etag))


def _store_from(entity: Entity) -> StoreRecord:
    try:
        return store_record(entity.body, entity.etag)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DecodeError("$", f"expected a key store's record in the stored document of `{entity.row}`") from error
