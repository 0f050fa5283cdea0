"""What a beat reads and sends, between fakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from keydrift import pulse
from keydrift.alerts.history import Remembered
from keydrift.alerts.record import BindingRecord
from keydrift.health import HealthCheck, HealthReading, HealthStatus
from keydrift.model import Scenario
from keydrift.ports import DeliveryError
from keydrift.pulse import EVENTS_CHECKED_EVERY, Pulse
from keydrift.state import State
from support.builders import NOW, TENANT, binding
from support.entities import MemoryEntities
from support.queues_memory import ManualClock

BINDINGS = (binding(Scenario.BACKUP_VAULT_CMK), binding(Scenario.CVM_CMK))


class Sink:
    """Keeps rows in the calls that they came in; refuses while `down`."""

    def __init__(self) -> None:
        self.calls: list[list[dict[str, Any]]] = []
        self.down = False

    async def send(self, rows: Sequence[Mapping[str, object]]) -> None:
        if self.down:
            raise DeliveryError("down")
        self.calls.append([dict(each) for each in rows])


class Events:
    """Says that one subscription's events do not arrive, and what had been sent by the time it was asked."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self.sent_before = sink, list[int]()

    async def check(self) -> Sequence[HealthReading]:
        self.sent_before.append(len(self._sink.calls))
        return [HealthReading(check=HealthCheck.EVENT_SUBSCRIPTION, status=HealthStatus.FAILED, summary="gone", source="/s")]


class Setup:
    def __init__(self) -> None:
        self.state, self.clock, self.sink = State(MemoryEntities()), ManualClock(NOW), Sink()
        self.events = Events(self.sink)
        self.pulse = Pulse(
            state=self.state,
            sink=self.sink,
            clock=self.clock,
            events=self.events,
            canaries=None,
            sweep_schedule="0 */15 * * * *",
            tenant_id=TENANT,
        )

    async def watch(self, verdict: str) -> None:
        await self.state.watch(BINDINGS)
        for each in BINDINGS:
            known = await self.state.remembered(each.id)
            record = known.record if known else BindingRecord(binding_id=each.id, sequence=1)
            posture = {"verdict": verdict, "findings": []}
            await self.state.record(Remembered(record=record, posture=posture, etag=known.etag if known else None), [])

    async def heart(self) -> dict[str, Any]:
        """The counters of one beat's heartbeat."""
        await self.pulse.beat()
        counters: dict[str, Any] = next(row for call in self.sink.calls[::-1] for row in call if row["Check"] == "heartbeat")[
            "Counters"
        ]
        return counters


async def test_the_heartbeat_waits_for_nothing() -> None:
    """It is sent before anything is read of Azure, which is read once an hour; what was wrong there is said at every beat."""
    setup = Setup()
    for _ in range(3):
        await setup.pulse.beat()
        setup.clock.advance(300)
    assert setup.events.sent_before == [1]
    told = [row["Status"] for call in setup.sink.calls for row in call if row["Check"] == "event-subscription"]
    assert told == ["failed"] * 3
    setup.clock.advance(EVENTS_CHECKED_EVERY.total_seconds())
    await setup.pulse.beat()
    assert len(setup.events.sent_before) == 2


async def test_rows_that_are_not_accepted_are_counted() -> None:
    """They are not kept; the next heartbeat says how many they were, the one after it that there are none."""
    setup = Setup()
    setup.sink.down = True
    await setup.pulse.beat()
    setup.sink.down = False
    # heartbeat, sweep, deliveries, rejected rows, dead letters; and the event subscription
    assert (await setup.heart())["HealthRowsNotAccepted"] == 6
    assert (await setup.heart())["HealthRowsNotAccepted"] == 0


@pytest.mark.parametrize(("few", "expected"), [(2, 2), (1, 0)])
async def test_many_verdicts_are_counted_after_a_sweep(few: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many key bindings are watched, they are read once a sweep, not at every beat."""
    monkeypatch.setattr(pulse, "_FEW_BINDINGS", few)
    setup = Setup()
    await setup.watch("held")
    await setup.state.set_mark("sweep", NOW, {})
    assert (await setup.heart())["VerdictHeld"] == 2
    await setup.watch("lost")
    assert (await setup.heart()).get("VerdictLost", 0) == expected
    await setup.state.set_mark("sweep", NOW + timedelta(minutes=1), {})
    assert (await setup.heart())["VerdictLost"] == 2


async def test_half_of_a_day() -> None:
    """The most of the last day counts, and no longer than that."""
    setup = Setup()
    await setup.watch("held")
    await setup.state.set_mark("sweep", NOW, {})
    await setup.pulse.beat()
    await setup.state.watch((), [BINDINGS[0].id])
    statuses = []
    for hours in (0.1, 23, 3):
        setup.clock.advance(hours * 3600)
        await setup.pulse.beat()
        statuses += [row["Status"] for call in setup.sink.calls[-2:] for row in call if row["Check"] == "watchlist"]
    assert statuses == ["failed", "failed", "ok"]
