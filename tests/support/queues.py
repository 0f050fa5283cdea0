"""An in-memory `HostQueue` whose clock belongs to the test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keydrift.ports import QueueMessage


@dataclass(slots=True)
class _Stored:
    body: str
    inserted_at: datetime
    visible_at: datetime
    dequeue_count: int = 0
    receipt: str = ""


class MemoryHostQueue:
    """Behaves as a storage queue does: a receipt is void as soon as somebody else received the message."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._stored: dict[str, _Stored] = {}
        self._numbers = itertools.count(1)

    @property
    def bodies(self) -> list[str]:
        """What the queue holds, visible or not, in the order of insertion."""
        return [stored.body for stored in self._stored.values()]

    async def receive(self, limit: int, visibility_s: float) -> Sequence[QueueMessage]:
        now = self._clock()
        messages: list[QueueMessage] = []
        for id_, stored in self._stored.items():
            if stored.visible_at > now or len(messages) == limit:
                continue
            stored.visible_at = now + timedelta(seconds=visibility_s)
            stored.dequeue_count += 1
            stored.receipt = f"receipt-{next(self._numbers)}"
            messages.append(
                QueueMessage(
                    id=id_,
                    body=stored.body,
                    dequeue_count=stored.dequeue_count,
                    inserted_at=stored.inserted_at,
                    receipt=stored.receipt,
                )
            )
        return messages

    async def delete(self, message: QueueMessage) -> None:
        if self._is_held(message):
            del self._stored[message.id]

    async def release(self, message: QueueMessage, visibility_s: float) -> None:
        if self._is_held(message):
            self._stored[message.id].visible_at = self._clock() + timedelta(seconds=visibility_s)

    async def put(self, body: str, *, delay_s: float = 0.0) -> None:
        now = self._clock()
        id_ = f"message-{next(self._numbers)}"
        self._stored[id_] = _Stored(body=body, inserted_at=now, visible_at=now + timedelta(seconds=delay_s))

    async def next_due(self) -> datetime | None:
        return min((stored.visible_at for stored in self._stored.values()), default=None)

    def _is_held(self, message: QueueMessage) -> bool:
        stored = self._stored.get(message.id)
        return stored is not None and stored.receipt == message.receipt
