"""The life of an alert: what differs is told, what flaps is damped, what stays lost is reminded of. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from keydrift import drift
from keydrift.alerts import flapping
from keydrift.alerts.flapping import Damping
from keydrift.alerts.record import BindingRecord
from keydrift.alerts.reminder import remind
from keydrift.drift import Alert, Moment
from keydrift.model import Verdict

_USUAL = Damping()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """How alerts are told here. `remind_after` zero: never."""

    damping: Damping = _USUAL
    remind_after: timedelta = timedelta(hours=24)


USUAL = Lifecycle()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The record to keep, the alerts to send in order, whether an unknown waits for its second read, and whether a change
    waits for the binding to calm."""

    record: BindingRecord
    alerts: tuple[Alert, ...] = ()
    awaits_second_read: bool = False
    held_back: bool = False


def follow(last: BindingRecord, verdict: Verdict, at: Moment, rules: Lifecycle) -> Outcome:
    """Compare a verdict with what was recorded, and say what to record and what to tell."""
    compared = drift.compare(last, verdict, at)
    damped = flapping.damp(last, compared, verdict, at, rules.damping)
    record, alerts = damped.record, damped.alerts
    if not alerts and not damped.held_back:
        record, reminder = remind(record, verdict, at, rules.remind_after)
        alerts = (reminder,) if reminder else ()
    return Outcome(record=record, alerts=alerts, awaits_second_read=compared.awaits_second_read, held_back=damped.held_back)


def retire(last: BindingRecord, verdict: Verdict, at: Moment) -> Outcome:
    """Nothing needs the key any more: what the rows told last is resolved with reason `retired`."""
    damped = flapping.retire(last, drift.retire(last, verdict, at), verdict, at)
    return Outcome(record=replace(damped.record, ended_at=()), alerts=damped.alerts)
