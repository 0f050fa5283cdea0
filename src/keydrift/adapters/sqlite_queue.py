"""The recheck queue on a laptop: messages in one SQLite file, with the semantics of an Azure Storage queue.

Time is the injected clock's, never the machine's or SQLite's, so that a simulation moves it.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from keydrift.adapters.queue_rules import check_message
from keydrift.adapters.sqlite_file import SqliteFile
from keydrift.ports import Clock, QueueMessage

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class SqliteQueue:
    """A `RecheckQueue` and its host's side, in the SQLite file at `path`; queues of different `name` are apart."""

    def __init__(self, path: str | Path, name: str, clock: Clock) -> None:
        self._file = SqliteFile(path)
        self._name = name
        self._clock = clock

    async def put(self, body: str, *, delay_s: float = 0.0) -> None:
        """Add a message, visible after `delay_s` seconds, as `RecheckQueue.put` says."""
        check_message(body, delay_s)
        now = self._now_us()
        values = (self._name, uuid.uuid4().hex, body, now, now + _microseconds(delay_s))
        await self._file.write(
            lambda db: db.execute(
                "INSERT INTO message (queue, id, body, inserted_us, due_us, dequeue_count) VALUES (?, ?, ?, ?, ?, 0)", values
            )
        )

    async def receive(self, limit: int, visibility_s: float) -> Sequence[QueueMessage]:
        """Return at most `limit` visible messages, oldest due first, and hide them for `visibility_s` seconds.

        Each is counted as dequeued once more and gets a new receipt. Raises `StateError`.
        """
        now = self._now_us()
        due = now + _microseconds(visibility_s)

        def take(db: sqlite3.Connection) -> Sequence[QueueMessage]:
            rows = db.execute(
                "SELECT sequence, id, body, inserted_us, dequeue_count + 1 FROM message WHERE queue = ? AND due_us <= ? "
                "ORDER BY due_us, sequence LIMIT ?",
                (self._name, now, limit),
            ).fetchall()
            taken = []
            for sequence, message_id, body, inserted_us, dequeue_count in rows:
                receipt = uuid.uuid4().hex
                db.execute(
                    "UPDATE message SET due_us = ?, dequeue_count = ?, receipt = ? WHERE sequence = ?",
                    (due, dequeue_count, receipt, sequence),
                )
                message = QueueMessage(
                    id=message_id, body=body, dequeue_count=dequeue_count, inserted_at=_moment(inserted_us), receipt=receipt
                )
                taken.append(message)
            return taken

        return await self._file.write(take)

    async def delete(self, message: QueueMessage) -> None:
        """Delete a received message; nothing when it has been received or released since. Raises `StateError`."""
        values = (self._name, message.id, message.receipt)
        await self._file.write(lambda db: db.execute("DELETE FROM message WHERE queue = ? AND id = ? AND receipt = ?", values))

    async def release(self, message: QueueMessage, visibility_s: float) -> None:
        """Give a received message back, visible after `visibility_s` seconds; nothing when the receipt is stale.

        Raises `StateError`.
        """
        values = (self._now_us() + _microseconds(visibility_s), self._name, message.id, message.receipt)
        await self._file.write(
            lambda db: db.execute(
                "UPDATE message SET due_us = ?, receipt = NULL WHERE queue = ? AND id = ? AND receipt = ?", values
            )
        )

    async def next_due(self) -> datetime | None:
        """Return when the next message is visible, in the past where one is already, or None. Raises `StateError`."""
        query = "SELECT min(due_us) FROM message WHERE queue = ?"
        (due,) = await self._file.read(lambda db: db.execute(query, (self._name,)).fetchone())
        return None if due is None else _moment(due)

    async def try_out(self) -> None:
        """Add a message and delete it again in one transaction, so that nobody receives it. Raises `StateError`."""
        tried, now = uuid.uuid4().hex, self._now_us()

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO message (queue, id, body, inserted_us, due_us, dequeue_count) VALUES (?, ?, ?, ?, ?, 0)",
                (self._name, tried, "keydrift doctor", now, now),
            )
            db.execute("DELETE FROM message WHERE queue = ? AND id = ?", (self._name, tried))

        await self._file.write(work)

    async def close(self) -> None:
        """Close the file."""
        await self._file.close()

    def _now_us(self) -> int:
        return (self._clock.now() - _EPOCH) // _MICROSECOND


def _microseconds(seconds: float) -> int:
    return timedelta(seconds=seconds) // _MICROSECOND


def _moment(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND
