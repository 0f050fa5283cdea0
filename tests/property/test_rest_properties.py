"""Rest is a fixed point: the verdicts that a key store at rest had change nothing when they come again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hypothesis import event, given, settings
from hypothesis import strategies as st

from keydrift.alerts.actor import Heard
from keydrift.alerts.flapping import Damping
from keydrift.alerts.history import Remembered
from keydrift.alerts.lifecycle import Lifecycle
from keydrift.catalogue import CODES
from keydrift.drift import Moment, Via
from keydrift.facts import Principal
from keydrift.judgement import Judged, Policy, judged
from keydrift.key_uri import KeyUri
from keydrift.model import Actor, ChangeNotice, Effect, Finding, ProofStep, Repointing, Scenario, State, Verdict
from keydrift.rest import digest_of, digest_of_judged
from support.builders import APP_ID, APP_OBJECT, NOW, TEAM, VAULT, assignment, binding, rid

OF = binding(Scenario.CVM_CMK)
GRANTS = [str(assignment(name=str(n)).id) for n in range(3)]
CODE = {State.AT_RISK: "purge-protection-off", State.UNKNOWN: "facts-unreadable", State.LOST: "role-assignment-absent"}
POLICY = Policy(
    backup_app_id=APP_ID,
    key_expiry=timedelta(days=30),
    declared={},
    lifecycle=Lifecycle(damping=Damping(count=2, window=timedelta(hours=1)), remind_after=timedelta(hours=2)),
)


@dataclass(frozen=True, slots=True)
class Read:
    """One read of the key store: what it found, how long after the one before, whether its consumer had been pointed here."""

    state: State
    grants: frozenset[str]
    minutes: int
    repointed: bool
    through_group: bool = False


reads = st.builds(
    Read,
    st.sampled_from([State.HELD, *State]),
    st.frozensets(st.sampled_from(GRANTS)),
    st.sampled_from([0, 1, 2, 20, 40, 90, 600]),
    st.booleans(),
    st.booleans(),
)
waits = st.lists(st.sampled_from([0, 1, 45, 61, 3000, 100_000]), min_size=1, max_size=4)
POINTED = Repointing(previous=KeyUri("kv0.vault.azure.net", "keys", "k0"), at=NOW)


def found(read: Read, at: datetime) -> Verdict:
    code, grantee = CODE.get(read.state), TEAM if read.through_group else None
    consumers = tuple(replace(each, repointed=POINTED if read.repointed else None) for each in OF.consumers)
    return Verdict(
        binding=replace(OF, consumers=consumers),
        state=read.state,
        read_at=at,
        findings=(Finding(code=code, level=CODES[code].level, summary=code),) if code else (),
        proof=tuple(
            ProofStep(kind="role-assignment", id=each, effect=Effect.GRANTS, reason="", grantee=grantee)
            for each in sorted(read.grants)
        ),
        principal=Principal(object_id=APP_OBJECT),
    )


def lived(story: Sequence[Read]) -> tuple[Judged, datetime]:
    """The last read's judgement after all of them, and its time."""
    now, remembered, last = NOW, None, None
    for read in story:
        now += timedelta(minutes=read.minutes)
        last = judged(found(read, now), Moment(now=now, via=Via.SWEEP), remembered, None, POLICY)
        remembered = last.to_keep() or remembered
    assert last is not None
    return last, now


@given(st.lists(reads, min_size=1, max_size=8), st.sampled_from([0, 30, 90]), waits, st.booleans())
@settings(max_examples=600, deadline=None)
def test_the_same_verdicts_again_change_nothing(story: list[Read], pause: int, later: list[int], heard: bool) -> None:
    """At rest nothing is written and nothing told, however late the same verdict comes again and whatever was heard since."""
    # Held in the end, so that many stories end at rest
    last, now = lived([*story, replace(story[-1], state=State.HELD, minutes=pause)])
    rested = digest_of_judged([last])
    event("rests" if rested else "does not rest")
    if rested is None:
        return
    remembered = last.to_keep() or last.remembered
    for minutes in later:
        now += timedelta(minutes=minutes)
        notice = ChangeNotice(
            event_id="e", event_type="t", operation="microsoft.authorization/roleassignments/delete", resource_id=rid(VAULT),
            occurred_at=now, actor=Actor(object_id="admin"),
        )  # fmt: skip
        moment = Moment(now=now, via=Via.SWEEP, heard=(Heard(notice=notice, received_at=now),) if heard else ())
        verdict = replace(last.verdict, read_at=now)
        assert digest_of([verdict]) == rested
        again = judged(verdict, moment, remembered, None, POLICY)
        assert (again.to_keep(), again.alerts, again.is_news) == (None, (), False)


@given(reads)
@settings(max_examples=200, deadline=None)
def test_what_a_record_is_made_of_is_in_the_digest(one: Read) -> None:
    """Whatever of a held verdict a record is made of makes another digest; a verdict that is not held has none."""
    assert (digest_of([found(one, NOW)]) is None) == (one.state is not State.HELD)
    one = replace(one, state=State.HELD, grants=one.grants | {GRANTS[0]}, minutes=0)
    for changed in (
        replace(one, grants=one.grants ^ {GRANTS[1]}),
        replace(one, repointed=not one.repointed),
        replace(one, through_group=not one.through_group),
    ):
        assert digest_of([found(one, NOW)]) != digest_of([found(changed, NOW)])
        assert lived([one])[0].record != lived([changed])[0].record
    assert digest_of([found(one, NOW)]) == digest_of([found(one, NOW + timedelta(hours=1))])
    assert digest_of([found(one, NOW)] * 2) != digest_of([found(one, NOW)])


def test_newer_facts_than_a_verdict_keep_its_key_store_from_resting() -> None:
    """A verdict of older facts than the record's says nothing of what the record was made of."""
    last, _ = lived([Read(State.HELD, frozenset(GRANTS[:1]), 0, repointed=False)])
    assert digest_of_judged([last]) is not None
    assert digest_of_judged([replace(last, outdated=True)]) is None


def test_rest_is_reached() -> None:
    """A binding that is held, was told of and has calmed comes to rest: the property above is about something."""
    held = Read(State.HELD, frozenset(GRANTS[:1]), 90, repointed=True)
    last, _ = lived([held, replace(held, state=State.LOST, grants=frozenset()), held, held])
    assert digest_of_judged([last]) is not None
    assert isinstance(last.remembered, Remembered)
