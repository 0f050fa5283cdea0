"""ARM's read budget: a burst, then a steady rate, for each subscription; a pause that the service asks for stops all of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest

from keydrift.adapters.pacing import READ_BURST, READS_PER_S, PacedTransport, ReadBudget, TokenBucket, subscription_in
from keydrift_local.clock import SimulatedClock
from support.queues_memory import ManualClock

START = datetime(2026, 1, 1, tzinfo=UTC)
ARM = "https://management.azure.com"


def waited(clock: ManualClock) -> float:
    return (clock.now() - START).total_seconds()


async def takes(bucket: TokenBucket, count: int) -> None:
    for _ in range(count):
        await bucket.take()


@pytest.mark.parametrize(
    ("reads", "expected_s"),
    [(1, 0.0), (READ_BURST, 0.0), (READ_BURST + 1, 0.04), (READ_BURST + 25, 1.0), (READ_BURST + 2500, 100.0)],
)
async def test_a_burst_then_a_steady_rate(reads: int, expected_s: float) -> None:
    """The published budget: 250 reads at once, and 25 a second from then on (azure-facts 5.7)."""
    clock = ManualClock()
    await takes(TokenBucket(clock), reads)
    assert waited(clock) == pytest.approx(expected_s, abs=0.001)


@pytest.mark.parametrize(("idle_s", "free"), [(0.0, 0), (1.0, 25), (4.0, 100), (3600.0, READ_BURST)])
async def test_an_idle_bucket_fills_up_to_its_size(idle_s: float, free: int) -> None:
    """What is not used is kept, up to one burst."""
    clock = ManualClock()
    bucket = TokenBucket(clock)
    await takes(bucket, READ_BURST)
    clock.advance(idle_s)
    before = clock.now()
    await takes(bucket, free)
    assert clock.now() == before
    await bucket.take()
    assert clock.now() > before


async def test_no_window_holds_more_than_the_budget() -> None:
    """In any span of time there are at most a burst and what is refilled in it."""
    clock = ManualClock()
    bucket = TokenBucket(clock, burst=10, per_second=5)
    times = []
    for number in range(200):
        await bucket.take()
        times.append(waited(clock))
        clock.advance((number % 7) * 0.11)
    for first in range(len(times)):
        for last in range(first, len(times)):
            assert last - first + 1 <= 10 + 5 * (times[last] - times[first]) + 1.001


async def test_turns_are_first_come_first_served() -> None:
    """Nobody is overtaken."""
    clock = ManualClock()
    bucket = TokenBucket(clock, burst=1, per_second=1)
    order: list[int] = []

    async def reader(number: int) -> None:
        await bucket.take()
        order.append(number)

    await asyncio.gather(*(reader(number) for number in range(20)))
    assert order == list(range(20))


async def test_a_pause_stops_every_turn_and_empties_the_bucket() -> None:
    """A service that asks to wait says that nothing is left: after the pause there is the steady rate, no burst."""
    clock = ManualClock()
    bucket = TokenBucket(clock)
    await takes(bucket, 5)
    bucket.hold(30)
    await bucket.take()
    assert waited(clock) == pytest.approx(30 + 1 / READS_PER_S, abs=0.001)
    await takes(bucket, 25)
    assert waited(clock) == pytest.approx(31 + 1 / READS_PER_S, abs=0.001)


async def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    """Of several pauses the longest counts."""
    clock = ManualClock()
    bucket = TokenBucket(clock)
    bucket.hold(30)
    bucket.hold(5)
    await bucket.take()
    assert waited(clock) >= 30


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"{ARM}/subscriptions/AAAA-1/providers/x?api-version=1", "aaaa-1"),
        (f"{ARM}/Subscriptions/aaaa-1", "aaaa-1"),
        (f"{ARM}/subscriptions?api-version=1", ""),
        (f"{ARM}/providers/Microsoft.Management/managementGroups/subscriptions/aaaa-1", ""),
        (f"{ARM}/", ""),
    ],
)
def test_a_url_draws_from_its_subscriptions_bucket(url: str, expected: str) -> None:
    """Each subscription has a budget of its own, and so has the tenant."""
    assert subscription_in(url) == expected


async def test_subscriptions_do_not_wait_for_one_another() -> None:
    """A bucket that is empty in one subscription is full in another."""
    clock = ManualClock()
    budget = ReadBudget(clock, burst=2, per_second=1)
    await takes(budget.bucket(f"{ARM}/subscriptions/a/x"), 2)
    await takes(budget.bucket(f"{ARM}/subscriptions/b/x"), 2)
    assert waited(clock) == 0
    await budget.bucket(f"{ARM}/subscriptions/A/y").take()
    assert waited(clock) == pytest.approx(1)


@pytest.mark.parametrize(
    ("value", "expected_s"),
    [
        ("17", 17.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        (format_datetime(START + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(START - timedelta(seconds=90), usegmt=True), 0.0),
        ("soon", 0.0),
        ("", 0.0),
        (None, 0.0),
    ],
)
def test_retry_after(value: str | None, expected_s: float) -> None:
    """`Retry-After` is a number of seconds or a date; anything else asks for nothing."""
    headers = {} if value is None else {"Retry-After": value}
    assert ReadBudget(ManualClock()).pause_asked_for(headers) == expected_s


class FakeTransport:
    """Answers with these statuses and headers in turn, and notes when it was asked."""

    def __init__(self, clock: ManualClock, *answers: tuple[int, dict[str, str]]) -> None:
        self.clock, self.answers, self.sent = clock, list(answers), list[float]()

    async def send(self, request: Any, **options: Any) -> Any:
        self.sent.append(waited(self.clock))
        status, headers = self.answers.pop(0) if self.answers else (200, {})
        return SimpleNamespace(status_code=status, headers=headers)

    async def sleep(self, duration: float) -> None:
        await self.clock.sleep(duration)


async def send(transport: PacedTransport, path: str, times: int = 1) -> None:
    for _ in range(times):
        await transport.send(SimpleNamespace(url=f"{ARM}{path}"))  # type: ignore[arg-type]  # only the address is read


@pytest.mark.parametrize(
    ("status", "headers", "next_at"),
    [
        (200, {"Retry-After": "9"}, 0.0),
        (429, {"Retry-After": "9"}, 9.04),
        (503, {"Retry-After": "9"}, 9.04),
        (429, {}, 0.04),
        (503, {}, 0.0),
    ],
)
async def test_a_refusal_slows_the_whole_subscription(status: int, headers: dict[str, str], next_at: float) -> None:
    """After a 429, or a pause asked for, the subscription's next read waits; other subscriptions' reads do not."""
    clock = ManualClock()
    inner = FakeTransport(clock, (status, headers))
    transport = PacedTransport(inner, ReadBudget(clock))
    await send(transport, "/subscriptions/a/x")
    await send(transport, "/subscriptions/b/x")
    await send(transport, "/subscriptions/a/y")
    assert inner.sent == pytest.approx([0.0, 0.0, next_at], abs=0.001)


async def test_every_request_takes_a_turn() -> None:
    """A retry is a request like any other."""
    clock = ManualClock()
    inner = FakeTransport(clock)
    transport = PacedTransport(inner, ReadBudget(clock, burst=2, per_second=1))
    await send(transport, "/subscriptions/a/x", times=4)
    assert inner.sent == pytest.approx([0.0, 0.0, 1.0, 2.0], abs=0.001)
    await transport.sleep(3)
    assert waited(clock) == pytest.approx(5.0, abs=0.001)


async def test_on_a_clock_where_waiting_takes_no_time_nobody_waits() -> None:
    """A thousand turns on a rehearsal's clock, which does not move by waiting, are had after a few looks at it each."""
    clock = SimulatedClock(datetime(2026, 1, 1, tzinfo=UTC))
    bucket = TokenBucket(clock, burst=2, per_second=25)
    before = clock.now()
    for _ in range(1000):
        await bucket.take()
    bucket.hold(3600)
    await bucket.take()
    # each look moves it by a microsecond
    assert clock.now() - before < timedelta(microseconds=10_000)


@pytest.mark.parametrize(
    ("asked", "expected_s"),
    [
        ("7", 7.0),
        ("300", 300.0),
        ("301", 300.0),
        ("1e400", 300.0),
        ("inf", 300.0),
        ("nan", 0.0),
        ("-inf", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 300.0),
        ("Thu, 01 Jan 2026 00:00:05 GMT", 5.0),
        ("Thu, 99 Foo 2026", 0.0),
    ],
)
def test_no_pause_is_longer_than_five_minutes(asked: str, expected_s: float) -> None:
    """A service may stop a subscription's reads for as long as ARM's longest window, not for good; nonsense asks for nothing."""
    assert ReadBudget(ManualClock()).pause_asked_for({"Retry-After": asked}) == expected_s
