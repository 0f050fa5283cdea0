"""The semantics of the functions host's queue trigger, against an in-memory queue and a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from keydrift.errors import ConfigError
from keydrift.ports import QueueMessage
from keydrift_local.host_queue import HostQueue, QueuePump, QueueSettings, StorageHostQueue, UnsupportedError
from keydrift_local.worker import Outcome
from support.queues import MemoryHostQueue

_BODY = '{"key_store":"kv-é","n":1}\n'


class _Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class _Worker:
    """Records each delivery; fails where `fails` says so for the body and the dequeue count."""

    def __init__(self, fails: Callable[[str, int], bool] = lambda _body, _count: False) -> None:
        self.fails = fails
        self.deliveries: list[tuple[str, int]] = []
        self.gate: asyncio.Event | None = None
        self.most_at_once = 0
        self._now = 0

    async def message(self, function: str, body: str, *, id: str, dequeue_count: int, inserted_at: datetime) -> Outcome:  # noqa: A002
        self.deliveries.append((body, dequeue_count))
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            if self.gate is not None:
                await self.gate.wait()
            await asyncio.sleep(0)
        finally:
            self._now -= 1
        failed = self.fails(body, dequeue_count)
        return Outcome(succeeded=not failed, error="boom" if failed else None, body=None, status=None, headers={})


_DEFAULTS = QueueSettings()


def _pump(worker: _Worker, queue: HostQueue, poison: HostQueue | None, settings: QueueSettings = _DEFAULTS) -> QueuePump:
    return QueuePump(worker=worker, function="recheck", queue=queue, poison=poison, settings=settings)


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.01)


async def test_success_deletes() -> None:
    """A message whose function succeeded is gone."""
    clock = _Clock()
    queue, poison, worker = MemoryHostQueue(clock), MemoryHostQueue(clock), _Worker()
    await queue.put(_BODY)
    assert await _pump(worker, queue, poison).drain_once() == 1
    assert worker.deliveries == [(_BODY, 1)]
    assert (queue.bodies, poison.bodies) == ([], [])


async def test_poison_after_exactly_five_dequeues() -> None:
    """A message that keeps failing is tried five times, then stands in the poison queue with its body intact."""
    clock = _Clock()
    queue, poison, worker = MemoryHostQueue(clock), MemoryHostQueue(clock), _Worker(lambda _body, _count: True)
    await queue.put(_BODY)
    pump = _pump(worker, queue, poison)
    counts = [await pump.drain_once() for _ in range(7)]
    assert counts == [1, 1, 1, 1, 1, 0, 0]
    assert worker.deliveries == [(_BODY, count) for count in (1, 2, 3, 4, 5)]
    assert (queue.bodies, poison.bodies) == ([], [_BODY])


async def test_recovery_before_the_last_attempt() -> None:
    """A message that succeeds at its fifth attempt never reaches the poison queue."""
    clock = _Clock()
    queue, poison, worker = MemoryHostQueue(clock), MemoryHostQueue(clock), _Worker(lambda _body, count: count < 5)
    await queue.put(_BODY)
    pump = _pump(worker, queue, poison)
    while await pump.drain_once():
        pass
    assert len(worker.deliveries) == 5
    assert (queue.bodies, poison.bodies) == ([], [])


async def test_visibility_timeout_delays_the_retry() -> None:
    """After a failure a message stays hidden for host.json's visibilityTimeout, and no longer."""
    clock = _Clock()
    queue, poison, worker = MemoryHostQueue(clock), MemoryHostQueue(clock), _Worker(lambda _body, count: count == 1)
    await queue.put(_BODY)
    pump = _pump(worker, queue, poison, QueueSettings(visibility_timeout_s=30))
    assert await pump.drain_once() == 1
    clock.advance(29)
    assert await pump.drain_once() == 0
    clock.advance(1)
    assert await pump.drain_once() == 1
    assert queue.bodies == []


async def test_delayed_message_is_not_seen_early() -> None:
    """A message put with a delay is invisible until its delay has passed."""
    clock = _Clock()
    queue, poison, worker = MemoryHostQueue(clock), MemoryHostQueue(clock), _Worker()
    await queue.put(_BODY, delay_s=120)
    pump = _pump(worker, queue, poison)
    clock.advance(119)
    assert await pump.drain_once() == 0
    assert await queue.next_due() == datetime(2026, 3, 1, 0, 2, tzinfo=UTC)
    clock.advance(1)
    assert await pump.drain_once() == 1


async def test_batch_runs_at_once_and_is_bounded() -> None:
    """One batch holds batchSize messages, which are handled concurrently."""
    clock = _Clock()
    queue, poison, worker = MemoryHostQueue(clock), MemoryHostQueue(clock), _Worker()
    for number in range(5):
        await queue.put(str(number))
    assert await _pump(worker, queue, poison, QueueSettings(batch_size=3)).drain_once() == 3
    assert worker.most_at_once == 3
    assert queue.bodies == ["3", "4"]


async def test_one_failure_leaves_the_rest_of_the_batch() -> None:
    """A failing message neither stops nor repeats the others of its batch."""
    clock = _Clock()
    queue, poison, worker = MemoryHostQueue(clock), MemoryHostQueue(clock), _Worker(lambda body, _count: body == "bad")
    for body in ("good", "bad", "fine"):
        await queue.put(body)
    await _pump(worker, queue, poison).drain_once()
    assert queue.bodies == ["bad"]


async def test_message_beyond_the_last_attempt_is_not_invoked() -> None:
    """A message whose last attempt died with its host goes to the poison queue without another invocation."""
    clock = _Clock()
    queue, poison, worker = MemoryHostQueue(clock), MemoryHostQueue(clock), _Worker()
    await queue.put(_BODY)
    for _ in range(5):
        await queue.receive(1, 0)
    assert await _pump(worker, queue, poison).drain_once() == 1
    assert worker.deliveries == []
    assert (queue.bodies, poison.bodies) == ([], [_BODY])


async def test_poison_queue_has_no_poison_queue() -> None:
    """What fails in a poison queue stays there: hidden for its lease, tried five times, never deleted."""
    clock = _Clock()
    queue, worker = MemoryHostQueue(clock), _Worker(lambda _body, _count: True)
    await queue.put(_BODY)
    pump = _pump(worker, queue, None)
    for _ in range(7):
        assert await pump.drain_once() == 1
        clock.advance(599)
        assert await pump.drain_once() == 0
        clock.advance(1)
    assert [count for _, count in worker.deliveries] == [1, 2, 3, 4, 5]
    assert queue.bodies == [_BODY]


class _BrokenPoison(MemoryHostQueue):
    async def put(self, body: str, *, delay_s: float = 0.0) -> None:
        raise ConnectionError("storage is down")


async def test_poison_copy_precedes_the_delete() -> None:
    """A message that cannot be copied to the poison queue is not deleted, and the error is told."""
    clock = _Clock()
    queue, worker = MemoryHostQueue(clock), _Worker(lambda _body, _count: True)
    await queue.put(_BODY)
    pump = _pump(worker, queue, _BrokenPoison(clock), QueueSettings(max_dequeue_count=1))
    with pytest.raises(ExceptionGroup, match="recheck") as caught:
        await pump.drain_once()
    assert [type(error) for error in caught.value.exceptions] == [ConnectionError]
    assert queue.bodies == [_BODY]


class _FlakyQueue(MemoryHostQueue):
    outages = 2

    async def receive(self, limit: int, visibility_s: float) -> Sequence[QueueMessage]:
        if self.outages:
            self.outages -= 1
            raise ConnectionError("storage is down")
        return await super().receive(limit, visibility_s)


async def test_run_outlives_an_outage() -> None:
    """The pump goes on after its queue could not be read."""
    queue, worker = _FlakyQueue(lambda: datetime.now(UTC)), _Worker()
    await queue.put(_BODY)
    running = asyncio.create_task(_pump(worker, queue, None, QueueSettings(max_polling_interval_s=0.1)).run())
    await _until(lambda: not queue.bodies)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert worker.deliveries == [(_BODY, 1)]


async def test_run_finishes_what_it_began() -> None:
    """A cancelled pump takes on nothing new, and ends only once the message in hand is settled."""
    queue, worker = MemoryHostQueue(lambda: datetime.now(UTC)), _Worker()
    worker.gate = asyncio.Event()
    await queue.put(_BODY)
    running = asyncio.create_task(_pump(worker, queue, None).run())
    await _until(lambda: bool(worker.deliveries))
    running.cancel()
    await asyncio.sleep(0.05)
    assert not running.done()
    await queue.put("later")
    worker.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert queue.bodies == ["later"]


async def test_run_can_be_abandoned() -> None:
    """A pump cancelled twice abandons the message in hand, which its queue still holds."""
    queue, worker = MemoryHostQueue(lambda: datetime.now(UTC)), _Worker()
    worker.gate = asyncio.Event()
    await queue.put(_BODY)
    running = asyncio.create_task(_pump(worker, queue, None).run())
    await _until(lambda: bool(worker.deliveries))
    running.cancel()
    await asyncio.sleep(0.01)
    running.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await running
    assert queue.bodies == [_BODY]


async def test_run_bounds_what_is_in_hand() -> None:
    """At most batchSize plus newBatchThreshold messages are in hand at once."""
    queue, worker = MemoryHostQueue(lambda: datetime.now(UTC)), _Worker()
    worker.gate = asyncio.Event()
    for number in range(10):
        await queue.put(str(number))
    running = asyncio.create_task(_pump(worker, queue, None, QueueSettings(batch_size=2, new_batch_threshold=1)).run())
    await asyncio.sleep(0.1)
    assert worker.most_at_once == 2
    worker.gate.set()
    await _until(lambda: not queue.bodies)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert worker.most_at_once <= 3
    assert sorted(worker.deliveries) == [(str(number), 1) for number in range(10)]


async def test_storage_queue_does_not_tell_when() -> None:
    """A storage queue serves a pump, but says that it cannot tell when its hidden messages are due."""
    account = "AccountName=account;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:9/account;"
    queue: HostQueue
    queue = storage = StorageHostQueue.from_connection_string(account, "rechecks")
    with pytest.raises(UnsupportedError):
        await queue.next_due()
    await storage.close()


@pytest.mark.parametrize(
    ("queues", "expected"),
    [
        ({}, QueueSettings()),
        (
            {"batchSize": 5, "maxDequeueCount": 3, "visibilityTimeout": "00:01:30", "maxPollingInterval": "00:00:00.5000000"},
            QueueSettings(
                batch_size=5,
                new_batch_threshold=2,
                max_dequeue_count=3,
                visibility_timeout_s=90.0,
                max_polling_interval_s=0.5,
            ),
        ),
        (
            {"newBatchThreshold": 1, "visibilityTimeout": "1.02:00:00"},
            QueueSettings(new_batch_threshold=1, visibility_timeout_s=93600.0),
        ),
        ({"messageEncoding": "base64"}, QueueSettings()),
    ],
)
def test_settings(queues: object, expected: QueueSettings) -> None:
    """host.json's queue members are read in its own spelling and units."""
    assert QueueSettings.from_host_json({"version": "2.0", "extensions": {"queues": queues}}) == expected


def test_settings_of_an_empty_host_json() -> None:
    """A host.json without extensions keeps every default."""
    assert QueueSettings.from_host_json({"version": "2.0"}) == QueueSettings()


@pytest.mark.parametrize(
    ("queues", "named"),
    [
        ({"batchSize": 33}, "batchSize"),
        ({"batchSize": True}, "batchSize"),
        ({"maxDequeueCount": 0}, "maxDequeueCount"),
        ({"visibilityTimeout": "30"}, "visibilityTimeout"),
        ({"visibilityTimeout": 30}, "visibilityTimeout"),
        ({"maxPollingInterval": "PT2S"}, "maxPollingInterval"),
        ({"messageEncoding": "none"}, "messageEncoding"),
        ([], "queues"),
    ],
)
def test_wrong_settings(queues: object, named: str) -> None:
    """A wrong member of host.json is an error that names it."""
    with pytest.raises(ConfigError, match=named):
        QueueSettings.from_host_json({"extensions": {"queues": queues}})
