"""Flapping, damped: a binding that is lost and usable again all the time makes few rows, and none that got worse is missing.
Pure.

A binding flaps once it opens again after `Damping.count` drifts of it ended within `Damping.window`. That opening is told,
and beside it one `changed` row with reason `flapping`. From then on a row is sent only where it is more severe than every one
told before, or tells more of the very drift that was told last. When the binding has kept one state for half the window, a
row with reason `calmed` says how it is now.

INVARIANT (nothing is lost): whenever nothing flaps, the standing is what the rows told last; the record keeps the true one
throughout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from keydrift.alerts.actor import Explanation
from keydrift.alerts.change import Change, change_between
from keydrift.alerts.record import BindingRecord, Flapping, Standing
from keydrift.catalogue import severity_of_codes
from keydrift.drift import RETIRED, Alert, Comparison, Kind, Moment, raise_alert
from keydrift.model import State, Verdict

# The row's `Reason`
FLAPPING, CALMED = "flapping", "calmed"
_SEVERITIES = ("Informational", "Low", "Medium", "High")


@dataclass(frozen=True, slots=True, kw_only=True)
class Damping:
    """When a binding flaps: after so many drifts that ended within the window (0: never)."""

    count: int = 3
    window: timedelta = timedelta(hours=1)

    @property
    def quiet(self) -> timedelta:
        """How long it has to keep one state to be calm again."""
        return self.window / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Damped:
    """The record to keep and the alerts to send. `held_back` says that the binding changed and no row tells it yet."""

    record: BindingRecord
    alerts: tuple[Alert, ...] = ()
    held_back: bool = False


def damp(last: BindingRecord, outcome: Comparison, verdict: Verdict, at: Moment, damping: Damping) -> Damped:
    """Hold back what a comparison would alert, where the binding flaps. `last` is what was compared with."""
    if last.flapping is not None:
        return _while_flapping(last, last.flapping, outcome, verdict, at, damping)
    record, alerts = outcome.record, (outcome.alert,) if outcome.alert else ()
    lately = tuple(each for each in last.ended_at if at.now - each < damping.window)
    if last.standing is not None and record.standing is None:
        lately = (*lately, at.now)[-damping.count :] if damping.count else ()
    record = replace(record, ended_at=lately)
    opened = last.standing is None and record.standing is not None
    if not opened or not damping.count or len(lately) < damping.count or outcome.alert is None or record.standing is None:
        return Damped(record=record, alerts=alerts)
    told = record.standing
    record, notice = raise_alert(
        record,
        verdict,
        at,
        Kind.CHANGED,
        outcome.alert.explanation,
        told,
        told.state,
        Change.SAME,
        reason=FLAPPING,
        ends=len(lately),
    )
    flapping = Flapping(since=lately[0], told=told, turned_at=at.now, ends=len(lately))
    return Damped(record=replace(record, flapping=flapping, ended_at=()), alerts=(*alerts, notice))


def retire(last: BindingRecord, outcome: Comparison, verdict: Verdict, at: Moment) -> Damped:
    """A binding that nothing needs any more resolves what the rows told last, whatever was held back since."""
    flapping, alert = last.flapping, outcome.alert
    if flapping is None:
        return Damped(record=outcome.record, alerts=(alert,) if alert else ())
    told = flapping.told
    record, alert = raise_alert(
        last, verdict, at, Kind.RESOLVED, Explanation.none(), told, told.state, Change.BETTER, reason=RETIRED
    )
    return Damped(record=replace(outcome.record, sequence=record.sequence, flapping=None, ended_at=()), alerts=(alert,))


def _while_flapping(
    last: BindingRecord, flapping: Flapping, outcome: Comparison, verdict: Verdict, at: Moment, damping: Damping
) -> Damped:
    alert, now = outcome.alert, outcome.record.standing
    turned = _shape(last.standing) != _shape(now)
    if turned:
        ended = last.standing is not None and now is None
        lost_for = alert.outage if alert is not None and alert.outage is not None else timedelta()
        flapping = replace(flapping, turned_at=at.now, ends=flapping.ends + ended, lost_for=flapping.lost_for + lost_for)
    if alert is not None and now is not None and _weight(now) > _weight(flapping.told):
        change = change_between(flapping.told.state, flapping.told.codes, now.state, now.codes)
        risen = replace(alert, kind=Kind.CHANGED, previous=flapping.told.state, change=change)
        return Damped(record=replace(outcome.record, flapping=replace(flapping, told=now)), alerts=(risen,))
    if alert is not None and now is not None and _is_told(now, flapping.told):
        return Damped(record=replace(outcome.record, flapping=replace(flapping, told=now)), alerts=(alert,))
    # What is held back uses no number: the rows that are sent are numbered without a gap
    record = replace(outcome.record, sequence=last.sequence, flapping=flapping)
    if outcome.awaits_second_read or at.now - flapping.turned_at < damping.quiet:
        return Damped(record=record, held_back=turned)
    return _calmed(record, flapping, verdict, at)


def _calmed(record: BindingRecord, flapping: Flapping, verdict: Verdict, at: Moment) -> Damped:
    told, now = flapping.told, record.standing
    record = replace(record, flapping=None, ended_at=())
    if now is None:
        record, alert = raise_alert(
            record,
            verdict,
            at,
            Kind.RESOLVED,
            Explanation.none(),
            told,
            told.state,
            Change.BETTER,
            lag=timedelta(),
            outage=flapping.lost_for or None,
            reason=CALMED,
            ends=flapping.ends,
        )
        return Damped(record=record, alerts=(alert,))
    change = change_between(told.state, told.codes, now.state, now.codes)
    # The drift that the rows tell began with the first loss that was not told as ended
    now = replace(now, lost_for=now.lost_for + flapping.lost_for, codes=verdict.codes, unseen=verdict.unseen)
    record, alert = raise_alert(
        record, verdict, at, Kind.CHANGED, Explanation.none(), now, told.state, change, reason=CALMED, ends=flapping.ends
    )
    return Damped(record=replace(record, standing=now), alerts=(alert,))


def _shape(standing: Standing | None) -> tuple[State, frozenset[str]] | None:
    return (standing.state, standing.codes) if standing else None


def _weight(standing: Standing) -> tuple[bool, int]:
    """How severe: an exempted drift weighs less than any other."""
    severity = severity_of_codes(standing.state, standing.codes)
    return not standing.exempted, _SEVERITIES.index(severity)


def _is_told(now: Standing, told: Standing) -> bool:
    return now.opened_at == told.opened_at and _shape(now) == _shape(told)
