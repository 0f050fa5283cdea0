"""From the outbox to the sinks: what is accepted is forgotten, what is refused waits or is kept, no sink holds up another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from keydrift.alerts.history import Remembered
from keydrift.alerts.record import BindingRecord
from keydrift.delivery import REJECTED_TRIED_EVERY, Deliverer
from keydrift.model import Scenario
from keydrift.outbox import OutboxName
from keydrift.ports import DeliveryError, StateError
from keydrift.state import State
from support.builders import NOW, binding
from support.entities import MemoryEntities
from support.queues_memory import ManualClock

LOGS, TOPIC = OutboxName.LOG_ANALYTICS, OutboxName.EVENT_TOPIC
ONE, TWO = binding(Scenario.BACKUP_VAULT_CMK), binding(Scenario.CVM_CMK)


def row_of(binding_id: str, number: int) -> dict[str, object]:
    return {"AlertId": f"{binding_id[:2]}-{number}", "DetectedAt": NOW.isoformat(), "Sequence": number}


class Sink:
    """Accepts rows one after another until `judge` has something against one."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.calls, self.pauses = 0, 0
        self.judge: Callable[[str], DeliveryError | Exception | None] = lambda _: None

    async def send(self, rows: Sequence[Mapping[str, object]]) -> None:
        self.calls += 1
        for _ in range(self.pauses):
            await asyncio.sleep(0)
        for accepted, row in enumerate(rows):
            error = self.judge(str(row["AlertId"]))
            if isinstance(error, DeliveryError):
                raise DeliveryError(str(error), accepted=accepted, for_good=error.for_good)
            if error is not None:
                raise error
            self.rows.append(str(row["AlertId"]))


class Setup:
    """A state with both outboxes, or the first alone."""

    def __init__(self, *names: OutboxName) -> None:
        self.entities = MemoryEntities()
        self.state = State(self.entities, names or (LOGS,))
        self.clock = ManualClock(NOW)
        self.logs, self.topic = Sink(), Sink()
        self.deliverer = Deliverer(memory=self.state, sinks={LOGS: self.logs, TOPIC: self.topic}, clock=self.clock)

    async def record(self, binding_id: str, *sequences: int) -> None:
        """Record alerts that are called `{first letter of the binding's id}{sequence}`."""
        for number in sequences:
            last = await self.state.remembered(binding_id)
            record = replace(BindingRecord.created(binding_id, NOW), sequence=number)
            kept = Remembered(record=record, posture=None, etag=last.etag if last else None)
            await self.state.record(kept, [row_of(binding_id, number)])

    async def waiting(self) -> list[str]:
        return [str(alert.row["AlertId"]) for alert in await self.state.undelivered()]


def transient(name: str) -> Callable[[str], DeliveryError | None]:
    return lambda alert: DeliveryError("HTTP 429: later") if alert == name else None


def for_good(*names: str) -> Callable[[str], DeliveryError | None]:
    return lambda alert: DeliveryError("HTTP 400: never", for_good=True) if alert in names else None


async def three() -> Setup:
    setup = Setup()
    await setup.record("a" * 32, 1, 2, 3)
    return setup


async def test_a_partial_failure_forgets_exactly_what_was_accepted() -> None:
    """Where a later chunk is refused for now, what was accepted is not sent again, and the rest waits in its order."""
    setup = await three()
    setup.logs.judge = transient("aa-2")
    await setup.deliverer.deliver_all()
    assert (setup.logs.rows, await setup.waiting()) == (["aa-1"], ["aa-2", "aa-3"])
    setup.logs.judge = lambda _: None
    await setup.deliverer.deliver_all()
    assert (setup.logs.rows, await setup.waiting()) == (["aa-1", "aa-2", "aa-3"], [])
    assert await setup.entities.query("undelivered") == []


@pytest.mark.parametrize("bad", ["aa-1", "aa-2", "aa-3"])
async def test_a_row_that_is_refused_for_good_blocks_nobody(bad: str) -> None:
    """A row that is refused for what it holds is kept aside with the reason; those before and behind it arrive in their order."""
    setup = await three()
    setup.logs.judge = for_good(bad)
    await setup.deliverer.deliver_for(["a" * 32])
    assert setup.logs.rows == [each for each in ("aa-1", "aa-2", "aa-3") if each != bad]
    assert await setup.waiting() == []
    (kept,) = await setup.state.outboxes[0].rejected()
    assert (kept.row["AlertId"], kept.reason, kept.at) == (bad, "HTTP 400: never", NOW)


async def test_a_rejected_row_is_tried_once_a_day() -> None:
    """What was refused for good is tried again a day later, and is forgotten once it is accepted."""
    setup = await three()
    setup.logs.judge = for_good("aa-1", "aa-2", "aa-3")
    await setup.deliverer.deliver_all()
    outbox = setup.state.outboxes[0]
    assert len(await outbox.rejected()) == 3
    setup.logs.judge = for_good("aa-2")
    setup.clock.advance(REJECTED_TRIED_EVERY.total_seconds() - 60)
    calls = setup.logs.calls
    await setup.deliverer.deliver_all()
    assert (setup.logs.calls, setup.logs.rows) == (calls, [])
    setup.clock.advance(120)
    await setup.deliverer.deliver_all()
    assert setup.logs.rows == ["aa-1", "aa-3"]
    assert [each.row["AlertId"] for each in await outbox.rejected()] == ["aa-2"]


@pytest.mark.parametrize(("down", "up"), [("logs", "topic"), ("topic", "logs")])
async def test_neither_sink_waits_for_the_other(down: str, up: str) -> None:
    """With one sink down the other gets every alert, once; the first gets them all when it is back."""
    setup = Setup(LOGS, TOPIC)
    await setup.record("a" * 32, 1, 2)
    await setup.record("b" * 32, 1)
    broken, working = getattr(setup, down), getattr(setup, up)
    broken.judge = lambda _: DeliveryError("down")
    await setup.deliverer.deliver_for(["a" * 32, "b" * 32])
    await setup.deliverer.deliver_all()
    assert working.rows == ["aa-1", "aa-2", "bb-1"]
    assert broken.rows == []
    broken.judge = lambda _: None
    await setup.deliverer.deliver_all()
    assert (working.rows, broken.rows) == (["aa-1", "aa-2", "bb-1"], ["aa-1", "aa-2", "bb-1"])
    assert await setup.waiting() == []


async def test_a_sink_that_keeps_failing_is_left_alone() -> None:
    """After three failures in a row tries come some minutes apart, at most ten, whoever asks; one success ends that."""
    setup = Setup(LOGS, TOPIC)
    await setup.record("a" * 32, 1)
    setup.logs.judge = lambda _: DeliveryError("down")
    tries: list[int] = []
    for minute in range(60):
        calls = setup.logs.calls
        await setup.deliverer.deliver_for(["a" * 32])
        if minute % 2 == 0:
            await setup.deliverer.deliver_all()
        tries += [minute] * (setup.logs.calls - calls)
        setup.clock.advance(60)
    assert tries == [0, 0, 1, 5, 13, 21, 29, 37, 45, 53]
    assert setup.topic.rows == ["aa-1"]
    setup.clock.advance(120)
    setup.logs.judge = lambda _: None
    await setup.deliverer.deliver_all()
    await setup.record("b" * 32, 1)
    await setup.deliverer.deliver_for(["b" * 32])
    assert setup.logs.rows == ["aa-1", "bb-1"]
    # As if it had never failed: the next failures are the first ones
    setup.logs.judge = lambda _: DeliveryError("down")
    await setup.record("c" * 32, 1)
    calls = setup.logs.calls
    for _ in range(5):
        await setup.deliverer.deliver_for(["c" * 32])
    assert setup.logs.calls - calls == 3


async def test_an_unforeseen_error_of_one_sink_stops_no_other() -> None:
    """What a sink raises unforeseen is raised, after the other sink has got its alerts; nothing is forgotten."""
    setup = Setup(LOGS, TOPIC)
    await setup.record("a" * 32, 1)
    setup.logs.judge = lambda _: StateError("something else", transient=False)
    setup.topic.pauses = 5  # slower than the error
    with pytest.raises(StateError):
        await setup.deliverer.deliver_all()
    assert setup.topic.rows == ["aa-1"]
    assert await setup.waiting() == ["aa-1"]


async def test_a_sink_that_is_not_set_leaves_no_trace() -> None:
    """Without an Event Grid topic nothing is kept for one."""
    setup = await three()
    await setup.deliverer.deliver_all()
    assert setup.topic.calls == 0
    assert await setup.entities.query(f"binding/{'a' * 32}", "event/") == []


def test_an_outbox_has_a_sink() -> None:
    """An outbox that nobody empties is a mistake of whoever composes."""
    with pytest.raises(AssertionError, match="outbox"):
        Deliverer(memory=State(MemoryEntities(), (LOGS, TOPIC)), sinks={LOGS: Sink()}, clock=ManualClock(NOW))


async def test_a_crash_after_sending_repeats_and_loses_nothing() -> None:
    """Where the state cannot be written after rows were accepted, they are sent again under the same ids."""
    setup = await three()
    written = setup.entities.transact

    async def refuse(_: object) -> object:
        raise StateError("the table is down", transient=True)

    setup.entities.transact = refuse  # type: ignore[method-assign, assignment]
    with pytest.raises(StateError):
        await setup.deliverer.deliver_for(["a" * 32])
    setup.entities.transact = written  # type: ignore[method-assign]
    await setup.deliverer.deliver_for(["a" * 32])
    assert setup.logs.rows == ["aa-1", "aa-2", "aa-3"] * 2
    assert await setup.waiting() == []
    assert await setup.state.outboxes[0].pending() == []
    setup.clock.advance(timedelta(hours=2).total_seconds())
    await setup.deliverer.deliver_all()
    assert await setup.entities.query("undelivered") == []
