"""What a functions host does with a storage queue: dequeue, invoke, delete, retry, and move to the poison queue.

The rules are those of the host's queue extension (`QueueProcessor` and `QueueListener` in
Microsoft.Azure.WebJobs.Extensions.Storage.Queues) and of
https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue. Which functions exist, and when the
pumps start and stop, is the business of whoever owns them.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from keydrift.adapters.storage_queue import StorageQueue
from keydrift.errors import ConfigError
from keydrift.ports import QueueMessage

if TYPE_CHECKING:
    from keydrift_local.worker import Outcome

_log = logging.getLogger(__name__)

POISON_SUFFIX = "-poison"
LEASE_S = 600.0
"""How long a message stays invisible while its function runs. The host renews this; here a longer invocation is repeated."""

_MIN_POLLING_INTERVAL_S = 0.1
_MAX_BATCH_SIZE = 32  # https://learn.microsoft.com/rest/api/storageservices/get-messages
_TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2}(?:\.\d{1,7})?)")


class UnsupportedError(Exception):
    """This kind of queue cannot answer the question."""


class HostQueue(Protocol):
    """A queue as a host uses it. Deleting or releasing a message that someone else took over meanwhile does nothing."""

    async def receive(self, limit: int, visibility_s: float) -> Sequence[QueueMessage]:
        """At most `limit` visible messages, hidden from others for `visibility_s`, each with its dequeue count raised by one."""

    async def delete(self, message: QueueMessage) -> None:
        """Remove the message for good."""

    async def release(self, message: QueueMessage, visibility_s: float) -> None:
        """Make the message visible again after `visibility_s`."""

    async def put(self, body: str, *, delay_s: float = 0.0) -> None:
        """Add a message that becomes visible after `delay_s`."""

    async def next_due(self) -> datetime | None:
        """When the earliest message becomes, or became, visible; None where the queue is empty. May raise `UnsupportedError`."""


class MessageWorker(Protocol):
    """What a pump needs of `Worker`."""

    async def message(self, function: str, body: str, *, id: str, dequeue_count: int, inserted_at: datetime) -> Outcome:  # noqa: A002 - Azure's term
        """Invoke `function` with one message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """`extensions.queues` of host.json: https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#host-json

    The defaults are the platform's but for `max_polling_interval_s`, which is one minute there: on a laptop somebody waits.
    """

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout_s: float = 0.0
    max_polling_interval_s: float = 2.0

    @classmethod
    def from_host_json(cls, document: object) -> QueueSettings:
        """Read a parsed host.json; what it does not say keeps its default. Raises `ConfigError` naming the wrong member."""
        queues = document
        for name in ("extensions", "queues"):
            queues = queues.get(name, {}) if isinstance(queues, Mapping) else None
        if not isinstance(queues, Mapping):
            raise ConfigError("host.json: `extensions.queues` must be an object")
        if queues.get("messageEncoding", "base64") != "base64":
            raise ConfigError("host.json: `extensions.queues.messageEncoding` must be `base64`; nothing else is supported here")
        batch_size = _read_count(queues, "batchSize", 16, low=1, high=_MAX_BATCH_SIZE)
        return cls(
            batch_size=batch_size,
            new_batch_threshold=_read_count(queues, "newBatchThreshold", batch_size // 2, low=0, high=1000),
            max_dequeue_count=_read_count(queues, "maxDequeueCount", 5, low=1, high=1000),
            visibility_timeout_s=_read_time_span(queues, "visibilityTimeout", 0.0),
            max_polling_interval_s=max(_MIN_POLLING_INTERVAL_S, _read_time_span(queues, "maxPollingInterval", 2.0)),
        )


def _read_count(queues: Mapping[object, object], name: str, default: int, *, low: int, high: int) -> int:
    value = queues.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"host.json: `extensions.queues.{name}` must be a number from {low} to {high}, not `{value}`")
    return value


def _read_time_span(queues: Mapping[object, object], name: str, default: float) -> float:
    value = queues.get(name)
    if value is None:
        return default
    match = _TIME_SPAN.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ConfigError(f"host.json: `extensions.queues.{name}` must be a time span such as `00:00:02`, not `{value}`")
    days, hours, minutes, seconds = match.groups()
    return int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)


class QueuePump:
    """Feeds one function from one queue.

    A message is deleted once its function succeeded; after a failure it becomes visible again after `visibility_timeout_s`;
    a message that failed `max_dequeue_count` times is copied to `poison` and then deleted, in this order, so that a crash in
    between duplicates and never loses it. A poison queue has no poison queue of its own (`poison` None): the host leaves what
    fails there invisible until its lease lapses, and after `max_dequeue_count` attempts no longer invokes the function for it.
    """

    def __init__(
        self,
        *,
        worker: MessageWorker,
        function: str,
        queue: HostQueue,
        poison: HostQueue | None,
        settings: QueueSettings,
    ) -> None:
        self._worker = worker
        self._function = function
        self._queue = queue
        self._poison = poison
        self._settings = settings

    async def drain_once(self) -> int:
        """Take one batch of what is visible now, handle its messages concurrently, and return how many there were.

        A failing *function* is ordinary. A failing *queue* is not: once all messages of the batch were tried, an
        `ExceptionGroup` with the queue's errors is raised.
        """
        messages = await self._queue.receive(self._settings.batch_size, LEASE_S)
        results = await asyncio.gather(*(self._handle(message) for message in messages), return_exceptions=True)
        errors = [result for result in results if isinstance(result, Exception)]
        if errors:
            raise ExceptionGroup(f"messages of `{self._function}` could not be settled", errors)
        return len(messages)

    async def run(self) -> None:
        """Pump in real time until cancelled; errors of the queue are logged and tried again.

        The first cancellation stops taking on messages and waits for those being handled; a second one abandons them, and they
        come back when their lease lapses.
        """
        handling: set[asyncio.Task[None]] = set()
        pause_s = _MIN_POLLING_INTERVAL_S
        try:
            while True:
                if len(handling) > self._settings.new_batch_threshold:
                    await asyncio.wait(handling, return_when=asyncio.FIRST_COMPLETED)
                    continue
                messages = await self._receive_or_log()
                for message in messages:
                    task = asyncio.create_task(self._handle_or_log(message))
                    handling.add(task)
                    task.add_done_callback(handling.discard)
                if messages:
                    pause_s = _MIN_POLLING_INTERVAL_S
                else:
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, self._settings.max_polling_interval_s)
        finally:
            await _finish(frozenset(handling))

    async def _receive_or_log(self) -> Sequence[QueueMessage]:
        try:
            return await self._queue.receive(self._settings.batch_size, LEASE_S)
        except Exception:
            _log.exception("queue could not be read", extra={"function": self._function})
            return ()

    async def _handle_or_log(self, message: QueueMessage) -> None:
        try:
            await self._handle(message)
        except Exception:
            _log.exception("message could not be settled", extra={"function": self._function, "message_id": message.id})

    async def _handle(self, message: QueueMessage) -> None:
        if message.dequeue_count > self._settings.max_dequeue_count:
            # A host that died in its last attempt could not move the message: it is not tried once more.
            await self._give_up(message)
            return
        outcome = await self._worker.message(
            self._function,
            message.body,
            id=message.id,
            dequeue_count=message.dequeue_count,
            inserted_at=message.inserted_at,
        )
        if outcome.succeeded:
            await self._queue.delete(message)
            return
        _log.warning(
            "queue function failed",
            extra={
                "function": self._function,
                "message_id": message.id,
                "dequeue_count": message.dequeue_count,
                "error": outcome.error,
            },
        )
        if message.dequeue_count >= self._settings.max_dequeue_count:
            await self._give_up(message)
        elif self._poison is not None:
            await self._queue.release(message, self._settings.visibility_timeout_s)

    async def _give_up(self, message: QueueMessage) -> None:
        extra = {"function": self._function, "message_id": message.id, "dequeue_count": message.dequeue_count}
        if self._poison is None:
            _log.error("poison message is left in its queue", extra=extra)
            return
        await self._poison.put(message.body)
        await self._queue.delete(message)
        _log.error("message moved to the poison queue", extra=extra)


async def _finish(tasks: frozenset[asyncio.Task[None]]) -> None:
    if not tasks:
        return
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


class StorageHostQueue(StorageQueue):
    """An Azure Storage queue, or Azurite's, as a `HostQueue`; made by `from_connection_string(connection_string, name)`."""

    async def next_due(self) -> datetime | None:
        """Messages that are not visible cannot be seen in a storage queue. Always raises `UnsupportedError`."""
        raise UnsupportedError("a storage queue does not tell when its hidden messages are due")
