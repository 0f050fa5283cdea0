"""Reminders: what stays lost is told again, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from keydrift.alerts.record import BindingRecord, Flapping, Standing
from keydrift.alerts.reminder import REMINDER, remind
from keydrift.catalogue import CODES
from keydrift.drift import Kind, Moment, Via
from keydrift.model import Finding, Scenario, State, Verdict
from support.builders import NOW, binding

OF = binding(Scenario.CVM_CMK)
DAY, SECOND = timedelta(hours=24), timedelta(seconds=1)
LOST = Standing(
    state=State.LOST,
    codes=frozenset({"key-disabled"}),
    cause_key="c1",
    opened_at=NOW,
    after=None,
    lost_at=NOW - timedelta(hours=1),
    lag=timedelta(minutes=10),
)
RISK = replace(LOST, state=State.AT_RISK, codes=frozenset({"purge-protection-off"}))
FLAPPING = Flapping(since=NOW, told=LOST, turned_at=NOW, ends=3)


def verdict(state: State, *codes: str) -> Verdict:
    findings = tuple(Finding(code=code, level=CODES[code].level, summary=code) for code in codes)
    return Verdict(binding=OF, state=state, read_at=NOW, findings=findings)


SEEN_LOST = verdict(State.LOST, "key-disabled")


def record(standing: Standing | None, flapping: Flapping | None = None) -> BindingRecord:
    return replace(BindingRecord.created(OF.id, NOW), state=State.LOST, standing=standing, flapping=flapping)


def moment(after: timedelta) -> Moment:
    return Moment(now=NOW + after, via=Via.SWEEP)


def test_a_reminder() -> None:
    """After the interval a loss is told again, with its cause key and since when it is lost; then the interval runs anew."""
    reminded, alert = remind(record(LOST), SEEN_LOST, moment(DAY), DAY)
    assert alert is not None
    assert (alert.kind, alert.reason, alert.previous, alert.cause_key) == (Kind.CHANGED, REMINDER, State.LOST, "c1")
    assert (alert.lost_at, alert.lag, alert.sequence) == (LOST.lost_at, LOST.lag, reminded.sequence)
    assert reminded.standing == replace(LOST, reminded_at=NOW + DAY)
    assert remind(reminded, SEEN_LOST, moment(2 * DAY - SECOND), DAY)[1] is None
    assert remind(reminded, SEEN_LOST, moment(2 * DAY), DAY)[1] is not None


@pytest.mark.parametrize(
    ("kept", "seen", "after", "interval"),
    [
        (record(LOST), SEEN_LOST, DAY - SECOND, DAY),
        (record(LOST), SEEN_LOST, 30 * DAY, timedelta()),
        (record(None), verdict(State.HELD), DAY, DAY),
        (record(RISK), verdict(State.AT_RISK, "purge-protection-off"), DAY, DAY),
        (record(replace(LOST, exempted=True)), SEEN_LOST, DAY, DAY),
        (record(LOST, FLAPPING), SEEN_LOST, DAY, DAY),
        # the read that would confirm it failed
        (record(LOST), verdict(State.UNKNOWN, "facts-unreadable"), DAY, DAY),
    ],
    ids=["too early", "switched off", "held", "at risk", "exempted", "flapping", "blind"],
)
def test_no_reminder(kept: BindingRecord, seen: Verdict, after: timedelta, interval: timedelta) -> None:
    """Nothing is told, and nothing remembered, of what is not due, not lost, answered for, or not known to be lost still."""
    assert remind(kept, seen, moment(after), interval) == (kept, None)
