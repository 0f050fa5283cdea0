"""What holds of every story of verdicts once flapping is damped and losses are reminded of: what was told last is what is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from keydrift.alerts.flapping import CALMED, FLAPPING, Damping
from keydrift.alerts.lifecycle import Lifecycle, Outcome, follow, retire
from keydrift.alerts.record import BindingRecord
from keydrift.alerts.reminder import REMINDER
from keydrift.catalogue import CODES, severity_of_codes
from keydrift.drift import Alert, Kind, Moment, Via
from keydrift.model import Finding, Scenario, State, Verdict
from keydrift.stored_record import record_document, record_from
from support.builders import NOW, binding

OF = binding(Scenario.CVM_CMK)
RULES = Lifecycle(damping=Damping(count=2, window=timedelta(minutes=30)), remind_after=timedelta(hours=2))
SEVERITIES = ("Informational", "Low", "Medium", "High")
SEEN: list[tuple[State, tuple[str, ...]]] = [
    (State.HELD, ()),
    (State.HELD, ()),
    (State.AT_RISK, ("purge-protection-off",)),
    (State.AT_RISK, ("key-expiring",)),
    (State.UNKNOWN, ("facts-unreadable",)),
    (State.LOST, ("role-assignment-absent",)),
    (State.LOST, ("role-assignment-absent", "key-disabled")),
]
type Told = tuple[State, frozenset[str]] | None


@dataclass(frozen=True, slots=True)
class Step:
    """One read: what it found, and how many seconds after the one before."""

    state: State
    codes: tuple[str, ...]
    seconds: int


steps = st.tuples(st.sampled_from(SEEN), st.sampled_from([0, 5, 61, 61, 120, 899, 900, 1801, 7200])).map(
    lambda drawn: Step(drawn[0][0], drawn[0][1], drawn[1])
)
stories = st.lists(steps, min_size=1, max_size=40)


def verdict(step: Step, now: datetime) -> Verdict:
    findings = tuple(Finding(code=code, level=CODES[code].level, summary=code) for code in step.codes)
    return Verdict(binding=OF, state=step.state, read_at=now, findings=findings)


def play(story: list[Step], *, stored: bool = False, rules: Lifecycle = RULES) -> tuple[list[Outcome], datetime]:
    record, now, outcomes = BindingRecord.created(OF.id, NOW), NOW, list[Outcome]()
    for step in story:
        now += timedelta(seconds=step.seconds)
        outcome = follow(record, verdict(step, now), Moment(now=now, via=Via.SWEEP), rules)
        record = record_from(record_document(outcome.record)) if stored else outcome.record
        outcomes.append(outcome)
    return outcomes, now


def told_after(alerts: tuple[Alert, ...], before: Told) -> Told:
    """What somebody knows who reads the rows alone."""
    for alert in alerts:
        before = None if alert.kind is Kind.RESOLVED else (alert.verdict.state, alert.verdict.codes)
    return before


def shape(record: BindingRecord) -> Told:
    return (record.standing.state, record.standing.codes) if record.standing else None


def severity(told: Told) -> int:
    return SEVERITIES.index(severity_of_codes(*told)) if told else 0


@given(stories)
@settings(max_examples=400, deadline=None)
def test_what_settles_is_what_was_told(story: list[Step]) -> None:
    """Whatever happened, once the last verdict has stayed for the quiet time the rows tell exactly that verdict."""
    last = story[-1]
    quiet = int(RULES.damping.quiet.total_seconds())
    # Once more for the second read of an unknown, then after the quiet time
    settled = [*story, Step(last.state, last.codes, 61), Step(last.state, last.codes, quiet)]
    told: Told = None
    outcomes, _ = play(settled)
    for outcome in outcomes:
        told = told_after(outcome.alerts, told)
    assert told == (None if last.state is State.HELD else (last.state, frozenset(last.codes)))
    assert outcomes[-1].record.flapping is None


@given(stories)
@settings(max_examples=300, deadline=None)
def test_the_rows_tell_the_standing_unless_it_flaps_and_never_less_than_it(story: list[Step]) -> None:
    """While nothing flaps the rows tell the standing; while it does they tell something at least as severe."""
    told: Told = None
    for outcome in play(story)[0]:
        told = told_after(outcome.alerts, told)
        if outcome.record.flapping is None:
            assert told == shape(outcome.record)
        else:
            known = outcome.record.flapping.told
            assert told == (known.state, known.codes)
            assert severity(told) >= severity(shape(outcome.record))


@given(stories)
@settings(max_examples=300, deadline=None)
def test_rows_come_in_order(story: list[Step]) -> None:
    """An opening where nothing is open, changes and resolutions where something is, each with the previous verdict that was told,
    numbered without a gap."""
    told: Told = None
    alerts = [alert for outcome in play(story)[0] for alert in outcome.alerts]
    for alert in alerts:
        assert (alert.kind is Kind.OPENED) == (told is None)
        assert alert.previous is (told[0] if told else State.HELD)
        told = told_after((alert,), told)
    first = int(NOW.timestamp()) + 1
    assert [alert.sequence for alert in alerts] == list(range(first, first + len(alerts)))


@given(stories)
@settings(max_examples=200, deadline=None)
def test_flapping_is_told_once_and_then_calm(story: list[Step]) -> None:
    """`flapping` and `calmed` alternate, and no reminder comes between them."""
    told = [a.reason for outcome in play(story)[0] for a in outcome.alerts if a.reason in (FLAPPING, CALMED, REMINDER)]
    flapping = False
    for reason in told:
        assert reason != REMINDER or not flapping
        if reason != REMINDER:
            assert flapping == (reason == CALMED)
            flapping = reason == FLAPPING


@given(stories)
@settings(max_examples=200, deadline=None)
def test_without_damping_nothing_is_held_back(story: list[Step]) -> None:
    """A count of zero tells every change."""
    rules = Lifecycle(damping=Damping(count=0), remind_after=timedelta())
    outcomes, _ = play(story, rules=rules)
    assert not any(outcome.held_back or outcome.record.flapping for outcome in outcomes)
    assert not any(alert.reason for outcome in outcomes for alert in outcome.alerts)


@given(stories)
@settings(max_examples=200, deadline=None)
def test_the_record_may_be_stored_between_any_two_reads(story: list[Step]) -> None:
    """A record that went through the state store makes the same alerts."""
    assert [each.alerts for each in play(story, stored=True)[0]] == [each.alerts for each in play(story)[0]]


@given(stories)
@settings(max_examples=200, deadline=None)
def test_what_is_retired_is_resolved(story: list[Step]) -> None:
    """Once nothing needs the key, nothing that the rows told stays open, flapping or not."""
    outcomes, now = play(story)
    told: Told = None
    for outcome in outcomes:
        told = told_after(outcome.alerts, told)
    gone = Verdict(binding=OF, state=State.HELD, read_at=now)
    retired = retire(outcomes[-1].record, gone, Moment(now=now, via=Via.SWEEP))
    assert [(each.kind, each.reason) for each in retired.alerts] == ([(Kind.RESOLVED, "retired")] if told else [])
    assert (retired.record.standing, retired.record.flapping, retired.record.ended_at) == (None, None, ())
