"""Signs to readings: each check fails at its threshold and not a moment before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keydrift.health import HealthCheck, HealthReading, HealthStatus
from keydrift.vital_signs import MOST_UNREAD, Outgoing, Signs, canary, closing, readings, still_open
from support.builders import NOW

OK, WARNING, FAILED, UNKNOWN = HealthStatus.OK, HealthStatus.WARNING, HealthStatus.FAILED, HealthStatus.UNKNOWN
# NOW is a full hour
HEALTHY = Signs(
    now=NOW + timedelta(minutes=5),
    since=NOW - timedelta(days=9),
    sweep_schedule="0 */15 * * * *",
    swept=NOW + timedelta(seconds=40),
    watched=8,
    most_watched=8,
    key_stores=4,
    verdicts={"held": 6, "at_risk": 1, "lost": 1},
    outgoing=(Outgoing(sink="log-analytics"),),
    event_at=NOW,
)


def of(check: HealthCheck, **changed: Any) -> HealthReading | None:
    """The reading of a check, where there is one."""
    found = [each for each in readings(replace(HEALTHY, **changed)) if each.check is check]
    assert len(found) <= 1
    return found[0] if found else None


def status(check: HealthCheck, **changed: Any) -> HealthStatus | None:
    reading = of(check, **changed)
    return reading.status if reading is not None else None


def test_a_healthy_monitor_says_so() -> None:
    """Every check is ok, the heartbeat comes first and counts."""
    told = readings(HEALTHY)
    assert {each.status for each in told} == {OK}
    assert [str(each.check) for each in told] == [
        "heartbeat", "sweep", "watchlist", "deliveries", "rejected-rows", "dead-letters",
    ]  # fmt: skip
    assert told[0].value == 8
    assert dict(told[0].counters) == {
        "KeyStores": 4,
        "VerdictHeld": 6,
        "VerdictAtRisk": 1,
        "VerdictLost": 1,
        "Undelivered": 0,
        "Rejected": 0,
        "DeadLetters": 0,
        "HealthRowsNotAccepted": 0,
        "SecondsSinceSweep": 260.0,
        "SecondsSinceEvent": 300.0,
    }
    assert all(bool(each.remediation) is (each.status is not OK) for each in told)


@pytest.mark.parametrize(
    ("minutes", "swept", "expected"),
    [
        (5, True, OK),
        (44.9, True, OK),
        (45.1, True, FAILED),
        (300, True, FAILED),
        (44.9, False, OK),
        (45.1, False, FAILED),
    ],
)
def test_the_sweep(minutes: float, swept: bool, expected: HealthStatus) -> None:
    """It is overdue once three have fallen due since the last ended, or since the monitor began."""
    now = NOW + timedelta(minutes=minutes)
    ended = NOW + timedelta(seconds=40)
    assert status(HealthCheck.SWEEP, now=now, swept=ended if swept else None, since=ended) is expected


def test_a_schedule_that_cannot_be_read() -> None:
    """It cannot be told whether a sweep is overdue: unknown, with the setting to repair."""
    reading = of(HealthCheck.SWEEP, sweep_schedule="hourly")
    assert reading is not None
    assert (reading.status, "KEYDRIFT_SWEEP_SCHEDULE" in reading.remediation) == (UNKNOWN, True)


@pytest.mark.parametrize(
    ("watched", "most", "expected"),
    [(8, 8, OK), (5, 8, OK), (4, 8, FAILED), (0, 0, FAILED), (0, 8, FAILED), (1, 1, OK), (8, 15, OK), (8, 16, FAILED)],
)
def test_the_watchlist(watched: int, most: int, expected: HealthStatus) -> None:
    """Empty, or half of what it was within the day, is a failure; a little less is not."""
    assert status(HealthCheck.WATCHLIST, watched=watched, most_watched=most) is expected


def test_nothing_was_looked_for_yet() -> None:
    """Before the first sweep an empty watchlist says nothing."""
    assert of(HealthCheck.WATCHLIST, swept=None, watched=0) is None


@pytest.mark.parametrize(("minutes", "expected"), [(29.9, OK), (30.1, FAILED)])
def test_an_alert_that_waits(minutes: float, expected: HealthStatus) -> None:
    """The oldest counts, and half an hour is too long."""
    waiting = Outgoing(sink="log-analytics", waiting=3, oldest=HEALTHY.now - timedelta(minutes=minutes))
    reading = of(HealthCheck.DELIVERIES, outgoing=(waiting,))
    assert reading is not None
    assert (reading.status, reading.value, reading.source) == (expected, round(minutes * 60, 1), "log-analytics")


def test_each_sink_is_told_apart() -> None:
    """One sink's trouble is not another's."""
    told = readings(
        replace(HEALTHY, outgoing=(Outgoing(sink="log-analytics"), Outgoing(sink="event-topic", rejected=["too large"])))
    )
    assert [(each.source, each.status) for each in told if each.check is HealthCheck.REJECTED_ROWS] == [
        ("log-analytics", OK),
        ("event-topic", FAILED),
    ]


def test_dead_letters_are_a_warning() -> None:
    """Whoever sends noise raises no alarm by it."""
    assert status(HealthCheck.DEAD_LETTERS, dead_letters=1) is WARNING


def test_unread_sources_are_grouped_by_their_repair() -> None:
    """One row for what one repair opens, named by the first source; beyond the cap the number of the others is told."""
    two = [{"source": name, "repair": "Reader at s1"} for name in ("b", "a", "a")]
    told = [each for each in readings(replace(HEALTHY, unread=two)) if each.check is HealthCheck.UNREAD_SOURCE]
    assert [(each.source, each.summary, each.remediation) for each in told] == [("a", "could not read a, b", "Reader at s1")]
    many = [{"source": f"s{number:02}", "repair": f"r{number:02}"} for number in range(MOST_UNREAD + 7)]
    told = [each for each in readings(replace(HEALTHY, unread=many)) if each.check is HealthCheck.UNREAD_SOURCE]
    assert len(told) == MOST_UNREAD
    assert told[0].summary == "could not read s00; 7 more repairs are needed"


@pytest.mark.parametrize(
    ("sent", "back", "expected"),
    [
        (None, None, None),
        (9.9, None, None),
        (10.1, None, FAILED),
        (5, 4.9, OK),
        (30, 1, OK),
    ],
)
def test_the_canary(sent: float | None, back: float | None, expected: HealthStatus | None) -> None:
    """It is lost after ten minutes; one that is back tells how long it took."""
    ago = {name: NOW - timedelta(minutes=each) if each is not None else None for name, each in (("sent", sent), ("back", back))}
    reading = canary(ago["sent"], ago["back"], NOW)
    assert (reading.status if reading else None) is expected
    if reading and reading.value is not None and sent and back:
        assert reading.value == pytest.approx((sent - back) * 60)


def test_what_is_over_is_told_once() -> None:
    """A check and source that was not ok and of which nothing is said any more is told as ok; others are not."""
    unread = HealthReading(check=HealthCheck.UNREAD_SOURCE, status=FAILED, summary="s", source="graph")
    before = {("unread-source", "graph"), ("unread-source", "arm")}
    assert [(str(each.check), each.source, each.status) for each in closing(before, [unread])] == [("unread-source", "arm", OK)]
    assert still_open([unread, replace(unread, status=OK, source="x")]) == [["unread-source", "graph"]]
