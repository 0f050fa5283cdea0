"""Drift: the last recorded verdict beside the new one, and the alert that the difference makes. Pure.

INVARIANT (unknown must last): alerts compare with the verdict last *alerted*; an unknown is pending until a second read, at least
a minute after the first, fails too. INVARIANT (resolved follows opened): only an open standing resolves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

from keydrift.alerts import blind_spot
from keydrift.alerts.actor import Explanation, Heard, explain, fitting_operations
from keydrift.alerts.cause import cause_key, grants_of, grants_through_groups, vanished_grants
from keydrift.alerts.change import Change, change_between
from keydrift.alerts.propagation import lag_of_loss, lag_of_repair
from keydrift.alerts.record import BindingRecord, Standing
from keydrift.declared import LAPSED, NOT_EXEMPT, ExemptionOutcome
from keydrift.model import State, Verdict

CONFIRM_AFTER = timedelta(minutes=1)
# The row's `Reason` where nothing needs the key any more
RETIRED = "retired"


class Kind(StrEnum):
    """What an alert says of a key binding."""

    OPENED = "opened"
    CHANGED = "changed"
    RESOLVED = "resolved"


class Via(StrEnum):
    """What led to the read that found the drift."""

    EVENT = "event"
    SWEEP = "sweep"
    SETTLE = "settle"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What a drift produces; `row.alert_row` renders it. `lag` is how long the change takes to bite at most; `lost_at` since when
    the key is lost, `sought_since` from when on its cause was looked for, `ends` how often a flapping drift has ended.
    """

    id: str
    kind: Kind
    sequence: int
    verdict: Verdict
    previous: State
    via: Via
    detected_at: datetime
    cause_key: str
    explanation: Explanation
    change: Change | None = None
    lag: timedelta = timedelta()
    lost_at: datetime | None = None
    sought_since: datetime | None = None
    ends: int | None = None
    outage: timedelta | None = None
    reason: str | None = None
    exempted: bool = False
    exemption_reason: str | None = None
    is_notice: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The record to keep, the alert to send (if any), and whether an unknown waits for its second read."""

    record: BindingRecord
    alert: Alert | None = None
    awaits_second_read: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The circumstances of a comparison. `confirmed` skips the second read: the verdict is not one of a single failed read.
    `exemption` is that of the verdict compared. `repointed` says that a consumer has just been pointed at the key."""

    now: datetime
    via: Via
    heard: tuple[Heard, ...] = ()
    confirmed: bool = False
    exemption: ExemptionOutcome = NOT_EXEMPT
    repointed: bool = False


def alert_id(binding_id: str, sequence: int) -> str:
    """UUIDv5 of binding id and sequence, so that a repeated delivery is a duplicate row with the same id."""
    return str(uuid5(UUID(binding_id), str(sequence)))


def compare(last: BindingRecord, verdict: Verdict, at: Moment) -> Comparison:
    """Compare a verdict with what was recorded, and say what to record and to send.

    The verdict's facts must not be older than the record's (the monitor discards those), and it is `blind_spot.shown` beside it.
    """
    grants = grants_of(verdict)
    if verdict.state is State.UNKNOWN and not at.confirmed and not _still_unknown(last):
        since = last.pending_unknown_since or verdict.read_at
        if verdict.read_at - since < CONFIRM_AFTER:
            # The grants of the last readable verdict are kept: a blind read says nothing about them
            record = replace(last, pending_unknown_since=since, read_at=verdict.read_at)
            return Comparison(record=record, awaits_second_read=True)
    record = replace(last, pending_unknown_since=None, read_at=verdict.read_at)
    if grants or verdict.state is State.HELD:
        record = replace(record, granted_by=grants, granted_through_groups=grants_through_groups(verdict))
    return _held(record, last, verdict, at) if verdict.state is State.HELD else _not_held(record, last, verdict, at)


def retire(last: BindingRecord, verdict: Verdict, at: Moment) -> Comparison:
    """Nothing needs the key any more: an open drift is resolved with reason `retired`; the sequence is kept."""
    standing, last = last.standing, replace(last, pending_unknown_since=None)
    if standing is None:
        return Comparison(record=last)
    record, alert = raise_alert(
        last, verdict, at, Kind.RESOLVED, Explanation.none(), standing, standing.state, Change.BETTER, reason=RETIRED
    )
    return Comparison(record=replace(record, standing=None, state=State.HELD), alert=alert)


def _still_unknown(last: BindingRecord) -> bool:
    return last.standing is not None and last.standing.state is State.UNKNOWN


def _held(record: BindingRecord, last: BindingRecord, verdict: Verdict, at: Moment) -> Comparison:
    standing = last.standing
    record = replace(record, state=State.HELD, standing=None)
    if standing is None:
        return Comparison(record=record)
    ended = standing.codes | standing.unseen
    repairs = fitting_operations(ended=ended)
    explanation = explain(repairs, at.heard, after=last.read_at, before=at.now, explained_until=last.explained_until)
    outage = _lost_until(standing, explanation.occurred_at or verdict.read_at) or None
    lag = lag_of_repair(ended, verdict, last.granted_by)
    record, alert = raise_alert(
        record, verdict, at, Kind.RESOLVED, explanation, standing, standing.state, Change.BETTER, lag=lag, outage=outage
    )
    return Comparison(record=record, alert=alert)


def _not_held(record: BindingRecord, last: BindingRecord, verdict: Verdict, at: Moment) -> Comparison:
    standing = last.standing
    if standing is not None and blind_spot.is_as_told(standing, verdict):
        return _same(record, standing, verdict, at)
    before = standing.codes if standing else frozenset[str]()
    reckoned = blind_spot.reckoned(verdict.codes, verdict.unseen)
    reckoned_before = blind_spot.reckoned(before, standing.unseen if standing else frozenset())
    # Only what is new needs a cause: a change that fits an older finding did not bring the new one about
    begun = (reckoned - reckoned_before) | ({"key-changed"} if at.repointed else set())
    operations = fitting_operations(begun=begun, ended=reckoned_before - reckoned)
    vanished = vanished_grants(last.granted_by, verdict)
    explanation = explain(
        operations, at.heard, after=last.read_at, before=at.now, explained_until=last.explained_until, vanished=vanished
    )
    # The loss of what was unreadable, or merely at risk, is another incident than that was
    newly = standing is None or (verdict.state is State.LOST and standing.lost_at is None)
    now = Standing(
        state=verdict.state,
        codes=verdict.codes,
        cause_key=cause_key(verdict, explanation, vanished) if newly or standing is None else standing.cause_key,
        opened_at=at.now,
        after=last.read_at,
        lost_at=_lost_at(standing, verdict, explanation),
        lost_for=_lost_for(standing, verdict, explanation),
        actor_named=explanation.names_actor,
        operations=operations,
        explained_until=last.explained_until,
        vanished=vanished,
        lag=lag_of_loss(verdict, last.granted_by, last.granted_through_groups),
        exempted=at.exemption.exempted,
        exemption_reason=at.exemption.reason,
        unseen=verdict.unseen,
    )
    lapsed = standing is not None and at.exemption.turn(standing.exemption_reason) == LAPSED
    kind, previous = (Kind.CHANGED, standing.state) if standing else (Kind.OPENED, State.HELD)
    record, alert = raise_alert(
        record,
        verdict,
        at,
        kind,
        explanation,
        now,
        previous,
        change_between(previous, before, verdict.state, verdict.codes),
        reason=LAPSED if lapsed else None,
    )
    return Comparison(record=replace(record, state=verdict.state, standing=now), alert=alert)


def _same(record: BindingRecord, standing: Standing, verdict: Verdict, at: Moment) -> Comparison:
    """The drift that was alerted already; at most its exemption turned, or it is heard only now who caused it."""
    record = replace(record, state=verdict.state)
    turn = at.exemption.turn(standing.exemption_reason)
    if standing.actor_named and turn is None:
        return Comparison(record=record)
    explanation = explain(
        frozenset() if standing.actor_named else standing.operations,
        at.heard,
        after=standing.after,
        before=standing.opened_at,
        explained_until=standing.explained_until,
        vanished=standing.vanished,
    )
    if not explanation.names_actor:
        if turn is None:
            return Comparison(record=record)
        explanation = Explanation.none()
    lost_at = standing.lost_at
    if lost_at is not None and verdict.state is State.LOST and explanation.occurred_at:
        # An earlier loss that this one only widened keeps its beginning
        lost_at = min(lost_at, explanation.occurred_at)
    joined = replace(
        standing,
        codes=verdict.codes,
        unseen=verdict.unseen,
        lost_at=lost_at,
        actor_named=standing.actor_named or explanation.names_actor,
        exempted=at.exemption.exempted,
        exemption_reason=at.exemption.reason,
    )
    record, alert = raise_alert(record, verdict, at, Kind.CHANGED, explanation, joined, standing.state, Change.SAME, reason=turn)
    return Comparison(record=replace(record, standing=joined), alert=alert)


def _lost_at(standing: Standing | None, verdict: Verdict, explanation: Explanation) -> datetime | None:
    if verdict.state is State.AT_RISK:
        return None
    if standing is not None and standing.lost_at is not None:
        return standing.lost_at
    return (explanation.occurred_at or verdict.read_at) if verdict.state is State.LOST else None


def _lost_for(standing: Standing | None, verdict: Verdict, explanation: Explanation) -> timedelta:
    if standing is None:
        return timedelta()
    # At risk means usable: the loss has ended, even if not everything is well
    ended = verdict.state is State.AT_RISK
    return _lost_until(standing, explanation.occurred_at or verdict.read_at) if ended else standing.lost_for


def _lost_until(standing: Standing, repaired_at: datetime) -> timedelta:
    present = max(repaired_at - standing.lost_at, timedelta()) if standing.lost_at else timedelta()
    return standing.lost_for + present


def raise_alert(
    record: BindingRecord,
    verdict: Verdict,
    at: Moment,
    kind: Kind,
    explanation: Explanation,
    standing: Standing,
    previous: State,
    change: Change,
    *,
    lag: timedelta | None = None,
    outage: timedelta | None = None,
    reason: str | None = None,
    ends: int | None = None,
) -> tuple[BindingRecord, Alert]:
    """The next alert of a binding, about a standing, and the record that has counted it. Its `lag` is the standing's unless
    told."""
    sequence = record.sequence + 1
    alert = Alert(
        id=alert_id(record.binding_id, sequence),
        kind=kind,
        sequence=sequence,
        verdict=verdict,
        previous=previous,
        via=at.via,
        detected_at=at.now,
        cause_key=standing.cause_key,
        explanation=explanation,
        change=change,
        lag=standing.lag if lag is None else lag,
        lost_at=standing.lost_at,
        sought_since=standing.after,
        ends=ends,
        outage=outage,
        reason=reason,
        exempted=standing.exempted,
        exemption_reason=standing.exemption_reason or at.exemption.note,
    )
    known = [t for t in (record.explained_until, explanation.occurred_at) if t is not None]
    return replace(record, sequence=sequence, explained_until=max(known, default=None)), alert
