"""Alerts that wait for one sink: recorded with the verdict that caused them, until the sink has accepted or refused them.

| partition | row | holds |
|---|---|---|
| `binding/{id}` | `alert/{sequence}` or `event/{sequence}` | the alert's row, written with the binding's record |
| `undelivered` or `unpublished` | binding id | where to look for alerts; written before the alert, removed after its delivery |
| `rejected` | outbox, binding id and sequence | rows that were refused for what they hold, with the reason |

Each sink has its own outbox, so that none waits for another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import cast

from keydrift.ports import Delete, Entity, EntityStore, StateConflictError, Write

_REJECTED = "rejected"
_MARK_WITHOUT_ALERT = timedelta(hours=1)


class OutboxName(StrEnum):
    """The sinks that alerts wait for."""

    LOG_ANALYTICS = "log-analytics"
    EVENT_TOPIC = "event-topic"


# The partition of the marks, and how the alerts' rows begin
_PLACES = {OutboxName.LOG_ANALYTICS: ("undelivered", "alert/"), OutboxName.EVENT_TOPIC: ("unpublished", "event/")}


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingAlert:
    """An alert that is recorded and not yet delivered."""

    binding_id: str
    row_key: str
    row: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedAlert:
    """An alert that a sink refused for what it holds. `key` names it in the state store."""

    key: str
    reason: str
    at: datetime
    row: Mapping[str, object]


class Outbox:
    """One sink's alerts. Methods raise StateError."""

    def __init__(self, entities: EntityStore, name: OutboxName) -> None:
        self.name = name
        self._entities = entities
        self._marks, self._prefix = _PLACES[name]

    async def announced(self, binding_id: str, rows: Sequence[Mapping[str, object]]) -> list[Write]:
        """Write the mark that says where to look, and return the writes of the alerts themselves, for the record's transaction.

        INVARIANT (nothing is lost): the mark is there before the alert is.
        """
        mark = {"bindingId": binding_id, "since": rows[0]["DetectedAt"]}
        await self._entities.transact([Write(entity=Entity(partition=self._marks, row=binding_id, body=mark, etag="*"))])
        keys = [f"{self._prefix}{row['Sequence']:014d}" for row in rows]
        named = zip(keys, rows, strict=True)
        return [Write(entity=Entity(partition=_binding(binding_id), row=key, body=row)) for key, row in named]

    async def pending(self) -> Sequence[PendingAlert]:
        """Every alert that waits, those of one binding in their order."""
        return [alert for mark in await self._entities.query(self._marks) for alert in await self.pending_of(mark.row)]

    async def pending_of(self, binding_id: str) -> Sequence[PendingAlert]:
        """The alerts of one binding that wait, in their order."""
        entities = await self._entities.query(_binding(binding_id), self._prefix)
        return [PendingAlert(binding_id=binding_id, row_key=each.row, row=each.body) for each in entities]

    async def settle(self, alerts: Sequence[PendingAlert]) -> None:
        """Forget alerts, then the marks of bindings that have none left."""
        by_binding: dict[str, list[PendingAlert]] = {}
        for alert in alerts:
            by_binding.setdefault(alert.binding_id, []).append(alert)
        for binding_id, group in by_binding.items():
            mark = await self._entities.get(self._marks, binding_id)
            rows = [Delete(partition=_binding(binding_id), row=alert.row_key) for alert in group]
            for start in range(0, len(rows), 100):
                await self._entities.transact(rows[start : start + 100])
            if mark is not None and not await self.pending_of(binding_id):
                # Guarded by the mark's version: an alert recorded meanwhile has written it anew
                try:
                    await self._entities.transact([Delete(partition=self._marks, row=binding_id, etag=mark.etag)])
                except StateConflictError:
                    continue

    async def reject(self, alert: PendingAlert, reason: str, at: datetime) -> None:
        """Keep an alert aside, then forget it here: a crash in between repeats this and loses nothing."""
        body = {"at": at.isoformat(), "reason": reason, "row": alert.row}
        key = f"{self.name}/{alert.binding_id}/{alert.row_key}"
        await self._entities.transact([Write(entity=Entity(partition=_REJECTED, row=key, body=body, etag="*"))])
        await self.settle([alert])

    async def rejected(self) -> Sequence[RejectedAlert]:
        """The alerts that this sink refused for what they hold."""
        return [_rejected(each) for each in await self._entities.query(_REJECTED, f"{self.name}/")]

    async def forget_rejected(self, alert: RejectedAlert) -> None:
        """Forget a refused alert: it was accepted after all."""
        await self._entities.transact([Delete(partition=_REJECTED, row=alert.key)])

    async def forget_stale_marks(self, now: datetime) -> None:
        """Remove marks older than an hour that lead to no alert: their write never came."""
        for mark in await self._entities.query(self._marks):
            since = datetime.fromisoformat(str(mark.body["since"]))
            if now - since > _MARK_WITHOUT_ALERT and not await self.pending_of(mark.row):
                await self._entities.transact([Delete(partition=self._marks, row=mark.row)])


def _binding(binding_id: str) -> str:
    return f"binding/{binding_id}"


def _rejected(entity: Entity) -> RejectedAlert:
    return RejectedAlert(
        key=entity.row,
        reason=str(entity.body["reason"]),
        at=datetime.fromisoformat(str(entity.body["at"])),
        row=cast("Mapping[str, object]", entity.body["row"]),
    )
