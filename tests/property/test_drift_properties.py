"""What holds of every story of verdicts: alerts open, change and resolve in order, with numbers that never repeat."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from keydrift.alerts.actor import Heard
from keydrift.alerts.record import BindingRecord
from keydrift.catalogue import CODES
from keydrift.drift import Alert, Comparison, Kind, Moment, Via, alert_id, compare
from keydrift.facts import Principal
from keydrift.model import Actor, ChangeNotice, Effect, Finding, ProofStep, Scenario, State, Verdict
from keydrift.stored_record import record_document, record_from
from support.builders import APP_OBJECT, NOW, VAULT, assignment, binding, rid

OF = binding(Scenario.CVM_CMK)
GRANTS = [str(assignment(name=str(n)).id) for n in range(3)]
CODE_SETS: dict[State, list[tuple[str, ...]]] = {
    State.HELD: [()],
    State.AT_RISK: [("purge-protection-off",), ("advisory-permission-missing",)],
    State.UNKNOWN: [("facts-unreadable",)],
    State.LOST: [
        ("role-assignment-absent",),
        ("role-insufficient",),
        ("access-policy-absent",),
        ("role-insufficient", "key-disabled"),
    ],
}
OPERATIONS = sorted({op for code in CODES.values() for op in (*code.causes, *code.repairs)} | {"microsoft.storage/write"})


@dataclass(frozen=True, slots=True)
class Step:
    """One read: what it found, how long after the one before, and what was heard meanwhile."""

    state: State
    codes: tuple[str, ...]
    grants: tuple[str, ...]
    seconds: int
    heard: tuple[tuple[str, str, str | None, int], ...]


@st.composite
def steps(draw: st.DrawFn) -> Step:
    state = draw(st.sampled_from(list(State)))
    noise = st.tuples(
        st.sampled_from(OPERATIONS),
        st.sampled_from([*GRANTS, VAULT]),
        st.sampled_from(["admin", "other-admin", None]),
        st.integers(-400, 400),
    )
    return Step(
        state,
        draw(st.sampled_from(CODE_SETS[state])),
        tuple(draw(st.lists(st.sampled_from(GRANTS), unique=True))),
        draw(st.sampled_from([0, 10, 59, 60, 61, 900])),
        tuple(draw(st.lists(noise, max_size=2))),
    )


stories = st.lists(steps(), min_size=1, max_size=12)


def play(story: list[Step], *, stored: bool = False) -> list[Comparison]:
    record, now, heard = BindingRecord.created(OF.id, NOW), NOW, list[Heard]()
    outcomes = []
    for number, step in enumerate(story):
        now += timedelta(seconds=step.seconds)
        for operation, resource, who, offset in step.heard:
            notice = ChangeNotice(
                event_id=f"{number}",
                event_type="t",
                operation=operation,
                resource_id=rid(resource),
                occurred_at=now + timedelta(seconds=offset),
                actor=Actor(object_id=who) if who else None,
            )
            heard.append(Heard(notice=notice, received_at=now))
        outcome = compare(record, verdict(step, now), Moment(now=now, via=Via.SWEEP, heard=tuple(heard)))
        record = record_from(record_document(outcome.record)) if stored else outcome.record
        outcomes.append(outcome)
    return outcomes


def verdict(step: Step, now: datetime) -> Verdict:
    return Verdict(
        binding=OF,
        state=step.state,
        read_at=now,
        findings=tuple(Finding(code=code, level=CODES[code].level, summary=code) for code in step.codes),
        proof=tuple(ProofStep(kind="role-assignment", id=g, effect=Effect.GRANTS, reason="") for g in step.grants),
        principal=Principal(object_id=APP_OBJECT),
    )


def alerts_of(outcomes: list[Comparison]) -> list[Alert]:
    return [outcome.alert for outcome in outcomes if outcome.alert is not None]


@given(stories)
@settings(max_examples=200, deadline=None)
def test_alerts_come_in_order(story: list[Step]) -> None:
    """Opened, then changed, then resolved; numbers go up by one; ids follow from them; no outage is negative."""
    outcomes = play(story)
    standing = False
    previous = State.HELD
    for alert in alerts_of(outcomes):
        assert standing == (alert.kind is not Kind.OPENED)
        assert alert.previous is previous
        standing = alert.kind is not Kind.RESOLVED
        previous = alert.verdict.state
        assert (alert.kind is Kind.RESOLVED) == (alert.verdict.state is State.HELD)
        assert alert.outage is None or (alert.kind is Kind.RESOLVED and alert.outage > timedelta())
    numbers = [alert.sequence for alert in alerts_of(outcomes)]
    first = int(NOW.timestamp()) + 1
    assert numbers == list(range(first, first + len(numbers)))
    assert [alert.id for alert in alerts_of(outcomes)] == [alert_id(OF.id, n) for n in numbers]


@given(stories)
@settings(max_examples=200, deadline=None)
def test_the_standing_is_what_was_last_alerted(story: list[Step]) -> None:
    """The standing tells the last alert, or that nothing is open, and it is the verdict unless doubt is pending."""
    last: Alert | None = None
    for outcome, step in zip(play(story), story, strict=True):
        last = outcome.alert or last
        standing = outcome.record.standing
        if last is None or last.kind is Kind.RESOLVED:
            assert standing is None
        else:
            assert standing is not None
            assert (standing.state, standing.codes) == (last.verdict.state, last.verdict.codes)
        assert outcome.awaits_second_read == (outcome.record.pending_unknown_since is not None)
        if not outcome.awaits_second_read:
            assert (standing.state if standing else State.HELD) is step.state
            assert (standing.lost_at is not None) if standing and step.state is State.LOST else True


@given(stories)
@settings(max_examples=150, deadline=None)
def test_nothing_new_is_never_alerted_twice(story: list[Step]) -> None:
    """The last read again, at once and with nothing else heard, alerts nothing."""
    *_, last = story
    again = Step(last.state, last.codes, last.grants, 0, ())
    outcomes = play([*story, again, again])
    assert outcomes[-1].alert is None
    # Once more, an actor may still be joined: the first read looked for what was new, the second for what was left open
    second = outcomes[-2].alert
    assert second is None or (second.kind is Kind.CHANGED and second.explanation.names_actor)


@given(stories)
@settings(max_examples=150, deadline=None)
def test_state_may_be_stored_between_any_two_reads(story: list[Step]) -> None:
    """A record that went through the state store makes the same alerts."""
    assert alerts_of(play(story, stored=True)) == alerts_of(play(story))


@given(stories)
@settings(max_examples=200, deadline=None)
def test_every_explanation_fits(story: list[Step]) -> None:
    """A named change is of an operation that fits a finding that began or ended, and opens no second drift."""
    before: frozenset[str] = frozenset()
    ended: set[str] = set()
    opened_by: list[Heard] = []
    for alert in alerts_of(play(story)):
        found = alert.explanation.heard
        now = alert.verdict.codes
        if now != before:  # else an actor is joined, who is sought for what changed before
            ended = {op for code in before for op in CODES[code].repairs}
        if found is not None:
            assert found.notice.operation in {op for code in now for op in CODES[code].causes} | ended
            if alert.kind is Kind.OPENED:
                assert all(found.occurred_at > each.occurred_at for each in opened_by)
                opened_by.append(found)
        before = now
