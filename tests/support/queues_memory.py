"""A queue in memory and a clock that moves when told, held to the same contract tests as the real queues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

from keydrift.adapters.queue_rules import check_message
from keydrift.ports import Clock, QueueMessage


class ManualClock:
    """A `Clock` that stands still until it is advanced; to sleep on it is to advance it."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass(slots=True, kw_only=True)
class _Kept:
    number: int
    body: str
    inserted_at: datetime
    due: datetime
    dequeue_count: int = 0
    receipt: str | None = None


class MemoryQueue:
    """A `RecheckQueue` and its host's side; `bodies` shows what is in it, oldest due first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._numbers = count(1)

    @property
    def bodies(self) -> Sequence[str]:
        return [each.body for _, each in self._in_order()]

    async def put(self, body: str, *, delay_s: float = 0.0) -> None:
        check_message(body, delay_s)
        number, now = next(self._numbers), self._clock.now()
        self._kept[f"message-{number}"] = _Kept(number=number, body=body, inserted_at=now, due=now + timedelta(seconds=delay_s))

    async def receive(self, limit: int, visibility_s: float) -> Sequence[QueueMessage]:
        now = self._clock.now()
        received = []
        for message_id, kept in [each for each in self._in_order() if each[1].due <= now][:limit]:
            kept.dequeue_count += 1
            kept.due = now + timedelta(seconds=visibility_s)
            kept.receipt = f"receipt-{next(self._numbers)}"
            message = QueueMessage(
                id=message_id,
                body=kept.body,
                dequeue_count=kept.dequeue_count,
                inserted_at=kept.inserted_at,
                receipt=kept.receipt,
            )
            received.append(message)
        return received

    async def delete(self, message: QueueMessage) -> None:
        if self._holds(message):
            del self._kept[message.id]

    async def release(self, message: QueueMessage, visibility_s: float) -> None:
        if self._holds(message):
            self._kept[message.id].due = self._clock.now() + timedelta(seconds=visibility_s)
            self._kept[message.id].receipt = None

    async def next_due(self) -> datetime | None:
        return min((each.due for each in self._kept.values()), default=None)

    async def close(self) -> None:
        """Keep everything: a queue in memory has nothing to close."""

    def _in_order(self) -> Sequence[tuple[str, _Kept]]:
        return sorted(self._kept.items(), key=lambda each: (each[1].due, each[1].number))

    def _holds(self, message: QueueMessage) -> bool:
        return message.id in self._kept and message.receipt == self._kept[message.id].receipt
