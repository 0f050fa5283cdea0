"""The contract of the recheck queue and its host's side, kept in memory, by SQLite and by an Azure Storage queue (Azurite)."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from keydrift.adapters.queue_rules import MAX_DELAY_S, MAX_MESSAGE_BYTES
from keydrift.adapters.sqlite_queue import SqliteQueue
from keydrift.adapters.storage_queue import StorageQueue
from keydrift.ports import QueueMessage, RecheckQueue, StateError
from support.queues_memory import ManualClock, MemoryQueue

START = datetime(2026, 1, 1, tzinfo=UTC)


class HostedQueue(RecheckQueue, Protocol):
    async def receive(self, limit: int, visibility_s: float) -> Sequence[QueueMessage]: ...
    async def delete(self, message: QueueMessage) -> None: ...
    async def release(self, message: QueueMessage, visibility_s: float) -> None: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A queue, and how to let time pass for it. A hidden message stays hidden for `hidden_s`, in which the test acts."""

    queue: HostedQueue
    wait: Callable[[float], Awaitable[None]]
    hidden_s: float


@pytest.fixture(params=["memory", "sqlite", "azurite"])
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Case]:
    clock = ManualClock(START)
    match request.param:
        case "memory":
            made = Case(queue=MemoryQueue(clock), wait=clock.sleep, hidden_s=600)
        case "sqlite":
            made = Case(queue=SqliteQueue(tmp_path / "state.db", "rechecks", clock), wait=clock.sleep, hidden_s=600)
        case _:
            queue = StorageQueue.from_connection_string(request.getfixturevalue("azurite"), f"q{uuid.uuid4().hex}")
            # A little longer: Azurite's clock has whole seconds.
            made = Case(queue=queue, wait=lambda seconds: asyncio.sleep(seconds + 1), hidden_s=3)
    yield made
    await made.queue.close()


async def receive_one(case: Case) -> QueueMessage:
    (message,) = await case.queue.receive(32, case.hidden_s)
    return message


async def test_a_message_is_received_once_and_deleted(case: Case) -> None:
    """A message put is received with its body, hidden from others, and gone when deleted."""
    await case.queue.put("body")
    message = await receive_one(case)
    assert (message.body, message.dequeue_count) == ("body", 1)
    assert message.inserted_at.utcoffset() == timedelta(0)
    assert await case.queue.receive(32, case.hidden_s) == []
    await case.queue.delete(message)
    await case.wait(case.hidden_s)
    assert await case.queue.receive(32, case.hidden_s) == []


async def test_a_message_not_deleted_comes_back_and_is_counted(case: Case) -> None:
    """When its time is over a message is visible again, the same one, with a higher count and a new receipt."""
    await case.queue.put("body")
    first = await receive_one(case)
    await case.wait(case.hidden_s)
    second = await receive_one(case)
    assert (second.id, second.body, second.dequeue_count) == (first.id, "body", 2)
    assert second.inserted_at == first.inserted_at
    assert second.receipt != first.receipt


async def test_a_stale_receipt_deletes_and_releases_nothing(case: Case) -> None:
    """Who held a message before can neither delete nor release it under its new holder."""
    await case.queue.put("body")
    first = await receive_one(case)
    await case.wait(case.hidden_s)
    second = await receive_one(case)
    await case.queue.delete(first)
    await case.queue.release(first, 0)
    assert await case.queue.receive(32, case.hidden_s) == []
    await case.queue.release(second, 0)
    await case.queue.delete(second)
    third = await receive_one(case)
    await case.queue.delete(second)
    await case.queue.release(third, 0)
    assert (await receive_one(case)).dequeue_count == 4


async def test_a_released_message_is_visible_when_its_release_says(case: Case) -> None:
    """A release shows the message at once or after its delay, never before."""
    await case.queue.put("body")
    await case.queue.release(await receive_one(case), 0)
    message = await receive_one(case)
    assert message.dequeue_count == 2
    await case.queue.release(message, 2 * case.hidden_s)
    await case.wait(case.hidden_s / 2)
    assert await case.queue.receive(32, case.hidden_s) == []
    await case.wait(2 * case.hidden_s)
    assert (await receive_one(case)).dequeue_count == 3


async def test_deleting_twice_does_nothing(case: Case) -> None:
    """A message that is gone already is no error for who deletes or releases it."""
    await case.queue.put("body")
    message = await receive_one(case)
    await case.queue.delete(message)
    await case.queue.delete(message)
    await case.queue.release(message, 0)
    assert await case.queue.receive(32, case.hidden_s) == []


async def test_a_delayed_message_is_not_visible_before_its_time(case: Case) -> None:
    """A delay hides one message and not the others."""
    await case.queue.put("later", delay_s=case.hidden_s)
    await case.queue.put("now")
    message = await receive_one(case)
    assert message.body == "now"
    await case.queue.delete(message)
    await case.wait(case.hidden_s)
    message = await receive_one(case)
    assert (message.body, message.dequeue_count) == ("later", 1)


async def test_a_limit_is_kept_and_nothing_is_lost(case: Case) -> None:
    """Receiving in portions, beyond a storage queue's page of 32 too, returns every message once."""
    for number in range(45):
        await case.queue.put(str(number))
    portions = [await case.queue.receive(limit, 60) for limit in (1, 3, 40, 10, 10)]
    assert [len(each) for each in portions] == [1, 3, 40, 1, 0]
    assert sorted(int(message.body) for portion in portions for message in portion) == list(range(45))


@pytest.mark.parametrize(
    "body",
    ["", "é 日本 🔑 \x00\x01 <&>\r\n", "Zm9v", "x" * MAX_MESSAGE_BYTES, "é" * (MAX_MESSAGE_BYTES // 2)],
    ids=["empty", "unicode", "looks like base64", "48 KiB", "48 KiB of unicode"],
)
async def test_bodies_come_back_as_they_went_in(case: Case, body: str) -> None:
    """A body is text of any characters up to 48 KiB of UTF-8."""
    await case.queue.put(body)
    assert (await receive_one(case)).body == body


async def test_bodies_and_delays_beyond_the_limits_are_value_errors(case: Case) -> None:
    """What a storage queue would not take, no queue takes."""
    for body, delay_s in (("é" * (MAX_MESSAGE_BYTES // 2) + "x", 0), ("b", -1), ("b", MAX_DELAY_S + 1), ("b", float("nan"))):
        with pytest.raises(ValueError, match=r"at most|delayed"):
            await case.queue.put(body, delay_s=delay_s)
    await case.queue.put("the longest delay", delay_s=MAX_DELAY_S)
    assert await case.queue.receive(32, case.hidden_s) == []


async def test_of_concurrent_receivers_one_gets_a_message(case: Case) -> None:
    """Receivers at the same time share the messages out, none twice."""
    for number in range(20):
        await case.queue.put(str(number))
    portions = await asyncio.gather(*(case.queue.receive(7, 60) for _ in range(4)))
    assert sorted(int(message.body) for portion in portions for message in portion) == list(range(20))


# --- those with a clock of their own -----------------------------------------------------------------------------------


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture(params=["memory", "sqlite"])
async def queue(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> AsyncIterator[MemoryQueue | SqliteQueue]:
    made = MemoryQueue(clock) if request.param == "memory" else SqliteQueue(tmp_path / "state.db", "rechecks", clock)
    yield made
    await made.close()


async def test_the_oldest_due_comes_first(queue: MemoryQueue | SqliteQueue, clock: ManualClock) -> None:
    """Order is by the time a message fell due, then by the time it was put."""
    for body, delay_s in (("c", 30), ("a", 10), ("b1", 20), ("b2", 20), ("first", 0)):
        await queue.put(body, delay_s=delay_s)
    clock.advance(25)
    assert [each.body for each in await queue.receive(10, 5)] == ["first", "a", "b1", "b2"]
    clock.advance(5)
    assert [each.body for each in await queue.receive(1, 5)] == ["c"]


async def test_visibility_is_exact_on_the_given_clock(queue: MemoryQueue | SqliteQueue, clock: ManualClock) -> None:
    """A message is visible from the very moment that it is due, on the clock that was given and no other."""
    await queue.put("body", delay_s=0.5)
    clock.advance(0.499999)
    assert await queue.receive(1, 5) == []
    clock.advance(0.000001)
    (message,) = await queue.receive(1, 5)
    assert message.inserted_at == START


async def test_next_due_is_when_there_is_work_again(queue: MemoryQueue | SqliteQueue, clock: ManualClock) -> None:
    """The next due time counts delayed, received and released messages, and is None for an empty queue."""
    assert await queue.next_due() is None
    await queue.put("later", delay_s=100)
    assert await queue.next_due() == START + timedelta(seconds=100)
    await queue.put("now")
    assert await queue.next_due() == START
    (message,) = await queue.receive(5, 30)
    assert await queue.next_due() == START + timedelta(seconds=30)
    await queue.release(message, 5)
    assert await queue.next_due() == START + timedelta(seconds=5)
    clock.advance(5)
    (message,) = await queue.receive(5, 30)
    await queue.delete(message)
    assert await queue.next_due() == START + timedelta(seconds=100)


async def test_a_queue_outlives_its_process_and_keeps_to_its_name(clock: ManualClock, tmp_path: Path) -> None:
    """Messages stay in the file, and queues of different names in one file do not see each other's."""
    path = tmp_path / "state.db"
    first = SqliteQueue(path, "rechecks", clock)
    await first.put("body")
    (held,) = await first.receive(1, 60)
    await first.close()
    other, again = SqliteQueue(path, "rechecks-poison", clock), SqliteQueue(path, "rechecks", clock)
    await other.delete(held)
    await other.release(held, 0)
    assert await other.next_due() is None
    clock.advance(60)
    assert await other.receive(5, 60) == []
    (message,) = await again.receive(5, 60)
    assert (message.id, message.dequeue_count) == (held.id, 2)
    await other.close()
    await again.close()


# --- Azure Storage queues ----------------------------------------------------------------------------------------------


async def test_messages_are_base64_and_never_expire(azurite: str) -> None:
    """On the wire a body is base64 of UTF-8, as the Functions host expects, and no message ends unseen after 7 days."""
    from azure.storage.queue.aio import QueueClient

    name = f"q{uuid.uuid4().hex}"
    queue = StorageQueue.from_connection_string(azurite, name)
    await queue.put("é")
    async with QueueClient.from_connection_string(azurite, name) as client:
        (raw,) = await client.peek_messages(1)
    assert base64.b64decode(raw.content) == "é".encode()
    assert raw.expires_on is not None
    assert raw.expires_on > datetime.now(UTC) + timedelta(days=3650)
    await queue.close()


async def test_a_foreign_message_is_handed_over_as_it_is(azurite: str) -> None:
    """A message that somebody else put, not base64, does not keep the others from being received."""
    from azure.storage.queue.aio import QueueClient

    name = f"q{uuid.uuid4().hex}"
    queue = StorageQueue.from_connection_string(azurite, name)
    await queue.put("ours")
    async with QueueClient.from_connection_string(azurite, name) as client:
        await client.send_message('{"plain": "text"}')
    assert {each.body for each in await queue.receive(5, 5)} == {"ours", '{"plain": "text"}'}
    await queue.close()


async def test_a_refusal_names_the_role_that_is_missing(azurite: str) -> None:
    """An account key that is not the account's is answered with 403, and the error names the role."""
    queue = StorageQueue.from_connection_string(azurite.replace("AccountKey=Eby8", "AccountKey=AAAA"), "q1234")
    with pytest.raises(StateError, match="Storage Queue Data Contributor") as refused:
        await queue.put("body")
    assert not refused.value.transient
    await queue.close()


async def test_the_queue_is_made_again_when_somebody_deleted_it(azurite: str) -> None:
    """A queue deleted under its user is a transient error once, and then an empty queue."""
    from azure.storage.queue.aio import QueueClient

    name = f"q{uuid.uuid4().hex}"
    queue = StorageQueue.from_connection_string(azurite, name)
    await queue.put("lost with the queue")
    async with QueueClient.from_connection_string(azurite, name) as client:
        await client.delete_queue()
    with pytest.raises(StateError) as answer:
        await queue.put("body")
    assert answer.value.transient
    await queue.put("body")
    assert [each.body for each in await queue.receive(5, 5)] == ["body"]
    await queue.close()
