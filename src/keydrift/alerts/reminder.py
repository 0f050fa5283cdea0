"""Reminders of what stays lost: a `changed` row with reason `reminder`, once an interval. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from keydrift.alerts.actor import Explanation
from keydrift.alerts.change import Change
from keydrift.alerts.record import BindingRecord
from keydrift.drift import Alert, Kind, Moment, raise_alert
from keydrift.model import State, Verdict

REMINDER = "reminder"


def remind(record: BindingRecord, verdict: Verdict, at: Moment, after: timedelta) -> tuple[BindingRecord, Alert | None]:
    """The reminder that is due, and the record that remembers it. An `after` of zero: never.

    Somebody answers for an exempted drift, and a flapping one does not stay lost: neither is reminded of.
    """
    standing = record.standing
    if not after or standing is None or standing.exempted or record.flapping is not None:
        return record, None
    # A blind read of what was lost is no proof that it still is
    if standing.state is not State.LOST or verdict.state is not State.LOST:
        return record, None
    told_at = max(standing.opened_at, standing.reminded_at or standing.opened_at)
    if at.now - told_at < after:
        return record, None
    standing = replace(standing, reminded_at=at.now, codes=verdict.codes, unseen=verdict.unseen)
    record, alert = raise_alert(
        record, verdict, at, Kind.CHANGED, Explanation.none(), standing, standing.state, Change.SAME, reason=REMINDER
    )
    return replace(record, standing=standing), alert
